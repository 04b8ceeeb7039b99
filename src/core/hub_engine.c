/* core/hub_engine.c - publications to the engine, and what it says to the workers.
 *
 * Happy path:
 *   1. a PUBLISH becomes a struct pending at the end of its worker's list, and a call
 *   2. the engine gives the publication back with its position, and it goes to every interested
 *      worker
 *   3. the call is complete: answers are written from the front of the list as far as all before
 *      them is complete.
 * Can fail: the engine does not take it (the publisher is told, if it asked), no memory for a
 * pending (the channel's subscribers are told that they have lost a publication). */
#include "hub_internal.h"

#include "base/log.h"
#include "base/metrics.h"

/* Writes the answer to whoever still waits for it. */
static void answer(struct hub *h, const struct pending *p)
{
    struct record r = {
        .kind = p->kind == RECORD_FENCE ? RECORD_FENCED : RECORD_PUBLISHED,
        .asker = p->asker,
        .status = p->status,
        .token = p->token,
        .epoch = p->at.epoch,
        .offset = p->at.offset,
        .position = p->position,
    };

    if (hub_answer(h, p->worker, &r) == -1)
        return; /* the asker's time runs out */
}

/* Takes what is complete off the front of the worker's list. */
static void give_answers(struct hub *h, unsigned worker)
{
    struct hub_worker *w = &h->worker[worker];

    while (!list_empty(&w->pending)) {
        struct pending *p = LIST_ENTRY(w->pending.next, struct pending, link);

        if (!p->complete)
            return;
        if (p->answer && p->life == w->life)
            answer(h, p);
        list_remove(&p->link);
        pool_put(&h->pendings, p);
    }
}

static void fill(struct pending *p, struct hub *h, const struct record *r)
{
    *p = (struct pending){
        .position = r->position,
        .token = r->token,
        .life = h->worker[r->source].life,
        .worker = r->source,
        .kind = r->kind,
        .asker = r->asker,
    };
    list_append(&h->worker[r->source].pending, &p->link);
}

void hub_publish(struct hub *h, const struct record *r, bool fresh)
{
    struct hub_channel *c = hub_find(h, r->name);
    struct pending *p = pool_get(&h->pendings);

    METRIC_INC(publications_ordered);
    if (p == NULL) {
        hub_lose(h, r->name);
        return;
    }
    fill(p, h, r);
    p->answer = fresh && (r->flags & RECORD_WANT_ACK);
    h->engine->ops->publish(h->engine,
                            c != NULL && c->subscribed == HUB_SUBSCRIBED ? &c->engine : NULL, r,
                            STR_NULL, (uint64_t)(uintptr_t)p);
}

void hub_fence(struct hub *h, const struct record *r)
{
    struct hub_worker *w = &h->worker[r->source];
    struct pending alone, *p = list_empty(&w->pending) ? &alone : pool_get(&h->pendings);

    if (p == NULL)
        return; /* the asker's time runs out */
    fill(p, h, r);
    p->answer = p->complete = true;
    if (p != &alone)
        return;
    list_remove(&alone.link);
    answer(h, &alone);
}

void hub_position(struct hub *h, const struct record *r)
{
    struct hub_channel *c = hub_find(h, r->name);
    struct record positioned = {
        .kind = RECORD_POSITIONED, .asker = r->asker, .token = r->token, .chan = r->chan};

    if (c != NULL && c->subscribed == HUB_SUBSCRIBED) {
        positioned.epoch = c->engine.at.epoch;
        positioned.offset = c->engine.at.offset;
    }
    if (hub_answer(h, r->source, &positioned) == -1)
        return; /* the asker's time runs out */
}

uint64_t hub_complete_to(const struct hub *h, unsigned worker, uint64_t read_to)
{
    const struct list *pending = &h->worker[worker].pending;

    return list_empty(pending) ? read_to
                               : LIST_ENTRY(pending->next, struct pending, link)->position;
}

void hub_pending_fini(struct hub *h)
{
    pool_fini(&h->pendings);
}

/* --- the engine's upcalls --- */

static void on_done(void *hub, uint64_t token, enum engine_status status, struct position at)
{
    struct pending *p = (struct pending *)(uintptr_t)token;

    p->complete = true;
    p->status = (uint8_t)status;
    p->at = at;
    give_answers(hub, p->worker);
}

static void on_subscribed(void *hub, struct engine_channel *ec, enum engine_status status)
{
    struct hub_channel *c = CONTAINER_OF(ec, struct hub_channel, engine);
    struct hub *h = hub;

    if (status != ENGINE_OK) {
        c->subscribed = HUB_NOT_SUBSCRIBED; /* whoever asks next makes it try again */
        LOG(LOG_WARN, "the engine cannot subscribe to a channel",
            KV_S("engine", h->engine->ops->name), KV_S("status", engine_status_name(status)));
        return;
    }
    c->subscribed = HUB_SUBSCRIBED;
    for (unsigned i = 0; i < c->n; i++) {
        struct interest *it = &hub_interests(c)[i];

        if (it->asked && !hub_interest_stale(h, it))
            hub_answer_subscribed(h, c, it);
    }
}

static void on_message(void *hub, struct engine_channel *ec, const struct record *r)
{
    struct hub_channel *c = CONTAINER_OF(ec, struct hub_channel, engine);
    struct hub *h = hub;
    struct record out = *r;

    out.kind = RECORD_PUBLICATION;
    out.flags &= RECORD_BINARY | RECORD_JSON | RECORD_DELTA | RECORD_EXCLUDE_ORIGIN;
    out.count = 0;
    out.epoch = c->engine.at.epoch;
    out.offset = c->engine.at.offset;
    out.name = STR_NULL;
    hub_interest_drop_stale(h, c);
    for (unsigned i = 0; i < c->n; i++)
        hub_deliver(h, &hub_interests(c)[i], &out);
    if (UNLIKELY(c->n == 0))
        h->stale = true; /* the sweep prunes it */
}

const struct engine_events hub_engine_events = {
    .done = on_done, .subscribed = on_subscribed, .message = on_message};
