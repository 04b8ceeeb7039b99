/* The Redis engine between a hub that notes what it is told and a server in memory (redis_peer.h), with a clock
 * that the test moves. */
#ifndef ROOST_TEST_REDIS_WORLD_H
#define ROOST_TEST_REDIS_WORLD_H

#include "base/clock.h"
#include "base/config.h"
#include "base/metrics.h"
#include "core/channel_options.h"
#include "core/engine_redis_internal.h"

#include "redis_peer.h"

#define TOKENS  64
#define STEP_NS (20 * NS_PER_MS)

struct heard { /* of a channel */
    struct engine_channel c;
    const char *name;
    unsigned subscribed, refused, messages, losses;
    uint64_t last; /* offset */
    bool in_order;
    char text[256];
    size_t n;
};

static struct engine *engine;
static struct engine_settings settings;
static struct heard kept, bare, more;
static struct {
    unsigned completed;
    enum engine_status status;
    struct position at;
} calls[TOKENS];
static unsigned nhistory;
static uint64_t place;              /* in the ring */
static struct engine_cursor cursor; /* of a listing; gone with it */
static const struct engine_cursor cursor_gone = {.at = &cursor, .begun = true};

/* --- the hub --- */

static struct heard *heard_of(struct engine_channel *c)
{
    return CONTAINER_OF(c, struct heard, c);
}

static void on_done(void *hub, uint64_t token, enum engine_status status, struct position at)
{
    assert_ptr_equal(hub, &engine);
    assert_true(token < TOKENS);
    calls[token].completed++;
    calls[token].status = status;
    calls[token].at = at;
    if (cursor.begun && status != ENGINE_OK)
        cursor = cursor_gone;
}

static void on_subscribed(void *hub UNUSED, struct engine_channel *c, enum engine_status status)
{
    if (c != &kept.c && c != &bare.c && c != &more.c) /* one of a million */
        return;
    if (status == ENGINE_OK)
        heard_of(c)->subscribed++;
    else
        heard_of(c)->refused++;
    heard_of(c)->last = c->at.offset;
}

static void on_message(void *hub UNUSED, struct engine_channel *c, const struct record *r)
{
    struct heard *h = heard_of(c);

    h->messages++;
    h->in_order &= c->at.offset == h->last + 1;
    h->last = c->at.offset;
    assert_true(h->n + r->data.n + 2 < sizeof(h->text));
    memcpy(h->text + h->n, r->data.p, r->data.n);
    h->n += r->data.n;
    h->text[h->n++] = ' ';
    h->text[h->n] = '\0';
}

static void on_lost(void *hub UNUSED, struct engine_channel *c)
{
    heard_of(c)->losses++;
    heard_of(c)->last = c->at.offset;
}

static bool on_kept(void *hub UNUSED, uint64_t token UNUSED, const struct record *r UNUSED)
{
    nhistory++;
    return true;
}

static bool on_control(void *hub UNUSED, const struct record *r UNUSED)
{
    return true;
}

static void on_other(void *hub UNUSED, const struct record *r UNUSED)
{
}

static const struct engine_events events = {.done = on_done,
                                            .subscribed = on_subscribed,
                                            .message = on_message,
                                            .lost = on_lost,
                                            .kept = on_kept,
                                            .member = on_other,
                                            .control = on_control};

/* --- time --- */

static void turn(void)
{
    engine->ops->tick(engine, clock_ns());
    peer_turn();
}

/* So much time, a bit at a time. */
static inline void pass(uint64_t ns)
{
    for (uint64_t gone = 0; gone <= ns; gone += STEP_NS) {
        turn();
        turn();
        clock_advance(STEP_NS);
    }
}

static bool is_up(void)
{
    return redis_of(engine)->servers[0]->state == REDIS_UP;
}

static inline void come_up(void)
{
    for (unsigned i = 0; i < 500 && !is_up(); i++)
        pass(0);
    assert_true(is_up());
}

/* --- calls --- */

static inline void listen_to(struct heard *h, const char *name)
{
    *h = (struct heard){.name = name, .in_order = true};
    engine->ops->subscribe(engine, &h->c, str_from(name));
}

static inline void publish_if(const char *channel, const char *data,
                              const struct engine_condition *condition, uint64_t token)
{
    struct record r = {.kind = RECORD_PUBLISH,
                       .generation = 1,
                       .position = place += 8,
                       .name = str_from(channel),
                       .data = str_from(data)};

    engine->ops->publish(engine, NULL, &r, condition, token);
}

static inline void publish_to(const char *channel, const char *data, uint64_t token)
{
    publish_if(channel, data, NULL, token);
}

static inline void list_members(const char *channel, uint64_t token)
{
    const struct engine_presence ask = {
        .op = PRESENCE_LIST, .channel = str_from(channel), .limit = 10, .cursor = &cursor};

    engine->ops->presence(engine, &ask, token);
}

static void begin(void)
{
    cursor = (struct engine_cursor){0};
    memset(calls, 0, sizeof(calls));
    nhistory = 0;
    peer_reset();
    memset(engine_shards, 0, sizeof(*engine_shards));
    engine = engine_redis_new(&settings, &peer_wires, NULL);
    assert_non_null(engine);
    engine_attach(engine, &events, &engine);
}

static inline void end(void)
{
    engine_free(engine);
    engine = NULL;
    peer_reset();
    assert_int_equal(metrics->engine_subscriptions, 0);
}

/* Up, and subscribed to both channels. */
static inline void begin_subscribed(void)
{
    begin();
    listen_to(&kept, "kept:a");
    listen_to(&bare, "bare");
    come_up();
    pass(0);
    assert_int_equal(kept.subscribed, 1);
    assert_int_equal(bare.subscribed, 1);
}

static inline void completed(uint64_t token, enum engine_status status)
{
    if (calls[token].completed != 1 || calls[token].status != status)
        fail_msg("token %u: %u times, %s, not %s", (unsigned)token, calls[token].completed,
                 engine_status_name(calls[token].status), engine_status_name(status));
}

static int setup(void **state UNUSED)
{
    struct channel_options *o = &config.namespaces.items[0];

    config_defaults(&config);
    config.namespaces.n = 1;
    o[0] = config.channel_without_namespace;
    assert_int_equal(str_copy(STR_LIT("kept"), o[0].name, sizeof(o[0].name)), 0);
    o[0].history_size = 50;
    o[0].history_ttl = 60 * (int64_t)NS_PER_SEC;
    channel_options_changed();
    memset(metrics, 0, sizeof(*metrics));
    clock_set_virtual(1000 * NS_PER_SEC);
    settings = (struct engine_settings){
        .addresses = 1,
        .address = {{.port = 6379, .host = "127.0.0.1"}},
        .prefix = "t",
        .node = 1,
        .nodes = {.heartbeat_ns = 3600 * NS_PER_SEC, .ttl_ns = 7200 * NS_PER_SEC},
        .timeout_ns = 3 * NS_PER_SEC,
        .patience_ns = 2 * NS_PER_SEC,
        .reconnect_max_ns = NS_PER_SEC,
        .probe_ns = 5 * NS_PER_SEC,
        .queue_bytes = 1 << 20,
        .window = 256,
    };
    return 0;
}

static int teardown(void **state UNUSED)
{
    if (engine != NULL)
        end();
    config_defaults(&config);
    channel_options_changed();
    clock_set_virtual(0);
    return 0;
}

#endif
