/* A connection's output is in one of four places: nothing queued (out == NULL) · queued in this
 * turn (dirty list, flushed in step 5) · more queued than one sendmsg() takes (dirty list, next
 * turn) · refused by the socket (stalled list and EV_WRITE). The stalled list is in order of last
 * progress, so that the sweep looks at its head only. */
#include "base/clock.h"
#include "base/config.h"
#include "base/metrics.h"
#include "net/outq.h"
#include "net_internal.h"
#include "tcp.h"

#define FLUSH_IOVEC 64
/* Flushes between two looks at the clock. */
#define FLUSH_SLICE 32

static bool conn_may_send_now(const struct conn *c)
{
    return c->out == NULL && c->sent_turn != (uint32_t)reactor->turn;
}

/* Bytes the transport took, 0 when it takes none now, -1: killed. */
static inline ssize_t conn_send_now(struct conn *c, const char *p, size_t n)
{
    ssize_t sent = transport_send(c, p, n);

    c->sent_turn = (uint32_t)reactor->turn;
    METRIC_INC(writes);
    if (UNLIKELY(sent < 0)) {
        conn_broken(c, sent);
        return -1;
    }
    METRIC_ADD(written_bytes, (uint64_t)sent);
    return sent;
}

static void conn_queue_long(struct conn *c)
{
    slow_note(c);
    /* In CLOSING nothing is answered any more, and the peer's end is what we wait for. */
    if (c->state != CONN_CLOSING)
        conn_hold(c, CONN_HOLD_OUTPUT);
}

static int conn_out_append(struct conn *c, struct blob *b, uint32_t offset, uint32_t end,
                           uint32_t items, uint64_t tag)
{
    if (c->out == NULL)
        c->out = outq_new(&reactor->output, c, reactor_ns());
    if (c->out == NULL)
        return -1;
    return tag == 0 ? outq_append(c->out, b, offset, end, items)
                    : outq_append_newest(c->out, b, offset, end, tag);
}

/* items: publications; 0: something else. tag: of conn_deliver_newest(), or 0. */
static int conn_queue_as(struct conn *c, struct blob *b, uint32_t offset, uint32_t end,
                         uint32_t items, uint64_t tag)
{
    if (conn_out_append(c, b, offset, end, items, tag) == -1) {
        conn_kill(c, CLOSE_NO_MEMORY);
        return -1;
    }
    if (!list_linked(&c->out->link))
        list_append(&reactor->dirty, &c->out->link);
    if (outq_cost(c->out) >= (size_t)config.output_limit)
        conn_queue_long(c);
    return 0;
}

static int conn_queue(struct conn *c, struct blob *b, uint32_t offset, uint32_t end, uint32_t items)
{
    return conn_queue_as(c, b, offset, end, items, 0);
}

/* The socket takes no more: wait until it says that it is writable. */
static void conn_stall(struct conn *c, bool progress)
{
    if (!(c->flags & CONN_OUT_STALLED) || progress) {
        list_remove(&c->out->link);
        list_append(&reactor->stalled, &c->out->link);
    }
    if (TRACE_WANTED(stall) && !(c->flags & CONN_OUT_STALLED))
        conn_trace_stall(c);
    c->flags |= CONN_OUT_STALLED;
    conn_update_events(c);
}

/* What a direct send of what stands at `begin` left over. */
static int conn_queue_rest(struct conn *c, struct blob *b, uint32_t begin, uint32_t offset,
                           uint32_t end, uint32_t items)
{
    if (conn_queue(c, b, offset, end, items) == -1)
        return -1;
    outq_begun(c->out, begin);
    conn_stall(c, true);
    return 0;
}

int conn_send(struct conn *c, struct str s)
{
    bool direct = conn_may_send_now(c);
    struct blob *b;
    ssize_t sent = 0;
    int rc;

    if (conn_finished(c))
        return -1;
    if (direct) {
        sent = conn_send_now(c, s.p, s.n);
        if (sent == -1)
            return -1;
        if ((size_t)sent == s.n)
            return 0;
    }
    b = blob_from(str_skip(s, (size_t)sent));
    if (b == NULL) {
        conn_kill(c, CLOSE_NO_MEMORY);
        return -1;
    }
    if (direct)
        rc = conn_queue_rest(c, b, 0, 0, b->len, 0);
    else
        rc = conn_queue(c, b, 0, b->len, 0);
    blob_put(&b);
    return rc;
}

