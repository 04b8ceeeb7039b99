/* A Redis server in memory, as far as the engine speaks with one: it takes commands, keeps what is kept, and
 * its answers come when and as the test says. What is between it and the engine can be cut at each byte. */
#ifndef ROOST_TEST_REDIS_PEER_H
#define ROOST_TEST_REDIS_PEER_H

#include "codec/resp.h"
#include "core/engine_wire.h"

#define PEER_CHANNELS 64
#define PEER_KEPT     128
#define PEER_ARGS     64
#define PEER_NAME     80

struct peer_kept { /* a channel's stream and its meta */
    char name[PEER_NAME];
    uint64_t epoch, offset, before, before_offset;
    char run[PEER_NAME];
    struct buf items[PEER_KEPT];
};

struct engine_wire { /* the only one at a time */
    const struct engine_wire_events *events;
    void *peer;
    bool opening, open;
};

static struct peer {
    struct engine_wire wire;
    struct buf in, out, pushed;
    char run[PEER_NAME];
    char subs[PEER_CHANNELS][PEER_NAME];
    unsigned nsubs;
    bool counts_only; /* SUBSCRIBE is counted and confirmed, and no channel remembered */
    struct peer_kept kept[PEER_CHANNELS];
    unsigned nkept;
    bool absent;              /* nobody is there */
    bool mute;                /* it takes, and says nothing */
    bool probes_lost;         /* what is published to the probe's channel comes back to nobody */
    bool reply_first;         /* of a publication, then what is pushed */
    const char *error;        /* of calls that write; NULL: none */
    bool busy;                /* it refuses everything but HELLO */
    const char *error_once;   /* of the next EVALSHA */
    const char *error_late;   /* of the next one, when all of it is done */
    const char *hello;        /* what HELLO is answered with; NULL: it is well */
    size_t chunk;             /* bytes that come at a time; 0: all */
    size_t in_left, out_left; /* bytes until the connection is cut; SIZE_MAX: it is not */
    /* What has been seen: */
    unsigned opens, publications, evals;
    size_t names, most_names, bytes; /* SUBSCRIBE: of all, of one command; bytes of a round */
} peer;

static void peer_reset(void)
{
    for (unsigned i = 0; i < peer.nkept; i++)
        for (unsigned k = 0; k < PEER_KEPT; k++)
            buf_fini(&peer.kept[i].items[k]);
    buf_fini(&peer.in);
    buf_fini(&peer.out);
    buf_fini(&peer.pushed);
    peer = (struct peer){.in_left = SIZE_MAX, .out_left = SIZE_MAX, .run = "run1"};
}

/* --- the wire --- */

static struct engine_wire *peer_open(void *arg, const struct engine_address *to,
                                     const struct engine_wire_events *events, void *engine)
{
    (void)arg;
    (void)to;
    peer.opens++;
    peer.wire = (struct engine_wire){.events = events, .peer = engine, .opening = true};
    buf_clear(&peer.in);
    buf_clear(&peer.out);
    peer.nsubs = 0;
    peer.in_left = peer.out_left = SIZE_MAX;
    return &peer.wire;
}

static int peer_send(struct engine_wire *w, struct str bytes)
{
    peer.bytes += bytes.n;
    if (!w->open)
        return -1;
    bytes.n = MIN(bytes.n, peer.in_left);
    if (peer.in_left != SIZE_MAX)
        peer.in_left -= bytes.n;
    return buf_append(&peer.in, bytes);
}

static size_t peer_queued(const struct engine_wire *w)
{
    (void)w;
    return 0;
}

static void peer_close(struct engine_wire *w)
{
    w->open = w->opening = false;
}

static const struct engine_wire_ops peer_wires = {
    .open = peer_open, .send = peer_send, .queued = peer_queued, .close = peer_close};

/* The connection ends, from the server's side or in between. */
static void peer_cut(void)
{
    if (!peer.wire.open && !peer.wire.opening)
        return;
    peer.wire.open = peer.wire.opening = false;
    peer.wire.events->closed(peer.wire.peer, "cut");
}

/* --- the server --- */

static bool peer_is(struct str s, const char *text)
{
    return str_equal(s, str_from(text));
}

static struct peer_kept *peer_stream(struct str name)
{
    struct peer_kept *k;

