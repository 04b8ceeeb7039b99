/* tests/unit/proc/test_supervisor_capacity.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/resource.h>

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

static const struct config *defaults(void)
{
    static struct config c;

    config_defaults(&c);
    return &c;
}

static unsigned for_cores(unsigned cores, uint64_t nofile)
{
    struct config c;

    config_defaults(&c);
    return supervisor_auto_workers(&c, cores, nofile);
}

static unsigned for_connections(int64_t n, unsigned cores, uint64_t nofile)
{
    struct config c;

    config_defaults(&c);
    c.max_connections = n;
    c.set.max_connections = true;
    return supervisor_auto_workers(&c, cores, nofile);
}

static void as_many_as_cores(void **state UNUSED)
{
    assert_int_equal(for_cores(1, 20000), 1);
    assert_int_equal(for_cores(2, 1024), 2);
    assert_int_equal(for_cores(0, 1048576), 1);
    assert_int_equal(for_cores(64, 1048576), 64);
    assert_int_equal(for_cores(500, 1048576), HUB_WORKERS_MAX);
}

static void never_more_than_the_master_has_descriptors_for(void **state UNUSED)
{
    assert_int_equal(for_cores(64, 96), 24);
    assert_int_equal(for_cores(64, 27), 1);
    assert_int_equal(for_cores(64, 3), 1);
    assert_int_equal(for_connections(16000000, 2, 300), 75);
    assert_int_equal(for_connections(16000000, 2, 1024), HUB_WORKERS_MAX);
}

static void more_only_for_connections_that_were_asked_for(void **state UNUSED)
{
    assert_int_equal(for_connections(1000, 1, 20000), 1);
    assert_int_equal(for_connections(30000, 2, 20000), 2);
    assert_int_equal(for_connections(1000000, 2, 20000), 54);
    assert_true(node_capacity(defaults(), 54, 20000) >= 1000000);
    assert_true(node_capacity(defaults(), 53, 20000) < 1000000);
    assert_int_equal(for_connections(30000, 2, 1024), 43);
    assert_int_equal(for_connections(100, 1, 50), 6); /* 20 each, and head room */
}

static void the_capacity_is_what_workers_hold(void **state UNUSED)
{
    assert_int_equal(node_capacity(defaults(), 1, 20000), reactor_connection_limit(20000));
    assert_int_equal(node_capacity(defaults(), 10, 20000),
                     reactor_connection_limit(20000 - 18) * 10 * 95 / 100);
    assert_int_equal(node_capacity(defaults(), 100, 150), 0); /* all descriptors are listeners */
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
    capacity = (int64_t)node_capacity(&config, 2, 1024);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_as_cores),
        cmocka_unit_test(never_more_than_the_master_has_descriptors_for),
        cmocka_unit_test(more_only_for_connections_that_were_asked_for),
        cmocka_unit_test(the_capacity_is_what_workers_hold),
        cmocka_unit_test(the_default_is_lowered_and_said_once),
        cmocka_unit_test(what_was_set_is_not_lowered_but_warned_about)};

    log_set_sink(keep, NULL);
    config_defaults(&config); /* descriptors are kept for max_admin_connections */
    return cmocka_run_group_tests_name("proc/supervisor_capacity", tests, NULL, NULL);
}
