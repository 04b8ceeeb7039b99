/* codec/ws_rx.c - WebSocket receive side.
 *
 * Two ways through. A frame that lies whole in the input and needs no other to be an item (an
 * unfragmented message, or a control frame even inside a fragmented message) is unmasked and
 * validated where it lies. Everything else goes through a slot: wslay's frame layer follows the
 * frame, this file keeps the message.
 *
 * A slot's wslay context is fed the open frame's header and payload and never a byte beyond, so
 * whenever a frame has ended the context is as new and may serve another connection. */
#include <wslay/wslay.h>

#include "base/list.h"
#include "codec/utf8.h"
#include "codec/ws_rx.h"
#include "codec/ws_tx.h"
#include "ws_head.h"

/* What an attached slot costs before it holds payload: itself and wslay's context (4256 bytes),
 * with the allocator's share. Counted, so that many frames of which one byte has come are bounded
 * too. */
#define SLOT_BYTES 4608
/* Slots kept for reuse; what a burst needed beyond is freed. */
#define SLOTS_SPARE 128

enum slot_phase {
    SLOT_HEAD = 0, /* the header is incomplete; with no byte of it, between frames */
    SLOT_PAYLOAD
};

struct ws_slot {
    struct list link;              /* in ws_rx_pool.spare while not attached */
    wslay_frame_context_ptr wslay; /* owned; its user_data is this slot */
    struct str feed;               /* what wslay may take; borrowed until the call ends */
    struct ws_head head;           /* of the open frame */
    uint8_t phase;                 /* enum slot_phase */
    uint8_t raw_len;
    uint8_t raw[WS_HEADER_MAX]; /* the open frame's header so far */
    uint8_t op;                 /* of the open message, WS_OP_CONTINUATION if none */
    uint8_t control_len;
    char control[WS_CONTROL_MAX]; /* payload of the open control frame */
    uint32_t utf8;                /* of the open text message */
    uint64_t got;                 /* payload bytes of the open frame */
    uint64_t charged;             /* share in ws_rx_pool.bytes */
    struct buf payload;           /* owned; of the open message */
};

struct ws_rx_pool {
    enum ws_role role;
    uint64_t partial_max;
    uint64_t bytes;  /* all attached slots' shares */
    uint64_t frames; /* complete ones, fragments too; counts */
    size_t in_use;
    size_t allocated;
    size_t spare_count;
    struct list spare;            /* owned; clean slots */
    struct buf done;              /* owned; the item last handed out, if it came through a slot */
    char control[WS_CONTROL_MAX]; /* the same for a control frame */
};

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

static int message_item(struct call *c, uint8_t op, struct str payload)
{
    *c->out = (struct ws_item){
        .kind = op == WS_OP_TEXT ? WS_ITEM_TEXT : WS_ITEM_BINARY,
        .data = payload,
    };
    return 1;
}

/* --- slots --- */

/* A slot that is between frames; so is a connection without one. */
static bool slot_is_clean(const struct ws_slot *s)
{
    return s == NULL || (s->phase == SLOT_HEAD && s->raw_len == 0);
}

/* wslay asks for input: hands it what the current step allows. */
static ssize_t slot_recv(uint8_t *buf, size_t len, int flags UNUSED, void *user_data)
{
    struct ws_slot *s = user_data;
    size_t n = MIN(len, s->feed.n);

    if (n == 0)
        return -1; /* to wslay: nothing now */
    memcpy(buf, s->feed.p, n);
    s->feed = str_skip(s->feed, n);
    return (ssize_t)n;
}

static struct ws_slot *slot_new(struct ws_rx_pool *p)
{
    static const struct wslay_frame_callbacks callbacks = {.recv_callback = slot_recv};
    struct ws_slot *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return NULL;
    if (wslay_frame_context_init(&s->wslay, &callbacks, s) != 0) {
        free(s);
        return NULL;
    }
    list_init(&s->link);
    p->allocated++;
    return s;
}

static void slot_free(struct ws_rx_pool *p, struct ws_slot *s)
{
    wslay_frame_context_free(s->wslay);
    buf_fini(&s->payload);
    free(s);
    p->allocated--;
}

static void slot_charge(struct ws_rx_pool *p, struct ws_slot *s, uint64_t bytes)
{
    p->bytes = p->bytes - s->charged + bytes;
    s->charged = bytes;
}

static int slot_attach(struct call *c)
{
    struct ws_rx_pool *p = c->pool;
    struct list *spare;
    struct ws_slot *s;

    if (p->bytes + SLOT_BYTES > p->partial_max)
        return refuse(c, CLOSE_NO_MEMORY);
    spare = list_pop(&p->spare);
    if (spare != NULL) {
        p->spare_count--;
        s = LIST_ENTRY(spare, struct ws_slot, link);
    } else {
        s = slot_new(p);
        if (s == NULL)
            return refuse(c, CLOSE_NO_MEMORY);
    }
    slot_charge(p, s, SLOT_BYTES);
    p->in_use++;
    c->rx->slot = s;
    return 0;
}

/* A slot that is given up inside a frame is freed: wslay has no reset, and is stuck after
 * WSLAY_ERR_PROTO. */
