/* core/hub_control.c - what a worker has to say to one worker or to all.
 *
 * What names another node goes there (hub_elsewhere.c).
 * Happy path:
 *   1. a CONTROL becomes a struct pending, and a call to the engine if it is for all (other nodes
 *      may hear it)
 *   2. a copy goes into the ring of each worker that lives, or into its queue
 *   3. the last copy has left its queue: CONTROLLED.
 * Can fail: a worker takes nothing for a second (it may still get the copy), or has no room in its
 * queue: the status is UNKNOWN then. If the hub ends before 3, the next one does all of it again;
 * workers recognise what they have had by source and position. */
#include "hub_internal.h"

#include "base/metrics.h"
#include "core/broker.h"

/* The call that a copy belongs to; NULL: another node's. */
static struct pending *origin(struct hub *h, const struct record *r)
{
    struct list *n;

    if (r->source >= h->workers)
        return NULL;
    for (n = h->worker[r->source].pending.next; n != &h->worker[r->source].pending; n = n->next) {
        struct pending *p = LIST_ENTRY(n, struct pending, link);

        if (p->kind == RECORD_CONTROL && p->position == r->position)
            return p;
    }
    return NULL;
}

static void told(struct hub *h, struct pending *p)
{
    if (--p->waits == 0)
        hub_pending_done(h, p, p->status);
}

void hub_control_left(struct hub *h, unsigned worker, struct queued *copy, enum engine_status how)
{
    struct pending *p = origin(h, &copy->rec);

    copy->awaited = false;
    h->worker[worker].awaited--;
    h->awaited--;
    p->told += how == ENGINE_OK;
    if (how == ENGINE_UNKNOWN)
        p->status = ENGINE_UNKNOWN;
    told(h, p);
}

/* One worker. flags: RECORD_TO_ALL or 0. p: who waits for it, or NULL. False: it does not get it. */
static bool tell(struct hub *h, unsigned worker, const struct record *r, uint8_t flags,
                 struct pending *p)
{
    uint32_t generation = h->ops->generation(h->arg, worker);
    struct record out = {.kind = RECORD_CONTROL_MESSAGE,
                         .flags = flags,
                         .source = r->source,
                         .position = r->position,
                         .data = r->data};
    struct queued *copy;

    if (generation == 0)
        return true;
    hub_adopt(h, worker, generation, false);
    if (hub_deliver_control(h, worker, &out, &copy) == -1) {
        METRIC_INC(controls_lost);
        if (p != NULL)
            p->status = ENGINE_UNKNOWN;
        return false;
    }
    if (p != NULL && copy == NULL) {
        p->told++;
    } else if (p != NULL) {
        copy->awaited = true;
        h->worker[worker].awaited++;
        h->awaited++;
        p->waits++;
    }
    return true;
}

void hub_control_tell(struct hub *h, unsigned worker, const struct record *r)
{
    (void)tell(h, worker, r, 0, NULL);
}

bool hub_on_control(void *hub, const struct record *r)
{
    struct hub *h = hub;
    struct pending *p = origin(h, r);
    bool all = true;

    for (unsigned i = 0; i < h->workers; i++)
        all &= tell(h, i, r, RECORD_TO_ALL, p);
    return all;
}

void hub_on_told(void *hub UNUSED, uint64_t token, uint32_t asked, uint32_t answered)
{
    struct pending *p = (struct pending *)(uintptr_t)token;

    p->nodes_asked = asked;
    p->nodes_answered = answered;
}

void hub_control_done(struct hub *h, struct pending *p, enum engine_status status)
{
    if (status != ENGINE_OK)
        p->status = (uint8_t)status;
    told(h, p);
}

void hub_control(struct hub *h, const struct record *r)
{
    bool logged = (h->engine->ops->capabilities & ENGINE_CAN_CONTROL_LOG) != 0; /* else as it can */
    struct pending *p = hub_pending_new(h, r);

    if (p == NULL)
        return; /* the asker's time runs out */
    p->status = ENGINE_OK;
    p->told = 0;
    p->waits = 1;
    p->nodes_asked = p->nodes_answered = 0;
    if (r->chan == BROKER_ALL_WORKERS && r->epoch == 0) {
        h->engine->ops->control(h->engine, STR_NULL, r, logged, (uint64_t)(uintptr_t)p);
        return;
    }
    if (r->epoch != 0)
        hub_elsewhere(h, r);
    else if (r->chan < h->workers)
        (void)tell(h, r->chan, r, 0, p);
    hub_control_done(h, p, ENGINE_OK);
}

void hub_control_run(struct hub *h)
{
    for (unsigned i = 0; UNLIKELY(h->awaited > 0) && i < h->workers; i++) {
        struct hub_worker *w = &h->worker[i];

        if (w->awaited == 0 || !hub_hangs(h, i))
            continue;
        for (struct queued *e = w->out.first; w->awaited > 0; e = e->next) {
            if (e->awaited)
                hub_control_left(h, i, e, ENGINE_UNKNOWN);
        }
    }
}
