/* codec/centrifuge/json_write: replies and pushes in JSON; what is left out and what is not. */
#include "cf_text.h"

#include "codec/centrifuge/json_write.c"
#include "tests/lib/fault.h"

static void assert_reply(struct cf_reply r, const char *expected)
{
    struct buf out = {0};

    assert_int_equal(cf_encode_reply(CF_JSON, &r, &out), 0);
    assert_text(&out, expected);
    buf_fini(&out);
}

#define REPLY(...) ((struct cf_reply){__VA_ARGS__})

/* Everything is left out that says nothing, but for what is always written. */
static void empty_results(void **state)
{
    (void)state;
    assert_reply(REPLY(0), "{}");
    assert_reply(REPLY(.id = 3), "{\"id\":3}");
    assert_reply(REPLY(.id = 3, .has_connect = true), "{\"id\":3,\"connect\":{}}");
    assert_reply(REPLY(.id = 3, .has_subscribe = true), "{\"id\":3,\"subscribe\":{}}");
    assert_reply(REPLY(.id = 3, .has_unsubscribe = true), "{\"id\":3,\"unsubscribe\":{}}");
    assert_reply(REPLY(.id = 3, .has_publish = true), "{\"id\":3,\"publish\":{}}");
    assert_reply(REPLY(.id = 3, .has_presence = true), "{\"id\":3,\"presence\":{\"presence\":{}}}");
    assert_reply(REPLY(.id = 3, .has_presence_stats = true),
                 "{\"id\":3,\"presence_stats\":{\"num_clients\":0,\"num_users\":0}}");
    assert_reply(REPLY(.id = 3, .has_history = true),
                 "{\"id\":3,\"history\":{\"publications\":[],\"epoch\":\"\",\"offset\":0}}");
    assert_reply(REPLY(.id = 3, .has_rpc = true), "{\"id\":3,\"rpc\":{}}");
    assert_reply(REPLY(.id = 3, .has_refresh = true), "{\"id\":3,\"refresh\":{}}");
    assert_reply(REPLY(.id = 3, .has_sub_refresh = true), "{\"id\":3,\"sub_refresh\":{}}");
    assert_reply(REPLY(.id = 3, .has_error = true), "{\"id\":3,\"error\":{}}");
}

static void full_results(void **state)
{
    (void)state;
    assert_reply(REPLY(.id = 1, .has_connect = true, .connect.client = STR_LIT("c2f"),
                       .connect.version = STR_LIT("6.9.1"), .connect.expires = true,
                       .connect.ttl = 60, .connect.data = STR_LIT("{\"a\":1}"),
                       .connect.subs = STR_LIT("{\"x\":{}}"), .connect.ping = 25,
                       .connect.pong = true, .connect.session = STR_LIT("s"),
                       .connect.node = STR_LIT("n"), .connect.time = -5),
                 "{\"id\":1,\"connect\":{\"client\":\"c2f\",\"version\":\"6.9.1\",\"expires\":true,"
                 "\"ttl\":60,\"data\":{\"a\":1},\"subs\":{\"x\":{}},\"ping\":25,\"pong\":true,"
                 "\"session\":\"s\",\"node\":\"n\",\"time\":-5}}");
    assert_reply(REPLY(.id = 2, .has_subscribe = true, .subscribe.recoverable = true,
                       .subscribe.epoch = STR_LIT("xyzabcde"),
                       .subscribe.publications = STR_LIT("[{\"data\":1,\"offset\":6}]"),
                       .subscribe.recovered = true, .subscribe.offset = 5,
                       .subscribe.positioned = true, .subscribe.was_recovering = true),
                 "{\"id\":2,\"subscribe\":{\"recoverable\":true,\"epoch\":\"xyzabcde\","
                 "\"publications\":[{\"data\":1,\"offset\":6}],\"recovered\":true,\"offset\":5,"
                 "\"positioned\":true,\"was_recovering\":true}}");
    assert_reply(REPLY(.id = 2, .has_subscribe = true, .subscribe.expires = true,
                       .subscribe.ttl = 4294967295, .subscribe.data = STR_LIT("null"),
                       .subscribe.delta = true),
                 "{\"id\":2,\"subscribe\":{\"expires\":true,\"ttl\":4294967295,\"data\":null,"
                 "\"delta\":true}}");
    assert_reply(REPLY(.id = 6, .has_error = true, .error = cf_error(CF_ERROR_PERMISSION_DENIED)),
                 "{\"id\":6,\"error\":{\"code\":103,\"message\":\"permission denied\"}}");
    assert_reply(REPLY(.id = 6, .has_error = true, .error = cf_error(CF_ERROR_INTERNAL)),
                 "{\"id\":6,\"error\":{\"code\":100,\"message\":\"internal server error\","
                 "\"temporary\":true}}");
    assert_reply(REPLY(.id = 6, .has_error = true, .error = cf_error(1234)),
                 "{\"id\":6,\"error\":{\"code\":1234}}");
    assert_reply(REPLY(.id = 7, .has_refresh = true, .refresh.expires = true, .refresh.ttl = 60),
                 "{\"id\":7,\"refresh\":{\"expires\":true,\"ttl\":60}}");
}

