#include "net/ws.c"

#include "net/outq.h"
#include "net_harness.h"

/* A session that echoes at once, and can be told to wait before it is settled. */
static struct {
    unsigned messages, settles, releases;
    bool wait;           /* settle() answers false */
    unsigned close_with; /* enum close_reason for the next message */
    bool kill;
    size_t allow_bytes, allow_messages; /* may_read() */
    unsigned asked;
} session;

static void echo_message(struct conn *c, enum ws_item_kind kind, struct str data)
{
    uint8_t header[WS_HEADER_MAX];
    size_t n = ws_tx_header(kind == WS_ITEM_TEXT ? WS_OP_TEXT : WS_OP_BINARY, data.n, header);
    struct blob *b = blob_new(n + data.n);

    assert_int_equal(c->state, CONN_OPEN);
    session.messages++;
    if (!b) {
        conn_kill(c, CLOSE_NO_MEMORY);
        return;
    }
    memcpy(b->data, header, n);
    memcpy(b->data + n, data.p, data.n);
    conn_deliver(c, b, 0, b->len, 0, 1);
    blob_put(&b);
    if (session.close_with)
        ws_close(c, (enum close_reason)session.close_with);
    if (session.kill)
        conn_kill(c, CLOSE_INTERNAL);
}

static bool echo_may_read(struct conn *c UNUSED, size_t bytes, size_t messages)
{
    session.asked++;
    return bytes <= session.allow_bytes && messages <= session.allow_messages;
}

static bool echo_settle(struct conn *c UNUSED)
{
    session.settles++;
    return !session.wait;
}

static void echo_release(struct conn *c UNUSED)
{
    session.releases++;
}

static const struct ws_ops echo_ws_ops = {
    .message = echo_message,
    .may_read = echo_may_read,
    .settle = echo_settle,
    .release = echo_release,
};

static const struct conn_ops echo_ops = {
    .name = "echo",
    .input = ws_input,
    .eof = ws_eof,
    .deadline = ws_deadline,
    .may_read = ws_may_read,
    .drain = ws_drain,
    .release = ws_release,
    .upper = &echo_ws_ops,
};

static int setup(void **state)
{
    memset(&session, 0, sizeof(session));
    session.allow_bytes = session.allow_messages = SIZE_MAX;
    return net_setup(state);
}

static int teardown(void **state)
{
    return net_teardown(state);
}

static struct conn *ws_pair(int *peer, int send_buffer)
{
    struct conn *c = net_pair(peer, &echo_ops, send_buffer);

    ws_open(c);
    return c;
}

/* Sends one masked frame; first: its first byte (FIN, RSV, opcode). */
static void frame(int peer, uint8_t first, const void *payload, size_t n)
{
    char out[4096];
    size_t at = 0;

    assert_true(n < 65536 && n + 14 < sizeof(out));
    out[at++] = (char)first;
    if (n < 126) {
        out[at++] = (char)(0x80 | n);
    } else {
        out[at++] = (char)(0x80 | 126);
        out[at++] = (char)(n >> 8);
        out[at++] = (char)n;
    }
    memset(out + at, 0, 4); /* a mask of zeros */
    at += 4;
    if (n > 0)
        memcpy(out + at, payload, n);
    net_write(peer, out, at + n);
}

static void text(int peer, const char *s)
{
    frame(peer, 0x81, s, strlen(s));
}

static void expect_bytes(int peer, const void *want, size_t n)
{
    char got[8192];

    assert_int_equal(net_read(peer, got, sizeof(got), NULL), n);
    assert_memory_equal(got, want, n);
}

#define EXPECT(peer, literal) expect_bytes((peer), (literal), sizeof(literal) - 1)

/* A close frame with the row's code and text has come, and nothing before it. */
static void expect_close(int peer, enum close_reason why)
{
    const struct close_row *row = close_row(why);
    char want[2 + WS_CONTROL_MAX];
    size_t n = strlen(row->text);

    want[0] = (char)0x88;
    want[1] = (char)(2 + n);
    want[2] = (char)(row->code >> 8);
    want[3] = (char)row->code;
    memcpy(want + 4, row->text, n);
    expect_bytes(peer, want, 4 + n);
}

