/* net/slow.c - who does not read fast enough, and what becomes of it.
 *
 * A consumer is slow when its queue
 * - would be over SLOW_FACTOR times config.output_limit, or
 * - has been over config.output_limit for config.output_grace, so that a burst passes, or
 * - has moved nothing for config.output_timeout.
 * A single publication in a queue with no other is allowed whatever its size.
 *
 * Slow by its length: config.slow_consumer decides, for the publication that comes. Slow by its
 * age, or by its length and to be disconnected: the protocol is asked to end it (conn_ops.slow).
 *
 * Queues over the limit stand in reactor->over in the order in which they came to be, stalled ones
 * in reactor->stalled in that of their last progress: the sweep looks at the heads only. */
#include "base/config.h"
#include "base/log.h"
#include "base/metrics.h"
#include "net/outq.h"
#include "net_internal.h"

#define SLOW_FACTOR 4

static size_t limit(void)
{
    return (size_t)config.output_limit;
}

/* The queue is too long for longer than a burst may take. */
static bool over_long(const struct outq *q)
{
    return q->over_since != 0 && reactor_ns() - q->over_since >= (uint64_t)config.output_grace;
}

bool slow_with(const struct conn *c, size_t bytes)
{
    size_t cost = outq_cost(c->out) + bytes;

    return cost > limit() && (cost > SLOW_FACTOR * limit() || over_long(c->out));
}

void slow_forget(struct outq *q)
{
    if (q->over_since == 0)
        return;
    list_remove(&q->over);
    q->over_since = 0;
}

void slow_note(struct conn *c)
{
    struct outq *q = c->out;
    bool over = outq_cost(q) > limit() && outq_items(q) > 1;

    if (over == (q->over_since != 0))
        return;
    if (over) {
        q->over_since = reactor_ns();
        list_append(&reactor->over, &q->over);
    } else {
        slow_forget(q);
    }
}

void slow_end(struct conn *c, uint32_t more, enum close_reason why)
{
    METRIC_ADD(drops_disconnect, more);
    if (TRACE_WANTED(slow))
        conn_trace_slow(c, "disconnect", more);
    if (conn_ops(c)->slow != NULL && !conn_finished(c)) {
        conn_ops(c)->slow(c, why);
        return;
    }
    METRIC_ADD(drops_disconnect, outq_items(c->out));
    conn_kill(c, why);
}

/* Not a line per publication: one says that it happens, the metric how much. */
static void say_dropped(const struct conn *c, const char *what)
{
    static struct log_site site = {.window_ns = 10 * NS_PER_SEC, .burst = 1};
    char address[CONN_ADDRESS_MAX];

    if (!reactor->cfg.tell_refusals || log_suppressed(&site, LOG_WARN, what))
        return;
    conn_format_address(c, address, sizeof(address));
    LOG_AT(&site, LOG_WARN, what, KV_S("peer", address), KV_U("conn", c->id),
           KV_I("output_limit", config.output_limit), KV_U("queued", conn_queued(c)),
           KV_S("fix", "the client takes less than its channels bring; raise output_limit or "
                       "output_grace for bursts"));
}

static void deliver_latest(struct conn *c, struct blob *b, uint32_t last, uint32_t end,
                           uint32_t items)
{
    uint32_t dropped = conn_drop_publications(c);

    METRIC_ADD(drops_latest, dropped + items - 1);
    conn_deliver_later(c, b, last, end, 1);
}

void slow_deliver(struct conn *c, struct blob *b, uint32_t last, uint32_t end, uint32_t items)
{
    switch ((enum slow_consumer)config.slow_consumer) {
    case SLOW_DISCONNECT:
        slow_end(c, items, CLOSE_SLOW);
        break;
    case SLOW_DROP:
        if (TRACE_WANTED(slow))
            conn_trace_slow(c, "drop", items);
        METRIC_ADD(drops_drop, items);
        say_dropped(c, "publications dropped: a client does not read fast enough");
        break;
    case SLOW_LATEST:
        if (TRACE_WANTED(slow))
            conn_trace_slow(c, "latest", items);
        say_dropped(c, "publications replaced: a client does not read fast enough");
        deliver_latest(c, b, last, end, items);
        break;
    }
}

/* Those over the limit for too long. The other policies look when something comes. */
static bool sweep_over(size_t *max)
{
    while (config.slow_consumer == SLOW_DISCONNECT && !list_empty(&reactor->over)) {
        struct outq *q = LIST_ENTRY(reactor->over.next, struct outq, over);
        struct conn *c = q->owner;

        if (!over_long(q)) {
            reactor_wake_within(q->over_since + (uint64_t)config.output_grace - reactor_ns());
            return false;
        }
        if ((*max)-- == 0)
            return true;
        if (outq_has_tagged(q)) {
            conn_conflate(c);
            if (q->over_since == 0)
                continue;
        }
        slow_forget(q);
        /* Else it is ending, and bounded by that, or it is us who have not sent yet. */
        if (conn_delivers(c) && (c->flags & CONN_OUT_STALLED))
            slow_end(c, 0, CLOSE_SLOW);
    }
    return false;
}

static bool sweep_stalled(size_t *max)
{
    while (!list_empty(&reactor->stalled)) {
        struct outq *q = LIST_ENTRY(reactor->stalled.next, struct outq, link);
        struct conn *c = q->owner;

        if (reactor_ns() < outq_since(q) + (uint64_t)config.output_timeout)
            return false;
        if ((*max)-- == 0)
            return true;
        if (c->state == CONN_CLOSING) /* bounded by its deadline */
            conn_restart_age(c);
        else
            slow_end(c, 0, CLOSE_SLOW);
    }
    return false;
}

bool slow_sweep(size_t max)
{
    bool more = sweep_over(&max);

    return sweep_stalled(&max) || more;
}
