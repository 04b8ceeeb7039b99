/* Happy path of a message: ws_input() · ws_rx_next() finds it · session_ops.message().
 * Happy path of an end by the peer: its close frame · SETTLING, until its own publications have
 * come back · our close frame with the same code · conn_finish(). can fail: no settling in time
 * (the close frame goes without waiting).
 * Happy path of an end by us: our close frame, state CLOSING · the peer's · conn_finish(). can
 * fail: the peer does not answer (finished all the same) or does not read (killed). */
#include "net/ws.h"

#include "base/config.h"
#include "base/metrics.h"
#include "net/glitch.h"
#include "net/partial.h"
#include "net_internal.h"
#include "ws_internal.h"

/* What one input is answered with, pongs and the session's messages, is sent together: a flood of
 * empty pings must not become a flood of tiny queue entries. */
static struct {
    struct conn *conn; /* borrowed; whose input is being taken, NULL: nobody's */
    size_t n;
    char p[32 * (2 + WS_CONTROL_MAX)];
} answers;

/* Writes a control frame; returns its length. */
static size_t control_frame(enum ws_opcode op, const void *payload, size_t n, char *out)
{
    uint8_t header[WS_HEADER_MAX];
    size_t len = ws_tx_header(op, n, header);

    memcpy(out, header, len);
    if (n > 0)
        memcpy(out + len, payload, n);
    return len + n;
}

static void count_frame_out(struct conn *c)
{
    c->frames_out++;
    METRIC_INC(frames_out);
}

static void count_frames_in(struct conn *c, uint64_t frames)
{
    c->frames_in += (uint32_t)frames;
    METRIC_ADD(frames_in, frames);
}

int ws_send_control(struct conn *c, enum ws_opcode op, const void *payload, size_t n)
{
    char frame[2 + WS_CONTROL_MAX];

    count_frame_out(c);
    return conn_send(c, (struct str){frame, control_frame(op, payload, n, frame)});
}

static int send_close(struct conn *c, uint16_t code, struct str text)
{
    uint8_t payload[WS_CONTROL_MAX];

    c->close_code = code;
    c->flags |= CONN_TOLD;
    return ws_send_control(c, WS_OP_CLOSE, payload, ws_tx_close_payload(code, text, payload));
}

static void answers_send(struct conn *c)
{
    size_t n = answers.n;

    if (answers.conn != c)
        return;
    answers.n = 0;
    /* Behind our close frame nothing may follow (RFC 6455 §5.5.1). */
    if (n > 0 && c->state == CONN_OPEN)
        (void)!conn_send(c, (struct str){answers.p, n}); /* killed: the caller looks */
}

/* Room for a frame of so many bytes, which is no longer than all there is. */
static char *answers_reserve(struct conn *c, size_t n)
{
    char *at;

    if (sizeof(answers.p) - answers.n < n)
        answers_send(c);
    at = answers.p + answers.n;
    answers.n += n;
    return at;
}

static void ws_pong(struct conn *c, struct str payload)
{
    count_frame_out(c);
    control_frame(WS_OP_PONG, payload.p, payload.n, answers_reserve(c, 2 + payload.n));
}

/* A message that is not gathered: it is long, or nobody's input asked for it. */
static int send_now(struct conn *c, const uint8_t *header, size_t len, struct str data)
{
    struct blob *b = blob_new(len + data.n);
    int rc;

    if (b == NULL) {
        conn_kill(c, CLOSE_NO_MEMORY);
        return -1;
    }
    memcpy(b->data, header, len);
    if (data.n > 0)
        memcpy(b->data + len, data.p, data.n);
    rc = conn_send_blob(c, b, 0, b->len);
    blob_put(&b);
    return rc;
}

