#include "net/ws.c"

#include "ws_harness.h"

static void test_peer_closes(void **state UNUSED)
{
    static const struct {
        const char *in;
        size_t in_len;
        const char *out;
        size_t out_len;
    } rows[] = {
        {"", 0, "\x88\x00", 2},
        {"\x03\xe8", 2, "\x88\x02\x03\xe8", 4},
        {"\x03\xe9going away", 12, "\x88\x02\x03\xe9", 4},
        {"\x0b\xb8", 2, "\x88\x02\x0b\xb8", 4},
        {"\x13\x87", 2, "\x88\x02\x13\x87", 4},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int peer;
        struct conn *c = ws_pair(&peer, 0);

        frame(peer, 0x88, rows[i].in, rows[i].in_len);
        text(peer, "behind the end");
        net_steps(1);
        expect_bytes(peer, rows[i].out, rows[i].out_len);
        assert_true(net_at_eof(peer)); /* the server closes first */
        assert_int_equal(c->state, CONN_LINGERING);
        close(peer);
        net_steps(2);
    }
    assert_int_equal(session.messages, 0);
    assert_int_equal(session.releases, ARRAY_LEN(rows));
    assert_int_equal(metrics->closes[CLOSE_PEER_CLOSED], ARRAY_LEN(rows));
}

static void test_violations(void **state UNUSED)
{
    static const struct {
        const char *in;
        size_t n;
        enum close_reason why;
    } rows[] = {
#define ROW(literal, why) {literal, sizeof(literal) - 1, CLOSE_##why}
        ROW("\xc1\x80\0\0\0\0", FRAME_RSV),
        ROW("\x83\x80\0\0\0\0", FRAME_OPCODE),
        ROW("\x81\x00", FRAME_UNMASKED),
        ROW("\x81\xfe\0\x01\0\0\0\0x", FRAME_LENGTH),
        ROW("\x09\x80\0\0\0\0", FRAME_CONTROL),
        ROW("\x89\xfe\0\x7e\0\0\0\0", FRAME_CONTROL),
        ROW("\x80\x80\0\0\0\0", FRAME_CONTINUATION),
        ROW("\x88\x81\0\0\0\0\x03", CLOSE_PAYLOAD),
        ROW("\x88\x82\0\0\0\0\x03\xed", CLOSE_PAYLOAD),
        ROW("\x81\x81\0\0\0\0\xff", BAD_UTF8),
        ROW("\x88\x83\0\0\0\0\x03\xe8\xff", BAD_UTF8),
        ROW("\x82\xff\0\0\0\0\0\x20\0\0\0\0\0\0", FRAME_TOO_BIG),
#undef ROW
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int peer;

        ws_pair(&peer, 0);
        net_write(peer, rows[i].in, rows[i].n);
        net_steps(1);
        expect_close(peer, rows[i].why);
        assert_true(net_at_eof(peer));
        close(peer);
        net_steps(2);
        assert_int_equal(metrics->closes[rows[i].why] > 0, 1);
        assert_int_equal(reactor->connections, 0);
    }
    assert_int_equal(ws_rx_pool_slots_in_use(reactor->rx_pool), 0);
}

/* What came before the violation in the same read is answered first. */
static void test_order_before_violation(void **state UNUSED)
{
    int peer;

    ws_pair(&peer, 0);
    net_write(peer, "\x89\x81\0\0\0\0p\x81\x81\0\0\0\0m\x83\x80\0\0\0\0", 20);
    net_steps(2);
    {
        char got[200];
        size_t n = net_read(peer, got, sizeof(got), NULL);

        assert_true(n > 6);
        assert_memory_equal(got, "\x81\x01m\x8a\x01p\x88", 7);
    }
    close(peer);
}

static void test_settling_waits(void **state UNUSED)
{
    struct blob *b = blob_from(STR_LIT("\x81\x04"
                                       "mine"));
    int peer;
    struct conn *c = ws_pair(&peer, 0);
    struct record fenced = {.kind = RECORD_FENCED, .token = c->id};

    ws_start_broker();
    session.waits = 3;
    frame(peer, 0x88, "\x03\xe8", 2);
    net_steps(3);
    assert_int_equal(c->state, CONN_SETTLING);
    assert_int_equal(session.settles, 1); /* the hub is asked */
    EXPECT(peer, "");
    text(peer, "not read any more");
    net_steps(2);
    assert_int_equal(session.messages, 0);
    conn_deliver(c, b, 0, b->len, 0, 1);
    ws_close(c, CLOSE_DRAIN); /* harmless: it is ending */
    session_answered(&fenced);
    session_answered(&fenced); /* by a hub that was restarted */
    assert_int_equal(c->state, CONN_SETTLING);
    net_steps(1);
    assert_int_equal(session.settles, 4); /* twice a walk had not come to it */
    EXPECT(peer, "\x81\x04"
                 "mine\x88\x02\x03\xe8");
    assert_true(net_at_eof(peer));
    blob_put(&b);
    close(peer);
}

