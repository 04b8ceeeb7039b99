/* core/engine_redis.c - the hub's calls to the Redis engine: engine_redis.h. */
#include "engine_redis_internal.h"

#include "base/clock.h"
#include "base/metrics.h"
#include "core/channel_options.h"
#include "core/epoch.h"

/* A hub that was started again may find publications in its rings that the one before has sent. */
#define REPEATS_NS (30 * NS_PER_SEC)
#define VALUE_MAX  ((size_t)256 << 20) /* a long history */

void redis_done(struct redis *e, uint64_t token, enum engine_status status, struct position at)
{
    e->engine.events->done(e->engine.hub, token, status, at);
}

static void give_up(struct redis *e, uint64_t token, enum engine_status status)
{
    redis_done(e, token, status, (struct position){0});
}

/* Jump consistent hash (Lamping, Veach 2014): a further server takes its share of channels from all,
 * and no others move. */
static unsigned jump(uint64_t key, unsigned n)
{
    int64_t at = -1, next = 0;

    while (next < (int64_t)n) {
        at = next;
        key = key * UINT64_C(2862933555777941757) + 1;
        next =
            (int64_t)((double)(at + 1) * ((double)(INT64_C(1) << 31) / (double)((key >> 33) + 1)));
    }
    return (unsigned)at;
}

/* FNV-1a: the same on every node, unlike hash_str(). */
uint64_t redis_same_hash(struct str s)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * UINT64_C(0x100000001b3);
    return h;
}

struct redis_server *redis_server_of(struct redis *e, struct str channel)
{
    if (e->cluster != NULL)
        return redis_partition_of(e, redis_same_hash(channel))->server;
    return e->servers[e->nservers == 1 ? 0 : jump(redis_same_hash(channel), e->nservers)];
}

bool redis_is_home(const struct redis_server *s)
{
    return redis_server_of(s->engine, STR_NULL) == s;
}

struct redis_call *redis_ask(struct redis *e, enum redis_call_kind kind, struct str name,
                             uint64_t token)
{
    struct redis_server *s = redis_server_of(e, name);
    struct redis_call *c = redis_server_given_up(s) ? NULL : redis_call_new(s, kind, name);

    if (c == NULL) {
        give_up(e, token, ENGINE_UNAVAILABLE);
        return NULL;
    }
    c->token = token;
    return c;
}

static const struct channel_options *history_of(struct str name)
{
    const struct channel_options *o = channel_options_of(name);

    return o != NULL && channel_has_history(o) ? o : NULL;
}

/* --- publications --- */

/* Makes it part of the call. -1: no memory. */
static int add_publication(struct redis *e, struct redis_call *c, const struct record *r,
                           uint8_t flags, uint64_t token)
{
    struct envelope env = {
        .node = e->s.node, .call = c->id, .wall_ms = clock_wall_ns() / NS_PER_MS, .r = *r};
    size_t before = c->body.len;

    env.r.kind = RECORD_PUBLICATION;
    env.r.flags = flags;
    if (envelope_write(&c->body, &env) == -1)
        return -1;
    c->pubs[c->n++] = (struct redis_publication){.token = token};
    redis_call_grew(c, c->body.len - before);
    return 0;
}

struct redis_call *redis_call_growing(struct redis_server *s, enum redis_call_kind kind,
                                      struct str name)
{
    struct redis_call **slot = &s->open[hash_str(name) % REDIS_OPEN_SLOTS], *c = *slot;

    if (c != NULL && c->kind == kind && c->n < REDIS_BATCH_MAX && c->body.len < REDIS_BATCH_BYTES &&
        str_equal((struct str){.p = c->name, .n = c->name_len}, name))
        return c;
    *slot = redis_call_new(s, kind, name);
    return *slot;
}

