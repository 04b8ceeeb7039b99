/* Full rings: queueing, the bound, and how a gap is reported. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/hub_queue.c"
#include "fault.h"

#include "hub_harness.h"

/* Two workers listen to "a"; the ring of worker 0 is full. */
static int setup_full(void **state)
{
    hub_setup(state);
    subscribe(0, 1, "a", 1);
    subscribe(1, 1, "a", 1);
    next_sent(0, RECORD_SUBSCRIBED);
    next_sent(1, RECORD_SUBSCRIBED);
    fakes[0].room = 0;
    return 0;
}

static char text[64];

static const char *numbered(unsigned n)
{
    snprintf(text, sizeof(text), "%u", n);
    return text;
}

static void queued_and_sent_later_in_order(void **state UNUSED)
{
    assert_false(hub_backlogged(hub));
    publish(2, "a", "1");
    publish(2, "a", "2");
    nothing_sent(0);
    next_data(1, "1");
    next_data(1, "2");
    assert_true(hub_backlogged(hub));
    assert_true(metrics->hub_queue_bytes > 0);
    assert_int_equal(metrics->ring_full, 1);
    assert_false(hub_run(hub, 10)); /* no progress possible */
    fakes[0].room = 1;
    assert_false(hub_run(hub, 10));
    next_data(0, "1");
    nothing_sent(0);
    fakes[0].room = 100;
    publish(2, "a", "3"); /* not before what is queued */
    nothing_sent(0);
    hub_run(hub, 10);
    next_data(0, "2");
    next_data(0, "3");
    assert_false(hub_backlogged(hub));
    publish(2, "a", "4");
    next_data(0, "4");
}

static void a_step_is_bounded(void **state UNUSED)
{
    for (unsigned i = 0; i < 10; i++)
        publish(2, "a", numbered(i));
    fakes[0].room = 100;
    assert_true(hub_run(hub, 4));
    assert_int_equal(fakes[0].n - fakes[0].seen, 4);
    run_all();
    for (unsigned i = 0; i < 10; i++)
        next_data(0, numbered(i));
}

/* Fills the queue; returns how many publications it holds, all in all n were published. */
static unsigned overflow(unsigned n)
{
    uint64_t lost = metrics->lost_publications;

    for (unsigned i = 0; i < n; i++)
        publish(2, "a", numbered(i));
    assert_true(metrics->lost_publications > lost);
    return n - (unsigned)(metrics->lost_publications - lost);
}

static void beyond_the_bound_publications_are_lost(void **state UNUSED)
{
    unsigned kept = overflow(100);

    assert_true(kept > 5 && kept < 100);
    assert_true(metrics->hub_queue_bytes <= QUEUE_MAX);
    for (unsigned i = 0; i < 100; i++) /* the others' are not */
        next_data(1, numbered(i));
    fakes[0].room = 1000;
    run_all();
    for (unsigned i = 0; i < kept; i++)
        next_data(0, numbered(i));
    assert_int_equal(next_sent(0, RECORD_LOST)->chan, 1);
    nothing_sent(0);
    publish(2, "a", "after");
    next_data(0, "after");
    assert_false(hub_backlogged(hub));
}

/* Publications 0 to n - 1 of which worker 0 takes none. */
static void pile_up(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        publish(2, "a", numbered(i));
    assert_int_equal(metrics->lost_publications, 0);
}

#define SOME 6 /* more than an eighth of the queue, and not all of it */

static void much_queued_holds_the_publishers(void **state UNUSED)
{
    publish(2, "a", "x");
    assert_true(hub_wants(hub, 2)); /* a ring may be full for a moment */
    pile_up(SOME);
    for (unsigned i = 0; i < FAKES; i++)
        assert_false(hub_wants(hub, i));
    assert_int_equal(metrics->hub_push_backs, 1);
    assert_true(hub_backlogged(hub)); /* so it is asked again soon */
    fakes[0].room = 1000;
    run_all();
    assert_true(hub_wants(hub, 2));
    pile_up(SOME);
    assert_true(hub_wants(hub, 2)); /* room in the ring is all it takes */
}

