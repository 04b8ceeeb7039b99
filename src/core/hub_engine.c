/* core/hub_engine.c - publications to the engine, and what it says to the workers.
 *
 * Happy path:
 *   1. a PUBLISH becomes a struct pending at the end of its worker's list, and a call
 *   2. the engine gives the publication back with its position, and it goes to every interested
 *      worker
 *   3. the call is complete: it is answered, unless its asker waits for an earlier one; it leaves the
 *      list, and its record the ring, when all before it is complete. FENCE is answered then.
 * Can fail: the engine does not take it (the publisher is told, if it asked), no memory for a
 * pending (the channel's subscribers are told that they have lost a publication). */
#include "hub_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/trace.h"

/* Flags of a publication that go to subscribers. */
#define OF_ANY      (RECORD_BINARY | RECORD_JSON | RECORD_DELTA | RECORD_EXCLUDE_ORIGIN)
#define OF_A_STREAM (OF_ANY | RECORD_IN_STREAM | RECORD_SKIP_HISTORY)

/* Writes the answer to whoever still waits for it. */
static void answer(struct hub *h, const struct pending *p)
{
    struct record r = {
        .asker = p->asker, .status = p->status, .token = p->token, .position = p->position};

    switch ((enum record_kind)p->kind) {
    case RECORD_PUBLISH:
        r.kind = RECORD_PUBLISHED;
        r.epoch = p->at.epoch;
        r.offset = p->at.offset;
        break;
    case RECORD_FENCE:
        r.kind = RECORD_FENCED;
        break;
    case RECORD_HISTORY_REMOVE:
        r.kind = RECORD_HISTORY_REMOVED;
        break;
    case RECORD_PRESENCE_STATS:
        r.kind = RECORD_MEMBER_COUNT;
        r.count = p->clients;
        r.offset = p->users;
        break;
    case RECORD_CONTROL:
        r.kind = RECORD_CONTROLLED;
        r.count = p->told;
        r.epoch = p->nodes_asked;
        r.offset = p->nodes_answered;
        break;
    case RECORD_USER_CONNECT:
        r.kind = RECORD_USER_CONNECTED;
        r.count = p->clients;
        break;
    default: /* nobody waits for the others */
        return;
    }
    if (hub_answer(h, p->worker, &r) == -1)
        return; /* the asker's time runs out */
}

/* Those who ask by the same name, of one worker, and maybe some others. */
static struct list *turns_of(struct hub *h, const struct pending *p)
{
    return &h->turns[turn_of(p->worker, p->asker, p->token)];
}

static __attribute__((noinline)) void answer_once(struct hub *h, struct pending *p)
{
    list_remove(&p->turn);
    if (p->life == h->worker[p->worker].life)
        answer(h, p);
    p->answer = false;
}

/* Whom nobody else's call keeps waiting: one channel's server may be away while others are there. */
static __attribute__((noinline)) void answer_in_turn(struct hub *h, const struct pending *done)
{
    struct list *turns = turns_of(h, done);

    while (!list_empty(turns)) {
        struct pending *p = LIST_ENTRY(turns->next, struct pending, turn);

        if (!p->complete)
            return;
        answer_once(h, p);
    }
}

/* Takes what is complete off the front of the worker's list. */
static void give_back(struct hub *h, unsigned worker)
{
    struct hub_worker *w = &h->worker[worker];

    while (!list_empty(&w->pending)) {
        struct pending *p = LIST_ENTRY(w->pending.next, struct pending, link);

        if (!p->complete)
            return;
        if (p->answer)
            answer_once(h, p);
        list_remove(&p->link);
        pool_put(&h->pendings, p);
    }
}

/* answer: somebody waits for it. */
static inline __attribute__((always_inline)) void fill(struct pending *p, struct hub *h,
                                                       const struct record *r, bool answer)
{
    memset(&p->position, 0, sizeof(*p) - offsetof(struct pending, position));
    p->position = r->position;
    p->token = r->token;
    p->life = h->worker[r->source].life;
    p->worker = r->source;
    p->kind = r->kind;
    p->asker = r->asker;
    p->answer = answer;
    list_append(&h->worker[r->source].pending, &p->link);
    if (!answer)
        return;
    list_init(&p->turn);
    if (r->kind != RECORD_FENCE)
        list_append(turns_of(h, p), &p->turn);
}