static void slot_detach(struct ws_rx_pool *p, struct ws_slot **slot)
{
    struct ws_slot *s = *slot;

    *slot = NULL;
    slot_charge(p, s, 0);
    p->in_use--;
    if (!slot_is_clean(s) || p->spare_count == SLOTS_SPARE) {
        slot_free(p, s);
        return;
    }
    buf_fini(&s->payload);
    s->op = WS_OP_CONTINUATION;
    list_prepend(&p->spare, &s->link); /* the one used last is the one in the cache */
    p->spare_count++;
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

/* One step of wslay over s->feed. What it refuses here is a length: it also knows rules on control
 * frames, but ws_head_decode() has been through them. */
static int slot_step(struct call *c, struct wslay_frame_iocb *iocb)
{
    ssize_t n = wslay_frame_recv(c->rx->slot->wslay, iocb);

    if (n == WSLAY_ERR_WANT_READ) {
        *iocb = (struct wslay_frame_iocb){0};
        return 0;
    }
    return n < 0 ? refuse(c, CLOSE_FRAME_LENGTH) : 0;
}

static void slot_open_frame(struct ws_slot *s)
{
    s->phase = SLOT_PAYLOAD;
    s->got = 0;
    s->control_len = 0;
    if (s->head.op == WS_OP_TEXT || s->head.op == WS_OP_BINARY) {
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
    struct wslay_frame_iocb iocb;

    while (progress != WS_HEAD_COMPLETE) {
        if (c->in->n == 0)
            return 0;
        s->feed = (struct str){c->in->p, MIN(c->in->n, (size_t)s->head.size - s->raw_len)};
        memcpy(s->raw + s->raw_len, s->feed.p, s->feed.n);
        s->raw_len = (uint8_t)(s->raw_len + s->feed.n);
        *c->in = str_skip(*c->in, s->feed.n);
        progress = ws_head_decode(&s->head, s->raw, s->raw_len, &rules, c->why);
        if (progress == WS_HEAD_BAD || slot_step(c, &iocb) == -1)
            return -1;
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
    slot_charge(p, s, SLOT_BYTES + s->payload.cap);
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
            slot_detach(p, &c->rx->slot);
        return control_item(c, head.op, payload);
    }
    if (!head.fin)
        return 0;
    if (op == WS_OP_TEXT && s->utf8 != UTF8_START)
        return refuse(c, CLOSE_BAD_UTF8);
    p->done = s->payload; /* outlives the slot, until the next call */
    s->payload = (struct buf){0};
    slot_detach(p, &c->rx->slot);
    return message_item(c, op, buf_view(&p->done));
}

static int slot_payload(struct call *c)
{
    struct ws_slot *s = c->rx->slot;
    uint64_t missing = s->head.len - s->got;
    struct wslay_frame_iocb iocb;

    s->feed = (struct str){c->in->p, (size_t)MIN((uint64_t)c->in->n, missing)};
    *c->in = str_skip(*c->in, s->feed.n);
    while (s->feed.n > 0) {
        if (slot_step(c, &iocb) == -1)
            return -1;
        if (slot_take(c, (struct str){(const char *)iocb.data, iocb.data_length}) == -1)
            return -1;
    }
    return s->got == s->head.len ? slot_end_frame(c) : 0;
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
    return s == NULL ? slot_attach(c) : 0;
}

int ws_rx_next(struct ws_rx *rx, struct ws_rx_pool *pool, const struct ws_rx_limits *limits,
               struct str *in, struct ws_item *out, enum close_reason *why)
{
    struct call c = {rx, pool, limits, in, out, why};
    int rc = 0;

    buf_fini(&pool->done);
    while (rc == 0 && in->n > 0) {
        if (slot_is_clean(rx->slot))
            rc = frame_next(&c);
        if (rc == 0)
            rc = slot_run(&c);
    }
    if (rc < 0)
        ws_rx_fini(rx, pool);
    return rc;
}

/* --- the rest --- */

bool ws_rx_partial(const struct ws_rx *rx)
{
    return rx->slot != NULL;
}

size_t ws_rx_held(const struct ws_rx *rx)
{
    return rx->slot == NULL ? 0 : rx->slot->payload.len;
}

void ws_rx_fini(struct ws_rx *rx, struct ws_rx_pool *pool)
{
    if (rx->slot != NULL)
        slot_detach(pool, &rx->slot);
}

struct ws_rx_pool *ws_rx_pool_new(enum ws_role role, uint64_t partial_max)
{
    struct ws_rx_pool *p = calloc(1, sizeof(*p));

    if (p == NULL) {
        fputs("out of memory: WebSocket receive pool\n", stderr);
        exit(EXIT_FAILURE);
    }
    p->role = role;
    p->partial_max = partial_max;
    list_init(&p->spare);
    return p;
}

void ws_rx_pool_free(struct ws_rx_pool *p)
{
    struct list *spare;

    if (p == NULL)
        return;
    while ((spare = list_pop(&p->spare)) != NULL)
        slot_free(p, LIST_ENTRY(spare, struct ws_slot, link));
    buf_fini(&p->done);
    free(p);
}

void ws_rx_pool_set_partial_max(struct ws_rx_pool *p, uint64_t partial_max)
{
    p->partial_max = partial_max;
}

size_t ws_rx_pool_slots_in_use(const struct ws_rx_pool *p)
{
    return p->in_use;
}

size_t ws_rx_pool_slots_allocated(const struct ws_rx_pool *p)
{
    return p->allocated;
}

uint64_t ws_rx_pool_frames(const struct ws_rx_pool *p)
{
    return p->frames;
}

uint64_t ws_rx_pool_partial_bytes(const struct ws_rx_pool *p)
{
    return p->bytes;
}
