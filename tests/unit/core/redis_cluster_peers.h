/* A cluster of scripted servers in memory, and the Redis engine at it. */
#ifndef ROOST_TESTS_REDIS_CLUSTER_PEERS_H
#define ROOST_TESTS_REDIS_CLUSTER_PEERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/config.h"
#include "base/metrics.h"
#include "core/channel_options.h"
#include "core/engine_redis_cluster.c"

#define SERVERS  3
#define FIRST    7000 /* port of the first */
#define CALLS    64
#define SLOTS(i) ((i)*REDIS_SLOT_NR / SERVERS)

struct engine_wire {
    const struct engine_wire_events *events;
    void *peer;
    unsigned server;
    bool opened;
    struct buf in, answers;
};

static struct {
    struct engine *engine;
    struct engine_wire wires[16];
    const char *refuse[SERVERS]; /* what a script is answered with, or NULL: it is done */
    bool stolen;                 /* CLUSTER SLOTS: the third has everything */
    unsigned gap;                /* CLUSTER SLOTS: so many of the first one's are nobody's */
    uint64_t offset;
    char log[2048];       /* "0:one 1:*two ": server, publication; *: with ASKING */
    unsigned done[CALLS]; /* by token: how often */
    enum engine_status status[CALLS];
    bool asking[SERVERS];
    const char *info, *synced[SERVERS]; /* what INFO and SYNC are answered with */
    unsigned subscribed, lost;
} t;

#define INFO(role, second) "run_id:a\r\nrole:" role "\r\nmaster_replid2:" second "\r\n"

/* --- the servers --- */

static void answer(struct engine_wire *w, const char *text)
{
    assert_int_equal(buf_append_lit(&w->answers, text), 0);
}

static void answer_slots(struct engine_wire *w)
{
    assert_int_equal(buf_printf(&w->answers, "*%d\r\n", SERVERS), 0);
    for (unsigned i = 0; i < SERVERS; i++)
        assert_int_equal(
            buf_printf(
                &w->answers, "*3\r\n:%u\r\n:%u\r\n*3\r\n$9\r\n127.0.0.1\r\n:%u\r\n$1\r\nx\r\n",
                SLOTS(i) + (i == 0 ? t.gap : 0), SLOTS(i + 1) - 1, FIRST + (t.stolen ? 2 : i)),
            0);
}

static void note(const struct engine_wire *w, struct str envelope)
{
    size_t n = strlen(t.log);
    struct envelope env;

    assert_true(envelope_next(&envelope, &env) > 0);
    snprintf(t.log + n, sizeof(t.log) - n, "%u:%s%.*s ", w->server, t.asking[w->server] ? "*" : "",
             STR_ARG(env.r.data));
}

/* SPUBLISH channel epoch:offset:publication. */
static void answer_publish(struct engine_wire *w, const struct str *arg)
{
    if (str_starts_with(arg[2], STR_LIT("0:0:")) || str_starts_with(arg[2], STR_LIT("7:")))
        note(w, str_skip(arg[2], 4)); /* one digit each */
    t.asking[w->server] = false;
    answer(w, ":1\r\n");
}

/* EVALSHA sha 3 meta stream result run epoch ttl size ttl now channel publication ... */
static void answer_publish_if(struct engine_wire *w, const struct str *arg)
{
    if (t.refuse[w->server] != NULL && !t.asking[w->server]) {
        answer(w, t.refuse[w->server]);
        return;
    }
    note(w, arg[13]);
    t.asking[w->server] = false;
    answer(w, "*3\r\n$2\r\nok\r\n:0\r\n:0\r\n");
}

/* EVALSHA sha keys meta stream run epoch ttl size ttl now channel publication ... */
static void answer_script(struct engine_wire *w, const struct str *arg, unsigned n)
{
    if (t.refuse[w->server] != NULL && !t.asking[w->server]) {
        answer(w, t.refuse[w->server]);
        return;
    }
    for (unsigned i = 12; i < n; i++)
        note(w, arg[i]);
    assert_int_equal(buf_printf(&w->answers, "*2\r\n$1\r\n7\r\n:%u\r\n", (unsigned)t.offset + 1),
                     0);
    t.offset += n - 12;
    t.asking[w->server] = false;
}