static bool has_condition(struct str fields)
{
    struct str value;

    return record_field(fields, FIELD_IDEMPOTENCY_KEY, &value) ||
           record_field(fields, FIELD_VERSION, &value);
}

/* The publication without the fields that are for the hub alone, which become its condition. -1: no
 * memory. */
static int take_condition(const struct record *r, struct buf *fields,
                          struct engine_condition *condition)
{
    struct str rest = r->fields, value;
    uint8_t type;

    while (record_next_field(&rest, &type, &value)) {
        if (type == FIELD_IDEMPOTENCY_KEY) {
            condition->idempotency_key = value;
        } else if (type == FIELD_VERSION && value.n >= sizeof(condition->version)) {
            memcpy(&condition->version, value.p, sizeof(condition->version));
            condition->version_epoch = str_skip(value, sizeof(condition->version));
        } else if (type != FIELD_VERSION && record_add_field(fields, type, value) == -1) {
            return -1;
        }
    }
    return 0;
}

static struct engine_channel *engine_channel_of(struct hub_channel *c)
{
    return c != NULL && c->subscribed == HUB_SUBSCRIBED ? &c->engine : NULL;
}

/* What has no memory for them is lost. */
static void publish_if(struct hub *h, struct hub_channel *c, const struct record *r,
                       struct pending *p)
{
    struct engine_condition condition = {0};
    struct record own = *r;
    struct buf fields = {0};

    if (take_condition(r, &fields, &condition) == -1) {
        hub_lose(h, r->name);
        if (p->answer) /* the asker's time runs out */
            list_remove(&p->turn);
        p->answer = false;
        hub_pending_done(h, p, ENGINE_UNAVAILABLE);
    } else {
        own.fields = buf_view(&fields);
        h->engine->ops->publish(h->engine, engine_channel_of(c), &own, &condition,
                                (uint64_t)(uintptr_t)p);
    }
    buf_fini(&fields);
}

/* The engine's answer is told of with the channel's name, which has to be kept until then. */
static __attribute__((cold, noinline)) void trace_take(struct pending *p, const struct record *r)
{
    TRACE_FOR(take, r->source, trace_conn_of(r->asker, r->token), r->name,
              TRACE_PUBLICATION(r->source, r->position), r->data.n, trace_since(r->time_ns));
    p->name = r->name.n > 0 ? malloc(r->name.n) : NULL;
    if (p->name == NULL) /* then it is not told of */
        return;
    memcpy(p->name, r->name.p, r->name.n);
    p->name_len = (uint8_t)r->name.n;
}

static __attribute__((cold, noinline)) void trace_done(struct pending *p)
{
    TRACE_FOR(done, p->worker, trace_conn_of(p->asker, p->token),
              ((struct str){.p = p->name, .n = p->name_len}),
              TRACE_PUBLICATION(p->worker, p->position), p->at.offset, p->status);
    free(p->name);
    p->name = NULL;
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
    fill(p, h, r, fresh && (r->flags & RECORD_WANT_ACK));
    p->aside = h->replaying;
    h->replaying = false;
    if (TRACE_WANTED(take))
        trace_take(p, r);
    if (UNLIKELY(r->fields.n > 0) && has_condition(r->fields))
        publish_if(h, c, r, p);
    else
        h->engine->ops->publish(h->engine, engine_channel_of(c), r, NULL, (uint64_t)(uintptr_t)p);
}

struct pending *hub_pending_new(struct hub *h, const struct record *r)
{
    struct pending *p = pool_get(&h->pendings);

    if (p == NULL)
        return NULL;
    fill(p, h, r, true);
    return p;
}