static void test_echo(void **state)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);

    (void)state;
    text(peer, "hello");
    frame(peer, 0x82, "\x00\xff", 2);
    net_steps(1);
    EXPECT(peer, "\x81\x05hello\x82\x02\x00\xff");
    assert_int_equal(metrics->messages_in, 2);
    assert_int_equal(metrics->message_bytes_in, 7);
    assert_int_equal(metrics->frames_in, 2);
    assert_int_equal(metrics->frames_out, 2);
    assert_int_equal(c->frames_in, 2);
    assert_null(c->rx.slot);
    close(peer);
}

static void test_byte_by_byte(void **state)
{
    static const char in[] = "\x81\x85\0\0\0\0hello\x89\x81\0\0\0\0p\x01\x81\0\0\0\0a\x80\x81\0\0\0\0b"
                             "\x88\x82\0\0\0\0\x03\xe8";
    int peer;

    (void)state;
    ws_pair(&peer, 0);
    for (size_t i = 0; i < sizeof(in) - 1; i++) {
        net_write(peer, in + i, 1);
        net_steps(1);
    }
    EXPECT(peer, "\x81\x05hello\x8a\x01p\x81\x02"
                 "ab\x88\x02\x03\xe8");
    assert_true(net_at_eof(peer));
    close(peer);
}

static void test_every_split(void **state)
{
    static const char in[] = "\x81\x85\0\0\0\0hello\x89\x80\0\0\0\0\x01\x81\0\0\0\0a\x80\x81\0\0\0\0b"
                             "\x88\x80\0\0\0\0";

    (void)state;
    for (size_t split = 0; split < sizeof(in); split++) {
        int peer;

        ws_pair(&peer, 0);
        if (split > 0)
            net_write(peer, in, split);
        net_steps(1);
        if (split < sizeof(in) - 1)
            net_write(peer, in + split, sizeof(in) - 1 - split);
        net_steps(2);
        /* The pong may be sent with others of its input, but never behind the close frame. */
        {
            char got[64];
            bool eof;
            size_t n = net_read(peer, got, sizeof(got), &eof);

            assert_true(eof);
            assert_int_equal(n, 7 + 2 + 4 + 2);
            assert_memory_equal(got, "\x81\x05hello", 7);
            assert_memory_equal(got + 13, "\x88\x00", 2);
        }
        close(peer);
        net_steps(1);
    }
    assert_int_equal(reactor.connections, 0);
}

static void test_pings_are_answered(void **state)
{
    char payload[125];
    int peer;

    (void)state;
    memset(payload, 'p', sizeof(payload));
    ws_pair(&peer, 0);
    frame(peer, 0x89, NULL, 0);
    frame(peer, 0x89, "abc", 3);
    frame(peer, 0x8a, "unsolicited", 11);
    net_steps(1);
    EXPECT(peer, "\x8a\x00\x8a\x03"
                 "abc");
    for (int i = 0; i < 40; i++) /* more than one gathering of pongs */
        frame(peer, 0x89, payload, 125);
    net_steps(2);
    {
        char got[8192];

        assert_int_equal(net_read(peer, got, sizeof(got), NULL), 40 * 127);
        for (int i = 0; i < 40; i++) {
            assert_memory_equal(got + i * 127, "\x8a\x7d", 2);
            assert_memory_equal(got + i * 127 + 2, payload, 125);
        }
    }
    assert_int_equal(session.messages, 0);
    close(peer);
}

/* Tiny pongs to a peer that does not read must not cost more than their bytes. */
static void test_ping_flood_costs_little(void **state)
{
    char flood[6000];
    int peer;
    struct conn *c = ws_pair(&peer, 4608);

    (void)state;
    for (size_t i = 0; i + 6 <= sizeof(flood); i += 6)
        memcpy(flood + i, "\x89\x80\0\0\0\0", 6);
    config.output_limit = 20000;
    for (int i = 0; i < 100; i++) {
        (void)!send(peer, flood, sizeof(flood), MSG_NOSIGNAL);
        net_steps(1);
    }
    assert_false(conn_dead(c));
    assert_true(conn_queued(c) < 22000);
    assert_true(c->hold & CONN_HOLD_OUTPUT);
    close(peer);
}

