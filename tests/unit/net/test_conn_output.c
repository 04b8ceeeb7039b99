#include "net/conn_output.c"

#include "net_harness.h"
#include "net/outq.h"

#define SMALL_BUFFER 4608 /* the least a UNIX socket has */

static struct conn *open_pair(int *peer, int send_buffer)
{
    struct conn *c = net_pair(peer, &seen_ops, send_buffer);

    conn_set_state(c, CONN_OPEN);
    conn_arm(c, 0);
    return c;
}

static struct blob *pattern(size_t n, char first)
{
    struct blob *b = blob_new(n);

    assert_non_null(b);
    for (size_t i = 0; i < n; i++)
        b->data[i] = (char)(first + (char)(i % 23));
    return b;
}

static void deliver_text(struct conn *c, const char *text)
{
    struct blob *b = blob_from(str_from(text));

    conn_deliver(c, b, 0, b->len, 0, 1);
    blob_put(&b);
}

/* Delivers more than the socket takes, so that something stays queued and the connection is stalled. */
static void stall(struct conn *c, size_t n, uint32_t items)
{
    struct blob *b = pattern(n, 'A');

    conn_deliver(c, b, 0, b->len, 0, items);
    assert_int_equal(b->refs, 2);
    blob_put(&b);
    assert_true(c->flags & CONN_OUT_STALLED);
}

/* Reads until nothing more comes. */
static size_t drain_peer(int peer, char *out, size_t cap)
{
    size_t len = 0, n;

    do {
        n = net_read(peer, out + len, cap - len, NULL);
        len += n;
        net_steps(1);
    } while (n > 0);
    return len;
}

static void test_first_send_is_direct(void **state)
{
    int peer;
    struct conn *c = open_pair(&peer, 0);

    (void)state;
    deliver_text(c, "one");
    assert_null(c->out);
    net_expect(peer, "one"); /* no turn was needed */
    deliver_text(c, "two");
    assert_int_equal(conn_send(c, STR_LIT("[ping]")), 0);
    deliver_text(c, "three");
    assert_int_equal(conn_queued(c), 14);
    net_expect(peer, "");
    net_steps(1);
    assert_null(c->out);
    net_expect(peer, "two[ping]three");
    assert_int_equal(metrics->writes, 2);
    assert_int_equal(metrics->written_bytes, 17);
    assert_int_equal(metrics->deliveries, 3);
    assert_int_equal(metrics->delivery_bytes, 11);
    assert_int_equal(metrics->frames_out, 3);
    assert_int_equal(c->frames_out, 3);
    close(peer);
}

static void test_flush_counts_as_the_turns_send(void **state)
{
    int peer;
    struct conn *c = open_pair(&peer, 0);

    (void)state;
    deliver_text(c, "a");
    deliver_text(c, "b");
    conn_flush(c);
    deliver_text(c, "c"); /* the same turn still */
    assert_int_equal(conn_queued(c), 1);
    net_steps(1);
    net_expect(peer, "abc");
    close(peer);
}

static void test_send_variants_direct(void **state)
{
    int peer;
    struct conn *c = open_pair(&peer, 0);
    struct blob *b = blob_from(STR_LIT("0123456789"));

    (void)state;
    assert_int_equal(conn_send_blob(c, b, 3, 6), 0);
    assert_int_equal(b->refs, 1);
    net_expect(peer, "345");
    assert_int_equal(conn_send_blob(c, b, 6, 10), 0);
    assert_int_equal(b->refs, 2);
    net_steps(1);
    assert_int_equal(b->refs, 1);
    net_expect(peer, "6789");
    net_steps(1);
    assert_int_equal(conn_send(c, STR_LIT("head")), 0);
    net_expect(peer, "head");
    blob_put(&b);
    close(peer);
}

static void test_short_write_then_writable(void **state)
{
    static char got[300000];
    int peer;
    struct conn *c = open_pair(&peer, SMALL_BUFFER);
    struct blob *b = pattern(200000, 'a');
    size_t n;

    (void)state;
    conn_deliver(c, b, 0, b->len, 0, 1);
    assert_true(c->flags & CONN_OUT_STALLED);
    assert_true(conn_queued(c) > 0 && conn_queued(c) < b->len);
    assert_true(list_empty(&reactor.dirty));
    net_steps(3);
    assert_false(reactor.busy); /* nothing to do until the socket says so */
    assert_int_equal(conn_send(c, STR_LIT("END")), 0);
    n = drain_peer(peer, got, sizeof(got));
    assert_int_equal(n, b->len + 3);
    assert_memory_equal(got, b->data, b->len);
    assert_memory_equal(got + b->len, "END", 3);
    assert_null(c->out);
    assert_false(c->flags & CONN_OUT_STALLED);
    assert_true(list_empty(&reactor.stalled));
    assert_int_equal(b->refs, 1);
    deliver_text(c, "direct again");
    net_expect(peer, "direct again");
    blob_put(&b);
    close(peer);
}

static void test_short_write_of_copies(void **state)
{
    static char got[300000];
    int peer;
    struct conn *c = open_pair(&peer, SMALL_BUFFER);
    struct blob *b = pattern(100000, 'a');

    (void)state;
    assert_int_equal(conn_send(c, (struct str){b->data, b->len}), 0);
    assert_int_equal(conn_send_blob(c, b, 0, b->len), 0);
    assert_int_equal(drain_peer(peer, got, sizeof(got)), 200000);
    assert_memory_equal(got, b->data, b->len);
    assert_memory_equal(got + b->len, b->data, b->len);
    net_steps(1);
    assert_int_equal(conn_send_blob(c, b, 0, b->len), 0);
    assert_true(c->flags & CONN_OUT_STALLED);
    assert_int_equal(drain_peer(peer, got, sizeof(got)), 100000);
    assert_memory_equal(got, b->data, b->len);
    blob_put(&b);
    close(peer);
}

