/* A million steps of whole nodes; a hundred thousand under a sanitizer. A failure names its seed:
 * SIM_SEED=<n> runs that one alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sim.h"

#define KIB   1024
#define SEEDS 4
#define PLANS 5

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STEPS (100 * 1000 / PLANS / SEEDS)
#define RARE  false /* what happens seldom need not have happened */
#else
#define STEPS (1000 * 1000 / PLANS / SEEDS)
#define RARE  true
#endif

static const struct sim_plan roomy = {.workers = 3,
                                      .channels = 4,
                                      .clients = 40,
                                      .ring_size = 256 * KIB,
                                      .queue_max = 1024 * KIB,
                                      .output_limit = 1024 * KIB,
                                      .client_resets = 2000,
                                      .longest_tick_ns = 100 * 1000};

/* What all seeds of a plan together must have seen happen; of one seed alone nothing is said. */
#define ASSERT_HAPPENED(condition) assert_true((condition) || getenv("SIM_SEED") != NULL)

static struct sim_counts run(struct sim_plan plan)
{
    const char *only = getenv("SIM_SEED");
    struct sim_counts sum = {0};

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct sim *s;
        const struct sim_counts *n;

        plan.seed = only != NULL ? strtoull(only, NULL, 10) : seed;
        s = sim_new(&plan);
        sim_steps(s, STEPS);
        sim_settle(s);
        n = sim_counts(s);
        print_message("seed %llu: %llu steps, %llu published, %llu seen, %llu opened, %llu closed, "
                      "%llu lost, %llu reset, %llu refused, %llu deaths\n",
                      (unsigned long long)plan.seed, (unsigned long long)n->steps,
                      (unsigned long long)n->published, (unsigned long long)n->seen,
                      (unsigned long long)n->opened, (unsigned long long)n->closed,
                      (unsigned long long)n->lost, (unsigned long long)n->resets,
                      (unsigned long long)n->refused,
                      (unsigned long long)(n->deaths + n->hub_deaths));
        sum.seen += n->seen;
        sum.closed += n->closed;
        sum.lost += n->lost;
        sum.resets += n->resets;
        sum.refused += n->refused;
        sum.deaths += n->deaths;
        sum.hub_deaths += n->hub_deaths;
        sum.api_calls += n->api_calls;
        sum.proxied += n->proxied;
        sim_free(s);
        if (only != NULL)
            break;
    }
    return sum;
}

/* Nobody but clients comes and goes: nothing is lost or refused. */
static void test_nobody_dies(void **state UNUSED)
{
    struct sim_counts n = run(roomy);

    ASSERT_HAPPENED(n.seen > 0 && n.closed > 0 && n.api_calls > 0 && n.proxied > 0);
    assert_int_equal(n.lost, 0);
    assert_int_equal(n.resets, 0);
    assert_int_equal(n.refused, 0);
}

static void test_workers_and_hubs_die(void **state UNUSED)
{
    struct sim_plan plan = roomy;
    struct sim_counts n;

    plan.worker_dies = 3000;
    plan.hub_dies = 500;
    n = run(plan);
    ASSERT_HAPPENED(n.seen > 0 && n.deaths > 0 && n.hub_deaths > 0);
}

/* The same with histories: the order of a channel is its stream's. */
static void test_histories(void **state UNUSED)
{
    struct sim_plan plan = roomy;
    struct sim_counts n;

    plan.history = 20;
    plan.worker_dies = 3000;
    plan.hub_dies = 2000;
    n = run(plan);
    ASSERT_HAPPENED(n.seen > 0 && n.deaths > 0 && n.hub_deaths > 0);
}

/* Clients that do not read: their queues stay within the limit, then they are closed. */
static void test_clients_stall(void **state UNUSED)
{
    struct sim_plan plan = roomy;
    struct sim_counts n;

    plan.client_stalls = 300;
    plan.output_limit = 4 * KIB;
    plan.way.capacity = 4 * KIB;
    plan.ring_size = 64 * KIB;
    plan.long_each = 2;
    n = run(plan);
    ASSERT_HAPPENED(n.seen > 0 && (n.lost > 0 || !RARE));
}

/* Rings and queue so small that publishers are held and places are lost. */
static void test_tight(void **state UNUSED)
{
    struct sim_plan plan = roomy;
    struct sim_counts n;

    plan.ring_size = 64 * KIB;
    plan.queue_max = 16 * KIB;
    plan.long_each = 4;
    plan.worker_dies = 5000;
    plan.hub_dies = 500;
    plan.client_stalls = 1000;
    n = run(plan);
    ASSERT_HAPPENED(n.seen > 0 && (n.lost > 0 || !RARE));
}

/* Between clients and workers bytes come and go in any cut, late, or not at all. */
static void test_rough_ways(void **state UNUSED)
{
    struct sim_plan plan = roomy;
    struct sim_counts n;

    plan.way = (struct memory_plan){.capacity = 8 * KIB,
                                    .short_each = 2,
                                    .later_each = 4,
                                    .stall_each = 50,
                                    .reset_each = 5000};
    n = run(plan);
    ASSERT_HAPPENED(n.seen > 0 && n.closed > 0 && n.resets > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_dies), cmocka_unit_test(test_workers_and_hubs_die),
        cmocka_unit_test(test_histories),   cmocka_unit_test(test_clients_stall),
        cmocka_unit_test(test_tight),       cmocka_unit_test(test_rough_ways),
    };

    return cmocka_run_group_tests_name("sim/sim", tests, NULL, NULL);
}
