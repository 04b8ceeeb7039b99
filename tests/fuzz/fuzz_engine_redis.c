/* tests/fuzz/fuzz_engine_redis.c - the Redis engine against a server that lies.
 *
 * The input is a program: one byte of operation, then its operands (see run()). The server says raw bytes, pushes
 * whose payload is raw or an envelope with a few bytes changed, and proper answers, so that the depths are reached;
 * the connection ends at any time. What must hold: no memory error, each call completes once at most, a message
 * never goes backwards within its epoch, and nothing is left when the engine is freed. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "codec/resp.h"
#include "core/channel_options.h"
#include "core/engine_redis.h"
#include "core/envelope.h"
#include "tests/fuzz/fuzz.h"

#define CALLS_MAX 4096

struct engine_wire {
    const struct engine_wire_events *events;
    void *peer;
    bool opening, open;
};

static const char *const names[] = {"kept", "bare:b"};

static struct state {
    const uint8_t *p, *end;
    struct engine *engine;
    struct engine_wire wire;
    struct buf in; /* of what the engine says */
    struct engine_channel c[2];
    struct position last[2];
    bool subscribed[2];
    uint8_t done[CALLS_MAX];
    unsigned calls;
} s;

static uint8_t byte(void)
{
    return s.p < s.end ? *s.p++ : 0;
}

/* At most n bytes of the input, in memory of their own, so that a read beyond them is seen. */
static struct str bytes(size_t n)
{
    struct str out = {.n = MIN(n, (size_t)(s.end - s.p))};
    char *copy = malloc(out.n + (out.n == 0));

    REQUIRE(copy != NULL);
    memcpy(copy, s.p, out.n);
    s.p += out.n;
    out.p = copy;
    return out;
}

/* --- the hub --- */

static void on_done(void *hub, uint64_t token, enum engine_status status, struct position at)
{
    (void)hub;
    (void)at;
    REQUIRE(token < s.calls && status < ENGINE_STATUS_NR);
    REQUIRE(s.done[token]++ == 0);
}

static unsigned which(const struct engine_channel *c)
{
    REQUIRE(c == &s.c[0] || c == &s.c[1]);
    return c == &s.c[1];
}

static void on_subscribed(void *hub, struct engine_channel *c, enum engine_status status)
{
    (void)hub;
    REQUIRE(s.subscribed[which(c)] && status < ENGINE_STATUS_NR);
    s.last[which(c)] = c->at;
}

static void on_message(void *hub, struct engine_channel *c, const struct record *r)
{
    struct position *last = &s.last[which(c)];

    (void)hub;
    REQUIRE(s.subscribed[which(c)] && r->source <= RECORD_SOURCE_REMOTE);
    REQUIRE(c->at.epoch != last->epoch || c->at.offset >= last->offset);
    *last = c->at;
}

static void on_lost(void *hub, struct engine_channel *c)
{
    (void)hub;
    s.last[which(c)] = c->at;
}

static bool on_record(void *hub, const struct record *r)
{
    struct str rest = r->fields, value;
    uint8_t type;

    (void)hub;
    while (record_next_field(&rest, &type, &value))
        ;
    REQUIRE(rest.n == 0);
    return true;
}

static bool on_kept(void *hub, uint64_t token, const struct record *r)
{
    (void)hub;
    REQUIRE(token < s.calls && s.done[token] == 0);
    return on_record(NULL, r);
}

static const struct engine_events events = {.done = on_done,
                                            .subscribed = on_subscribed,
                                            .message = on_message,
                                            .lost = on_lost,
                                            .kept = on_kept,
                                            .control = on_record};

/* --- the wire --- */

static struct engine_wire *wire_open(void *arg, const struct engine_address *to,
                                     const struct engine_wire_events *e, void *peer)
{
    (void)arg;
    (void)to;
    s.wire = (struct engine_wire){.events = e, .peer = peer, .opening = true};
    buf_clear(&s.in);
    return &s.wire;
}

static int wire_send(struct engine_wire *w, struct str out)
{
    return w->open ? buf_append(&s.in, out) : -1;
}

static size_t wire_queued(const struct engine_wire *w)
{
    (void)w;
    return 0;
}

static void wire_close(struct engine_wire *w)
{
    w->open = w->opening = false;
}

static const struct engine_wire_ops wires = {
    .open = wire_open, .send = wire_send, .queued = wire_queued, .close = wire_close};

