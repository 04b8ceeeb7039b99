/* Bodies of the server API: what they mean, and what is said of the others. */
#include "proto/api/parse.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fault.h"

static int setup(void **state UNUSED)
{
    config_defaults(&config);
    return 0;
}

static struct api_request r;
static struct api_fault fault;

static int parse(enum api_method method, const char *body)
{
    api_request_fini(&r);
    return api_parse(method, str_from(body), &r, &fault);
}

static int teardown(void **state UNUSED)
{
    api_request_fini(&r);
    return 0;
}

static void data_is_taken_as_it_is(void **state UNUSED)
{
    static const char *const data[] = {"{\"text\" : \"hi\"}",
                                       "\"s\"",
                                       "1.50",
                                       "null",
                                       "[1, 2]",
                                       "true",
                                       "\"\\u00e4\"",
                                       "12345678901234567890",
                                       "\"\\/\"",
                                       "{\"a\":1,\"a\":2}"};
    char body[200];

    for (size_t i = 0; i < ARRAY_LEN(data); i++) {
        snprintf(body, sizeof(body), " {\"channel\":\"lo\\u0062by\",\"data\": %s } ", data[i]);
        assert_int_equal(parse(API_PUBLISH, body), 0);
        assert_true(str_equal(r.channel, STR_LIT("lobby")));
        assert_true(str_equal(r.data, str_from(data[i])));
        assert_null(r.b64data.p);
    }
}

static void bytes_are_decoded(void **state UNUSED)
{
    char body[2000];
    int n = snprintf(body, sizeof(body), "{\"b64data\":\"");

    assert_int_equal(parse(API_PUBLISH, "{\"channel\":\"a\",\"b64data\":\"AP8=\"}"), 0);
    assert_true(str_equal(r.b64data, (struct str){"\0\xff", 2}));
    assert_int_equal(parse(API_PUBLISH, "{\"b64data\":\"\\/+8=\",\"channel\":\"a\"}"), 0);
    assert_true(str_equal(r.b64data, STR_LIT("\xff\xef")));
    assert_true(str_equal(r.channel, STR_LIT("a")));
    memset(body + n, 'A', 1600);
    snprintf(body + n + 1600, sizeof(body) - 1600 - (size_t)n, "\",\"channel\":\"long\"}");
    assert_int_equal(parse(API_PUBLISH, body), 0);
    assert_true(str_equal(r.channel, STR_LIT("long")));
    assert_int_equal(r.b64data.n, 1200);
    assert_int_equal(parse(API_PUBLISH, "{\"b64data\":\"\"}"), 0);
    assert_true(r.b64data.p != NULL && r.b64data.n == 0);
}

static void every_kind_is_read(void **state UNUSED)
{
    struct str rest, name, value;

    assert_int_equal(parse(API_PUBLISH,
                           "{\"channel\":\"a\",\"data\":1,\"skip_history\":true,\"delta\":false,"
                           "\"tags\":{\"a\":\"b\",\"\\u0063\":\"\"},\"idempotency_key\":\"k\","
                           "\"version\":18446744073709551615,\"version_epoch\":\"e\",\"foo\":[]}"),
                     0);
    assert_true(r.skip_history && !r.delta);
    assert_true(r.version == UINT64_MAX);
    assert_true(str_equal(r.version_epoch, STR_LIT("e")));
    assert_true(str_equal(r.idempotency_key, STR_LIT("k")));
    rest = r.tags;
    assert_true(tags_next(&rest, &name, &value));
    assert_true(str_equal(name, STR_LIT("a")) && str_equal(value, STR_LIT("b")));
    assert_true(tags_next(&rest, &name, &value));
    assert_true(str_equal(name, STR_LIT("c")) && value.n == 0);
    assert_false(tags_next(&rest, &name, &value));
    assert_int_equal(parse(API_HISTORY, "{\"channel\":\"a\",\"limit\":-1,\"reverse\":true,"
                                        "\"since\":{\"epoch\":\"x\",\"offset\":7}}"),
                     0);
    assert_true(r.limit == -1 && r.reverse && r.has_since && r.since_offset == 7);
    assert_true(str_equal(r.since_epoch, STR_LIT("x")));
    assert_int_equal(parse(API_SUBSCRIBE,
                           "{\"override\":{\"presence\":{\"value\":true},\"join_leave\":{},"
                           "\"force_recovery\":{\"value\":false},\"force_positioning\":null}}"),
                     0);
    assert_int_equal(r.override_presence, API_SAYS_YES);
    assert_int_equal(r.override_join_leave, API_SAYS_NO);
    assert_int_equal(r.override_force_recovery, API_SAYS_NO);
    assert_int_equal(r.override_force_positioning, API_SAYS_NOTHING);
    assert_int_equal(parse(API_DISCONNECT, "{\"whitelist\":[\"a\",\"b\"],\"disconnect\":"
                                           "{\"code\":4000,\"reason\":\"\\u0072\"}}"),
                     0);
    assert_true(r.whitelist.n == 2 && r.disconnect_code == 4000);
    assert_true(str_equal(r.disconnect_reason, STR_LIT("r")));
    assert_int_equal(parse(API_BATCH, "{\"commands\":[{},{}],\"parallel\":true}"), 0);
    assert_true(r.commands.n == 2 && r.parallel);
}

