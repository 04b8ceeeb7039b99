/* The hub: control messages reach every worker that lives, and their sender knows when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/hub_control.c"
#include "fault.h"

#include "hub_harness.h"

#define HUB_TEST(f) cmocka_unit_test_setup_teardown(f, hub_setup, hub_teardown)

static uint64_t control(unsigned worker, uint32_t target, const char *data)
{
    return from(worker, (struct record){.kind = RECORD_CONTROL,
                                        .chan = target,
                                        .asker = 3,
                                        .token = 99,
                                        .data = name_of(data)});
}

static void assert_told(unsigned worker, unsigned source, uint64_t position, const char *data)
{
    const struct record *r = next_sent(worker, RECORD_CONTROL_MESSAGE);

    assert_true(r->source == source && r->position == position);
    assert_true(str_equal(r->data, name_of(data)));
}

static void assert_controlled(unsigned worker, uint64_t position, enum engine_status status,
                              uint32_t count)
{
    const struct record *r = next_sent(worker, RECORD_CONTROLLED);

    assert_true(r->asker == 3 && r->token == 99 && r->position == position);
    assert_string_equal(engine_status_name(r->status), engine_status_name(status));
    assert_int_equal(r->count, count);
}

static void all_are_told(void **state)
{
    uint64_t position;

    (void)state;
    fakes[2].generation = 0; /* is not there */
    position = control(1, BROKER_ALL_WORKERS, "x");
    assert_told(0, 1, position, "x");
    assert_told(3, 1, position, "x");
    assert_told(1, 1, position, "x");
    assert_controlled(1, position, ENGINE_OK, 3);
    nothing_sent(2);
}

static void one_is_told(void **state)
{
    uint64_t position;

    (void)state;
    position = control(1, 2, "x");
    assert_told(2, 1, position, "x");
    assert_controlled(1, position, ENGINE_OK, 1);
    fakes[2].generation = 0;
    position = control(1, 2, "x");
    assert_controlled(1, position, ENGINE_OK, 0);
    position = control(1, 77, "x");
    assert_controlled(1, position, ENGINE_OK, 0);
    nothing_sent(0);
    nothing_sent(3);
}

/* The sender is told when the last has it; until then its ring holds the record. */
static void a_full_ring_is_waited_for(void **state)
{
    uint64_t position;

    (void)state;
    publish(0, "room", "for the hub to have heard of it");
    fakes[0].room = 0;
    fakes[3].room = 0;
    position = control(1, BROKER_ALL_WORKERS, "x");
    assert_told(1, 1, position, "x");
    nothing_sent(1);
    assert_int_equal(hub_complete_to(hub, 1, 4096), position);
    fakes[0].room = UINT32_MAX;
    run_all();
    assert_told(0, 1, position, "x");
    nothing_sent(1);
    fakes[3].room = UINT32_MAX;
    run_all();
    assert_told(3, 1, position, "x");
    assert_controlled(1, position, ENGINE_OK, 4);
    assert_int_equal(hub_complete_to(hub, 1, 4096), 4096);
}

static void who_dies_meanwhile_is_not_waited_for(void **state)
{
    uint64_t position;

    (void)state;
    fakes[3].room = 0;
    position = control(1, BROKER_ALL_WORKERS, "x");
    fakes[3].generation = 0;
    hub_worker_gone(hub, 3);
    assert_told(1, 1, position, "x");
    assert_controlled(1, position, ENGINE_OK, 3);
    /* Nor is the sender. */
    fakes[0].room = 0;
    control(1, BROKER_ALL_WORKERS, "x");
    fakes[1].generation = 0;
    hub_worker_gone(hub, 1);
    fakes[1].n = fakes[1].seen;
    fakes[0].room = UINT32_MAX;
    run_all();
    nothing_sent(1);
    assert_int_equal(hub_complete_to(hub, 1, 4096), 4096);
}

static void who_takes_nothing_holds_nobody(void **state)
{
    uint64_t position;

    (void)state;
    clock_set_virtual(NS_PER_SEC);
    fakes[3].room = 0;
    position = control(1, BROKER_ALL_WORKERS, "x");
    assert_told(1, 1, position, "x");
    run_all();
    nothing_sent(1);
    clock_advance(HUB_PUSH_BACK_WAIT_NS + 1);
    run_all();
    assert_controlled(1, position, ENGINE_UNKNOWN, 3);
    fakes[3].room = UINT32_MAX;
    run_all();
    assert_told(3, 1, position, "x"); /* it gets it all the same */
    assert_int_equal(hub->worker[3].awaited, 0);
}

static void what_a_queue_does_not_take_is_counted(void **state)
{
    static char big[16384];
    uint64_t position = 0;

    (void)state;
    memset(big, 'x', sizeof(big) - 1);
    fakes[3].room = 0;
    for (unsigned i = 0; metrics->controls_lost == 0; i++) {
        assert_true(i < 1000); /* bounded */
        position = control(1, BROKER_ALL_WORKERS, big);
    }
    fakes[3].room = UINT32_MAX;
    run_all();
    while (fakes[1].seen + 1 < fakes[1].n)
        fakes[1].seen++;
    assert_controlled(1, position, ENGINE_UNKNOWN, 3);
}

static void it_waits_while_gathering(void **state)
{
    uint64_t position;

    (void)state;
    hub_free(hub);
    hub_start(2);
    position = control(1, BROKER_ALL_WORKERS, "x");
    nothing_sent(0);
    for (unsigned i = 0; i < FAKES; i++)
        announced(i, 2);
    run_all();
    assert_told(0, 1, position, "x");
    assert_told(1, 1, position, "x");
    assert_controlled(1, position, ENGINE_OK, 4);
}

static void no_memory(void **state)
{
    (void)state;
    fault_fail_at(1); /* for the call */
    control(1, BROKER_ALL_WORKERS, "x");
    fault_reset();
    nothing_sent(0);
    control(1, 1, "x"); /* the pool has grown */
    fakes[0].room = 0;
    fault_fail_at(1); /* for the copy */
    fakes[1].seen = fakes[1].n;
    control(1, 0, "x");
    fault_reset();
    assert_int_equal(next_sent(1, RECORD_CONTROLLED)->status, ENGINE_UNKNOWN);
    assert_int_equal(metrics->controls_lost, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HUB_TEST(all_are_told),
        HUB_TEST(one_is_told),
        HUB_TEST(a_full_ring_is_waited_for),
        HUB_TEST(who_dies_meanwhile_is_not_waited_for),
        HUB_TEST(who_takes_nothing_holds_nobody),
        HUB_TEST(what_a_queue_does_not_take_is_counted),
        HUB_TEST(it_waits_while_gathering),
        HUB_TEST(no_memory),
    };

    return cmocka_run_group_tests_name("core/hub_control", tests, NULL, NULL);
}
