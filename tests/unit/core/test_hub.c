/* The hub's channels and interest: who gets what, in which order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/hub.c"
#include "fault.h"

#include "hub_harness.h"

static void subscribed_then_publications(void **state)
{
    const struct record *r;
    uint64_t epoch, position;

    (void)state;
    subscribe(0, 5, "lobby", 2);
    r = next_sent(0, RECORD_SUBSCRIBED);
    assert_int_equal(r->chan, 5);
    assert_int_equal(r->offset, 0);
    assert_int_not_equal(r->epoch, 0);
    epoch = r->epoch;
    position = from(1, (struct record){.kind = RECORD_PUBLISH,
                                       .flags = RECORD_BINARY | RECORD_WANT_ACK | RECORD_IN_STREAM,
                                       .token = 77,
                                       .source = 9, /* a lie */
                                       .time_ns = 1234,
                                       .name = STR_LIT("lobby"),
                                       .data = STR_LIT("hello")});
    r = next_sent(0, RECORD_PUBLICATION);
    assert_int_equal(r->chan, 5);
    assert_int_equal(r->flags, RECORD_BINARY);
    assert_int_equal(r->source, 1);
    assert_int_equal(r->token, 77);
    assert_int_equal(r->time_ns, 1234);
    assert_int_equal(r->offset, 1);
    assert_true(r->epoch == epoch && r->position == position);
    assert_true(str_equal(r->data, STR_LIT("hello")));
    nothing_sent(0);
    r = next_sent(1, RECORD_PUBLISHED);
    assert_int_equal(r->token, 77);
    assert_int_equal(r->offset, 1);
    assert_true(r->epoch == epoch && r->position == position);
    nothing_sent(1);
    assert_int_equal(metrics->publications_ordered, 1);
}

static void every_interested_worker_and_no_other(void **state)
{
    (void)state;
    subscribe(0, 1, "a", 1);
    subscribe(1, 8, "a", 1);
    subscribe(2, 9, "b", 1);
    for (unsigned i = 0; i < 3; i++)
        next_sent(i, RECORD_SUBSCRIBED);
    publish(3, "a", "1");
    publish(2, "a", "2");
    publish(0, "b", "3");
    publish(0, "c", "4");
    next_data(0, "1");
    next_data(0, "2");
    next_data(1, "1");
    next_data(1, "2");
    next_data(2, "3");
    for (unsigned i = 0; i < FAKES; i++)
        nothing_sent(i);
}

static void unsubscribe_ends_interest(void **state)
{
    (void)state;
    subscribe(0, 1, "a", 1);
    subscribe(1, 1, "a", 1);
    next_sent(0, RECORD_SUBSCRIBED);
    next_sent(1, RECORD_SUBSCRIBED);
    unsubscribe(0, 2, "a"); /* another channel id: out of date */
    unsubscribe(2, 1, "a"); /* not interested at all */
    unsubscribe(0, 1, "b");
    publish(3, "a", "1");
    next_data(0, "1");
    unsubscribe(0, 1, "a");
    unsubscribe(0, 1, "a");
    publish(3, "a", "2");
    nothing_sent(0);
    next_data(1, "1");
    next_data(1, "2");
    assert_int_equal(hub_channel_count(hub), 1);
    unsubscribe(1, 1, "a");
    assert_int_equal(hub_channel_count(hub), 0);
    publish(3, "a", "3");
    nothing_sent(1);
}

static void a_channel_that_comes_back_has_a_new_epoch(void **state)
{
    uint64_t epoch;

    (void)state;
    subscribe(0, 1, "a", 1);
    epoch = next_sent(0, RECORD_SUBSCRIBED)->epoch;
    unsubscribe(0, 1, "a");
    subscribe(0, 2, "a", 1);
    assert_true(next_sent(0, RECORD_SUBSCRIBED)->epoch != epoch);
}

static void subscribing_again_moves_to_the_new_id(void **state)
{
    const struct record *r;

    (void)state;
    subscribe(0, 1, "a", 1);
    next_sent(0, RECORD_SUBSCRIBED);
    publish(1, "a", "1");
    next_data(0, "1");
    subscribe(0, 2, "a", 1);
    r = next_sent(0, RECORD_SUBSCRIBED);
    assert_int_equal(r->chan, 2);
    assert_int_equal(r->offset, 1);
    publish(1, "a", "2");
    assert_int_equal(next_sent(0, RECORD_PUBLICATION)->chan, 2);
    nothing_sent(0);
}

