/* tests/unit/net/ws_harness.h - a session that echoes, and frames by hand. Include behind net/ws.c.
 */
#ifndef TESTS_NET_WS_HARNESS_H
#define TESTS_NET_WS_HARNESS_H

#include "core/broker.h"
#include "net/outq.h"
#include "net_harness.h"

/* A session that echoes at once, and can be told that something is on its way back to it. */
static struct {
    unsigned messages, settles, releases;
    unsigned waits;      /* closing() answers false so often */
    unsigned close_with; /* enum close_reason for the next message */
    bool kill;
    size_t allow_bytes, allow_messages; /* may_publish() */
    unsigned asked;
} session;

static UNUSED void echo_message(struct conn *c, struct str data, bool binary)
{
    uint8_t header[WS_HEADER_MAX];
    size_t n = ws_tx_header(binary ? WS_OP_BINARY : WS_OP_TEXT, data.n, header);
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

static UNUSED bool echo_may_publish(struct conn *c UNUSED, size_t bytes, size_t messages)
{
    session.asked++;
    return bytes <= session.allow_bytes && messages <= session.allow_messages;
}

static UNUSED bool echo_closing(struct conn *c UNUSED, bool fenced UNUSED)
{
    session.settles++;
    if (session.waits == 0)
        return true;
    session.waits--;
    return false;
}

static UNUSED void echo_release(struct conn *c UNUSED)
{
    session.releases++;
}

static UNUSED const struct session_ops echo_session_ops = {
    .message = echo_message,
    .may_publish = echo_may_publish,
    .closing = echo_closing,
    .release = echo_release,
};

static UNUSED const struct conn_ops echo_ops = {
    .name = "echo", .session = &echo_session_ops, .release = ws_release, WS_CONN_OPS};

/* A hub's end of the link, where fences arrive. */
static struct ring_shared *to_hub, *from_hub;

#define WS_RING 4096

static UNUSED struct ring_shared *ws_ring(void)
{
    struct ring_shared *r = aligned_alloc(CACHE_LINE, (ring_bytes(WS_RING) + 63) / 64 * 64);

    assert_non_null(r);
    ring_format(r, WS_RING);
    return r;
}

static UNUSED void ws_start_broker(void)
{
    struct broker_config cfg = {
        .generation = 1, .ring_capacity = WS_RING, .tasks = &reactor->tasks};

    cfg.to_hub = to_hub = ws_ring();
    cfg.from_hub = from_hub = ws_ring();
    reactor_set_broker(broker_new(&cfg));
    assert_non_null(reactor->broker);
}

static UNUSED int ws_setup(void **state)
{
    memset(&session, 0, sizeof(session));
    session.allow_bytes = session.allow_messages = SIZE_MAX;
    return net_setup(state);
}

static UNUSED int ws_teardown(void **state)
{
    struct broker *broker = reactor->broker;
    int rc = net_teardown(state);

    broker_free(broker);
    free(to_hub);
    free(from_hub);
    to_hub = from_hub = NULL;
    return rc;
}

static UNUSED struct conn *ws_pair(int *peer, int send_buffer)
{
    struct conn *c = net_pair(peer, &echo_ops, send_buffer);

    ws_open(c);
    return c;
}

/* Sends one masked frame; first: its first byte (FIN, RSV, opcode). */
static UNUSED void frame(int peer, uint8_t first, const void *payload, size_t n)
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

static UNUSED void text(int peer, const char *s)
{
    frame(peer, 0x81, s, strlen(s));
}

static UNUSED void expect_bytes(int peer, const void *want, size_t n)
{
    char got[8192];

    assert_int_equal(net_read(peer, got, sizeof(got), NULL), n);
    assert_memory_equal(got, want, n);
}

#define EXPECT(peer, literal) expect_bytes((peer), (literal), sizeof(literal) - 1)

/* A close frame with the row's code and text has come, and nothing before it. */
static UNUSED void expect_close(int peer, enum close_reason why)
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

#define WS_TEST(fn) cmocka_unit_test_setup_teardown(fn, ws_setup, ws_teardown)

#endif
