/* tests/unit/proc/test_supervisor.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proc/supervisor.c"

static void workers_for_cores_and_descriptors(void **state)
{
    (void)state;
    assert_int_equal(supervisor_auto_workers(1000, 1, 20000), 1);
    assert_int_equal(supervisor_auto_workers(30000, 2, 20000), 2);
    assert_int_equal(supervisor_auto_workers(30000, 64, 1048576), 64);
    assert_int_equal(supervisor_auto_workers(30000, 0, 1048576), 1);
    assert_int_equal(supervisor_auto_workers(1000000, 2, 20000), 53);
    assert_true(node_capacity(53, 20000) >= 1000000);
    assert_true(node_capacity(52, 20000) < 1000000);
    assert_int_equal(supervisor_auto_workers(16000000, 2, 1024), HUB_WORKERS_MAX);
    assert_int_equal(supervisor_auto_workers(10, 500, 1024), HUB_WORKERS_MAX);
    assert_int_equal(supervisor_auto_workers(10, 1, 50), 11); /* one each, and head room */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(workers_for_cores_and_descriptors)};
    return cmocka_run_group_tests_name("proc/supervisor", tests, NULL, NULL);
}