static void receive(struct str in)
{
    char *copy = malloc(in.n + (in.n == 0));

    REQUIRE(copy != NULL);
    if (in.n > 0)
        memcpy(copy, in.p, in.n);
    if (s.wire.open && in.n > 0)
        s.wire.events->received(s.wire.peer, (struct str){.p = copy, .n = in.n});
    free(copy);
}

/* --- the server --- */

/* The answer to a command, as the engine expects it. */
static void answer(struct str *args, uint32_t n, struct buf *out)
{
    int rc = 0;

    if (str_equal(args[0], STR_LIT("INFO"))) {
        rc = buf_append_lit(out, "$15\r\nrun_id:abcdef\r\n\r\n");
    } else if (str_equal(args[0], STR_LIT("SCRIPT"))) {
        rc = buf_append_lit(out, "$40\r\n0123456789012345678901234567890123456789\r\n");
    } else if (str_equal(args[0], STR_LIT("SUBSCRIBE"))) {
        for (uint32_t i = 1; i < n; i++)
            rc |= buf_printf(out, ">3\r\n$9\r\nsubscribe\r\n$%zu\r\n%.*s\r\n:1\r\n", args[i].n,
                             STR_ARG(args[i]));
    } else if (str_equal(args[0], STR_LIT("UNSUBSCRIBE"))) {
        return;
    } else if (str_equal(args[0], STR_LIT("EVALSHA"))) {
        uint8_t epoch = byte(), offset = byte();

        rc = buf_printf(out, "*5\r\n$%d\r\n%u\r\n$%d\r\n%u\r\n*0\r\n$1\r\n0\r\n$1\r\n0\r\n",
                        snprintf(NULL, 0, "%u", epoch), epoch, snprintf(NULL, 0, "%u", offset),
                        offset);
    } else if (str_equal(args[0], STR_LIT("HELLO")) || str_equal(args[0], STR_LIT("PING"))) {
        rc = buf_append_lit(out, "+OK\r\n");
    } else if (str_equal(args[0], STR_LIT("PUBLISH"))) {
        rc = buf_append_lit(out, ":1\r\n");
    } else {
        rc = buf_append_lit(out, "*0\r\n");
    }
    REQUIRE(rc == 0);
}

/* Every command that is there. */
static void answer_all(void)
{
    struct buf out = {0};

    for (;;) {
        struct str args[1100], rest = buf_view(&s.in);
        struct resp_scan scan = {0};
        struct resp_node node;
        ssize_t n = resp_scan(&scan, rest);

        REQUIRE(n >= 0);
        if (n == 0)
            break;
        REQUIRE(resp_next(&rest, &node) && node.n > 0 && node.n <= ARRAY_LEN(args));
        for (uint32_t i = 0; i < node.n; i++)
            REQUIRE(resp_next_text(&rest, &args[i]));
        answer(args, node.n, &out);
        buf_drop(&s.in, (size_t)n);
    }
    receive(buf_view(&out));
    buf_fini(&out);
}

static void push(struct str payload)
{
    static const char *const channels[] = {"f:c:kept", "f:c:bare:b", "f:control", "f:nodes",
                                           "f:probe:0000000000000001"};
    const char *channel = channels[byte() % ARRAY_LEN(channels)];
    struct buf out = {0};

    REQUIRE(buf_printf(&out, ">3\r\n$7\r\nmessage\r\n$%zu\r\n%s\r\n$%zu\r\n", strlen(channel),
                       channel, payload.n) == 0);
    REQUIRE(buf_append(&out, payload) == 0 && buf_append_lit(&out, "\r\n") == 0);
    receive(buf_view(&out));
    buf_fini(&out);
}

/* A position, or an id, and an envelope with some of its bytes changed. */
static void push_envelope(void)
{
    struct str data = bytes(byte() % 32), fields = bytes(byte() % 32);
    struct envelope env = {.node = byte() % 3,
                           .call = byte(),
                           .wall_ms = byte(),
                           .r = {.kind = byte(),
                                 .flags = byte(),
                                 .source = byte(),
                                 .position = byte(),
                                 .data = data,
                                 .fields = fields}};
    struct buf payload = {0};
    size_t head;

    REQUIRE(buf_printf(&payload, byte() % 4 == 0 ? "%u-%u:" : "%u:%u:", byte(), byte()) == 0);
    head = payload.len;
    REQUIRE(envelope_write(&payload, &env) == 0);
    for (unsigned n = byte() % 4; n > 0; n--)
        payload.p[head + byte() % (payload.len - head)] = (char)byte();
    push(buf_view(&payload));
    buf_fini(&payload);
    free((void *)(uintptr_t)data.p);
    free((void *)(uintptr_t)fields.p);
}

