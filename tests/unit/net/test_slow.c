#include "net/slow.c"

#include "output_harness.h"

static void test_large_first_publication_passes(void **state UNUSED)
{
    int peer;
    struct conn *c = open_pair(&peer, SMALL_BUFFER);

    config.output_limit = 10000;
    stall(c, 50000, 1);
    assert_false(conn_dead(c));
    assert_int_equal(metrics->deliveries, 1);
    close(peer);
}

/* Over the limit is allowed for a while, over four times the limit is not. */
static void test_policy_disconnect(void **state UNUSED)
{
    int peer;
    struct conn *c = open_pair(&peer, SMALL_BUFFER);

    config.output_limit = 50000;
    stall(c, 100000, 4);
    deliver_text(c, "fits");
    stall(c, 50000, 1);
    assert_false(conn_dead(c));
    conn_deliver(c, NULL, 0, 60000, 0, 2); /* never looked at */
    assert_true(conn_dead(c));
    assert_int_equal(c->reason, CLOSE_SLOW);
    assert_int_equal(metrics->drops_disconnect, 4 + 1 + 1 + 2);
    net_steps(1);
    assert_int_equal(metrics->closes[CLOSE_SLOW], 1);
    close(peer);
}

static void test_over_the_limit_for_too_long(void **state UNUSED)
{
    int peers[3];
    struct conn *c[3];

    config.output_limit = 50000;
    for (int i = 0; i < 3; i++) {
        c[i] = open_pair(&peers[i], SMALL_BUFFER);
        stall(c[i], 100000, 4);
        clock_advance(NS_PER_SEC / 4);
    }
    deliver_text(c[0], "still in time");
    reactor->nap_ns = NAP_MAX_NS;
    assert_false(slow_sweep(10));
    assert_int_equal(reactor->nap_ns, NS_PER_SEC / 4);
    clock_advance(NS_PER_SEC / 4);
    assert_true(slow_with(c[0], 1));
    assert_false(slow_with(c[1], 1));
    assert_false(slow_sweep(10));
    assert_true(conn_dead(c[0]));
    assert_false(conn_dead(c[1]));
    clock_advance(NS_PER_SEC / 4);
    deliver_text(c[1], "too late"); /* what is delivered looks as well */
    assert_true(conn_dead(c[1]));
    clock_advance(NS_PER_SEC);
    assert_true(slow_sweep(0));
    assert_false(slow_sweep(1));
    assert_true(conn_dead(c[2]));
    assert_int_equal(metrics->drops_disconnect, 5 + 5 + 4);
    for (int i = 0; i < 3; i++)
        close(peers[i]);
}

/* Who has come below the limit has its whole time again. */
static void test_below_the_limit_in_time(void **state UNUSED)
{
    char got[4000];
    int peer;
    struct conn *c = open_pair(&peer, SMALL_BUFFER);

    config.output_limit = 50000;
    for (int i = 0; i < 5; i++) {
        stall(c, 60000, 20);
        net_after(NS_PER_SEC / 2);
        while (c->out) {
            assert_true(net_read(peer, got, sizeof(got), NULL) > 0);
            net_steps(1);
        }
        assert_true(list_empty(&reactor->over));
        net_after(NS_PER_SEC / 4);
    }
    assert_false(conn_dead(c));
    assert_int_equal(metrics->drops_disconnect, 0);
    close(peer);
}

/* Over the limit for too long, but only by what newer ones have superseded. */
static void test_superseded_do_not_make_it_slow(void **state UNUSED)
{
    int peer;
    struct conn *c = open_pair(&peer, SMALL_BUFFER);
    struct blob *b = pattern(20000, 'a');

    config.output_limit = 100000;
    stall(c, 20000, 1);
    for (uint64_t tag = 1; tag <= 3; tag++)
        conn_deliver_newest(c, b, 0, b->len, tag);
    conn_conflate(c); /* what stays is more than half of what follows */
    for (int i = 0; i < 2; i++)
        conn_deliver_newest(c, b, 0, b->len, 3);
    assert_true(c->out->over_since != 0);
    clock_advance(2 * NS_PER_SEC);
    assert_false(slow_sweep(10));
    assert_false(conn_dead(c));
    assert_true(c->out->over_since == 0);
    assert_int_equal(metrics->drops_conflate, 2);
    assert_int_equal(metrics->drops_disconnect, 0);
    blob_put(&b);
    close(peer);
}

