/* codec/ws_rx.c - WebSocket receive side.
 *
 * Two ways through. A frame that lies whole in the input and needs no other to be an item (an
 * unfragmented message, or a control frame even inside a fragmented message) is unmasked and
 * validated where it lies. Everything else goes through a slot: wslay's frame layer follows the
 * frame, this file unmasks and keeps the message.
 *
 * wslay's context is fed the open frame and never a byte beyond, so whenever a frame has ended the
 * context is as new and serves the next one; only when frames of several connections are
 * interleaved is it made again (ws_slot_follow()). */
#include "codec/ws_rx.h"
#include "base/utf8.h"
#include "codec/deflate.h"
#include "codec/ws_tx.h"
#include "ws_slot.h"

/* The arguments of one ws_rx_next(). */
struct call {
    struct ws_rx *rx;
    struct ws_rx_pool *pool;
    const struct ws_rx_limits *limits;
    struct str *in;
    struct ws_item *out;
    enum close_reason *why;
};

static int refuse(struct call *c, enum close_reason why)
{
    *c->why = why;
    return -1;
}

/* --- items --- */

/* Judges as much of a close frame's payload as is there (§5.5.1). */
static int close_check(struct call *c, struct str payload, bool complete)
{
    uint32_t utf8;

    if (payload.n < 2) /* nothing yet, or empty; one byte in all was refused by its header */
        return 0;
    if (!ws_close_code_valid((uint16_t)((uint8_t)payload.p[0] << 8 | (uint8_t)payload.p[1])))
        return refuse(c, CLOSE_CLOSE_PAYLOAD);
    utf8 = utf8_check(UTF8_START, str_skip(payload, 2));
    if (utf8 == UTF8_REJECT || (complete && utf8 != UTF8_START))
        return refuse(c, CLOSE_BAD_UTF8);
    return 0;
}

static int control_item(struct call *c, uint8_t op, struct str payload)
{
    struct ws_item *out = c->out;

    *out = (struct ws_item){.data = payload};
    if (op != WS_OP_CLOSE) {
        c->pool->odd++;
        out->kind = op == WS_OP_PING ? WS_ITEM_PING : WS_ITEM_PONG;
        return 1;
    }
    out->kind = WS_ITEM_CLOSE;
    if (payload.n == 0) {
        out->close_code = 1005; /* §7.1.5 */
        return 1;
    }
    if (close_check(c, payload, true) == -1)
        return -1;
    out->close_code = (uint16_t)((uint8_t)payload.p[0] << 8 | (uint8_t)payload.p[1]);
    out->data = str_skip(payload, 2);
    return 1;
}

/* What the compressed message stands for (RFC 7692 §6.2). */
static int inflated_item(struct call *c, uint8_t op, struct str payload)
{
    const struct inflate_limits limits = {.bytes = c->limits->message, .ratio = c->limits->ratio};
    struct buf *out = &c->pool->inflated;

    if (inflate_message(payload, &limits, out, c->why) == -1)
        return -1;
    if ((op & 0x0f) == WS_OP_TEXT && !utf8_valid(buf_view(out))) {
        buf_fini(out); /* the pool's: whoever comes next would have it before his own */
        return refuse(c, CLOSE_BAD_UTF8);
    }
    *c->out = (struct ws_item){
        .kind = (op & 0x0f) == WS_OP_TEXT ? WS_ITEM_TEXT : WS_ITEM_BINARY,
        .data = buf_view(out),
    };
    c->pool->compressed = payload;
    return 1;
}

static int message_item(struct call *c, uint8_t op, struct str payload)
{
    if (UNLIKELY(op & WS_OP_DEFLATED))
        return inflated_item(c, op, payload);
    *c->out = (struct ws_item){
        .kind = op == WS_OP_TEXT ? WS_ITEM_TEXT : WS_ITEM_BINARY,
        .data = payload,
    };
    return 1;
}

/* --- a frame through a slot --- */