/* null, and what another method takes. */
static void what_is_as_good_as_absent(void **state UNUSED)
{
    assert_int_equal(parse(API_PUBLISH, "{\"channel\":null,\"tags\":null,\"b64data\":null,"
                                        "\"version\":null,\"channels\":5,\"since\":6}"),
                     0);
    assert_true(r.channel.n == 0 && r.data.p == NULL && r.b64data.p == NULL && r.version == 0);
    assert_int_equal(parse(API_SUBSCRIBE, "{\"info\":null,\"recover_since\":null}"), 0);
    assert_true(r.info.p == NULL && !r.has_recover_since);
    assert_int_equal(parse(API_CHANNELS, ""), 0);
    assert_int_equal(parse(API_INFO, ""), 0);
    assert_int_equal(parse(API_INFO, "{\"x\":1}"), 0);
}

static const struct bad {
    enum api_method method;
    const char *body;
    enum api_code code; /* NO_ERROR: it cannot be read */
    size_t at;
} bads[] = {
    {API_PUBLISH, "", 0, 0},
    {API_PUBLISH, "{", 0, 1},
    {API_PUBLISH, "{\"channel\":}", 0, 11},
    {API_PUBLISH, "{} x", 0, 3},
    {API_PUBLISH, "channel=a&data=b", 0, 0},
    {API_PUBLISH, "{\"channel\":\"\xff\"}", 0, 12},
    {API_PUBLISH, "[]", 0, 0},
    {API_PUBLISH, "1", 0, 0},
    {API_INFO, "[]", 0, 0},
    {API_CHANNELS, "nul", 0, 3},
    {API_PUBLISH, "{\"channel\":\"a\",\"data\":1,\"data\":1}", API_BAD_REQUEST, 0},
    {API_PUBLISH, "{\"channel\":\"a\",\"data\":1,\"ch\\u0061nnel\":\"b\"}", API_BAD_REQUEST, 0},
    {API_PUBLISH, "{\"channel\":null,\"channel\":\"a\",\"data\":1}", API_BAD_REQUEST, 0},
    {API_BROADCAST, "{\"channels\":[\"a\"],\"channels\":[\"b\"]}", API_BAD_REQUEST, 0},
    {API_HISTORY, "{\"since\":{\"offset\":1,\"offset\":1}}", API_BAD_REQUEST, 0},
    {API_PUBLISH, "{\"channel\":1}", 0, 0},
    {API_PUBLISH, "{\"channel\":\"\\ud800\"}", 0, 0},
    {API_PUBLISH, "{\"b64data\":\"A\"}", API_BAD_REQUEST, 0},
    {API_PUBLISH, "{\"b64data\":\"A===\"}", API_BAD_REQUEST, 0},
    {API_PUBLISH, "{\"b64data\":\"AA==AA==\"}", API_BAD_REQUEST, 0},
    {API_PUBLISH, "{\"b64data\":\"AB==\"}", API_BAD_REQUEST, 0},
    {API_PUBLISH, "{\"b64data\":\"AA\\n=\"}", API_BAD_REQUEST, 0},
    {API_PUBLISH, "{\"b64data\":\"A-_A\"}", API_BAD_REQUEST, 0},
    {API_PUBLISH, "{\"b64data\":5}", 0, 0},
    {API_PUBLISH, "{\"skip_history\":\"yes\"}", 0, 0},
    {API_PUBLISH, "{\"delta\":1}", 0, 0},
    {API_PUBLISH, "{\"version\":-1}", 0, 0},
    {API_PUBLISH, "{\"version\":1.5}", 0, 0},
    {API_PUBLISH, "{\"version\":\"1\"}", 0, 0},
    {API_PUBLISH, "{\"version\":18446744073709551616}", 0, 0},
    {API_PUBLISH, "{\"tags\":\"x\"}", 0, 0},
    {API_PUBLISH, "{\"tags\":{\"a\":1}}", 0, 0},
    {API_PUBLISH, "{\"tags\":{\"a\":null}}", 0, 0},
    {API_BROADCAST, "{\"channels\":\"a\"}", 0, 0},
    {API_BROADCAST, "{\"channels\":[\"a\",1]}", 0, 0},
    {API_CHANNELS, "{\"pattern\":5}", 0, 0},
    {API_HISTORY, "{\"limit\":\"1\"}", 0, 0},
    {API_HISTORY, "{\"limit\":1e3}", 0, 0},
    {API_HISTORY, "{\"limit\":9223372036854775808}", 0, 0},
    {API_HISTORY, "{\"since\":[]}", 0, 0},
    {API_HISTORY, "{\"since\":{\"offset\":-1}}", 0, 0},
    {API_SUBSCRIBE, "{\"override\":{\"presence\":true}}", 0, 0},
    {API_SUBSCRIBE, "{\"override\":{\"presence\":{\"value\":1}}}", 0, 0},
    {API_BATCH, "{\"commands\":{}}", 0, 0},
    {API_BATCH, "{\"commands\":[1]}", 0, 0},
};

