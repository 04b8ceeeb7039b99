/* The control log of the Redis engine and a scripted server: where reading begins, in which pieces, what a hub that
 * is started again and another server find. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "core/engine_redis_log.c"

#define ENTRIES 1024
#define FIRST   1700000000000 /* ms */

struct engine_wire {
    const struct engine_wire_events *events;
    void *peer;
    bool opened;
    struct buf in, answers;
};

static struct {
    struct engine *engine;
    struct engine_wire wire;
    struct engine_redis_marks marks;              /* what outlives a hub */
    uint64_t ids[ENTRIES][2], positions[ENTRIES]; /* the log */
    unsigned n;
    char run;
    uint64_t now_ms;            /* 0: it does not say */
    unsigned pieces, most;      /* that were read; entries of the largest */
    unsigned cut_after;         /* pieces: the connection ends then; 0: it does not */
    unsigned pushed_at;         /* before that piece, one is published; 0: none */
    unsigned told[ENTRIES + 1]; /* by position, which is also what is said: how often */
    unsigned taken;             /* so often this node has said that it has one */
    bool full;                  /* a worker's queue */
    struct engine_settings settings;
} t;

/* --- the server --- */

static void answer(const char *text)
{
    assert_int_equal(buf_append_lit(&t.wire.answers, text), 0);
}

static void envelope_of(struct buf *out, uint64_t position)
{
    struct str data = {.p = (const char *)&position, .n = sizeof(position)};
    const struct envelope e = {
        .node = 2, .r = {.kind = RECORD_CONTROL, .source = 1, .position = position, .data = data}};

    assert_int_equal(envelope_write(out, &e), 0);
}

/* Another node says something. */
static void said(uint64_t ms)
{
    assert_true(t.n < ENTRIES);
    t.ids[t.n][0] = ms;
    t.ids[t.n][1] = t.n;
    t.positions[t.n] = t.n;
    t.n++;
}

/* This node hears the newest. */
static void pushed(void)
{
    struct buf body = {0};

    assert_int_equal(buf_printf(&body, "%" PRIu64 "-%u:", t.ids[t.n - 1][0], t.n - 1), 0);
    envelope_of(&body, t.positions[t.n - 1]);
    answer(">3\r\n$7\r\nmessage\r\n$9\r\nt:control\r\n");
    assert_int_equal(buf_printf(&t.wire.answers, "$%zu\r\n", body.len), 0);
    assert_int_equal(buf_append(&t.wire.answers, buf_view(&body)), 0);
    answer("\r\n");
    buf_fini(&body);
}

static void published(uint64_t ms)
{
    said(ms);
    pushed();
}

static void answer_entry(unsigned i)
{
    struct buf body = {0}, id = {0};

    envelope_of(&body, t.positions[i]);
    assert_int_equal(buf_printf(&id, "%" PRIu64 "-%" PRIu64, t.ids[i][0], t.ids[i][1]), 0);
    assert_int_equal(buf_printf(&t.wire.answers, "*2\r\n$%zu\r\n%.*s\r\n*2\r\n$1\r\nd\r\n$%zu\r\n",
                                id.len, STR_ARG(buf_view(&id)), body.len),
                     0);
    assert_int_equal(buf_append(&t.wire.answers, buf_view(&body)), 0);
    answer("\r\n");
    buf_fini(&body);
    buf_fini(&id);
}

/* XRANGE log (ms-seq + COUNT n */
static void answer_range(const struct str *arg)
{
    struct str from = str_skip(arg[2], 1), ms;
    unsigned first = 0, n;
    uint64_t id[2], most;

    assert_true(str_cut(&from, '-', &ms) && str_to_u64(ms, &id[0]) == 0 &&
                str_to_u64(from, &id[1]) == 0 && str_to_u64(arg[5], &most) == 0);
    if (++t.pieces == t.pushed_at)
        published(FIRST + 900000);
    while (first < t.n &&
           (t.ids[first][0] < id[0] || (t.ids[first][0] == id[0] && t.ids[first][1] <= id[1])))
        first++;
    n = MIN(t.n - first, (unsigned)most);
    t.most = MAX(t.most, n);
    assert_int_equal(buf_printf(&t.wire.answers, "*%u\r\n", n), 0);
    for (unsigned i = 0; i < n; i++)
        answer_entry(first + i);
}

static void answer_info(void)
{
    struct buf text = {0};

    assert_int_equal(buf_printf(&text, "run_id:%c\r\n", t.run), 0);
    if (t.now_ms != 0)
        assert_int_equal(
            buf_printf(&text, "server_time_usec:%llu\r\n", (unsigned long long)t.now_ms * 1000), 0);
    assert_int_equal(
        buf_printf(&t.wire.answers, "$%zu\r\n%.*s\r\n", text.len, (int)text.len, text.p), 0);
    buf_fini(&text);
}

