#include "net/conn_output.c"

#include "output_harness.h"

/* Room for `room` more than is queued now. */
static void limit_output(const struct conn *c, size_t room)
{
    config.output_limit = (int64_t)(outq_cost(c->out) + room);
}

static void test_large_first_publication_passes(void **state)
{
    int peer;
    struct conn *c = open_pair(&peer, SMALL_BUFFER);

    (void)state;
    config.output_limit = 10000;
    stall(c, 50000, 1);
    assert_false(conn_dead(c));
    assert_int_equal(metrics->deliveries, 1);
    close(peer);
}

static void test_policy_disconnect(void **state)
{
    int peer;
    struct conn *c = open_pair(&peer, SMALL_BUFFER);

    (void)state;
    config.output_limit = 200000;
    stall(c, 100000, 3);
    deliver_text(c, "fits");
    assert_false(conn_dead(c));
    stall(c, 50000, 1);
    assert_false(conn_dead(c));
    conn_deliver(c, NULL, 0, 60000, 0, 2); /* never looked at */
    assert_true(conn_dead(c));
    assert_int_equal(c->reason, CLOSE_SLOW);
    assert_int_equal(metrics->drops_disconnect, 3 + 1 + 1 + 2);
    net_steps(1);
    assert_int_equal(metrics->closes[CLOSE_SLOW], 1);
    close(peer);
}

static void test_policy_drop(void **state)
{
    static char got[300000];
    int peer;
    struct conn *c = open_pair(&peer, SMALL_BUFFER);

    (void)state;
    config.slow_consumer = SLOW_DROP;
    config.output_limit = 60000;
    stall(c, 50000, 1);
    conn_deliver(c, NULL, 0, 60000, 0, 7);
    deliver_text(c, "small");
    assert_int_equal(metrics->drops_drop, 7);
    assert_int_equal(metrics->deliveries, 2);
    assert_int_equal(drain_peer(peer, got, sizeof(got)), 50005);
    assert_memory_equal(got + 50000, "small", 5);
    assert_false(conn_dead(c));
    close(peer);
}

static void test_policy_latest(void **state)
{
    static char got[300000];
    int peer;
    struct conn *c = open_pair(&peer, SMALL_BUFFER);
    struct blob *batch = blob_from(STR_LIT("olderNEWEST"));
    size_t n;

    (void)state;
    config.slow_consumer = SLOW_LATEST;
    stall(c, 50000, 1);
    assert_int_equal(conn_send(c, STR_LIT("[ping]")), 0);
    limit_output(c, 2 * (OUTQ_ENTRY_COST + 6));
    deliver_text(c, "first ");
    deliver_text(c, "second");
    assert_int_equal(metrics->drops_latest, 0);
    conn_deliver(c, batch, 0, 11, 5, 4); /* two are replaced, and three older ones of its own */
    assert_int_equal(metrics->drops_latest, 5);
    deliver_text(c, "third ");
    assert_int_equal(metrics->drops_latest, 5);
    deliver_text(c, "fourth");
    assert_int_equal(metrics->drops_latest, 7);
    assert_int_equal(metrics->deliveries, 6);
    n = drain_peer(peer, got, sizeof(got));
    assert_int_equal(n, 50012);
    assert_memory_equal(got + 50000, "[ping]fourth", 12);
    assert_false(conn_dead(c));
    blob_put(&batch);
    close(peer);
}

/* A batch of which a part has gone stays whole, whatever comes behind it. */
static void test_latest_is_bounded_behind_a_large_one(void **state)
{
    int peer;
    struct conn *c = open_pair(&peer, SMALL_BUFFER);
    size_t bound;

    (void)state;
    config.slow_consumer = SLOW_LATEST;
    config.output_limit = 10000;
    stall(c, 50000, 1);
    bound = outq_cost(c->out) + OUTQ_ENTRY_COST + 20;
    for (int i = 0; i < 1000; i++)
        deliver_text(c, "twenty bytes of text");
    assert_int_equal(outq_cost(c->out), bound);
    assert_int_equal(metrics->drops_latest, 999);
    close(peer);
}

/* A socket that takes everything is not slow, however much one turn brings. */
static void test_a_busy_turn_is_not_slow(void **state)
{
    static char got[300000];
    int peer;
    struct conn *c = open_pair(&peer, 0);
    struct blob *b = pattern(6000, 'a');

    (void)state;
    config.output_limit = 8000;
    for (int i = 0; i < 20; i++)
        conn_deliver(c, b, 0, b->len, 0, 1);
    assert_false(conn_dead(c));
    net_steps(1);
    assert_int_equal(net_read(peer, got, sizeof(got), NULL), 120000);
    assert_int_equal(metrics->deliveries, 20);
    blob_put(&b);
    close(peer);
}