/* Worker 0 has taken nothing for so long that publishers are not held for its sake. */
static void hang(void)
{
    clock_advance(HUB_PUSH_BACK_WAIT_NS + 1);
    hub_run(hub, 1000);
}

/* One that takes nothing loses, and does not stop the node. */
static void a_hung_worker_holds_nobody(void **state UNUSED)
{
    clock_set_virtual(1000 * NS_PER_SEC);
    pile_up(SOME);
    for (unsigned i = 0; i < 10; i++) { /* it takes something now and then */
        clock_advance(HUB_PUSH_BACK_WAIT_NS - 1);
        fakes[0].room = 1;
        publish(2, "a", "x");
        hub_run(hub, 1000);
        assert_false(hub_wants(hub, 2));
    }
    hang();
    assert_true(hub_wants(hub, 2));
    overflow(100);
    assert_true(hub_wants(hub, 2));
    fakes[0].room = 1; /* it has come back */
    hub_run(hub, 1000);
    assert_false(hub_wants(hub, 2));
    fakes[0].room = 1000;
    run_all();
    assert_true(hub_wants(hub, 2));
}

static void a_worker_that_is_gone_holds_nobody(void **state UNUSED)
{
    pile_up(SOME);
    assert_false(hub_wants(hub, 2));
    fakes[0].generation = 0;
    hub_worker_gone(hub, 0);
    assert_true(hub_wants(hub, 2));
}

/* LOST stands where the gap is, also when publications go on while there is little room. */
static void every_gap_is_reported_in_its_place(void **state UNUSED)
{
    unsigned seed = 1, last = 0, n = 0, lost = 0;
    bool gap_reported = false;

    for (unsigned round = 0; round < 3000; round++) {
        publish(2, "a", numbered(++n));
        if (rand_r(&seed) % 8 == 0)
            fakes[0].room = (unsigned)rand_r(&seed) % 9;
        if (rand_r(&seed) % 4 == 0)
            hub_run(hub, (size_t)rand_r(&seed) % 20 + 1);
        fakes[1].seen = fakes[1].n;
        for (; fakes[0].seen < fakes[0].n; fakes[0].seen++) {
            const struct record *r = &fakes[0].sent[fakes[0].seen % SENT_MAX].r;

            if (r->kind == RECORD_LOST) {
                gap_reported = true;
                lost++;
                continue;
            }
            uint64_t got;

            assert_int_equal(str_to_u64(r->data, &got), 0);
            assert_true(got > last);
            assert_true(got == last + 1 || gap_reported);
            gap_reported = false;
            last = (unsigned)got;
        }
    }
    assert_true(lost > 10);
}

static void one_larger_than_the_bound_is_queued_alone(void **state UNUSED)
{
    static char big[QUEUE_MAX * 2];
    struct record r = {.kind = RECORD_PUBLISH, .name = STR_LIT("a")};

    r.data = (struct str){.p = big, .n = sizeof(big)};
    from(2, r);
    assert_int_equal(metrics->lost_publications, 0);
    publish(2, "a", "x");
    assert_int_equal(metrics->lost_publications, 1);
    fakes[0].room = 10;
    run_all();
    assert_int_equal(next_sent(0, RECORD_PUBLICATION)->data.n, sizeof(big));
    next_sent(0, RECORD_LOST);
}

static void answers_are_queued_beyond_the_bound_and_then_the_ring_rests(void **state UNUSED)
{
    unsigned n = 0;

    clock_set_virtual(1000 * NS_PER_SEC);
    overflow(100);
    hang();
    assert_true(hub_wants(hub, 0));
    while (hub_wants(hub, 0)) {
        from(0, (struct record){.kind = RECORD_FENCE, .token = ++n});
        assert_true(n < 100000);
    }
    assert_true(hub_wants(hub, 1));
    assert_true(metrics->hub_queue_bytes <= (int64_t)(QUEUE_MAX + HUB_QUEUE_RESERVE + 1000));
    fakes[0].room = UINT32_MAX;
    run_all();
    assert_true(hub_wants(hub, 0));
    assert_int_equal(metrics->hub_queue_bytes, 0);
}

