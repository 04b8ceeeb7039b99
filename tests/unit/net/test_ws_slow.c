#include "net/ws.c"

#include "output_harness.h"
#include "ws_harness.h"

#define FRAME 1000

static struct conn *slow_pair(int *peer)
{
    struct conn *c = ws_pair(peer, SMALL_BUFFER);

    config.output_limit = 20000;
    stall(c, 60000, 60);
    return c;
}

/* More than four times the limit. */
static void overflow(struct conn *c)
{
    conn_deliver(c, NULL, 0, 50000, 0, 7); /* never looked at */
}

/* Reads all there is: whole frames, the last one closes with the row's code and text. Returns how
 * many stand before it. */
static size_t read_to_close(int peer, enum close_reason why)
{
    static char got[200000];
    const struct close_row *row = close_row(why);
    size_t n = drain_peer(peer, got, sizeof(got)), at = 0, size = 0, count = 0;

    while (at < n) {
        size = ws_tx_frame_size((struct str){got + at, n - at});
        at += size;
        count++;
    }
    assert_int_equal(size, 4 + strlen(row->text)); /* none is cut off */
    assert_memory_equal(got + n - strlen(row->text), row->text, strlen(row->text));
    assert_int_equal((uint8_t)got[n - size], 0x88);
    assert_int_equal((uint8_t)got[n - size + 2] << 8 | (uint8_t)got[n - size + 3], row->code);
    return count - 1;
}

static void test_slow_one_is_told(void **state UNUSED)
{
    int peer;
    struct conn *c = slow_pair(&peer);
    size_t whole;

    overflow(c);
    assert_int_equal(c->state, CONN_CLOSING);
    assert_true(conn_queued(c) < FRAME + 200);
    whole = read_to_close(peer, CLOSE_SLOW);
    assert_int_equal(whole + metrics->drops_disconnect, 60 + 7);
    assert_true(whole > 0);
    overflow(c); /* nothing is delivered any more */
    assert_null(c->out);
    frame(peer, 0x88, "\x03\xf0", 2);
    net_steps(1);
    assert_true(net_at_eof(peer));
    close(peer);
    net_steps(2);
    assert_int_equal(metrics->closes[CLOSE_SLOW], 1);
}

static void test_who_never_reads_is_reset(void **state UNUSED)
{
    int peer;
    struct conn *c = slow_pair(&peer);

    config.output_timeout = (int64_t)NS_PER_SEC; /* does not count any more */
    overflow(c);
    for (uint64_t left = (uint64_t)config.close_timeout; left > NS_PER_SEC; left -= NS_PER_SEC)
        net_after(NS_PER_SEC);
    assert_int_equal(reactor->connections, 1);
    net_after(NS_PER_SEC + WHEEL_TICK_NS);
    assert_int_equal(reactor->connections, 0);
    assert_int_equal(metrics->closes[CLOSE_SLOW], 1);
    assert_int_equal(session.releases, 1);
    close(peer);
}

/* The kernel has taken all of it, the peer none: not waited for once more. */
static void test_what_the_kernel_holds_is_unread(void **state UNUSED)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);

    deliver_text(c, "text");
    ws_close(c, CLOSE_NO_PONG);
    net_steps(1);
    assert_null(c->out);
    assert_true(conn_unread(c));
    net_after((uint64_t)config.close_timeout + WHEEL_TICK_NS);
    assert_int_equal(reactor->connections, 0);
    assert_int_equal(metrics->closes[CLOSE_NO_PONG], 1);
    close(peer);
}

/* A ping stands behind what the peer still takes: its time begins when that has gone. */
static void test_a_ping_behind_a_queue(void **state UNUSED)
{
    static char got[200000];
    uint64_t pong = (uint64_t)config.pong_timeout;
    int peer;
    struct conn *c = ws_pair(&peer, SMALL_BUFFER);

    config.output_timeout = 3600 * (int64_t)NS_PER_SEC;
    stall(c, 60000, 60);
    net_after((uint64_t)config.ping_interval + 200 * NS_PER_MS);
    assert_int_equal(metrics->pings_out, 1);
    for (int i = 0; i < 3; i++) {
        net_after(pong + 300 * NS_PER_MS);
        assert_int_equal(c->state, CONN_OPEN);
    }
    assert_int_equal(metrics->pings_out, 1);
    assert_int_equal(drain_peer(peer, got, sizeof(got)), 60000 + 2);
    assert_null(c->out);
    net_after(pong + 300 * NS_PER_MS);
    assert_int_equal(c->state, CONN_CLOSING);
    assert_int_equal(c->reason, CLOSE_NO_PONG);
    close(peer);
}

/* The queue goes just before a pong would have been due. */
static void the_queue_goes_after(uint64_t time_ns)
{
    static char got[200000];
    uint64_t pong = (uint64_t)config.pong_timeout, step = NS_PER_SEC / 2;
    int peer;
    struct conn *c = ws_pair(&peer, SMALL_BUFFER);

    config.output_timeout = 3600 * (int64_t)NS_PER_SEC;
    stall(c, 60000, 60);
    net_after((uint64_t)config.ping_interval + 200 * NS_PER_MS);
    for (uint64_t waited = 0; waited < time_ns; waited += step)
        net_after(step);
    assert_int_equal(metrics->pings_out, 1);
    assert_int_equal(drain_peer(peer, got, sizeof(got)), 60000 + 2);
    for (uint64_t waited = 0; waited < pong / 2; waited += step) {
        net_after(step);
        assert_int_equal(c->state, CONN_OPEN);
    }
    for (uint64_t waited = 0; waited < pong && c->state == CONN_OPEN; waited += step)
        net_after(step);
    assert_int_equal(c->reason, CLOSE_NO_PONG);
    close(peer);
}

