/* Several nodes in one process, each a Redis engine with connections of its own to a real server, who subscribe to
 * channel "a". Time is virtual: it passes while the server owes nobody an answer. */
#ifndef ROOST_TEST_REDIS_NODES_H
#define ROOST_TEST_REDIS_NODES_H

#include "redis_server.h"

#define NODES     3
#define HEARTBEAT (40 * NS_PER_MS)
#define TTL       (400 * NS_PER_MS)
#define WAIT_MAX  20000 /* steps */
#define MANY      1500
#define TICK      (10 * NS_PER_MS)

enum token { CHANGE = 7, QUESTION };

static struct node {
    struct engine *engine; /* NULL: it is not there */
    struct engine_channel channel;
    char told[4096], listed[MANY * 8];
    unsigned nlisted, subscribed, done, answered;
    enum engine_status status, answer; /* of the last change, question */
    uint32_t clients, users;
    bool still; /* it does not move */
} nodes[NODES];

static void on_done(void *hub, uint64_t token, enum engine_status status, struct position at)
{
    struct node *n = hub;

    assert_int_equal(at.epoch, 0);
    if (token == QUESTION) {
        n->answered++;
        n->answer = status;
        return;
    }
    n->done++;
    n->status = status;
}

static void on_subscribed(void *hub, struct engine_channel *c, enum engine_status status)
{
    struct node *n = hub;

    assert_ptr_equal(c, &n->channel);
    assert_int_equal(status, ENGINE_OK);
    n->subscribed++;
}

static void note(char *log, size_t size, const char *sign, struct str fields)
{
    struct client_info info;
    struct str field;
    size_t n = strlen(log);

    assert_true(record_field(fields, FIELD_INFO, &field));
    assert_int_equal(client_info_read(field, &info), 0);
    snprintf(log + n, size - n, "%s%.*s ", sign, STR_ARG(info.client));
}

static void on_member(void *hub, const struct record *r)
{
    struct node *n = hub;

    assert_true(str_equal(r->name, STR_LIT("a")));
    note(n->told, sizeof(n->told), r->kind == RECORD_JOIN ? "+" : "-", r->fields);
}

static void on_listed(void *hub, uint64_t token UNUSED, struct str fields)
{
    struct node *n = hub;

    n->nlisted++;
    note(n->listed, sizeof(n->listed), "", fields);
}

static void on_counted(void *hub, uint64_t token UNUSED, uint32_t clients, uint32_t users)
{
    struct node *n = hub;

    n->clients = clients;
    n->users = users;
}

static void on_lost(void *hub UNUSED, struct engine_channel *c UNUSED)
{
}

static void on_node(void *hub UNUSED, uint64_t node UNUSED, bool alive UNUSED)
{
}

static const struct engine_events events = {.node = on_node,
                                            .done = on_done,
                                            .subscribed = on_subscribed,
                                            .lost = on_lost,
                                            .member = on_member,
                                            .listed = on_listed,
                                            .counted = on_counted};

/* --- steps --- */

/* The server owes it nothing. */
static bool waits_for_time(const struct node *n)
{
    const struct redis *e = (const struct redis *)(const void *)n->engine;
    const struct redis_server *s = n->engine != NULL ? e->servers[0] : NULL;

    return s == NULL || n->still || s->state == REDIS_DOWN ||
           (s->state == REDIS_UP && list_empty(&s->sent) && list_empty(&s->waiting));
}

static void step(void)
{
    bool idle = true;

    for (size_t i = 0; i < WIRES_MAX; i++) {
        struct engine_wire *w = &redis_test.wires[i];
        const struct redis_server *s = w->peer;

        for (unsigned k = 0; w->events != NULL && k < NODES; k++)
            if (s->engine == (struct redis *)(void *)nodes[k].engine && !nodes[k].still) {
                wire_step(w, 0);
                break;
            }
    }
    for (unsigned i = 0; i < NODES; i++) {
        if (nodes[i].engine != NULL && !nodes[i].still)
            nodes[i].engine->ops->tick(nodes[i].engine, clock_ns());
        idle = idle && waits_for_time(&nodes[i]);
    }
    if (idle)
        clock_advance(TICK);
    else
        poll(NULL, 0, 1);
}

/* The condition may take steps itself, so it is asked once a time. */
#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        bool met = condition;                                                                      \
        for (unsigned until = 0; until < WAIT_MAX && !met; until++) {                              \
            step();                                                                                \
            met = condition;                                                                       \
        }                                                                                          \
        assert_true(met);                                                                          \
    } while (0)

static bool is_idle(const struct node *n)
{
    const struct redis *e = (const struct redis *)(const void *)n->engine;
    const struct redis_server *s = e->servers[0];

    return s->state == REDIS_UP && list_empty(&s->waiting) && list_empty(&s->sent) &&
           list_empty(&s->resubscribe) && !e->presence->pass && e->presence->nsweeps == 0;
}

static void count(unsigned i);

/* And what was published to them has come: it is in front of an answer. */
static void all_idle(void)
{
    for (unsigned i = 0; i < NODES; i++)
        if (nodes[i].engine != NULL && !nodes[i].still)
            UNTIL(is_idle(&nodes[i]));
    for (unsigned i = 0; i < NODES; i++)
        if (nodes[i].engine != NULL && !nodes[i].still)
            count(i);
}

