/* codec/json: what is JSON and what is not, where it is wrong, access to members and elements. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/json.c"

/* Parses a copy of exactly its size; *at as json_parse() sets it, SIZE_MAX when accepted. */
static int parse(struct str text, size_t *at)
{
    char *copy = malloc(text.n + 1);
    struct json_value v;
    int rc;

    assert_non_null(copy);
    memcpy(copy + 1, text.p, text.n);
    *at = SIZE_MAX;
    rc = json_parse((struct str){copy + 1, text.n}, &v, at);
    if (rc == 0)
        assert_true(v.raw.n > 0 && v.raw.p > copy && v.raw.p + v.raw.n <= copy + 1 + text.n);
    free(copy);
    return rc;
}

static struct json_value parsed(const char *text)
{
    struct json_value v;

    if (json_parse(str_from(text), &v, NULL) == -1)
        fail_msg("refused: %s", text);
    return v;
}

static void assert_raw(const struct json_value *v, enum json_type type, const char *raw)
{
    assert_int_equal(v->type, type);
    assert_int_equal(v->raw.n, strlen(raw));
    assert_memory_equal(v->raw.p, raw, v->raw.n);
}

static void valid_values(void **state UNUSED)
{
    static const struct {
        const char *text;
        enum json_type type;
        const char *raw;
    } rows[] = {
        {"null", JSON_NULL, "null"},
        {" true\n", JSON_TRUE, "true"},
        {"\t\r\nfalse", JSON_FALSE, "false"},
        {"0", JSON_NUMBER, "0"},
        {"-0", JSON_NUMBER, "-0"},
        {"10", JSON_NUMBER, "10"},
        {"-1.50e+01", JSON_NUMBER, "-1.50e+01"},
        {"0E0", JSON_NUMBER, "0E0"},
        {"1e-9", JSON_NUMBER, "1e-9"},
        {"123456789012345678901234567890", JSON_NUMBER, "123456789012345678901234567890"},
        {"\"\"", JSON_STRING, "\"\""},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00eF\"", JSON_STRING,
         "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00eF\""},
        {"\"\\ud800\"", JSON_STRING, "\"\\ud800\""}, /* grammatical; json_string() refuses it */
        {"\"\xc3\xa9\xf0\x9f\x98\x80\x7f\"", JSON_STRING, "\"\xc3\xa9\xf0\x9f\x98\x80\x7f\""},
        {"[]", JSON_ARRAY, "[]"},
        {" [ ] ", JSON_ARRAY, "[ ]"},
        {"{}", JSON_OBJECT, "{}"},
        {"{ }", JSON_OBJECT, "{ }"},
        {"[1 , [ 2,{ } ] ,\"x\"]", JSON_ARRAY, "[1 , [ 2,{ } ] ,\"x\"]"},
        {"{\"\":{\"a\":[{}]} , \"b\" : null}", JSON_OBJECT, "{\"\":{\"a\":[{}]} , \"b\" : null}"},
    };
    struct json_value v;
    size_t i;

    for (i = 0; i < ARRAY_LEN(rows); i++) {
        v = parsed(rows[i].text);
        assert_raw(&v, rows[i].type, rows[i].raw);
    }
}

/* Each ends with the byte that is wrong: error_at points at it, whatever follows, and what is
 * before it is merely incomplete (error at its end) or complete. */
static void malformed_values(void **state UNUSED)
{
    static const char *texts[] = {
        "\xef",
        "\xff",
        "\x0b",
        "nul1",
        "tru ",
        "N",
        "nullx",
        "+",
        "-x",
        "- ",
        "01",
        "00",
        "-01",
        "1.x",
        "1. ",
        "1.e",
        ".",
        "1ex",
        "1e+x",
        "0x",
        "1a",
        "1 2",
        "1,",
        "'",
        "\"a\n",
        "\"a\x01",
        "\"a\x1f",
        "\"\t",
        "\"\\x",
        "\"\\\n",
        "\"\\u1g",
        "\"\\u123\"",
        "\"\\U",
        "\"\x80",
        "\"\xc3\"",
        "\"\xc0",
        "\"\xed\xa0",
        "\"\xf4\x90",
        "\"\xe2\x82\"",
        "\"a\xc3\xa9\xff",
        "\"\"\"",
        "[,",
        "[1,]",
        "[1,,",
        "[1 2",
        "[1}",
        "[}",
        "]",
        "}",
        ",",
        ":",
        "{1",
        "{a",
        "{,",
        "{\"a\"}",
        "{\"a\",",
        "{\"a\" 1",
        "{\"a\":}",
        "{\"a\":,",
        "{\"a\":1,}",
        "{\"a\":1]",
        "{\"a\":1 \"",
        "{\"a\":1,,",
        "{\"a\":1:",
        "{]",
        "[]]",
        "{}}",
        "[] [",
        "{\"a\":[}",
        "/",
        "[1,/",
        "[1]x",
    };
    size_t i, k, at;

    for (i = 0; i < ARRAY_LEN(texts); i++) {
        struct str text = str_from(texts[i]);

        if (parse(text, &at) == 0)
            fail_msg("accepted: %s", texts[i]);
        if (at != text.n - 1)
            fail_msg("error at %zu: %s", at, texts[i]);
        for (k = 0; k < text.n; k++) {
            if (parse((struct str){text.p, k}, &at) == -1)
                assert_int_equal(at, k);
        }
    }
}

