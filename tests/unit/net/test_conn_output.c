#include "net/conn_output.c"

#include "output_harness.h"

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
    assert_true(list_empty(&reactor->dirty));
    net_steps(3);
    assert_false(reactor->busy); /* nothing to do until the socket says so */
    assert_int_equal(conn_send(c, STR_LIT("END")), 0);
    n = drain_peer(peer, got, sizeof(got));
    assert_int_equal(n, b->len + 3);
    assert_memory_equal(got, b->data, b->len);
    assert_memory_equal(got + b->len, "END", 3);
    assert_null(c->out);
    assert_false(c->flags & CONN_OUT_STALLED);
    assert_true(list_empty(&reactor->stalled));
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
    assert_true(reactor->busy);
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
    conn_set_state(c, CONN_FLUSHING);
    deliver_text(c, "flushing");
    assert_int_equal(conn_send(c, STR_LIT("flushing")), -1);
    conn_set_state(c, CONN_LINGERING);
    deliver_text(c, "lingering");
    assert_int_equal(conn_send(c, STR_LIT("lingering")), -1);
    net_expect(peer, "settling");
    conn_kill(c, CLOSE_NORMAL);
    deliver_text(c, "dead");
    net_expect(peer, "");
    assert_int_equal(metrics->deliveries, 1);
    close(peer);
    c = open_pair(&peer, 0);
    conn_set_state(c, CONN_CLOSING);
    deliver_text(c, "closing");
    assert_int_equal(conn_send(c, STR_LIT("close frame")), 0);
    net_expect(peer, "close frame");
    assert_int_equal(metrics->deliveries, 1);
    close(peer);
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
    for (struct list *n = reactor->dirty.next; n != &reactor->dirty; n = n->next)
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
        outq_pools_fini(&reactor->output);
        if (!failed) {
            assert_int_equal(k, 4); /* the queue's pool, the chunks' pool, the copy */
            break;
        }
    }
}

static void deliver_newest(struct conn *c, const char *text, uint64_t tag)
{
    struct blob *b = blob_from(str_from(text));

    conn_deliver_newest(c, b, 0, b->len, tag);
    blob_put(&b);
}

/* Who takes what comes gets everything; who does not gets the newest of each tag. */
static void test_newest(void **state UNUSED)
{
    static char got[300000];
    char text[16];
    int peer;
    struct conn *c = open_pair(&peer, SMALL_BUFFER);
    struct blob *b = pattern(200000, 'a');
    size_t n;

    for (int i = 0; i < 3; i++)
        deliver_newest(c, "abc", 1);
    net_steps(2);
    net_expect(peer, "abcabcabc");
    assert_int_equal(metrics->drops_conflate, 0);

    conn_deliver(c, b, 0, b->len, 0, 1);
    assert_true(c->flags & CONN_OUT_STALLED);
    for (int i = 0; i < 1000; i++) {
        snprintf(text, sizeof(text), "<%d>", i);
        deliver_newest(c, text, 1 + (uint64_t)(i % 2));
        assert_true(outq_items(c->out) <= 100);
    }
    deliver_text(c, "END");
    n = drain_peer(peer, got, sizeof(got));
    assert_int_equal(n, b->len + 13);
    assert_memory_equal(got + b->len, "<998><999>END", 13);
    assert_int_equal(metrics->drops_conflate, 998);
    assert_null(c->out);
    blob_put(&b);
    close(peer);
}

/* It is not slow as long as the newest of all tags fit its queue. */
static void test_newest_are_not_too_many(void **state UNUSED)
{
    int peer;
    struct conn *c = open_pair(&peer, SMALL_BUFFER);
    struct blob *b = pattern(20000, 'a');

    config.output_limit = 40000;
    stall(c, 100000, 1);
    for (int i = 0; i < 1000; i++) {
        conn_deliver_newest(c, b, 0, b->len, 5);
        assert_false(conn_dead(c));
    }
    assert_true(conn_queued(c) <= 100000 + 4 * 40000);
    assert_int_equal(metrics->drops_disconnect, 0);
    blob_put(&b);
    close(peer);
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
        NET_TEST(test_peer_gone_while_sending),
        NET_TEST(test_flush_within_budget),
        NET_TEST(test_no_memory),
        NET_TEST(test_newest),
        NET_TEST(test_newest_are_not_too_many),
    };

    return cmocka_run_group_tests_name("net/conn_output", tests, NULL, NULL);
}
