/* The walk over subscribers: slices, zones, what it tells in which order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/broker_fanout.c"
#include "fault.h"

#include "broker_harness.h"

#define CROWD 300

static struct client crowd[CROWD], late[CROWD];
static uint32_t id;

static int setup_crowd(void **state)
{
    broker_setup(state);
    id = join_live(&crowd[0], "lobby");
    for (size_t i = 1; i < CROWD; i++)
        join(&crowd[i], "lobby");
    memset(late, 0, sizeof(late));
    turn();
    return 0;
}

static void take(void)
{
    while (broker_receive(broker, 100)) {
    }
}

/* One step of the first task. */
static void step(void)
{
    task_run(&tasks, 0);
}

static unsigned have(const char *log)
{
    unsigned n = 0;

    for (size_t i = 0; i < CROWD; i++)
        n += strcmp(crowd[i].log, log) == 0;
    return n;
}

static void a_slice_per_step(void **state UNUSED)
{
    unsigned steps = 0;

    send_publication(id, "x");
    take();
    assert_int_equal(have("S"), CROWD);
    while (!list_empty(&tasks.runnable)) {
        step();
        steps++;
        assert_int_equal(have("S(x)"), MIN(steps * FANOUT_SLICE, CROWD));
    }
    assert_int_equal(steps, (CROWD + FANOUT_SLICE - 1) / FANOUT_SLICE);
    assert_int_equal(metrics->batch_size.count, 1);
    assert_int_equal(metrics->fanout_size.sum, CROWD);
    assert_int_equal(metrics->publications_out, 1);
    assert_int_equal(metrics->publish_to_write.count, 1);
    assert_int_equal(broker->walks.in_use, 0);
}

/* A step sends so many bytes, too. */
static void a_long_batch_has_short_slices(void **state UNUSED)
{
    static char data[FANOUT_BYTES + 1];
    static const struct {
        size_t n;
        uint32_t slice;
    } rows[] = {{100, FANOUT_SLICE},   {FANOUT_BYTES / FANOUT_SLICE - 4, FANOUT_SLICE},
                {100000, 5},           {FANOUT_BYTES / 2 - 10, 2},
                {FANOUT_BYTES - 9, 1}, {FANOUT_BYTES + 1, 1}};

    assert_int_equal(slice_of(&(struct walk){0}), FANOUT_SLICE);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct walk w = {.batch = batch_new(STR_LIT("a"))};
        struct record r = {.data = {data, rows[i].n}};

        assert_int_equal(batch_append(w.batch, &r), 0);
        assert_int_equal(slice_of(&w), rows[i].slice);
        batch_free(w.batch);
    }
}

static void what_arrives_meanwhile_is_the_next_batch(void **state UNUSED)
{
    struct broker_stats s;

    send_publication(id, "1");
    send_publication(id, "2");
    take();
    step();
    send_publication(id, "3");
    send_publication(id, "4");
    take();
    broker_stats(broker, &s);
    assert_int_equal(s.walks, 1);
    assert_int_equal(s.backlog_bytes, 4 * 3);
    turn();
    assert_int_equal(have("S(1)(2)(3)(4)"), CROWD);
    for (size_t i = 0; i < CROWD; i++)
        assert_int_equal(crowd[i].batches, 2);
    broker_stats(broker, &s);
    assert_int_equal(s.backlog_bytes, 0);
    assert_int_equal(s.walks, 0);
}

/* Who joins during a walk gets the next batch; who leaves gets nothing more; all others everything,
 * once. */
static void joining_and_leaving_during_walks(void **state UNUSED)
{
    unsigned seed = 11;

    for (unsigned round = 0; round < 300; round++) {
        size_t n = 0;
        unsigned left = 0;
        size_t gone[5], joined = 0;

        for (size_t i = 0; i < CROWD; i++) {
            crowd[i].n = 0;
            crowd[i].log[0] = '\0';
        }
        send_publication(id, "a");
        take();
        for (unsigned i = 0; i < 3; i++) {
            step();
            for (; left <= i && left < 5; left++) {
                do
                    gone[left] = (size_t)rand_r(&seed) % CROWD;
                while (crowd[gone[left]].sub.chan == NULL);
                leave(&crowd[gone[left]]);
            }
            join(&late[joined++], "lobby");
        }
        send_publication(id, "b");
        take();
        turn();
        for (size_t i = 0; i < joined; i++)
            assert_string_equal(late[i].log, "S(b)");
        for (size_t i = 0; i < CROWD; i++) {
            if (crowd[i].sub.chan != NULL) {
                assert_string_equal(crowd[i].log, "(a)(b)");
                n++;
            } else {
                assert_true(strcmp(crowd[i].log, "") == 0 || strcmp(crowd[i].log, "(a)") == 0);
            }
        }
        assert_int_equal(n, CROWD - left);
        while (joined > 0)
            leave(&late[--joined]);
        while (left > 0) {
            join(&crowd[gone[--left]], "lobby");
            assert_string_equal(crowd[gone[left]].log, "S");
        }
        turn();
        while (from_broker() != NULL) {
        }
    }
}

