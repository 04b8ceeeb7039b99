#include "net/conn.c"

#include "net_harness.h"

static void test_finish_lingers(void **state UNUSED)
{
    int peer;
    struct conn *c = net_pair(&peer, &seen_ops, 0);

    conn_finish(c, CLOSE_HTTP_DONE);
    conn_finish(c, CLOSE_DRAIN);
    assert_int_equal(c->state, CONN_LINGERING);
    assert_int_equal(metrics->connections_closing, 1);
    assert_true(net_at_eof(peer));
    assert_int_equal(conn_send(c, STR_LIT("late")), -1);
    assert_false(conn_dead(c));
    net_write(peer, "ignored", 7);
    net_steps(2);
    assert_int_equal(seen.inputs, 0);
    assert_int_equal(metrics->read_bytes, 7);
    close(peer);
    net_steps(2);
    assert_int_equal(metrics->closes[CLOSE_HTTP_DONE], 1);
    assert_int_equal(metrics->connections_closing, 0);
    assert_int_equal(seen.releases, 1);
    assert_int_equal(seen.eofs, 0);
}

static void test_finish_linger_times_out(void **state UNUSED)
{
    int peer;
    struct conn *c = net_pair(&peer, &seen_ops, 0);

    conn_finish(c, CLOSE_HTTP_DONE);
    net_after((uint64_t)config.close_timeout - 200 * NS_PER_MS);
    net_write(peer, "x", 1); /* input does not prolong it */
    net_steps(2);
    assert_int_equal(reactor->connections, 1);
    net_after(400 * NS_PER_MS);
    assert_int_equal(reactor->connections, 0);
    assert_int_equal(seen.deadlines, 0);
    assert_int_equal(metrics->closes[CLOSE_HTTP_DONE], 1);
    close(peer);
}

static void test_finish_sends_first(void **state UNUSED)
{
    static char data[200 * 1024], got[sizeof(data) + 1];
    int peer;
    struct conn *c = net_pair(&peer, &seen_ops, 8192);
    size_t len = 0;
    bool eof = false;

    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (char)(i * 7);
    conn_hold(c, CONN_HOLD_ANSWER);
    assert_int_equal(conn_send(c, (struct str){data, sizeof(data)}), 0);
    assert_true(conn_queued(c) > 0);
    conn_finish(c, CLOSE_HTTP_DONE);
    assert_int_equal(c->state, CONN_FLUSHING);
    assert_int_equal(conn_send(c, STR_LIT("late")), -1);
    net_write(peer, "discarded", 9);
    for (int i = 0; i < 2000 && !eof; i++) {
        len += net_read(peer, got + len, sizeof(got) - len, &eof);
        net_steps(1);
    }
    assert_true(eof);
    assert_int_equal(len, sizeof(data));
    assert_memory_equal(got, data, len);
    assert_int_equal(seen.inputs, 0);
    close(peer);
    net_steps(1);
    assert_int_equal(metrics->closes[CLOSE_HTTP_DONE], 1);
}

/* The peer has shut down its side while the queue is not empty: no spinning, and no linger. */
static void test_finish_peer_ends_first(void **state UNUSED)
{
    static char data[200 * 1024], got[sizeof(data) + 1];
    int peer;
    struct conn *c = net_pair(&peer, &seen_ops, 8192);
    size_t len = 0;
    bool eof = false;
    uint64_t reads;

    assert_int_equal(conn_send(c, (struct str){data, sizeof(data)}), 0);
    conn_finish(c, CLOSE_HTTP_DONE);
    assert_int_equal(shutdown(peer, SHUT_WR), 0);
    net_steps(1);
    reads = metrics->reads;
    net_steps(5);
    assert_int_equal(metrics->reads, reads);
    for (int i = 0; i < 2000 && !eof; i++) {
        len += net_read(peer, got + len, sizeof(got) - len, &eof);
        net_steps(1);
    }
    assert_true(eof);
    assert_int_equal(len, sizeof(data));
    assert_int_equal(reactor->connections, 0);
    close(peer);
}

static void test_finish_peer_never_reads(void **state UNUSED)
{
    static char data[200 * 1024];
    int peer;
    struct conn *c = net_pair(&peer, &seen_ops, 8192);

    assert_int_equal(conn_send(c, (struct str){data, sizeof(data)}), 0);
    conn_finish(c, CLOSE_HTTP_DONE);
    net_after((uint64_t)config.output_timeout - NS_PER_SEC);
    assert_int_equal(reactor->connections, 1);
    net_after(2 * NS_PER_SEC);
    assert_int_equal(reactor->connections, 0);
    assert_int_equal(metrics->closes[CLOSE_HTTP_DONE], 1);
    close(peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(test_finish_lingers),          NET_TEST(test_finish_linger_times_out),
        NET_TEST(test_finish_sends_first),      NET_TEST(test_finish_peer_ends_first),
        NET_TEST(test_finish_peer_never_reads),
    };

    return cmocka_run_group_tests_name("net/conn_finish", tests, NULL, NULL);
}
