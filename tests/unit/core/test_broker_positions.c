/* The check of positions: who is asked about, when, and what another answer does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/broker_positions.c"

#include "broker_harness.h"

static uint32_t open_channel(struct client *c, const char *name, bool stream)
{
    uint32_t chan;

    join(c, name);
    flush();
    chan = expect_record(RECORD_SUBSCRIBE, name)->chan;
    assert_true(to_broker((struct record){.kind = RECORD_SUBSCRIBED,
                                          .chan = chan,
                                          .epoch = 9,
                                          .offset = 5,
                                          .flags = stream ? RECORD_IN_STREAM : 0}));
    turn();
    return chan;
}

static void look(uint64_t ns)
{
    clock_advance(ns);
    broker_check_positions(broker, clock_ns());
    flush();
}

static void answer(uint32_t chan, uint64_t epoch, uint64_t offset)
{
    struct record r = {
        .kind = RECORD_POSITIONED, .chan = chan, .epoch = epoch, .offset = offset, .generation = 1};
    void *p = ring_reserve(&hub_out, record_bytes(&r));

    assert_non_null(p);
    record_encode(&r, p);
    ring_commit(&hub_out);
    turn();
}

static void channels_with_a_history_are_asked_about(void **state)
{
    uint64_t delay = (uint64_t)config.channel_position_check_delay;
    struct client a, b;
    uint32_t chan;

    (void)state;
    assert_int_equal(from_broker()->kind, RECORD_HELLO);
    chan = open_channel(&a, "kept", true);
    (void)open_channel(&b, "fleeting", false);
    while (from_broker() != NULL) {
    }
    look(0);
    look(delay / 2);
    expect_nothing();
    look(delay / 2);
    assert_int_equal(expect_record(RECORD_POSITION, "kept")->chan, chan);
    (void)expect_record(RECORD_FENCE, "");
    expect_nothing();
    answer(chan, 9, 5);
    assert_string_equal(a.log, "S");
    look(delay / 2);
    expect_nothing();
    look(delay / 2 + 1);
    (void)expect_record(RECORD_POSITION, "kept");
    answer(chan, 9, 7);
    assert_string_equal(a.log, "SL");
    answer(chan, 9, 7); /* told once */
    answer(chan, 0, 0); /* a hub that does not know it says nothing */
    assert_string_equal(a.log, "SL");
    assert_int_equal(metrics->positions_missed, 1);
    leave(&a);
    leave(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(channels_with_a_history_are_asked_about, broker_setup,
                                        broker_teardown),
    };

    return cmocka_run_group_tests_name("core/broker_positions", tests, NULL, NULL);
}
