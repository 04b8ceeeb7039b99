/* core/hub_queue.c - the hub's way to the workers: straight into the ring, or through a bounded
 * queue. */
#include "hub_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

void hub_mark_behind(struct hub *h, unsigned worker)
{
    struct hub_worker *w = &h->worker[worker];
    uint32_t want = 0;

    if (w->debt == NULL)
        return;
    if (w->missed_generation != 0)
        want = w->missed_generation;
    else if (w->out.first != NULL || w->owed > 0)
        want = w->generation;
    else if (h->aside_publications > 0)
        want = h->ops->generation(h->arg, worker);
    if (atomic_load_explicit(&w->debt->behind, memory_order_relaxed) != want)
        atomic_store(&w->debt->behind, want);
}

/* A queued record comes (1) or goes (-1). A hub that is killed inside a record has that one handled
 * again, so its last publication may be counted although it is not lost: never too few. */
static void note_queued(struct hub_worker *w, const struct record *r, int n)
{
    METRIC_ADD(hub_queue_bytes, n * (int64_t)queue_cost(r));
    if (w->debt != NULL && r->kind == RECORD_PUBLICATION)
        hub_debt_add(&w->debt->queued, n);
}

void hub_write_off(struct hub *h)
{
    uint64_t queued = 0, aside = 0;

    for (unsigned i = 0; i < h->workers; i++) {
        struct ring_debt *debt = h->worker[i].debt;

        if (debt == NULL)
            continue;
        queued += atomic_exchange(&debt->queued, 0);
        aside += atomic_exchange(&debt->aside, 0);
    }
    if (queued + aside == 0)
        return;
    METRIC_ADD(lost_publications, queued + aside);
    LOG(LOG_WARN, "publications are lost that the last hub held when it ended",
        KV_U("queued_for_workers", queued), KV_U("set_aside", aside));
}

/* After every change of the queue's length, and as time passes. */
static void note_congestion(struct hub *h, unsigned worker)
{
    struct hub_worker *w = &h->worker[worker];
    bool now = w->out.bytes > h->limits.queue_max / HUB_PUSH_BACK_PART &&
               clock_ns() - w->took_ns <= HUB_PUSH_BACK_WAIT_NS;

    if (now == w->congested)
        return;
    w->congested = now;
    if (now) {
        h->congested++;
        METRIC_INC(hub_push_backs);
    } else {
        h->congested--;
    }
}

/* It would stand in front of all that comes for the worker, for good. */
bool hub_fits_no_ring(const struct hub *h, const struct record *r)
{
    return h->limits.record_max != 0 && record_bytes(r) > h->limits.record_max;
}

static bool refuse_too_big(const struct hub *h, const struct record *r)
{
    if (LIKELY(!hub_fits_no_ring(h, r)))
        return false;
    LOG(LOG_WARN,
        "something from the engine is larger than the rings of this node hold, and is lost",
        KV_S("record", record_kind_name(r->kind)), KV_U("bytes", record_bytes(r)),
        KV_U("max", h->limits.record_max),
        KV_S("fix", "all nodes need the same max_message_size, or ring_size"));
    return true;
}

/* Sends, or queues as far as limit allows (one record always fits an empty queue). -1: it
 * does not. */
static int send_or_queue(struct hub *h, unsigned worker, struct record *r, uint64_t limit,
                         struct queued **copy)
{
    struct hub_worker *w = &h->worker[worker];

    *copy = NULL;
    r->generation = w->generation;
    if (w->out.first == NULL) {
        if (h->ops->send(h->arg, worker, r) == 0)
            return 0;
        if (refuse_too_big(h, r))
            return -1;
        METRIC_INC(ring_full);
        w->took_ns = clock_ns();
    } else if (w->out.bytes >= limit || queue_cost(r) > limit - w->out.bytes ||
               refuse_too_big(h, r)) {
        return -1;
    }
    *copy = queue_push(&w->out, r);
    if (*copy == NULL)
        return -1;
    note_queued(w, r, 1);
    hub_mark_behind(h, worker);
    note_congestion(h, worker);
    return 0;
}

int hub_answer(struct hub *h, unsigned worker, struct record *r)
{
    struct queued *copy;

    /* Bounded by hub_wants(): a worker that takes no answers is not read. */
    return send_or_queue(h, worker, r, UINT64_MAX, &copy);
}