static void incomplete_values(void **state UNUSED)
{
    static const char *texts[] = {
        "{\"a\" : [ -1.5e+3 , \"\\u00e9\xc3\xa9\" , { } ] , \"b\" : true }",
        "[ [ ] , null , false ]",
        "\"\xf0\x9f\x98\x80\"",
    };
    size_t i, n, at;

    for (i = 0; i < ARRAY_LEN(texts); i++) {
        struct str text = str_from(texts[i]);

        for (n = 0; n < text.n; n++) {
            assert_int_equal(parse((struct str){text.p, n}, &at), -1);
            assert_int_equal(at, n);
        }
        assert_int_equal(parse(text, &at), 0);
    }
    assert_int_equal(parse(STR_LIT(" \n"), &at), -1);
    assert_int_equal(at, 2);
    assert_int_equal(json_parse(STR_NULL, &(struct json_value){0}, &at), -1);
    assert_int_equal(at, 0);
}

static void a_nul_is_not_space(void **state UNUSED)
{
    size_t at;

    assert_int_equal(parse((struct str){"1\0", 2}, &at), -1);
    assert_int_equal(at, 1);
    assert_int_equal(parse((struct str){"\"\\\0\"", 4}, &at), -1);
    assert_int_equal(at, 2);
}

static void depth_is_bounded(void **state UNUSED)
{
    char text[4 * JSON_MAX_DEPTH];
    size_t at;

    memset(text, '[', JSON_MAX_DEPTH + 1);
    memset(text + JSON_MAX_DEPTH, ']', JSON_MAX_DEPTH);
    assert_int_equal(parse((struct str){text, 2 * JSON_MAX_DEPTH}, &at), 0);
    memset(text, '[', JSON_MAX_DEPTH + 1);
    memset(text + JSON_MAX_DEPTH + 1, ']', JSON_MAX_DEPTH + 1);
    assert_int_equal(parse((struct str){text, 2 * JSON_MAX_DEPTH + 2}, &at), -1);
    assert_int_equal(at, JSON_MAX_DEPTH);
    assert_string_equal(json_refusal((struct str){text, 2 * JSON_MAX_DEPTH + 2}),
                        "JSON nested deeper than 64 levels");
    text[3] = 'x';
    assert_string_equal(json_refusal((struct str){text, 2 * JSON_MAX_DEPTH + 2}), "not JSON");
    assert_string_equal(json_refusal(STR_NULL), "not JSON");
    assert_string_equal(json_refusal(STR_LIT("1 1")), "not JSON");
}

/* The kind of each open container is remembered at every depth. */
static void brackets_must_match_at_every_depth(void **state UNUSED)
{
    char text[8 * JSON_MAX_DEPTH], *p = text;
    size_t i, at, n;

    for (i = 0; i < JSON_MAX_DEPTH / 2; i++, p += 6)
        memcpy(p, "[{\"a\":", 6);
    *p++ = '1';
    for (i = 0; i < JSON_MAX_DEPTH / 2; i++, p += 2)
        memcpy(p, "}]", 2);
    n = (size_t)(p - text);
    assert_int_equal(parse((struct str){text, n}, &at), 0);
    for (i = n - JSON_MAX_DEPTH; i < n; i++) {
        text[i] ^= '}' ^ ']';
        assert_int_equal(parse((struct str){text, n}, &at), -1);
        assert_int_equal(at, i);
        text[i] ^= '}' ^ ']';
    }
}

