/* codec/centrifuge/json_read: commands in JSON, right and wrong. */
#include "cf_text.h"

#include "codec/centrifuge/json_read.c"
#include "tests/lib/fault.h"

/* What was read, written again: NULL is malformed, "" the same as it came. */
struct row {
    const char *in, *out;
};

static void check(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *out = rows[i].out == NULL ? "malformed" : rows[i].out;

        assert_frame(CF_JSON, str_from(rows[i].in), *out != '\0' ? out : rows[i].in);
    }
}

static void every_request(void **state)
{
    static const struct row rows[] = {
        {"{}", ""},
        {"{\"id\":1,\"connect\":{}}", ""},
        {"{\"id\":1,\"connect\":{\"token\":\"t\",\"data\":{\"a\":[1]},\"subs\":{\"c\":{\"recover\":"
         "true}},\"name\":\"js\",\"version\":\"5\",\"headers\":{\"h\":\"v\"},\"flag\":1}}",
         ""},
        {"{\"id\":4294967295,\"subscribe\":{\"channel\":\"c\",\"token\":\"t\",\"recover\":true,"
         "\"epoch\":\"e\",\"offset\":18446744073709551615,\"data\":7,\"positioned\":true,"
         "\"recoverable\":true,\"join_leave\":true,\"delta\":\"fossil\",\"tf\":{\"key\":\"k\"},"
         "\"flag\":-9223372036854775808,\"type\":-2147483648}}",
         ""},
        {"{\"id\":2,\"unsubscribe\":{\"channel\":\"c\"}}", ""},
        {"{\"id\":2,\"publish\":{\"channel\":\"c\",\"data\":\"x\",\"type\":2147483647,\"key\":"
         "\"k\","
         "\"removed\":true}}",
         ""},
        {"{\"id\":2,\"presence\":{\"channel\":\"c\"}}", ""},
        {"{\"id\":2,\"presence_stats\":{\"channel\":\"c\"}}", ""},
        {"{\"id\":2,\"history\":{\"channel\":\"c\",\"limit\":-1,\"since\":{\"offset\":3,\"epoch\":"
         "\"e\"},\"reverse\":true}}",
         ""},
        {"{\"id\":2,\"history\":{\"since\":{}}}", ""},
        {"{\"id\":2,\"ping\":{}}", ""},
        {"{\"send\":{\"data\":[]}}", ""},
        {"{\"id\":2,\"rpc\":{\"data\":null,\"method\":\"m\"}}", ""},
        {"{\"id\":2,\"refresh\":{\"token\":\"t\"}}", ""},
        {"{\"id\":2,\"sub_refresh\":{\"channel\":\"c\",\"token\":\"t\",\"type\":1}}", ""},
        {" \t{ \"id\" : 2 , \"publish\" : { \"data\" : { } } } \r",
         "{\"id\":2,\"publish\":{\"data\":{ }}}"},
    };

    (void)state;
    check(rows, ARRAY_LEN(rows));
}

/* Data passes byte for byte. */
static void data_as_it_is(void **state)
{
    static const char *const values[] = {
        "1.0",
        "123456789012345678901234567890",
        "{\"a\":1,\"a\":2}",
        "\"\\/\"",
        "null",
        "\"\"",
        "0",
        "false",
        "[ 1 , 2 ]",
        "-0",
        "1e400",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "\"\xc3\xa9\"",
    };
    struct buf frame = {0}, text = {0};
    struct cf_command c;
    struct cf_input in;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        buf_clear(&frame);
        assert_int_equal(
            buf_printf(&frame, "{\"id\":1,\"publish\":{\"channel\":\"c\",\"data\":%s}}", values[i]),
            0);
        cf_input_init(&in, CF_JSON, buf_view(&frame), &text);
        assert_int_equal(cf_next_command(&in, &c), 1);
        assert_str(c.publish.data, values[i]);
        assert_true(c.publish.data.p > frame.p && c.publish.data.p < frame.p + frame.len);
        assert_int_equal(cf_next_command(&in, &c), 0);
    }
    cf_input_init(&in, CF_JSON, STR_LIT("{\"id\":1,\"publish\":{\"channel\":\"c\"}}"), &text);
    assert_int_equal(cf_next_command(&in, &c), 1);
    assert_null(c.publish.data.p); /* absent is not empty */
    buf_fini(&frame);
    buf_fini(&text);
}

