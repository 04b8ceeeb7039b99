/* core/engine_nats_subs, _counts: channels, their lives and offsets; repetitions, gaps, subscribing again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/engine_nats_subs.c"

#include "nats_harness.h"

static void repetitions_are_dropped_and_gaps_told(void **state)
{
    (void)state;
    come_up();
    subscribe_to(&a);
    arrives("a", 7, 100, 5, "first");    /* where it joins in */
    arrives("a", 7, 90, 4, "older");     /* sent twice */
    arrives("a", 7, 100, 5, "first");    /* too */
    arrives("a", 8, 50, 1, "another's"); /* of its own count */
    arrives("a", 7, 110, 6, "next");
    log_is("sub a ok\na:1 first\na:2 another's\na:3 next\n");
    assert_int_equal(metrics->engine_repetitions, 2);
    assert_int_equal(metrics->engine_missing, 0);
    arrives("a", 7, 150, 9, "after two are gone");
    log_is("lost a:5\na:6 after two are gone\n");
    assert_int_equal(metrics->engine_missing, 2);
    assert_int_equal(metrics->engine_gaps_lost, 1);
    arrives("a", 7, 160, 1, "it counts anew");
    arrives("a", 7, 170, 4, "two of the new count");
    log_is("a:7 it counts anew\nlost a:9\na:10 two of the new count\n");
    arrives("a", 7, 0, 0, "without a number");
    arrives("a", 0, 5, 1, "of nobody");
    log_is("a:11 without a number\na:12 of nobody\n");
}

/* A hub that was killed sends what its rings still hold again, and counts anew. */
static void another_life_of_a_hub(void **state)
{
    (void)state;
    come_up();
    subscribe_to(&a);
    arrives("a", 7, 100, 40, "x");
    arrives("a", 7, 110, 41, "y");
    arrives("a", 7, 100, 1, "x");
    arrives("a", 7, 110, 2, "y");
    arrives("a", 7, 120, 3, "z");
    log_is("sub a ok\na:1 x\na:2 y\na:3 z\n");
    assert_int_equal(metrics->engine_missing, 0);
}

static void what_is_not_one_of_ours_is_counted(void **state)
{
    (void)state;
    come_up();
    subscribe_to(&a);
    feed("MSG t.c.a 9 3\r\nbad\r\n");
    feed("MSG t.c.=2e 9 0\r\n\r\n");
    feed("MSG t.control 9 3\r\nbad\r\n");
    feed("MSG t.c 9 0\r\n\r\nMSG t. 9 0\r\n\r\nMSG u.c.a 9 0\r\n\r\nMSG t.c.b 9 0\r\n\r\n");
    assert_int_equal(metrics->engine_malformed, 3);
    assert_int_equal(nats_of(engine)->state, NATS_UP);
}

static void a_life_of_a_channel_has_an_epoch(void **state)
{
    uint64_t epoch;

    (void)state;
    nats_of(engine)->s.probe_ns = 60 * NS_PER_SEC;
    come_up();
    subscribe_to(&a);
    arrives("a", 7, 100, 1, "x");
    epoch = a.c.at.epoch;
    engine->ops->unsubscribe(engine, &a.c, STR_LIT("a"));
    arrives("a", 7, 110, 2, "unheard");
    engine->ops->subscribe(engine, &a.c, STR_LIT("a"));
    assert_true(a.c.at.epoch != 0 && a.c.at.epoch != epoch && a.c.at.offset == 0);
    arrives("a", 7, 120, 3, "y");
    log_is("sub a ok\na:1 x\nsub a ok\na:1 y\n");
    engine->ops->unsubscribe(engine, &a.c, STR_LIT("a"));
    pass(11 * NS_PER_SEC);
    go_round();
    assert_true(has_written("UNSUB "));
    assert_int_equal(metrics->engine_subscriptions, 0);
}

