/* The hub with an engine that takes its time, fails, or does not know: what is complete, in which
 * order, and what stays in the rings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/hub_engine.c"
#include "fault.h"

#include "hub_harness.h"
#include "late_engine.h"

static int setup(void **state)
{
    engine_new = late_engine_new;
    return hub_setup(state);
}

static void join(unsigned worker, uint32_t chan, const char *name)
{
    subscribe(worker, chan, name, 1);
    while (late_complete()) {
    }
    next_sent(worker, RECORD_SUBSCRIBED);
}

static uint64_t ask(unsigned worker, uint8_t kind, uint64_t token)
{
    return from(worker, (struct record){.kind = kind,
                                        .flags = RECORD_WANT_ACK,
                                        .asker = 3,
                                        .token = token,
                                        .name = kind == RECORD_FENCE ? STR_NULL : STR_LIT("a"),
                                        .data = kind == RECORD_FENCE ? STR_NULL : STR_LIT("x")});
}

/* SUBSCRIBED waits for the engine, and is written to everybody who has asked meanwhile. */
static void subscribed_when_the_engine_has(void **state UNUSED)
{
    const struct record *r;

    subscribe(0, 5, "a", 1);
    subscribe(1, 6, "a", 1);
    nothing_sent(0);
    assert_int_equal(late.ncalls, 1); /* once for both */
    assert_true(late_complete());
    r = next_sent(0, RECORD_SUBSCRIBED);
    assert_true(r->chan == 5 && r->epoch == 77 && r->offset == 0);
    assert_int_equal(next_sent(1, RECORD_SUBSCRIBED)->chan, 6);
    subscribe(2, 7, "a", 1); /* known by now */
    assert_int_equal(next_sent(2, RECORD_SUBSCRIBED)->epoch, 77);
    assert_int_equal(late.ncalls, 0);
}

static void refused(unsigned worker, uint32_t chan)
{
    const struct record *r = next_sent(worker, RECORD_SUBSCRIBED);

    assert_true(r->chan == chan && r->status == ENGINE_UNAVAILABLE);
}

/* Whoever waits is told, and so is whoever asks then. */
static void a_failed_subscribe_is_tried_again(void **state UNUSED)
{
    late.fail = ENGINE_UNAVAILABLE;
    subscribe(0, 5, "a", 1);
    subscribe(1, 6, "a", 1);
    assert_true(late_complete());
    refused(0, 5);
    refused(1, 6);
    late.fail = ENGINE_UNAVAILABLE;
    subscribe(0, 5, "a", 1);
    assert_true(late_complete());
    refused(0, 5);
    refused(1, 6);
    subscribe(0, 5, "a", 1);
    assert_true(late_complete());
    assert_int_equal(next_sent(0, RECORD_SUBSCRIBED)->status, ENGINE_OK);
    next_sent(1, RECORD_SUBSCRIBED);
    nothing_sent(0);
}

/* The engine goes on trying by itself, as long as somebody is interested. */
static void a_refused_channel_comes_later(void **state UNUSED)
{
    struct engine_channel *c;

    late.fail = ENGINE_UNAVAILABLE;
    subscribe(0, 5, "a", 1);
    c = LIST_ENTRY(late.calls.next, struct late_call, link)->channel;
    assert_true(late_complete());
    refused(0, 5);
    c->at = (struct position){.epoch = 3, .offset = 4};
    hub_engine_events.subscribed(hub, c, ENGINE_OK);
    assert_int_equal(next_sent(0, RECORD_SUBSCRIBED)->offset, 4);
    late.fail = ENGINE_UNAVAILABLE;
    subscribe(0, 6, "b", 1);
    assert_true(late_complete());
    refused(0, 6);
    unsubscribe(0, 6, "b");
    assert_int_equal(late.unsubscribed, 1); /* or it would keep what is freed */
    assert_int_equal(hub_channel_count(hub), 1);
}

