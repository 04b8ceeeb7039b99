/* tests/unit/base/test_cpus.c - on made-up trees of proc and sys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cpus.c"

#include "made_up_tree.h"

#define V2 "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"

static void the_smaller_of_mask_and_quota(void **state UNUSED)
{
    cpu_set_t before, one;
    size_t first = 0;

    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    assert_int_equal(cpus_affinity(), CPU_COUNT(&before));
    while (!CPU_ISSET(first, &before))
        first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    assert_int_equal(cpus_usable(tree), cpus_affinity()); /* no quota */
    file("/proc/self/mountinfo", V2);
    file("/proc/self/cgroup", "0::/\n");
    file("/sys/fs/cgroup/cpu.max", "6400000 100000\n");
    assert_int_equal(cpus_usable(tree), MIN(CPU_COUNT(&before), 64));
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    assert_int_equal(cpus_affinity(), 1);
    assert_int_equal(cpus_usable(tree), 1);
    assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
    file("/sys/fs/cgroup/cpu.max", "100 100000\n");
    assert_int_equal(cpus_usable(tree), 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_tree, remove_tree)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(the_smaller_of_mask_and_quota)};

    return cmocka_run_group_tests_name("base/cpus", tests, NULL, NULL);
}
