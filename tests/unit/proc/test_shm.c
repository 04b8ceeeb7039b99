/* tests/unit/proc/test_shm.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proc/shm.c"

static void rings_hold_four_of_the_largest(void **state)
{
    struct config c;

    (void)state;
    config_defaults(&c);
    assert_int_equal(shm_ring_capacity(&c),
                     8 << 20); /* four times 1 MiB and their heads: the next power of two */
    c.max_message_size = 125;
    c.ring_size = 65536;
    assert_int_equal(shm_ring_capacity(&c), 65536);
    c.ring_size = 65537;
    assert_int_equal(shm_ring_capacity(&c), 131072);
}

static void slots_settings_and_sums(void **state)
{
    struct metrics *own = metrics;
    static struct metrics sum;
    char err[256];

    (void)state;
    assert_int_equal(shm_create(3, 65536, err, sizeof(err)), 0);
    config_defaults(&shm->configs[0]);
    shm_enter(SHM_WORKER + 1);
    assert_int_equal(config.max_connections, 30000);
    assert_int_equal(shm->slots[SHM_WORKER + 1].pid, getpid());
    METRIC_ADD(accepts, 4);
    shm->slots[SHM_WORKER + 2].metrics.accepts = 3;
    shm_sum_metrics(&sum);
    assert_int_equal(sum.accepts, 7);
    shm->slots[SHM_WORKER].client_connections = 5;
    shm->slots[SHM_WORKER + 2].client_connections = 6;
    assert_int_equal(shm_node_connections(), 11);
    assert_false(shm_take_config());
    shm->configs[1] = shm->configs[0];
    shm->configs[1].max_connections = 9;
    shm->config_version = 1;
    assert_true(shm_take_config());
    assert_int_equal(config.max_connections, 9);
    assert_false(shm_take_config());
    metrics->subscriptions = 8; /* a new incarnation keeps counters and starts with empty gauges */
    shm_enter(SHM_WORKER + 1);
    assert_int_equal(metrics->accepts, 4);
    assert_int_equal(metrics->subscriptions, 0);
    shm_destroy();
    shm_destroy();
    metrics = own;
}

static void wake_ups_never_block(void **state)
{
    char err[256];
    uint64_t n;

    (void)state;
    assert_int_equal(shm_create(1, 65536, err, sizeof(err)), 0);
    for (int i = 0; i < 1000; i++)
        shm_wake(shm->hub_wake_fd);
    assert_int_equal(read(shm->hub_wake_fd, &n, sizeof(n)), sizeof(n));
    assert_int_equal(n, 1000);
    shm_destroy();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rings_hold_four_of_the_largest),
                                       cmocka_unit_test(slots_settings_and_sums),
                                       cmocka_unit_test(wake_ups_never_block)};
    return cmocka_run_group_tests_name("proc/shm", tests, NULL, NULL);
}
