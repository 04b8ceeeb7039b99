/* The whole link in one process: a hub and several brokers over real rings, a seeded random
 * schedule, hubs and workers that die at any moment.
 *
 * What must hold, per channel: there is one order (the one in which hubs first take publications
 * from rings); every subscriber sees a part of it without gap or repetition from the moment it was
 * told "subscribed", except where it was told "lost"; and every publication that a worker has
 * committed is in that order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "link_world.h"

static void worker_act(bool workers_die)
{
    unsigned w = dice(WORKERS), what = dice(20);

    if (w + 1 == world->hung)
        return;
    if (world->broker[w] == NULL) {
        if (dice(3) == 0)
            worker_start(w);
        return;
    }
    if (workers_die && dice(300) == 0)
        worker_die(w);
    else if (what < 8)
        worker_turn(w);
    else if (what < 11)
        client_act(w);
    else if (what < 19)
        publish(w, dice(CHANNELS));
    else
        fence(w);
}

/* No more deaths: everything that is under way arrives. */
static void settle(void)
{
    for (unsigned round = 0; round < 3000; round++) {
        hub_act(false);
        for (unsigned w = 0; w < WORKERS; w++) {
            if (world->broker[w] == NULL)
                worker_start(w);
            worker_turn(w);
            while (task_run(&world->tasks[w], NS_PER_SEC)) {
            }
        }
    }
    assert_int_equal(hub_state(world->hub), HUB_LIVE);
    assert_false(hub_backlogged(world->hub));
}

static void check_end(void)
{
    uint32_t first_last = world->npubs;

    settle();
    for (uint32_t i = 0; i < world->npubs; i++) {
        if (world->pubs[i].committed)
            assert_int_not_equal(world->pubs[i].place, NOT_YET);
    }
    for (unsigned c = 0; c < CHANNELS; c++)
        publish(c % WORKERS, c);
    assert_int_equal(world->npubs, first_last + CHANNELS);
    settle();
    for (unsigned w = 0; w < WORKERS; w++) {
        for (unsigned i = 0; i < CLIENTS; i++) {
            const struct client *c = &world->clients[w][i];

            if (c->sub.chan == NULL)
                continue;
            assert_true(c->sub.live && broker_sub_settled(&c->sub));
            assert_int_equal(c->last, world->norder[c->channel] - 1);
        }
        assert_int_equal(atomic_load(&world->to_worker[w]->debt.behind), 0);
    }
}

/* One worker at a time does nothing for a while; whether it does is looked at once a step. */
static void let_hang(void)
{
    if (!world->may_hang)
        return;
    clock_advance(20 * NS_PER_MS);
    if (dice(200) == 0)
        world->hung = dice(2) ? dice(WORKERS) + 1 : 0;
}

static void simulate(unsigned seed, unsigned steps, bool hubs_die, bool workers_die)
{
    for (unsigned i = 0; i < steps && world->npubs < PUBS - CHANNELS; i++) {
        let_hang();
        if (dice(3) == 0)
            hub_act(hubs_die);
        else
            worker_act(workers_die);
    }
    check_end();
    if (world->deliveries < 1000)
        fail_msg("seed %u: hardly anything was delivered", seed);
    if (!world->may_lose)
        assert_int_equal(world->losses, 0);
}

#define ROOMY (256 * 1024), (64 * 1024 * 1024)
#define TIGHT 8192, 4096

static void nobody_dies(void **state UNUSED)
{
    for (unsigned seed = 1; seed <= 10; seed++) {
        world_new(seed, ROOMY);
        simulate(seed, 10000, false, false);
        for (unsigned w = 0; w < WORKERS; w++)
            assert_int_equal(world->fenced[w], world->fences[w]);
        assert_int_equal(metrics->duplicates, 0);
        assert_int_equal(metrics->ring_bad_records, 0);
        world_free();
    }
}

static void workers_die(void **state UNUSED)
{
    unsigned deaths = 0;

    for (unsigned seed = 1; seed <= 15; seed++) {
        world_new(seed, ROOMY);
        simulate(seed, 10000, false, true);
        deaths += world->worker_deaths;
        world_free();
    }
    assert_true(deaths > 100);
}

static void hubs_die(void **state UNUSED)
{
    unsigned deaths = 0;
    uint64_t duplicates = 0;

    for (unsigned seed = 1; seed <= 30; seed++) {
        world_new(seed, ROOMY);
        simulate(seed, 10000, true, false);
        deaths += world->hub_deaths;
        duplicates += metrics->duplicates;
        world_free();
    }
    assert_true(deaths > 100);
    assert_true(duplicates > 20); /* deaths in the middle of a record did happen */
}

static void everybody_dies(void **state UNUSED)
{
    for (unsigned seed = 1; seed <= 30; seed++) {
        world_new(seed, ROOMY);
        simulate(seed, 10000, true, true);
        world_free();
    }
}

/* Publishers are held, so that nothing is lost. */
static void full_rings(void **state UNUSED)
{
    uint64_t push_backs = 0;

    for (unsigned seed = 1; seed <= 15; seed++) {
        world_new(seed, TIGHT);
        simulate(seed, 10000, false, false);
        push_backs += metrics->hub_push_backs;
        world_free();
    }
    assert_true(push_backs >= 10);
}

/* They are not held for one that takes nothing. */
static void full_rings_and_workers_that_hang(void **state UNUSED)
{
    unsigned losses = 0;

    for (unsigned seed = 1; seed <= 15; seed++) {
        world_new(seed, TIGHT);
        world->may_lose = world->may_hang = true;
        simulate(seed, 10000, false, false);
        losses += world->losses;
        world_free();
    }
    assert_true(losses > 10);
}

static void full_rings_and_everybody_dies(void **state UNUSED)
{
    for (unsigned seed = 1; seed <= 30; seed++) {
        world_new(seed, TIGHT);
        world->may_lose = true;
        simulate(seed, 10000, true, true);
        world_free();
    }
}

/* Small rings, but a queue that takes everything: only a hub that dies with it may lose. */
static void full_rings_and_a_long_queue(void **state UNUSED)
{
    for (unsigned seed = 1; seed <= 30; seed++) {
        world_new(seed, 8192, 64 * 1024 * 1024);
        simulate(seed, 10000, seed % 2, true);
        world_free();
    }
}

static void quiet(struct str line, void *arg)
{
    (void)line;
    (void)arg;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_dies),
        cmocka_unit_test(workers_die),
        cmocka_unit_test(hubs_die),
        cmocka_unit_test(everybody_dies),
        cmocka_unit_test(full_rings),
        cmocka_unit_test(full_rings_and_workers_that_hang),
        cmocka_unit_test(full_rings_and_everybody_dies),
        cmocka_unit_test(full_rings_and_a_long_queue),
    };

    log_set_sink(quiet, NULL);
    return cmocka_run_group_tests_name("core/link", tests, NULL, NULL);
}