    for (unsigned i = 0; i < peer.nkept; i++)
        if (peer_is(name, peer.kept[i].name))
            return &peer.kept[i];
    assert_true(peer.nkept < PEER_CHANNELS);
    k = &peer.kept[peer.nkept++];
    assert_int_equal(str_copy(name, k->name, sizeof(k->name)), 0);
    return k;
}

static void peer_say(const char *text)
{
    assert_int_equal(buf_append(&peer.out, str_from(text)), 0);
}

static void say_bulk(struct buf *out, struct str s)
{
    assert_int_equal(buf_printf(out, "$%zu\r\n", s.n), 0);
    assert_int_equal(buf_append(out, s), 0);
    assert_int_equal(buf_append_lit(out, "\r\n"), 0);
}

static void say_u64(uint64_t n)
{
    char text[32];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
    say_bulk(&peer.out, str_from(text));
}

static bool peer_is_subscribed(struct str channel)
{
    for (unsigned i = 0; i < peer.nsubs; i++)
        if (peer_is(channel, peer.subs[i]))
            return true;
    return false;
}

/* Into peer.pushed, which goes before or behind the reply. */
static void peer_push(struct str channel, struct str head, struct str data)
{
    struct buf payload = {0};

    if (!peer_is_subscribed(channel) ||
        (peer.probes_lost && memmem(channel.p, channel.n, "probe", 5) != NULL))
        return;
    assert_int_equal(buf_append(&payload, head), 0);
    assert_int_equal(buf_append(&payload, data), 0);
    assert_int_equal(buf_append_lit(&peer.pushed, ">3\r\n$7\r\nmessage\r\n"), 0);
    say_bulk(&peer.pushed, channel);
    say_bulk(&peer.pushed, buf_view(&payload));
    buf_fini(&payload);
}

static void say_pushed(void)
{
    assert_int_equal(buf_append(&peer.out, buf_view(&peer.pushed)), 0);
    buf_clear(&peer.pushed);
}

static void subscribe_do(struct str *args, unsigned n)
{
    peer.names += n - 1;
    peer.most_names = MAX(peer.most_names, n - 1);
    for (unsigned i = 1; i < n; i++) {
        if (!peer_is_subscribed(args[i]) && !peer.counts_only) {
            assert_true(peer.nsubs < PEER_CHANNELS);
            assert_int_equal(str_copy(args[i], peer.subs[peer.nsubs++], PEER_NAME), 0);
        }
        peer_say(">3\r\n$9\r\nsubscribe\r\n");
        say_bulk(&peer.out, args[i]);
        peer_say(":1\r\n");
    }
}

static void unsubscribe_do(struct str *args, unsigned n)
{
    for (unsigned i = 1; i < n; i++)
        for (unsigned k = 0; k < peer.nsubs; k++)
            if (peer_is(args[i], peer.subs[k]))
                memmove(peer.subs[k], peer.subs[--peer.nsubs], PEER_NAME);
}

static void peer_guard(struct peer_kept *k, struct str run, struct str epoch)
{
    if (k->epoch != 0 && peer_is(run, k->run))
        return;
    k->before = k->epoch;
    k->before_offset = k->offset;
    assert_int_equal(str_to_u64(epoch, &k->epoch), 0);
    assert_int_equal(str_copy(run, k->run, sizeof(k->run)), 0);
}

static void peer_keep(struct peer_kept *k, struct str item)
{
    struct buf *to = &k->items[k->offset % PEER_KEPT];

    buf_clear(to);
    assert_int_equal(buf_append(to, item), 0);
    k->offset++;
    peer.publications++;
}

static void push_kept(const struct peer_kept *k, struct str channel, uint64_t first, struct str all)
{
    char head[64];

    snprintf(head, sizeof(head), "%llu:%llu:", (unsigned long long)k->epoch,
             (unsigned long long)first);
    peer_push(channel, str_from(head), all);
}

static void publish_do(struct peer_kept *k, const struct str *argv, unsigned n)
{
    uint64_t first = k->offset + 1;
    struct buf all = {0};

    for (unsigned i = 7; i < n; i++) {
        peer_keep(k, argv[i]);
        assert_int_equal(buf_append(&all, argv[i]), 0);
    }
    push_kept(k, argv[6], first, buf_view(&all));
    buf_fini(&all);
    if (!peer.reply_first)
        say_pushed();
    peer_say("*2\r\n");
    say_u64(k->epoch);
    say_u64(first);
    say_pushed();
}