static void what_is_refused(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(bads); i++) {
        const struct bad *b = &bads[i];

        if (parse(b->method, b->body) != -1)
            fail_msg("accepted: %s", b->body);
        if (fault.code != b->code || fault.at != b->at || fault.why != CLOSE_NONE)
            fail_msg("%s: code %d at %zu (%s)", b->body, (int)fault.code, fault.at, fault.message);
        assert_true(strlen(fault.message) > 0);
    }
}

/* Views into the text stay good, whatever comes behind them. */
static void text_does_not_move(void **state UNUSED)
{
    static char body[60000];
    int n = snprintf(body, sizeof(body), "{\"channel\":\"\\u0061\",\"tags\":{\"k\":\"v\"");

    for (int i = 0; n < 50000; i++)
        n += snprintf(body + n, sizeof(body) - (size_t)n, ",\"%d\":\"\"", i);
    snprintf(body + n, sizeof(body) - (size_t)n, "},\"version_epoch\":\"z\"}");
    assert_int_equal(parse(API_PUBLISH, body), 0);
    assert_true(str_equal(r.channel, STR_LIT("a")));
    assert_true(r.channel.p == r.text.p && r.text.len <= r.text.cap);
    assert_true(str_equal(r.version_epoch, STR_LIT("z")));
}

static void no_memory_is_said(void **state UNUSED)
{
    for (unsigned k = 1;; k++) {
        unsigned long made;
        int rc;

        api_request_fini(&r);
        fault_fail_at(k);
        rc = api_parse(API_PUBLISH, STR_LIT("{\"channel\":\"a\",\"tags\":{\"a\":\"b\"}}"), &r,
                       &fault);
        made = fault_count();
        fault_reset();
        if (made < k)
            break;
        assert_int_equal(rc, -1);
        assert_int_equal(fault.why, CLOSE_NO_MEMORY);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(data_is_taken_as_it_is),    T(bytes_are_decoded), T(every_kind_is_read),
        T(what_is_as_good_as_absent), T(what_is_refused),   T(text_does_not_move),
        T(no_memory_is_said),
    };

    return cmocka_run_group_tests_name("proto/api/parse", tests, NULL, NULL);
}