int ws_send(struct conn *c, struct str data, bool binary)
{
    uint8_t header[WS_HEADER_MAX];
    bool deflated = UNLIKELY(conn_deflate(c) != 0) && ws_deflate(c, &data);
    size_t len = ws_tx_header(binary ? WS_OP_BINARY : WS_OP_TEXT, data.n, header);
    bool gathered = answers.conn == c && len + data.n <= sizeof(answers.p);
    char *at;

    if (UNLIKELY(deflated))
        ws_tx_deflated(header);
    if (!gathered)
        answers_send(c);
    if (c->state != CONN_OPEN)
        return -1;
    count_frame_out(c);
    if (!gathered)
        return send_now(c, header, len, data);
    at = answers_reserve(c, len + data.n);
    memcpy(at, header, len);
    if (data.n > 0)
        memcpy(at + len, data.p, data.n);
    return c->state == CONN_OPEN ? 0 : -1;
}

void ws_open(struct conn *c)
{
    uint64_t own = UINT64_MAX;

    conn_set_state(c, CONN_OPEN);
    c->heard = reactor->tick;
    if (ws_session(c)->deadline != NULL)
        own = ws_session(c)->deadline(c);
    conn_arm(c, MIN(own, (uint64_t)config.ping_interval));
}

/* The reason as the session puts it. */
static enum close_reason ws_reason(const struct conn *c, enum close_reason why)
{
    return ws_session(c)->reason != NULL ? ws_session(c)->reason(why) : why;
}

void ws_end(struct conn *c, enum close_reason why, uint16_t code, struct str text)
{
    answers_send(c);
    if (c->state == CONN_SETTLING && why == CLOSE_LOST_POSITION)
        ws_settled(c); /* what it waits for has a gap: it gets none of what is behind that */
    if (c->state != CONN_OPEN)
        return;
    if (code == 0) {
        conn_kill(c, why);
        return;
    }
    c->reason = (uint8_t)why;
    conn_set_state(c, CONN_CLOSING);
    /* Nothing that is read from now on is answered or published; only the peer's close frame
     * counts. */
    conn_release_hold(c, CONN_HOLD_RING | CONN_HOLD_ANSWER | CONN_HOLD_OUTPUT);
    conn_arm(c, (uint64_t)config.close_timeout);
    (void)!send_close(c, code, text); /* -1: killed, which is an end as well */
}

void ws_close(struct conn *c, enum close_reason why)
{
    const struct close_row *row;

    why = ws_reason(c, why);
    row = close_row(why);
    ws_end(c, why, row->code, str_from(row->text));
}

/* The peer's input has come to its end: a close frame, or a violation behind which nothing can be
 * parsed (RFC 6455 §7.1.7). */
static void ws_settle(struct conn *c, enum close_reason why)
{
    const struct session_ops *session = ws_session(c);

    c->reason = (uint8_t)ws_reason(c, why);
    conn_set_state(c, CONN_SETTLING);
    conn_hold(c, CONN_HOLD_ENDED);
    ws_rx_fini(&c->rx, reactor->rx_pool);
    conn_arm(c, SETTLE_MAX_NS);
    if (session->closing == NULL || session->closing(c, false) || settle_begin(c) == -1)
        ws_settled(c);
}

void ws_settled(struct conn *c)
{
    const struct close_row *row = close_row(c->reason);
    int rc;

    if (c->state != CONN_SETTLING)
        return;
    /* "Typically echoes the status code it received", RFC 6455 §5.5.1. */
    if (c->reason == CLOSE_PEER_CLOSED)
        rc = send_close(c, (uint16_t)c->close_code, STR_NULL);
    else
        rc = send_close(c, row->code, str_from(row->text));
    if (rc == 0)
        conn_finish(c, c->reason);
}

static void ws_take_message(struct conn *c, const struct ws_item *item)
{
    METRIC_INC(messages_in);
    METRIC_ADD(message_bytes_in, item->data.n);
    TRACE(message, c->id, STR_NULL, item->data.n, item->kind == WS_ITEM_BINARY);
    if (c->state == CONN_OPEN) /* what follows our close frame is ignored */
        ws_session(c)->message(c, item->data, item->kind == WS_ITEM_BINARY);
}