/* Where it was kept before; 0: it was not. */
static uint64_t peer_known(const struct peer_kept *k, struct str item)
{
    for (uint64_t o = 1; o <= k->offset; o++) {
        struct str was = buf_view(&k->items[(o - 1) % PEER_KEPT]);

        if (memcmp(was.p + ENVELOPE_ORIGIN_AT, item.p + ENVELOPE_ORIGIN_AT,
                   ENVELOPE_ORIGIN_BYTES) == 0)
            return o;
    }
    return 0;
}

static void publish_if_do(struct peer_kept *k, const struct str *argv)
{
    bool is_kept = peer_is(argv[8], "1");
    uint64_t was = is_kept && !peer_is(argv[9], "0") ? peer_known(k, argv[7]) : 0;

    if (!is_kept) {
        peer.publications++;
        peer_push(argv[6], STR_LIT("0:0:"), argv[7]);
    } else if (was == 0) {
        peer_keep(k, argv[7]);
        push_kept(k, argv[6], k->offset, argv[7]);
    }
    if (!peer.reply_first)
        say_pushed();
    peer_say("*3\r\n");
    say_bulk(&peer.out, str_from(was != 0 ? "known" : "ok"));
    say_u64(is_kept ? k->epoch : 0);
    say_u64(is_kept ? was != 0 ? was : k->offset : 0);
    say_pushed();
}

static void history_do(const struct peer_kept *k, const struct str *argv)
{
    uint64_t limit = 0, since = 0, n;
    char id[64];

    assert_int_equal(str_to_u64(argv[3], &limit), 0);
    if (argv[5].p[0] == '(')
        assert_int_equal(str_to_u64((struct str){.p = argv[5].p + 1, .n = argv[5].n - 3}, &since),
                         0);
    since = MIN(since, k->offset);
    n = MIN(limit, k->offset - since);
    peer_say("*5\r\n");
    say_u64(k->epoch);
    say_u64(k->offset);
    snprintf(id, sizeof(id), "*%llu\r\n", (unsigned long long)n);
    peer_say(id);
    for (uint64_t o = since + 1; o <= since + n; o++) {
        peer_say("*2\r\n");
        snprintf(id, sizeof(id), "%llu-0", (unsigned long long)o);
        say_bulk(&peer.out, str_from(id));
        peer_say("*2\r\n$1\r\nd\r\n");
        say_bulk(&peer.out, buf_view(&k->items[(o - 1) % PEER_KEPT]));
    }
    say_u64(k->before);
    say_u64(k->before_offset);
}

static void eval_do(struct str *args, unsigned n)
{
    uint64_t which = 0, keys = 0;
    struct peer_kept *k;
    struct str *argv;
    size_t before;

    assert_int_equal(str_to_u64(args[1], &which), 0);
    assert_int_equal(str_to_u64(args[2], &keys), 0);
    argv = args + 3 + keys;
    peer.evals++;
    if (peer.error_once != NULL || (peer.error != NULL && which != REDIS_SCRIPT_HISTORY)) {
        peer_say(peer.error_once != NULL ? peer.error_once : peer.error);
        peer.error_once = NULL;
        return;
    }
    if (which == REDIS_SCRIPT_CONTROL) {
        peer_push(argv[0], STR_LIT("5-1:"), argv[1]);
        say_pushed();
        say_bulk(&peer.out, STR_LIT("5-1"));
        return;
    }
    k = peer_stream(args[3]);
    peer_guard(k, argv[0], argv[1]);
    before = peer.out.len;
    switch (which) {
    case REDIS_SCRIPT_PUBLISH:
        publish_do(k, argv, n - 3 - (unsigned)keys);
        break;
    case REDIS_SCRIPT_PUBLISH_IF:
        publish_if_do(k, argv);
        break;
    default:
        history_do(k, argv);
    }
    if (peer.error_late != NULL) {
        peer.out.len = before;
        peer_say(peer.error_late);
        peer.error_late = NULL;
    }
}

