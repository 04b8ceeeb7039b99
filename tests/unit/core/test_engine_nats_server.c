/* core/engine_nats_server and what hangs on its connection: what the node itself listens to, who waits while the
 * server is away, how fast channels are subscribed to again, what is measured. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/engine_nats_server.c"

#include "nats_harness.h"

static void go_away(void)
{
    wire.open = false;
    wire.events->closed(wire.peer, "cut");
}

/* The server does not come back for so long. */
static void away(uint64_t ns)
{
    for (uint64_t gone = 0; gone < ns; gone += 100 * NS_PER_MS) {
        wire.failing = 1000;
        pass(100 * NS_PER_MS);
    }
}

static enum shard_state shown(struct engine_shard *shard)
{
    unsigned i = 0;

    assert_true(engine_shard_next(&i, shard));
    return (enum shard_state)shard->state;
}

#define DEAF "-ERR 'Permissions Violation for Subscription to \"t.control\"'\r\n"

/* Everything else goes on; it is shown, and asked for again. */
static void what_is_said_to_all_nodes_is_not_permitted(void **state)
{
    struct engine_shard shard = {0};

    (void)state;
    nats_of(engine)->s.probe_ns = 3600 * NS_PER_SEC; /* nobody answers them here */
    come_up();
    subscribe_to(&a);
    go_round();
    assert_int_equal(shown(&shard), SHARD_UP);
    feed(DEAF);
    assert_int_equal(shown(&shard), SHARD_DEGRADED);
    assert_non_null(strstr(shard.why, "t.control"));
    arrives("a", 7, 100, 1, "x");
    log_is("sub a ok\na:1 x\n");
    buf_clear(&wire.out);
    pass(DEAF_NS - NS_PER_SEC);
    assert_false(has_written("SUB t.control "));
    while (nats_of(engine)->pongs < nats_of(engine)->pings)
        feed("PONG\r\n");
    pass(NS_PER_SEC);
    assert_true(has_written("SUB t.control "));
    feed(DEAF);
    while (nats_of(engine)->pongs < nats_of(engine)->pings)
        feed("PONG\r\n");
    assert_int_equal(shown(&shard), SHARD_DEGRADED);
    pass(DEAF_NS);
    assert_true(has_written("SUB t.control "));
    assert_int_equal(shown(&shard), SHARD_DEGRADED);
    while (nats_of(engine)->pongs < nats_of(engine)->pings)
        feed("PONG\r\n");
    assert_int_equal(shown(&shard), SHARD_UP);
    pass(2 * DEAF_NS);
    assert_false(has_written("SUB t.control "));
}

/* From the first connection on. */
static void it_was_never_permitted(void **state)
{
    struct engine_shard shard = {0};

    (void)state;
    pass(0);
    wire.events->opened(wire.peer);
    feed(INFO);
    feed(DEAF "PONG\r\n");
    go_round();
    assert_int_equal(nats_of(engine)->state, NATS_UP);
    assert_int_equal(shown(&shard), SHARD_DEGRADED);
    go_away();
    assert_int_equal(shown(&shard), SHARD_DOWN);
    come_up();
    assert_int_equal(shown(&shard), SHARD_UP);
}

static struct named b = {.name = "b"};

static void who_waits_is_told_when_patience_ends(void **state)
{
    (void)state;
    wire.failing = 1000;
    engine->ops->subscribe(engine, &a.c, STR_LIT("a"));
    away(NS_PER_SEC);
    log_is("");
    away(2 * NS_PER_SEC);
    log_is("sub a unavailable\n");
    engine->ops->subscribe(engine, &b.c, STR_LIT("b")); /* at once */
    log_is("sub b unavailable\n");
    engine->ops->unsubscribe(engine, &b.c, STR_LIT("b"));
    away(5 * NS_PER_SEC);
    log_is("");
    wire.failing = 0;
    come_up();
    go_round();
    while (nats_of(engine)->pongs < nats_of(engine)->pings)
        feed("PONG\r\n");
    log_is("sub a ok\n");
    go_away();
    away(5 * NS_PER_SEC); /* who is subscribed stays */
    log_is("");
    wire.failing = 0;
}

static void channels_may_go_on_within_the_node(void **state)
{
    (void)state;
    nats_of(engine)->s.local_fallback = true;
    come_up();
    subscribe_to(&a);
    log_is("sub a ok\n");
    go_away();
    publish_text("a", "waits", 8, 0);
    away(3 * NS_PER_SEC);
    assert_int_equal(hub.status[0], ENGINE_UNAVAILABLE);
    log_is("");
    publish_text("a", "here", 16, 1);
    assert_true(hub.done[1] == 1 && hub.status[1] == ENGINE_OK && hub.at[1].offset == 1);
    engine->ops->subscribe(engine, &b.c, STR_LIT("b"));
    publish_text("b", "there", 24, 2);
    log_is("a:1 here\nsub b ok\nb:1 there\n");
    assert_int_equal(metrics->engine_local_publications, 2);
    wire.failing = 0;
    come_up();
    arrives("a", 7, 100, 1, "x");
    log_is("a:2 x\n");
}

static unsigned subs_written(void)
{
    unsigned n = 0;

    for (size_t i = 0; i + 8 < wire.out.len; i++)
        n += memcmp(wire.out.p + i, "SUB t.c.", 8) == 0;
    buf_clear(&wire.out);
    while (nats_of(engine)->pongs < nats_of(engine)->pings)
        feed("PONG\r\n");
    return n;
}

