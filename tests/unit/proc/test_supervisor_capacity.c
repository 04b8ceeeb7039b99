/* tests/unit/proc/test_supervisor_capacity.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/resource.h>
#include <sys/stat.h>

#include "proc/supervisor_capacity.c"

static struct str last_line;
static unsigned lines;

static void keep(struct str line, void *arg)
{
    (void)arg;
    free((void *)(uintptr_t)last_line.p);
    last_line = (struct str){strndup(line.p, line.n), line.n};
    lines++;
}

static void the_default_is_lowered_and_said_once(void **state UNUSED)
{
    struct rlimit r;
    struct config again;
    int64_t capacity;

    config_defaults(&config);
    again = config;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &r), 0);
    r.rlim_cur = r.rlim_max = 1024; /* of this program: it needs no more */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &r), 0);
    capacity = (int64_t)capacity_of_node(&config, 2, 1024);
    lines = 0;
    supervisor_fit_capacity(&config, 2);
    assert_int_equal(config.max_connections, capacity);
    assert_false(config.set.max_connections);
    assert_int_equal(lines, 1);
    assert_non_null(strstr(last_line.p, "LimitNOFILE="));
    assert_non_null(strstr(last_line.p, "set max_connections"));
    supervisor_fit_capacity(&again, 2); /* as a reload does */
    assert_int_equal(again.max_connections, capacity);
    assert_int_equal(lines, 1);
    supervisor_check_capacity(2);
    assert_int_equal(lines, 1);
}

static void what_was_set_is_not_lowered_but_warned_about(void **state UNUSED)
{
    config_defaults(&config);
    config.max_connections = INT64_C(16000000);
    config.set.max_connections = true;
    lines = 0;
    supervisor_fit_capacity(&config, 2);
    assert_int_equal(config.max_connections, 16000000);
    assert_int_equal(lines, 0);
    supervisor_check_capacity(2);
    assert_int_equal(lines, 1);
    assert_non_null(strstr(last_line.p, "does not fit"));
}

/* A tree of proc and sys with a group of so much memory and so many processes. */
static const char *const tree_files[] = {"proc/self/mountinfo", "proc/self/cgroup",
                                         "group/memory.max", "group/pids.max"};
static const char *const tree_folders[] = {"proc", "proc/self", "group"};

static void make_group(char *tree, const char *memory, const char *tasks)
{
    const char *const texts[] = {"1 1 0:1 / /group rw - cgroup2 none rw\n", "0::/\n", memory,
                                 tasks};
    char path[128];
    FILE *f;

    for (size_t i = 0; i < ARRAY_LEN(tree_folders); i++) {
        snprintf(path, sizeof(path), "%s/%s", tree, tree_folders[i]);
        mkdir(path, 0755);
    }
    for (size_t i = 0; i < ARRAY_LEN(tree_files); i++) {
        snprintf(path, sizeof(path), "%s/%s", tree, tree_files[i]);
        f = fopen(path, "w");
        assert_non_null(f);
        fputs(texts[i], f);
        fclose(f);
    }
    proc_root = tree;
}

static void remove_group(char *tree)
{
    char path[128];

    for (size_t i = ARRAY_LEN(tree_files); i-- > 0;) {
        snprintf(path, sizeof(path), "%s/%s", tree, tree_files[i]);
        assert_int_equal(remove(path), 0);
    }
    for (size_t i = ARRAY_LEN(tree_folders); i-- > 0;) {
        snprintf(path, sizeof(path), "%s/%s", tree, tree_folders[i]);
        assert_int_equal(remove(path), 0);
    }
    assert_int_equal(remove(tree), 0);
    proc_root = "";
}

static void a_group_s_memory_is_gone_by(void **state UNUSED)
{
    char tree[] = "/tmp/roost-capacity-XXXXXX";
    struct config again;

    assert_non_null(mkdtemp(tree));
    make_group(tree, "104857600\n", "max\n");
    config_defaults(&config);
    config.max_connections = 100; /* as descriptors have left it */
    again = config;
    lines = 0;
    supervisor_fit_capacity(&config, 2);
    assert_int_equal(config.history_memory, 26214400);
    assert_int_equal(config.worker_memory, 13107200);
    assert_int_equal(config.max_connections, 100);
    assert_int_equal(lines, 0);
    supervisor_check_capacity(2);
    assert_int_equal(lines, 1);
    assert_non_null(strstr(last_line.p, "memory of the control group"));
    assert_non_null(strstr(last_line.p, "limit=104857600"));

    make_group(tree, "1048576\n", "max\n");
    config = again;
    supervisor_fit_capacity(&config, 2);
    assert_int_equal(config.max_connections, 51);
    assert_int_equal(lines, 2);
    assert_non_null(strstr(last_line.p, "quarter of the control group's memory"));
    supervisor_fit_capacity(&again, 2); /* as a reload does */
    assert_int_equal(again.max_connections, 51);
    assert_int_equal(lines, 2);
    supervisor_check_capacity(2); /* rings alone are more than that */
    assert_int_equal(lines, 4);
    assert_non_null(strstr(last_line.p, "OOM killer"));
    remove_group(tree);
}

static void what_was_set_over_a_group_s_memory_is_warned_about(void **state UNUSED)
{
    char tree[] = "/tmp/roost-capacity-XXXXXX";

    assert_non_null(mkdtemp(tree));
    make_group(tree, "104857600\n", "max\n");
    config_defaults(&config);
    config.max_connections = 100;
    config.worker_memory = 104857600;
    config.set.worker_memory = true;
    supervisor_fit_capacity(&config, 1);
    lines = 0;
    supervisor_check_capacity(1);
    assert_int_equal(lines, 2);
    assert_non_null(strstr(last_line.p, "OOM killer"));
    remove_group(tree);
}

static void too_few_processes_are_told(void **state UNUSED)
{
    char tree[] = "/tmp/roost-capacity-XXXXXX";

    assert_non_null(mkdtemp(tree));
    config_defaults(&config);
    config.max_connections = 100;
    make_group(tree, "max\n", "7\n");
    lines = 0;
    supervisor_check_capacity(4);
    assert_int_equal(lines, 0);
    supervisor_check_capacity(5);
    assert_int_equal(lines, 1);
    assert_non_null(strstr(last_line.p, "TasksMax="));
    remove_group(tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_group_s_memory_is_gone_by),
        cmocka_unit_test(what_was_set_over_a_group_s_memory_is_warned_about),
        cmocka_unit_test(too_few_processes_are_told),
        cmocka_unit_test(the_default_is_lowered_and_said_once),
        cmocka_unit_test(what_was_set_is_not_lowered_but_warned_about)};

    log_set_sink(keep, NULL);
    config_defaults(&config); /* descriptors are kept for max_admin_connections */
    return cmocka_run_group_tests_name("proc/supervisor_capacity", tests, NULL, NULL);
}
