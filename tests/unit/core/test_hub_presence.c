/* The hub: who comes to a channel and goes, who is told, and what becomes of those whose worker or
 * hub has gone. Listings: test_hub_members.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/hub_presence.c"
#include "fault.h"

#include "hub_harness.h"
#include "hub_members.h"

static void a_join_goes_to_all_who_are_interested(void **state)
{
    const struct record *r;
    uint64_t position;

    (void)state;
    subscribe(0, 7, "room", 1);
    subscribe(1, 9, "room", 1);
    subscribe(2, 5, "other", 1);
    skip_sent();
    position = come(0, "room", "c1", "ann", PRESENCE_TELL);
    r = next_sent(0, RECORD_JOIN);
    assert_int_equal(r->chan, 7);
    assert_true(r->source == 0 && r->position == position && r->epoch != 0 && r->offset == 0);
    assert_client(r, "c1");
    r = next_sent(1, RECORD_JOIN);
    assert_int_equal(r->chan, 9);
    assert_client(r, "c1");
    go(0, "room", "c1", "ann", PRESENCE_TELL);
    assert_client(next_sent(0, RECORD_LEAVE), "c1");
    assert_client(next_sent(1, RECORD_LEAVE), "c1");
    come(0, "room", "c2", "ann", 0);
    go(0, "room", "c2", "ann", 0);
    for (unsigned i = 0; i < FAKES; i++)
        nothing_sent(i);
}

static void members_and_users_are_counted(void **state)
{
    (void)state;
    come(0, "room", "c1", "ann", 0);
    come(1, "room", "c2", "ann", 0);
    come(1, "room", "c3", "bob", 0);
    come(1, "room", "c3", "bob", 0);
    assert_count(2, "room", 3, 2);
    go(1, "room", "c3", "bob", 0);
    assert_count(2, "room", 2, 1);
    assert_count(2, "nowhere", 0, 0);
}

static void a_worker_that_has_gone_leaves_nobody(void **state)
{
    (void)state;
    subscribe(1, 9, "room", 1);
    skip_sent();
    for (unsigned i = 0; i < 100; i++) {
        char id[16];

        snprintf(id, sizeof(id), "c%u", i);
        come(0, "room", id, "ann", i % 2 ? PRESENCE_TELL | PRESENCE_AGAIN : 0);
    }
    come(1, "room", "other", "bob", 0);
    fakes[0].generation = 0;
    hub_worker_gone(hub, 0);
    for (int64_t before = 101; before > 1; before = metrics->presence_members) {
        hub_run(hub, 10); /* in steps */
        assert_in_range(before - metrics->presence_members, 0, 10);
    }
    run_all();
    assert_int_equal(metrics->presence_members, 1);
    for (unsigned i = 1; i < 100; i += 2) {
        char id[16];

        snprintf(id, sizeof(id), "c%u", i);
        assert_client(next_sent(1, RECORD_LEAVE), id);
    }
    assert_count(1, "room", 1, 1);
}

/* Also when nothing but the next incarnation's first word says that it has gone. */
static void a_new_incarnation_begins_with_nobody(void **state)
{
    (void)state;
    come(0, "room", "c1", "ann", 0);
    fakes[0].generation = 2;
    from(0, (struct record){.kind = RECORD_HELLO});
    come(0, "room", "c2", "ann", 0);
    run_all();
    assert_count(1, "room", 1, 1);
    from(0, (struct record){.kind = RECORD_PRESENCE_ADD, .generation = 1});
    assert_int_equal(metrics->ring_bad_records, 1);
}

/* A worker that announces its channels once more says who is there; the others are not. */
static void what_is_not_announced_again_goes(void **state)
{
    struct record done = {.kind = RECORD_ANNOUNCED, .count = 1, .chan = 1};

    (void)state;
    come(0, "room", "c1", "ann", 0);
    come(0, "room", "c2", "ann", 0);
    come_in_round(0, "room", "c2", "ann", PRESENCE_AGAIN, 1);
    run_all();
    assert_count(1, "room", 2, 1);
    from(0, done);
    run_all();
    assert_count(1, "room", 1, 1);
    done.chan = 2; /* a round in which it has nobody to announce */
    from(0, done);
    run_all();
    assert_count(1, "room", 0, 0);
}

