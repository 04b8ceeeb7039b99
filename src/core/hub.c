/* core/hub.c - channels, the interest of workers in them, and what each record does. */
#include "hub_internal.h"

#include <assert.h>

#include "base/clock.h"
#include "base/metrics.h"

_Static_assert(sizeof(struct interest) == 16, "a publication walks these");

/* --- life --- */

struct hub *hub_new(unsigned workers, uint64_t queue_max, uint32_t hub_generation,
                    const struct hub_ops *ops, void *arg)
{
    struct hub *h;

    assert(workers >= 1 && workers <= HUB_WORKERS_MAX);
    h = calloc(1, sizeof(*h) + workers * sizeof(h->worker[0]));
    if (h == NULL)
        return NULL;
    h->ops = ops;
    h->arg = arg;
    h->workers = workers;
    h->generation = hub_generation;
    h->state = HUB_GATHERING;
    h->queue_max = queue_max;
    /* Channels come at less than one a nanosecond, so no incarnation repeats another's epochs. */
    h->next_epoch = clock_wall_ns() + 1;
    list_init(&h->listings);
    for (unsigned i = 0; i < workers; i++) {
        struct hub_worker *w = &h->worker[i];

        w->behind = ops->behind != NULL ? ops->behind(arg, i) : NULL;
        if (w->behind != NULL)
            w->missed_generation = atomic_load(w->behind);
    }
    return h;
}

static void free_channel(struct htab_node *node, void *arg)
{
    struct hub *h = arg;
    struct hub_channel *c = CONTAINER_OF(node, struct hub_channel, node);

    c->n = 0;
    hub_channel_prune(h, c);
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
    free(h);
}

void hub_set_queue_max(struct hub *h, uint64_t queue_max)
{
    h->queue_max = queue_max;
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

    if (w->out.bytes >= h->queue_max + HUB_QUEUE_RESERVE || w->listings >= HUB_LISTINGS_MAX)
        return false;
    switch (h->state) {
    case HUB_GATHERING:
        return w->aside_bytes < HUB_ASIDE_MAX &&
               (w->announced == 0 || w->announced != h->ops->generation(h->arg, worker));
    case HUB_REPLAYING:
        return false;
    case HUB_LIVE:
        return h->congested == 0;
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
    h->stale = true;
    hub_queue_drop(h, worker);
    hub_mark_behind(h, worker);
}

/* The present incarnation speaks: if it is a new one, the old one's interest ends. */
static void adopt(struct hub *h, unsigned worker, uint32_t generation, bool hello)
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
        return; /* the next incarnation has been heard already, adopt() has done it */
    forget(h, worker);
    w->generation = 0;
    w->missed_generation = 0;
    hub_mark_behind(h, worker);
    hub_gather_check(h);
}

/* --- channels --- */

static bool name_equal(const struct htab_node *node, const void *key)
{
    const struct hub_channel *c = CONTAINER_OF(node, struct hub_channel, node);

    return str_equal((struct str){.p = c->name, .n = c->name_len}, *(const struct str *)key);
}

struct hub_channel *hub_find(struct hub *h, struct str name)
{
    struct htab_node *node = htab_find(&h->channels, hash_str(name), name_equal, &name);

    return node != NULL ? CONTAINER_OF(node, struct hub_channel, node) : NULL;
}

static struct hub_channel *channel_new(struct hub *h, struct str name)
{
    struct hub_channel *c = calloc(1, sizeof(*c) + name.n);

    if (c == NULL)
        return NULL;
    c->epoch = h->next_epoch++;
    c->cap = 1;
    c->name_len = (uint8_t)name.n;
    memcpy(c->name, name.p, name.n);
    c->node.hash = hash_str(name);
    if (htab_insert(&h->channels, &c->node) == -1) {
        free(c);
        return NULL;
    }
    METRIC_ADD(hub_channels, 1);
    return c;
}

void hub_channel_prune(struct hub *h, struct hub_channel *c)
{
    if (c->n > 0)
        return;
    htab_remove(&h->channels, &c->node);
    METRIC_ADD(hub_channels, -1);
    if (c->cap > 1)
        free(c->many);
    free(c);
}

static struct interest *find_interest(struct hub *h, struct hub_channel *c, unsigned worker)
{
    struct interest *list = hub_interests(c);

    for (unsigned i = 0; i < c->n; i++) {
        if (list[i].worker == worker && !hub_interest_stale(h, &list[i]))
            return &list[i];
    }
    return NULL;
}

/* Removes the old incarnations' entries, so that there are never more than workers. */
static void drop_stale(struct hub *h, struct hub_channel *c)
{
    for (unsigned i = 0; i < c->n;) {
        if (hub_interest_stale(h, &hub_interests(c)[i]))
            hub_interest_remove(h, c, i);
        else
            i++;
    }
}

static int grow_interests(struct hub_channel *c)
{
    unsigned cap = c->cap * 2u;
    struct interest *grown = realloc(c->cap == 1 ? NULL : c->many, cap * sizeof(*grown));

    if (grown == NULL)
        return -1;
    if (c->cap == 1)
        grown[0] = c->one;
    c->many = grown;
    c->cap = (uint16_t)cap;
    return 0;
}