/* One server is away, and those of the others answer: who waits for nothing else is told at once; what is in the
 * ring stays there, and a fence stands behind all. */
static void answers_pass_those_of_others(void **state UNUSED)
{
    uint64_t first = ask(0, RECORD_PUBLISH, 1);

    ask(0, RECORD_PUBLISH, 2);
    assert_true(late_complete_last());
    assert_int_equal(next_sent(0, RECORD_PUBLISHED)->token, 2);
    assert_int_equal(hub_complete_to(hub, 0, UINT64_MAX), first);
    ask(0, RECORD_PUBLISH, 1); /* the same asker: in its order */
    assert_true(late_complete_last());
    ask(0, RECORD_FENCE, 3);
    ask(1, RECORD_PUBLISH, 1); /* another worker's */
    assert_true(late_complete_last());
    assert_int_equal(next_sent(1, RECORD_PUBLISHED)->token, 1);
    nothing_sent(0);
    late.fail = ENGINE_UNAVAILABLE;
    assert_true(late_complete());
    assert_int_equal(next_sent(0, RECORD_PUBLISHED)->status, ENGINE_UNAVAILABLE);
    assert_int_equal(next_sent(0, RECORD_PUBLISHED)->status, ENGINE_OK);
    assert_int_equal(next_sent(0, RECORD_FENCED)->token, 3);
    assert_int_equal(hub_complete_to(hub, 0, UINT64_MAX), UINT64_MAX);
}

/* Those who have gone are passed, too, and get nothing. */
static void the_next_life_of_a_worker_gets_no_answer_of_the_one_before(void **state UNUSED)
{
    ask(0, RECORD_PUBLISH, 1);
    ask(0, RECORD_PUBLISH, 2);
    fakes[0].generation = 2;
    from(0, (struct record){.kind = RECORD_HELLO});
    assert_true(late_complete_last());
    nothing_sent(0);
    ask(0, RECORD_PUBLISH, 2);
    assert_true(late_complete_last());
    assert_int_equal(next_sent(0, RECORD_PUBLISHED)->token, 2);
    assert_true(late_complete());
    nothing_sent(0);
}

/* Publications of which nobody is told that they are lost are counted, and the log says so once. */
static void the_loss_of_untold_publications_is_counted(void **state UNUSED)
{
    static const enum engine_status statuses[] = {ENGINE_UNAVAILABLE, ENGINE_UNAVAILABLE,
                                                  ENGINE_UNKNOWN,     ENGINE_TOO_BIG,
                                                  ENGINE_REFUSED,     ENGINE_DUPLICATE};

    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        late.fail = statuses[i];
        publish(0, "a", "x");
        assert_true(late_complete());
        late.fail = statuses[i];
        ask(0, RECORD_PUBLISH, i); /* this one's publisher is told */
        assert_true(late_complete());
        next_sent(0, RECORD_PUBLISHED);
    }
    assert_int_equal(metrics->engine_dropped_unavailable, 2);
    assert_int_equal(metrics->engine_dropped_unknown, 1);
    assert_int_equal(metrics->engine_dropped_too_big, 1);
    assert_int_equal(metrics->engine_dropped_refused, 1);
    assert_int_equal(hub->dropped, 5);
    publish(0, "a", "x");
    assert_true(late_complete());
    assert_int_equal(hub->dropped, 5);
    clock_advance(DROPPING_NS + 1);
    publish(0, "a", "x");
    assert_true(late_complete());
    assert_int_equal(hub->dropped, 0);
}

static void who_leaves_before_is_not_answered(void **state UNUSED)
{
    subscribe(0, 5, "a", 1);
    unsubscribe(0, 5, "a");
    assert_int_equal(hub_channel_count(hub), 0);
    assert_false(late_complete());
    nothing_sent(0);
}

/* Nothing is delivered before the engine has ordered it; a fence and an acknowledgement stand
 * behind what their worker published before, and what is not complete stays in the ring. */