static void answer_command(struct engine_wire *w, const struct str *arg, unsigned n)
{
    if (str_equal(arg[0], STR_LIT("HELLO"))) {
        answer(w, "%0\r\n");
    } else if (str_equal(arg[0], STR_LIT("INFO"))) {
        assert_int_equal(buf_printf(&w->answers, "$%zu\r\n%s\r\n", strlen(t.info), t.info), 0);
    } else if (str_equal(arg[0], STR_LIT("SCRIPT"))) {
        answer(w, "$3\r\nsha\r\n");
    } else if (str_equal(arg[0], STR_LIT("CLUSTER"))) {
        if (str_equal(arg[1], STR_LIT("INFO")))
            answer(w, "$16\r\ncluster_state:ok\r\n");
        else
            answer_slots(w);
    } else if (str_equal(arg[0], STR_LIT("PING"))) {
        answer(w, "+PONG\r\n");
    } else if (str_equal(arg[0], STR_LIT("ASKING"))) {
        t.asking[w->server] = true;
        answer(w, "+OK\r\n");
    } else if (str_equal(arg[0], STR_LIT("SPUBLISH"))) {
        answer_publish(w, arg);
    } else if (str_equal(arg[0], STR_LIT("EVALSHA")) && str_equal(arg[2], STR_LIT("3")) &&
               n == 19) {
        answer_publish_if(w, arg);
    } else if (str_equal(arg[0], STR_LIT("EVALSHA")) && n == 12 && t.synced[w->server] != NULL) {
        answer(w, t.synced[w->server]);
    } else if (str_equal(arg[0], STR_LIT("EVALSHA")) && n > 12) {
        answer_script(w, arg, n);
    } else if (!str_equal(arg[0], STR_LIT("SSUBSCRIBE"))) { /* its pushes are not looked at here */
        answer(w, "*0\r\n");
    }
}

static void serve(struct engine_wire *w)
{
    struct resp_scan scan = {0};
    struct str rest = buf_view(&w->in), arg[64], value;
    struct resp_node node;
    ssize_t size;

    while (rest.n > 0) {
        size = resp_scan(&scan, rest);
        assert_true(size > 0);
        value = (struct str){.p = rest.p, .n = (size_t)size};
        assert_true(resp_next(&value, &node) && node.n > 0 && node.n <= ARRAY_LEN(arg));
        for (uint32_t i = 0; i < node.n; i++)
            assert_true(resp_next_text(&value, &arg[i]));
        answer_command(w, arg, node.n);
        rest = str_skip(rest, (size_t)size);
    }
    buf_clear(&w->in);
}

/* --- wires --- */

static struct engine_wire *wire_open(void *arg, const struct engine_address *to,
                                     const struct engine_wire_events *events, void *peer)
{
    (void)arg;
    for (size_t i = 0; i < ARRAY_LEN(t.wires); i++) {
        struct engine_wire *w = &t.wires[i];

        if (w->events != NULL)
            continue;
        *w = (struct engine_wire){.events = events, .peer = peer, .server = to->port - FIRST};
        return w;
    }
    return NULL;
}

static int wire_send(struct engine_wire *w, struct str bytes)
{
    return buf_append(&w->in, bytes);
}

static size_t wire_queued(const struct engine_wire *w)
{
    (void)w;
    return 0;
}

static void wire_close(struct engine_wire *w)
{
    buf_fini(&w->in);
    buf_fini(&w->answers);
    w->events = NULL;
}

static const struct engine_wire_ops wires = {
    .open = wire_open, .send = wire_send, .queued = wire_queued, .close = wire_close};

static void turn(void)
{
    t.engine->ops->tick(t.engine, clock_ns());
    for (size_t i = 0; i < ARRAY_LEN(t.wires); i++) {
        struct engine_wire *w = &t.wires[i];
        struct buf answers;

        if (w->events == NULL)
            continue;
        if (!w->opened) {
            w->opened = true;
            w->events->opened(w->peer);
            continue;
        }
        serve(w);
        answers = w->answers;
        w->answers = (struct buf){0};
        if (answers.len > 0)
            w->events->received(w->peer, buf_view(&answers));
        buf_fini(&answers);
    }
}

static void turns(unsigned n)
{
    while (n-- > 0) {
        clock_advance(NS_PER_MS);
        turn();
    }
}

/* --- the hub --- */

static void on_done(void *hub, uint64_t token, enum engine_status status, struct position at)
{
    (void)hub;
    (void)at;
    assert_true(token < CALLS);
    t.done[token]++;
    t.status[token] = status;
}

