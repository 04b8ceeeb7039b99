/* A scripted NATS server in memory and a hub that writes down what it is told, under virtual time. Included
 * behind the .c under test. */
#ifndef ROOST_TEST_NATS_HARNESS_H
#define ROOST_TEST_NATS_HARNESS_H

#include "base/clock.h"
#include "base/config.h"
#include "base/metrics.h"

#include "core/engine_nats_internal.h"

#define INFO "INFO {\"server_name\":\"n\",\"max_payload\":1048576}\r\n"
#define NODE 0x11

/* --- the server --- */

static struct engine_wire {
    bool open, secure;
    const struct engine_wire_events *events;
    void *peer;
    struct buf out; /* what the engine has written and nobody has read */
    struct engine_address to;
    unsigned opened, failing;
} wire;

static struct engine_wire *fake_open(void *arg, const struct engine_address *to,
                                     const struct engine_wire_events *events, void *peer)
{
    (void)arg;
    assert_false(wire.open);
    wire.opened++;
    wire.to = *to;
    if (wire.failing > 0) {
        wire.failing--;
        return NULL;
    }
    wire.open = true;
    wire.secure = false;
    wire.events = events;
    wire.peer = peer;
    buf_clear(&wire.out);
    return &wire;
}

static int fake_secure(struct engine_wire *w)
{
    assert_int_equal(w->out.len, 0); /* not a word before */
    w->secure = true;
    return 0;
}

static int fake_send(struct engine_wire *w, struct str bytes)
{
    assert_true(w->open);
    return buf_append(&w->out, bytes);
}

static size_t fake_queued(const struct engine_wire *w)
{
    (void)w;
    return 0;
}

static void fake_close(struct engine_wire *w)
{
    assert_true(w->open);
    w->open = false;
}

static const struct engine_wire_ops fake_wires = {.open = fake_open,
                                                  .secure = fake_secure,
                                                  .send = fake_send,
                                                  .queued = fake_queued,
                                                  .close = fake_close};

/* --- the hub --- */

#define CALLS 64

static struct {
    unsigned done[CALLS];
    enum engine_status status[CALLS];
    struct position at[CALLS];
    struct buf log; /* "sub a\n", "a:1 text\n", "lost a:5\n", "control x\n" */
} hub;

static struct named { /* a channel of the hub */
    struct engine_channel c;
    const char *name;
} a = {.name = "a"};

static void note(const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    assert_int_equal(buf_append_lit(&hub.log, text), 0);
}

static const char *name_of_channel(const struct engine_channel *c)
{
    return ((const struct named *)(const void *)c)->name;
}

static void on_done(void *h, uint64_t token, enum engine_status status, struct position at)
{
    (void)h;
    assert_true(token < CALLS);
    hub.done[token]++;
    hub.status[token] = status;
    hub.at[token] = at;
}

static void on_subscribed(void *h, struct engine_channel *c, enum engine_status status)
{
    (void)h;
    note("sub %s %s\n", name_of_channel(c), engine_status_name(status));
}

static void on_message(void *h, struct engine_channel *c, const struct record *r)
{
    (void)h;
    assert_true(str_equal(r->name, str_from(name_of_channel(c))));
    note("%s:%u %.*s\n", name_of_channel(c), (unsigned)c->at.offset, STR_ARG(r->data));
}

static void on_lost(void *h, struct engine_channel *c)
{
    (void)h;
    note("lost %s:%u\n", name_of_channel(c), (unsigned)c->at.offset);
}

static void log_is(const char *expected)
{
    assert_int_equal(buf_append_char(&hub.log, '\0'), 0);
    assert_string_equal(hub.log.p, expected);
    buf_clear(&hub.log);
}

static bool on_control(void *h, const struct record *r)
{
    (void)h;
    note("control %.*s %u\n", STR_ARG(r->data), r->source);
    return true;
}

static void on_told(void *h, uint64_t token, uint32_t asked, uint32_t answered)
{
    (void)h;
    (void)token;
    note("told %u of %u\n", answered, asked);
}

static void on_heard(void *h, uint64_t node, struct str bytes)
{
    (void)h;
    note("heard %u %.*s\n", (unsigned)node, STR_ARG(bytes));
}

static void on_node(void *h, uint64_t node, bool alive)
{
    (void)h;
    note("node %u %s\n", (unsigned)node, alive ? "lives" : "is dead");
}

static const struct engine_events hub_events = {.done = on_done,
                                                .subscribed = on_subscribed,
                                                .message = on_message,
                                                .lost = on_lost,
                                                .control = on_control,
                                                .told = on_told,
                                                .heard = on_heard,
                                                .node = on_node};

/* --- both --- */

static struct engine *engine;

static void go_round(void)
{
    engine->ops->tick(engine, clock_ns());
}

static void pass(uint64_t ns)
{
    clock_set_virtual(clock_ns() + ns);
    go_round();
}

static void feed(const char *text)
{
    wire.events->received(wire.peer, str_from(text));
}

/* What the engine has written since. */
static UNUSED void wrote(const char *expected)
{
    assert_int_equal(buf_append_char(&wire.out, '\0'), 0);
    assert_string_equal(wire.out.p, expected);
    buf_clear(&wire.out);
}