static struct ws_rules rules_of(const struct call *c)
{
    const struct ws_slot *s = c->rx->slot;

    return (struct ws_rules){
        .role = c->pool->role,
        .open = s != NULL && s->op != WS_OP_CONTINUATION,
        .held = s != NULL ? s->payload.len : 0,
        .limits = c->limits,
    };
}

/* One step of wslay over the pool's feed. ws_head_decode() has been through its rules before. */
static int slot_step(struct call *c, struct wslay_frame_iocb *iocb)
{
    ssize_t n = wslay_frame_recv(c->pool->wslay, iocb);

    if (n == WSLAY_ERR_WANT_READ) {
        *iocb = (struct wslay_frame_iocb){0};
        return 0;
    }
    return n < 0 ? refuse(c, CLOSE_FRAME_LENGTH) : 0; /* UNTESTED: it contradicts ws_head.c */
}

static void slot_open_frame(struct ws_slot *s)
{
    s->phase = SLOT_PAYLOAD;
    s->got = 0;
    s->control_len = 0;
    if (!ws_head_control(&s->head) && s->head.op != WS_OP_CONTINUATION) {
        s->op = s->head.op;
        s->utf8 = UTF8_START;
    }
}

/* Takes header bytes. >0 complete, 0 bytes are missing, <0 violation. */
static int slot_head(struct call *c)
{
    struct ws_slot *s = c->rx->slot;
    struct ws_rules rules = rules_of(c);
    enum ws_head_progress progress = ws_head_decode(&s->head, s->raw, s->raw_len, &rules, c->why);

    while (progress != WS_HEAD_COMPLETE) {
        size_t from = s->raw_len, n = MIN(c->in->n, (size_t)s->head.size - from);

        if (n == 0)
            return 0;
        memcpy(s->raw + from, c->in->p, n);
        s->raw_len = (uint8_t)(from + n);
        *c->in = str_skip(*c->in, n);
        progress = ws_head_decode(&s->head, s->raw, s->raw_len, &rules, c->why);
        if (progress == WS_HEAD_BAD)
            return -1;
        if (progress >= WS_HEAD_LENGTH && !ws_head_minimal(&s->head))
            return refuse(c, CLOSE_FRAME_LENGTH);
        if (progress >= WS_HEAD_LENGTH && ws_head_check_limits(&s->head, &rules, c->why) == -1)
            return -1;
    }
    slot_open_frame(s);
    return 1;
}

/* Grows with what has come, never with what a header promises. */
static int slot_append(struct call *c, struct str data)
{
    struct ws_slot *s = c->rx->slot;
    struct ws_rx_pool *p = c->pool;
    size_t room = s->payload.cap - s->payload.len;

    if (data.n > room && p->bytes + (data.n - room) > p->partial_max)
        return refuse(c, CLOSE_NO_MEMORY);
    if (buf_append(&s->payload, data) == -1)
        return refuse(c, CLOSE_NO_MEMORY);
    ws_slot_charge(p, s, SLOT_BYTES + s->payload.cap);
    return 0;
}

/* Unmasked payload of the open frame. */
static int slot_take(struct call *c, struct str data)
{
    struct ws_slot *s = c->rx->slot;

    s->got += data.n;
    if (ws_head_control(&s->head)) {
        memcpy(s->control + s->control_len, data.p, data.n);
        s->control_len = (uint8_t)(s->control_len + data.n);
        if (s->head.op != WS_OP_CLOSE)
            return 0;
        return close_check(c, (struct str){s->control, s->control_len}, false);
    }
    if (s->op == WS_OP_TEXT) {
        s->utf8 = utf8_check(s->utf8, data);
        if (s->utf8 == UTF8_REJECT) /* §8.1: known before the message is complete */
            return refuse(c, CLOSE_BAD_UTF8);
    }
    return slot_append(c, data);
}