static void test_peer_closes(void **state)
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

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int peer;
        struct conn *c = ws_pair(&peer, 0);

        frame(peer, 0x88, rows[i].in, rows[i].in_len);
        text(peer, "behind the end");
        net_steps(1);
        expect_bytes(peer, rows[i].out, rows[i].out_len);
        assert_true(net_at_eof(peer)); /* the server closes first */
        assert_int_equal(c->state, CONN_CLOSING);
        close(peer);
        net_steps(2);
    }
    assert_int_equal(session.messages, 0);
    assert_int_equal(session.releases, ARRAY_LEN(rows));
    assert_int_equal(metrics->closes[CLOSE_PEER_CLOSED], ARRAY_LEN(rows));
}

static void test_violations(void **state)
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

    (void)state;
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
        assert_int_equal(reactor.connections, 0);
    }
    assert_int_equal(ws_rx_pool_slots_in_use(reactor.rx_pool), 0);
}

/* What came before the violation in the same read is answered first. */
static void test_order_before_violation(void **state)
{
    int peer;

    (void)state;
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

static void test_settling_waits(void **state)
{
    struct blob *b = blob_from(STR_LIT("\x81\x04"
                                       "mine"));
    int peer;
    struct conn *c = ws_pair(&peer, 0);

    (void)state;
    session.wait = true;
    frame(peer, 0x88, "\x03\xe8", 2);
    net_steps(3);
    assert_int_equal(c->state, CONN_SETTLING);
    assert_int_equal(session.settles, 1);
    EXPECT(peer, "");
    text(peer, "not read any more");
    net_steps(2);
    assert_int_equal(session.messages, 0);
    conn_deliver(c, b, 0, b->len, 0, 1);
    ws_close(c, CLOSE_DRAIN); /* harmless: it is ending */
    ws_settled(c);
    ws_settled(c);
    net_steps(1);
    EXPECT(peer, "\x81\x04"
                 "mine\x88\x02\x03\xe8");
    assert_true(net_at_eof(peer));
    blob_put(&b);
    close(peer);
}

static void test_settling_is_bounded(void **state)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);

    (void)state;
    session.wait = true;
    net_write(peer, "\x83\x80\0\0\0\0", 6);
    net_steps(1);
    assert_int_equal(c->state, CONN_SETTLING);
    net_after(SETTLE_MAX_NS + 200 * NS_PER_MS);
    expect_close(peer, CLOSE_FRAME_OPCODE);
    assert_int_equal(c->state, CONN_CLOSING);
    close(peer);
    net_steps(1);
    assert_int_equal(metrics->closes[CLOSE_FRAME_OPCODE], 1);
}

static void test_our_close(void **state)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);

    (void)state;
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

static void test_our_close_unanswered(void **state)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);

    (void)state;
    ws_close(c, CLOSE_DRAIN);
    expect_close(peer, CLOSE_DRAIN);
    net_after((uint64_t)config.close_timeout - 200 * NS_PER_MS);
    assert_false(net_at_eof(peer));
    net_after(400 * NS_PER_MS);
    assert_true(net_at_eof(peer)); /* shut down in order */
    assert_false(conn_dead(c));
    net_after((uint64_t)config.close_timeout + 200 * NS_PER_MS);
    assert_int_equal(reactor.connections, 0);
    assert_int_equal(metrics->closes[CLOSE_CLOSE_TIMEOUT], 1);
    assert_int_equal(metrics->closes[CLOSE_DRAIN], 0);
    close(peer);
}

static void test_our_close_peer_does_not_read(void **state)
{
    static char big[100000];
    struct blob *b = blob_from((struct str){big, sizeof(big)});
    int peer;
    struct conn *c = ws_pair(&peer, 4608);

    (void)state;
    conn_deliver(c, b, 0, b->len, 0, 1);
    ws_close(c, CLOSE_LOST_POSITION);
    net_after((uint64_t)config.close_timeout + 200 * NS_PER_MS);
    assert_int_equal(reactor.connections, 0);
    assert_int_equal(metrics->closes[CLOSE_LOST_POSITION], 1); /* the first reason stands */
    blob_put(&b);
    close(peer);
}