static void load_do(struct str text)
{
    char sha[64];

    for (unsigned i = 0; i < REDIS_SCRIPT_NR; i++)
        if (peer_is(text, redis_scripts[i])) {
            snprintf(sha, sizeof(sha), "%040u", i);
            say_bulk(&peer.out, str_from(sha));
            return;
        }
    fail();
}

static void meta_do(const struct peer_kept *k)
{
    peer_say("*2\r\n");
    if (k->epoch == 0) {
        peer_say("_\r\n_\r\n");
        return;
    }
    say_u64(k->epoch);
    say_u64(k->offset);
}

static void command_do(struct str *args, unsigned n)
{
    if (peer_is(args[0], "HELLO") || peer_is(args[0], "SELECT")) {
        peer_say(peer.hello != NULL && peer_is(args[0], "HELLO") ? peer.hello : "+OK\r\n");
    } else if (peer.busy) {
        peer_say("-BUSY Redis is busy running a script.\r\n");
    } else if (peer_is(args[0], "INFO")) {
        char text[200];

        snprintf(text, sizeof(text), "# Server\r\nrun_id:%s\r\nmaster_replid:of-%s\r\n", peer.run,
                 peer.run);
        say_bulk(&peer.out, str_from(text));
    } else if (peer_is(args[0], "SCRIPT")) {
        load_do(args[2]);
    } else if (peer_is(args[0], "SUBSCRIBE")) {
        subscribe_do(args, n);
    } else if (peer_is(args[0], "UNSUBSCRIBE")) {
        unsubscribe_do(args, n);
    } else if (peer_is(args[0], "PING")) {
        peer_say("+PONG\r\n");
    } else if (peer_is(args[0], "HMGET")) {
        meta_do(peer_stream(args[1]));
    } else if (peer_is(args[0], "PUBLISH")) {
        peer.publications += memmem(args[1].p, args[1].n, ":c:", 3) != NULL;
        peer_push(args[1], STR_LIT(""), args[2]);
        if (!peer.reply_first)
            say_pushed();
        peer_say(":1\r\n");
        say_pushed();
    } else if (peer_is(args[0], "EVALSHA")) {
        eval_do(args, n);
    } else { /* of the log, of members: there is nothing */
        peer_say("*0\r\n");
    }
}

/* Whole commands at the front of what has come. */
static void take_commands(void)
{
    static char copy[1 << 17];

    for (;;) {
        struct resp_scan scan = {0};
        struct str args[1 + 1024], rest;
        struct resp_node node;
        ssize_t n = resp_scan(&scan, buf_view(&peer.in));

        assert_true(n >= 0 && (size_t)n <= sizeof(copy));
        if (n == 0)
            return;
        memcpy(copy, peer.in.p, (size_t)n);
        buf_drop(&peer.in, (size_t)n);
        rest = (struct str){.p = copy, .n = (size_t)n};
        assert_true(resp_next(&rest, &node) && node.type == RESP_ARRAY &&
                    node.n <= ARRAY_LEN(args));
        for (uint32_t i = 0; i < node.n; i++)
            assert_true(resp_next_text(&rest, &args[i]));
        command_do(args, node.n);
    }
}

/* --- one turn --- */

static void take_input(void)
{
    take_commands();
    if (peer.in_left == 0)
        peer_cut();
}

static void give_output(void)
{
    while (peer.wire.open && !peer.mute && peer.out.len > 0) {
        size_t n = MIN(peer.chunk > 0 ? peer.chunk : peer.out.len, peer.out.len);
        struct buf some = {0};

        n = MIN(n, peer.out_left);
        assert_int_equal(buf_append(&some, (struct str){.p = peer.out.p, .n = n}), 0);
        buf_drop(&peer.out, n);
        if (peer.out_left != SIZE_MAX)
            peer.out_left -= n;
        if (n > 0)
            peer.wire.events->received(peer.wire.peer, buf_view(&some));
        buf_fini(&some);
        if (peer.out_left == 0)
            peer_cut();
    }
}

static void peer_turn(void)
{
    if (peer.wire.opening && peer.absent) {
        peer_cut();
    } else if (peer.wire.opening) {
        peer.wire.opening = false;
        peer.wire.open = true;
        peer.wire.events->opened(peer.wire.peer);
    }
    if (peer.wire.open)
        take_input();
    give_output();
}

#endif
