/* What a trace tells of a publication's way through the hub. The trace itself: base/test_trace.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/hub_engine.c"
#include "fault.h"

#include "hub_harness.h"
#include "late_engine.h"

static struct trace_area *area;
static uint64_t seen; /* records that the test has looked at */

static int setup(void **state)
{
    struct trace_request r = {.id = 1, .of = TRACE_OF_CHANNEL, .len = 1, .channel = "a"};
    uint64_t began;

    clock_set_virtual(1000 * NS_PER_SEC);
    area = calloc(1, sizeof(*area));
    assert_non_null(area);
    seen = 0;
    trace_open(area, area, sizeof(*area), 1, TRACE_NOBODY);
    assert_int_equal(trace_ask(&r, UINT64_MAX, &began), 0);
    trace_look(clock_ns());
    engine_new = late_engine_new;
    return hub_setup(state);
}

static int teardown(void **state)
{
    int rc = hub_teardown(state);

    trace_open(NULL, NULL, 0, 0, 0);
    free(area);
    clock_set_virtual(0);
    return rc;
}

static struct trace_record next(enum trace_event e)
{
    struct trace_record r;

    if (!trace_read(area, ++seen, &r))
        fail_msg("nothing is told of, expected %s", trace_row(e)->name);
    assert_string_equal(trace_row((enum trace_event)r.event)->name, trace_row(e)->name);
    assert_int_equal(r.len, 1);
    assert_int_equal(r.text[0], 'a');
    return r;
}

static void nothing_more(void)
{
    assert_int_equal(atomic_load(&area->written), seen);
}

static void join(unsigned worker, uint32_t chan)
{
    subscribe(worker, chan, "a", 1);
    while (late_complete()) {
    }
}

/* Whose number on which ring it has is the same in every step. */
static void from_its_ring_to_two_workers(void **state UNUSED)
{
    uint64_t publication;
    struct trace_record r;

    join(1, 5);
    join(2, 6);
    publication = TRACE_PUBLICATION(3, publish(3, "a", "hello"));
    r = next(TRACE_take);
    assert_int_equal(r.field[0], publication);
    assert_int_equal(r.field[1], 5);
    assert_int_equal(r.worker, 3);
    assert_int_equal(r.conn, 0);
    nothing_more();
    assert_true(late_complete());
    r = next(TRACE_order);
    assert_int_equal(r.field[0], publication);
    assert_int_equal(r.field[1], 1);
    assert_int_equal(r.field[2], 2);
    for (uint64_t worker = 1; worker <= 2; worker++) {
        r = next(TRACE_send);
        assert_int_equal(r.field[0], publication);
        assert_int_equal(r.field[1], worker);
        assert_int_equal(r.field[2], 0);
    }
    r = next(TRACE_done);
    assert_int_equal(r.field[0], publication);
    assert_int_equal(r.field[1], 1);
    assert_int_equal(r.field[2], ENGINE_OK);
    publish(3, "b", "hello");
    assert_true(late_complete());
    nothing_more();
}

static void what_the_engine_does_not_take(void **state UNUSED)
{
    uint64_t publication;

    join(1, 5);
    late.fail = ENGINE_UNAVAILABLE;
    publication = TRACE_PUBLICATION(0, publish(0, "a", "x"));
    assert_true(late_complete());
    assert_int_equal(next(TRACE_take).field[0], publication);
    assert_int_equal(next(TRACE_done).field[2], ENGINE_UNAVAILABLE);
    nothing_more();
}

static void what_a_worker_does_not_take(void **state UNUSED)
{
    struct trace_record r;
    uint64_t queued = 0;

    join(1, 5);
    fakes[1].room = 0;
    do {
        publish(0, "a", "x");
        assert_true(late_complete());
        next(TRACE_take);
        next(TRACE_order);
        assert_true(trace_read(area, ++seen, &r));
        if (r.event == TRACE_send) {
            assert_true(r.field[2] > queued);
            queued = r.field[2];
        }
        next(TRACE_done);
    } while (r.event == TRACE_send);
    assert_int_equal(r.event, TRACE_lose);
    assert_int_equal(r.field[1], 1);
    assert_int_equal(r.field[2], queued);
    assert_true(queued > 0);
}

/* The name is kept for the engine's answer; without memory for it the publication goes on. */
static void without_memory_for_the_name(void **state UNUSED)
{
    join(1, 5);
    publish(0, "a", "x"); /* from now on the pool has room */
    assert_true(late_complete());
    seen = atomic_load(&area->written);
    fault_fail_at(1);
    publish(0, "a", "y");
    fault_reset();
    assert_true(late_complete());
    next(TRACE_take);
    next(TRACE_order);
    next(TRACE_send);
    nothing_more();
}

/* What is still with the engine at the end gives its name back, too: sanitizers look. */
static void the_hub_ends_before_its_engine(void **state UNUSED)
{
    publish(0, "a", "x");
    next(TRACE_take);
    nothing_more();
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(from_its_ring_to_two_workers),   CASE(what_the_engine_does_not_take),
        CASE(what_a_worker_does_not_take),    CASE(without_memory_for_the_name),
        CASE(the_hub_ends_before_its_engine),
    };
    return cmocka_run_group_tests_name("core/hub_trace", tests, NULL, NULL);
}
