/* core/broker.c - a worker's channels and who subscribes to them. */
#include "broker_internal.h"

#include <assert.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/metrics.h"

/* --- life --- */

struct broker *broker_new(const struct broker_config *cfg)
{
    struct broker *b;

    assert(cfg->worker < HUB_WORKERS_MAX && cfg->generation >= 1);
    b = calloc(1, sizeof(*b));
    if (b == NULL)
        return NULL;
    b->cfg = *cfg;
    b->next_id = 1;
    list_init(&b->asks);
    list_init(&b->owed);
    list_init(&b->members);
    list_init(&b->users_owed);
    pool_init(&b->walks, "walk", sizeof(struct walk), 0);
    list_init(&b->tails);
    list_init(&b->fetches);
    list_init(&b->fetching);
    recover_open(b);
    broker_link_init(b);
    return b;
}

static void free_chan(struct htab_node *node, void *arg)
{
    struct chan *c = CONTAINER_OF(node, struct chan, by_name);

    for (uint32_t i = 0; i < c->count; i++) {
        c->subs[i]->chan = NULL;
        c->subs[i]->live = false;
    }
    METRIC_ADD(subscriptions, -(int64_t)c->count);
    c->count = 0;
    broker_chan_free(arg, c);
}

void broker_free(struct broker *b)
{
    size_t cursor = 0;

    if (b == NULL)
        return;
    task_remove(&b->announce);
    while (htab_scan(&b->by_name, &cursor, SIZE_MAX, free_chan, b)) {
    }
    htab_fini(&b->by_name);
    htab_fini(&b->by_id);
    pool_fini(&b->walks);
    queue_fini(&b->behind);
    buf_fini(&b->info);
    buf_fini(&b->fields);
    users_fini(b);
    recover_close(b);
    free(b);
}

/* --- channels --- */

static bool name_equal(const struct htab_node *node, const void *key)
{
    return str_equal(chan_name(CONTAINER_OF(node, struct chan, by_name)), *(const struct str *)key);
}

static bool id_equal(const struct htab_node *node, const void *key)
{
    return CONTAINER_OF(node, struct chan, by_id)->id == *(const uint32_t *)key;
}

/* Ids are ours and count up: spread over the low bits they need no keyed hash. */
static uint64_t id_hash(uint32_t id)
{
    return id;
}

static struct chan *find(struct broker *b, struct str name)
{
    struct htab_node *node = htab_find(&b->by_name, hash_str(name), name_equal, &name);

    return node != NULL ? CONTAINER_OF(node, struct chan, by_name) : NULL;
}

struct chan *broker_chan_by_id(struct broker *b, uint32_t id)
{
    struct htab_node *node = htab_find(&b->by_id, id_hash(id), id_equal, &id);

    return node != NULL ? CONTAINER_OF(node, struct chan, by_id) : NULL;
}

static uint32_t fresh_id(struct broker *b)
{
    while (b->next_id == 0 || broker_chan_by_id(b, b->next_id) != NULL)
        b->next_id++;
    return b->next_id++;
}

static struct chan *chan_new(struct broker *b, struct str name)
{
    struct chan *c = calloc(1, MAX(sizeof(*c), offsetof(struct chan, name) + name.n));

    if (c == NULL)
        return NULL;
    c->id = fresh_id(b);
    c->ask = true;
    c->subs = &c->one;
    c->cap = 1;
    list_init(&c->owed);
    c->name_len = (uint8_t)name.n;
    memcpy(c->name, name.p, name.n);
    c->by_name.hash = hash_str(name);
    c->by_id.hash = id_hash(c->id);
    if (htab_insert(&b->by_name, &c->by_name) == -1)
        goto err;
    if (htab_insert(&b->by_id, &c->by_id) == -1)
        goto err_by_name;
    METRIC_ADD(worker_channels, 1);
    return c;

err_by_name:
    htab_remove(&b->by_name, &c->by_name);
err:
    free(c);
    return NULL;
}

void broker_chan_free(struct broker *b, struct chan *c)
{
    assert(c->count == 0);
    fanout_drop(b, c);
    if (b->scan == c)
        b->scan = NULL;
    tail_free(c);
    list_remove(&c->owed);
    htab_remove(&b->by_name, &c->by_name);
    htab_remove(&b->by_id, &c->by_id);
    METRIC_ADD(worker_channels, -1);
    if (c->subs != &c->one)
        free(c->subs);
    free(c);
}

