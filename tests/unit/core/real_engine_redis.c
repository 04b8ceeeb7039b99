/* The Redis engine keeps the contract with a real server, and the promises of engine_redis.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/config.h"
#include "base/metrics.h"
#include "core/channel_options.h"
#include "core/engine_redis.c"

#include "fault.h"
#include "redis_server.h"

#include "engine_contract.h"
#include "engine_contract_presence.h"

static struct engine *make(void)
{
    struct engine_settings s = {
        .addresses = 1,
        .prefix = "t",
        .node = 1,
        .nodes = {.heartbeat_ns = NS_PER_SEC, .ttl_ns = 60 * NS_PER_SEC},
        .timeout_ns = 60 * NS_PER_SEC,
        .patience_ns = 60 * NS_PER_SEC,
        .reconnect_max_ns = NS_PER_SEC,
        .probe_ns = NS_PER_SEC,
        .queue_bytes = 1 << 24,
        .window = 1024,
    };

    for (unsigned i = 0; i < redis_test.nports; i++) {
        s.address[i].port = redis_test.ports[i];
        assert_int_equal(
            str_copy(STR_LIT("127.0.0.1"), s.address[i].host, sizeof(s.address[i].host)), 0);
        s.address[i].scheme = ENGINE_SCHEME_CLUSTER;
        s.addresses = i + 1;
        s.partitions = 256;
    }
    return engine_redis_new(&s, &redis_wires, NULL);
}

static bool waits(struct engine *e)
{
    return redis_busy(redis_of(e));
}

static int setup(void **state)
{
    struct channel_options *o = &config.namespaces.items[0];

    config_defaults(&config);
    config.namespaces.n = 2;
    o[1] = o[0] = config.channel_without_namespace;
    assert_int_equal(str_copy(STR_LIT("kept"), o[0].name, sizeof(o[0].name)), 0);
    assert_int_equal(str_copy(STR_LIT("other"), o[1].name, sizeof(o[1].name)), 0);
    o[0].history_size = o[1].history_size = 3;
    o[0].history_ttl = o[1].history_ttl = 60 * (int64_t)NS_PER_SEC;
    channel_options_changed();
    memset(metrics, 0, sizeof(*metrics));
    clock_refresh();
    redis_say("FLUSHALL\r\n");
    (void)state;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(metrics->engine_subscriptions, 0);
    config_defaults(&config);
    channel_options_changed();
    return 0;
}

/* What fails half way counts nothing for ever: else the hub would read no publications any more. */
static void without_memory_a_call_leaves_nothing(void **state)
{
    const struct record r = {.data = STR_LIT("x"), .name = STR_LIT("kept:a")};
    const struct engine_condition once = {.idempotency_key = STR_LIT("k")};
    const struct redis *e = redis_of(engine);

    (void)state;
    contract_publish(NULL, "kept:a", "first", 0);
    completed(0, ENGINE_OK);
    for (uint64_t k = 1; k <= 12; k++) {
        fault_fail_at(k);
        engine->ops->publish(engine, NULL, &r, k % 2 ? NULL : &once, 3 * k);
        engine->ops->control(engine, STR_NULL, &(struct record){.data = STR_LIT("x"), .source = 1},
                             true, 3 * k + 1);
        engine->ops->history(engine, STR_LIT("kept:a"), (struct position){0}, 1, false, 3 * k + 2);
        fault_reset();
        kept_wanted = UINT32_MAX;
        steps();
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(calls[3 * k + i].completed, 1);
        for (unsigned i = 0; i < e->nservers; i++) {
            const struct redis_server *s = e->servers[i];

            assert_true(s->nwaiting == 0 && s->nsent == 0);
            assert_true(s->waiting_bytes == 0 && s->sent_bytes == 0);
        }
        assert_true(engine->ops->wants(engine));
    }
}

static void publish_from(uint64_t place, const char *data, uint64_t token)
{
    const struct record r = {
        .generation = 1, .position = place, .name = STR_LIT("kept:a"), .data = str_from(data)};

    engine->ops->publish(engine, NULL, &r, NULL, token);
}

/* The connections end when the server has done what was sent, and nothing of its answers is read. */
static void cut_when_done(void)
{
    engine->ops->tick(engine, clock_ns());
    for (size_t i = 0; i < WIRES_MAX; i++) {
        struct engine_wire *w = &redis_test.wires[i];
        const struct engine_wire_events *events = w->events;
        struct pollfd p = {.fd = w->fd, .events = POLLIN};

        if (events == NULL || redis_of(engine)->servers[0]->nsent == 0)
            continue;
        if (redis_test.nports == 0)
            assert_int_equal(poll(&p, 1, 60000), 1);
        close(w->fd);
        w->events = NULL;
        events->closed(w->peer, "cut");
    }
}

/* More under way than the stream keeps: what is gone from it has been published all the same. */
static void a_cut_doubles_nothing_that_the_stream_has_forgotten(void **state)
{
    static const char *const texts[] = {"a", "b", "c", "d", "e", "f", "g"};
    struct engine_channel c;

    (void)state;
    if (redis_test.nports > 0)
        skip();
    contract_subscribe(&c, "kept:a");
    for (unsigned i = 0; i < 7; i++) /* three are kept */
        publish_from(8 * (i + 1), texts[i], i);
    cut_when_done();
    for (unsigned i = 0; i < 60000 && calls[6].completed == 0; i++) {
        poll(NULL, 0, 1);
        contract.step(engine);
    }
    for (unsigned i = 0; i < 7; i++)
        completed(i, ENGINE_OK);
    publish_from(64, "h", 7);
    completed(7, ENGINE_OK);
    assert_int_equal(calls[6].at.offset, 7);
    assert_int_equal(calls[7].at.offset, 8);
    assert_string_equal(messages[nmessages - 1].data, "h");
}

/* Arguments: ports of a cluster's servers on 127.0.0.1. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CONTRACT_TESTS, PRESENCE_TESTS, CONTRACT_TEST(without_memory_a_call_leaves_nothing),
        CONTRACT_TEST(a_cut_doubles_nothing_that_the_stream_has_forgotten)};

    for (int i = 1; i < argc && redis_test.nports < ENGINE_SERVERS_MAX; i++)
        redis_test.ports[redis_test.nports++] = (uint16_t)strtoul(argv[i], NULL, 10);
    contract.make = make;
    contract.setup = setup;
    contract.teardown = teardown;
    contract.kept = "kept:";
    contract.step = redis_step;
    contract.busy = waits;
    return cmocka_run_group_tests(tests, redis_group_setup, redis_group_teardown);
}