static void fence_follows_publications(void **state)
{
    uint64_t position;
    const struct record *r;

    (void)state;
    subscribe(0, 1, "a", 1);
    next_sent(0, RECORD_SUBSCRIBED);
    publish(0, "a", "1");
    position = from(0, (struct record){.kind = RECORD_FENCE, .token = 9});
    next_data(0, "1");
    r = next_sent(0, RECORD_FENCED);
    assert_int_equal(r->token, 9);
    assert_true(r->position == position);
}

static void nobody_listens(void **state)
{
    const struct record *r;

    (void)state;
    from(0, (struct record){.kind = RECORD_PUBLISH,
                            .flags = RECORD_WANT_ACK,
                            .token = 3,
                            .name = STR_LIT("empty"),
                            .data = STR_LIT("x")});
    r = next_sent(0, RECORD_PUBLISHED);
    assert_int_equal(r->token, 3);
    assert_int_equal(r->offset, 0);
    assert_int_equal(hub_channel_count(hub), 0);
}

/* --- incarnations of workers --- */

static void records_of_an_old_incarnation(void **state)
{
    static const uint8_t dropped[] = {RECORD_HELLO,     RECORD_SUBSCRIBE,   RECORD_COUNT,
                                      RECORD_FENCE,     RECORD_UNSUBSCRIBE, RECORD_LIST,
                                      RECORD_ANNOUNCED, RECORD_LISTED};
    uint64_t bad = metrics->ring_bad_records;

    (void)state;
    subscribe(0, 1, "a", 1);
    subscribe(1, 1, "a", 1);
    next_sent(0, RECORD_SUBSCRIBED);
    next_sent(1, RECORD_SUBSCRIBED);
    fakes[1].generation = 2;
    from(1, (struct record){.kind = RECORD_HELLO});
    for (size_t i = 0; i < sizeof(dropped); i++)
        from(1,
             (struct record){
                 .kind = dropped[i], .generation = 1, .chan = 4, .count = 1, .name = STR_LIT("a")});
    assert_int_equal(metrics->ring_bad_records - bad, sizeof(dropped));
    /* Its publications are delivered, but nobody is there for the answer. */
    from(1, (struct record){.kind = RECORD_PUBLISH,
                            .flags = RECORD_WANT_ACK,
                            .generation = 1,
                            .name = STR_LIT("a"),
                            .data = STR_LIT("last words")});
    next_data(0, "last words");
    nothing_sent(1);
}

static void hello_forgets_the_old_incarnation(void **state)
{
    (void)state;
    subscribe(0, 1, "a", 1);
    subscribe(1, 1, "a", 1);
    subscribe(1, 2, "b", 1);
    next_sent(0, RECORD_SUBSCRIBED);
    fakes[1].n = fakes[1].seen = 0;
    fakes[1].generation = 2;
    from(1, (struct record){.kind = RECORD_HELLO});
    publish(0, "a", "1");
    publish(0, "b", "2");
    next_data(0, "1");
    nothing_sent(1);
    run_all();
    assert_int_equal(hub_channel_count(hub), 1);
    subscribe(1, 1, "b", 1);
    next_sent(1, RECORD_SUBSCRIBED);
    publish(0, "b", "3");
    next_data(1, "3");
}

/* A new hub may have missed the HELLO: any record of the new incarnation says the same. */
static void any_record_introduces_an_incarnation(void **state)
{
    (void)state;
    subscribe(1, 1, "a", 1);
    fakes[1].n = 0;
    fakes[1].generation = 2;
    subscribe(1, 7, "b", 1);
    next_sent(1, RECORD_SUBSCRIBED);
    publish(0, "a", "1");
    nothing_sent(1);
}

static void a_worker_that_ends(void **state)
{
    (void)state;
    subscribe(0, 1, "a", 1);
    subscribe(1, 1, "a", 1);
    next_sent(0, RECORD_SUBSCRIBED);
    next_sent(1, RECORD_SUBSCRIBED);
    fakes[1].generation = 0;
    hub_worker_gone(hub, 1);
    publish(2, "a", "1");
    next_data(0, "1");
    nothing_sent(1);
    /* What it had published is still delivered. */
    from(1,
         (struct record){
             .kind = RECORD_PUBLISH, .generation = 1, .name = STR_LIT("a"), .data = STR_LIT("2")});
    next_data(0, "2");
    fakes[0].generation = 0;
    hub_worker_gone(hub, 0);
    run_all();
    assert_int_equal(hub_channel_count(hub), 0);
}