struct str chan_name(const struct chan *c)
{
    return (struct str){.p = c->name, .n = c->name_len};
}

/* Room for one more subscriber. */
static int reserve(struct chan *c)
{
    /* The smallest piece that malloc gives holds three. Doubling at first; a large array wastes an
     * eighth at most on average. */
    uint32_t cap = c->cap == 1 ? 3 : c->cap < 1024 ? c->cap * 2 : c->cap + c->cap / 4;
    struct sub **grown;

    if (c->count < c->cap)
        return 0;
    grown = realloc(c->subs == &c->one ? NULL : c->subs, cap * sizeof(struct sub *));
    if (grown == NULL)
        return -1;
    if (c->subs == &c->one)
        grown[0] = c->one;
    c->subs = grown;
    c->cap = cap;
    return 0;
}

/* Gives memory back when three quarters are unused, so that joining again at once does not
 * grow it. */
static void shrink(struct chan *c)
{
    struct sub **less;

    if (c->cap < 16 || c->count > c->cap / 4)
        return;
    less = realloc(c->subs, c->cap / 2 * sizeof(struct sub *));
    if (less == NULL)
        return;
    c->subs = less;
    c->cap /= 2;
}

/* --- subscribers --- */

static struct chan *find_or_make(struct broker *b, struct str name, enum close_reason *why)
{
    struct chan *c = find(b, name);

    if (c != NULL)
        return c;
    if (b->by_name.count >= (size_t)config.max_channels) {
        *why = CLOSE_CHANNEL_LIMIT;
        return NULL;
    }
    c = chan_new(b, name);
    if (c == NULL)
        *why = CLOSE_NO_MEMORY;
    return c;
}

/* An answer that is long overdue will not come (the hub had no memory for it). */
static bool overdue(const struct chan *c)
{
    return c->state == CHAN_ASKING && (uint32_t)(clock_ns() / NS_PER_MS) - c->asked_ms >=
                                          config.hub_timeout / (int64_t)NS_PER_MS;
}

int broker_subscribe(struct broker *b, struct sub *s, struct str channel, enum close_reason *why)
{
    struct chan *c;

    assert(s->chan == NULL && channel.n >= 1 && channel.n <= CHANNEL_NAME_MAX);
    c = find_or_make(b, channel, why);
    if (c == NULL)
        return -1;
    if (reserve(c) == -1) {
        if (c->count == 0 && c->state == CHAN_NEW)
            broker_chan_free(b, c);
        *why = CLOSE_NO_MEMORY;
        return -1;
    }
    s->chan = c;
    s->index = c->count;
    s->live = false;
    c->subs[c->count++] = s;
    if (UNLIKELY(s->joins))
        c->joins = true;
    b->subscriptions++;
    METRIC_ADD(subscriptions, 1);
    if (overdue(c) || (c->refused && c->state == CHAN_ASKING))
        c->ask = true;
    broker_owe(b, c);
    if (c->state == CHAN_LIVE) {
        s->live = true;
        broker_sink(b, s)->subscribed(s, fanout_before(c));
    }
    return 0;
}

void broker_unsubscribe(struct broker *b, struct sub *s)
{
    struct chan *c = s->chan;

    if (c == NULL)
        return;
    if (s->recovering)
        recover_cancel(b, s);
    fanout_leave(c, s->index);
    s->chan = NULL;
    s->live = false;
    b->subscriptions--;
    METRIC_ADD(subscriptions, -1);
    if (c->count == 0) {
        fanout_drop(b, c);
        tail_free(c);
        if (c->state == CHAN_NEW) {
            broker_chan_free(b, c);
            return;
        }
    }
    shrink(c);
    broker_owe(b, c);
}

bool broker_sub_settled(const struct sub *s)
{
    return s->chan == NULL || fanout_settled(s->chan, s->index);
}

/* --- for /debug --- */

void broker_stats(const struct broker *b, struct broker_stats *out)
{
    *out = (struct broker_stats){
        .channels = b->by_name.count,
        .subscriptions = b->subscriptions,
        .backlog_bytes = b->backlog,
        .walks = b->walks.in_use,
        .users = b->users.count,
        .waiting_bytes = b->behind.bytes,
        .announcing = b->announcing,
    };
}
