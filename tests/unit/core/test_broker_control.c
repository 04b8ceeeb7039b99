/* Control messages in a worker: sent, received once for each incarnation, answered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/broker_control.c"

#include "broker_harness.h"

#define BROKER_TEST(f) cmocka_unit_test_setup_teardown(f, broker_setup, broker_teardown)

static char heard[256];
static unsigned nanswers;

static void on_control(unsigned from, struct str data)
{
    size_t n = strlen(heard);

    snprintf(heard + n, sizeof(heard) - n, "%u:%.*s ", from, STR_ARG(data));
}

static void on_controlled(const struct record *r)
{
    assert_int_equal(r->kind, RECORD_CONTROLLED);
    assert_int_equal(r->token, 5);
    nanswers++;
}

static const struct sink_ops hears = {.answered = not_asked, .control = on_control};
static const struct sink_ops asks = {.answered = on_controlled};
static const struct sink_ops *const control_sinks[KINDS] = {[CLIENT] = &hears, [ASKER] = &asks};

static void send_control(uint8_t flags, uint16_t source, uint64_t position, const char *data)
{
    assert_true(to_broker((struct record){.kind = RECORD_CONTROL_MESSAGE,
                                          .flags = flags,
                                          .source = source,
                                          .position = position,
                                          .data = str_from(data)}));
}

static void sent_and_answered(void **state)
{
    const struct record *r;

    (void)state;
    broker->cfg.sinks = control_sinks;
    nanswers = 0;
    assert_int_equal(broker_control(broker, asker(5), BROKER_ALL_WORKERS, STR_LIT("x")), 0);
    flush();
    expect_record(RECORD_HELLO, "");
    r = expect_record(RECORD_CONTROL, "");
    assert_true(r->chan == UINT32_MAX && r->token == 5 && r->epoch == 0 &&
                str_equal(r->data, STR_LIT("x")));
    assert_true(to_broker((struct record){.kind = RECORD_CONTROLLED, .token = 5, .position = 8}));
    assert_true(to_broker((struct record){.kind = RECORD_CONTROLLED, .token = 5, .position = 8}));
    turn();
    assert_int_equal(nanswers, 1);
    assert_int_equal(broker_control_elsewhere(broker, asker(5), 77, 3, STR_LIT("y")), 0);
    flush();
    r = expect_record(RECORD_CONTROL, "");
    assert_true(r->chan == 3 && r->epoch == 77 && str_equal(r->data, STR_LIT("y")));
    while (broker_control(broker, asker(5), 1, STR_LIT("x")) == 0) {
    }
}

/* What a hub that was started again sends once more is not heard twice. */
static void heard_once(void **state)
{
    const uint8_t flags[] = {0, RECORD_TO_ALL};

    (void)state;
    broker->cfg.sinks = control_sinks;
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        heard[0] = '\0';
        send_control(flags[i], 1, 8, "a");
        send_control(flags[i], 2, 8, "b");
        send_control(flags[i], 1, 16, "c");
        send_control(flags[i], 1, 8, "a");
        send_control(flags[i], 1, 16, "c");
        send_control(flags[i], HUB_WORKERS_MAX, 0, "other node");
        send_control(flags[i], HUB_WORKERS_MAX, 0, "other node");
        turn();
        assert_string_equal(heard, "1:a 2:b 1:c 128:other node 128:other node ");
    }
}

/* What is for all comes by way of the engine, while the same worker says something to this one; and what a
 * queue had no room for is said again behind others. */
static void overtaken(void **state)
{
    (void)state;
    broker->cfg.sinks = control_sinks;
    heard[0] = '\0';
    send_control(0, 1, 16, "a");
    send_control(0, 1, 24, "b");
    send_control(RECORD_TO_ALL, 1, 32, "d");
    send_control(RECORD_TO_ALL, 1, 8, "c");
    send_control(RECORD_TO_ALL, 1, 8, "c");
    send_control(0, 1, 24, "b");
    send_control(RECORD_TO_ALL, 1, 32, "d");
    turn();
    assert_string_equal(heard, "1:a 1:b 1:d 1:c ");
}

/* Also of more than are remembered, all of which come again. */
static void many(void **state)
{
    (void)state;
    broker->cfg.sinks = control_sinks;
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 4 * CONTROL_SEEN; i++) {
            heard[0] = '\0';
            send_control(RECORD_TO_ALL, (uint16_t)(i % 4), 72 * i, "x");
            turn();
            assert_int_equal(heard[0] != '\0', round == 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BROKER_TEST(sent_and_answered),
        BROKER_TEST(heard_once),
        BROKER_TEST(overtaken),
        BROKER_TEST(many),
    };

    return cmocka_run_group_tests_name("core/broker_control", tests, NULL, NULL);
}
