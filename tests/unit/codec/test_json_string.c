/* codec/json_string: unescaping, comparison, writing, and memory that runs out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/json_string.c"
#include "fault.h"

static struct json_value parsed(const char *text)
{
    struct json_value v;

    if (json_parse(str_from(text), &v, NULL) == -1)
        fail_msg("refused: %s", text);
    return v;
}

static void assert_buf(const struct buf *b, const char *expected, size_t n)
{
    assert_int_equal(b->len, n);
    assert_memory_equal(b->p, expected, n);
}

static void unescapes(void **state UNUSED)
{
    static const struct {
        const char *json, *text;
        size_t n;
    } rows[] = {
        {"\"\"", "", 0},
        {"\"plain\"", "plain", 5},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8},
        {"\"a\\u0000b\"", "a\0b", 3},
        {"\"\\u007f\\u0080\\u07FF\"", "\x7f\xc2\x80\xdf\xbf", 5},
        {"\"\\u0800\\uffff\\uD7ff\\ue000\"", "\xe0\xa0\x80\xef\xbf\xbf\xed\x9f\xbf\xee\x80\x80",
         12},
        {"\"\\ud800\\udc00\\uDBFF\\uDFFF\"", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 8},
        {"\"x\\ud83d\\ude00\xf0\x9f\x98\x80y\"", "x\xf0\x9f\x98\x80\xf0\x9f\x98\x80y", 10},
    };
    size_t i;

    for (i = 0; i < ARRAY_LEN(rows); i++) {
        struct json_value v = parsed(rows[i].json);
        struct str text = {rows[i].text, rows[i].n};
        struct buf b = {0};

        assert_int_equal(buf_append_lit(&b, "<"), 0);
        assert_int_equal(json_string(&v, &b), 0);
        assert_memory_equal(b.p, "<", 1);
        buf_drop(&b, 1);
        assert_buf(&b, text.p, text.n);
        assert_true(json_string_equal(&v, text));
        assert_false(json_string_equal(&v, (struct str){"<another text>", 14}));
        if (text.n > 0)
            assert_false(json_string_equal(&v, (struct str){text.p, text.n - 1}));
        buf_fini(&b);
    }
}

static void lone_surrogates_have_no_text(void **state UNUSED)
{
    static const char *texts[] = {
        "\"\\ud800\"",        "\"\\udc00\"",        "\"\\udfff\\ud800\"",
        "\"\\ud800x\"",       "\"\\ud800\\n\"",     "\"\\ud800\\u0041\"",
        "\"\\ud800\\ud800\"", "\"\\ud83d\\ue000\"", "\"ok, then \\udbff\"",
    };
    size_t i;

    for (i = 0; i < ARRAY_LEN(texts); i++) {
        struct json_value v = parsed(texts[i]);
        struct buf b = {0};

        assert_int_equal(buf_append_lit(&b, "kept"), 0);
        assert_int_equal(json_string(&v, &b), -1);
        assert_buf(&b, "kept", 4);
        assert_false(json_string_equal(&v, STR_LIT("ok, then ")));
        assert_false(json_string_equal(&v, STR_NULL));
        buf_fini(&b);
    }
}

static void other_types_are_no_strings(void **state UNUSED)
{
    static const char *texts[] = {"null", "true", "12", "[\"a\"]", "{\"a\":1}"};
    struct buf b = {0};
    size_t i;

    for (i = 0; i < ARRAY_LEN(texts); i++) {
        struct json_value v = parsed(texts[i]);

        assert_int_equal(json_string(&v, &b), -1);
        assert_false(json_string_equal(&v, str_from(texts[i])));
        assert_false(json_string_equal(&v, STR_NULL));
    }
    assert_null(b.p);
}

#define FFFD "\xef\xbf\xbd"

static void appends(void **state UNUSED)
{
    static const struct {
        const char *text;
        size_t n;
        const char *json;
    } rows[] = {
        {"", 0, "\"\""},
        {"plain", 5, "\"plain\""},
        {"\"\\/", 3, "\"\\\"\\\\/\""},
        {"\b\f\n\r\t\0\x1f\x7f", 8, "\"\\u0008\\u000c\\n\\r\\t\\u0000\\u001f\x7f\""},
        {"a\xc3\xa9\xf0\x9f\x98\x80z", 8, "\"a\xc3\xa9\xf0\x9f\x98\x80z\""},
        {"\x80", 1, "\"" FFFD "\""},
        {"\xff\xfe", 2, "\"" FFFD FFFD "\""},
        {"a\xc3", 2, "\"a" FFFD "\""},
        {"\xc3(", 2, "\"" FFFD "(\""},
        {"\xe2\x82", 2, "\"" FFFD "\""},
        {"\xe2\x82\xe2\x82\xac", 5, "\"" FFFD "\xe2\x82\xac\""},
        {"\xc3\"", 2, "\"" FFFD "\\\"\""},
        {"\xed\xa0\x80", 3, "\"" FFFD FFFD FFFD "\""},
        /* the example of Unicode 15, table 3-8 */
        {"\xf0\x80\x80\x41", 4, "\"" FFFD FFFD FFFD "A\""},
        {"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", 9, "\"" FFFD FFFD FFFD FFFD "A\""},
    };
    size_t i;

    for (i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = {0};

        assert_int_equal(json_append_string(&b, (struct str){rows[i].text, rows[i].n}), 0);
        assert_buf(&b, rows[i].json, strlen(rows[i].json));
        buf_fini(&b);
    }
}

