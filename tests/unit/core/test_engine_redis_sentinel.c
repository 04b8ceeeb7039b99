/* core/engine_redis_sentinel against Sentinels that the test plays, under a virtual clock: what they say arrives byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/engine_redis_sentinel.c"

#include "logged.h"

#define START (1000 * NS_PER_SEC)

struct engine_wire {
    char to[ENGINE_ADDRESS_TEXT];
    const struct engine_wire_events *events;
    void *peer;
    bool open;
    char sent[1024];
};

static struct engine_wire wires[16];
static unsigned nwires;
static bool refuse;
static struct redis engine;
static struct redis_server server;
static struct redis_sentinels *t;
static unsigned restarts;
static struct metrics counts;

void redis_server_restart(struct redis_server *s, enum engine_ending ending)
{
    assert_int_equal(ending, ENDING_MOVED);
    s->state = REDIS_DOWN;
    restarts++;
}

static struct engine_wire *wire_open(void *arg UNUSED, const struct engine_address *to,
                                     const struct engine_wire_events *events, void *peer)
{
    struct engine_wire *w = &wires[nwires];

    if (refuse)
        return NULL;
    assert_true(nwires < ARRAY_LEN(wires));
    nwires++;
    *w = (struct engine_wire){.events = events, .peer = peer, .open = true};
    engine_address_format(to, w->to, sizeof(w->to));
    return w;
}

static int wire_send(struct engine_wire *w, struct str bytes)
{
    size_t n = strlen(w->sent);

    assert_true(n + bytes.n < sizeof(w->sent));
    memcpy(w->sent + n, bytes.p, bytes.n);
    return 0;
}

static size_t wire_queued(const struct engine_wire *w UNUSED)
{
    return 0;
}

static void wire_close(struct engine_wire *w)
{
    assert_true(w->open);
    w->open = false;
}

static const struct engine_wire_ops fake = {
    .open = wire_open, .send = wire_send, .queued = wire_queued, .close = wire_close};

/* The Sentinel that is asked now. */
static struct engine_wire *last(void)
{
    assert_true(nwires > 0);
    return &wires[nwires - 1];
}

static void says(const char *text)
{
    struct engine_wire *w = last();

    for (; *text != '\0' && w->open; text++)
        w->events->received(w->peer, (struct str){text, 1});
}

static void tick(uint64_t after)
{
    clock_set_virtual(clock_ns() + after);
    (void)redis_sentinels_tick(t, clock_ns());
}

static bool asked(void)
{
    return strstr(last()->sent, "GET-MASTER-ADDR-BY-NAME") != NULL;
}

#define GREETING                                                                                   \
    "%1\r\n$6\r\nserver\r\n$5\r\nredis\r\n>3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:"     \
    "1\r\n"
#define MASTER(host, port) "*2\r\n$8\r\n" host "\r\n$4\r\n" port "\r\n"

/* Connects to the next one, which greets. */
static void meet(const char *who)
{
    tick(RETRY_NS);
    assert_string_equal(last()->to, who);
    last()->events->opened(last()->peer);
    assert_true(asked());
    says(GREETING);
}

static int setup(void **state UNUSED)
{
    static struct engine_address all[ENGINE_ADDRESSES_MAX];
    unsigned n;
    char err[256];

    counts.engine_failovers = 0;
    metrics = &counts;
    clock_set_virtual(START);
    nwires = restarts = 0;
    refuse = false;
    engine = (struct redis){.wires = &fake, .s = {.timeout_ns = 3 * NS_PER_SEC}};
    assert_int_equal(engine_addresses_parse(STR_LIT("redis+sentinel://a:1,b:2?master=m\n"
                                                    "redis+sentinel://x:9?master=other"),
                                            all, &n, err, sizeof(err)),
                     0);
    server = (struct redis_server){.engine = &engine, .state = REDIS_DOWN, .address = all[0]};
    t = redis_sentinels_new(&server, all, n);
    assert_non_null(t);
    assert_int_equal(t->n, 2);
    return 0;
}

static int teardown(void **state UNUSED)
{
    redis_sentinels_free(t);
    return 0;
}

static void expect_master(const char *host, uint16_t port)
{
    struct engine_address a;

    assert_true(redis_sentinels_master(t, &a));
    assert_string_equal(a.host, host);
    assert_int_equal(a.port, port);
    assert_int_equal(a.scheme, ENGINE_SCHEME_REDIS);
    /* Once: the next connection has another answer. */
    assert_false(redis_sentinels_master(t, &a));
}

static void want(void)
{
    struct engine_address a;

    assert_false(redis_sentinels_master(t, &a));
}