static void test_a_ping_that_has_just_gone(void **state UNUSED)
{
    the_queue_goes_after((uint64_t)config.pong_timeout - NS_PER_SEC);
}

static void test_a_ping_that_has_just_gone_at_last(void **state UNUSED)
{
    the_queue_goes_after(2 * (uint64_t)config.pong_timeout - NS_PER_SEC);
}

static void test_no_progress(void **state UNUSED)
{
    int peer;
    struct conn *c = slow_pair(&peer);

    config.output_limit = 1 << 20;
    net_after((uint64_t)config.output_timeout);
    assert_int_equal(c->state, CONN_CLOSING);
    assert_int_equal(read_to_close(peer, CLOSE_SLOW) + metrics->drops_disconnect, 60);
    close(peer);
}

static void test_over_the_limit_for_too_long(void **state UNUSED)
{
    int peer;
    struct conn *c = slow_pair(&peer);

    net_after((uint64_t)config.output_grace - NS_PER_MS);
    assert_int_equal(c->state, CONN_OPEN);
    net_after(NS_PER_MS);
    assert_int_equal(c->state, CONN_CLOSING);
    assert_int_equal(read_to_close(peer, CLOSE_SLOW) + metrics->drops_disconnect, 60);
    close(peer);
}

/* Its own publications come back to one that has said goodbye and does not read. */
static void test_slow_while_settling(void **state UNUSED)
{
    char got[100000];
    int peer;
    struct conn *c = slow_pair(&peer);
    size_t n;

    ws_start_broker();
    session.waits = 1;
    frame(peer, 0x88, "\x03\xe8", 2);
    conn_release_hold(c, CONN_HOLD_OUTPUT);
    net_steps(1);
    assert_int_equal(c->state, CONN_SETTLING);
    overflow(c);
    assert_int_equal(c->state, CONN_FLUSHING);
    n = drain_peer(peer, got, sizeof(got));
    assert_memory_equal(got + n - 4, "\x88\x02\x03\xe8", 4);
    assert_int_equal((n - 4) % FRAME, 0);
    assert_true(net_at_eof(peer));
    close(peer);
    net_steps(1);
    assert_int_equal(metrics->closes[CLOSE_PEER_CLOSED], 1);
}

/* An end for another reason: what stands before its close frame is dropped when the peer has not
 * come to that in time, and it has that long again. */
static void test_close_behind_too_much(void **state UNUSED)
{
    int peer;
    struct conn *c = slow_pair(&peer);

    ws_close(c, CLOSE_LOST_POSITION);
    net_after((uint64_t)config.close_timeout + WHEEL_TICK_NS);
    assert_int_equal(c->state, CONN_CLOSING);
    assert_int_equal(read_to_close(peer, CLOSE_LOST_POSITION) + metrics->drops_disconnect, 60);
    net_after((uint64_t)config.close_timeout + WHEEL_TICK_NS);
    assert_int_equal(c->state, CONN_LINGERING);
    close(peer);
    net_steps(1);
    assert_int_equal(metrics->closes[CLOSE_LOST_POSITION], 1);
}

/* At the end of lingering: what has been taken is not reset, what has not is. */
static void test_lingering_ends(void **state UNUSED)
{
    for (int unread = 0; unread < 2; unread++) {
        const struct linger none = {0};
        struct linger l;
        socklen_t len = sizeof(l);
        int peer, fd;
        struct conn *c = ws_pair(&peer, 0);

        frame(peer, 0x88, "", 0);
        net_steps(1);
        assert_int_equal(c->state, CONN_LINGERING);
        if (!unread)
            EXPECT(peer, "\x88\x00");
        fd = dup(c->io.fd);
        net_after((uint64_t)config.close_timeout + WHEEL_TICK_NS);
        assert_int_equal(reactor->connections, 0);
        assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &len), 0);
        assert_int_equal(l.l_onoff, unread ? 1 : none.l_onoff);
        close(fd);
        close(peer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WS_TEST(test_slow_one_is_told),
        WS_TEST(test_who_never_reads_is_reset),
        WS_TEST(test_what_the_kernel_holds_is_unread),
        WS_TEST(test_a_ping_behind_a_queue),
        WS_TEST(test_a_ping_that_has_just_gone),
        WS_TEST(test_a_ping_that_has_just_gone_at_last),
        WS_TEST(test_no_progress),
        WS_TEST(test_over_the_limit_for_too_long),
        WS_TEST(test_slow_while_settling),
        WS_TEST(test_close_behind_too_much),
        WS_TEST(test_lingering_ends),
    };

    return cmocka_run_group_tests_name("net/ws_slow", tests, NULL, NULL);
}