static void begin(unsigned i, bool restarted)
{
    struct engine_settings s = {
        .addresses = 1,
        .prefix = "t",
        .node = i + 1,
        .nodes = {.heartbeat_ns = HEARTBEAT, .ttl_ns = TTL},
        .restarted = restarted,
        .timeout_ns = 3 * NS_PER_SEC,
        .patience_ns = 200 * NS_PER_MS,
        .reconnect_max_ns = 100 * NS_PER_MS,
        .probe_ns = NS_PER_SEC,
        .queue_bytes = 1 << 24,
        .window = 256,
    };

    nodes[i] = (struct node){.engine = engine_redis_new(&s, &redis_wires, NULL)};
    assert_non_null(nodes[i].engine);
    engine_attach(nodes[i].engine, &events, &nodes[i]);
    nodes[i].engine->ops->subscribe(nodes[i].engine, &nodes[i].channel, STR_LIT("a"));
    UNTIL(nodes[i].subscribed == 1);
}

/* As if it were killed: it says nothing more. */
static void kill_node(unsigned i)
{
    engine_free(nodes[i].engine);
    nodes[i].engine = NULL;
}

/* --- calls --- */

struct somebody {
    const char *client, *user, *info;
    uint32_t owner, mark;
    uint8_t flags;
};

static uint64_t fail_at; /* the allocation of the next change that fails; 0: none */

static void change(unsigned i, enum engine_presence_op op, struct somebody s)
{
    struct engine_presence ask = {.op = op, .owner = s.owner, .mark = s.mark};
    struct record r = {.name = STR_LIT("a"), .flags = s.flags, .source = (uint16_t)s.owner};
    const struct client_info info = {
        .user = str_from(s.user), .client = str_from(s.client), .conn_info = str_from(s.info)};
    struct buf value = {0}, fields = {0};
    struct str field;

    assert_int_equal(client_info_write(&value, &info), 0);
    assert_int_equal(record_add_field(&fields, FIELD_INFO, buf_view(&value)), 0);
    r.fields = buf_view(&fields);
    assert_true(record_field(r.fields, FIELD_INFO, &field));
    assert_int_equal(client_info_read(field, &ask.who), 0);
    ask.r = &r;
    fault_fail_at(fail_at);
    nodes[i].engine->ops->presence(nodes[i].engine, &ask, CHANGE);
    fault_reset();
    buf_fini(&value);
    buf_fini(&fields);
}

static void come(unsigned i, const char *client, const char *user)
{
    change(i, PRESENCE_SET, (struct somebody){client, user, NULL, 0, 0, PRESENCE_TELL});
    all_idle();
}

static void go(unsigned i, const char *client, const char *user)
{
    change(i, PRESENCE_CLEAR, (struct somebody){client, user, NULL, 0, 0, PRESENCE_TELL});
    all_idle();
}

static void count(unsigned i)
{
    const struct engine_presence ask = {.op = PRESENCE_STATS, .channel = STR_LIT("a")};
    unsigned before = nodes[i].answered;

    nodes[i].engine->ops->presence(nodes[i].engine, &ask, QUESTION);
    UNTIL(nodes[i].answered == before + 1);
}

static bool counts(unsigned i, uint32_t clients, uint32_t users)
{
    count(i);
    return nodes[i].clients == clients && nodes[i].users == users;
}

/* All of them, in steps of that many. */
static const char *list(unsigned i, uint32_t limit)
{
    struct engine_cursor cursor = {0};
    const struct engine_presence ask = {
        .op = PRESENCE_LIST, .channel = STR_LIT("a"), .limit = limit, .cursor = &cursor};

    nodes[i].listed[0] = '\0';
    nodes[i].nlisted = 0;
    while (!cursor.ended) {
        unsigned before = nodes[i].answered, listed = nodes[i].nlisted;

        nodes[i].engine->ops->presence(nodes[i].engine, &ask, QUESTION);
        UNTIL(nodes[i].answered == before + 1);
        assert_int_equal(nodes[i].answer, ENGINE_OK);
        assert_true(nodes[i].nlisted <= listed + limit);
    }
    return nodes[i].listed;
}

static void forget_all(unsigned i, uint32_t owner, uint32_t mark)
{
    struct engine_cursor cursor = {0};
    const struct engine_presence ask = {
        .op = PRESENCE_FORGET, .owner = owner, .mark = mark, .limit = 2, .cursor = &cursor};

    while (!cursor.ended)
        nodes[i].engine->ops->presence(nodes[i].engine, &ask, QUESTION);
    all_idle();
}

static void told_nothing(void)
{
    for (unsigned i = 0; i < NODES; i++)
        nodes[i].told[0] = '\0';
}

static int setup(void **state)
{
    config_defaults(&config);
    channel_options_changed();
    memset(metrics, 0, sizeof(*metrics));
    memset(nodes, 0, sizeof(nodes));
    redis_test.refuse = false;
    clock_set_virtual(1000 * NS_PER_SEC);
    redis_say("FLUSHALL\r\n");
    for (unsigned i = 0; i < NODES; i++)
        begin(i, false);
    (void)state;
    return 0;
}

static int teardown(void **state)
{
    for (unsigned i = 0; i < NODES; i++)
        engine_free(nodes[i].engine);
    assert_int_equal(metrics->presence_members, 0);
    assert_int_equal(metrics->presence_bytes, 0);
    config_defaults(&config);
    clock_set_virtual(0);
    (void)state;
    return 0;
}

#endif
