/* Bodies of the server API: what they mean, and what is said of the others. */
#include "proto/api_parse.c"

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

static void assert_data(const char *channel, const char *data, size_t n, uint8_t flags)
{
    assert_true(str_equal(r.channel, str_from(channel)));
    assert_int_equal(r.data.n, n);
    assert_memory_equal(r.data.p, data, n);
    assert_int_equal(r.flags, flags);
}

static void publish_takes_data_as_it_is(void **state UNUSED)
{
    static const char *const data[] = {
        "{\"text\" : \"hi\"}", "\"s\"", "1.50", "null", "[1, 2]", "true", "\"\\u00e4\""};
    char body[200];

    for (size_t i = 0; i < ARRAY_LEN(data); i++) {
        snprintf(body, sizeof(body), " {\"channel\":\"lo\\u0062by\",\"data\": %s } ", data[i]);
        assert_int_equal(parse(API_PUBLISH, body), 0);
        assert_data("lobby", data[i], strlen(data[i]), RECORD_JSON);
    }
}

static void publish_decodes_b64data(void **state UNUSED)
{
    char body[2000];
    int n = snprintf(body, sizeof(body), "{\"b64data\":\"");

    assert_int_equal(parse(API_PUBLISH, "{\"channel\":\"a\",\"b64data\":\"AP8=\"}"), 0);
    assert_data("a", "\0\xff", 2, RECORD_BINARY);
    assert_int_equal(parse(API_PUBLISH, "{\"channel\":\"a\",\"b64data\":\"\\/+8=\"}"), 0);
    assert_data("a", "\xff\xef", 2, RECORD_BINARY);
    memset(body + n, 'A', 1600);
    snprintf(body + n + 1600, sizeof(body) - 1600 - (size_t)n, "\",\"channel\":\"long\"}");
    assert_int_equal(parse(API_PUBLISH, body), 0);
    assert_true(str_equal(r.channel, STR_LIT("long")));
    assert_int_equal(r.data.n, 1200);
    /* Empty is absent, as the original has it. */
    assert_int_equal(parse(API_PUBLISH, "{\"channel\":\"a\",\"b64data\":\"\"}"), 0);
    assert_data("a", "", 0, RECORD_BINARY);
    assert_int_equal(parse(API_PUBLISH, "{\"channel\":\"a\",\"data\":1,\"b64data\":\"\"}"), 0);
    assert_data("a", "1", 1, RECORD_JSON);
}

static void harmless_members_are_ignored(void **state UNUSED)
{
    assert_int_equal(parse(API_PUBLISH, "{\"channel\":\"a\",\"data\":1,\"skip_history\":true,"
                                        "\"tags\":{\"a\":\"b\"},\"delta\":false,\"foo\":[],"
                                        "\"idempotency_key\":\"\",\"version\":0}"),
                     0);
    assert_data("a", "1", 1, RECORD_JSON);
}

struct bad {
    enum api_method method;
    const char *body;
    int code; /* 0: no JSON object */
    size_t at;
};

static const struct bad bads[] = {
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
    {API_PUBLISH, "{}", 107, 0},
    {API_PUBLISH, "{\"channel\":\"a\"}", 107, 0},
    {API_PUBLISH, "{\"data\":1}", 107, 0},
    {API_PUBLISH, "{\"channel\":null,\"data\":1}", 107, 0},
    {API_PUBLISH, "{\"channel\":\"a\",\"data\":1,\"data\":1}", 107, 0},
    {API_PUBLISH, "{\"channel\":\"a\",\"data\":1,\"ch\\u0061nnel\":\"b\"}", 107, 0},
    {API_PUBLISH, "{\"channel\":null,\"channel\":\"a\",\"data\":1}", 107, 0},
    {API_BROADCAST, "{\"channels\":[\"a\"],\"channels\":[\"b\"],\"data\":1}", 107, 0},
    {API_CHANNELS, "{\"pattern\":\"a\",\"pattern\":\"b\"}", 107, 0},
    {API_PUBLISH, "{\"channel\":1,\"data\":1}", 107, 0},
    {API_PUBLISH, "{\"channel\":\"\",\"data\":1}", 107, 0},
    {API_PUBLISH, "{\"channel\":\"a b\",\"data\":1}", 107, 0},
    {API_PUBLISH, "{\"channel\":\"a*\",\"data\":1}", 107, 0},
    {API_PUBLISH, "{\"channel\":\"\\u0000\",\"data\":1}", 107, 0},
    {API_PUBLISH, "{\"channel\":\"\\ud800\",\"data\":1}", 107, 0},
    {API_PUBLISH, "{\"channel\":\"a\",\"b64data\":\"A\"}", 107, 0},
    {API_PUBLISH, "{\"channel\":\"a\",\"b64data\":\"A===\"}", 107, 0},
    {API_PUBLISH, "{\"channel\":\"a\",\"b64data\":\"AA==AA==\"}", 107, 0},
    {API_PUBLISH, "{\"channel\":\"a\",\"b64data\":\"AB==\"}", 107, 0},
    {API_PUBLISH, "{\"channel\":\"a\",\"b64data\":\"AAB=\"}", 107, 0},
    {API_PUBLISH, "{\"channel\":\"a\",\"b64data\":\"AA\\n=\"}", 107, 0},
    {API_PUBLISH, "{\"channel\":\"a\",\"b64data\":\"A-_A\"}", 107, 0},
    {API_PUBLISH, "{\"channel\":\"a\",\"b64data\":\"=AAA\"}", 107, 0},
    {API_PUBLISH, "{\"channel\":\"a\",\"b64data\":5}", 107, 0},
    {API_PUBLISH, "{\"channel\":\"a\",\"data\":1,\"b64data\":\"AA==\"}", 107, 0},
    {API_PUBLISH, "{\"channel\":\"a\",\"data\":1,\"idempotency_key\":\"k\"}", 108, 0},
    {API_PUBLISH, "{\"channel\":\"a\",\"data\":1,\"version\":7}", 108, 0},
    {API_BROADCAST, "{\"data\":1}", 107, 0},
    {API_BROADCAST, "{\"channels\":[],\"data\":1}", 107, 0},
    {API_BROADCAST, "{\"channels\":\"a\",\"data\":1}", 107, 0},
    {API_BROADCAST, "{\"channels\":[\"a\",1],\"data\":1}", 107, 0},
    {API_BROADCAST, "{\"channels\":[\"a\"]}", 107, 0},
    {API_BROADCAST, "{\"channel\":\"a\",\"data\":1}", 107, 0},
    {API_CHANNELS, "{\"pattern\":5}", 107, 0},
};