static void ws_take_close(struct conn *c, const struct ws_item *item)
{
    if (c->state == CONN_CLOSING) { /* the answer to ours */
        conn_finish(c, c->reason);
        return;
    }
    answers_send(c);
    if (conn_dead(c))
        return;
    c->close_code = item->close_code;
    ws_settle(c, CLOSE_PEER_CLOSED);
}

static void ws_take(struct conn *c, const struct ws_item *item)
{
    switch (item->kind) {
    case WS_ITEM_TEXT:
    case WS_ITEM_BINARY:
        ws_take_message(c, item);
        break;
    case WS_ITEM_PING:
        if (c->state == CONN_OPEN)
            ws_pong(c, item->data);
        break;
    case WS_ITEM_PONG: /* a sign of life, as everything is */
        break;
    case WS_ITEM_CLOSE:
        ws_take_close(c, item);
        break;
    }
}

static void ws_violated(struct conn *c, enum close_reason why)
{
    if (c->state == CONN_CLOSING) { /* no close frame can be found any more */
        conn_finish(c, c->reason);
        return;
    }
    answers_send(c);
    if (!conn_dead(c))
        ws_settle(c, why);
}

/* Is it still of interest what the peer says? */
static bool ws_listens(const struct conn *c)
{
    return c->state == CONN_OPEN || c->state == CONN_CLOSING;
}

void ws_partial_over(struct conn *c, enum close_reason why)
{
    ws_rx_fini(&c->rx, reactor->rx_pool);
    if (ws_listens(c)) /* and where the next frame begins cannot be found any more */
        ws_violated(c, why);
}

/* A message is incomplete that was not before: its deadline counts from here. */
static void ws_message_begun(struct conn *c)
{
    uint32_t ticks = (uint32_t)((uint64_t)config.message_timeout / WHEEL_TICK_NS) + 1;

    c->begun = reactor->tick;
    if ((int32_t)(c->deadline.tick - (reactor->tick + ticks)) > 0)
        conn_arm(c, (uint64_t)config.message_timeout);
}

static struct ws_rx_limits ws_limits(const struct conn *c)
{
    const int64_t *own = ws_session(c)->message_max;
    int64_t all = config.max_message_size;
    uint64_t message = (uint64_t)(own != NULL ? MIN(*own, all) : all);

    return (struct ws_rx_limits){.frame = (uint64_t)config.max_frame_size,
                                 .message = message,
                                 .ratio = (uint64_t)config.compression_max_ratio,
                                 .deflate = conn_deflate(c) != 0};
}

static void ws_take_input(struct conn *c, struct str in)
{
    const struct ws_rx_limits limits = ws_limits(c);
    bool same = ws_rx_partial(&c->rx); /* one incomplete message from before, all the way */
    uint64_t frames = ws_rx_pool_frames(reactor->rx_pool), odd = ws_rx_pool_odd(reactor->rx_pool);
    bool tiny = in.n < WS_TINY;
    enum close_reason why = CLOSE_NONE;
    struct ws_item item;
    int rc = 0;

    c->flags &= (uint16_t)~CONN_PINGED;
    while (ws_listens(c) &&
           (rc = ws_rx_next(&c->rx, reactor->rx_pool, &limits, &in, &item, &why)) > 0) {
        same = same && ws_rx_partial(&c->rx); /* true only behind a control frame in its middle */
        if (UNLIKELY(limits.deflate) && !ws_deflate_takes(c, &item)) {
            rc = ws_set_aside(c, &item, in, &why);
            break;
        }
        ws_take(c, &item);
    }
    count_frames_in(c, ws_rx_pool_frames(reactor->rx_pool) - frames);
    if (!ws_listens(c))
        return;
    odd = ws_rx_pool_odd(reactor->rx_pool) - odd + (same && tiny && ws_rx_partial(&c->rx));
    if (UNLIKELY(odd > 0))
        glitch_note(c, (uint32_t)odd);
    if (rc == 0 && ws_rx_partial(&c->rx)) {
        why = partial_hold(c, ws_rx_holder(&c->rx), ws_rx_cost(&c->rx));
        rc = why == CLOSE_NONE ? 0 : -1;
    }
    if (rc < 0) {
        ws_violated(c, why);
        return;
    }
    answers_send(c);
    if (c->state == CONN_OPEN && !same && ws_rx_partial(&c->rx))
        ws_message_begun(c);
}