static void complete_in_the_order_of_the_ring(void **state UNUSED)
{
    uint64_t first, second, fence;
    const struct record *r;

    join(1, 1, "a");
    first = ask(0, RECORD_PUBLISH, 41);
    fence = ask(0, RECORD_FENCE, 42);
    second = ask(0, RECORD_PUBLISH, 43);
    nothing_sent(0);
    nothing_sent(1);
    assert_int_equal(hub_complete_to(hub, 0, next_position), first);
    assert_int_equal(hub_complete_to(hub, 1, 999), 999);
    assert_true(late_complete());
    next_data(1, "x");
    r = next_sent(0, RECORD_PUBLISHED);
    assert_true(r->token == 41 && r->asker == 3 && r->status == ENGINE_OK && r->offset == 1);
    assert_int_equal(r->position, first);
    r = next_sent(0, RECORD_FENCED);
    assert_true(r->token == 42 && r->asker == 3 && r->position == fence);
    assert_int_equal(hub_complete_to(hub, 0, next_position), second);
    assert_true(late_complete());
    assert_int_equal(next_sent(0, RECORD_PUBLISHED)->token, 43);
    assert_int_equal(hub_complete_to(hub, 0, next_position), next_position);
}

static void a_publisher_is_told_what_became_of_it(void **state UNUSED)
{
    static const enum engine_status statuses[] = {ENGINE_UNAVAILABLE, ENGINE_UNKNOWN,
                                                  ENGINE_TOO_BIG, ENGINE_REFUSED};

    join(1, 1, "a");
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        late.fail = statuses[i];
        ask(0, RECORD_PUBLISH, i);
        assert_true(late_complete());
        assert_int_equal(next_sent(0, RECORD_PUBLISHED)->status, statuses[i]);
        nothing_sent(1);
    }
    assert_int_equal(hub_complete_to(hub, 0, 1234), 1234);
}

/* The next incarnation is told nothing of what the last one asked; its ring goes on where that
 * stood. */
static void the_publisher_ends(void **state UNUSED)
{
    uint64_t position;

    join(1, 1, "a");
    position = ask(0, RECORD_PUBLISH, 41);
    ask(0, RECORD_FENCE, 42);
    fakes[0].generation = 2;
    from(0, (struct record){.kind = RECORD_HELLO});
    assert_int_equal(hub_complete_to(hub, 0, next_position), position);
    assert_true(late_complete());
    nothing_sent(0);
    next_data(1, "x");
    assert_int_equal(hub_complete_to(hub, 0, next_position), next_position);
}

static void an_engine_that_has_enough_is_left_alone(void **state UNUSED)
{
    late.wants = false;
    assert_false(hub_wants(hub, 0));
    late.wants = true;
    assert_true(hub_wants(hub, 0));
}

static void no_memory_for_a_call_is_a_loss(void **state UNUSED)
{
    join(1, 1, "a");
    fault_fail_at(1);
    ask(0, RECORD_PUBLISH, 41);
    fault_reset();
    assert_int_equal(metrics->lost_publications, 1);
    run_all();
    next_sent(1, RECORD_LOST);
    nothing_sent(0);
    assert_int_equal(late.ncalls, 0);
}

/* Anybody may ask where a channel stands; the answer stands behind what was published before. */
static void positions_are_told(void **state UNUSED)
{
    const struct record *r;

    join(1, 1, "a");
    ask(0, RECORD_PUBLISH, 41);
    assert_true(late_complete());
    from(1, (struct record){
                .kind = RECORD_POSITION, .asker = 4, .token = 9, .chan = 1, .name = STR_LIT("a")});
    next_data(1, "x");
    r = next_sent(1, RECORD_POSITIONED);
    assert_true(r->asker == 4 && r->token == 9 && r->chan == 1 && r->epoch == 77 && r->offset == 1);
    from(1, (struct record){.kind = RECORD_POSITION, .token = 10, .name = STR_LIT("unknown")});
    r = next_sent(1, RECORD_POSITIONED);
    assert_true(r->token == 10 && r->epoch == 0 && r->offset == 0);
}

