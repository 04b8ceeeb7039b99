/* Walks that meet subscribers of a variant: steps stay short, and nobody is passed or met twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/broker_fanout.c"
#include "fault.h"

#include "broker_harness.h"

#define CROWD  300
#define WANTS  100 /* the first one that wants the variant */
#define PIECES 100
#define BYTES  4096 /* per piece */

static struct client crowd[CROWD], late[CROWD];
static uint32_t id;
static size_t encoded; /* bytes */

/* Every item is long. */
static int encode(const struct batch *b UNUSED, uint32_t item UNUSED, struct batch_part *part,
                  size_t max UNUSED, struct buf *out)
{
    if (buf_reserve(out, BYTES) == -1)
        return -1;
    memset(out->p + out->len, 'x', BYTES);
    out->len += BYTES;
    encoded += BYTES;
    return ++part->phase < PIECES;
}

static int setup_crowd(void **state)
{
    broker_setup(state);
    batch_register(ENCODING_PLAIN_ENVELOPE, encode);
    id = join_live(&crowd[0], "lobby");
    for (size_t i = 1; i < CROWD; i++)
        join(&crowd[i], "lobby");
    memset(late, 0, sizeof(late));
    turn();
    crowd[WANTS].sub.variant = crowd[WANTS + 1].sub.variant = crowd[CROWD - 1].sub.variant = 1;
    encoded = 0;
    return 0;
}

static void take(void)
{
    while (broker_receive(broker, 100)) {
    }
}

/* One step of the first task; how much it has encoded. */
static size_t step(void)
{
    size_t before = encoded;

    task_run(&tasks, 0);
    return encoded - before;
}

static unsigned have(const char *log)
{
    unsigned n = 0;

    for (size_t i = 0; i < CROWD; i++)
        n += strcmp(crowd[i].log, log) == 0;
    return n;
}

static void a_step_encodes_so_many_bytes(void **state UNUSED)
{
    size_t bytes;
    unsigned steps = 0;

    send_publication(id, "a");
    send_publication(id, "b");
    take();
    assert_int_equal(step(), 0);
    assert_int_equal(have("S(a)(b)"), FANOUT_SLICE);
    while ((bytes = step()) > 0) {
        assert_true(bytes < FANOUT_ENCODE + BYTES);
        if (encoded < 2 * PIECES * BYTES)
            assert_int_equal(have("S(a)(b)"), WANTS);
        steps++;
    }
    assert_int_equal(steps, (2 * PIECES * BYTES + FANOUT_ENCODE - 1) / FANOUT_ENCODE);
    turn();
    assert_int_equal(have("S(a)(b)"), CROWD);
    assert_int_equal(encoded, 2 * PIECES * BYTES); /* once for all of them */
    assert_int_equal(metrics->fanout_size.sum, CROWD);
}

static void other_tasks_run_between(void **state UNUSED)
{
    uint32_t other;

    join(&late[0], "other");
    turn();
    other = late[0].sub.chan->id;
    send_subscribed(other);
    turn();
    send_publication(id, "a");
    take();
    step();
    step();
    send_publication(other, "x");
    take();
    step();
    step();
    assert_string_equal(late[0].log, "S(x)");
    assert_string_equal(crowd[WANTS].log, "S");
    turn();
    assert_int_equal(have("S(a)"), CROWD);
}

static void settled_when_it_has_it(void **state UNUSED)
{
    send_publication(id, "a");
    take();
    step();
    step();
    step();
    assert_true(encoded > 0);
    assert_true(broker_sub_settled(&crowd[WANTS - 1].sub));
    assert_false(broker_sub_settled(&crowd[WANTS].sub));
    turn();
    assert_true(broker_sub_settled(&crowd[WANTS].sub));
}

static void a_loss_is_told_once(void **state UNUSED)
{
    send_publication(id, "a");
    assert_true(to_broker((struct record){.kind = RECORD_LOST, .chan = id}));
    send_publication(id, "b");
    turn();
    assert_int_equal(have("S(a)L(b)"), CROWD);
    assert_int_equal(encoded, 2 * PIECES * BYTES);
}