/* Whatever the bytes, what is written is JSON; valid text comes back unchanged. */
static void what_is_written_can_be_read(void **state UNUSED)
{
    char text[3];
    unsigned i, k;

    for (i = 0; i < 256; i++) {
        for (k = 0; k < 256; k++) {
            struct buf b = {0}, back = {0};
            struct json_value v;

            memcpy(text, (const char[]){'a', (char)i, (char)k}, 3);
            assert_int_equal(json_append_string(&b, (struct str){text, 3}), 0);
            assert_int_equal(json_parse(buf_view(&b), &v, NULL), 0);
            assert_int_equal(json_string(&v, &back), 0);
            if (utf8_valid((struct str){text, 3}))
                assert_buf(&back, text, 3);
            buf_fini(&b);
            buf_fini(&back);
        }
    }
}

/* The same, a character at a time. */
static void append_slowly(struct buf *b, const char *p, size_t n)
{
    for (; n > 0; p++, n--) {
        const char *escaped[] = {
            ['"'] = "\\\"", ['\\'] = "\\\\", ['\n'] = "\\n", ['\r'] = "\\r", ['\t'] = "\\t"};
        unsigned char c = (unsigned char)*p;

        if (c < ARRAY_LEN(escaped) && escaped[c] != NULL)
            assert_int_equal(buf_append_lit(b, escaped[c]), 0);
        else if (c < 0x20)
            assert_int_equal(buf_printf(b, "\\u%04x", c), 0);
        else
            assert_int_equal(buf_append_char(b, *p), 0);
    }
}

/* Text of any length and mixture, at any place in a buffer, with no byte of room beyond what was
 * asked for (a sanitizer sees that). */
static void long_texts(void **state UNUSED)
{
    static const char alphabet[] = "abcdefgh\"\\\n\t\x01\x1f\x7f ~";
    static char text[5000];
    unsigned seed = 5;

    for (unsigned round = 0; round < 400; round++) {
        size_t n = (size_t)rand_r(&seed) % (round % 2 ? sizeof(text) : 70);
        unsigned kinds = 1 + (unsigned)rand_r(&seed) % (sizeof(alphabet) - 1);
        struct buf fast = {0}, slow = {0};

        for (size_t i = 0; i < n; i++)
            text[i] = alphabet[(unsigned)rand_r(&seed) % kinds];
        append_slowly(&slow, text, n);
        assert_int_equal(json_append_text(&fast, (struct str){.p = text, .n = n}), 0);
        assert_int_equal(fast.len, slow.len);
        assert_memory_equal(fast.p, slow.p, n == 0 ? 0 : slow.len);
        buf_fini(&fast);
        buf_fini(&slow);
    }
}

/* In pieces as utf8_cut() makes them it is the same, valid or not. */
static void pieces(void **state UNUSED)
{
    static const char *const texts[] = {
        "a\"b\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z\n",
        "\x80\x80\x80\x80\x80\x80\x80\x80",
        "a\xc3\xff\xf0\x9f\x98(\xed\xa0\x80\xe2\x82",
        "\xf0\x9f\x98\x80\x80\x80\xc3\xa9\x80",
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct buf whole = {0};

        assert_int_equal(json_append_text(&whole, str_from(texts[i])), 0);
        for (size_t max = 4; max < 12; max++) {
            struct str rest = str_from(texts[i]);
            struct buf b = {0};

            while (rest.n > 0) {
                struct str piece = utf8_cut(rest, max);

                assert_int_equal(json_append_text(&b, piece), 0);
                rest = str_skip(rest, piece.n);
            }
            assert_buf(&b, whole.p, whole.len);
            buf_fini(&b);
        }
        buf_fini(&whole);
    }
}

static const char long_json[] =
    "\"................................................................\\n"
    "................................................................\\n"
    "................................................................\"";

static void reading_survives_every_failed_allocation(void **state UNUSED)
{
    struct json_value v = parsed(long_json);
    size_t k, failures = 0;
    int rc = -1;

    for (k = 1; rc == -1; k++) {
        struct buf b = {0};

        fault_fail_at(k);
        rc = json_string(&v, &b);
        fault_reset();
        failures += rc == -1;
        assert_int_equal(b.len, rc == -1 ? 0 : 64 * 3 + 2);
        buf_fini(&b);
    }
    assert_true(failures >= 2);
}

static void writing_survives_every_failed_allocation(void **state UNUSED)
{
    size_t k, failures = 0;
    int rc = -1;

    for (k = 1; rc == -1; k++) {
        struct buf b = {0};

        fault_fail_at(k);
        rc = json_append_string(&b, (struct str){long_json, sizeof(long_json) - 1});
        fault_reset();
        failures += rc == -1;
        assert_true(rc == 0 || b.len == 0);
        buf_fini(&b);
    }
    assert_true(failures >= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unescapes),
        cmocka_unit_test(lone_surrogates_have_no_text),
        cmocka_unit_test(other_types_are_no_strings),
        cmocka_unit_test(appends),
        cmocka_unit_test(what_is_written_can_be_read),
        cmocka_unit_test(long_texts),
        cmocka_unit_test(pieces),
        cmocka_unit_test(reading_survives_every_failed_allocation),
        cmocka_unit_test(writing_survives_every_failed_allocation),
    };

    return cmocka_run_group_tests_name("codec/json_string", tests, NULL, NULL);
}