/* 400 KB messages at 5 MB/s, read in bursts: with the default limits they pass. */
static void test_keeps_up_on_average(void **state UNUSED)
{
    static char got[64 * 1024];
    int peer;
    struct conn *c = open_pair(&peer, 0);
    struct blob *b = frames(400000, 1);
    size_t n, total = 0;

    for (int i = 0; i < 100; i++) {
        conn_deliver(c, b, 0, b->len, 0, 1);
        net_after(NS_PER_SEC * 4 / 50);
        while (i % 8 == 7 && (n = net_read(peer, got, sizeof(got), NULL)) > 0) {
            total += n;
            net_steps(1);
        }
    }
    while ((n = net_read(peer, got, sizeof(got), NULL)) > 0) {
        total += n;
        net_steps(1);
    }
    assert_int_equal(total, 100 * 400000);
    /* As many at once are too many. */
    for (int i = 0; i < 16; i++)
        conn_deliver(c, b, 0, b->len, 0, 1);
    assert_true(conn_dead(c));
    assert_int_equal(c->reason, CLOSE_SLOW);
    net_steps(1);
    blob_put(&b);
    close(peer);
}

/* A single publication may take as long as it does, whatever else is said meanwhile. */
static void test_a_single_one_has_its_time(void **state UNUSED)
{
    int peer;
    struct conn *c = open_pair(&peer, SMALL_BUFFER);

    config.output_limit = 10000;
    stall(c, 50000, 1);
    assert_int_equal(conn_send(c, STR_LIT("[ping]")), 0);
    net_after(5 * NS_PER_SEC);
    assert_false(conn_dead(c));
    deliver_text(c, "the next one");
    assert_true(conn_dead(c));
    assert_int_equal(metrics->drops_disconnect, 2);
    close(peer);
}

/* What we have not tried to send says nothing about the peer. */
static void test_not_stalled_is_not_slow(void **state UNUSED)
{
    int peer;
    struct conn *c = open_pair(&peer, 0);
    struct blob *b = frames(3000, 1);

    config.output_limit = 4096;
    config.output_grace = 0;
    for (int i = 0; i < 3; i++)
        conn_deliver(c, b, 0, b->len, 0, 1);
    assert_false(list_empty(&reactor->over));
    assert_false(slow_sweep(10));
    assert_false(conn_dead(c));
    net_steps(1);
    assert_null(c->out);
    blob_put(&b);
    close(peer);
}

static void test_policy_drop(void **state UNUSED)
{
    static char got[300000];
    int peer;
    struct conn *c = open_pair(&peer, SMALL_BUFFER);

    config.slow_consumer = SLOW_DROP;
    config.output_limit = 20000;
    stall(c, 50000, 4);
    conn_deliver(c, NULL, 0, 60000, 0, 7);
    deliver_text(c, "small");
    assert_int_equal(metrics->drops_drop, 7);
    assert_int_equal(metrics->deliveries, 5);
    net_after(2 * NS_PER_SEC); /* too long for a burst */
    deliver_text(c, "lost");
    assert_int_equal(metrics->drops_drop, 8);
    assert_int_equal(drain_peer(peer, got, sizeof(got)), 50005);
    assert_memory_equal(got + 50000, "small", 5);
    deliver_text(c, "direct");
    net_expect(peer, "direct");
    assert_false(conn_dead(c));
    close(peer);
}