static int set_condition(struct redis_call *c, const struct engine_condition *condition)
{
    struct str key, epoch;

    if (condition == NULL)
        return 0;
    key = condition->idempotency_key;
    epoch = condition->version_epoch;
    c->version = condition->version;
    if (key.n > UINT16_MAX || epoch.n > UINT16_MAX)
        return -1;
    c->text = malloc(key.n + epoch.n + 1);
    if (c->text == NULL)
        return -1;
    memcpy(c->text, key.p != NULL ? key.p : "", key.n);
    memcpy(c->text + key.n, epoch.p != NULL ? epoch.p : "", epoch.n);
    c->key_len = (uint16_t)key.n;
    c->version_epoch_len = (uint16_t)epoch.n;
    return 0;
}

static uint8_t flags_of(const struct record *r, const struct channel_options *o)
{
    uint8_t flags = r->flags & (RECORD_BINARY | RECORD_JSON | RECORD_DELTA | RECORD_EXCLUDE_ORIGIN);

    if (o == NULL)
        return flags;
    if (r->flags & RECORD_SKIP_HISTORY)
        return flags | RECORD_SKIP_HISTORY;
    return flags | RECORD_IN_STREAM | (o->delta_publish ? RECORD_DELTA : 0);
}

bool redis_may_repeat(const struct redis *e)
{
    return e->repeats_until_ns != 0 && clock_ns() < e->repeats_until_ns;
}

/* engine_local_fallback: subscribers of this node alone have it, in this node's order. */
static void publish_here(struct redis *e, const struct record *r, uint64_t token)
{
    struct redis_sub *sub = redis_sub_find(e, r->name);
    struct position at = {0};
    struct envelope env = {.node = e->s.node, .wall_ms = clock_wall_ns() / NS_PER_MS, .r = *r};

    if (sub != NULL && sub->told) {
        at = (struct position){.epoch = sub->at.epoch, .offset = sub->at.offset + 1};
        env.r.kind = RECORD_PUBLICATION;
        env.r.flags = flags_of(r, NULL);
        redis_deliver(sub, &env, at);
    }
    METRIC_INC(engine_local_publications);
    redis_done(e, token, ENGINE_OK, at);
}

static void publish(struct engine *engine, struct engine_channel *ec UNUSED, const struct record *r,
                    const struct engine_condition *condition, uint64_t token)
{
    struct redis *e = redis_of(engine);
    struct redis_server *s = redis_server_of(e, r->name);
    const struct channel_options *o = history_of(r->name);
    bool kept = o != NULL && !(r->flags & RECORD_SKIP_HISTORY),
         repeat = kept && redis_may_repeat(e);
    struct redis_call *c = NULL;

    if (r->data.n + r->fields.n > RESP_BULK_MAX / 2) {
        give_up(e, token, ENGINE_TOO_BIG);
        return;
    }
    if (!kept && condition == NULL && UNLIKELY(e->s.local_fallback) && redis_server_given_up(s)) {
        publish_here(e, r, token);
        return;
    }
    if (!redis_server_given_up(s)) {
        c = condition != NULL || repeat
                ? redis_call_new(s, REDIS_PUBLISH_IF, r->name)
                : redis_call_growing(s, kept ? REDIS_KEEP : REDIS_PUBLISH, r->name);
    }
    if (c == NULL) {
        give_up(e, token, ENGINE_UNAVAILABLE);
        return;
    }
    c->repeat |= repeat;
    if (set_condition(c, condition) == -1 ||
        add_publication(e, c, r, flags_of(r, o), token) == -1) {
        if (c->n == 0)
            redis_call_free(c);
        give_up(e, token, ENGINE_UNAVAILABLE);
    }
}

/* --- what is kept --- */

#define OFFSET_MAX ((UINT64_C(1) << 53) - 1) /* what a script can count */

static void history(struct engine *engine, struct str name, struct position since, uint32_t limit,
                    bool reverse, uint64_t token)
{
    struct redis *e = redis_of(engine);
    struct redis_call *c;

    if (history_of(name) == NULL) {
        give_up(e, token, ENGINE_REFUSED);
        return;
    }
    c = redis_ask(e, REDIS_HISTORY, name, token);
    if (c == NULL)
        return;
    c->since = since;
    c->since.offset = MIN(since.offset, OFFSET_MAX);
    c->limit = limit;
    c->reverse = reverse;
}