static void pushes(void **state)
{
    struct cf_publication p = {.data = STR_LIT("{\"x\":1}"),
                               .has_info = true,
                               .info = {.chan_info = STR_LIT("{}")},
                               .offset = 18446744073709551615u,
                               .tags = STR_LIT("{\"a\":\"b\"}"),
                               .delta = true,
                               .epoch = STR_LIT("e")};
    struct cf_push push = {.channel = STR_LIT("news"), .has_pub = true, .pub = p};
    struct buf out = {0};

    (void)state;
    assert_reply(REPLY(.has_push = true, .push = push),
                 "{\"push\":{\"channel\":\"news\",\"pub\":{\"data\":{\"x\":1},\"info\":{\"user\":"
                 "\"\",\"client\":\"\",\"chan_info\":{}},\"offset\":18446744073709551615,\"tags\":{"
                 "\"a\":\"b\"},\"delta\":true,\"epoch\":\"e\"}}}");
    assert_int_equal(cf_encode_push(CF_JSON,
                                    &(struct cf_push){.has_disconnect = true,
                                                      .disconnect.code = 3001,
                                                      .disconnect.reason = STR_LIT("shutdown")},
                                    &out),
                     0);
    assert_text(&out, "{\"disconnect\":{\"code\":3001,\"reason\":\"shutdown\"}}");
    buf_fini(&out);
    assert_reply(
        REPLY(.has_push = true, .push.channel = STR_LIT("c"), .push.has_leave = true,
              .push.leave.has_info = true, .push.leave.info.user = STR_LIT("u"),
              .push.leave.info.client = STR_LIT("x")),
        "{\"push\":{\"channel\":\"c\",\"leave\":{\"info\":{\"user\":\"u\",\"client\":\"x\"}"
        "}}}");
    assert_reply(REPLY(.has_push = true, .push.channel = STR_LIT("c"), .push.has_unsubscribe = true,
                       .push.unsubscribe.code = 2500,
                       .push.unsubscribe.reason = STR_LIT("insufficient state")),
                 "{\"push\":{\"channel\":\"c\",\"unsubscribe\":{\"code\":2500,\"reason\":"
                 "\"insufficient state\"}}}");
    assert_reply(REPLY(.has_push = true, .push.channel = STR_LIT("c"), .push.has_subscribe = true,
                       .push.subscribe.positioned = true),
                 "{\"push\":{\"channel\":\"c\",\"subscribe\":{\"positioned\":true}}}");
}

static void connect_push(void **state)
{
    struct cf_connect_result r = {.client = STR_LIT("c"), .subs = STR_LIT("{\"x\":{}}"), .ttl = 1};
    struct cf_push p = {.has_connect = true, .connect = cf_connect_push_of(&r)};
    struct buf out = {0};

    (void)state;
    assert_int_equal(cf_encode_push(CF_JSON, &p, &out), 0);
    assert_text(&out, "{\"connect\":{\"client\":\"c\",\"subs\":{\"x\":{}},\"ttl\":1}}");
    buf_fini(&out);
}

/* Text is escaped as little as possible; what is not UTF-8 becomes U+FFFD. Of RAW values the line
 * ends go, which stand between tokens. */
static void text_and_raw(void **state)
{
    (void)state;
    assert_reply(
        REPLY(.has_push = true, .push.channel = STR_LIT("<\"\\/\n\x01\x7f\xc3\xa9&>"),
              .push.has_pub = true,
              .push.pub.data = STR_LIT("{\n \"a\" :\r\n 1, \"b\":\"\\n\"\n}\n")),
        "{\"push\":{\"channel\":\"<\\\"\\\\/\\n\\u0001\x7f\xc3\xa9&>\",\"pub\":{\"data\":{ "
        "\"a\" : 1, \"b\":\"\\n\"}}}}");
    assert_reply(REPLY(.has_push = true, .push.channel = STR_LIT("a\xff\xc3(")),
                 "{\"push\":{\"channel\":\"a\xef\xbf\xbd\xef\xbf\xbd(\"}}");
}

/* At any failing allocation: -1 and out as it was; the next time it works. */
static void memory(void **state)
{
    struct cf_reply r = {.id = 1,
                         .has_connect = true,
                         .connect = {.client = STR_LIT("a client of some length"),
                                     .version = STR_LIT("a version"),
                                     .ping = 25}};
    unsigned long k = 1;
    struct buf out;

    (void)state;
    for (int rc = -1; rc == -1; k++) {
        out = (struct buf){0};
        fault_reset();
        assert_int_equal(buf_append_lit(&out, "before"), 0);
        fault_fail_at(k);
        rc = cf_encode_reply(CF_JSON, &r, &out);
        if (rc == -1)
            assert_text(&out, "before");
        buf_fini(&out);
    }
    fault_reset();
    assert_true(k > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_results), cmocka_unit_test(full_results), cmocka_unit_test(pushes),
        cmocka_unit_test(connect_push),  cmocka_unit_test(text_and_raw), cmocka_unit_test(memory),
    };

    return cmocka_run_group_tests_name("codec/centrifuge/json_write", tests, NULL, NULL);
}