static struct interest *add_interest(struct hub *h, struct hub_channel *c, unsigned worker)
{
    struct interest *added;

    drop_stale(h, c);
    if (c->n == c->cap && grow_interests(c) == -1)
        return NULL;
    added = &hub_interests(c)[c->n++];
    *added = (struct interest){.worker = (uint16_t)worker, .life = h->worker[worker].life};
    return added;
}

void hub_interest_remove(struct hub *h, struct hub_channel *c, unsigned i)
{
    struct interest *list = hub_interests(c), *gone = &list[i];

    if (gone->lost && !hub_interest_stale(h, gone)) {
        h->worker[gone->worker].owed--;
        hub_mark_behind(h, gone->worker);
    }
    *gone = list[--c->n];
}

/* --- records --- */

/* Happy path: find or make the channel and the interest, answer SUBSCRIBED. Repeating it is
 * harmless: an announcement to a new hub is the same record. Can fail: no memory; then there is no
 * answer, and the worker asks again when its next subscriber comes. */
static void handle_subscribe(struct hub *h, unsigned worker, const struct record *r)
{
    struct hub_worker *w = &h->worker[worker];
    struct hub_channel *c = hub_find(h, r->name);
    struct interest *i;
    struct record answer = {.kind = RECORD_SUBSCRIBED, .chan = r->chan};

    if (c == NULL && (c = channel_new(h, r->name)) == NULL)
        return;
    i = find_interest(h, c, worker);
    if (i == NULL && (i = add_interest(h, c, worker)) == NULL) {
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
    answer.epoch = c->epoch;
    answer.offset = c->offset;
    if (w->missed_generation == w->generation)
        hub_mark_lost(h, i);
    if (hub_answer(h, worker, &answer) == -1 || (i->lost && hub_report_lost(h, i) == -1))
        return; /* the worker asks again; the sweep reports */
}

/* COUNT and UNSUBSCRIBE name the worker's channel id too: an older id is out of date. */
static void handle_count(struct hub *h, unsigned worker, const struct record *r)
{
    struct hub_channel *c = hub_find(h, r->name);
    struct interest *i = c != NULL ? find_interest(h, c, worker) : NULL;

    if (i != NULL && i->chan == r->chan)
        i->count = r->count;
}

static void handle_unsubscribe(struct hub *h, unsigned worker, const struct record *r)
{
    struct hub_channel *c = hub_find(h, r->name);
    struct interest *i = c != NULL ? find_interest(h, c, worker) : NULL;

    if (i == NULL || i->chan != r->chan)
        return;
    hub_interest_remove(h, c, (unsigned)(i - hub_interests(c)));
    drop_stale(h, c);
    hub_channel_prune(h, c);
}

static void handle_publish(struct hub *h, unsigned worker, const struct record *r,
                           uint64_t position, bool fresh)
{
    struct hub_channel *c = hub_find(h, r->name);
    struct record out = {
        .kind = RECORD_PUBLICATION,
        .flags = r->flags & (RECORD_BINARY | RECORD_JSON),
        .source = (uint16_t)worker,
        .token = r->token,
        .position = position,
        .time_ns = r->time_ns,
        .asker = r->asker,
        .data = r->data,
        .fields = r->fields,
    };

    METRIC_INC(publications_ordered);
    if (c != NULL) {
        out.epoch = c->epoch;
        out.offset = ++c->offset;
        drop_stale(h, c);
        for (unsigned i = 0; i < c->n; i++)
            hub_deliver(h, &hub_interests(c)[i], &out);
        hub_channel_prune(h, c);
    }
    if (fresh && (r->flags & RECORD_WANT_ACK)) {
        struct record ack = {
            .kind = RECORD_PUBLISHED,
            .asker = r->asker,
            .token = r->token,
            .epoch = out.epoch,
            .offset = out.offset,
            .position = position,
        };

        if (hub_answer(h, worker, &ack) == -1)
            return; /* the asker's time runs out */
    }
}

static void handle_fence(struct hub *h, unsigned worker, const struct record *r, uint64_t position)
{
    struct record answer = {
        .kind = RECORD_FENCED, .asker = r->asker, .token = r->token, .position = position};

    if (hub_answer(h, worker, &answer) == -1)
        return; /* the asker's time runs out */
}

void hub_handle(struct hub *h, unsigned worker, const struct record *r, uint64_t position,
                bool fresh)
{
    if (r->kind == RECORD_PUBLISH)
        handle_publish(h, worker, r, position, fresh);
    else if (!fresh)
        METRIC_INC(ring_bad_records);
    else if (r->kind == RECORD_FENCE)
        handle_fence(h, worker, r, position);
    else
        hub_list_start(h, worker, r);
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
    if (fresh)
        adopt(h, worker, generation, r->kind == RECORD_HELLO);
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
    case RECORD_PUBLISH:
    case RECORD_FENCE:
    case RECORD_LIST:
        if (h->state == HUB_LIVE)
            hub_handle(h, worker, &own, position, fresh);
        else
            hub_set_aside(h, worker, &own, position);
        break;
    default: /* not a kind that workers send; record_decode() has let it pass */
        METRIC_INC(ring_bad_records);
    }
}