/* What is unknown is skipped, null is absent, what comes twice counts as it came last. */
static void tolerated(void **state)
{
    static const struct row rows[] = {
        {"{\"id\":1,\"x\":{\"y\":[{}]},\"presence\":{\"channel\":\"c\",\"z\":null,\"w\":1e9}}",
         "{\"id\":1,\"presence\":{\"channel\":\"c\"}}"},
        {"{\"ID\":1,\"Connect\":{}}", "{}"},
        {"{\"id\":null,\"connect\":null}", "{}"},
        {"{\"id\":1,\"connect\":{\"token\":null,\"subs\":null,\"headers\":null,\"flag\":null}}",
         "{\"id\":1,\"connect\":{}}"},
        {"{\"id\":1,\"subscribe\":{\"recover\":null,\"offset\":null,\"tf\":null,\"type\":null}}",
         "{\"id\":1,\"subscribe\":{}}"},
        {"{\"id\":1,\"history\":{\"since\":null}}", "{\"id\":1,\"history\":{}}"},
        {"{\"id\":1,\"id\":2,\"ping\":{}}", "{\"id\":2,\"ping\":{}}"},
        {"{\"id\":1,\"presence\":{\"channel\":\"a\"},\"presence\":{\"channel\":\"b\"}}",
         "{\"id\":1,\"presence\":{\"channel\":\"b\"}}"},
        {"{\"id\":1,\"rpc\":{\"method\":\"a\"},\"rpc\":{\"data\":1}}",
         "{\"id\":1,\"rpc\":{\"data\":1,\"method\":\"a\"}}"},
        {"{\"id\":1,\"rpc\":{\"method\":\"a\"},\"rpc\":null}", "{\"id\":1}"},
        {"{\"id\":1,\"rpc\":{\"method\":\"a\",\"method\":null}}", "{\"id\":1,\"rpc\":{}}"},
        {"{\"id\":1,\"connect\":{\"subs\":{\"a\":null}}}",
         "{\"id\":1,\"connect\":{\"subs\":{\"a\":null}}}"},
        {"{\"\\u0069\\u0064\":1,\"p\\u0069ng\":{}}", "{\"id\":1,\"ping\":{}}"},
        {"{\"id\":1,\"presence\":{\"channel\":\"\\u0041\\n\\ud83d\\ude00\\\\\"}}",
         "{\"id\":1,\"presence\":{\"channel\":\"A\\n\xf0\x9f\x98\x80\\\\\"}}"},
        {"{\"id\":1,\"subscribe\":{\"channel\":\"\\u0061\",\"token\":\"\\u0062\",\"epoch\":\"c\"}}",
         "{\"id\":1,\"subscribe\":{\"channel\":\"a\",\"token\":\"b\",\"epoch\":\"c\"}}"},
        {"{\"id\":1,\"history\":{\"limit\":-0}}", "{\"id\":1,\"history\":{}}"},
    };

    (void)state;
    check(rows, ARRAY_LEN(rows));
}