static void start_again(uint32_t generation)
{
    hub_free(hub);
    hub_start(generation);
    assert_int_equal(hub_state(hub), HUB_GATHERING);
}

static void all_announce(uint32_t generation)
{
    for (unsigned i = 0; i < FAKES; i++)
        announced(i, generation);
    run_all();
    assert_int_equal(hub_state(hub), HUB_LIVE);
}

/* What was set aside has no place in a ring any more: until the engine has it, it is gone with the hub, and
 * that is said. */
static void what_was_set_aside_is_owed_until_the_engine_has_it(void **state UNUSED)
{
    start_again(2);
    subscribe(1, 1, "a", 1);
    publish(0, "a", "1");
    publish(0, "a", "2");
    all_announce(2);
    assert_int_equal(fakes[0].debt.aside, 2);
    assert_int_equal(fakes[1].debt.behind, 1);
    while (fakes[0].debt.aside > 1)
        assert_true(late_complete());
    assert_int_equal(fakes[1].debt.behind, 1);
    start_again(3);
    assert_int_equal(metrics->lost_publications, 1);
    assert_non_null(strstr(last_line, "queued_for_workers=0 set_aside=1"));
    publish(0, "a", "3");
    all_announce(3);
    while (late_complete()) {
    }
    for (unsigned i = 0; i < FAKES; i++)
        assert_int_equal(fakes[i].debt.behind, 0);
    assert_int_equal(fakes[0].debt.aside, 0);
}

/* A channel may outlive its last subscriber: whoever is back in time finds the same order. */
static void a_channel_lingers(void **state UNUSED)
{
    struct hub_limits longer = limits;
    const struct record *r;

    longer.linger_ns = NS_PER_SEC;
    hub_set_limits(hub, longer);
    clock_set_virtual(NS_PER_SEC);
    join(0, 1, "a");
    publish(0, "a", "one");
    assert_true(late_complete());
    next_data(0, "one");
    unsubscribe(0, 1, "a");
    publish(0, "a", "two"); /* nobody has it, and it counts */
    assert_true(late_complete());
    run_all();
    assert_int_equal(hub_channel_count(hub), 1);
    clock_set_virtual(2 * NS_PER_SEC - 1);
    run_all();
    subscribe(1, 2, "a", 1);
    r = next_sent(1, RECORD_SUBSCRIBED);
    assert_true(r->epoch == 77 && r->offset == 2);
    clock_set_virtual(4 * NS_PER_SEC);
    run_all();
    assert_int_equal(hub_channel_count(hub), 1); /* somebody is here */
    unsubscribe(1, 2, "a");
    clock_set_virtual(5 * NS_PER_SEC);
    run_all();
    assert_int_equal(hub_channel_count(hub), 0);
    join(1, 3, "a");
    assert_int_equal(fakes[1].sent[fakes[1].seen - 1].r.epoch, 78);
    clock_set_virtual(0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, hub_teardown)
    const struct CMUnitTest tests[] = {
        T(subscribed_when_the_engine_has),
        T(a_failed_subscribe_is_tried_again),
        T(a_refused_channel_comes_later),
        T(answers_pass_those_of_others),
        T(the_next_life_of_a_worker_gets_no_answer_of_the_one_before),
        T(the_loss_of_untold_publications_is_counted),
        T(who_leaves_before_is_not_answered),
        T(complete_in_the_order_of_the_ring),
        T(a_publisher_is_told_what_became_of_it),
        T(the_publisher_ends),
        T(an_engine_that_has_enough_is_left_alone),
        T(no_memory_for_a_call_is_a_loss),
        T(positions_are_told),
        T(what_was_set_aside_is_owed_until_the_engine_has_it),
        T(a_channel_lingers),
    };

    return cmocka_run_group_tests_name("core/hub_engine", tests, NULL, NULL);
}