static void test_our_close_answered_badly(void **state)
{
    int peer;

    (void)state;
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
    assert_int_equal(reactor.connections, 0);
    assert_int_equal(metrics->closes[CLOSE_DRAIN], 2);
    close(peer);
}

/* A close in the middle of an incomplete message: the parser goes on to find the peer's close frame. */
static void test_our_close_inside_a_message(void **state)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);

    (void)state;
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

static void test_close_from_message(void **state)
{
    int peer;

    (void)state;
    session.close_with = CLOSE_NOT_PERMITTED;
    ws_pair(&peer, 0);
    net_write(peer, "\x89\x80\0\0\0\0\x82\x80\0\0\0\0\x82\x80\0\0\0\0\x88\x80\0\0\0\0", 24);
    net_steps(2);
    assert_int_equal(session.messages, 1);
    {
        char got[200], want[] = "\x82\x00\x88";
        bool eof;
        size_t n = net_read(peer, got, sizeof(got), &eof);

        assert_true(eof); /* the peer's close frame was in the same read */
        assert_true(n > 10);
        assert_memory_equal(got, want, 3); /* and no pong behind ours */
        assert_int_equal(n, 2 + 4 + strlen(close_row(CLOSE_NOT_PERMITTED)->text));
    }
    close(peer);
}

static void test_close_without_code_kills(void **state)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);

    (void)state;
    ws_close(c, CLOSE_PEER_GONE);
    assert_true(conn_dead(c));
    net_steps(1);
    assert_true(net_at_eof(peer));
    close(peer);
}

static void test_kill_from_message(void **state)
{
    int peer;

    (void)state;
    session.kill = true;
    ws_pair(&peer, 0);
    net_write(peer, "\x82\x80\0\0\0\0\x82\x80\0\0\0\0", 12);
    net_steps(1);
    assert_int_equal(session.messages, 1);
    assert_int_equal(session.releases, 1);
    EXPECT(peer, "\x82\x00");
    close(peer);
}

static void test_eof_when_open(void **state)
{
    int peer;

    (void)state;
    ws_pair(&peer, 0);
    net_write(peer, "\x81\x85\0", 3);
    net_steps(1);
    assert_int_equal(ws_rx_pool_slots_in_use(reactor.rx_pool), 1);
    close(peer);
    net_steps(1);
    assert_int_equal(metrics->closes[CLOSE_PEER_GONE], 1);
    assert_int_equal(ws_rx_pool_slots_in_use(reactor.rx_pool), 0);
    assert_int_equal(session.releases, 1);
}

static void test_ping_and_pong(void **state)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);
    uint64_t interval = (uint64_t)config.ping_interval, pong = (uint64_t)config.pong_timeout;

    (void)state;
    net_after(interval - NS_PER_SEC);
    EXPECT(peer, "");
    net_after(NS_PER_SEC + 200 * NS_PER_MS);
    EXPECT(peer, "\x89\x00");
    assert_int_equal(metrics->pings_out, 1);
    net_after(pong - NS_PER_SEC);
    frame(peer, 0x8a, NULL, 0);
    net_steps(1);
    net_after(2 * NS_PER_SEC);
    assert_int_equal(c->state, CONN_OPEN);
    net_after(interval - NS_PER_SEC); /* since the pong, an interval and a bit */
    EXPECT(peer, "\x89\x00");
    net_after(pong + 300 * NS_PER_MS);
    expect_close(peer, CLOSE_NO_PONG);
    close(peer);
    net_steps(1);
    assert_int_equal(metrics->closes[CLOSE_NO_PONG], 1);
}

/* Any frame is a sign of life, and talking costs no pings. */
static void test_no_ping_while_talking(void **state)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);

    (void)state;
    for (int i = 0; i < 20; i++) {
        net_after((uint64_t)config.ping_interval - NS_PER_SEC);
        frame(peer, 0x82, NULL, 0);
        net_steps(1);
        EXPECT(peer, "\x82\x00");
    }
    assert_int_equal(metrics->pings_out, 0);
    assert_int_equal(c->state, CONN_OPEN);
    close(peer);
}

