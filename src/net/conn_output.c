/* A connection's output is in one of four places: nothing queued (out == NULL) · queued in this
 * turn (dirty list, flushed in step 5) · more queued than one sendmsg() takes (dirty list, next
 * turn) · refused by the socket (stalled list and EV_WRITE). The stalled list is in order of last
 * progress, so that the sweep looks at its head only. */
#include <errno.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/metrics.h"
#include "net/outq.h"
#include "net_internal.h"

#define SEND_FLAGS  (MSG_NOSIGNAL | MSG_DONTWAIT)
#define FLUSH_IOVEC 64
/* Flushes between two looks at the clock. */
#define FLUSH_SLICE 32

static bool conn_may_send_now(const struct conn *c)
{
    return !c->out && c->sent_turn != (uint32_t)reactor->turn;
}

/* After a send that failed: 0 when the socket is merely full, -1: killed. */
static int conn_send_failed(struct conn *c)
{
    if (errno == EAGAIN || errno == EINTR)
        return 0;
    conn_kill(c, errno == ENOBUFS || errno == ENOMEM ? CLOSE_NO_MEMORY : CLOSE_PEER_GONE);
    return -1;
}

/* Bytes the socket took, 0 when it is full, -1: killed. */
static inline ssize_t conn_send_now(struct conn *c, const char *p, size_t n)
{
    ssize_t sent;

    if (LIKELY(!(c->flags & CONN_TLS)))
        sent = send((int)(c->id & ((1u << CONN_ID_FD_BITS) - 1)), p, n, SEND_FLAGS);
    else
        sent = tls_sendv(c, &(struct iovec){.iov_base = (void *)(uintptr_t)p, .iov_len = n}, 1);

    c->sent_turn = (uint32_t)reactor->turn;
    METRIC_INC(writes);
    if (UNLIKELY(sent == -1))
        return conn_send_failed(c);
    METRIC_ADD(written_bytes, (uint64_t)sent);
    return sent;
}

static int conn_queue(struct conn *c, struct blob *b, uint32_t offset, uint32_t end,
                      bool publication, uint32_t items)
{
    if (!c->out)
        c->out = outq_new(c, clock_ns());
    if (!c->out || outq_append(c->out, b, offset, end, publication, items) == -1) {
        conn_kill(c, CLOSE_NO_MEMORY);
        return -1;
    }
    if (!list_linked(&c->out->link))
        list_append(&reactor->dirty, &c->out->link);
    /* In CLOSING nothing is answered any more, and the peer's end is what we wait for. */
    if (outq_cost(c->out) >= (size_t)config.output_limit && c->state != CONN_CLOSING)
        conn_hold(c, CONN_HOLD_OUTPUT);
    return 0;
}

/* The socket takes no more: wait until it says that it is writable. */
static void conn_stall(struct conn *c, bool progress)
{
    if (!(c->flags & CONN_OUT_STALLED) || progress) {
        list_remove(&c->out->link);
        list_append(&reactor->stalled, &c->out->link);
    }
    c->flags |= CONN_OUT_STALLED;
    conn_update_events(c);
}

/* What a direct send left over. A started entry is no publication any more: its frames must stay
 * whole. */
static int conn_queue_rest(struct conn *c, struct blob *b, uint32_t offset, uint32_t end,
                           bool publication, uint32_t items)
{
    if (conn_queue(c, b, offset, end, publication, items) == -1)
        return -1;
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
    if (!b) {
        conn_kill(c, CLOSE_NO_MEMORY);
        return -1;
    }
    if (direct)
        rc = conn_queue_rest(c, b, 0, b->len, false, 0);
    else
        rc = conn_queue(c, b, 0, b->len, false, 0);
    blob_put(&b);
    return rc;
}

int conn_send_blob(struct conn *c, struct blob *b, uint32_t offset, uint32_t end)
{
    ssize_t sent;

    if (conn_finished(c))
        return -1;
    if (!conn_may_send_now(c))
        return conn_queue(c, b, offset, end, false, 0);
    sent = conn_send_now(c, b->data + offset, end - offset);
    if (sent == -1)
        return -1;
    offset += (uint32_t)sent;
    return offset == end ? 0 : conn_queue_rest(c, b, offset, end, false, 0);
}

static inline void conn_count_delivery(struct conn *c, uint32_t items, uint32_t bytes)
{
    c->frames_out += items;
    METRIC_ADD(frames_out, items);
    METRIC_ADD(deliveries, items);
    METRIC_ADD(delivery_bytes, bytes);
}

static void conn_kill_slow(struct conn *c, uint32_t more_items)
{
    METRIC_ADD(drops_disconnect, outq_items(c->out) + more_items);
    conn_kill(c, CLOSE_SLOW);
}

/* Not a line per publication: one says that it happens, the metric how much. */
static void conn_say_dropped(const struct conn *c, const char *what)
{
    static struct log_site site = {.window_ns = 10 * NS_PER_SEC, .burst = 1};
    char address[CONN_ADDRESS_MAX];

    if (!reactor->cfg.tell_refusals || log_suppressed(&site, LOG_WARN, what))
        return;
    conn_format_address(c, address, sizeof(address));
    LOG_AT(&site, LOG_WARN, what, KV_S("peer", address), KV_U("conn", c->id),
           KV_I("output_limit", config.output_limit), KV_U("queued", conn_queued(c)),
           KV_S("fix", "the client takes less than its channels bring; raise output_limit for "
                       "bursts"));
}

