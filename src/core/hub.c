/* core/hub.c - the hub's life, and what each record does. */
#include "hub_internal.h"

#include <assert.h>

#include "base/clock.h"
#include "base/metrics.h"

/* --- life --- */

struct hub *hub_new(unsigned workers, uint32_t hub_generation, struct engine *engine,
                    const struct hub_ops *ops, void *arg)
{
    struct hub *h;

    assert(workers >= 1 && workers <= HUB_WORKERS_MAX);
    h = engine != NULL ? calloc(1, sizeof(*h) + workers * sizeof(h->worker[0])) : NULL;
    if (h == NULL) {
        engine_free(engine);
        return NULL;
    }
    h->engine = engine;
    engine_attach(engine, &hub_engine_events, h);
    h->ops = ops;
    h->arg = arg;
    h->workers = workers;
    h->generation = hub_generation;
    h->state = HUB_GATHERING;
    list_init(&h->listings);
    list_init(&h->surveys);
    list_init(&h->told);
    list_init(&h->replies);
    h->users_renewed_ns = clock_ns();
    h->last_survey = clock_wall_ns(); /* not one of an earlier hub */
    list_init(&h->histories);
    list_init(&h->lingering);
    hub_pending_init(h);
    hub_members_init(h);
    for (unsigned i = 0; i < workers; i++) {
        struct hub_worker *w = &h->worker[i];

        list_init(&w->pending);
        list_init(&w->member_lists);
        w->debt = ops->debt != NULL ? ops->debt(arg, i) : NULL;
        if (w->debt != NULL)
            w->missed_generation = atomic_load(&w->debt->behind);
    }
    hub_write_off(h);
    return h;
}

static void free_channel(struct htab_node *node, void *arg)
{
    hub_channel_free(arg, CONTAINER_OF(node, struct hub_channel, node));
}

void hub_free(struct hub *h)
{
    size_t cursor = 0;

    if (h == NULL)
        return;
    while (htab_scan(&h->channels, &cursor, SIZE_MAX, free_channel, h)) {
    }
    htab_fini(&h->channels);
    for (unsigned i = 0; i < h->workers; i++) {
        METRIC_ADD(hub_queue_bytes, -(int64_t)h->worker[i].out.bytes);
        queue_fini(&h->worker[i].out);
    }
    queue_fini(&h->aside);
    hub_list_fini(h);
    hub_survey_fini(h);
    hub_elsewhere_fini(h);
    hub_history_fini(h);
    hub_members_fini(h);
    hub_users_fini(h);
    hub_pending_fini(h);
    engine_free(h->engine);
    free(h);
}

void hub_set_limits(struct hub *h, struct hub_limits limits)
{
    h->limits = limits;
}

enum hub_state hub_state(const struct hub *h)
{
    return h->state;
}

void hub_go_live(struct hub *h)
{
    assert(h->state == HUB_GATHERING && h->aside.first == NULL);
    h->state = HUB_LIVE;
    for (unsigned i = 0; i < h->workers; i++) {
        h->worker[i].missed_generation = 0;
        hub_mark_behind(h, i);
    }
}

size_t hub_channel_count(const struct hub *h)
{
    return h->channels.count;
}

bool hub_wants(const struct hub *h, unsigned worker)
{
    const struct hub_worker *w = &h->worker[worker];

    if (w->out.bytes >= h->limits.queue_max + HUB_QUEUE_RESERVE)
        return false;
    switch (h->state) {
    case HUB_GATHERING:
        return w->aside_bytes < HUB_ASIDE_MAX &&
               (w->announced == 0 || w->announced != h->ops->generation(h->arg, worker));
    case HUB_REPLAYING:
        return false;
    case HUB_LIVE:
        return h->congested == 0 &&
               (h->engine->ops->wants == NULL || h->engine->ops->wants(h->engine));
    }
    return false;
}

