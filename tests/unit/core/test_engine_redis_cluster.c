/* The Redis engine and a cluster of scripted servers in memory: who is asked, in which order, when a slot moves. */
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
            buf_printf(&w->answers,
                       "*3\r\n:%u\r\n:%u\r\n*3\r\n$9\r\n127.0.0.1\r\n:%u\r\n$1\r\nx\r\n", SLOTS(i),
                       SLOTS(i + 1) - 1, FIRST + (t.stolen ? 2 : i)),
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
    struct engine_redis_settings s = {
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

/* --- tests --- */

static void tags_spread_slots_evenly(void **state)
{
    static const unsigned counts[] = {1, 2, 3, 256, 1000, REDIS_SLOT_NR};

    (void)state;
    for (size_t c = 0; c < ARRAY_LEN(counts); c++) {
        struct redis_cluster *k = redis_cluster_new(counts[c]);
        char tag[16];

        assert_non_null(k);
        for (unsigned i = 0; i < k->n; i++) {
            const struct redis_partition *p = &k->partitions[i];

            snprintf(tag, sizeof(tag), "%u", p->tag);
            assert_int_equal(crc16(str_from(tag)) % REDIS_SLOT_NR, p->slot);
            assert_int_equal(p->slot * k->n / REDIS_SLOT_NR, i);
            assert_ptr_equal(partition_at(k, p->slot), p);
        }
        assert_null(partition_at(k, REDIS_SLOT_NR));
        free(k);
    }
}

static void each_primary_has_its_channels(void **state)
{
    (void)state;
    assert_int_equal(redis_of(t.engine)->nservers, SERVERS);
    for (unsigned i = 0; i < SERVERS; i++)
        publish(channel_at(i, 0), i == 0 ? "a" : i == 1 ? "b" : "c", i);
    turns(3);
    all_done(0, 2, ENGINE_OK);
    assert_non_null(strstr(t.log, "0:a "));
    assert_non_null(strstr(t.log, "1:b "));
    assert_non_null(strstr(t.log, "2:c "));
}

/* Calls of two rounds are under way when the slot turns out to have moved, a third comes meanwhile. */
static void what_has_moved_is_sent_again_in_its_order(void **state)
{
    const char *name = channel_at(0, 0);

    (void)state;
    t.refuse[0] = redirection("MOVED", name, 1);
    publish(name, "a", 0);
    t.engine->ops->tick(t.engine, clock_ns());
    publish(name, "b", 1);
    t.engine->ops->tick(t.engine, clock_ns());
    publish(name, "c", 2);
    turns(10);
    all_done(0, 2, ENGINE_OK);
    assert_string_equal(t.log, "1:a 1:b 1:c ");
    assert_int_equal(partition_of(name)->server->address.port, FIRST + 1);
    assert_int_equal(redis_of(t.engine)->lanes.count, 0);
    publish(name, "d", 3);
    turns(3);
    assert_string_equal(t.log, "1:a 1:b 1:c 1:d ");
}

static void while_a_channel_waits_others_flow(void **state)
{
    const char *name = channel_at(0, 0), *other = channel_at(1, 0);

    (void)state;
    t.refuse[0] = "-TRYAGAIN later\r\n";
    publish(name, "a", 0);
    turns(3);
    publish(name, "b", 1);
    publish(other, "x", 2);
    turns(100);
    assert_string_equal(t.log, "1:x ");
    assert_int_equal(t.done[0] + t.done[1], 0);
    t.refuse[0] = NULL;
    turns(100);
    assert_string_equal(t.log, "1:x 0:a 0:b ");
    all_done(0, 2, ENGINE_OK);
    assert_int_equal(redis_of(t.engine)->lanes.count, 0);
}

static void what_nobody_takes_is_unavailable(void **state)
{
    const char *name = channel_at(0, 0);

    (void)state;
    t.refuse[0] = "-CLUSTERDOWN Hash slot not served\r\n";
    publish(name, "a", 0);
    turns(3);
    publish(name, "b", 1);
    turns(2100);
    all_done(0, 1, ENGINE_UNAVAILABLE);
    assert_string_equal(t.log, "");
    turns(100);
    assert_int_equal(redis_of(t.engine)->lanes.count, 0);
    assert_int_equal(redis_of(t.engine)->servers[0]->nwaiting, 0);
}

static void who_takes_a_slot_over_is_asked(void **state)
{
    const char *name = channel_at(0, 0);

    (void)state;
    t.refuse[0] = redirection("ASK", name, 1);
    publish(name, "a", 0);
    turns(3);
    publish(name, "b", 1);
    turns(20);
    all_done(0, 1, ENGINE_OK);
    assert_string_equal(t.log, "1:*a 0:a 1:*b 0:b "); /* and subscribers are told where they are */
    assert_int_equal(partition_of(name)->server->address.port, FIRST);
    assert_int_equal(redis_of(t.engine)->lanes.count, 0);
}

/* Subscribers are at the server that has the slot, until it has moved: it takes what needs no key. */
static void a_plain_publication_goes_where_its_subscribers_are(void **state)
{
    const char *name = named_at("plain", 0, 0);

    (void)state;
    t.refuse[0] = redirection("ASK", name, 1);
    publish_once(name, "a", 0);
    turns(1);
    publish(name, "b", 1);
    publish_once(name, "c", 2);
    turns(20);
    all_done(0, 2, ENGINE_OK);
    assert_non_null(strstr(t.log, "0:b "));
    assert_null(strstr(t.log, "1:b "));
    assert_null(strstr(t.log, "1:*b "));
    assert_int_equal(redis_of(t.engine)->lanes.count, 0);
}

/* The server that had the slot has done it, and told everybody: it is not told again. */
static void what_was_done_before_a_move_is_told_once(void **state)
{
    const char *name = channel_at(0, 0);

    (void)state;
    publish(name, "a", 0);
    t.engine->ops->tick(t.engine, clock_ns());
    move(partition_of(name), redis_of(t.engine)->servers[1]);
    turns(20);
    all_done(0, 0, ENGINE_OK);
    assert_string_equal(t.log, "0:a ");
}

#define POSITION(epoch, offset, was, at)                                                           \
    "*5\r\n$1\r\n" epoch "\r\n$1\r\n" offset "\r\n*0\r\n$1\r\n" was "\r\n$1\r\n" at "\r\n"

/* A subscriber of the first server that has 3 of epoch 7. */
static struct redis_sub *subscriber(struct engine_channel *c)
{
    const char *name = channel_at(0, 0);
    struct redis_sub *sub;

    t.synced[0] = POSITION("7", "3", "0", "0");
    t.engine->ops->subscribe(t.engine, c, str_from(name));
    turns(20);
    assert_int_equal(t.subscribed, 1);
    sub = redis_sub_find(redis_of(t.engine), str_from(name));
    assert_int_equal(sub->state, REDIS_SUB_LIVE);
    return sub;
}

static void ends_live_at(const struct redis_sub *sub, uint64_t epoch, unsigned lost)
{
    assert_int_equal(sub->state, REDIS_SUB_LIVE);
    assert_int_equal(sub->at.epoch, epoch);
    assert_int_equal(t.lost, lost);
}

/* From one living master to another nothing can have been lost. */
static void a_subscriber_goes_on_with_its_slot(void **state)
{
    struct engine_channel c = {0};
    struct redis_sub *sub = subscriber(&c);

    (void)state;
    t.synced[1] = POSITION("8", "3", "7", "3");
    move(sub->partition, redis_of(t.engine)->servers[1]);
    turns(20);
    ends_live_at(sub, 8, 0);
}

/* The copy has 3 of epoch 7, as this node: more may have been acknowledged. */
static void a_copy_that_took_over_may_lack_something(void **state)
{
    struct engine_channel c = {0};
    struct redis_sub *sub = subscriber(&c);

    (void)state;
    t.info = INFO("master", "1234567890123456789012345678901234567890");
    redis_server_restart(redis_of(t.engine)->servers[1], ENDING_CLOSED);
    turns(3000);
    assert_int_equal(redis_of(t.engine)->servers[1]->state, REDIS_UP);
    t.synced[1] = POSITION("8", "3", "7", "3");
    move(sub->partition, redis_of(t.engine)->servers[1]);
    turns(20);
    ends_live_at(sub, 8, 1);
}

/* The old server was not there when the slot moved. */
static void a_server_that_was_away_may_have_acknowledged_more(void **state)
{
    struct engine_channel c = {0};
    struct redis_sub *sub = subscriber(&c);

    (void)state;
    t.synced[1] = POSITION("8", "3", "7", "3");
    redis_server_restart(redis_of(t.engine)->servers[0], ENDING_CLOSED);
    move(sub->partition, redis_of(t.engine)->servers[1]);
    turns(20);
    ends_live_at(sub, 8, 1);
}

/* The same address, another server or another life of it. */
static void a_server_that_is_another_may_lack_something(void **state)
{
    struct engine_channel c = {0};
    struct redis_sub *sub = subscriber(&c);

    (void)state;
    t.synced[0] = POSITION("8", "3", "7", "3");
    redis_server_restart(redis_of(t.engine)->servers[0], ENDING_CLOSED);
    turns(3000);
    ends_live_at(sub, 8, 1);
}

static void scripts_that_are_gone_are_loaded(void **state)
{
    const char *name = channel_at(0, 0);

    (void)state;
    t.refuse[0] = "-NOSCRIPT No matching script\r\n";
    publish(name, "a", 0);
    t.engine->ops->tick(t.engine, clock_ns());
    publish(name, "b", 1);
    turns(2);
    t.refuse[0] = NULL;
    turns(10);
    all_done(0, 1, ENGINE_OK);
    assert_string_equal(t.log, "0:a 0:b ");
    assert_true(metrics->engine_redirects_noscript > 0);
}

/* A call waits in its lane while the server that has turned it away goes. */
static void a_call_outlives_its_server(void **state)
{
    const char *name = channel_at(0, 0);

    (void)state;
    t.refuse[0] = "-TRYAGAIN later\r\n";
    publish(name, "a", 0);
    turns(3);
    t.stolen = true;
    redis_cluster_ask_soon(redis_of(t.engine));
    turns(300);
    all_done(0, 0, ENGINE_OK);
    assert_string_equal(t.log, "2:a ");
    assert_int_equal(redis_of(t.engine)->nservers, 1);
    assert_int_equal(redis_of(t.engine)->servers[0]->nwaiting, 0);
}

static void primaries_come_and_go(void **state)
{
    (void)state;
    t.stolen = true;
    clock_advance(31 * NS_PER_SEC);
    turns(20);
    assert_int_equal(redis_of(t.engine)->nservers, 1);
    assert_int_equal(redis_of(t.engine)->servers[0]->address.port, FIRST + 2);
    t.stolen = false;
    clock_advance(31 * NS_PER_SEC);
    turns(50);
    assert_int_equal(redis_of(t.engine)->nservers, SERVERS);
    for (unsigned i = 0; i < SERVERS; i++)
        assert_int_equal(redis_of(t.engine)->servers[i]->state, REDIS_UP);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_spread_slots_evenly),
        T(each_primary_has_its_channels),
        T(what_has_moved_is_sent_again_in_its_order),
        T(while_a_channel_waits_others_flow),
        T(what_nobody_takes_is_unavailable),
        T(who_takes_a_slot_over_is_asked),
        T(a_plain_publication_goes_where_its_subscribers_are),
        T(what_was_done_before_a_move_is_told_once),
        T(a_subscriber_goes_on_with_its_slot),
        T(a_copy_that_took_over_may_lack_something),
        T(a_server_that_was_away_may_have_acknowledged_more),
        T(a_server_that_is_another_may_lack_something),
        T(scripts_that_are_gone_are_loaded),
        T(a_call_outlives_its_server),
        T(primaries_come_and_go),
    };

    return cmocka_run_group_tests_name("core/engine_redis_cluster", tests, NULL, NULL);
}