static const char *const wrong[] = {
    /* not an object */
    "",
    " ",
    "null",
    "1",
    "\"\"",
    "[]",
    "true",
    "{}x",
    "{}{}",
    "{} {}",
    ",{}",
    "[{}]",
    /* not JSON */
    "{",
    "}",
    "{\"id\"}",
    "{\"id\":}",
    "{\"id\":1",
    "{\"id\":1,",
    "{\"id\":1,}",
    "{,}",
    "{\"id\" 1}",
    "{id:1}",
    "{'id':1}",
    "{\"id\":1 \"ping\":{}}",
    "{\"id\":01}",
    "{\"id\":1}}",
    "{\"id\":1,\"publish\":{\"data\":}}",
    "{\"id\":1,\"publish\":{\"data\":{]}}",
    "{\"id\":1,\"publish\":{\"data\":[1,]}}",
    "{\"id\":1,\"publish\":{\"data\":nul}}",
    "{\"id\":1,\"publish\":{\"data\":\"\t\"}}",
    "{\"id\":1,\"publish\":{\"data\":\"\xff\"}}",
    "{\"id\":1,\"x\":{\"y\":}}",
    "{\"id\":1,\"x\":[",
    "{\"x\":1,\"y\"}",
    "\xef\xbb\xbf{}",
    "{\"id\":1,\"ping\":{\"x\":1,}}",
    "{\"id\":1,\"ping\":{\"x\":1}",
    "{1:1}",
    "{\"id\":1;}",
    /* wrong types, also where another request counts */
    "{\"id\":\"1\"}",
    "{\"id\":true}",
    "{\"id\":[1]}",
    "{\"id\":{}}",
    "{\"id\":1.0}",
    "{\"id\":1e2}",
    "{\"id\":-1}",
    "{\"id\":-0}",
    "{\"id\":4294967296}",
    "{\"id\":99999999999999999999999}",
    "{\"id\":1,\"connect\":[]}",
    "{\"id\":1,\"connect\":\"\"}",
    "{\"id\":1,\"connect\":1}",
    "{\"id\":1,\"connect\":true}",
    "{\"id\":1,\"connect\":{\"token\":1}}",
    "{\"id\":1,\"connect\":{\"token\":{}}}",
    "{\"id\":1,\"connect\":{\"subs\":[]}}",
    "{\"id\":1,\"connect\":{\"subs\":\"\"}}",
    "{\"id\":1,\"connect\":{\"subs\":{\"a\":1}}}",
    "{\"id\":1,\"connect\":{\"subs\":{\"a\":[]}}}",
    "{\"id\":1,\"connect\":{\"subs\":{\"a\"}}}",
    "{\"id\":1,\"connect\":{\"subs\":{\"a\":{\"offset\":\"1\"}}}}",
    "{\"id\":1,\"connect\":{\"subs\":{\"a\":{}},}}",
    "{\"id\":1,\"connect\":{\"subs\":{1:{}}}}",
    "{\"id\":1,\"connect\":{\"subs\":{\"\\ud800\":{}}}}",
    "{\"id\":1,\"connect\":{\"subs\":{,}}}",
    "{\"id\":1,\"connect\":{\"headers\":{\"a\":1}}}",
    "{\"id\":1,\"connect\":{\"headers\":{\"a\":{}}}}",
    "{\"id\":1,\"connect\":{\"headers\":[\"a\"]}}",
    "{\"id\":1,\"connect\":{\"headers\":{\"a\":\"b\"",
    "{\"id\":1,\"connect\":{\"flag\":9223372036854775808}}",
    "{\"id\":1,\"connect\":{\"flag\":1.5}}",
    "{\"id\":1,\"connect\":{\"flag\":-9223372036854775809}}",
    "{\"id\":1,\"subscribe\":{\"channel\":null,\"recover\":1}}",
    "{\"id\":1,\"subscribe\":{\"recover\":\"true\"}}",
    "{\"id\":1,\"subscribe\":{\"offset\":-1}}",
    "{\"id\":1,\"subscribe\":{\"offset\":18446744073709551616}}",
    "{\"id\":1,\"subscribe\":{\"tf\":[]}}",
    "{\"id\":1,\"subscribe\":{\"tf\":\"\"}}",
    "{\"id\":1,\"subscribe\":{\"type\":2147483648}}",
    "{\"id\":1,\"subscribe\":{\"type\":-2147483649}}",
    "{\"id\":1,\"subscribe\":{\"channel\":\"\\ud800\"}}",
    "{\"id\":1,\"subscribe\":{\"delta\":true}}",
    "{\"id\":1,\"subscribe\":{\"channel\":\"\\x\"}}",
    "{\"id\":1,\"history\":{\"since\":[]}}",
    "{\"id\":1,\"history\":{\"since\":{\"offset\":\"\"}}}",
    "{\"id\":1,\"history\":{\"limit\":\"10\"}}",
    "{\"id\":1,\"history\":{\"reverse\":0}}",
    "{\"id\":1,\"connect\":{},\"rpc\":{\"method\":7}}",
    "{\"id\":1,\"connect\":{},\"ping\":7}",
};