/* Bounded names and bytes a round, not faster than they are answered; nobody is told twice. */
static void subscriptions_come_back_in_steps(void **state)
{
    static struct named channels[3000];
    struct nats *e;
    unsigned told = 0;

    (void)state;
    come_up();
    e = nats_of(engine);
    for (unsigned i = 0; i < ARRAY_LEN(channels); i++) {
        char name[16];

        snprintf(name, sizeof(name), "n%u", i);
        channels[i].name = "one of many";
        engine->ops->subscribe(engine, &channels[i].c, str_from(name));
    }
    for (unsigned rounds = 0; told < ARRAY_LEN(channels); rounds++) {
        unsigned subs = 0;

        assert_true(rounds < 100);
        go_round();
        assert_true(wire.out.len <= 64 * 1024 + 1024);
        for (size_t i = 0; i + 4 < wire.out.len; i++)
            subs += memcmp(wire.out.p + i, "SUB ", 4) == 0;
        assert_true(subs <= 512);
        buf_clear(&wire.out);
        assert_true(e->pings - e->pongs <= 4);
        if (e->pings - e->pongs == 4 || subs == 0)
            while (e->pongs < e->pings)
                feed("PONG\r\n");
        told = 0;
        for (struct list *n = e->live.next; n != &e->live; n = n->next)
            told++;
    }
    for (unsigned i = 0; i < ARRAY_LEN(channels); i++)
        assert_true(channels[i].c.at.epoch != 0);
}

static void refusals(void **state)
{
    (void)state;
    come_up();
    publish_text("a", "x", 8, 0);
    publish_text("b.>*", "y", 16, 1);
    engine->ops->subscribe(engine, &a.c, STR_LIT("a"));
    go_round();
    feed("-ERR 'Permissions Violation for Subscription to \"t.c.a\"'\r\n");
    feed(
        "-ERR 'Permissions Violation for Publish to \"t.c.b=2E=3E=2A\"'\r\n-ERR 'odd'\r\nPONG\r\n");
    assert_true(hub.done[0] == 1 && hub.status[0] == ENGINE_OK);
    assert_true(hub.done[1] == 1 && hub.status[1] == ENGINE_UNAVAILABLE);
    log_is("sub a unavailable\n");
    assert_int_equal(metrics->engine_subscriptions, 0);
    subscribe_to(&a); /* again later */
    log_is("sub a ok\n");
    /* One that was had, and is not permitted any more. */
    wire.open = false;
    wire.events->closed(wire.peer, "cut");
    for (int i = 0; i < 100 && !wire.open; i++)
        pass(100 * NS_PER_MS);
    wire.events->opened(wire.peer);
    feed(INFO "PONG\r\n");
    go_round();
    feed("-ERR 'Permissions Violation for Subscription to \"t.c.a\"'\r\nPONG\r\n");
    log_is("lost a:0\n");
    wire.open = false;
    wire.events->closed(wire.peer, "cut");
    come_up();
    arrives("a", 7, 100, 1, "x");
    log_is("a:1 x\n");
    engine->ops->unsubscribe(engine, &a.c, STR_LIT("a"));
}

#define TAKEN "-ERR 'Permissions Violation for Subscription to \"t.c.a\" (sid \"9\")'\r\n"

/* The server's permissions change while a channel is subscribed to. */
static void one_that_is_taken_away_while_it_lives(void **state)
{
    (void)state;
    nats_of(engine)->s.probe_ns = 600 * NS_PER_SEC;
    come_up();
    subscribe_to(&a);
    arrives("a", 7, 100, 1, "x");
    log_is("sub a ok\na:1 x\n");
    feed(TAKEN);
    log_is("lost a:1\n");
    feed(TAKEN); /* it is not subscribed to by now */
    log_is("");
    assert_int_equal(metrics->engine_gaps_lost, 1);
    go_round();
    assert_false(has_written("SUB t.c.a "));
    pass(REFUSED_NS);
    assert_true(has_written("SUB t.c.a "));
    feed(TAKEN "PONG\r\n"); /* still not permitted */
    log_is("lost a:1\n");
    pass(REFUSED_NS);
    assert_true(has_written("SUB t.c.a "));
    while (nats_of(engine)->pongs < nats_of(engine)->pings)
        feed("PONG\r\n");
    arrives("a", 7, 120, 3, "z"); /* one was missed meanwhile */
    log_is("lost a:2\na:3 z\n");
    engine->ops->unsubscribe(engine, &a.c, STR_LIT("a"));
    feed(TAKEN); /* while it lingers: nobody is to be told */
    log_is("");
    assert_int_equal(metrics->engine_subscriptions, 0);
}

#define TOO_MANY "-ERR 'maximum subscriptions exceeded'\r\n"

