/* tests/unit/roostload/test_adapter_mqtt.c */
#include "adapter_events.h"

#include "cmd/roostload/adapter_mqtt.c"
#include "fault.h"

static void hello(void **state)
{
    static const char expected[] = "\x10\x0c\0\4MQTT\4\2\0\0\0\0"
                                   "\x82\x08\0\1\0\3a/b\0";
    struct buf out = {0};

    (void)state;
    assert_int_equal(adapter_mqtt.hello(NULL, STR_LIT("a/b"), &out), 0);
    assert_int_equal(out.len, sizeof(expected) - 1);
    assert_memory_equal(out.p, expected, out.len);
    buf_fini(&out);
}

static void publish(void **state)
{
    struct buf out = {0};
    char text[200];

    (void)state;
    assert_int_equal(adapter_mqtt.publish(NULL, STR_LIT("ab"), STR_LIT("xyz"), &out), 0);
    assert_true(str_equal(buf_view(&out), STR_LIT("\x30\x07\0\2abxyz")));
    memset(text, 't', sizeof(text));
    buf_clear(&out);
    assert_int_equal(
        adapter_mqtt.publish(NULL, STR_LIT("ab"), (struct str){text, sizeof(text)}, &out), 0);
    assert_int_equal(out.len, 1 + 2 + 4 + 200); /* a length of two bytes: 204 = 0x4c + 128 */
    assert_memory_equal(out.p, "\x30\xcc\x01\0\2ab", 7);
    buf_fini(&out);
}

static void names_and_packets_have_a_limit(void **state)
{
    static char long_name[UINT16_MAX + 1], big[MQTT_PACKET_MAX];
    struct buf out = {0};

    (void)state;
    assert_int_equal(
        adapter_mqtt.publish(NULL, (struct str){long_name, sizeof(long_name)}, STR_NULL, &out), -1);
    buf_clear(&out);
    assert_int_equal(adapter_mqtt.publish(NULL, STR_LIT("a"), (struct str){big, sizeof(big)}, &out),
                     -1);
    buf_fini(&out);
}

static void session(void **state)
{
    static const char stream[] = "\x20\x02\0\0"           /* CONNACK */
                                 "\x90\x03\0\1\0"         /* SUBACK */
                                 "\x30\x06\0\1ahey"       /* PUBLISH */
                                 "\xd0\0"                 /* PINGRESP */
                                 "\x31\x03\0\1a"          /* PUBLISH, retained, empty */
                                 "\x30\x86\x80\0\0\2abuv" /* a length longer than needed */
                                 "\x30\x05\0\1a\xc3\xa9"; /* any bytes */

    (void)state;
    feed_expect(&adapter_mqtt, (struct str){stream, sizeof(stream) - 1},
                "ready message(hey) message() message(uv) message(\xc3\xa9) ");
}

static void long_publication(void **state)
{
    char stream[3 + 3 + 300], events[400];
    struct str s = {stream, sizeof(stream)};

    (void)state;
    memset(stream, 'm', sizeof(stream));
    memcpy(stream, "\x30\xaf\x02\0\1z", 6); /* 303 = 0x2f + 2 * 128 */
    snprintf(events, sizeof(events), "message(%.300s) ", stream + 6);
    feed_expect(&adapter_mqtt, s, events);
}

static void what_is_refused(void **state)
{
    (void)state;
    feed_refused(&adapter_mqtt, STR_LIT("\x20\x02\0\5"));         /* not authorised */
    feed_refused(&adapter_mqtt, STR_LIT("\x20\x01\0"));           /* too short */
    feed_refused(&adapter_mqtt, STR_LIT("\x90\x03\0\1\x80"));     /* subscription failed */
    feed_refused(&adapter_mqtt, STR_LIT("\x90\x03\0\1\1"));       /* QoS 1 was not asked for */
    feed_refused(&adapter_mqtt, STR_LIT("\x32\x06\0\1a\0\1x"));   /* QoS 1 */
    feed_refused(&adapter_mqtt, STR_LIT("\x30\x01\0"));           /* no topic */
    feed_refused(&adapter_mqtt, STR_LIT("\x30\x03\0\2a"));        /* topic longer than packet */
    feed_refused(&adapter_mqtt, STR_LIT("\x30\xff\xff\xff\xff")); /* length of five bytes */
    feed_refused(&adapter_mqtt, STR_LIT("\x30\xff\xff\xff\x7f")); /* 256 MiB */
    feed_refused(&adapter_mqtt, STR_LIT("\x10\0"));               /* a client's packet */
    feed_refused(&adapter_mqtt, STR_LIT("\0\0"));                 /* reserved */
}

static void no_memory(void **state)
{
    (void)state;
    for (unsigned k = 1; k <= 2; k++) {
        struct buf out = {0};

        fault_fail_at(1);
        assert_int_equal(k == 1 ? adapter_mqtt.hello(NULL, STR_LIT("a"), &out)
                                : adapter_mqtt.publish(NULL, STR_LIT("a"), STR_LIT("x"), &out),
                         -1);
        fault_reset();
        buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello),
        cmocka_unit_test(publish),
        cmocka_unit_test(names_and_packets_have_a_limit),
        cmocka_unit_test(session),
        cmocka_unit_test(long_publication),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests_name("roostload/adapter_mqtt", tests, NULL, NULL);
}