static void everybody_leaves_during_a_walk(void **state UNUSED)
{
    struct broker_stats s;

    send_publication(id, "a");
    take();
    step();
    send_publication(id, "b");
    take();
    for (size_t i = 0; i < CROWD; i++)
        leave(&crowd[i]);
    broker_stats(broker, &s);
    assert_int_equal(s.walks, 0);
    assert_int_equal(s.backlog_bytes, 0);
    assert_true(list_empty(&tasks.runnable));
    join(&crowd[0], "lobby"); /* nothing of it for who comes after */
    turn();
    assert_string_equal(crowd[0].log, "S");
}

static void settled(void **state UNUSED)
{
    assert_true(broker_sub_settled(&crowd[0].sub));
    send_publication(id, "a");
    take();
    assert_false(broker_sub_settled(&crowd[0].sub));
    step();
    assert_true(broker_sub_settled(&crowd[0].sub));
    assert_true(broker_sub_settled(&crowd[FANOUT_SLICE - 1].sub));
    assert_false(broker_sub_settled(&crowd[FANOUT_SLICE].sub));
    join(&late[0], "lobby");
    assert_true(broker_sub_settled(&late[0].sub)); /* that batch is not for it */
    send_publication(id, "b");
    take();
    assert_false(broker_sub_settled(&crowd[0].sub));
    assert_false(broker_sub_settled(&late[0].sub));
    turn();
    assert_true(broker_sub_settled(&crowd[CROWD - 1].sub));
    assert_true(broker_sub_settled(&late[0].sub));
    assert_true(broker_sub_settled(&(struct sub){0}));
}

/* A reconnect storm: many wait for one answer, and are told in slices. */
static void a_crowd_is_told_in_slices(void **state UNUSED)
{
    unsigned told = 0;
    uint32_t other;

    for (size_t i = 0; i < CROWD; i++)
        join(&late[i], "other");
    turn();
    other = late[0].sub.chan->id;
    send_subscribed(other);
    send_publication(other, "x");
    take();
    step();
    for (size_t i = 0; i < CROWD; i++)
        told += late[i].log[0] == 'S';
    assert_int_equal(told, FANOUT_SLICE);
    turn();
    for (size_t i = 0; i < CROWD; i++)
        assert_string_equal(late[i].log, "S(x)");
}

static void lost_comes_before_what_follows_it(void **state UNUSED)
{
    send_publication(id, "a");
    assert_true(to_broker((struct record){.kind = RECORD_LOST, .chan = id}));
    assert_true(to_broker((struct record){.kind = RECORD_LOST, .chan = id}));
    send_publication(id, "b");
    take();
    step();
    join(&late[0], "lobby");
    turn();
    assert_int_equal(have("S(a)L(b)"), CROWD);
    assert_true(to_broker((struct record){.kind = RECORD_LOST, .chan = id}));
    turn();
    assert_int_equal(have("S(a)L(b)L"), CROWD);
}

/* --- no memory --- */

/* Whatever cannot be delivered is reported as lost, to everybody, and later publications arrive. */
static void publication_at_every_failure(void **state UNUSED)
{
    for (size_t k = 1;; k++) {
        bool failed;
        struct broker_stats s;

        for (size_t i = 0; i < CROWD; i++)
            crowd[i].n = 0;
        pool_fini(&broker->walks); /* so that its memory is asked for again */
        pool_init(&broker->walks, "walk", sizeof(struct walk), 0);
        send_publication(id, "a");
        send_publication(id, "b");
        fault_fail_at(k);
        take();
        while (task_run(&tasks, NS_PER_SEC)) {
        }
        failed = fault_count() >= k;
        fault_reset();
        broker_stats(broker, &s);
        assert_int_equal(s.backlog_bytes, 0);
        send_publication(id, "c");
        turn();
        for (size_t i = 0; i < CROWD; i++) {
            assert_string_equal(crowd[i].log, crowd[0].log);
            assert_non_null(strstr(crowd[i].log, "(c)"));
            if (strstr(crowd[i].log, "(a)") == NULL || strstr(crowd[i].log, "(b)") == NULL)
                assert_int_equal(strchr(crowd[i].log, 'L') != NULL, failed);
        }
        if (!failed)
            break;
        assert_true(k < 20);
    }
    assert_string_equal(crowd[0].log, "(a)(b)(c)");
}

static void telling_without_memory(void **state UNUSED)
{
    join(&late[0], "other");
    join(&late[1], "other");
    turn();
    pool_fini(&broker->walks);
    pool_init(&broker->walks, "walk", sizeof(struct walk), 0);
    send_subscribed(late[0].sub.chan->id);
    fault_fail_at(1);
    take();
    fault_reset();
    assert_string_equal(late[0].log, "S");
    assert_string_equal(late[1].log, "S");
    turn();
    assert_string_equal(late[1].log, "S");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup_crowd, broker_teardown)
    const struct CMUnitTest tests[] = {
        T(a_slice_per_step),
        T(a_long_batch_has_short_slices),
        T(what_arrives_meanwhile_is_the_next_batch),
        T(joining_and_leaving_during_walks),
        T(everybody_leaves_during_a_walk),
        T(settled),
        T(a_crowd_is_told_in_slices),
        T(lost_comes_before_what_follows_it),
        T(publication_at_every_failure),
        T(telling_without_memory),
    };

    return cmocka_run_group_tests_name("core/broker_fanout", tests, NULL, NULL);
}