void hub_pending_done(struct hub *h, struct pending *p, enum engine_status status)
{
    p->complete = true;
    p->status = (uint8_t)status;
    if (UNLIKELY(p->name != NULL))
        trace_done(p);
    if (UNLIKELY(p->aside))
        hub_aside_done(h, p->worker);
    if (p->answer && list_linked(&p->turn))
        answer_in_turn(h, p);
    give_back(h, p->worker);
}

void hub_fence(struct hub *h, const struct record *r)
{
    struct hub_worker *w = &h->worker[r->source];
    struct pending alone, *p = list_empty(&w->pending) ? &alone : pool_get(&h->pendings);

    if (p == NULL)
        return; /* the asker's time runs out */
    fill(p, h, r, true);
    p->complete = true;
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

void hub_pending_init(struct hub *h)
{
    pool_init(&h->pendings, "pending", sizeof(struct pending), 0);
    for (unsigned i = 0; i < TURNS; i++)
        list_init(&h->turns[i]);
}

void hub_pending_fini(struct hub *h)
{
    for (unsigned i = 0; i < h->workers; i++) {
        const struct list *pending = &h->worker[i].pending;

        for (struct list *l = pending->next; l != pending; l = l->next)
            free(LIST_ENTRY(l, struct pending, link)->name);
    }
    pool_fini(&h->pendings);
}

/* --- publications that nobody is told of --- */

#define DROPPING_NS (10 * NS_PER_SEC) /* without a further one, and they are taken again */

static void count_dropped(enum engine_status status)
{
    switch (status) {
    case ENGINE_UNAVAILABLE:
        METRIC_INC(engine_dropped_unavailable);
        break;
    case ENGINE_UNKNOWN:
        METRIC_INC(engine_dropped_unknown);
        break;
    case ENGINE_TOO_BIG:
        METRIC_INC(engine_dropped_too_big);
        break;
    default:
        METRIC_INC(engine_dropped_refused);
    }
}

/* One line when it begins, one when it has ended. */
static __attribute__((noinline)) void note_dropped(struct hub *h, const struct pending *p,
                                                   enum engine_status status)
{
    bool gone = status != ENGINE_OK && status != ENGINE_DUPLICATE && status != ENGINE_SUPPRESSED;

    if (gone && p->kind == RECORD_PUBLISH && !p->answer) {
        count_dropped(status);
        if (h->dropped++ == 0)
            LOG(LOG_WARN,
                "publications whose publishers cannot be told are lost: the engine does not take "
                "them",
                KV_S("engine", h->engine->ops->name), KV_S("status", engine_status_name(status)));
        h->dropped_ns = clock_ns();
    } else if (!gone && h->dropped > 0 && clock_ns() - h->dropped_ns > DROPPING_NS) {
        LOG(LOG_INFO, "publications are taken again", KV_U("lost", h->dropped));
        h->dropped = 0;
    }
}

/* --- the engine's upcalls --- */

static void on_done(void *hub, uint64_t token, enum engine_status status, struct position at)
{
    struct pending *p = (struct pending *)(uintptr_t)token;

    if (p == NULL) /* nobody waits for it */
        return;
    switch ((enum record_kind)p->kind) {
    case RECORD_USER_CONNECT:
        hub_user_counted(hub, p, status);
        break;
    case RECORD_HISTORY:
        hub_history_done(hub, p, status, at);
        break;
    case RECORD_HISTORY_REMOVE:
        hub_removed(hub, p, status, at);
        break;
    case RECORD_PRESENCE:
        hub_members_done(hub, p, status);
        break;
    case RECORD_HELLO:
        hub_forget_done(hub, p, status);
        break;
    case RECORD_CONTROL:
        hub_control_done(hub, p, status);
        break;
    case RECORD_PRESENCE_ADD:
    case RECORD_PRESENCE_REMOVE:
        if (status != ENGINE_OK)
            METRIC_INC(presence_lost);
        hub_pending_done(hub, p, status);
        break;
    case RECORD_PRESENCE_STATS:
        hub_pending_done(hub, p, status);
        break;
    default:
        if (UNLIKELY(status != ENGINE_OK || ((struct hub *)hub)->dropped > 0))
            note_dropped(hub, p, status);
        p->at = at;
        hub_pending_done(hub, p, status);
    }
}

/* Those who wait; whoever is subscribed already, at the worker, stays. */
static void refuse_subscribers(struct hub *h, struct hub_channel *c, enum engine_status status)
{
    for (unsigned i = 0; i < c->n; i++) {
        const struct interest *it = &hub_interests(c)[i];
        struct record r = {.kind = RECORD_SUBSCRIBED, .chan = it->chan, .status = (uint16_t)status};

        if (!it->asked || hub_interest_stale(h, it))
            continue;
        if (hub_answer(h, it->worker, &r) == -1)
            continue; /* the askers' time runs out */
    }
}

static void on_subscribed(void *hub, struct engine_channel *ec, enum engine_status status)
{
    struct hub_channel *c = CONTAINER_OF(ec, struct hub_channel, engine);
    struct hub *h = hub;

    if (status != ENGINE_OK) {
        c->subscribed = HUB_UNAVAILABLE; /* whoever asks next makes it say so again */
        refuse_subscribers(h, c, status);
        return;
    }
    c->subscribed = HUB_SUBSCRIBED;
    for (unsigned i = 0; i < c->n; i++) {
        struct interest *it = &hub_interests(c)[i];

        if (it->asked && !hub_interest_stale(h, it))
            hub_answer_subscribed(h, c, it);
    }
}

static __attribute__((cold, noinline)) void deliver_traced(struct hub *h, struct hub_channel *c,
                                                           struct record *out)
{
    unsigned worker = trace_worker(out->source);
    uint64_t conn = trace_conn_of(out->asker, out->token);
    uint64_t publication = TRACE_PUBLICATION(out->source, out->position);
    struct str name = hub_channel_name(c);

    TRACE_FOR(order, worker, conn, name, publication, out->offset, c->n);
    for (unsigned i = 0; i < c->n; i++) {
        struct interest *it = &hub_interests(c)[i];
        int rc = hub_deliver(h, it, out);
        uint64_t queued = h->worker[it->worker].out.bytes;

        if (rc == 0)
            TRACE_FOR(send, worker, conn, name, publication, it->worker, queued);
        else
            TRACE_FOR(lose, worker, conn, name, publication, it->worker, queued);
    }
}

static void on_message(void *hub, struct engine_channel *ec, const struct record *r)
{
    struct hub_channel *c = CONTAINER_OF(ec, struct hub_channel, engine);
    struct hub *h = hub;
    struct record out = *r;

    out.kind = RECORD_PUBLICATION;
    out.flags &= ec->stream != NULL ? OF_A_STREAM : OF_ANY;
    out.count = 0;
    out.epoch = c->engine.at.epoch;
    out.offset = c->engine.at.offset;
    out.name = STR_NULL;
    hub_interest_drop_stale(h, c);
    if (TRACE_WANTED(order) || TRACE_WANTED(send) || TRACE_WANTED(lose))
        deliver_traced(h, c, &out);
    else
        for (unsigned i = 0; i < c->n; i++)
            (void)hub_deliver(h, &hub_interests(c)[i], &out);
    if (UNLIKELY(c->n == 0))
        h->stale = true; /* the sweep prunes it */
}

static void on_lost(void *hub, struct engine_channel *ec)
{
    struct hub_channel *c = CONTAINER_OF(ec, struct hub_channel, engine);
    struct hub *h = hub;

    METRIC_INC(lost_publications);
    for (unsigned i = 0; i < c->n; i++)
        if (!hub_interest_stale(h, &hub_interests(c)[i]))
            hub_report_gap(h, &hub_interests(c)[i], ec->at);
}

const struct engine_events hub_engine_events = {
    .done = on_done,
    .subscribed = on_subscribed,
    .message = on_message,
    .lost = on_lost,
    .kept = hub_history_kept,
    .member = hub_on_member,
    .listed = hub_on_listed,
    .counted = hub_on_counted,
    .control = hub_on_control,
    .told = hub_on_told,
    .heard = hub_on_heard,
    .node = hub_on_node,
};
