/* tests/unit/roostload/test_adapter_nats.c */
#include "adapter_events.h"

#include "cmd/roostload/adapter_nats.c"
#include "fault.h"

static void what_is_sent(void **state)
{
    struct buf out = {0};
    struct str line, rest;

    (void)state;
    assert_int_equal(adapter_nats.hello(NULL, STR_LIT("load-0"), &out), 0);
    rest = buf_view(&out);
    assert_true(str_cut(&rest, '\n', &line));
    assert_true(str_starts_with(line, STR_LIT("CONNECT {\"verbose\":false,")));
    assert_true(str_equal(rest, STR_LIT("SUB load-0 1\r\nPING\r\n")));
    buf_clear(&out);
    assert_int_equal(adapter_nats.publish(NULL, STR_LIT("a"), STR_LIT("x\r\ny"), &out), 0);
    assert_true(str_equal(buf_view(&out), STR_LIT("PUB a 4\r\nx\r\ny\r\n")));
    buf_clear(&out);
    assert_int_equal(adapter_nats.publish(NULL, STR_LIT("a"), STR_NULL, &out), 0);
    assert_true(str_equal(buf_view(&out), STR_LIT("PUB a 0\r\n\r\n")));
    buf_fini(&out);
}

static void session(void **state)
{
    (void)state;
    feed_expect(&adapter_nats,
                STR_LIT("INFO {\"server_id\":\"N\",\"max_payload\":1048576}\r\n"
                        "PONG\r\n"
                        "PING\r\n"
                        "MSG load-0 1 5\r\nhello\r\n"
                        "+OK\r\n"
                        "MSG load-0 1 0\r\n\r\n"
                        "MSG load-0 1 reply.to 6\r\na\r\nb\r\n\r\n"),
                "ready reply(PONG\r\n) message(hello) message() message(a\r\nb\r\n) ");
}

static void what_is_refused(void **state)
{
    static const char *const bad[] = {
        "-ERR 'Authorization Violation'\r\n",
        "\n",
        "PONG\n",
        "pong\r\n",
        "HMSG a 1 12 14\r\n",
        "MSG a 1\r\n",
        "MSG a 1 r x 1\r\n",
        "MSG a 1 -1\r\n",
        "MSG a 1 99999999999\r\n",
        "MSG a 1 18446744073709551615\r\n",
        "MSG a 1 1\r\nxyz",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        feed_refused(&adapter_nats, str_from(bad[i]));
}

static void a_line_without_end(void **state)
{
    static char line[NATS_LINE_MAX + 1];
    struct str rest = {line, sizeof(line) - 1}, payload;
    struct buf reply = {0};

    (void)state;
    memset(line, 'I', sizeof(line));
    assert_int_equal(adapter_nats.receive(NULL, &rest, &payload, &reply), ADAPTER_MORE);
    rest = (struct str){line, sizeof(line)};
    assert_int_equal(adapter_nats.receive(NULL, &rest, &payload, &reply), ADAPTER_REFUSED);
}

static void no_memory(void **state)
{
    struct str rest = STR_LIT("PING\r\n"), payload;
    struct buf out = {0};

    (void)state;
    fault_fail_at(1);
    assert_int_equal(adapter_nats.hello(NULL, STR_LIT("a"), &out), -1);
    fault_fail_at(1);
    assert_int_equal(adapter_nats.publish(NULL, STR_LIT("a"), STR_LIT("x"), &out), -1);
    fault_fail_at(1);
    assert_int_equal(adapter_nats.receive(NULL, &rest, &payload, &out), ADAPTER_REFUSED);
    fault_reset();
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sent),    cmocka_unit_test(session),
        cmocka_unit_test(what_is_refused), cmocka_unit_test(a_line_without_end),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests_name("roostload/adapter_nats", tests, NULL, NULL);
}
