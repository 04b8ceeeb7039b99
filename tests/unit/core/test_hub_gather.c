/* A new incarnation of the hub: gathering, replaying, giving up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/hub_gather.c"
#include "fault.h"

#include "hub_harness.h"

#define GENERATION 2

static int setup_gathering(void **state)
{
    hub_setup(state);
    hub_free(hub);
    hub_start(GENERATION);
    assert_int_equal(hub_state(hub), HUB_GATHERING);
    return 0;
}

static void announce_all(void)
{
    for (unsigned i = 0; i < FAKES; i++)
        announced(i, GENERATION);
}

static void a_first_hub_gathers_nothing(void **state UNUSED)
{
    hub_free(hub);
    hub_start(1);
    assert_int_equal(hub_state(hub), HUB_LIVE);
}

static void publications_wait_for_everybody(void **state UNUSED)
{
    publish(0, "a", "1");
    subscribe(1, 1, "a", 1);
    announced(1, GENERATION);
    publish(2, "a", "2");
    from(2, (struct record){.kind = RECORD_FENCE, .token = 5});
    publish(2, "a", "3");
    next_sent(1, RECORD_SUBSCRIBED); /* at once */
    nothing_sent(1);
    announced(2, GENERATION);
    announced(0, GENERATION);
    subscribe(3, 1, "a", 1);
    run_all();
    nothing_sent(1);
    announced(3, GENERATION);
    assert_int_equal(hub_state(hub), HUB_REPLAYING);
    assert_true(hub_run(hub, 1));
    next_data(1, "1");
    nothing_sent(1);
    nothing_sent(2);
    run_all();
    assert_int_equal(hub_state(hub), HUB_LIVE);
    next_data(1, "2");
    next_data(1, "3");
    assert_int_equal(next_sent(2, RECORD_FENCED)->token, 5);
    next_sent(3, RECORD_SUBSCRIBED);
    next_data(3, "1");
    next_data(3, "2");
    next_data(3, "3");
    publish(0, "a", "4");
    next_data(1, "4");
}

static void whose_ring_is_read(void **state UNUSED)
{
    publish(0, "a", "1");
    for (unsigned i = 0; i < FAKES; i++) {
        assert_true(hub_wants(hub, i));
        announced(i, GENERATION);
        assert_false(hub_wants(hub, i)); /* gathering, in the end replaying */
    }
    assert_int_equal(hub_state(hub), HUB_REPLAYING);
    run_all();
    for (unsigned i = 0; i < FAKES; i++)
        assert_true(hub_wants(hub, i));
}

static void nothing_set_aside(void **state UNUSED)
{
    announce_all();
    assert_int_equal(hub_state(hub), HUB_LIVE);
}

static void an_announcement_for_an_earlier_hub(void **state UNUSED)
{
    for (unsigned i = 0; i < FAKES; i++) {
        announced(i, GENERATION - 1);
        announced(i, GENERATION + 1);
        assert_true(hub_wants(hub, i));
    }
    run_all();
    assert_int_equal(hub_state(hub), HUB_GATHERING);
}

static void dead_workers_are_not_waited_for(void **state UNUSED)
{
    fakes[0].generation = 0;
    publish(0, "a", "1"); /* left in its ring */
    announced(1, GENERATION);
    announced(2, GENERATION);
    run_all();
    assert_int_equal(hub_state(hub), HUB_GATHERING);
    fakes[3].generation = 0;
    hub_worker_gone(hub, 3);
    assert_int_equal(hub_state(hub), HUB_REPLAYING);
}

static void a_new_incarnation_announces_for_itself(void **state UNUSED)
{
    announce_all();
    hub_free(hub);
    hub_start(GENERATION);
    announced(0, GENERATION);
    assert_false(hub_wants(hub, 0));
    fakes[0].generation = 2;
    assert_true(hub_wants(hub, 0));
    from(0, (struct record){.kind = RECORD_HELLO});
    for (unsigned i = 1; i < FAKES; i++)
        announced(i, GENERATION);
    run_all();
    assert_int_equal(hub_state(hub), HUB_GATHERING);
    announced(0, GENERATION);
    assert_int_equal(hub_state(hub), HUB_LIVE);
}

static void who_is_too_late_is_told_what_it_missed(void **state UNUSED)
{
    publish(0, "a", "1");
    subscribe(1, 1, "a", 1);
    for (unsigned i = 1; i < FAKES; i++)
        announced(i, GENERATION);
    hub_gather_timeout(hub);
    assert_int_equal(hub_state(hub), HUB_REPLAYING);
    hub_gather_timeout(hub); /* no effect */
    run_all();
    next_sent(1, RECORD_SUBSCRIBED);
    next_data(1, "1");
    assert_int_equal(fakes[0].debt.behind, 1);
    subscribe(0, 1, "a", 1);
    next_sent(0, RECORD_SUBSCRIBED);
    next_sent(0, RECORD_LOST);
    announced(0, GENERATION);
    assert_int_equal(fakes[0].debt.behind, 0);
    subscribe(0, 2, "b", 1);
    next_sent(0, RECORD_SUBSCRIBED);
    nothing_sent(0);
    hub_gather_timeout(hub);
    assert_int_equal(hub_state(hub), HUB_LIVE);
}

