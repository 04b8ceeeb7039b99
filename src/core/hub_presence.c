/* core/hub_presence.c - who comes to a channel and who goes: from workers to the engine, which keeps
 * it, and from there as JOIN and LEAVE to whoever is interested.
 *
 * Happy path:
 *   1. PRESENCE_ADD becomes a struct pending and a call to the engine
 *   2. if it is to be told, the engine says so, and a JOIN goes to every worker with a subscriber
 *   3. the call is complete.
 * When a worker has gone, or has announced itself again, what it had set before is forgotten in
 * steps; members know by their mark to which life and round they belong.
 * Can fail: no memory, or the engine does not take it: counted, the member is not shown. */
#include "hub_internal.h"

#include "base/metrics.h"

/* What the hub removes of a worker's members in one call. */
#define FORGET_STEP 64

_Static_assert(HUB_WORKERS_MAX <= ENGINE_OWNERS_MAX, "workers are owners");

/* Rounds only rise: what was set aside may be of an earlier one. */
void hub_presence_round(struct hub_worker *w, uint32_t round)
{
    if ((int32_t)(round - w->round) <= 0)
        return;
    w->round = round;
    w->mark++;
}

void hub_presence_change(struct hub *h, const struct record *r)
{
    struct hub_worker *w = &h->worker[r->source];
    struct record own = *r;
    struct engine_presence ask = {
        .op = r->kind == RECORD_PRESENCE_ADD ? PRESENCE_SET : PRESENCE_CLEAR,
        .r = &own,
        .owner = r->source,
    };
    struct pending *p;
    struct str info;

    /* The ring stays writable for the worker: what is checked must be what is kept. */
    if (r->fields.n > 0)
        memcpy(h->fields, r->fields.p, r->fields.n);
    own.fields.p = h->fields;
    if (!channel_name_valid(own.name) || !record_field(own.fields, FIELD_INFO, &info) ||
        client_info_read(info, &ask.who) == -1 || ask.who.client.n == 0) {
        METRIC_INC(ring_bad_records);
        return;
    }
    p = hub_pending_new(h, &own);
    if (p == NULL) {
        METRIC_INC(presence_lost);
        return;
    }
    if (ask.op == PRESENCE_SET)
        hub_presence_round(w, own.count);
    ask.mark = w->mark;
    h->engine->ops->presence(h->engine, &ask, (uint64_t)(uintptr_t)p);
}

void hub_presence_stats(struct hub *h, const struct record *r)
{
    const struct engine_presence ask = {.op = PRESENCE_STATS, .channel = r->name};
    struct pending *p = hub_pending_new(h, r);

    if (p != NULL) /* else the asker's time runs out */
        h->engine->ops->presence(h->engine, &ask, (uint64_t)(uintptr_t)p);
}

void hub_on_counted(void *hub UNUSED, uint64_t token, uint32_t clients, uint32_t users)
{
    struct pending *p = (struct pending *)(uintptr_t)token;

    p->clients = clients;
    p->users = users;
}

void hub_on_member(void *hub, const struct record *r)
{
    struct hub *h = hub;
    struct hub_channel *c = hub_find(h, r->name);
    struct record out = *r;

    if (c == NULL)
        return;
    out.flags = RECORD_SKIP_HISTORY; /* it has no place of its own */
    out.asker = 0;
    out.count = 0;
    out.token = 0;
    out.epoch = c->engine.at.epoch;
    out.offset = c->engine.at.offset;
    out.name = out.data = STR_NULL;
    hub_interest_drop_stale(h, c);
    for (unsigned i = 0; i < c->n; i++)
        hub_deliver_member(h, &hub_interests(c)[i], &out);
    if (c->n == 0)
        h->stale = true; /* the sweep prunes it */
}

/* --- forgetting --- */

void hub_presence_forget(struct hub *h, unsigned worker)
{
    h->worker[worker].forgetting.due = h->forgetting = true;
}

void hub_forget_done(struct hub *h, struct pending *call, enum engine_status status)
{
    struct hub_forgetting *f = CONTAINER_OF(call, struct hub_forgetting, call);

    f->calling = false;
    /* An engine that cannot now is asked again; one without presence has nothing to forget. */
    f->due |= status != ENGINE_REFUSED && !f->cursor.ended;
    h->forgetting |= f->due;
    f->failed = status != ENGINE_OK;
}

/* One step of it. */
static void forget_step(struct hub *h, unsigned worker, size_t *budget)
{
    struct hub_worker *w = &h->worker[worker];
    struct hub_forgetting *f = &w->forgetting;
    const struct engine_presence ask = {
        .op = PRESENCE_FORGET,
        .owner = worker,
        .mark = w->mark,
        .limit = (uint32_t)MIN(*budget, FORGET_STEP),
        .cursor = &f->cursor,
    };

    f->due = false;
    f->calling = true;
    f->call.kind = RECORD_HELLO;
    f->cursor.ended = false;
    *budget -= ask.limit;
    h->engine->ops->presence(h->engine, &ask, (uint64_t)(uintptr_t)&f->call);
}

bool hub_presence_run(struct hub *h, size_t *budget)
{
    bool more = false, due = false;

    if (LIKELY(!h->forgetting) || h->state != HUB_LIVE)
        return false;
    /* Many leave at once: not faster than who is told takes it. */
    for (unsigned i = 0; i < h->workers; i++) {
        const struct hub_forgetting *f = &h->worker[i].forgetting;

        while (f->due && !f->calling && *budget > 0 && h->congested == 0) {
            forget_step(h, i, budget);
            if (f->failed) /* it is asked again, not at once */
                break;
        }
        due |= f->due;
        more |= f->due && !f->calling && !f->failed && h->congested == 0;
    }
    h->forgetting = due;
    return more;
}