static void members(void **state UNUSED)
{
    struct json_value v = parsed(" { \"a\" : 1 , \"b\":{\"a\":2,\"c\":[3,4]},\"\":\"\"} "), key,
                      value;
    struct str rest = v.raw;

    assert_true(json_member(&rest, &key, &value));
    assert_raw(&key, JSON_STRING, "\"a\"");
    assert_raw(&value, JSON_NUMBER, "1");
    assert_true(json_member(&rest, &key, &value));
    assert_raw(&key, JSON_STRING, "\"b\"");
    assert_raw(&value, JSON_OBJECT, "{\"a\":2,\"c\":[3,4]}");
    assert_true(json_member(&rest, &key, &value));
    assert_raw(&key, JSON_STRING, "\"\"");
    assert_raw(&value, JSON_STRING, "\"\"");
    assert_false(json_member(&rest, &key, &value));
    assert_false(json_member(&rest, &key, &value)); /* and stays at the end */
}

static void elements(void **state UNUSED)
{
    struct json_value v = parsed("[ 1 ,[2,3] , {\"a\":[]},\"x\" ]"), value;
    struct str rest = v.raw;

    assert_true(json_element(&rest, &value));
    assert_raw(&value, JSON_NUMBER, "1");
    assert_true(json_element(&rest, &value));
    assert_raw(&value, JSON_ARRAY, "[2,3]");
    assert_true(json_element(&rest, &value));
    assert_raw(&value, JSON_OBJECT, "{\"a\":[]}");
    assert_true(json_element(&rest, &value));
    assert_raw(&value, JSON_STRING, "\"x\"");
    assert_false(json_element(&rest, &value));
}

static void other_types_have_no_members(void **state UNUSED)
{
    static const char *texts[] = {"{}", "{ }", "[]", "[ ]", "[1]", "\"{\"", "1", "null"};
    struct json_value key, value;
    size_t i;

    for (i = 0; i < ARRAY_LEN(texts); i++) {
        struct json_value v = parsed(texts[i]);
        struct str rest = v.raw;

        assert_false(json_member(&rest, &key, &value));
        assert_false(json_get(&v, STR_LIT(""), &value));
        rest = v.raw;
        assert_int_equal(json_element(&rest, &value), strcmp(texts[i], "[1]") == 0);
    }
    assert_false(json_element(&(struct str){"{\"a\":1}", 7}, &value));
}

static void get_takes_the_last_of_equal_names(void **state UNUSED)
{
    struct json_value v = parsed("{\"a\":1,\"b\":2,\"\\u0061\":3,\"\xc3\xa9\":4,\"n\":{\"c\":5}}");
    struct json_value out = {0};

    assert_true(json_get(&v, STR_LIT("a"), &out));
    assert_raw(&out, JSON_NUMBER, "3");
    assert_true(json_get(&v, STR_LIT("b"), &out));
    assert_raw(&out, JSON_NUMBER, "2");
    assert_true(json_get(&v, STR_LIT("\xc3\xa9"), &out));
    assert_raw(&out, JSON_NUMBER, "4");
    assert_false(json_get(&v, STR_LIT("c"), &out));
    assert_false(json_get(&v, STR_LIT("A"), &out));
    assert_false(json_get(&v, STR_LIT(""), &out));
}

static void whole_numbers(void **state UNUSED)
{
    static const char *bad[] = {"-0", "-1", "1.0", "1e3", "18446744073709551616", "\"1\"", "null"};
    struct json_value v;
    uint64_t u;
    size_t i;

    v = parsed("0");
    assert_int_equal(json_u64(&v, &u), 0);
    assert_true(u == 0);
    v = parsed("18446744073709551615");
    assert_int_equal(json_u64(&v, &u), 0);
    assert_true(u == UINT64_MAX);
    for (i = 0; i < ARRAY_LEN(bad); i++) {
        v = parsed(bad[i]);
        assert_int_equal(json_u64(&v, &u), -1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_values),
        cmocka_unit_test(malformed_values),
        cmocka_unit_test(incomplete_values),
        cmocka_unit_test(a_nul_is_not_space),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(brackets_must_match_at_every_depth),
        cmocka_unit_test(members),
        cmocka_unit_test(elements),
        cmocka_unit_test(other_types_have_no_members),
        cmocka_unit_test(get_takes_the_last_of_equal_names),
        cmocka_unit_test(whole_numbers),
    };

    return cmocka_run_group_tests_name("codec/json", tests, NULL, NULL);
}