static void malformed(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_frame(CF_JSON, str_from(wrong[i]), "malformed");
    }
    assert_frame(CF_JSON, STR_LIT("{\"id\":1\0}"), "malformed");
    assert_frame(CF_JSON, STR_LIT("{\"id\":1}\0"), "malformed");
    assert_frame(CF_JSON, STR_LIT("{\"a\0b\":1}"), "malformed");
}

/* No start of a command is one. */
static void cut_short(void **state)
{
    static const char text[] = "{\"id\":1,\"connect\":{\"token\":\"a\\n\",\"data\":[{}],\"subs\":{"
                               "\"c\":{\"recover\":true}},"
                               "\"headers\":{\"h\":\"v\"}},\"history\":{\"since\":{\"offset\":1}}}";

    (void)state;
    for (size_t n = 0; n + 1 < sizeof(text) - 1; n++)
        assert_frame(CF_JSON, (struct str){text, n}, "malformed");
}

static void depth(void **state)
{
    struct buf b = {0};

    (void)state;
    for (unsigned levels = JSON_MAX_DEPTH; levels <= JSON_MAX_DEPTH + 1; levels++) {
        buf_clear(&b);
        assert_int_equal(buf_append_lit(&b, "{\"id\":1,\"publish\":{\"data\":"), 0);
        for (unsigned i = 0; i < levels; i++)
            assert_int_equal(buf_append_char(&b, '['), 0);
        for (unsigned i = 0; i < levels; i++)
            assert_int_equal(buf_append_char(&b, ']'), 0);
        assert_int_equal(buf_append_lit(&b, "}}"), 0);
        if (levels == JSON_MAX_DEPTH) {
            assert_int_equal(buf_append_char(&b, '\0'), 0);
            b.len--;
            assert_frame(CF_JSON, buf_view(&b), b.p);
        } else {
            assert_frame(CF_JSON, buf_view(&b), "malformed");
        }
    }
    buf_fini(&b);
}

/* Memory is only asked for where something is escaped, once, and without it the command fails. */
static void memory(void **state)
{
    static const char
        plain[] = "{\"id\":1,\"connect\":{\"token\":\"t\",\"subs\":{\"a\":{\"epoch\":\"e\"}}}}",
        escaped[] = "{\"id\":1,\"connect\":{\"token\":\"\\u0074\",\"subs\":{\"\\u0061\":{}}}}";
    struct buf text = {0};
    struct cf_command c;
    struct cf_input in;

    (void)state;
    fault_reset();
    cf_input_init(&in, CF_JSON, str_from(plain), &text);
    assert_int_equal(cf_next_command(&in, &c), 1);
    assert_int_equal(fault_count(), 0);
    fault_fail_at(1);
    cf_input_init(&in, CF_JSON, str_from(escaped), &text);
    assert_int_equal(cf_next_command(&in, &c), CF_NO_MEMORY);
    fault_reset();
    cf_input_init(&in, CF_JSON, str_from(escaped), &text);
    assert_int_equal(cf_next_command(&in, &c), 1);
    assert_int_equal(fault_count(), 1);
    assert_str(c.connect.token, "t");
    assert_true(text.cap >= sizeof(escaped) - 1);
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_request), cmocka_unit_test(data_as_it_is),
        cmocka_unit_test(tolerated),     cmocka_unit_test(malformed),
        cmocka_unit_test(cut_short),     cmocka_unit_test(depth),
        cmocka_unit_test(memory),
    };

    return cmocka_run_group_tests_name("codec/centrifuge/json_read", tests, NULL, NULL);
}