/* The hub dies again while publications are set aside: they are gone, so everybody is told. */
static void dying_while_gathering(void **state UNUSED)
{
    subscribe(1, 1, "a", 1);
    from(2, (struct record){.kind = RECORD_FENCE, .token = 5});
    assert_int_equal(fakes[1].debt.behind, 0);
    publish(0, "a", "1");
    next_sent(1, RECORD_SUBSCRIBED);
    for (unsigned i = 0; i < FAKES; i++)
        assert_int_equal(fakes[i].debt.behind, 1);
    publish(2, "a", "2");
    from(2, (struct record){.kind = RECORD_FENCE, .token = 6});
    hub_free(hub);
    hub_start(GENERATION);
    assert_int_equal(metrics->lost_publications, 2); /* counted, not only told */
    assert_non_null(strstr(last_line, "publications are lost that the last hub held"));
    assert_non_null(strstr(last_line, "queued_for_workers=0 set_aside=2"));
    hub_free(hub);
    hub_start(GENERATION);
    assert_int_equal(metrics->lost_publications, 2); /* once */
    subscribe(1, 1, "a", 1);
    next_sent(1, RECORD_SUBSCRIBED);
    next_sent(1, RECORD_LOST);
    announce_all();
    for (unsigned i = 0; i < FAKES; i++)
        assert_int_equal(fakes[i].debt.behind, 0);
}

static void the_word_goes_down_after_the_replay(void **state UNUSED)
{
    publish(0, "a", "1");
    announce_all();
    assert_int_equal(fakes[1].debt.behind, 1);
    assert_int_equal(fakes[0].debt.aside, 1);
    run_all();
    assert_int_equal(fakes[0].debt.aside, 0);
    for (unsigned i = 0; i < FAKES; i++)
        assert_int_equal(fakes[i].debt.behind, 0);
}

/* Answers for an incarnation that has ended meanwhile are not sent to the next. */
static void stale_when_its_turn_comes(void **state UNUSED)
{
    from(1, (struct record){.kind = RECORD_FENCE, .token = 5});
    from(1, (struct record){.kind = RECORD_LIST, .token = 6, .name = STR_LIT("*"), .count = 1});
    subscribe(2, 1, "a", 1);
    publish(1, "a", "1");
    next_sent(2, RECORD_SUBSCRIBED);
    fakes[1].generation = 2;
    from(1, (struct record){.kind = RECORD_HELLO});
    announce_all();
    run_all();
    nothing_sent(1);
    next_data(2, "1");
}

static void no_memory_to_set_aside(void **state UNUSED)
{
    subscribe(1, 1, "a", 1);
    next_sent(1, RECORD_SUBSCRIBED);
    fault_fail_at(1);
    publish(0, "a", "1");
    fault_reset();
    fault_fail_at(1);
    from(0, (struct record){.kind = RECORD_FENCE, .token = 5});
    fault_reset();
    assert_int_equal(metrics->lost_publications, 1);
    subscribe(2, 1, "a", 1); /* an announcement: it missed the same */
    next_sent(2, RECORD_SUBSCRIBED);
    next_sent(2, RECORD_LOST);
    announce_all();
    run_all();
    next_sent(1, RECORD_LOST);
    publish(0, "a", "2");
    next_data(1, "2");
    next_data(2, "2");
    nothing_sent(0);
}

static void a_flood_is_bounded(void **state UNUSED)
{
    static char big[1 << 20];
    struct record r = {.kind = RECORD_PUBLISH, .name = STR_LIT("a")};
    unsigned n = 0;

    r.data = (struct str){.p = big, .n = sizeof(big)};
    hub->worker[0].aside_bytes = HUB_ASIDE_MAX - (4 << 20);
    for (; hub_wants(hub, 0); n++)
        from(0, r);
    assert_true(n <= 4);
    assert_true(hub_wants(hub, 1));
    hub->worker[0].aside_bytes -= HUB_ASIDE_MAX - (4 << 20);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup_gathering, hub_teardown)
    const struct CMUnitTest tests[] = {
        T(a_first_hub_gathers_nothing),
        T(publications_wait_for_everybody),
        T(whose_ring_is_read),
        T(nothing_set_aside),
        T(an_announcement_for_an_earlier_hub),
        T(dead_workers_are_not_waited_for),
        T(a_new_incarnation_announces_for_itself),
        T(who_is_too_late_is_told_what_it_missed),
        T(dying_while_gathering),
        T(the_word_goes_down_after_the_replay),
        T(stale_when_its_turn_comes),
        T(no_memory_to_set_aside),
        T(a_flood_is_bounded),
    };

    return cmocka_run_group_tests_name("core/hub_gather", tests, NULL, NULL);
}