/* Interest made in the old life is stale from now on; the sweep removes it. */
static void forget(struct hub *h, unsigned worker)
{
    struct hub_worker *w = &h->worker[worker];

    w->life++;
    w->announced = 0;
    w->owed = 0;
    w->round = 0;
    w->mark++;
    h->stale = h->users_stale = true;
    hub_queue_drop(h, worker);
    hub_members_drop(h, worker);
    hub_presence_forget(h, worker);
    hub_mark_behind(h, worker);
}

/* The present incarnation speaks: if it is a new one, the old one's interest ends. */
void hub_adopt(struct hub *h, unsigned worker, uint32_t generation, bool hello)
{
    struct hub_worker *w = &h->worker[worker];

    if (w->generation == generation && !hello)
        return;
    if (w->generation != 0)
        forget(h, worker);
    w->generation = generation;
    if (w->missed_generation != generation) /* that one and its subscribers are gone */
        w->missed_generation = 0;
    hub_mark_behind(h, worker);
}

void hub_worker_gone(struct hub *h, unsigned worker)
{
    struct hub_worker *w = &h->worker[worker];

    if (w->generation != 0 && w->generation == h->ops->generation(h->arg, worker))
        return; /* the next incarnation has been heard already, hub_adopt() has done it */
    forget(h, worker);
    w->generation = 0;
    w->missed_generation = 0;
    hub_mark_behind(h, worker);
    hub_gather_check(h);
}

/* --- records --- */

void hub_answer_subscribed(struct hub *h, struct hub_channel *c, struct interest *i)
{
    struct hub_worker *w = &h->worker[i->worker];
    struct record answer = {
        .kind = RECORD_SUBSCRIBED,
        .flags = c->engine.stream != NULL ? RECORD_IN_STREAM : 0,
        .chan = i->chan,
        .epoch = c->engine.at.epoch,
        .offset = c->engine.at.offset,
    };

    i->asked = false;
    if (w->missed_generation == w->generation)
        hub_mark_lost(h, i);
    if (hub_answer(h, i->worker, &answer) == -1 ||
        (i->lost && hub_report_lost(h, i, c->engine.at) == -1))
        return; /* the worker asks again; the sweep reports */
}

/* Happy path: find or make the channel and the interest, have the engine subscribe if it has not,
 * answer SUBSCRIBED. Repeating it is harmless: an announcement to a new hub is the same record. Can
 * fail: no memory; then there is no answer, and the worker asks again when its next subscriber comes.
 * The engine is away: the answer says so, and another one comes when it is back. */
static void handle_subscribe(struct hub *h, unsigned worker, const struct record *r)
{
    struct hub_worker *w = &h->worker[worker];
    struct hub_channel *c = hub_find(h, r->name);
    struct interest *i;

    if (c == NULL && (c = hub_channel_new(h, r->name)) == NULL)
        return;
    i = hub_interest_find(h, c, worker);
    if (i == NULL && (i = hub_interest_add(h, c, worker)) == NULL) {
        hub_channel_prune(h, c);
        return;
    }
    if (i->lost && i->chan != r->chan) { /* those who lost something have left */
        i->lost = false;
        w->owed--;
        hub_mark_behind(h, worker);
    }
    i->chan = r->chan;
    i->count = r->count;
    i->asked = true;
    if (c->subscribed == HUB_SUBSCRIBED) {
        hub_answer_subscribed(h, c, i);
    } else if (c->subscribed != HUB_SUBSCRIBING) {
        c->subscribed = HUB_SUBSCRIBING;
        h->engine->ops->subscribe(h->engine, &c->engine, hub_channel_name(c));
    }
}

/* COUNT and UNSUBSCRIBE name the worker's channel id too: an older id is out of date. */
static void handle_count(struct hub *h, unsigned worker, const struct record *r)
{
    struct hub_channel *c = hub_find(h, r->name);
    struct interest *i = c != NULL ? hub_interest_find(h, c, worker) : NULL;

    if (i != NULL && i->chan == r->chan)
        i->count = r->count;
}

static void handle_unsubscribe(struct hub *h, unsigned worker, const struct record *r)
{
    struct hub_channel *c = hub_find(h, r->name);
    struct interest *i = c != NULL ? hub_interest_find(h, c, worker) : NULL;

    if (i == NULL || i->chan != r->chan)
        return;
    hub_interest_remove(h, c, (unsigned)(i - hub_interests(c)));
    hub_interest_drop_stale(h, c);
    hub_channel_prune(h, c);
}