/* The queue is not empty and [offset, end) would carry it over the limit. */
static void conn_deliver_over_limit(struct conn *c, struct blob *b, uint32_t last, uint32_t end,
                                    uint32_t items)
{
    switch ((enum slow_consumer)config.slow_consumer) {
    case SLOW_DISCONNECT:
        conn_kill_slow(c, items);
        break;
    case SLOW_DROP:
        METRIC_ADD(drops_drop, items);
        conn_say_dropped(c, "publications dropped: a client does not read fast enough");
        break;
    case SLOW_LATEST:
        conn_say_dropped(c, "publications replaced: a client does not read fast enough");
        METRIC_ADD(drops_latest, outq_drop_publications(c->out) + items - 1);
        if (conn_queue(c, b, last, end, true, 1) == 0)
            conn_count_delivery(c, 1, end - last);
        break;
    }
}

static bool conn_over_limit(const struct conn *c, uint32_t bytes)
{
    return c->out && outq_cost(c->out) + bytes > (size_t)config.output_limit;
}

/* The queue or the turn does not allow a direct send. */
static void conn_deliver_queued(struct conn *c, struct blob *b, uint32_t offset, uint32_t end,
                                uint32_t last, uint32_t items)
{
    /* What was queued only because this turn has sent already says nothing about the peer: ask the
     * socket before calling it slow (a second system call in this turn, but a rare one). */
    if (conn_over_limit(c, end - offset) && !(c->flags & CONN_OUT_STALLED)) {
        conn_flush(c);
        if (conn_dead(c))
            return;
    }
    if (conn_over_limit(c, end - offset))
        conn_deliver_over_limit(c, b, last, end, items);
    else if (conn_queue(c, b, offset, end, true, items) == 0)
        conn_count_delivery(c, items, end - offset);
}

void conn_deliver(struct conn *c, struct blob *b, uint32_t offset, uint32_t end, uint32_t last,
                  uint32_t items)
{
    ssize_t sent;

    if (UNLIKELY(!conn_delivers(c)))
        return;
    if (UNLIKELY(!conn_may_send_now(c))) {
        conn_deliver_queued(c, b, offset, end, last, items);
        return;
    }
    sent = conn_send_now(c, b->data + offset, end - offset);
    if (UNLIKELY(sent == -1))
        return;
    conn_count_delivery(c, items, end - offset);
    offset += (uint32_t)sent;
    if (UNLIKELY(offset != end))
        conn_queue_rest(c, b, offset, end, sent == 0 && !(c->flags & CONN_TLS), items);
}

size_t conn_queued(const struct conn *c)
{
    return c->out ? outq_bytes(c->out) : 0;
}

static void conn_flushed(struct conn *c)
{
    outq_free(&c->out);
    c->flags &= (uint16_t)~CONN_OUT_STALLED;
    conn_release_hold(c, CONN_HOLD_OUTPUT);
    if (c->state == CONN_FLUSHING)
        conn_shut(c);
}

void conn_flush(struct conn *c)
{
    struct iovec iov[FLUSH_IOVEC];
    struct msghdr msg = {.msg_iov = iov};
    size_t offered = 0;
    ssize_t sent;

    if (!c->out)
        return;
    msg.msg_iovlen = (size_t)outq_iovec(c->out, iov, FLUSH_IOVEC);
    for (size_t i = 0; i < msg.msg_iovlen; i++)
        offered += iov[i].iov_len;
    sent = c->flags & CONN_TLS ? tls_sendv(c, iov, msg.msg_iovlen)
                               : sendmsg(c->io.fd, &msg, SEND_FLAGS);
    c->sent_turn = (uint32_t)reactor->turn;
    METRIC_INC(writes);
    if (sent == -1) {
        if (conn_send_failed(c) == 0)
            conn_stall(c, false);
        if (c->flags & CONN_TLS) /* what OpenSSL was given it wants to be given again */
            outq_keep_head(c->out);
        return;
    }
    METRIC_ADD(written_bytes, (uint64_t)sent);
    outq_sent(c->out, (size_t)sent, clock_ns());
    if (c->flags & CONN_TLS)
        outq_keep_head(c->out);
    if (outq_empty(c->out)) {
        conn_flushed(c);
        return;
    }
    /* All that one call may offer went: a stalled one hears EV_WRITE again, a dirty one is flushed
     * next turn. */
    if ((size_t)sent < offered || (c->flags & CONN_OUT_STALLED))
        conn_stall(c, true);
    if (outq_cost(c->out) < (size_t)config.output_limit / 2)
        conn_release_hold(c, CONN_HOLD_OUTPUT);
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
        if (c->out && !conn_dead(c) && !list_linked(&c->out->link))
            list_append(&reactor->dirty, &c->out->link);
        if (++done % FLUSH_SLICE == 0 && clock_precise_ns() >= end)
            break;
    }
    list_splice(&reactor->dirty, &todo);
    return !list_empty(&reactor->dirty);
}

bool conn_sweep_stalled(size_t max)
{
    for (; !list_empty(&reactor->stalled); max--) {
        const struct outq *q = LIST_ENTRY(reactor->stalled.next, struct outq, link);

        if (clock_ns() < outq_since(q) + (uint64_t)config.output_timeout)
            return false;
        if (max == 0)
            return true;
        conn_kill_slow(q->owner, 0);
    }
    return false;
}