static void what_is_refused(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(bads); i++) {
        const struct bad *b = &bads[i];

        if (parse(b->method, b->body) != -1)
            fail_msg("accepted: %s", b->body);
        if (fault.code != b->code || fault.at != b->at || fault.why != CLOSE_NONE)
            fail_msg("%s: code %d at %zu (%s)", b->body, fault.code, fault.at, fault.message);
        assert_true(strlen(fault.message) > 0);
    }
}

static void sizes_are_bounded(void **state UNUSED)
{
    static char body[200000];
    int n;

    config.max_message_size = 1000;
    n = snprintf(body, sizeof(body), "{\"channel\":\"a\",\"data\":\"");
    memset(body + n, 'x', 999);
    snprintf(body + n + 999, 3, "\"}");
    assert_int_equal(parse(API_PUBLISH, body), -1);
    assert_int_equal(fault.code, API_BAD_REQUEST);
    snprintf(body + n + 998, 3, "\"}");
    assert_int_equal(parse(API_PUBLISH, body), 0);
    n = snprintf(body, sizeof(body), "{\"data\":1,\"channels\":[\"a\"");
    for (int i = 1; i < API_MAX_BROADCAST; i++)
        n += snprintf(body + n, sizeof(body) - (size_t)n, ",\"a\"");
    snprintf(body + n, sizeof(body) - (size_t)n, "]}");
    assert_int_equal(parse(API_BROADCAST, body), 0);
    snprintf(body + n, sizeof(body) - (size_t)n, ",\"a\"]}");
    assert_int_equal(parse(API_BROADCAST, body), -1);
    n = snprintf(body, sizeof(body), "{\"pattern\":\"");
    memset(body + n, 'x', 256);
    snprintf(body + n + 256, 3, "\"}");
    assert_int_equal(parse(API_CHANNELS, body), -1);
    assert_int_equal(fault.code, API_BAD_REQUEST);
}

static void patterns_and_empty_bodies(void **state UNUSED)
{
    assert_int_equal(parse(API_CHANNELS, ""), 0);
    assert_true(str_equal(r.pattern, STR_LIT("*")));
    assert_int_equal(parse(API_CHANNELS, "{\"pattern\":\"\"}"), 0);
    assert_true(str_equal(r.pattern, STR_LIT("*")));
    assert_int_equal(parse(API_CHANNELS, "{\"pattern\":\"a\\u002a\"}"), 0);
    assert_true(str_equal(r.pattern, STR_LIT("a*")));
    assert_int_equal(parse(API_INFO, ""), 0);
    assert_int_equal(parse(API_INFO, "{\"x\":1}"), 0);
}

static void base64_vectors(void **state UNUSED)
{
    static const char *const pairs[][2] = {/* RFC 4648 §10 */
                                           {"", ""},
                                           {"Zg==", "f"},
                                           {"Zm8=", "fo"},
                                           {"Zm9v", "foo"},
                                           {"Zm9vYg==", "foob"},
                                           {"Zm9vYmE=", "fooba"},
                                           {"Zm9vYmFy", "foobar"}};
    enum close_reason why;

    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        struct buf out = {0};

        assert_int_equal(api_base64_decode(str_from(pairs[i][0]), &out, &why), 0);
        assert_true(str_equal(buf_view(&out), str_from(pairs[i][1])));
        buf_fini(&out);
    }
}

static void no_memory_is_said(void **state UNUSED)
{
    static const char *const bodies[] = {"{\"channel\":\"a\",\"data\":1}",
                                         "{\"channel\":\"a\",\"b64data\":\"AAAA\"}",
                                         "{\"channel\":\"a\",\"b64data\":\"AA\\/A\"}"};

    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        for (unsigned k = 1;; k++) {
            unsigned long made;
            int rc;

            api_request_fini(&r);
            fault_fail_at(k);
            rc = api_parse(API_PUBLISH, str_from(bodies[i]), &r, &fault);
            made = fault_count();
            fault_reset();
            if (made < k)
                break;
            assert_int_equal(rc, -1);
            assert_int_equal(fault.why, CLOSE_NO_MEMORY);
        }
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(publish_takes_data_as_it_is),
        T(publish_decodes_b64data),
        T(harmless_members_are_ignored),
        T(what_is_refused),
        T(sizes_are_bounded),
        T(patterns_and_empty_bodies),
        T(base64_vectors),
        T(no_memory_is_said),
    };

    return cmocka_run_group_tests_name("proto/api_parse", tests, NULL, NULL);
}