void hub_handle(struct hub *h, const struct record *r, bool fresh)
{
    if (r->kind == RECORD_PUBLISH)
        hub_publish(h, r, fresh);
    else if (!fresh)
        METRIC_INC(ring_bad_records);
    else if (r->kind == RECORD_FENCE)
        hub_fence(h, r);
    else if (r->kind == RECORD_POSITION)
        hub_position(h, r);
    else if (r->kind == RECORD_PRESENCE_ADD || r->kind == RECORD_PRESENCE_REMOVE)
        hub_presence_change(h, r);
    else if (r->kind == RECORD_PRESENCE)
        hub_members_start(h, r);
    else if (r->kind == RECORD_PRESENCE_STATS)
        hub_presence_stats(h, r);
    else if (r->kind == RECORD_CONTROL)
        hub_control(h, r);
    else if (r->kind == RECORD_USER)
        hub_user_count(h, r);
    else if (r->kind == RECORD_USER_CONNECT)
        hub_user_connect(h, r);
    else if (r->kind == RECORD_HISTORY)
        hub_history_start(h, r);
    else if (r->kind == RECORD_HISTORY_REMOVE)
        hub_remove(h, r);
    else
        hub_list_start(h, r->source, r);
}

/* Records about interest take effect at once, in every state. */
static void handle_interest(struct hub *h, unsigned worker, const struct record *r)
{
    if (r->kind == RECORD_SUBSCRIBE && !channel_name_valid(r->name)) {
        /* Names go into listings unescaped. */
        METRIC_INC(ring_bad_records);
        return;
    }
    if (r->kind == RECORD_SUBSCRIBE)
        handle_subscribe(h, worker, r);
    else if (r->kind == RECORD_COUNT)
        handle_count(h, worker, r);
    else
        handle_unsubscribe(h, worker, r);
}

void hub_receive(struct hub *h, unsigned worker, const struct record *r, uint64_t position)
{
    uint32_t generation = h->ops->generation(h->arg, worker);
    bool fresh = generation != 0 && r->generation == generation;
    char name[CHANNEL_NAME_MAX];
    struct record own = *r;

    if (r->name.n > sizeof(name) || (!fresh && r->kind != RECORD_PUBLISH)) {
        METRIC_INC(ring_bad_records);
        return;
    }
    /* The ring stays writable for the worker: what is checked must be what is used. */
    if (r->name.n > 0)
        memcpy(name, r->name.p, r->name.n);
    own.name.p = name;
    own.source = (uint16_t)worker;
    own.position = position;
    if (fresh)
        hub_adopt(h, worker, generation, r->kind == RECORD_HELLO);
    switch (r->kind) {
    case RECORD_HELLO:
        break;
    case RECORD_SUBSCRIBE:
    case RECORD_COUNT:
    case RECORD_UNSUBSCRIBE:
        handle_interest(h, worker, &own);
        break;
    case RECORD_ANNOUNCED:
        hub_announced(h, worker, &own);
        break;
    case RECORD_USER:
    case RECORD_PRESENCE_ADD:
        if (own.flags & PRESENCE_AGAIN) { /* part of announcing */
            hub_handle(h, &own, fresh);
            break;
        }
        /* FALLTHROUGH */
    case RECORD_PRESENCE_REMOVE:
    case RECORD_PRESENCE:
    case RECORD_PRESENCE_STATS:
    case RECORD_CONTROL:
    case RECORD_USER_CONNECT:
    case RECORD_PUBLISH:
    case RECORD_FENCE:
    case RECORD_LIST:
    case RECORD_POSITION:
    case RECORD_HISTORY:
    case RECORD_HISTORY_REMOVE:
        if (h->state == HUB_LIVE)
            hub_handle(h, &own, fresh);
        else
            hub_set_aside(h, &own);
        break;
    default: /* not a kind that workers send; record_decode() has let it pass */
        METRIC_INC(ring_bad_records);
    }
}