static void answer_command(const struct str *arg)
{
    if (str_equal(arg[0], STR_LIT("HELLO"))) {
        answer("%0\r\n");
    } else if (str_equal(arg[0], STR_LIT("INFO"))) {
        answer_info();
    } else if (str_equal(arg[0], STR_LIT("SCRIPT"))) {
        answer("$3\r\nsha\r\n");
    } else if (str_equal(arg[0], STR_LIT("XREVRANGE"))) {
        assert_int_equal(buf_printf(&t.wire.answers, "*%d\r\n", t.n > 0), 0);
        if (t.n > 0)
            answer_entry(t.n - 1);
    } else if (str_equal(arg[0], STR_LIT("XRANGE"))) {
        answer_range(arg);
    } else if (str_equal(arg[0], STR_LIT("PUBLISH"))) {
        t.taken += str_starts_with(arg[1], STR_LIT("t:node:"));
        answer(":1\r\n");
    } else if (str_equal(arg[0], STR_LIT("PING"))) {
        answer("+PONG\r\n");
    } else if (!str_equal(arg[0], STR_LIT("SUBSCRIBE"))) { /* its pushes are not looked at here */
        answer("*0\r\n");
    }
}

static void serve(void)
{
    struct resp_scan scan = {0};
    struct str rest = buf_view(&t.wire.in), arg[16], value;
    struct resp_node node;
    ssize_t size;

    while (rest.n > 0) {
        size = resp_scan(&scan, rest);
        assert_true(size > 0);
        value = (struct str){.p = rest.p, .n = (size_t)size};
        assert_true(resp_next(&value, &node) && node.n > 0 && node.n <= ARRAY_LEN(arg));
        for (uint32_t i = 0; i < node.n; i++)
            assert_true(resp_next_text(&value, &arg[i]));
        answer_command(arg);
        rest = str_skip(rest, (size_t)size);
    }
    buf_clear(&t.wire.in);
}

/* --- the connection --- */

static struct engine_wire *wire_open(void *arg UNUSED, const struct engine_address *to UNUSED,
                                     const struct engine_wire_events *events, void *peer)
{
    t.wire = (struct engine_wire){.events = events, .peer = peer};
    return &t.wire;
}

static int wire_send(struct engine_wire *w, struct str bytes)
{
    return buf_append(&w->in, bytes);
}