static void remove_history(struct engine *engine, struct str name, uint64_t token)
{
    struct redis *e = redis_of(engine);

    if (history_of(name) == NULL)
        give_up(e, token, ENGINE_REFUSED);
    else
        (void)redis_ask(e, REDIS_REMOVE, name, token);
}

static void presence(struct engine *engine, const struct engine_presence *p, uint64_t token)
{
    redis_presence(redis_of(engine), p, token);
}

static void control(struct engine *engine, struct str node UNUSED, const struct record *r,
                    bool must_arrive UNUSED, uint64_t token)
{
    struct redis *e = redis_of(engine);
    struct redis_call *c = redis_ask(e, REDIS_CONTROL, STR_NULL, token);
    struct envelope env = {.node = e->s.node, .wall_ms = clock_wall_ns() / NS_PER_MS, .r = *r};

    if (c == NULL)
        return;
    env.call = c->id;
    env.r.kind = RECORD_CONTROL;
    if (envelope_write(&c->body, &env) == 0) {
        redis_call_grew(c, c->body.len);
        if (engine_nodes_control_sent(e->engine.nodes, &env, token) == 0)
            return;
    }
    redis_call_free(c);
    give_up(e, token, ENGINE_UNAVAILABLE);
}

static void user(struct engine *engine, struct str name, uint32_t count, uint32_t limit,
                 uint64_t token)
{
    redis_user(redis_of(engine), name, count, limit, token);
}

/* --- nodes --- */

static void say(struct engine *engine, uint64_t to, bool everywhere, struct str bytes)
{
    struct redis *e = redis_of(engine);

    for (unsigned i = 0; i < e->nservers; i++) {
        struct redis_server *s = e->servers[i];
        struct redis_call *c =
            redis_server_listens(s) ? redis_call_new(s, REDIS_SAY, STR_NULL) : NULL;

        if (c == NULL)
            continue;
        c->token = to;
        if (buf_append(&c->body, bytes) == -1)
            redis_call_free(c);
        else
            redis_call_grew(c, c->body.len);
        if (!everywhere)
            return;
    }
}

static void changed(struct engine *engine, uint64_t node UNUSED, bool alive UNUSED)
{
    redis_presence_wake(redis_of(engine));
}

static const struct engine_nodes_ops nodes_ops = {.send = say, .changed = changed};

void redis_nodes_up(struct redis *e)
{
    bool up = false;

    for (unsigned i = 0; i < e->nservers; i++)
        up |= e->servers[i]->state == REDIS_UP;
    engine_nodes_up(e->engine.nodes, up);
}

/* --- the rest --- */

static void subscribe(struct engine *engine, struct engine_channel *c, struct str name)
{
    redis_subscribe(redis_of(engine), c, name);
}

static void unsubscribe(struct engine *engine, struct engine_channel *c, struct str name)
{
    redis_unsubscribe(redis_of(engine), c, name);
}

static bool wants(const struct engine *engine)
{
    const struct redis *e = redis_of(engine);

    for (unsigned i = 0; i < e->nservers; i++)
        if (!redis_server_wants(e->servers[i]))
            return false;
    return true;
}

static void show_queues(const struct redis *e)
{
    size_t calls = 0, bytes = 0;

    for (unsigned i = 0; i < e->nservers; i++) {
        calls += e->servers[i]->nwaiting + e->servers[i]->nsent;
        bytes += e->servers[i]->waiting_bytes + e->servers[i]->sent_bytes;
    }
    metrics->engine_pending_calls = (int64_t)calls;
    metrics->engine_queue_bytes = (int64_t)bytes;
}

