/* tests/unit/base/test_cgroup.c - on made-up trees of proc and sys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cgroup.c"

#include "made_up_tree.h"

#define V2 "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1 "33 25 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:12 - cgroup cgroup rw,cpu,cpuacct\n"
#define OTHERS                                                                                     \
    "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"                                      \
    "31 25 0:27 / /sys/fs/cgroup/cpuset rw shared:9 - cgroup cgroup rw,cpuset\n"

static void nothing_is_no_quota(void **state UNUSED)
{
    assert_int_equal(cgroup_cores(tree, CGROUP_SELF), 0);
    file("/proc/self/mountinfo", OTHERS);
    assert_int_equal(cgroup_cores(tree, CGROUP_SELF), 0);
    file("/proc/self/mountinfo", OTHERS V2);
    assert_int_equal(cgroup_cores(tree, CGROUP_SELF), 0); /* no /proc/self/cgroup */
    file("/proc/self/cgroup", "0::/\n");
    assert_int_equal(cgroup_cores(tree, CGROUP_SELF), 0); /* no cpu.max */
}

static void v2_in_a_container(void **state UNUSED)
{
    static const struct {
        const char *text;
        unsigned cores;
    } cases[] = {{"max 100000\n", 0},
                 {"200000 100000\n", 2},
                 {"150000 100000\n", 2},
                 {"50000 100000\n", 1},
                 {"1000 100000\n", 1},
                 {"100001 100000\n", 2},
                 {"10000 5000\n", 2},
                 {"-1 100000\n", 0},
                 {"100000 0\n", 0},
                 {"", 0},
                 {"9000000000 1\n", CORES_MAX}};

    file("/proc/self/mountinfo", OTHERS V2);
    file("/proc/self/cgroup", "0::/\n");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        file("/sys/fs/cgroup/cpu.max", cases[i].text);
        assert_int_equal(cgroup_cores(tree, CGROUP_SELF), cases[i].cores);
    }
}

static void v2_the_least_of_all_levels(void **state UNUSED)
{
    file("/proc/self/mountinfo", V2);
    file("/proc/self/cgroup", "0::/system.slice/roost.service\n");
    file("/sys/fs/cgroup/system.slice/cpu.max", "300000 100000\n");
    file("/sys/fs/cgroup/system.slice/roost.service/cpu.max", "500000 100000\n");
    assert_int_equal(cgroup_cores(tree, CGROUP_SELF), 3);
    file("/sys/fs/cgroup/system.slice/roost.service/cpu.max", "200000 100000\n");
    assert_int_equal(cgroup_cores(tree, CGROUP_SELF), 2);
    file("/sys/fs/cgroup/other/cpu.max", "100000 100000\n");
    assert_int_equal(cgroup_cores(tree, CGROUP_SELF), 2);
}