static void on_subscribed(void *hub, struct engine_channel *c, enum engine_status status)
{
    (void)hub;
    (void)c;
    assert_int_equal(status, ENGINE_OK);
    t.subscribed++;
}

static void on_lost(void *hub, struct engine_channel *c)
{
    (void)hub;
    (void)c;
    t.lost++;
}

static const struct engine_events events = {
    .done = on_done, .subscribed = on_subscribed, .lost = on_lost};

static void publish(const char *channel, const char *data, uint64_t token)
{
    const struct record r = {.name = str_from(channel), .data = str_from(data)};

    t.engine->ops->publish(t.engine, NULL, &r, NULL, token);
}

static void publish_once(const char *channel, const char *data, uint64_t token)
{
    const struct record r = {.name = str_from(channel), .data = str_from(data)};
    const struct engine_condition condition = {.idempotency_key = STR_LIT("key")};

    t.engine->ops->publish(t.engine, NULL, &r, &condition, token);
}

static void all_done(uint64_t first, uint64_t last, enum engine_status status)
{
    for (uint64_t i = first; i <= last; i++) {
        assert_int_equal(t.done[i], 1);
        assert_int_equal(t.status[i], status);
    }
}

/* The i-th channel of that server whose name begins so. */
static const char *named_at(const char *kind, unsigned server, unsigned i)
{
    static char names[8][16];
    static unsigned turn_of;
    char *name = names[turn_of++ % ARRAY_LEN(names)];
    const struct redis *e = redis_of(t.engine);

    for (unsigned n = 0;; n++) {
        snprintf(name, sizeof(names[0]), "%s%u", kind, n);
        if (redis_server_of((struct redis *)(uintptr_t)e, str_from(name))->address.port ==
                FIRST + server &&
            i-- == 0)
            return name;
    }
}

static const char *channel_at(unsigned server, unsigned i)
{
    return named_at("kept:", server, i);
}

static struct redis_partition *partition_of(const char *channel)
{
    return redis_partition_of(redis_of(t.engine), redis_same_hash(str_from(channel)));
}

/* "-MOVED 17 127.0.0.1:7001\r\n" of the channel's slot. */
static const char *redirection(const char *kind, const char *channel, unsigned server)
{
    static char text[64];

    snprintf(text, sizeof(text), "-%s %u 127.0.0.1:%u\r\n", kind, partition_of(channel)->slot,
             FIRST + server);
    return text;
}

static int setup(void **state)
{
    struct engine_settings s = {
        .addresses = 1,
        .partitions = 256,
        .prefix = "t",
        .node = 1,
        .nodes = {.heartbeat_ns = 3600 * NS_PER_SEC, .ttl_ns = 36000 * NS_PER_SEC},
        .timeout_ns = 3 * NS_PER_SEC,
        .patience_ns = 2 * NS_PER_SEC,
        .reconnect_max_ns = NS_PER_SEC,
        .probe_ns = 3600 * NS_PER_SEC,
        .queue_bytes = 1 << 24,
        .window = 1024,
    };
    struct channel_options *o = &config.namespaces.items[0];

    (void)state;
    memset(&t, 0, sizeof(t));
    t.info = INFO("master", "0000000000000000000000000000000000000000");
    memset(metrics, 0, sizeof(*metrics));
    config_defaults(&config);
    config.namespaces.n = 1;
    *o = config.channel_without_namespace;
    assert_int_equal(str_copy(STR_LIT("kept"), o->name, sizeof(o->name)), 0);
    o->history_size = 3;
    o->history_ttl = 60 * (int64_t)NS_PER_SEC;
    channel_options_changed();
    clock_set_virtual(1000 * NS_PER_SEC);
    s.address[0] = (struct engine_address){.scheme = ENGINE_SCHEME_CLUSTER, .port = FIRST};
    assert_int_equal(str_copy(STR_LIT("127.0.0.1"), s.address[0].host, sizeof(s.address[0].host)),
                     0);
    t.engine = engine_redis_new(&s, &wires, NULL);
    assert_non_null(t.engine);
    engine_attach(t.engine, &events, &t);
    turns(20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    engine_free(t.engine);
    clock_set_virtual(0);
    config_defaults(&config);
    channel_options_changed();
    return 0;
}

#endif