static void test_tiny_publications_are_bounded(void **state)
{
    int peer;
    struct conn *c = open_pair(&peer, SMALL_BUFFER);
    int i;

    (void)state;
    stall(c, 50000, 1);
    limit_output(c, 3300);
    for (i = 0; i < 5000 && !conn_dead(c); i++)
        deliver_text(c, "x");
    assert_int_equal(i, 101); /* by bytes alone it would have been 3300 */
    close(peer);
}

static void test_reading_stops_while_output_is_at_the_limit(void **state)
{
    static char got[300000];
    int peer;
    struct conn *c = open_pair(&peer, SMALL_BUFFER);

    (void)state;
    config.output_limit = 20000;
    config.slow_consumer = SLOW_DROP;
    stall(c, 50000, 1);
    assert_int_equal(c->hold, CONN_HOLD_OUTPUT);
    net_write(peer, "more", 4);
    net_steps(3);
    assert_int_equal(seen.inputs, 0);
    while (c->out) {
        bool held = outq_cost(c->out) >= 10000;

        assert_int_equal(c->hold, held ? CONN_HOLD_OUTPUT : 0);
        assert_true(net_read(peer, got, 1000, NULL) > 0);
        net_steps(1);
    }
    net_steps(1);
    assert_int_equal(seen.inputs, 1);
    close(peer);
}

static void test_no_progress_is_slow(void **state)
{
    char got[4000];
    int peer;
    struct conn *c = open_pair(&peer, SMALL_BUFFER);
    uint64_t timeout = (uint64_t)config.output_timeout;

    (void)state;
    stall(c, 100000, 5);
    net_after(timeout - NS_PER_SEC);
    assert_false(conn_dead(c));
    while (net_read(peer, got, sizeof(got), NULL) > 0) /* progress: the age starts again */
        ;
    net_steps(1);
    assert_int_equal(outq_since(c->out), clock_ns());
    net_after(timeout - NS_PER_SEC);
    assert_int_equal(reactor->connections, 1);
    net_after(NS_PER_SEC);
    assert_int_equal(reactor->connections, 0);
    assert_int_equal(metrics->closes[CLOSE_SLOW], 1);
    assert_int_equal(metrics->drops_disconnect, 5);
    close(peer);
}

/* The one that has made progress goes behind the one that has not. */
static void test_stalled_in_order_of_progress(void **state)
{
    char got[4000];
    int peers[3];
    struct conn *c[3];

    (void)state;
    for (int i = 0; i < 3; i++) {
        c[i] = open_pair(&peers[i], SMALL_BUFFER);
        stall(c[i], 100000, 1);
        clock_advance(NS_PER_SEC);
    }
    while (net_read(peers[0], got, sizeof(got), NULL) > 0)
        ;
    net_steps(1);
    assert_ptr_equal(LIST_ENTRY(reactor->stalled.prev, struct outq, link), c[0]->out);
    assert_ptr_equal(LIST_ENTRY(reactor->stalled.next, struct outq, link), c[1]->out);
    clock_advance((uint64_t)config.output_timeout - 2 * NS_PER_SEC);
    assert_false(conn_sweep_stalled(10));
    assert_true(conn_dead(c[1]));
    assert_false(conn_dead(c[2]));
    clock_advance(2 * NS_PER_SEC);
    assert_true(conn_sweep_stalled(1));
    assert_true(conn_dead(c[2]));
    assert_false(conn_dead(c[0]));
    assert_false(conn_sweep_stalled(1));
    assert_true(conn_dead(c[0]));
    for (int i = 0; i < 3; i++)
        close(peers[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(test_large_first_publication_passes),
        NET_TEST(test_policy_disconnect),
        NET_TEST(test_policy_drop),
        NET_TEST(test_policy_latest),
        NET_TEST(test_latest_is_bounded_behind_a_large_one),
        NET_TEST(test_a_busy_turn_is_not_slow),
        NET_TEST(test_tiny_publications_are_bounded),
        NET_TEST(test_reading_stops_while_output_is_at_the_limit),
        NET_TEST(test_no_progress_is_slow),
        NET_TEST(test_stalled_in_order_of_progress),
    };

    return cmocka_run_group_tests_name("net/conn_policy", tests, NULL, NULL);
}