static void a_larger_bound(void **state UNUSED)
{
    hub_set_limits(hub, (struct hub_limits){.queue_max = 1 << 20, .answer_ns = 5 * NS_PER_SEC});
    for (unsigned i = 0; i < 100; i++)
        publish(2, "a", numbered(i));
    assert_int_equal(metrics->lost_publications, 0);
}

/* Nothing waits behind it, whether others wait before it or not. */
static void what_no_ring_can_hold_is_lost_and_told(void **state UNUSED)
{
    static const char *const large =
        "another node's, whose rings are larger, or one that was kept before a restart";

    hub_set_limits(hub, (struct hub_limits){.queue_max = QUEUE_MAX,
                                            .record_max = RECORD_OVERHEAD + 20,
                                            .answer_ns = 5 * NS_PER_SEC});
    publish(2, "a", large);
    assert_int_equal(metrics->lost_publications, 1);
    assert_int_equal(metrics->hub_queue_bytes, 0);
    assert_non_null(strstr(last_line, "lost"));
    fakes[0].room = 1;
    run_all();
    assert_int_equal(next_sent(0, RECORD_LOST)->chan, 1);
    publish(2, "a", "1");
    publish(2, "a", large);
    publish(2, "a", "2");
    assert_int_equal(metrics->lost_publications, 2);
    fakes[0].room = UINT32_MAX;
    run_all();
    next_data(0, "1");
    assert_int_equal(next_sent(0, RECORD_LOST)->chan, 1);
    next_data(0, "2");
    nothing_sent(0);
    assert_false(hub_backlogged(hub));
}

static void a_dead_workers_queue_is_dropped(void **state UNUSED)
{
    overflow(100);
    fakes[0].generation = 0;
    assert_true(fakes[0].debt.queued > 0);
    hub_worker_gone(hub, 0);
    assert_int_equal(metrics->hub_queue_bytes, 0);
    assert_int_equal(fakes[0].debt.queued, 0);
    assert_int_equal(fakes[0].debt.behind, 0);
    assert_false(hub_backlogged(hub));
    fakes[0].generation = 2;
    fakes[0].room = 100;
    from(0, (struct record){.kind = RECORD_HELLO});
    run_all();
    nothing_sent(0);
}

/* Those who lost something have unsubscribed; the new channel id has lost nothing. */
static void leaving_settles_what_was_lost(void **state UNUSED)
{
    overflow(100);
    unsubscribe(0, 1, "a");
    subscribe(0, 2, "a", 1);
    publish(2, "a", "lost again");
    fakes[0].room = 1000;
    run_all();
    while (fakes[0].sent[fakes[0].seen].r.kind == RECORD_PUBLICATION)
        fakes[0].seen++;
    assert_int_equal(next_sent(0, RECORD_SUBSCRIBED)->chan, 2);
    assert_int_equal(next_sent(0, RECORD_LOST)->chan, 2);
    nothing_sent(0);
    assert_int_equal(fakes[0].debt.behind, 0);
}

/* --- what outlives the hub --- */

static void the_word_stands_while_something_is_queued(void **state UNUSED)
{
    assert_int_equal(fakes[0].debt.behind, 0);
    publish(2, "a", "1");
    assert_int_equal(fakes[0].debt.behind, 1);
    assert_int_equal(fakes[1].debt.behind, 0);
    assert_int_equal(fakes[0].debt.queued, 1);
    fakes[0].room = 10;
    run_all();
    assert_int_equal(fakes[0].debt.behind, 0);
    assert_int_equal(fakes[0].debt.queued, 0);
    fakes[0].room = 0;
    overflow(100);
    assert_non_null(strstr(last_line, "publications for a worker are lost"));
    assert_non_null(strstr(last_line, "worker=0"));
    fakes[0].room = 5;
    run_all();
    assert_int_equal(fakes[0].debt.behind, 1);
    fakes[0].room = 1000;
    run_all();
    assert_int_equal(fakes[0].debt.behind, 0);
}