/* The server says how many are refused, not which, and the connection stays. */
static void more_than_one_connection_may_have(void **state)
{
    struct named b = {.name = "b"}, c = {.name = "c"};
    struct named *all[] = {&a, &b, &c};

    (void)state;
    nats_of(engine)->s.probe_ns = 600 * NS_PER_SEC;
    come_up();
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        engine->ops->subscribe(engine, &all[i]->c, str_from(all[i]->name));
    go_round();
    feed(TOO_MANY TOO_MANY "PONG\r\n");
    log_is("sub a ok\nsub b unavailable\nsub c unavailable\n");
    assert_int_equal(metrics->engine_subscriptions, 1);
    subscribe_to(&b); /* there is room again */
    log_is("sub b ok\n");
    /* At another connection there is less: who was subscribed is told, and asked for again later. */
    wire.open = false;
    wire.events->closed(wire.peer, "cut");
    for (int i = 0; i < 100 && !wire.open; i++)
        pass(100 * NS_PER_MS);
    wire.events->opened(wire.peer);
    feed(INFO "PONG\r\n");
    go_round();
    feed(TOO_MANY "PONG\r\n");
    assert_true(memmem(hub.log.p, hub.log.len, "lost ", 5) != NULL);
    buf_clear(&hub.log);
    assert_int_equal(metrics->engine_gaps_lost, 1);
    buf_clear(&wire.out);
    pass(REFUSED_NS);
    assert_true(has_written("SUB t.c."));
    while (nats_of(engine)->pongs < nats_of(engine)->pings)
        feed("PONG\r\n");
    assert_true(list_empty(&nats_of(engine)->refused));
    engine->ops->unsubscribe(engine, &a.c, STR_LIT("a"));
    engine->ops->unsubscribe(engine, &b.c, STR_LIT("b"));
    assert_int_equal(nats_of(engine)->state, NATS_UP);
    /* What the node listens to itself cannot be missing. */
    feed(TOO_MANY);
    pass(NS_PER_SEC);
    feed("PONG\r\n");
    assert_false(wire.open);
    for (int i = 0; i < 100 && !wire.open; i++)
        pass(100 * NS_PER_MS);
    wire.events->opened(wire.peer);
    feed(INFO TOO_MANY);
    assert_false(wire.open);
}

static void counters_are_forgotten(void **state)
{
    struct nats_counters c = {0};
    char name[16];

    (void)state;
    nats_counters_init(&c);
    assert_int_equal(nats_count(&c, STR_LIT("a"), 1), 1);
    assert_int_equal(nats_count(&c, STR_LIT("a"), 2), 2);
    assert_int_equal(nats_count(&c, STR_LIT("b"), 400 * NS_PER_SEC), 1);
    assert_int_equal(c.table.count, 1);
    assert_int_equal(nats_count(&c, STR_LIT("a"), 400 * NS_PER_SEC), 1);
    for (unsigned i = 0; i < 70000; i++) {
        snprintf(name, sizeof(name), "c%u", i);
        assert_int_equal(nats_count(&c, str_from(name), 401 * NS_PER_SEC), 1);
    }
    assert_true(c.table.count <= 65536);
    nats_counters_fini(&c);
}

static void many_publishers(void **state)
{
    struct nats_publishers p = {0};
    uint64_t missing;

    (void)state;
    for (uint64_t turn = 1; turn <= 3; turn++)
        for (uint64_t node = 1; node <= 500; node++) {
            const struct envelope env = {
                .node = node,
                .count = turn,
                .r = {.source = (uint16_t)(node % 3), .position = turn * 8}};

            assert_true(nats_publishers_take(&p, &env, turn, &missing));
            assert_int_equal(missing, 0);
            assert_false(nats_publishers_take(&p, &env, turn, &missing));
        }
    assert_int_equal(p.n, 1000); /* with a count each */
    assert_true(p.cap <= 2048);
    for (uint64_t node = 1001; node <= 1800; node++) { /* the first ones were not heard for long */
        const struct envelope env = {.node = node, .count = 1, .r = {.position = 8}};

        assert_true(nats_publishers_take(&p, &env, 700 * NS_PER_SEC, &missing));
    }
    assert_int_equal(p.n, 1600);
    nats_publishers_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NATS_TEST(repetitions_are_dropped_and_gaps_told),
        NATS_TEST(another_life_of_a_hub),
        NATS_TEST(what_is_not_one_of_ours_is_counted),
        NATS_TEST(a_life_of_a_channel_has_an_epoch),
        NATS_TEST(subscriptions_come_back_in_steps),
        NATS_TEST(refusals),
        NATS_TEST(one_that_is_taken_away_while_it_lives),
        NATS_TEST(more_than_one_connection_may_have),
        cmocka_unit_test(counters_are_forgotten),
        cmocka_unit_test(many_publishers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