/* As without variants, but some leave in front of whom the walk stands. */
static void joining_and_leaving_meanwhile(void **state UNUSED)
{
    unsigned seed = 12;

    for (unsigned round = 0; round < 60; round++) {
        bool gone[CROWD] = {false};
        size_t joined = 0;

        for (size_t i = 0; i < CROWD; i++) {
            crowd[i].n = 0;
            crowd[i].log[0] = '\0';
            crowd[i].sub.variant = rand_r(&seed) % 50 == 0;
        }
        send_publication(id, "a");
        take();
        while (task_run(&tasks, 0)) {
            const struct walk *w = crowd[0].sub.chan->walk;
            struct sub *s = w->chan->subs[w->cursor];
            struct client *at = CONTAINER_OF(s, struct client, sub);

            if (joined == 5 || w->cursor == w->limit || at < crowd + 1 || at >= crowd + CROWD)
                continue;
            gone[at - crowd] = true;
            leave(at);
            join(&late[joined], "lobby");
            late[joined++].sub.variant = 1;
        }
        send_publication(id, "b");
        turn();
        for (size_t i = 0; i < joined; i++) {
            assert_string_equal(late[i].log, "S(b)");
            leave(&late[i]);
        }
        for (size_t i = 0; i < CROWD; i++) {
            assert_string_equal(crowd[i].log, gone[i] ? "" : "(a)(b)");
            if (gone[i])
                join(&crowd[i], "lobby");
        }
        turn();
        while (from_broker() != NULL) {
        }
    }
}

static void everybody_leaves_meanwhile(void **state UNUSED)
{
    struct broker_stats s;

    send_publication(id, "a");
    take();
    step();
    step();
    step();
    assert_true(encoded > 0 && encoded < PIECES * BYTES);
    for (size_t i = 0; i < CROWD; i++)
        leave(&crowd[i]);
    broker_stats(broker, &s);
    assert_int_equal(s.walks, 0);
    assert_int_equal(s.backlog_bytes, 0);
    assert_int_equal(blob_bytes(), 0);
}

/* Who wants it is told; the next one may find it, and all others have theirs. */
static void no_memory_for_a_variant(void **state UNUSED)
{
    unsigned failures = 0;
    bool reached = true;

    for (size_t k = 1; reached; k++) {
        bool failed;

        for (size_t i = 0; i < CROWD; i++)
            crowd[i].n = 0;
        send_publication(id, "a");
        take();
        fault_fail_at(k);
        while (task_run(&tasks, NS_PER_SEC)) {
        }
        reached = fault_count() >= k;
        fault_reset();
        failed = strcmp(crowd[WANTS].log, "!") == 0;
        failures += failed;
        assert_true(reached || !failed);
        assert_int_equal(have("(a)"), failed ? CROWD - 1 : CROWD);
        assert_true(k < 40);
    }
    assert_true(failures > 2);
}

/* Batches: bounded, in order, each of them once. */
static void what_is_long_is_several_batches(void **state UNUSED)
{
    static char data[700 * 1024];
    struct record r = {.kind = RECORD_PUBLICATION, .data = {.p = data, .n = sizeof(data)}};

    for (char c = 'a'; c < 'd'; c++) {
        memset(data, c, PAYLOAD_MAX);
        fanout_append(broker, crowd[0].sub.chan, &r);
    }
    memset(data, 'd', 2);
    r.data.n = 2;
    fanout_append(broker, crowd[0].sub.chan, &r); /* the last one has room */
    turn();
    for (size_t i = 0; i < CROWD; i++) {
        assert_int_equal(crowd[i].batches, 3);
        assert_string_equal(crowd[i].log,
                            "S(aaaaaaaaaaaaaaaa)(bbbbbbbbbbbbbbbb)(cccccccccccccccc)(dd)");
    }
}

static void without_memory_for_another_batch(void **state UNUSED)
{
    static char data[700 * 1024] = "a";
    struct record r = {.kind = RECORD_PUBLICATION, .data = {.p = data, .n = sizeof(data)}};

    fanout_append(broker, crowd[0].sub.chan, &r);
    fault_fail_at(1);
    fanout_append(broker, crowd[0].sub.chan, &r);
    fault_reset();
    turn();
    assert_int_equal(crowd[0].batches, 1); /* one that is too long, and no loss */
    assert_null(strchr(crowd[0].log, 'L'));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup_crowd, broker_teardown)
    const struct CMUnitTest tests[] = {
        T(a_step_encodes_so_many_bytes),     T(other_tasks_run_between),
        T(settled_when_it_has_it),           T(a_loss_is_told_once),
        T(joining_and_leaving_meanwhile),    T(everybody_leaves_meanwhile),
        T(no_memory_for_a_variant),          T(what_is_long_is_several_batches),
        T(without_memory_for_another_batch),
    };

    return cmocka_run_group_tests_name("core/broker_fanout_encode", tests, NULL, NULL);
}
