/* Waiters for room in the ring: bounded turns, oldest first, little before much. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/waiters.c"

#define MANY 300

static struct who {
    struct waiter waiter;
    unsigned asked;
    bool again, gone;
} who[MANY];
static struct waiters ws;
static unsigned room, order[MANY * 4], norder;
static bool is_over;

static enum waiter_answer ask(struct waiter *w)
{
    struct who *me = CONTAINER_OF(w, struct who, waiter);

    assert_false(waiter_waits(w));
    me->asked++;
    if (me->gone)
        return WAITER_GONE;
    order[norder++ % (MANY * 4)] = (unsigned)(me - who);
    if (room == 0)
        return WAITER_NO_ROOM;
    room--;
    if (me->again)
        waiters_add(&ws, w, w->bulk);
    return WAITER_SERVED;
}

static bool over(void)
{
    return is_over;
}

static int setup(void **state UNUSED)
{
    memset(who, 0, sizeof(who));
    waiters_init(&ws);
    for (unsigned i = 0; i < MANY; i++)
        waiter_init(&who[i].waiter, ask);
    room = UINT32_MAX;
    norder = 0;
    is_over = false;
    return 0;
}

static void add(unsigned from, unsigned n, bool bulk)
{
    for (unsigned i = from; i < from + n; i++)
        waiters_add(&ws, &who[i].waiter, bulk);
}

static void oldest_first_a_bounded_number(void **state UNUSED)
{
    add(0, MANY, false);
    for (unsigned turn = 0; turn < MANY / ASKED_PER_TURN; turn++) {
        assert_true(waiters_turn(&ws, over));
        assert_int_equal(norder, (turn + 1) * ASKED_PER_TURN);
    }
    assert_false(waiters_turn(&ws, over));
    assert_true(waiters_empty(&ws));
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(order[i], i);
}

static void little_before_much(void **state UNUSED)
{
    add(0, 1, true);
    add(1, 1, false);
    room = 0;
    assert_false(waiters_turn(&ws, over));
    assert_int_equal(who[0].asked, 0);
    assert_int_equal(who[1].asked, 1);
    room = 2;
    assert_false(waiters_turn(&ws, over));
    assert_int_equal(order[1], 1);
    assert_int_equal(order[2], 0);
    assert_true(waiters_empty(&ws));
}

/* A full ring is asked a few times a turn, by others each time. */
static void refusals_end_the_turn(void **state UNUSED)
{
    add(0, 20, false);
    room = 0;
    assert_false(waiters_turn(&ws, over));
    assert_int_equal(norder, REFUSALS);
    assert_false(waiters_turn(&ws, over));
    assert_int_equal(order[REFUSALS], REFUSALS); /* who was refused stands behind */
    assert_false(waiters_turn(&ws, over));
    assert_int_equal(norder, 3 * REFUSALS);
    assert_int_equal(order[20], 0);
    room = 3; /* there is some, and somebody who fits it: at once again */
    assert_true(waiters_turn(&ws, over));
}

static void who_comes_again_waits_for_the_next_turn(void **state UNUSED)
{
    add(0, 2, false);
    who[0].again = true;
    assert_false(waiters_turn(&ws, over));
    assert_int_equal(norder, 2);
    assert_true(waiter_waits(&who[0].waiter));
    waiters_add(&ws, &who[0].waiter, true); /* keeps its place */
    assert_false(who[0].waiter.bulk);
    waiter_remove(&who[0].waiter);
    waiter_remove(&who[0].waiter);
    assert_true(waiters_empty(&ws));
}

static void time_is_up(void **state UNUSED)
{
    add(0, 10, false);
    is_over = true;
    assert_true(waiters_turn(&ws, over));
    assert_int_equal(norder, 1);
    is_over = false;
    assert_false(waiters_turn(&ws, over));
    assert_int_equal(order[1], 1); /* in their order */
    assert_int_equal(order[9], 9);
}

static void the_gone_cost_no_turn(void **state UNUSED)
{
    add(0, MANY, false);
    for (unsigned i = 0; i < MANY - 1; i++)
        who[i].gone = true;
    is_over = true;
    assert_true(waiters_turn(&ws, over));
    assert_int_equal(norder, 1);
    assert_true(waiters_empty(&ws));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, setup)
    const struct CMUnitTest tests[] = {
        T(oldest_first_a_bounded_number),           T(little_before_much), T(refusals_end_the_turn),
        T(who_comes_again_waits_for_the_next_turn), T(time_is_up),         T(the_gone_cost_no_turn),
    };

    return cmocka_run_group_tests_name("core/waiters", tests, NULL, NULL);
}