static void a_master_is_named(void **state UNUSED)
{
    want();
    meet("redis+sentinel://a:1");
    assert_int_equal(server.retry_ns, 0);
    says(MASTER("10.0.0.1", "7000"));
    assert_int_equal(server.retry_ns, clock_ns());
    expect_master("10.0.0.1", 7000);
}

static void with_a_password(void **state UNUSED)
{
    snprintf(engine.s.sentinel_password, sizeof(engine.s.sentinel_password), "secret");
    meet("redis+sentinel://a:1");
    assert_non_null(strstr(last()->sent, "AUTH\r\n$7\r\ndefault\r\n$6\r\nsecret\r\n"));
}

static void with_a_user_alone(void **state UNUSED)
{
    snprintf(engine.s.sentinel_user, sizeof(engine.s.sentinel_user), "roost");
    meet("redis+sentinel://a:1");
    assert_non_null(strstr(last()->sent, "AUTH\r\n$5\r\nroost\r\n$0\r\n\r\n"));
}

/* Each of these makes the next one be asked. */
static void of_no_use(void **state UNUSED)
{
    static const char *const answers[] = {"_\r\n",   "-IDONTKNOW I have not enough information\r\n",
                                          "*-1\r\n", MASTER("10.0.0.1", "0000"),
                                          "?\r\n",   "*1\r\n$1\r\nx\r\n"};

    want();
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct engine_wire *w;

        meet(i % 2 == 0 ? "redis+sentinel://a:1" : "redis+sentinel://b:2");
        w = last();
        says(answers[i]);
        assert_false(w->open);
        want();
    }
    meet("redis+sentinel://a:1");
    says(MASTER("10.0.0.1", "7000"));
    expect_master("10.0.0.1", 7000);
}

/* For so long nobody answers. How many were asked. */
static unsigned nobody_answers(unsigned steps)
{
    unsigned opens = 0;

    for (unsigned i = 0; i < steps; i++) {
        nwires = 0;
        tick(RETRY_NS);
        if (nwires == 0)
            continue;
        opens++;
        last()->open = false;
        last()->events->closed(last()->peer, "nobody answers there");
    }
    return opens;
}

/* All nodes ask, and nobody reads ten lines a second. */
static void none_is_of_use(void **state UNUSED)
{
    unsigned lines = 0;
    const char *log;

    engine.s.reconnect_max_ns = 5 * NS_PER_SEC;
    want();
    logged_begin();
    assert_true(nobody_answers(600) > 30);
    for (log = logged_end(); (log = strstr(log, "is of no use")) != NULL; log++)
        lines++;
    assert_int_equal(lines, 2);
    assert_true(nobody_answers(600) < 400);
    for (nwires = 0; nwires == 0;)
        tick(RETRY_NS);
    last()->events->opened(last()->peer);
    says(GREETING);
    says(MASTER("10.0.0.1", "7000"));
    expect_master("10.0.0.1", 7000);
    assert_int_equal(t->failed, 0);
}

/* Not only when all of it has come. */
static void who_says_too_much(void **state UNUSED)
{
    want();
    meet("redis+sentinel://a:1");
    says("*3\r\n$40000\r\n");
    assert_true(last()->open);
    for (unsigned i = 0; i < 4000; i++)
        says("0123456789");
    says("\r\n");
    assert_true(last()->open);
    says("$40000\r\n");
    assert_false(last()->open);
    meet("redis+sentinel://b:2");
    says("$60000000\r\n");
    assert_false(last()->open);
}

static void who_refuses_the_greeting(void **state UNUSED)
{
    want();
    tick(RETRY_NS);
    last()->events->opened(last()->peer);
    says("-NOAUTH HELLO must be called with the client already authenticated\r\n");
    assert_false(last()->open);
    meet("redis+sentinel://b:2");
}

static void who_repeats_the_password(void **state UNUSED)
{
    const char *log;

    want();
    tick(RETRY_NS);
    last()->events->opened(last()->peer);
    logged_begin();
    says("-ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'default' 'secret' "
         "\r\n");
    log = logged_end();
    assert_false(last()->open);
    assert_non_null(strstr(log, "unknown command 'HELLO'"));
    assert_null(strstr(log, "secret"));
}

static void who_is_silent(void **state UNUSED)
{
    want();
    tick(RETRY_NS); /* does not even take the connection */
    tick(WAIT_NS + 1);
    assert_false(last()->open);
    meet("redis+sentinel://b:2"); /* greets, and that is all */
    tick(WAIT_NS + 1);
    assert_false(last()->open);
    tick(RETRY_NS);
    last()->events->closed(last()->peer, "nobody answers there");
    last()->open = false;
    meet("redis+sentinel://b:2");
}

static void who_cannot_be_tried(void **state UNUSED)
{
    refuse = true;
    tick(RETRY_NS);
    assert_int_equal(nwires, 0);
    refuse = false;
    meet("redis+sentinel://b:2");
}