/* So many a second, those first that somebody waits for. */
static void channels_are_subscribed_to_again_at_a_rate(void **state)
{
    static struct named channels[100];
    unsigned n = 0;
    bool first = false;

    (void)state;
    nats_of(engine)->s.probe_ns = 3600 * NS_PER_SEC;
    come_up();
    for (unsigned i = 0; i < ARRAY_LEN(channels); i++) {
        char name[16];

        snprintf(name, sizeof(name), "n%u", i);
        channels[i].name = "one of many";
        engine->ops->subscribe(engine, &channels[i].c, str_from(name));
    }
    go_round();
    assert_int_equal(subs_written(), ARRAY_LEN(channels));
    nats_of(engine)->s.resubscribe_rate = 10;
    go_away();
    come_up();
    assert_int_equal(metrics->engine_resubscribe.count, 0);
    engine->ops->subscribe(engine, &a.c, STR_LIT("a"));
    buf_clear(&hub.log);
    for (unsigned steps = 1; n < ARRAY_LEN(channels) + 1;
         steps++) { /* nodes do not all begin at once */
        pass(100 * NS_PER_MS);
        n += subs_written();
        assert_true(n <= steps + 1 && steps < 200);
        if (n > 0 && !first) {
            first = true;
            log_is("sub a ok\n");
        }
    }
    assert_true(first);
    go_round();
    assert_int_equal(metrics->engine_resubscribe.count, 1);
    log_is("");
}

static void calls_are_measured(void **state)
{
    (void)state;
    come_up();
    subscribe_to(&a);
    assert_int_equal(metrics->engine_call_subscribe.count, 1);
    publish_text("a", "x", 8, 0);
    go_round();
    assert_int_equal(metrics->engine_pending_calls, 1);
    assert_true(metrics->engine_queue_bytes > 0);
    clock_advance(20 * NS_PER_MS);
    feed("PONG\r\n");
    go_round();
    assert_int_equal(hub.done[0], 1);
    assert_int_equal(metrics->engine_pending_calls, 0);
    assert_int_equal(metrics->engine_queue_bytes, 0);
    assert_int_equal(metrics->engine_call_publish.count, 1);
    assert_true(metrics->engine_call_publish.sum >= 20 * NS_PER_MS);
}

static void connections_that_end_at_once_have_pauses_between(void **state)
{
    uint64_t began_ns = clock_ns();

    (void)state;
    for (int i = 0; i < 100; i++) {
        come_up();
        go_away();
    }
    assert_true(clock_ns() - began_ns > 30 * NS_PER_SEC);
}

/* Before the server says anything; then what follows INFO is no less its own. */
static void tls_comes_first(void **state)
{
    static const char *const secure[] = {"tls://host?handshake_first=true", NULL};
    struct nats *e;

    (void)state;
    engine_free(engine);
    make(secure);
    e = nats_of(engine);
    memcpy(e->servers[0].password, "secret", 7);
    go_round();
    assert_true(wire.to.tls_first);
    wire.events->opened(wire.peer);
    assert_int_equal(wire.out.len, 0);
    feed("INFO {\"max_payload\":1048576,\"connect_urls\":[\"10.0.0.2:4222\"]}\r\nPING\r\n");
    assert_false(wire.secure);
    assert_true(has_written("\"tls_required\":true,\"name\":\"roost\",\"auth_token\":\"secret\""));
    feed("PONG\r\n");
    assert_int_equal(e->state, NATS_UP);
    assert_true(e->servers[1].tls && e->servers[1].tls_first);
    /* The certificate of one that was named by its address may be for either. */
    assert_true(e->servers[1].by_alias);
    wire.open = false;
    wire.events->closed(wire.peer, "cut");
    assert_true(e->servers[1].by_alias);
    while (strcmp(wire.to.host, "10.0.0.2") != 0 || !wire.open)
        pass(NS_PER_MS);
    wire.open = false;
    wire.events->closed(wire.peer, "certificate verify failed");
    assert_false(e->servers[1].by_alias);
}

/* Who waits for the other to begin is told what to do. */
static void nobody_begins(void **state)
{
    static const char *const secure[] = {"tls://host", NULL};
    struct engine_shard shard;
    unsigned i = 0;

    (void)state;
    engine_free(engine);
    make(secure);
    go_round();
    wire.events->opened(wire.peer);
    pass(nats_of(engine)->s.timeout_ns + NS_PER_SEC);
    assert_true(engine_shard_next(&i, &shard));
    assert_non_null(strstr(shard.why, "?handshake_first=true"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NATS_TEST(what_is_said_to_all_nodes_is_not_permitted),
        NATS_TEST(it_was_never_permitted),
        NATS_TEST(who_waits_is_told_when_patience_ends),
        NATS_TEST(channels_may_go_on_within_the_node),
        NATS_TEST(channels_are_subscribed_to_again_at_a_rate),
        NATS_TEST(calls_are_measured),
        NATS_TEST(connections_that_end_at_once_have_pauses_between),
        NATS_TEST(tls_comes_first),
        NATS_TEST(nobody_begins),
    };

    return cmocka_run_group_tests_name("core/engine_nats_server", tests, NULL, NULL);
}
