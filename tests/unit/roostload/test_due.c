/* tests/unit/roostload/test_due.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cmd/roostload/due.c"
#include "fault.h"

#define USERS 300

static void empty(void **state UNUSED)
{
    struct dues d;

    assert_int_equal(dues_init(&d, 1), 0);
    assert_true(dues_next(&d) == UINT64_MAX);
    assert_true(dues_of(&d, 0) == UINT64_MAX);
    dues_remove(&d, 0);
    assert_int_equal(d.n, 0);
    dues_fini(&d);
}

static void a_user_stands_there_once(void **state UNUSED)
{
    struct dues d;

    assert_int_equal(dues_init(&d, 3), 0);
    dues_set(&d, 0, 50);
    dues_set(&d, 1, 40);
    dues_set(&d, 2, 45);
    dues_set(&d, 1, 60);
    assert_int_equal(d.n, 3);
    assert_int_equal(dues_first(&d), 2);
    dues_set(&d, 0, 10);
    assert_int_equal(dues_first(&d), 0);
    assert_int_equal(dues_next(&d), 10);
    assert_int_equal(dues_of(&d, 1), 60);
    dues_fini(&d);
}

/* Against an array that is searched. */
static void any_order(void **state UNUSED)
{
    uint64_t times[USERS], random = 1;
    struct dues d;

    memset(times, 0xff, sizeof(times));
    assert_int_equal(dues_init(&d, USERS), 0);
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t least = UINT64_MAX;
        uint32_t user, n = 0;

        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        user = (uint32_t)(random >> 33) % USERS;
        if ((random >> 20) % 3 == 0) {
            dues_remove(&d, user);
            times[user] = UINT64_MAX;
        } else {
            times[user] = (random >> 40) % 1000;
            dues_set(&d, user, times[user]);
        }
        for (uint32_t k = 0; k < USERS; k++) {
            least = MIN(least, times[k]);
            n += times[k] != UINT64_MAX;
            assert_true(dues_of(&d, k) == times[k]);
        }
        assert_int_equal(d.n, n);
        assert_true(dues_next(&d) == least);
        assert_true(n == 0 || times[dues_first(&d)] == least);
    }
    dues_fini(&d);
}

static void no_memory(void **state UNUSED)
{
    struct dues d;

    for (unsigned k = 1; k <= 2; k++) {
        fault_fail_at(k);
        assert_int_equal(dues_init(&d, 10), -1);
        assert_null(d.heap);
        assert_null(d.place);
    }
    fault_reset();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(empty),
                                       cmocka_unit_test(a_user_stands_there_once),
                                       cmocka_unit_test(any_order), cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests_name("roostload/due", tests, NULL, NULL);
}
