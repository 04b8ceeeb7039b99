/* The master's orders: which descriptors there are of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proc/orders.c"

/* A process that could not be started, again and again: fork() fails where there may be no more. */
static void what_was_not_started_leaves_nothing(void **state UNUSED)
{
    uint64_t before = shm_count_fds();

    for (unsigned n = 0; n < 10; n++)
        assert_int_equal(orders_open(SHM_WORKER + n % 2), 0);
    assert_int_equal(shm_count_fds(), before + 3); /* two of the master's, the last one's */
    orders_keep_master();
    assert_int_equal(shm_count_fds(), before + 2);
    orders_keep_child();
    assert_int_equal(shm_count_fds(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_was_not_started_leaves_nothing)};

    return cmocka_run_group_tests_name("proc/orders", tests, NULL, NULL);
}