static uint64_t tick(struct engine *engine, uint64_t now_ns)
{
    struct redis *e = redis_of(engine);
    uint64_t next, one;

    redis_linger_run(e, now_ns);
    redis_sweep_run(e, now_ns);
    next = engine_nodes_tick(e->engine.nodes, now_ns);
    one = redis_presence_tick(e, now_ns);
    next = MIN(next, one);
    if (e->lanes.count > 0) {
        one = redis_lanes_run(e, now_ns);
        next = MIN(next, one);
    }
    if (e->cluster != NULL) {
        one = redis_cluster_tick(e, now_ns);
        next = MIN(next, one);
    }
    for (unsigned i = 0; i < e->nservers; i++) {
        one = redis_server_tick(e->servers[i], now_ns);
        next = MIN(next, one);
    }
    show_queues(e);
    return next;
}

static void redis_free(struct engine *engine)
{
    struct redis *e = redis_of(engine);

    redis_subs_fini(e);
    redis_lanes_fini(e);
    while (e->nservers > 0)
        redis_server_free(e->servers[e->nservers - 1]);
    redis_presence_fini(e);
    engine_nodes_free(engine->nodes);
    pool_fini(&e->calls);
    buf_fini(&e->scratch);
    free(e->cluster);
    free(e);
}

static const struct engine_ops redis_ops = {
    .name = "redis",
    .capabilities = ENGINE_CAN_ORDER | ENGINE_CAN_HISTORY | ENGINE_CAN_PRESENCE | ENGINE_CAN_USERS |
                    ENGINE_CAN_IDEMPOTENCY | ENGINE_CAN_CONTROL_LOG,
    .publish = publish,
    .subscribe = subscribe,
    .unsubscribe = unsubscribe,
    .history = history,
    .remove_history = remove_history,
    .presence = presence,
    .control = control,
    .user = user,
    .wants = wants,
    .tick = tick,
    .free = redis_free,
};

/* For the i-th address; several Sentinels of one master are one server. */
static int add_server(struct redis *e, unsigned i)
{
    const struct engine_address *a = &e->s.address[i];
    struct redis_server *s;

    for (unsigned k = 0; k < i; k++)
        if (engine_address_same_master(a, &e->s.address[k]))
            return 0;
    s = redis_server_new(e, a);
    if (s == NULL || a->scheme != ENGINE_SCHEME_SENTINEL)
        return s != NULL ? 0 : -1;
    s->sentinels = redis_sentinels_new(s, e->s.address, e->s.addresses);
    return s->sentinels != NULL ? 0 : -1;
}

struct engine *engine_redis_new(const struct engine_settings *settings,
                                const struct engine_wire_ops *wires, void *arg)
{
    struct redis *e = calloc(1, sizeof(*e));

    if (e == NULL)
        return NULL;
    e->engine.ops = &redis_ops;
    e->s = *settings;
    e->s.nodes.id = settings->node;
    e->engine.nodes = engine_nodes_new(&e->s.nodes, &nodes_ops, &e->engine);
    if (e->engine.nodes == NULL) {
        free(e);
        return NULL;
    }
    e->wires = wires;
    e->arg = arg;
    e->value_max = VALUE_MAX;
    e->began_ns = clock_ns();
    e->repeats_until_ns = settings->restarted ? clock_ns() + REPEATS_NS : 0;
    list_init(&e->lingering);
    list_init(&e->lane_list);
    redis_log_begin(e);
    pool_init(&e->calls, "redis_call", sizeof(struct redis_call), 0);
    for (unsigned i = 0; i < e->s.addresses; i++)
        if (add_server(e, i) == -1)
            goto err;
    if (settings->partitions > 0) {
        e->cluster = redis_cluster_new(settings->partitions);
        if (e->cluster == NULL)
            goto err;
        redis_cluster_begin(e);
    }
    if (redis_presence_init(e) == -1)
        goto err;
    return &e->engine;

err:
    redis_free(&e->engine);
    return NULL;
}