static void a_queue_that_died_is_reported_by_the_next_hub(void **state UNUSED)
{
    publish(2, "a", "1");
    assert_int_equal(fakes[0].debt.queued, 1);
    assert_int_equal(fakes[1].debt.queued, 0);
    from(0, (struct record){.kind = RECORD_FENCE, .token = 1}); /* queued, and no publication */
    hub_free(hub);
    hub_start(2);
    assert_int_equal(metrics->lost_publications, 1);
    assert_non_null(strstr(last_line, "queued_for_workers=1 set_aside=0"));
    assert_int_equal(fakes[0].debt.queued, 0);
    fakes[0].room = 100;
    for (unsigned i = 0; i < 2; i++) {
        subscribe(i, 1, "a", 1);
        subscribe(i, 2, "b", 1);
    }
    next_sent(0, RECORD_SUBSCRIBED);
    assert_int_equal(next_sent(0, RECORD_LOST)->chan, 1);
    next_sent(0, RECORD_SUBSCRIBED);
    assert_int_equal(next_sent(0, RECORD_LOST)->chan, 2);
    nothing_sent(0);
    next_data(1, "1");
    next_sent(1, RECORD_SUBSCRIBED);
    next_sent(1, RECORD_SUBSCRIBED);
    nothing_sent(1);
    assert_int_equal(fakes[0].debt.behind, 1);
    announced(0, 2);
    assert_int_equal(fakes[0].debt.behind, 0);
    subscribe(0, 3, "c", 1); /* this one is new */
    next_sent(0, RECORD_SUBSCRIBED);
    nothing_sent(0);
}

static void a_new_incarnation_missed_nothing(void **state UNUSED)
{
    publish(2, "a", "1");
    hub_free(hub);
    hub_start(2);
    fakes[0].room = 100;
    fakes[0].generation = 2;
    subscribe(0, 1, "a", 1);
    next_sent(0, RECORD_SUBSCRIBED);
    nothing_sent(0);
    assert_int_equal(fakes[0].debt.behind, 0);
}

static void no_memory_to_queue(void **state UNUSED)
{
    fault_fail_at(1);
    publish(2, "a", "1");
    fault_reset();
    assert_int_equal(metrics->lost_publications, 1);
    assert_int_equal(fakes[0].debt.behind, 1);
    fakes[0].room = 10;
    publish(2, "a", "2");
    next_sent(0, RECORD_LOST);
    next_data(0, "2");
    fakes[0].room = 0;
    fault_fail_at(1);
    from(0, (struct record){.kind = RECORD_FENCE, .token = 1});
    fault_reset();
    fakes[0].room = 10;
    run_all();
    nothing_sent(0); /* the asker's time runs out */
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup_full, hub_teardown)
    const struct CMUnitTest tests[] = {
        T(queued_and_sent_later_in_order),
        T(a_step_is_bounded),
        T(beyond_the_bound_publications_are_lost),
        T(much_queued_holds_the_publishers),
        T(a_hung_worker_holds_nobody),
        T(a_worker_that_is_gone_holds_nobody),
        T(every_gap_is_reported_in_its_place),
        T(one_larger_than_the_bound_is_queued_alone),
        T(answers_are_queued_beyond_the_bound_and_then_the_ring_rests),
        T(a_larger_bound),
        T(what_no_ring_can_hold_is_lost_and_told),
        T(a_dead_workers_queue_is_dropped),
        T(leaving_settles_what_was_lost),
        T(the_word_stands_while_something_is_queued),
        T(a_queue_that_died_is_reported_by_the_next_hub),
        T(a_new_incarnation_missed_nothing),
        T(no_memory_to_queue),
    };

    return cmocka_run_group_tests_name("core/hub_queue", tests, NULL, NULL);
}