/* What comes behind the gap is not for it any more. */
static void test_settling_ends_with_a_loss(void **state UNUSED)
{
    struct blob *b = blob_from(STR_LIT("\x81\x04"
                                       "mine"));
    int peer;
    struct conn *c = ws_pair(&peer, 0);

    ws_start_broker();
    session.waits = 3;
    frame(peer, 0x88, "\x03\xe8", 2);
    net_steps(3);
    assert_int_equal(c->state, CONN_SETTLING);
    ws_close(c, CLOSE_LOST_POSITION);
    conn_deliver(c, b, 0, b->len, 0, 1);
    net_steps(2);
    EXPECT(peer, "\x88\x02\x03\xe8");
    assert_true(net_at_eof(peer));
    blob_put(&b);
    close(peer);
}

static void test_settling_is_bounded(void **state UNUSED)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);

    ws_start_broker();
    session.waits = 1;
    net_write(peer, "\x83\x80\0\0\0\0", 6);
    net_steps(1);
    assert_int_equal(c->state, CONN_SETTLING);
    net_after(SETTLE_MAX_NS + 200 * NS_PER_MS);
    expect_close(peer, CLOSE_FRAME_OPCODE);
    assert_int_equal(c->state, CONN_LINGERING);
    close(peer);
    net_steps(1);
    assert_int_equal(metrics->closes[CLOSE_FRAME_OPCODE], 1);
}

static void test_our_close(void **state UNUSED)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);

    ws_close(c, CLOSE_DRAIN);
    ws_close(c, CLOSE_LOST_POSITION);
    expect_close(peer, CLOSE_DRAIN);
    assert_int_equal(c->state, CONN_CLOSING);
    text(peer, "ignored");
    frame(peer, 0x89, "ignored", 7);
    net_steps(1);
    EXPECT(peer, "");
    assert_false(net_at_eof(peer)); /* waits for the peer's close frame */
    frame(peer, 0x88, "\x03\xe9", 2);
    net_steps(1);
    assert_true(net_at_eof(peer));
    assert_int_equal(session.messages, 0);
    close(peer);
    net_steps(1);
    assert_int_equal(metrics->closes[CLOSE_DRAIN], 1);
}

static void test_our_close_unanswered(void **state UNUSED)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);

    ws_close(c, CLOSE_DRAIN);
    expect_close(peer, CLOSE_DRAIN);
    net_after((uint64_t)config.close_timeout - 200 * NS_PER_MS);
    assert_false(net_at_eof(peer));
    net_after(400 * NS_PER_MS);
    assert_true(net_at_eof(peer)); /* shut down in order */
    assert_false(conn_dead(c));
    net_after((uint64_t)config.close_timeout + 200 * NS_PER_MS);
    assert_int_equal(reactor->connections, 0);
    assert_int_equal(metrics->closes[CLOSE_CLOSE_TIMEOUT], 1);
    assert_int_equal(metrics->closes[CLOSE_DRAIN], 0);
    close(peer);
}

static void test_our_close_peer_does_not_read(void **state UNUSED)
{
    static char big[100000] = "\x81\x7f\0\0\0\0\0\1\x86\x96"; /* one frame */
    struct blob *b = blob_from((struct str){big, sizeof(big)});
    int peer;
    struct conn *c = ws_pair(&peer, 4608);

    conn_deliver(c, b, 0, b->len, 0, 1);
    ws_close(c, CLOSE_LOST_POSITION);
    net_after((uint64_t)config.close_timeout + 200 * NS_PER_MS);
    assert_int_equal(reactor->connections, 0);
    assert_int_equal(metrics->closes[CLOSE_LOST_POSITION], 1); /* the first reason stands */
    blob_put(&b);
    close(peer);
}