int conn_send_blob(struct conn *c, struct blob *b, uint32_t offset, uint32_t end)
{
    ssize_t sent;

    if (conn_finished(c))
        return -1;
    if (!conn_may_send_now(c))
        return conn_queue(c, b, offset, end, 0);
    sent = conn_send_now(c, b->data + offset, end - offset);
    if (sent == -1)
        return -1;
    if ((uint32_t)sent == end - offset)
        return 0;
    return conn_queue_rest(c, b, offset, offset + (uint32_t)sent, end, 0);
}

static inline void conn_count_delivery(struct conn *c, uint32_t items, uint32_t bytes)
{
    c->frames_out += items;
    METRIC_ADD(frames_out, items);
    METRIC_ADD(deliveries, items);
    METRIC_ADD(delivery_bytes, bytes);
}

static void conn_deliver_as(struct conn *c, struct blob *b, uint32_t offset, uint32_t end,
                            uint32_t items, uint64_t tag)
{
    if (conn_queue_as(c, b, offset, end, items, tag) == 0)
        conn_count_delivery(c, items, end - offset);
}

void conn_deliver_later(struct conn *c, struct blob *b, uint32_t offset, uint32_t end,
                        uint32_t items)
{
    conn_deliver_as(c, b, offset, end, items, 0);
}

/* Is it too slow for so many bytes more? Mostly nothing is queued, or little. */
static inline bool conn_slow_with(const struct conn *c, size_t bytes)
{
    return c->out != NULL && outq_cost(c->out) + bytes > (size_t)config.output_limit &&
           slow_with(c, bytes);
}

static void conn_queue_shorter(struct conn *c)
{
    slow_note(c);
    if (outq_cost(c->out) < (size_t)config.output_limit / 2)
        conn_release_hold(c, CONN_HOLD_OUTPUT);
}

void conn_conflate(struct conn *c)
{
    METRIC_ADD(drops_conflate, outq_conflate(c->out, transport_of(c)->ahead));
    conn_queue_shorter(c);
}

/* The queue or the turn does not allow a direct send. */
static void conn_deliver_queued(struct conn *c, struct blob *b, uint32_t offset, uint32_t end,
                                uint32_t last, uint32_t items, uint64_t tag)
{
    /* What was queued only because this turn has sent already says nothing about the peer: ask the
     * socket before calling it slow (a second system call in this turn, but a rare one). */
    if (conn_slow_with(c, end - offset) && !(c->flags & CONN_OUT_STALLED)) {
        conn_flush(c);
        if (conn_dead(c))
            return;
    }
    if (tag != 0 && conn_slow_with(c, end - offset))
        conn_conflate(c);
    if (conn_slow_with(c, end - offset))
        slow_deliver(c, b, last, end, items);
    else
        conn_deliver_as(c, b, offset, end, items, tag);
}

void conn_deliver_newest(struct conn *c, struct blob *b, uint32_t offset, uint32_t end,
                         uint64_t tag)
{
    if (!conn_delivers(c))
        return;
    if (conn_may_send_now(c)) {
        conn_deliver(c, b, offset, end, offset, 1);
        return;
    }
    conn_deliver_queued(c, b, offset, end, offset, 1, tag);
    if (c->out != NULL && (c->flags & CONN_OUT_STALLED) &&
        outq_wants_conflating(c->out, (size_t)config.output_limit / 4))
        conn_conflate(c);
}