/* A worker that was stopped for long pings late; the pong's time counts from then. */
static void test_late_ping_gives_the_whole_time(void **state)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);

    (void)state;
    net_after(10 * (uint64_t)config.ping_interval);
    EXPECT(peer, "\x89\x00");
    net_after((uint64_t)config.pong_timeout - NS_PER_SEC);
    assert_int_equal(c->state, CONN_OPEN);
    net_after(NS_PER_SEC + 300 * NS_PER_MS);
    assert_int_equal(c->state, CONN_CLOSING);
    close(peer);
}

static void test_held_is_not_silent(void **state)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);

    (void)state;
    session.allow_bytes = 0;
    text(peer, "waiting in the socket");
    net_steps(1);
    assert_int_equal(c->hold, CONN_HOLD_RING);
    for (int i = 0; i < 200; i++)
        net_after(NS_PER_SEC);
    assert_int_equal(c->state, CONN_OPEN);
    assert_int_equal(metrics->pings_out, 0);
    session.allow_bytes = SIZE_MAX;
    net_steps(1);
    assert_int_equal(session.messages, 1);
    close(peer);
}

/* One byte a second keeps the connection alive, but not the message. */
static void test_trickled_message_is_cut_off(void **state)
{
    static const uint8_t first[] = {0x82, 0xfe, 0x0f, 0xff, 0, 0, 0, 0};
    int peer;
    struct conn *c = ws_pair(&peer, 0);
    int seconds;

    (void)state;
    net_after(10 * NS_PER_SEC);
    net_write(peer, first, sizeof(first));
    net_steps(1);
    for (seconds = 0; seconds < 100 && c->state == CONN_OPEN; seconds++) {
        net_write(peer, "x", 1);
        net_steps(1);
        net_after(NS_PER_SEC);
    }
    assert_true(seconds >= 60 && seconds <= 62);
    expect_close(peer, CLOSE_MESSAGE_TIMEOUT);
    close(peer);
}

static void test_fragments_and_pings_do_not_prolong(void **state)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);
    char got[1000];
    int seconds;

    (void)state;
    frame(peer, 0x01, "a", 1);
    net_steps(1);
    for (seconds = 0; seconds < 100 && c->state == CONN_OPEN; seconds++) {
        frame(peer, 0x00, "a", 1);
        frame(peer, 0x89, "a", 1);
        net_steps(1);
        net_after(NS_PER_SEC);
    }
    assert_true(seconds >= 60 && seconds <= 62);
    assert_true(net_read(peer, got, sizeof(got), NULL) > 0);
    close(peer);
    net_steps(1);
    assert_int_equal(metrics->closes[CLOSE_MESSAGE_TIMEOUT], 1);
}

/* Every read ends inside a message, but never inside the same one. */
static void test_back_to_back_messages_are_not_cut_off(void **state)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);
    char got[1000];

    (void)state;
    net_write(peer, "\x82\x81\0\0", 4);
    net_steps(1);
    for (int i = 0; i < 200; i++) {
        net_write(peer, "\0\0x\x82\x81\0\0", 7);
        net_steps(1);
        net_after(NS_PER_SEC);
    }
    assert_int_equal(c->state, CONN_OPEN);
    assert_int_equal(session.messages, 200);
    assert_true(net_read(peer, got, sizeof(got), NULL) == 600);
    /* The same with pings, that are no messages. */
    net_write(peer, "\0\0x\x89\x81\0\0", 7);
    for (int i = 0; i < 200; i++) {
        net_write(peer, "\0\0x\x89\x81\0\0", 7);
        net_steps(1);
        net_after(NS_PER_SEC);
    }
    assert_int_equal(c->state, CONN_OPEN);
    close(peer);
}

static void test_short_message_timeout_arms_earlier(void **state)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);

    (void)state;
    config.message_timeout = (int64_t)(2 * NS_PER_SEC);
    net_write(peer, "\x82\x81", 2);
    net_steps(1);
    net_after(NS_PER_SEC);
    assert_int_equal(c->state, CONN_OPEN);
    net_after(NS_PER_SEC + 200 * NS_PER_MS);
    assert_int_equal(c->state, CONN_CLOSING);
    expect_close(peer, CLOSE_MESSAGE_TIMEOUT);
    close(peer);
}