static void connected(void)
{
    want();
    meet("redis+sentinel://a:1");
    says(MASTER("10.0.0.1", "7000"));
    assert_true(redis_sentinels_master(t, &server.address));
    server.state = REDIS_UP;
    server.retry_ns = 0;
    last()->sent[0] = '\0';
}

/* One that is cut off from the others: it answers, and goes on naming a master that is dead. */
static void who_names_what_cannot_be_used(void **state UNUSED)
{
    want();
    meet("redis+sentinel://a:1");
    for (unsigned i = 1; i < MISTAKES; i++) {
        says(MASTER("10.0.0.1", "7000"));
        expect_master("10.0.0.1", 7000); /* and so wants the next answer */
        redis_sentinels_mistaken(t);
        assert_true(last()->open);
        tick(POLL_NS);
    }
    says(MASTER("10.0.0.1", "7000"));
    expect_master("10.0.0.1", 7000);
    redis_sentinels_mistaken(t);
    assert_false(last()->open);
    meet("redis+sentinel://b:2");
    says(MASTER("10.0.0.2", "7000"));
    expect_master("10.0.0.2", 7000);
    redis_sentinels_mistaken(t);
    assert_true(last()->open); /* it has made one mistake */
}

/* What was named before does not tell of an answer that was not used yet. */
static void another_answer_has_come(void **state UNUSED)
{
    struct engine_address a;

    want();
    meet("redis+sentinel://a:1");
    says(MASTER("10.0.0.1", "7000"));
    assert_true(redis_sentinels_master(t, &server.address));
    server.state = REDIS_CONNECTING;
    for (unsigned i = 0; i < 2 * MISTAKES; i++) {
        tick(POLL_NS);
        says(i % 2 == 0 ? MASTER("10.0.0.2", "7000") : MASTER("10.0.0.1", "7000"));
        redis_sentinels_mistaken(t);
        assert_true(redis_sentinels_master(t, &a));
        server.address = a;
        server.state = REDIS_CONNECTING;
    }
    assert_int_equal(restarts, 2 * MISTAKES);
    assert_true(last()->open);
}

/* Mistakes of a failover that is over. */
static void a_master_that_is_up_was_named_well(void **state UNUSED)
{
    connected();
    redis_sentinels_mistaken(t);
    redis_sentinels_mistaken(t);
    tick(POLL_NS);
    says(MASTER("10.0.0.1", "7000"));
    assert_int_equal(t->mistakes, 0);
    assert_true(last()->open);
}

static void there_is_no_other_one(void **state UNUSED)
{
    t->n = 1;
    want();
    t->current = 0;
    meet("redis+sentinel://a:1");
    for (unsigned i = 0; i < 3 * MISTAKES; i++)
        redis_sentinels_mistaken(t);
    assert_true(last()->open);
}

static void it_is_asked_again(void **state UNUSED)
{
    connected();
    tick(NS_PER_SEC);
    assert_false(asked());
    tick(POLL_NS);
    assert_true(asked());
    says(MASTER("10.0.0.1", "7000"));
    assert_int_equal(restarts, 0);
    memset(last()->sent, 0, sizeof(last()->sent));
    tick(POLL_NS);
    says(MASTER("10.0.0.2", "7000"));
    assert_int_equal(restarts, 1);
    assert_int_equal(counts.engine_failovers, 1);
    expect_master("10.0.0.2", 7000);
}

#define SWITCH(name)                                                                               \
    ">3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n$32\r\n" name                                 \
    " 10.0.0.1 7000 10.0.0.2 70001\r\n"

static void another_master_is_announced(void **state UNUSED)
{
    connected();
    says(SWITCH("xyz")); /* another service's */
    assert_false(asked());
    says(">3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n$30\r\nm 10.0.0.1 7000 10.0.0.2 "
         "70001\r\n");
    assert_true(asked());
    says(MASTER("10.0.0.2", "7001"));
    assert_int_equal(restarts, 1);
    expect_master("10.0.0.2", 7001);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_repeats_the_password), /* first: the log is limited */
        TEST(a_master_is_named),
        TEST(with_a_password),
        TEST(with_a_user_alone),
        TEST(of_no_use),
        TEST(who_refuses_the_greeting),
        TEST(who_is_silent),
        TEST(who_cannot_be_tried),
        TEST(who_says_too_much),
        TEST(none_is_of_use),
        TEST(who_names_what_cannot_be_used),
        TEST(another_answer_has_come),
        TEST(a_master_that_is_up_was_named_well),
        TEST(there_is_no_other_one),
        TEST(it_is_asked_again),
        TEST(another_master_is_announced),
    };

    return cmocka_run_group_tests_name("core/engine_redis_sentinel", tests, NULL, NULL);
}