/* A new hub: those announced are not told, those on their way to the old one are. */
static void a_new_hub_learns_it_again(void **state)
{
    (void)state;
    come(0, "room", "c1", "ann", PRESENCE_TELL);
    come(0, "room", "c0", "ann", PRESENCE_TELL);
    hub_free(hub);
    hub_start(2);
    subscribe(0, 7, "room", 1);
    subscribe(1, 9, "room", 1);
    come(0, "room", "c2", "bob", PRESENCE_TELL); /* the old one has not read this */
    go(0, "room", "c0", "ann", PRESENCE_TELL);   /* nor this */
    come(0, "room", "c1", "ann", PRESENCE_TELL | PRESENCE_AGAIN);
    come(0, "room", "c2", "bob", PRESENCE_TELL | PRESENCE_AGAIN);
    from(3, (struct record){.kind = RECORD_PRESENCE_STATS, .name = name_of("room"), .token = 1});
    skip_sent();
    for (unsigned i = 0; i < FAKES; i++)
        announced(i, 2);
    run_all();
    assert_client(next_sent(1, RECORD_JOIN), "c2");
    assert_client(next_sent(1, RECORD_LEAVE), "c0");
    nothing_sent(1);
    assert_int_equal(next_sent(3, RECORD_MEMBER_COUNT)->count, 2);
}

static void a_full_ring_delays_joins(void **state)
{
    (void)state;
    subscribe(1, 9, "room", 1);
    skip_sent();
    fakes[1].room = 0;
    come(0, "room", "c1", "ann", PRESENCE_TELL);
    come(0, "room", "c2", "ann", PRESENCE_TELL);
    nothing_sent(1);
    fakes[1].room = UINT32_MAX;
    run_all();
    assert_client(next_sent(1, RECORD_JOIN), "c1");
    assert_client(next_sent(1, RECORD_JOIN), "c2");
    assert_int_equal(metrics->presence_lost, 0);
    fakes[1].room = 0;
    for (unsigned i = 0; metrics->presence_lost == 0; i++) {
        assert_true(i < 1000); /* the queue is bounded */
        come(0, "room", "c3", "ann", PRESENCE_TELL);
    }
    assert_true(hub->worker[1].out.bytes <= QUEUE_MAX);
}

/* LEAVEs of many are not written faster than they are taken. */
static void forgetting_waits_for_who_is_told(void **state)
{
    (void)state;
    hub_set_limits(hub, (struct hub_limits){.queue_max = 65536});
    subscribe(1, 9, "room", 1);
    skip_sent();
    for (unsigned i = 0; i < 500; i++) {
        char id[16];

        snprintf(id, sizeof(id), "c%u", i);
        come(0, "room", id, "ann", PRESENCE_TELL | PRESENCE_AGAIN);
    }
    fakes[1].room = 0;
    fakes[0].generation = 0;
    hub_worker_gone(hub, 0);
    run_all();
    assert_true(metrics->presence_members > 0);
    for (unsigned i = 0; metrics->presence_members > 0; i++) {
        assert_true(i < 500);
        fakes[1].room = 3;
        run_all();
    }
    fakes[1].room = UINT32_MAX;
    run_all();
    assert_int_equal(metrics->presence_lost, 0);
    for (unsigned i = 0; i < 500; i++)
        next_sent(1, RECORD_LEAVE);
}

static void what_is_malformed_is_refused(void **state)
{
    struct buf fields = {0};
    struct record r = {.kind = RECORD_PRESENCE_ADD, .name = name_of("room")};

    (void)state;
    from(0, r);
    assert_int_equal(record_add_field(&fields, FIELD_INFO, STR_LIT("\x05")), 0);
    r.fields = buf_view(&fields);
    from(0, r);
    buf_clear(&fields);
    assert_int_equal(record_add_field(&fields, FIELD_INFO, STR_LIT("\0\0\0\0\0\0\0\0")), 0);
    r.fields = buf_view(&fields); /* nobody */
    from(0, r);
    r.name = STR_NULL;
    from(0, r);
    r.name = name_of("a\nb");
    from(0, r);
    buf_fini(&fields);
    assert_int_equal(metrics->ring_bad_records, 5);
    assert_int_equal(metrics->presence_members, 0);
}

static void without_memory_it_is_counted(void **state)
{
    (void)state;
    for (unsigned long k = 1; k < 8; k++) {
        uint64_t lost = metrics->presence_lost;

        fields_of("c1", "ann");
        fault_fail_at(k);
        come_prepared(0, "room", 0);
        fault_reset();
        assert_int_equal(metrics->presence_lost - lost + (uint64_t)metrics->presence_members, 1);
        if (metrics->presence_members == 1)
            return;
    }
    fail();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HUB_TEST(a_join_goes_to_all_who_are_interested),
        HUB_TEST(members_and_users_are_counted),
        HUB_TEST(a_worker_that_has_gone_leaves_nobody),
        HUB_TEST(a_new_incarnation_begins_with_nobody),
        HUB_TEST(what_is_not_announced_again_goes),
        HUB_TEST(a_new_hub_learns_it_again),
        HUB_TEST(a_full_ring_delays_joins),
        HUB_TEST(forgetting_waits_for_who_is_told),
        HUB_TEST(what_is_malformed_is_refused),
        HUB_TEST(without_memory_it_is_counted),
    };

    return cmocka_run_group_tests_name("core/hub_presence", tests, NULL, NULL);
}
