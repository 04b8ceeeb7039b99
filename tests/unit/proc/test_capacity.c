/* tests/unit/proc/test_capacity.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proc/capacity.c"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

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
    return capacity_auto_workers(&c, cores, nofile);
}

static unsigned for_connections(int64_t n, unsigned cores, uint64_t nofile)
{
    struct config c;

    config_defaults(&c);
    c.max_connections = n;
    c.set.max_connections = true;
    return capacity_auto_workers(&c, cores, nofile);
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
    assert_true(capacity_of_node(defaults(), 54, 20000) >= 1000000);
    assert_true(capacity_of_node(defaults(), 53, 20000) < 1000000);
    assert_int_equal(for_connections(30000, 2, 1024), 43);
    assert_int_equal(for_connections(100, 1, 50), 6); /* 20 each, and head room */
}

static void the_capacity_is_what_workers_hold(void **state UNUSED)
{
    assert_int_equal(capacity_of_node(defaults(), 1, 20000), reactor_connection_limit(20000));
    assert_int_equal(capacity_of_node(defaults(), 10, 20000),
                     reactor_connection_limit(20000 - 18) * 10 * 95 / 100);
    assert_int_equal(capacity_of_node(defaults(), 100, 150), 0); /* all descriptors are listeners */
}

static void memory_is_shared_out_where_it_is_limited(void **state UNUSED)
{
    struct config c;

    config_defaults(&c);
    capacity_fit_memory(&c, 4, 0);
    assert_int_equal(c.history_memory, GIB);
    assert_int_equal(c.worker_memory, 0);
    capacity_fit_memory(&c, 4, 512 * MIB);
    assert_int_equal(c.history_memory, 128 * MIB);
    assert_int_equal(c.worker_memory, 32 * MIB);
    assert_int_equal(capacity_of_memory(512 * MIB), 128 * MIB / CAPACITY_SOCKET_BYTES);
    config_defaults(&c);
    capacity_fit_memory(&c, 2, 64 * GIB);
    assert_int_equal(c.history_memory, GIB);
    assert_int_equal(c.worker_memory, 8 * GIB);
    config_defaults(&c);
    capacity_fit_memory(&c, 128, MIB);
    assert_int_equal(c.worker_memory, MIB);
}

static void what_was_set_stays(void **state UNUSED)
{
    struct config c;

    config_defaults(&c);
    c.history_memory = 5;
    c.worker_memory = 0;
    c.set.history_memory = c.set.worker_memory = true;
    capacity_fit_memory(&c, 4, 512 * MIB);
    assert_int_equal(c.history_memory, 5);
    assert_int_equal(c.worker_memory, 0);
}

static void what_the_settings_allow_to_be_taken(void **state UNUSED)
{
    struct config c;

    config_defaults(&c);
    c.max_connections = 1000;
    c.max_message_size = 1000;
    c.worker_memory = 7;
    assert_int_equal(capacity_rings(&c, 3), 6 * 4 * MIB);
    assert_int_equal(capacity_memory_needed(&c, 3), 24 * MIB + GIB + 21 + 1000 * 5120);
    c.engine = ENGINE_IS_REDIS; /* its server has the histories */
    assert_int_equal(capacity_memory_needed(&c, 3), 24 * MIB + 21 + 1000 * 5120);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_as_cores),
        cmocka_unit_test(never_more_than_the_master_has_descriptors_for),
        cmocka_unit_test(more_only_for_connections_that_were_asked_for),
        cmocka_unit_test(the_capacity_is_what_workers_hold),
        cmocka_unit_test(memory_is_shared_out_where_it_is_limited),
        cmocka_unit_test(what_was_set_stays),
        cmocka_unit_test(what_the_settings_allow_to_be_taken)};

    config_defaults(&config); /* descriptors are kept for max_admin_connections */
    return cmocka_run_group_tests_name("proc/capacity", tests, NULL, NULL);
}