static void test_our_close_answered_badly(void **state UNUSED)
{
    int peer;

    ws_close(ws_pair(&peer, 0), CLOSE_DRAIN);
    net_write(peer, "\xff\xff\xff\xff", 4);
    net_steps(1);
    expect_close(peer, CLOSE_DRAIN);
    assert_true(net_at_eof(peer));
    close(peer);
    net_steps(1);
    assert_int_equal(metrics->closes[CLOSE_DRAIN], 1);

    ws_close(ws_pair(&peer, 0), CLOSE_DRAIN);
    assert_int_equal(shutdown(peer, SHUT_WR), 0);
    net_steps(1);
    expect_close(peer, CLOSE_DRAIN);
    assert_true(net_at_eof(peer));
    assert_int_equal(reactor->connections, 0);
    assert_int_equal(metrics->closes[CLOSE_DRAIN], 2);
    close(peer);
}

/* A close in the middle of an incomplete message: the parser goes on to find the peer's close
 * frame. */
static void test_our_close_inside_a_message(void **state UNUSED)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);

    net_write(peer, "\x81\x85\0\0\0\0he", 8);
    net_steps(1);
    ws_close(c, CLOSE_DRAIN);
    expect_close(peer, CLOSE_DRAIN);
    net_write(peer, "llo\x88\x80\0\0\0\0", 9);
    net_steps(1);
    assert_true(net_at_eof(peer));
    assert_int_equal(session.messages, 0);
    close(peer);
}

static void test_close_from_message(void **state UNUSED)
{
    int peer;

    session.close_with = CLOSE_NOT_PERMITTED;
    ws_pair(&peer, 0);
    net_write(peer, "\x89\x80\0\0\0\0\x82\x80\0\0\0\0\x82\x80\0\0\0\0\x88\x80\0\0\0\0", 24);
    net_steps(2);
    assert_int_equal(session.messages, 1);
    {
        char got[200], want[] = "\x82\x00\x8a\x00\x88";
        bool eof;
        size_t n = net_read(peer, got, sizeof(got), &eof);

        assert_true(eof); /* the peer's close frame was in the same read */
        assert_true(n > 10);
        assert_memory_equal(got, want, 5); /* the ping came before: its pong stands before ours */
        assert_int_equal(n, 4 + 4 + strlen(close_row(CLOSE_NOT_PERMITTED)->text));
    }
    close(peer);
}

static void test_close_without_code_kills(void **state UNUSED)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);

    ws_close(c, CLOSE_PEER_GONE);
    assert_true(conn_dead(c));
    net_steps(1);
    assert_true(net_at_eof(peer));
    close(peer);
}

static void test_kill_from_message(void **state UNUSED)
{
    int peer;

    session.kill = true;
    ws_pair(&peer, 0);
    net_write(peer, "\x82\x80\0\0\0\0\x82\x80\0\0\0\0", 12);
    net_steps(1);
    assert_int_equal(session.messages, 1);
    assert_int_equal(session.releases, 1);
    EXPECT(peer, "\x82\x00");
    close(peer);
}

static void test_eof_when_open(void **state UNUSED)
{
    int peer;

    ws_pair(&peer, 0);
    net_write(peer, "\x81\x85\0", 3);
    net_steps(1);
    assert_int_equal(ws_rx_pool_slots_in_use(reactor->rx_pool), 1);
    close(peer);
    net_steps(1);
    assert_int_equal(metrics->closes[CLOSE_PEER_GONE], 1);
    assert_int_equal(ws_rx_pool_slots_in_use(reactor->rx_pool), 0);
    assert_int_equal(session.releases, 1);
}

static void test_drain_op(void **state UNUSED)
{
    int peer;

    ws_pair(&peer, 0);
    reactor_drain(0, NULL);
    net_steps(1);
    expect_close(peer, CLOSE_DRAIN);
    frame(peer, 0x88, "\x03\xe9", 2);
    net_steps(1);
    assert_true(net_at_eof(peer));
    close(peer);
    net_steps(2);
    assert_int_equal(metrics->closes[CLOSE_DRAIN], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WS_TEST(test_peer_closes),
        WS_TEST(test_violations),
        WS_TEST(test_order_before_violation),
        WS_TEST(test_settling_waits),
        WS_TEST(test_settling_ends_with_a_loss),
        WS_TEST(test_settling_is_bounded),
        WS_TEST(test_our_close),
        WS_TEST(test_our_close_unanswered),
        WS_TEST(test_our_close_peer_does_not_read),
        WS_TEST(test_our_close_answered_badly),
        WS_TEST(test_our_close_inside_a_message),
        WS_TEST(test_close_from_message),
        WS_TEST(test_close_without_code_kills),
        WS_TEST(test_kill_from_message),
        WS_TEST(test_eof_when_open),
        WS_TEST(test_drain_op),
    };

    return cmocka_run_group_tests_name("net/ws_close", tests, NULL, NULL);
}