/* The open frame is complete. 0: a fragment, more will follow. */
static int slot_end_frame(struct call *c)
{
    struct ws_slot *s = c->rx->slot;
    struct ws_rx_pool *p = c->pool;
    struct ws_head head = s->head;
    uint8_t op = s->op;

    p->frames++;
    s->phase = SLOT_HEAD;
    s->raw_len = 0;
    if (ws_head_control(&head)) {
        struct str payload = {p->control, s->control_len};

        memcpy(p->control, s->control, s->control_len);
        if (op == WS_OP_CONTINUATION) /* not in the middle of a fragmented message */
            ws_slot_detach(p, &c->rx->slot);
        return control_item(c, head.op, payload);
    }
    if (head.fin && head.op != WS_OP_CONTINUATION)
        p->odd += head.len == 0;
    else
        p->odd += head.len < WS_TINY;
    if (!head.fin)
        return 0;
    if (op == WS_OP_TEXT && s->utf8 != UTF8_START)
        return refuse(c, CLOSE_BAD_UTF8);
    p->done = s->payload; /* outlives the slot, until the next call */
    s->payload = (struct buf){0};
    ws_slot_detach(p, &c->rx->slot);
    return message_item(c, op, buf_view(&p->done));
}

static int slot_payload(struct call *c)
{
    struct ws_slot *s = c->rx->slot;
    uint64_t missing = s->head.len - s->got;
    struct str in = {c->in->p, (size_t)MIN((uint64_t)c->in->n, missing)};
    struct wslay_frame_iocb iocb;

    *c->in = str_skip(*c->in, in.n);
    if (s->head.masked)
        ws_mask((char *)in.p, in.n, s->head.key, (size_t)(s->got & 3));
    if (in.n > 0 && ws_slot_follow(c->pool, s, missing) == -1)
        return refuse(c, CLOSE_NO_MEMORY);
    c->pool->feed = in;
    while (c->pool->feed.n > 0) {
        if (slot_step(c, &iocb) == -1)
            return -1;
        if (slot_take(c, (struct str){(const char *)iocb.data, iocb.data_length}) == -1)
            return -1;
    }
    if (s->got < s->head.len)
        return 0;
    if (s->head.len > 0) { /* wslay has been through it and is as new */
        c->pool->following = NULL;
        c->pool->inside = false;
    }
    return slot_end_frame(c);
}

static int slot_run(struct call *c)
{
    if (c->rx->slot->phase == SLOT_HEAD) {
        int rc = slot_head(c);

        if (rc <= 0)
            return rc;
    }
    return slot_payload(c);
}

/* --- a frame where it lies --- */

static int frame_in_place(struct call *c, const struct ws_head *h)
{
    struct str payload = {c->in->p + h->size, (size_t)h->len};

    c->pool->frames++;
    *c->in = str_skip(*c->in, h->size + payload.n);
    if (h->masked) /* the header of ws_rx_next() says that the bytes are writable */
        ws_mask((char *)payload.p, payload.n, h->key, 0);
    if (ws_head_control(h))
        return control_item(c, h->op, payload);
    c->pool->odd += payload.n == 0;
    if (h->op == WS_OP_TEXT && !utf8_valid(payload))
        return refuse(c, CLOSE_BAD_UTF8);
    return message_item(c, h->op, payload);
}

/* Between frames: an item if the next frame is one and lies whole in the input; else 0, and a slot
 * is attached to take it. */
static int frame_next(struct call *c)
{
    struct ws_rules rules = rules_of(c);
    const struct ws_slot *s = c->rx->slot;
    struct ws_head h;
    enum ws_head_progress progress =
        ws_head_decode(&h, (const uint8_t *)c->in->p, c->in->n, &rules, c->why);

    if (progress == WS_HEAD_BAD)
        return -1;
    if (progress >= WS_HEAD_LENGTH) {
        if (!ws_head_minimal(&h))
            return refuse(c, CLOSE_FRAME_LENGTH);
        if (ws_head_check_limits(&h, &rules, c->why) == -1)
            return -1;
    }
    if (progress == WS_HEAD_COMPLETE && h.len <= c->in->n - h.size &&
        (ws_head_control(&h) || (s == NULL && h.fin)))
        return frame_in_place(c, &h);
    if (s == NULL && ws_slot_attach(c->pool, &c->rx->slot) == -1)
        return refuse(c, CLOSE_NO_MEMORY);
    return 0;
}