static void test_may_read_in_chunks(void **state)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);

    (void)state;
    assert_int_equal(ws_may_read(c, 65536), 65536);
    session.allow_messages = 16384 / 6 + 1;
    assert_int_equal(ws_may_read(c, 65536), 16384);
    session.allow_messages--;
    assert_int_equal(ws_may_read(c, 65536), 4096);
    session.allow_messages = 200;
    assert_int_equal(ws_may_read(c, 65536), 512);
    assert_int_equal(ws_may_read(c, 300), 300);
    session.allow_bytes = 511;
    assert_int_equal(ws_may_read(c, 65536), 0);
    session.allow_bytes = 520; /* what is held of an incomplete message counts */
    net_write(peer, "\x82\x9e\0\0\0\0 ten bytes", 16);
    net_steps(1);
    assert_int_equal(ws_rx_held(&c->rx), 10);
    assert_int_equal(ws_may_read(c, 65536), 0);
    session.allow_bytes = 522;
    assert_int_equal(ws_may_read(c, 65536), 512);
    session.allow_bytes = 0;
    ws_close(c, CLOSE_DRAIN); /* nothing is published any more */
    assert_int_equal(ws_may_read(c, 65536), 65536);
    close(peer);
}

static void test_slow_consumer(void **state)
{
    static char big[50000];
    struct blob *b = blob_from((struct str){big, sizeof(big)});
    int peer;
    struct conn *c = ws_pair(&peer, 4608);

    (void)state;
    config.output_limit = 120000;
    for (int i = 0; i < 10 && reactor.connections > 0; i++) {
        conn_deliver(c, b, 0, b->len, 0, 1);
        net_steps(1);
    }
    assert_int_equal(reactor.connections, 0);
    assert_int_equal(metrics->closes[CLOSE_SLOW], 1);
    assert_int_equal(session.releases, 1);
    assert_int_equal(b->refs, 1);
    blob_put(&b);
    close(peer);
}

static void test_no_memory(void **state)
{
    (void)state;
    for (unsigned long k = 1; k < 20; k++) {
        int peer;
        struct conn *c = ws_pair(&peer, 0);
        bool failed;

        text(peer, "whole");
        frame(peer, 0x01, "frag", 4);
        frame(peer, 0x89, "ping", 4);
        fault_fail_at(k);
        net_steps(1);
        failed = fault_count() >= k;
        fault_reset();
        net_steps(1);
        if (!failed) {
            assert_int_equal(c->state, CONN_OPEN);
            close(peer);
            return;
        }
        close(peer);
        net_steps(2);
        assert_int_equal(reactor.connections, 0);
        assert_int_equal(metrics->closes[CLOSE_NO_MEMORY], k);
        outq_pools_fini();
    }
    fail();
}

static void test_drain_op(void **state)
{
    int peer;

    (void)state;
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

#define WS_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WS_TEST(test_echo),
        WS_TEST(test_byte_by_byte),
        WS_TEST(test_every_split),
        WS_TEST(test_pings_are_answered),
        WS_TEST(test_ping_flood_costs_little),
        WS_TEST(test_peer_closes),
        WS_TEST(test_violations),
        WS_TEST(test_order_before_violation),
        WS_TEST(test_settling_waits),
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
        WS_TEST(test_ping_and_pong),
        WS_TEST(test_no_ping_while_talking),
        WS_TEST(test_late_ping_gives_the_whole_time),
        WS_TEST(test_held_is_not_silent),
        WS_TEST(test_trickled_message_is_cut_off),
        WS_TEST(test_fragments_and_pings_do_not_prolong),
        WS_TEST(test_back_to_back_messages_are_not_cut_off),
        WS_TEST(test_short_message_timeout_arms_earlier),
        WS_TEST(test_may_read_in_chunks),
        WS_TEST(test_slow_consumer),
        WS_TEST(test_no_memory),
        WS_TEST(test_drain_op),
    };

    return cmocka_run_group_tests_name("net/ws", tests, NULL, NULL);
}