void ws_input(struct conn *c, struct str in)
{
    answers.conn = c;
    answers.n = 0;
    ws_take_input(c, in);
    answers.conn = NULL;
}

void ws_eof(struct conn *c)
{
    if (c->state == CONN_CLOSING)
        conn_finish(c, c->reason);
    else
        conn_kill(c, CLOSE_PEER_GONE);
}

/* Goes on with what is aside. False: it is still, or nothing more may be read. */
static bool ws_go_on(struct conn *c)
{
    const struct ws_rx_limits limits = ws_limits(c);
    enum close_reason why = CLOSE_NONE;
    struct buf rest = {0};
    struct ws_item item;

    if (!ws_deflate_has_room(c, ws_rx_aside_size(&c->rx)))
        return false;
    answers.conn = c;
    answers.n = 0;
    if (ws_rx_resume(&c->rx, reactor->rx_pool, &limits, &rest, &item, &why) < 0) {
        ws_violated(c, why);
    } else {
        ws_take(c, &item);
        if (ws_listens(c))
            ws_take_input(c, buf_view(&rest));
    }
    answers.conn = NULL;
    buf_fini(&rest);
    return ws_listens(c) && !ws_rx_aside(&c->rx) && (c->hold & ~CONN_HOLD_RING) == 0;
}

/* The worst case of one read: as many messages as empty masked frames fit, and one that was
 * incomplete. */
static bool ws_may_read_chunk(struct conn *c, size_t chunk)
{
    const size_t smallest_frame = 6;

    return ws_session(c)->may_publish(c, chunk + ws_rx_held(&c->rx), chunk / smallest_frame + 1);
}

size_t ws_may_read(struct conn *c, size_t want)
{
    /* The worst case reserves many times what is read, so a refused large read may be a possible
     * small one. */
    static const size_t chunks[] = {16384, 4096, 512};

    if (UNLIKELY(conn_deflate(c) != 0)) {
        if (ws_rx_aside(&c->rx) && !ws_go_on(c))
            return 0;
        /* Each message is asked for when it has come; but there should be room for some. */
        return ws_deflate_has_room(c, chunks[0]) ? want : 0;
    }
    if (c->state != CONN_OPEN || ws_session(c)->may_publish == NULL || ws_may_read_chunk(c, want))
        return want;
    for (size_t i = 0; i < ARRAY_LEN(chunks); i++)
        if (chunks[i] < want && ws_may_read_chunk(c, chunks[i]))
            return chunks[i];
    return 0;
}

void ws_slow(struct conn *c, enum close_reason why)
{
    if (c->state == CONN_CLOSING) /* bounded by its deadline */
        return;
    METRIC_ADD(drops_disconnect, conn_drop_publications(c));
    if (c->out != NULL)
        conn_restart_age(c);
    if (c->state == CONN_SETTLING)
        ws_settled(c);
    else
        ws_close(c, why);
}

void ws_drain(struct conn *c)
{
    ws_close(c, CLOSE_DRAIN);
}

void ws_release(struct conn *c)
{
    const struct session_ops *session = ws_session(c);

    ws_rx_fini(&c->rx, reactor->rx_pool);
    if (session->release != NULL)
        session->release(c);
}