void hub_mark_lost(struct hub *h, struct interest *i)
{
    if (i->lost)
        return;
    i->lost = true;
    h->worker[i->worker].owed++;
    hub_mark_behind(h, i->worker);
}

int hub_report_lost(struct hub *h, struct interest *i, struct position to)
{
    struct record r = {
        .kind = RECORD_LOST, .chan = i->chan, .epoch = to.epoch, .offset = to.offset};
    struct queued *copy;

    if (send_or_queue(h, i->worker, &r, h->limits.queue_max, &copy) == -1)
        return -1;
    i->lost = false;
    h->worker[i->worker].owed--;
    hub_mark_behind(h, i->worker);
    return 0;
}

void hub_report_gap(struct hub *h, struct interest *i, struct position to)
{
    struct record r = {.kind = RECORD_LOST,
                       .flags = RECORD_GAP,
                       .chan = i->chan,
                       .epoch = to.epoch,
                       .offset = to.offset};
    struct queued *copy;

    if (!i->lost && send_or_queue(h, i->worker, &r, h->limits.queue_max, &copy) == -1)
        hub_mark_lost(h, i);
}

/* A gap is reported in its place: nothing more of the channel goes out before its LOST has. */
int hub_deliver(struct hub *h, struct interest *i, struct record *publication)
{
    struct position before = record_before(publication);
    struct queued *copy;

    publication->chan = i->chan;
    if ((i->lost && hub_report_lost(h, i, before) == -1) ||
        send_or_queue(h, i->worker, publication, h->limits.queue_max, &copy) == -1) {
        METRIC_INC(lost_publications);
        if (h->worker[i->worker].owed == 0)
            LOG(LOG_WARN,
                "publications for a worker are lost: its queue in the hub is full, or memory is",
                KV_U("worker", i->worker), KV_U("queued_bytes", h->worker[i->worker].out.bytes));
        hub_mark_lost(h, i);
        return -1;
    }
    return 0;
}

void hub_deliver_member(struct hub *h, const struct interest *i, struct record *r)
{
    struct queued *copy;

    r->chan = i->chan;
    if (send_or_queue(h, i->worker, r, h->limits.queue_max, &copy) == -1)
        METRIC_INC(presence_lost);
}

int hub_deliver_control(struct hub *h, unsigned worker, struct record *r, struct queued **copy)
{
    /* As much as answers may take: whoever floods a worker with these is held by nobody else. */
    return send_or_queue(h, worker, r, h->limits.queue_max + HUB_QUEUE_RESERVE, copy);
}

bool hub_hangs(const struct hub *h, unsigned worker)
{
    const struct hub_worker *w = &h->worker[worker];

    return w->out.first != NULL && clock_ns() - w->took_ns > HUB_PUSH_BACK_WAIT_NS;
}

/* Takes the first record off the worker's queue, which has become of it: it was sent (OK), or goes
 * with its worker (REFUSED). */
static void drop_first(struct hub *h, unsigned worker, enum engine_status how)
{
    struct queued *e = queue_pop(&h->worker[worker].out);

    note_queued(&h->worker[worker], &e->rec, -1);
    if (UNLIKELY(e->awaited))
        hub_control_left(h, worker, e, how);
    free(e);
}

void hub_queue_drop(struct hub *h, unsigned worker)
{
    struct hub_worker *w = &h->worker[worker];

    while (w->out.first != NULL)
        drop_first(h, worker, ENGINE_REFUSED);
    if (w->debt != NULL)
        atomic_store(&w->debt->queued, 0);
    note_congestion(h, worker);
}

/* Sends from one worker's queue until its ring is full. */
static void flush_worker(struct hub *h, unsigned worker, size_t *budget)
{
    struct hub_worker *w = &h->worker[worker];

    while (*budget > 0 && w->out.first != NULL &&
           h->ops->send(h->arg, worker, &w->out.first->rec) == 0) {
        drop_first(h, worker, ENGINE_OK);
        w->took_ns = clock_ns();
        (*budget)--;
    }
    hub_mark_behind(h, worker);
    note_congestion(h, worker);
}

bool hub_queue_flush(struct hub *h, size_t *budget)
{
    unsigned first = h->next_worker;

    for (unsigned n = 0; n < h->workers; n++) {
        unsigned worker = (first + n) % h->workers;

        if (h->worker[worker].out.first != NULL)
            flush_worker(h, worker, budget);
        if (*budget == 0) {
            h->next_worker = (worker + 1) % h->workers;
            return true;
        }
    }
    return false;
}