/* The begun frame, what is no publication, and the newest are left. */
static void test_policy_latest(void **state UNUSED)
{
    static char got[300000];
    int peer;
    struct conn *c = open_pair(&peer, SMALL_BUFFER);
    struct blob *batch = blob_from(STR_LIT("\x81\x03oldNEWEST"));
    size_t n;

    config.slow_consumer = SLOW_LATEST;
    config.output_limit = 20000;
    stall(c, 50000, 50);
    assert_int_equal(conn_send(c, STR_LIT("[ping]")), 0);
    deliver_text(c, "\x81\x05"
                    "first");
    assert_int_equal(metrics->drops_latest, 0);
    clock_advance(NS_PER_SEC);
    conn_deliver(c, batch, 0, batch->len, 5, 4);
    n = metrics->drops_latest;
    assert_in_range(n, 1 + 3 + 30, 1 + 3 + 50);
    assert_true(list_empty(&reactor->over));
    deliver_text(c, "\x81\x05third");
    assert_int_equal(metrics->drops_latest, n); /* there is room again */
    n = drain_peer(peer, got, sizeof(got));
    assert_int_equal((n - 19) % 1000, 0);
    assert_memory_equal(got + n - 19, "[ping]NEWEST\x81\x05third", 19);
    assert_int_equal(metrics->deliveries, 53);
    assert_int_equal(n / 1000 + metrics->drops_latest, 50 + 1 + 3);
    assert_false(conn_dead(c));
    blob_put(&batch);
    close(peer);
}

/* A frame of which a part has gone stays whole, whatever comes behind it. */
static void test_latest_is_bounded_behind_a_large_one(void **state UNUSED)
{
    int peer;
    struct conn *c = open_pair(&peer, SMALL_BUFFER);
    size_t bound;

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
static void test_a_busy_turn_is_not_slow(void **state UNUSED)
{
    static char got[300000];
    int peer;
    struct conn *c = open_pair(&peer, 0);
    struct blob *b = pattern(6000, 'a');

    config.output_limit = 4096;
    for (int i = 0; i < 20; i++)
        conn_deliver(c, b, 0, b->len, 0, 1);
    assert_false(conn_dead(c));
    net_steps(1);
    assert_int_equal(net_read(peer, got, sizeof(got), NULL), 120000);
    assert_int_equal(metrics->deliveries, 20);
    blob_put(&b);
    close(peer);
}

static void test_tiny_publications_are_bounded(void **state UNUSED)
{
    int peer;
    struct conn *c = open_pair(&peer, SMALL_BUFFER);
    int i;

    stall(c, 50000, 1);
    config.output_limit = (int64_t)(outq_cost(c->out) / 4 + 825);
    for (i = 0; i < 5000 && !conn_dead(c); i++)
        deliver_text(c, "x");
    assert_in_range(i, 100, 102); /* by bytes alone it would have been 3300 */
    close(peer);
}

static void test_reading_stops_while_output_is_at_the_limit(void **state UNUSED)
{
    static char got[300000];
    int peer;
    struct conn *c = open_pair(&peer, SMALL_BUFFER);

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

static void test_no_progress_is_slow(void **state UNUSED)
{
    char got[4000];
    int peer;
    struct conn *c = open_pair(&peer, SMALL_BUFFER);
    uint64_t timeout = (uint64_t)config.output_timeout;

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
static void test_stalled_in_order_of_progress(void **state UNUSED)
{
    char got[4000];
    int peers[3];
    struct conn *c[3];

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
    assert_false(slow_sweep(10));
    assert_true(conn_dead(c[1]));
    assert_false(conn_dead(c[2]));
    clock_advance(2 * NS_PER_SEC);
    assert_true(slow_sweep(1));
    assert_true(conn_dead(c[2]));
    assert_false(conn_dead(c[0]));
    assert_false(slow_sweep(1));
    assert_true(conn_dead(c[0]));
    for (int i = 0; i < 3; i++)
        close(peers[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(test_large_first_publication_passes),
        NET_TEST(test_policy_disconnect),
        NET_TEST(test_over_the_limit_for_too_long),
        NET_TEST(test_below_the_limit_in_time),
        NET_TEST(test_keeps_up_on_average),
        NET_TEST(test_a_single_one_has_its_time),
        NET_TEST(test_not_stalled_is_not_slow),
        NET_TEST(test_policy_drop),
        NET_TEST(test_superseded_do_not_make_it_slow),
        NET_TEST(test_policy_latest),
        NET_TEST(test_latest_is_bounded_behind_a_large_one),
        NET_TEST(test_a_busy_turn_is_not_slow),
        NET_TEST(test_tiny_publications_are_bounded),
        NET_TEST(test_reading_stops_while_output_is_at_the_limit),
        NET_TEST(test_no_progress_is_slow),
        NET_TEST(test_stalled_in_order_of_progress),
    };

    return cmocka_run_group_tests_name("net/slow", tests, NULL, NULL);
}