/* The item last handed out is over. */
static inline void done_fini(struct ws_rx_pool *p)
{
    buf_fini(&p->done);
    if (UNLIKELY(p->compressed.p != NULL)) {
        buf_fini(&p->inflated);
        p->compressed = STR_NULL;
    }
}

int ws_rx_next(struct ws_rx *rx, struct ws_rx_pool *pool, const struct ws_rx_limits *limits,
               struct str *in, struct ws_item *out, enum close_reason *why)
{
    struct call c = {rx, pool, limits, in, out, why};
    int rc = 0;

    done_fini(pool);
    while (rc == 0 && in->n > 0) {
        if (ws_slot_is_clean(rx->slot))
            rc = frame_next(&c);
        if (rc == 0)
            rc = slot_run(&c);
    }
    if (rc < 0)
        ws_rx_fini(rx, pool);
    return rc;
}

/* --- messages that wait --- */

int ws_rx_set_aside(struct ws_rx *rx, struct ws_rx_pool *p, const struct ws_item *item,
                    struct str rest)
{
    struct str compressed = p->compressed;
    bool deflated = compressed.p != NULL;
    struct ws_slot *s;

    if (ws_slot_attach(p, &rx->slot) == -1)
        return -1;
    s = rx->slot;
    s->phase = SLOT_ASIDE;
    s->op = (uint8_t)((item->kind == WS_ITEM_TEXT ? WS_OP_TEXT : WS_OP_BINARY) |
                      (deflated ? WS_OP_DEFLATED : 0));
    s->aside = item->data.n;
    if (buf_append(&s->payload, deflated ? compressed : item->data) == 0 &&
        buf_append(&s->rest, rest) == 0) {
        ws_slot_charge(p, s, SLOT_BYTES + s->payload.cap + s->rest.cap);
        if (p->bytes <= p->partial_max)
            return 0;
    }
    ws_slot_detach(p, &rx->slot);
    return -1;
}

bool ws_rx_aside(const struct ws_rx *rx)
{
    return rx->slot != NULL && rx->slot->phase == SLOT_ASIDE;
}

size_t ws_rx_aside_size(const struct ws_rx *rx)
{
    return rx->slot->aside;
}

int ws_rx_resume(struct ws_rx *rx, struct ws_rx_pool *pool, const struct ws_rx_limits *limits,
                 struct buf *rest, struct ws_item *out, enum close_reason *why)
{
    struct call c = {.rx = rx, .pool = pool, .limits = limits, .out = out, .why = why};
    struct ws_slot *s = rx->slot;
    uint8_t op = s->op;

    done_fini(pool);
    pool->done = s->payload;
    *rest = s->rest;
    s->payload = s->rest = (struct buf){0};
    ws_slot_detach(pool, &rx->slot);
    return message_item(&c, op, buf_view(&pool->done));
}

/* --- the rest --- */

bool ws_rx_partial(const struct ws_rx *rx)
{
    return rx->slot != NULL;
}

struct str ws_rx_compressed(const struct ws_rx_pool *p)
{
    return p->compressed;
}

size_t ws_rx_held(const struct ws_rx *rx)
{
    return rx->slot == NULL ? 0 : rx->slot->payload.len;
}

uint64_t ws_rx_cost(const struct ws_rx *rx)
{
    return rx->slot == NULL ? 0 : rx->slot->charged;
}

struct holder *ws_rx_holder(struct ws_rx *rx)
{
    return rx->slot == NULL ? NULL : &rx->slot->holder;
}

void ws_rx_fini(struct ws_rx *rx, struct ws_rx_pool *pool)
{
    if (rx->slot != NULL)
        ws_slot_detach(pool, &rx->slot);
}