/* --- the program --- */

static void call(unsigned kind)
{
    struct str name = str_from(names[byte() % 2]);
    struct record r = {
        .kind = RECORD_PUBLISH, .position = s.calls * 8u, .name = name, .data = name};
    const struct engine_condition once = {.idempotency_key = STR_LIT("k"), .version = byte()};

    if (s.calls == CALLS_MAX || !s.engine->ops->wants(s.engine))
        return;
    s.calls++;
    if (kind == 0)
        s.engine->ops->publish(s.engine, NULL, &r, byte() % 4 == 0 ? &once : NULL, s.calls - 1);
    else if (kind == 1)
        s.engine->ops->history(s.engine, name, (struct position){.offset = byte()}, byte(),
                               byte() & 1, s.calls - 1);
    else
        s.engine->ops->remove_history(s.engine, name, s.calls - 1);
}

static void change_interest(void)
{
    unsigned i = byte() % 2;

    s.subscribed[i] = !s.subscribed[i];
    if (s.subscribed[i])
        s.engine->ops->subscribe(s.engine, &s.c[i], str_from(names[i]));
    else
        s.engine->ops->unsubscribe(s.engine, &s.c[i], str_from(names[i]));
}

static void pass(void)
{
    clock_advance(byte() * 20 * NS_PER_MS);
    s.engine->ops->tick(s.engine, clock_ns());
    if (!s.wire.opening)
        return;
    s.wire.opening = false;
    s.wire.open = true;
    s.wire.events->opened(s.wire.peer);
}

static void raw(bool pushed)
{
    struct str some = bytes(byte());

    if (pushed)
        push(some);
    else
        receive(some);
    free((void *)(uintptr_t)some.p);
}

static void cut(void)
{
    if (!s.wire.open)
        return;
    s.wire.open = false;
    s.wire.events->closed(s.wire.peer, "cut");
}

static void run(void)
{
    uint8_t operation = byte() % 16;

    if (operation < 3)
        call(operation);
    else if (operation < 6)
        pass();
    else if (operation < 9)
        answer_all();
    else if (operation < 11)
        push_envelope();
    else if (operation < 13)
        raw(operation == 11);
    else if (operation < 15)
        change_interest();
    else
        cut();
}

static void quiet(struct str line, void *arg)
{
    (void)line;
    (void)arg;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct engine_settings settings = {
        .addresses = 1,
        .address = {{.port = 6379, .host = "127.0.0.1"}},
        .prefix = "f",
        .node = 1,
        .nodes = {.heartbeat_ns = NS_PER_SEC, .ttl_ns = 3 * NS_PER_SEC},
        .timeout_ns = 3 * NS_PER_SEC,
        .patience_ns = 2 * NS_PER_SEC,
        .reconnect_max_ns = NS_PER_SEC,
        .probe_ns = 2 * NS_PER_SEC,
        .queue_bytes = 1 << 20,
        .window = 256,
    };
    struct channel_options *bare = &config.namespaces.items[0];

    log_set_sink(quiet, NULL);
    config_defaults(&config);
    config.namespaces.n = 1;
    *bare = config.channel_without_namespace;
    REQUIRE(str_copy(STR_LIT("bare"), bare->name, sizeof(bare->name)) == 0);
    config.channel_without_namespace.history_size = 5;
    config.channel_without_namespace.history_ttl = 60 * (int64_t)NS_PER_SEC;
    channel_options_changed();
    memset(metrics, 0, sizeof(*metrics));
    clock_set_virtual(1000 * NS_PER_SEC);
    s = (struct state){.p = data, .end = data + size};
    s.engine = engine_redis_new(&settings, &wires, NULL);
    REQUIRE(s.engine != NULL);
    engine_attach(s.engine, &events, NULL);
    while (s.p < s.end)
        run();
    engine_free(s.engine);
    REQUIRE(metrics->engine_subscriptions == 0);
    buf_fini(&s.in);
    return 0;
}