static void v1_quota_and_period(void **state UNUSED)
{
    file("/proc/self/mountinfo", OTHERS V1);
    file("/proc/self/cgroup", "5:cpuset:/x\n4:cpu,cpuacct:/a/b\n1:name=systemd:/\n");
    file("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us", "-1\n");
    file("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us", "100000\n");
    assert_int_equal(cgroup_cores(tree, CGROUP_SELF), 0);
    file("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "250000\n");
    assert_int_equal(cgroup_cores(tree, CGROUP_SELF), 0); /* no period */
    file("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
    assert_int_equal(cgroup_cores(tree, CGROUP_SELF), 3);
    file("/sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us", "100000\n");
    assert_int_equal(cgroup_cores(tree, CGROUP_SELF), 1);
}

/* A container without a cgroup namespace: /proc shows the path on the host, and the mount is that
 * very folder. */
static void v1_a_container_s_own_mount(void **state UNUSED)
{
    file("/proc/self/mountinfo",
         "33 25 0:29 /docker/0123 /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu,cpuacct\n");
    file("/proc/self/cgroup", "4:cpu,cpuacct:/docker/0123\n");
    file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "200000\n");
    file("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    assert_int_equal(cgroup_cores(tree, CGROUP_SELF), 2);
    file("/proc/self/cgroup", "4:cpu,cpuacct:/docker/0123/inner\n");
    file("/sys/fs/cgroup/cpu/inner/cpu.cfs_quota_us", "100000\n");
    file("/sys/fs/cgroup/cpu/inner/cpu.cfs_period_us", "100000\n");
    assert_int_equal(cgroup_cores(tree, CGROUP_SELF), 1);
    file("/proc/self/cgroup", "4:cpu,cpuacct:/docker/01234\n"); /* not below that folder */
    assert_int_equal(cgroup_cores(tree, CGROUP_SELF), 2);
    file("/proc/self/cgroup", "4:cpu,cpuacct:/docker/0123/../../elsewhere\n");
    assert_int_equal(cgroup_cores(tree, CGROUP_SELF), 2);
}

static void both_versions_hold(void **state UNUSED)
{
    file("/proc/self/mountinfo", OTHERS V1 V2);
    file("/proc/self/cgroup", "4:cpu,cpuacct:/\n0::/\n");
    file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "400000\n");
    file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    file("/sys/fs/cgroup/cpu.max", "500000 100000\n");
    assert_int_equal(cgroup_cores(tree, CGROUP_SELF), 4);
    file("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    assert_int_equal(cgroup_cores(tree, CGROUP_SELF), 2);
}

static void odd_mount_points_and_lines(void **state UNUSED)
{
    char line[9000];

    file("/proc/self/mountinfo", "\n- cgroup2\nx\n1 2 3 4 5 - \n- - cgroup2 none rw\n"
                                 "9 9 0:1 / /odd\\040place rw - cgroup2 none rw\n");
    file("/proc/self/cgroup", "nonsense\n:\n0::/\n");
    file("/odd place/cpu.max", "300000 100000\n");
    assert_int_equal(cgroup_cores(tree, CGROUP_SELF), 3);
    /* Overlay mounts have long options; the line behind is read all the same. */
    memset(line, 'o', sizeof(line));
    snprintf(line + 8000, sizeof(line) - 8000, " overlay / rw\n%s", V2);
    file("/proc/self/mountinfo", line);
    file("/sys/fs/cgroup/cpu.max", "100000 100000\n");
    assert_int_equal(cgroup_cores(tree, CGROUP_SELF), 1);
}

static void memory_and_tasks_of_v2(void **state UNUSED)
{
    file("/proc/self/mountinfo", V2);
    file("/proc/self/cgroup", "0::/a/b\n");
    assert_int_equal(cgroup_memory(tree, CGROUP_SELF), 0);
    file("/sys/fs/cgroup/a/b/memory.max", "max\n");
    file("/sys/fs/cgroup/a/b/memory.high", "max\n");
    file("/sys/fs/cgroup/a/b/pids.max", "max\n");
    assert_int_equal(cgroup_memory(tree, CGROUP_SELF), 0);
    assert_int_equal(cgroup_tasks(tree, CGROUP_SELF), 0);
    file("/sys/fs/cgroup/a/memory.max", "536870912\n");
    file("/sys/fs/cgroup/a/pids.max", "100\n");
    assert_int_equal(cgroup_memory(tree, CGROUP_SELF), 536870912);
    assert_int_equal(cgroup_tasks(tree, CGROUP_SELF), 100);
    file("/sys/fs/cgroup/a/b/memory.high", "268435456\n");
    assert_int_equal(cgroup_memory(tree, CGROUP_SELF), 268435456);
    file("/sys/fs/cgroup/a/b/memory.max", "134217728\n");
    assert_int_equal(cgroup_memory(tree, CGROUP_SELF), 134217728);
}

static void memory_and_tasks_of_v1(void **state UNUSED)
{
    file("/proc/self/mountinfo", "34 25 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
                                 "35 25 0:31 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n");
    file("/proc/self/cgroup", "5:pids:/x\n4:memory:/a\n1:cpu:/\n");
    file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    assert_int_equal(cgroup_memory(tree, CGROUP_SELF), 0);
    file("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1073741824\n");
    file("/sys/fs/cgroup/memory/a/memory.high", "1\n"); /* is v2's */
    file("/sys/fs/cgroup/pids/x/pids.max", "64\n");
    assert_int_equal(cgroup_memory(tree, CGROUP_SELF), 1073741824);
    assert_int_equal(cgroup_tasks(tree, CGROUP_SELF), 64);
    assert_int_equal(cgroup_cores(tree, CGROUP_SELF), 0);
}

static void of_another_process(void **state UNUSED)
{
    file("/proc/self/mountinfo", V2);
    file("/proc/self/cgroup", "0::/\n");
    file("/proc/42/mountinfo", V2);
    file("/proc/42/cgroup", "0::/roost\n");
    file("/sys/fs/cgroup/roost/memory.max", "1000000\n");
    assert_int_equal(cgroup_memory(tree, CGROUP_SELF), 0);
    assert_int_equal(cgroup_memory(tree, "42"), 1000000);
    assert_int_equal(cgroup_memory(tree, "43"), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_tree, remove_tree)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_no_quota),        TEST(v2_in_a_container),
        TEST(v2_the_least_of_all_levels), TEST(v1_quota_and_period),
        TEST(v1_a_container_s_own_mount), TEST(both_versions_hold),
        TEST(odd_mount_points_and_lines), TEST(memory_and_tasks_of_v2),
        TEST(memory_and_tasks_of_v1),     TEST(of_another_process)};
    return cmocka_run_group_tests_name("base/cgroup", tests, NULL, NULL);
}