static bool has_written(const char *text)
{
    bool found;

    found = wire.out.len > 0 && memmem(wire.out.p, wire.out.len, text, strlen(text)) != NULL;
    buf_clear(&wire.out);
    return found;
}

/* To UP, with what stands in the way until then. */
static void come_up(void)
{
    for (int i = 0; i < 100 && !wire.open; i++)
        pass(100 * NS_PER_MS);
    assert_true(wire.open);
    wire.events->opened(wire.peer);
    feed(INFO);
    assert_true(has_written("CONNECT {"));
    feed("PONG\r\n");
    assert_int_equal(nats_of(engine)->state, NATS_UP);
    go_round();
    buf_clear(&wire.out);
    while (nats_of(engine)->pongs < nats_of(engine)->pings)
        feed("PONG\r\n");
}

static void publish_text(const char *name, const char *text, uint64_t position, uint64_t token)
{
    const struct record r = {
        .name = str_from(name), .data = str_from(text), .position = position, .source = 1};

    engine->ops->publish(engine, NULL, &r, NULL, token);
}

static void subscribe_to(struct named *c)
{
    engine->ops->subscribe(engine, &c->c, str_from(c->name));
    go_round();
    assert_true(has_written("SUB t.c."));
    feed("PONG\r\n");
}

static uint64_t sid_of_a(void)
{
    const struct nats_sub *sub = nats_sub_find(nats_of(engine), STR_LIT("a"));

    return sub != NULL ? sub->sid : 9;
}

/* As the server sends it: one envelope. */
static UNUSED void arrives(const char *token, uint64_t node, uint64_t position, uint64_t count,
                           const char *text)
{
    const struct envelope env = {
        .node = node,
        .count = count,
        .r = {
            .kind = RECORD_PUBLICATION, .source = 1, .position = position, .data = str_from(text)}};
    struct buf body = {0}, out = {0};

    assert_int_equal(envelope_write(&body, &env), 0);
    assert_int_equal(
        buf_printf(&out, "MSG t.c.%s %u %zu\r\n", token, (unsigned)sid_of_a(), body.len), 0);
    assert_int_equal(buf_append(&out, buf_view(&body)) | buf_append_lit(&out, "\r\n"), 0);
    wire.events->received(wire.peer, buf_view(&out));
    buf_fini(&body);
    buf_fini(&out);
}

/* The payload of the first PUB in what was written, sent back as the server does. */
static UNUSED void comes_back(struct str written)
{
    size_t at = 0;
    struct str line, subject;
    struct buf out = {0};
    uint64_t bytes = 0;

    while (!str_starts_with(str_skip(written, at), STR_LIT("PUB t.c.")))
        at++;
    line = str_skip(written, at + 4);
    line.n = str_find(line, '\r');
    at += 4 + line.n + 2;
    assert_true(str_cut(&line, ' ', &subject) && str_to_u64(line, &bytes) == 0);
    assert_int_equal(buf_printf(&out, "MSG %.*s %u %u\r\n", STR_ARG(subject), (unsigned)sid_of_a(),
                                (unsigned)bytes),
                     0);
    assert_int_equal(buf_append(&out, (struct str){.p = written.p + at, .n = bytes + 2}), 0);
    wire.events->received(wire.peer, buf_view(&out));
    buf_fini(&out);
}

static struct engine_settings settings_of(const char *const *addresses)
{
    struct engine_settings s = {
        .prefix = "t",
        .node = NODE,
        .timeout_ns = 3 * NS_PER_SEC,
        .patience_ns = 2 * NS_PER_SEC,
        .reconnect_max_ns = NS_PER_SEC,
        .probe_ns = 5 * NS_PER_SEC,
        .queue_bytes = 1 << 20,
        .window = 16,
        .nodes = {.heartbeat_ns = 1000 * NS_PER_SEC, .ttl_ns = 5000 * NS_PER_SEC},
    };
    struct engine_address one[ENGINE_ADDRESSES_MAX];
    char err[256];

    for (; addresses[s.addresses] != NULL; s.addresses++) {
        unsigned n = 0;

        assert_int_equal(
            engine_addresses_parse(str_from(addresses[s.addresses]), one, &n, err, sizeof(err)), 0);
        s.address[s.addresses] = one[0];
    }
    return s;
}

static void make(const char *const *addresses)
{
    const struct engine_settings s = settings_of(addresses);

    engine = engine_nats_new(&s, &fake_wires, NULL);
    assert_non_null(engine);
    engine_attach(engine, &hub_events, &hub);
}

static int setup(void **state)
{
    static const char *const one[] = {"nats://10.0.0.1", NULL};

    (void)state;
    config_defaults(&config);
    memset(metrics, 0, sizeof(*metrics));
    clock_set_virtual(1000 * NS_PER_SEC);
    make(one);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    engine_free(engine);
    engine = NULL;
    wire.open = false;
    wire.failing = wire.opened = 0;
    buf_fini(&wire.out);
    buf_fini(&hub.log);
    memset(&hub, 0, sizeof(hub));
    assert_int_equal(metrics->engine_subscriptions, 0);
    return 0;
}

#define NATS_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