static size_t wire_queued(const struct engine_wire *w UNUSED)
{
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

static void cut(void)
{
    const struct engine_wire_events *events = t.wire.events;
    void *peer = t.wire.peer;

    wire_close(&t.wire);
    events->closed(peer, "cut");
}

static void turn(void)
{
    struct buf answers;

    t.engine->ops->tick(t.engine, clock_ns());
    if (t.wire.events == NULL)
        return;
    if (!t.wire.opened) {
        t.wire.opened = true;
        t.wire.events->opened(t.wire.peer);
        return;
    }
    serve();
    answers = t.wire.answers;
    t.wire.answers = (struct buf){0};
    if (answers.len > 0)
        t.wire.events->received(t.wire.peer, buf_view(&answers));
    buf_fini(&answers);
    if (t.cut_after > 0 && t.pieces == t.cut_after && t.wire.events != NULL) {
        t.cut_after = 0;
        cut();
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

static bool on_control(void *hub UNUSED, const struct record *r)
{
    uint64_t position;

    assert_int_equal(r->data.n, sizeof(position));
    memcpy(&position, r->data.p, sizeof(position));
    assert_true(position < ENTRIES);
    t.told[position] += !t.full;
    return !t.full;
}

static const struct engine_events events = {.control = on_control};

/* Its server is not there for so long. */
static void start_late(uint64_t ns)
{
    t.engine = engine_redis_new(&t.settings, &wires, NULL);
    assert_non_null(t.engine);
    engine_attach(t.engine, &events, &t);
    clock_advance(ns);
    turns(20);
    assert_int_equal(redis_of(t.engine)->servers[0]->state, REDIS_UP);
}

static void start(void)
{
    start_late(0);
}

static void end(void)
{
    engine_free(t.engine);
    t.engine = NULL;
}

static void connect_again(void)
{
    cut();
    turns(2000);
    assert_int_equal(redis_of(t.engine)->servers[0]->state, REDIS_UP);
}

static void told_once(unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        assert_int_equal(t.told[i], 1);
}

static int setup(void **state UNUSED)
{
    memset(&t, 0, sizeof(t));
    memset(metrics, 0, sizeof(*metrics));
    t.run = 'a';
    t.settings = (struct engine_settings){
        .addresses = 1,
        .prefix = "t",
        .node = 1,
        .nodes = {.heartbeat_ns = 3600 * NS_PER_SEC, .ttl_ns = 36000 * NS_PER_SEC},
        .marks = &t.marks,
        .timeout_ns = 3 * NS_PER_SEC,
        .patience_ns = 2 * NS_PER_SEC,
        .reconnect_max_ns = NS_PER_SEC,
        .probe_ns = 3600 * NS_PER_SEC,
        .queue_bytes = 1 << 24,
        .window = 1024,
    };
    t.settings.address[0] = (struct engine_address){.scheme = ENGINE_SCHEME_REDIS, .port = 6379};
    clock_set_virtual(1000 * NS_PER_SEC);
    return 0;
}

static int teardown(void **state UNUSED)
{
    end();
    clock_set_virtual(0);
    return 0;
}

/* --- tests --- */

static void a_node_begins_at_the_end(void **state UNUSED)
{
    for (unsigned i = 0; i < 3; i++)
        said(FIRST + i);
    start();
    assert_int_equal(t.told[0] + t.told[1] + t.told[2], 0);
    published(FIRST + 10);
    turns(2);
    told_once(3, 4);
    connect_again();
    told_once(3, 4);
    assert_int_equal(metrics->control_replayed, 0);
}

/* By the server's clock: from when the node began. */
static void what_was_said_while_it_waited_is_heard(void **state UNUSED)
{
    said(FIRST - 10);
    for (unsigned i = 1; i < 2 * PIECE; i++)
        said(FIRST + i);
    t.now_ms = FIRST + 60000;
    start_late(60 * NS_PER_SEC);
    turns(20);
    assert_int_equal(t.told[0], 0);
    told_once(1, 2 * PIECE);
    published(FIRST + 60010);
    turns(2);
    told_once(2 * PIECE, 2 * PIECE + 1);
}

static void a_hub_that_is_started_again_goes_on(void **state UNUSED)
{
    said(FIRST);
    start();
    published(FIRST + 10);
    turns(2);
    end();
    said(FIRST + 20);
    said(FIRST + 20);
    start();
    assert_int_equal(t.told[0], 0);
    told_once(1, 4);
    assert_int_equal(metrics->control_replayed, 2);
}

/* Nothing had been said: from the first entry on. */
static void and_so_it_does_of_an_empty_log(void **state UNUSED)
{
    start();
    end();
    said(FIRST);
    start();
    told_once(0, 1);
}

static void a_long_log_comes_in_pieces(void **state UNUSED)
{
    said(FIRST);
    start();
    cut();
    for (unsigned i = 0; i < 3 * PIECE; i++)
        said(FIRST + 10 + i / 7);
    turns(2000);
    told_once(1, 3 * PIECE + 1);
    assert_int_equal(t.most, PIECE);
    assert_int_equal(t.pieces, 4); /* the last one is empty */
}

/* What is published between the pieces does not hide what is still to be read. */
static void a_cut_between_two_pieces_loses_nothing(void **state UNUSED)
{
    said(FIRST);
    start();
    cut();
    for (unsigned i = 0; i < 3 * PIECE; i++)
        said(FIRST + 10 + i);
    t.pushed_at = 2;
    t.cut_after = 2;
    for (unsigned i = 0; i < 2000 && t.cut_after > 0; i++)
        turns(1);
    assert_int_equal(t.pieces, 2);
    end();
    start();
    for (unsigned i = 1; i < t.n; i++)
        assert_true(t.told[i] >= 1); /* by the one hub or by the other */
    told_once(1, 3 * PIECE);
    assert_int_equal(t.most, PIECE);
}

/* Its clock is behind, and it has an entry that the old one never had. */
static void another_server_is_read_from_some_seconds_before(void **state UNUSED)
{
    start();
    published(FIRST + 20000);
    turns(2);
    t.run = 'b';
    t.n = 0;
    said(FIRST);         /* long ago: not read */
    said(FIRST + 19000); /* known by its origin, which is that of the one published before */
    said(FIRST + 19500);
    t.positions[1] = 0;
    t.positions[0] = 9;
    connect_again();
    assert_int_equal(t.told[9], 0);
    told_once(0, 1);
    told_once(2, 3);
    assert_int_equal(metrics->control_replayed, 1);
    published(FIRST + 19600); /* before the last one of the old server */
    turns(2);
    told_once(3, 4);
}

/* Nothing tells whether it is the same one. */
static void and_so_is_any_server_without_a_guard(void **state UNUSED)
{
    t.settings.guard = ENGINE_GUARD_NONE;
    start();
    published(FIRST + 20000);
    turns(2);
    t.n = 0;
    said(FIRST + 19500);
    t.positions[0] = 9;
    connect_again();
    told_once(9, 10);
    told_once(0, 1);
}

static void what_met_a_full_queue_is_told_when_it_comes_again(void **state UNUSED)
{
    start();
    t.full = true;
    published(FIRST + 20000);
    turns(2);
    pushed();
    turns(2);
    assert_int_equal(t.told[0] + t.taken, 0);
    t.full = false;
    t.run = 'b';
    connect_again();
    told_once(0, 1);
    pushed();
    turns(3);
    told_once(0, 1);
    assert_int_equal(t.taken, 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_node_begins_at_the_end),
        T(what_was_said_while_it_waited_is_heard),
        T(a_hub_that_is_started_again_goes_on),
        T(and_so_it_does_of_an_empty_log),
        T(a_long_log_comes_in_pieces),
        T(a_cut_between_two_pieces_loses_nothing),
        T(another_server_is_read_from_some_seconds_before),
        T(and_so_is_any_server_without_a_guard),
        T(what_met_a_full_queue_is_told_when_it_comes_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
