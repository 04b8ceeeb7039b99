/* core/hub_gather.c - how a new incarnation of the hub learns who is interested before it
 * publishes.
 *
 * Happy path:
 *   1. GATHERING: every worker's ring is read; publications, fences and listings are set aside,
 *      records about interest take effect
 *   2. each worker says ANNOUNCED, its ring rests
 *   3. all have: REPLAYING, a bounded number of records per step
 *   4. LIVE.
 * Can fail: a worker does not announce in time (it is told later that it has missed publications),
 * a worker ends, no memory to set a publication aside (reported as lost). */
#include "hub_internal.h"

#include "base/log.h"
#include "base/metrics.h"

static void mark_all_behind(struct hub *h)
{
    for (unsigned i = 0; i < h->workers; i++)
        hub_mark_behind(h, i);
}

/* Does the worker live without having announced? Then the generation that owes it. */
static uint32_t unannounced(const struct hub *h, unsigned worker)
{
    uint32_t generation = h->ops->generation(h->arg, worker);

    return h->worker[worker].announced == generation ? 0 : generation;
}

/* Channels that are announced from now on have missed something. */
static void mark_missed(struct hub *h)
{
    for (unsigned i = 0; i < h->workers; i++) {
        uint32_t generation = unannounced(h, i);

        if (generation != 0) {
            h->worker[i].missed_generation = generation;
            hub_mark_behind(h, i);
        }
    }
}

void hub_lose(struct hub *h, struct str channel)
{
    struct hub_channel *c = hub_find(h, channel);

    METRIC_INC(lost_publications);
    for (unsigned i = 0; c != NULL && i < c->n; i++) {
        if (!hub_interest_stale(h, &hub_interests(c)[i]))
            hub_mark_lost(h, &hub_interests(c)[i]);
    }
    mark_missed(h);
}

void hub_set_aside(struct hub *h, const struct record *r)
{
    if (queue_push(&h->aside, r) == NULL) {
        if (r->kind == RECORD_PUBLISH)
            hub_lose(h, r->name);
        return;
    }
    h->worker[r->source].aside_bytes += queue_cost(r);
    if (r->kind != RECORD_PUBLISH)
        return;
    /* If this incarnation dies too, these are gone, whoever they were for. */
    if (h->worker[r->source].debt != NULL)
        hub_debt_add(&h->worker[r->source].debt->aside, 1);
    if (h->aside_publications++ == 0)
        mark_all_behind(h);
}

void hub_announced(struct hub *h, unsigned worker, const struct record *r)
{
    struct hub_worker *w = &h->worker[worker];

    if (r->count != h->generation)
        return; /* meant for an earlier incarnation, which died before it read this */
    w->announced = w->generation;
    w->missed_generation = 0;
    hub_mark_behind(h, worker);
    hub_presence_round(w, r->chan);
    hub_presence_forget(h, worker);
    hub_gather_check(h);
}

static void start_replay(struct hub *h)
{
    h->state = h->aside.first != NULL ? HUB_REPLAYING : HUB_LIVE;
}

void hub_gather_check(struct hub *h)
{
    if (h->state != HUB_GATHERING)
        return;
    for (unsigned i = 0; i < h->workers; i++) {
        if (unannounced(h, i) != 0)
            return;
    }
    start_replay(h);
}

void hub_gather_timeout(struct hub *h)
{
    if (h->state != HUB_GATHERING)
        return;
    for (unsigned i = 0; i < h->workers; i++) {
        if (unannounced(h, i) != 0)
            LOG(LOG_WARN,
                "worker has not announced its channels in time, it misses publications until it "
                "has",
                KV_U("worker", i));
    }
    mark_missed(h);
    start_replay(h);
}

void hub_aside_done(struct hub *h, unsigned worker)
{
    struct hub_worker *w = &h->worker[worker];

    if (w->debt != NULL)
        hub_debt_add(&w->debt->aside, -1);
    if (--h->aside_publications == 0)
        mark_all_behind(h);
}

void hub_replay(struct hub *h, size_t *budget)
{
    struct queued *e;

    while (*budget > 0 && (e = h->aside.first) != NULL) {
        struct hub_worker *w = &h->worker[e->rec.source];

        w->aside_bytes -= queue_cost(&e->rec);
        /* Its place in the ring has been given back. With an engine that takes its time it is as far
         * as it was until the call is complete (hub_pending_done()). */
        h->replaying = e->rec.kind == RECORD_PUBLISH;
        hub_handle(h, &e->rec, w->generation != 0 && e->rec.generation == w->generation);
        if (h->replaying) /* no call has come of it */
            hub_aside_done(h, e->rec.source);
        h->replaying = false;
        free(queue_pop(&h->aside));
        (*budget)--;
    }
    if (h->aside.first == NULL)
        h->state = HUB_LIVE;
}