void conn_deliver(struct conn *c, struct blob *b, uint32_t offset, uint32_t end, uint32_t last,
                  uint32_t items)
{
    ssize_t sent;

    if (UNLIKELY(!conn_delivers(c)))
        return;
    if (UNLIKELY(!conn_may_send_now(c))) {
        conn_deliver_queued(c, b, offset, end, last, items, 0);
        return;
    }
    sent = conn_send_now(c, b->data + offset, end - offset);
    if (UNLIKELY(sent == -1))
        return;
    conn_count_delivery(c, items, end - offset);
    if (UNLIKELY((uint32_t)sent != end - offset))
        conn_queue_rest(c, b, offset, offset + (uint32_t)sent, end, items);
}

size_t conn_queued(const struct conn *c)
{
    return c->out != NULL ? outq_bytes(c->out) : 0;
}

static void conn_flushed(struct conn *c)
{
    outq_free(&c->out);
    c->flags &= (uint16_t)~CONN_OUT_STALLED;
    conn_release_hold(c, CONN_HOLD_OUTPUT);
    if (c->state == CONN_FLUSHING)
        conn_shut(c);
}

void conn_restart_age(struct conn *c)
{
    outq_touch(c->out, reactor_ns());
    if (c->flags & CONN_OUT_STALLED) {
        list_remove(&c->out->link);
        list_append(&reactor->stalled, &c->out->link);
    }
}

uint32_t conn_drop_publications(struct conn *c)
{
    uint32_t dropped;

    if (c->out == NULL || (dropped = outq_drop_publications(c->out, transport_of(c)->ahead,
                                                            !conn_ops(c)->streamed)) == 0)
        return 0;
    if (outq_empty(c->out))
        conn_flushed(c);
    else
        conn_queue_shorter(c);
    return dropped;
}

void conn_flush(struct conn *c)
{
    struct iovec iov[FLUSH_IOVEC];
    size_t offered = 0, n;
    ssize_t sent;

    if (c->out == NULL)
        return;
    if (UNLIKELY(outq_has_tagged(c->out)) && (c->flags & CONN_OUT_STALLED))
        conn_conflate(c);
    n = (size_t)outq_iovec(c->out, iov, FLUSH_IOVEC);
    for (size_t i = 0; i < n; i++)
        offered += iov[i].iov_len;
    sent = transport_sendv(c, iov, n);
    c->sent_turn = (uint32_t)reactor->turn;
    METRIC_INC(writes);
    if (sent <= 0) {
        if (sent == TRANSPORT_LATER)
            conn_stall(c, false);
        else
            conn_broken(c, sent);
        return;
    }
    METRIC_ADD(written_bytes, (uint64_t)sent);
    outq_sent(c->out, (size_t)sent, reactor_ns());
    TRACE(sent, c->id, STR_NULL, (uint64_t)sent, conn_queued(c));
    if (outq_empty(c->out)) {
        conn_flushed(c);
        return;
    }
    /* All that one call may offer went: a stalled one hears EV_WRITE again, a dirty one is flushed
     * next turn. */
    if ((size_t)sent < offered || (c->flags & CONN_OUT_STALLED))
        conn_stall(c, true);
    conn_queue_shorter(c);
}

/* Moves everything from src to the front of dst. */
static void list_splice(struct list *dst, struct list *src)
{
    if (list_empty(src))
        return;
    src->prev->next = dst->next;
    dst->next->prev = src->prev;
    dst->next = src->next;
    src->next->prev = dst;
    list_init(src);
}

bool conn_flush_dirty(uint64_t budget_ns)
{
    uint64_t end = clock_precise_ns() + budget_ns;
    struct list todo, *n;
    size_t done = 0;

    /* Taken out first, so that what stays dirty waits for the next turn. */
    list_take(&todo, &reactor->dirty);
    while ((n = list_pop(&todo)) != NULL) {
        struct conn *c = LIST_ENTRY(n, struct outq, link)->owner;

        conn_flush(c);
        if (c->out != NULL && !conn_dead(c) && !list_linked(&c->out->link))
            list_append(&reactor->dirty, &c->out->link);
        if (++done % FLUSH_SLICE == 0 && clock_precise_ns() >= end)
            break;
    }
    list_splice(&reactor->dirty, &todo);
    return !list_empty(&reactor->dirty);
}