/* The death is noticed only when the next incarnation has subscribed. */
static void a_death_noticed_late(void **state)
{
    (void)state;
    subscribe(1, 1, "a", 1);
    next_sent(1, RECORD_SUBSCRIBED);
    fakes[1].generation = 2;
    from(1, (struct record){.kind = RECORD_HELLO});
    subscribe(1, 1, "a", 1);
    next_sent(1, RECORD_SUBSCRIBED);
    hub_worker_gone(hub, 1);
    run_all();
    publish(0, "a", "1");
    next_data(1, "1");
}

static void many_lives_leave_nothing(void **state)
{
    (void)state;
    subscribe(0, 1, "a", 1);
    for (uint32_t g = 2; g < 300; g++) {
        fakes[1].generation = g;
        subscribe(1, 1, "a", 1);
        assert_true(hub_find(hub, STR_LIT("a"))->n <= 3);
    }
}

/* --- hostile workers --- */

static void names_that_are_none(void **state)
{
    char name[300];

    (void)state;
    memset(name, 'x', sizeof(name));
    subscribe(0, 1, "", 1);
    subscribe(0, 1, "a b", 1);
    subscribe(0, 1, "\"quoted\"", 1);
    subscribe(0, 1, "\xff", 1);
    from(0, (struct record){.kind = RECORD_SUBSCRIBE,
                            .chan = 1,
                            .name = {.p = name, .n = CHANNEL_NAME_MAX + 1}});
    from(0, (struct record){.kind = RECORD_SUBSCRIBE, .chan = 1, .name = STR_NULL});
    nothing_sent(0);
    assert_int_equal(hub_channel_count(hub), 0);
    assert_int_equal(metrics->ring_bad_records, 6);
}

static void kinds_that_workers_do_not_send(void **state)
{
    (void)state;
    for (int kind = RECORD_SUBSCRIBED; kind < 256; kind++)
        from(0, (struct record){.kind = (uint8_t)kind, .name = STR_LIT("a")});
    from(0, (struct record){.kind = 0});
    assert_int_equal(metrics->ring_bad_records, 256 - RECORD_SUBSCRIBED + 1);
    nothing_sent(0);
}

/* --- no memory --- */

static void subscribe_at_every_failure(void **state)
{
    (void)state;
    for (size_t k = 1;; k++) {
        unsigned before = fakes[0].n;

        fault_fail_at(k);
        subscribe(0, 1, "a", 1);
        size_t used = fault_count();
        fault_reset();
        if (used < k)
            break;
        assert_int_equal(fakes[0].n, before);
        assert_int_equal(hub_channel_count(hub), 0);
        assert_true(k < 10);
    }
    next_sent(0, RECORD_SUBSCRIBED);
    /* A second worker's interest needs the array to grow. */
    fault_fail_at(1);
    subscribe(1, 1, "a", 1);
    fault_reset();
    nothing_sent(1);
    publish(2, "a", "1");
    next_data(0, "1");
    nothing_sent(1);
    subscribe(1, 1, "a", 1);
    next_sent(1, RECORD_SUBSCRIBED);
}

static void a_new_hub_without_memory(void **state)
{
    (void)state;
    fault_fail_at(1);
    assert_null(hub_new(FAKES, 1, engine_memory_new(), &fake_ops, fakes));
    fault_reset();
    hub_free(NULL);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, hub_setup, hub_teardown)
    const struct CMUnitTest tests[] = {
        T(subscribed_then_publications),
        T(every_interested_worker_and_no_other),
        T(unsubscribe_ends_interest),
        T(a_channel_that_comes_back_has_a_new_epoch),
        T(subscribing_again_moves_to_the_new_id),
        T(fence_follows_publications),
        T(nobody_listens),
        T(records_of_an_old_incarnation),
        T(hello_forgets_the_old_incarnation),
        T(any_record_introduces_an_incarnation),
        T(a_worker_that_ends),
        T(a_death_noticed_late),
        T(many_lives_leave_nothing),
        T(names_that_are_none),
        T(kinds_that_workers_do_not_send),
        T(subscribe_at_every_failure),
        T(a_new_hub_without_memory),
    };

    return cmocka_run_group_tests_name("core/hub", tests, NULL, NULL);
}
