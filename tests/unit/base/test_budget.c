/* Shares of memory: bounds, who has to go, accounts that close. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/budget.c"

#include "fault.h"

#define MAX_BYTES 100000

static struct budget b;
static struct holder h[400];
static const char *bound;

static int setup(void **state UNUSED)
{
    static const uint8_t seed[16] = {1};

    hash_seed(seed);
    clock_set_virtual(1000 * NS_PER_SEC);
    memset(h, 0, sizeof(h));
    budget_init(&b, "test_keys");
    budget_set(&b, MAX_BYTES, 0, true);
    return 0;
}

static int teardown(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(h); i++)
        budget_leave(&h[i]);
    assert_int_equal(b.all.bytes, 0);
    assert_int_equal(b.keys.count, 0);
    assert_int_equal(b.key_pool.in_use, 0);
    budget_fini(&b);
    clock_set_virtual(0);
    return 0;
}

static void hold(size_t i, uint8_t address, uint64_t bytes)
{
    const uint8_t key[BUDGET_KEY_SIZE] = {address};

    assert_int_equal(budget_hold(&b, &h[i], key, bytes), 0);
}

/* Index of who has to go, after a change of i; -1: nobody. */
static long excess(size_t i)
{
    struct holder *over = budget_excess(&b, &h[i], &bound);

    return over == NULL ? -1 : over - h;
}

static void within_the_bounds_nobody_goes(void **state UNUSED)
{
    hold(0, 1, 25000);
    assert_int_equal(excess(0), -1);
    hold(1, 1, 25000);
    hold(2, 2, 25000);
    hold(3, 3, 25000);
    assert_int_equal(excess(3), -1);
    assert_int_equal(b.all.bytes, MAX_BYTES);
    hold(0, 1, 1000); /* less again */
    assert_int_equal(b.all.bytes, MAX_BYTES - 24000);
}

static void a_connection_has_a_quarter(void **state UNUSED)
{
    hold(0, 1, 25001);
    assert_int_equal(excess(0), 0);
    assert_string_equal(bound, "connection");
}

/* But one largest message, if all of it allows that. */
static void or_one_largest_message(void **state UNUSED)
{
    budget_set(&b, MAX_BYTES, 80000, true);
    hold(0, 1, 80000);
    assert_int_equal(excess(0), -1);
    hold(0, 1, 80001);
    assert_int_equal(excess(0), 0);
    budget_set(&b, MAX_BYTES, 1u << 30, true);
    assert_int_equal(excess(0), -1);
    hold(0, 1, MAX_BYTES + 1);
    assert_int_equal(excess(0), 0);
}

/* What one address has too much costs that address. */
static void an_address_has_half(void **state UNUSED)
{
    hold(0, 2, 20000); /* older than all, and another's */
    clock_advance(NS_PER_SEC);
    hold(1, 1, 20000);
    clock_advance(NS_PER_SEC);
    hold(2, 1, 20000);
    clock_advance(NS_PER_SEC);
    hold(3, 1, 10001);
    assert_int_equal(excess(3), 1);
    assert_string_equal(bound, "address");
    budget_set(&b, MAX_BYTES, 0, false);
    assert_int_equal(excess(3), -1);
}

static void the_biggest_and_oldest_goes_first(void **state UNUSED)
{
    for (size_t i = 0; i < 300; i++) /* many small ones that wait */
        hold(i, (uint8_t)(i + 1), 100);
    clock_advance(10 * NS_PER_SEC);
    for (size_t i = 300; i < 303; i++) {
        hold(i, (uint8_t)i, 20000);
        clock_advance(NS_PER_SEC);
    }
    hold(303, 200, 24000); /* larger and of this instant */
    assert_int_equal(excess(303), 300);
    assert_string_equal(bound, "all");
    budget_leave(&h[300]);
    assert_int_equal(excess(303), -1);
}

static void who_is_pinned_does_not_go(void **state UNUSED)
{
    hold(0, 1, 25000);
    budget_pin(&h[0]);
    clock_advance(NS_PER_SEC);
    hold(1, 1, 20000);
    hold(2, 1, 10000);
    assert_int_equal(excess(2), 1);
    budget_leave(&h[1]);
    hold(0, 1, 25001); /* more, and still pinned */
    hold(2, 1, 25000);
    assert_int_equal(excess(2), 2);
    budget_renew(&h[0], 24000);
    clock_advance(NS_PER_SEC);
    hold(3, 1, 5000);
    assert_int_equal(excess(3), 2);
    budget_leave(&h[2]);
    hold(4, 1, 24000);
    assert_int_equal(excess(4), 0);
    budget_renew(&h[0], 0);
    assert_null(h[0].budget);
    budget_renew(&h[0], 5);
    assert_null(h[0].budget);
    budget_pin(&h[0]);
}

/* When all others are pinned, the last one goes. */
static void somebody_always_goes(void **state UNUSED)
{
    for (size_t i = 0; i < 4; i++) {
        hold(i, (uint8_t)i, 25000);
        budget_pin(&h[i]);
    }
    hold(4, 9, 10);
    assert_int_equal(excess(4), 4);
    budget_leave(&h[4]);
    assert_int_equal(excess(4), -1);
}

static void no_memory_for_an_account(void **state UNUSED)
{
    const uint8_t key[BUDGET_KEY_SIZE] = {7};

    for (unsigned k = 1; k <= 2; k++) {
        fault_fail_at(k);
        if (budget_hold(&b, &h[0], key, 10) == -1)
            assert_null(h[0].budget);
        fault_reset();
        budget_leave(&h[0]);
        assert_int_equal(b.all.bytes, 0);
        assert_int_equal(b.key_pool.in_use, 0);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(within_the_bounds_nobody_goes),
        T(a_connection_has_a_quarter),
        T(or_one_largest_message),
        T(an_address_has_half),
        T(the_biggest_and_oldest_goes_first),
        T(who_is_pinned_does_not_go),
        T(somebody_always_goes),
        T(no_memory_for_an_account),
    };

    return cmocka_run_group_tests_name("base/budget", tests, NULL, NULL);
}