static void test_many_entries_take_several_turns(void **state)
{
    char got[1000];
    int peer;
    struct conn *c = open_pair(&peer, 0);

    (void)state;
    for (int i = 0; i < 201; i++)
        deliver_text(c, "x");
    net_steps(1);
    assert_int_equal(conn_queued(c), 200 - FLUSH_IOVEC);
    assert_true(reactor.busy);
    assert_int_equal(metrics->writes, 2);
    net_steps(3);
    assert_int_equal(conn_queued(c), 0);
    assert_int_equal(metrics->writes, 5);
    assert_int_equal(net_read(peer, got, sizeof(got), NULL), 201);
    close(peer);
}

static void test_states_that_take_no_publication(void **state)
{
    int peer;
    struct conn *c = net_pair(&peer, &seen_ops, 0);

    (void)state;
    deliver_text(c, "http");
    conn_set_state(c, CONN_SUBSCRIBING);
    deliver_text(c, "subscribing");
    conn_set_state(c, CONN_OPEN);
    conn_set_state(c, CONN_SETTLING);
    deliver_text(c, "settling");
    conn_set_state(c, CONN_CLOSING);
    deliver_text(c, "closing");
    net_expect(peer, "settling");
    conn_kill(c, CLOSE_NORMAL);
    deliver_text(c, "dead");
    net_expect(peer, "");
    assert_int_equal(metrics->deliveries, 1);
    close(peer);
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

/* Room for `room` more than is queued now. */
static void limit_output(const struct conn *c, size_t room)
{
    config.output_limit = (int64_t)(outq_cost(c->out) + room);
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
    assert_int_equal(reactor.connections, 1);
    net_after(NS_PER_SEC);
    assert_int_equal(reactor.connections, 0);
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
    assert_ptr_equal(LIST_ENTRY(reactor.stalled.prev, struct conn, dirty), c[0]);
    assert_ptr_equal(LIST_ENTRY(reactor.stalled.next, struct conn, dirty), c[1]);
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

static void test_peer_gone_while_sending(void **state)
{
    int peer;
    struct conn *c = open_pair(&peer, 0);

    (void)state;
    close(peer);
    assert_int_equal(conn_send(c, STR_LIT("x")), -1);
    assert_int_equal(c->reason, CLOSE_PEER_GONE);
    c = open_pair(&peer, 0);
    close(peer);
    deliver_text(c, "x");
    assert_int_equal(c->reason, CLOSE_PEER_GONE);
    c = open_pair(&peer, 0);
    deliver_text(c, "a");
    deliver_text(c, "b");
    close(peer);
    conn_flush(c);
    assert_int_equal(c->reason, CLOSE_PEER_GONE);
}

static void test_flush_within_budget(void **state)
{
    int peers[3 * FLUSH_SLICE];
    size_t left = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(peers); i++) {
        struct conn *c = open_pair(&peers[i], 0);

        deliver_text(c, "a");
        deliver_text(c, "b");
    }
    assert_true(conn_flush_dirty(0));
    for (struct list *n = reactor.dirty.next; n != &reactor.dirty; n = n->next)
        left++;
    assert_int_equal(left, 2 * FLUSH_SLICE);
    net_expect(peers[FLUSH_SLICE - 1], "ab"); /* in order */
    net_expect(peers[FLUSH_SLICE], "a");
    assert_true(conn_flush_dirty(0));
    assert_false(conn_flush_dirty(0));
    for (size_t i = FLUSH_SLICE; i < ARRAY_LEN(peers); i++)
        close(peers[i]);
    for (size_t i = 0; i < FLUSH_SLICE; i++)
        close(peers[i]);
}

/* Every allocation on the way fails once: the connection dies with NO_MEMORY, nothing leaks. */
static void test_no_memory(void **state)
{
    (void)state;
    for (unsigned long k = 1;; k++) {
        struct blob *b = pattern(100000, 'a');
        int peer;
        struct conn *c = open_pair(&peer, SMALL_BUFFER);
        bool failed;
        int rc;

        fault_fail_at(k);
        conn_deliver(c, b, 0, b->len, 0, 1);
        rc = conn_send(c, STR_LIT("copy"));
        failed = fault_count() >= k;
        fault_reset();
        assert_int_equal(conn_dead(c), failed);
        assert_int_equal(rc, failed ? -1 : 0);
        assert_int_equal(c->reason, failed ? CLOSE_NO_MEMORY : CLOSE_NONE);
        conn_kill(c, CLOSE_NORMAL);
        net_steps(1);
        assert_int_equal(b->refs, 1);
        blob_put(&b);
        close(peer);
        outq_pools_fini();
        if (!failed) {
            assert_int_equal(k, 4); /* the queue's pool, the chunks' pool, the copy */
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(test_first_send_is_direct),
        NET_TEST(test_flush_counts_as_the_turns_send),
        NET_TEST(test_send_variants_direct),
        NET_TEST(test_short_write_then_writable),
        NET_TEST(test_short_write_of_copies),
        NET_TEST(test_many_entries_take_several_turns),
        NET_TEST(test_states_that_take_no_publication),
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
        NET_TEST(test_peer_gone_while_sending),
        NET_TEST(test_flush_within_budget),
        NET_TEST(test_no_memory),
    };

    return cmocka_run_group_tests_name("net/conn_output", tests, NULL, NULL);
}
