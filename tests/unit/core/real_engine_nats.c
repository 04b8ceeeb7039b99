/* The NATS engine keeps the contract with a real server, and the promises of engine_nats.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/config.h"
#include "base/metrics.h"
#include "core/channel_options.h"
#include "core/engine_nats.c"

#include "core/engine_nats_internal.h"
#include "fault.h"
#include "nats_server.h"

#include "engine_contract.h"
#include "engine_contract_presence.h"

static struct engine *make(void)
{
    struct engine_settings s = {
        .address = {{.scheme = ENGINE_SCHEME_NATS, .host = "127.0.0.1"}},
        .addresses = 1,
        .prefix = "t",
        .node = 1,
        .timeout_ns = 60 * NS_PER_SEC,
        .patience_ns = 60 * NS_PER_SEC,
        .reconnect_max_ns = NS_PER_SEC,
        .probe_ns = NS_PER_SEC,
        .queue_bytes = 1 << 24,
        .window = 1024,
        .nodes = {.heartbeat_ns = NS_PER_SEC, .ttl_ns = 60 * NS_PER_SEC},
    };

    return engine_nats_new(&s, &nats_wires, NULL);
}

static bool waits(struct engine *e)
{
    return nats_busy(nats_of(e));
}

static int setup(void **state)
{
    (void)state;
    config_defaults(&config);
    channel_options_changed();
    memset(metrics, 0, sizeof(*metrics));
    clock_refresh();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(metrics->engine_subscriptions, 0);
    assert_int_equal(metrics->engine_malformed, 0);
    return 0;
}

/* What one worker publishes in a channel keeps its order; so do its offsets. */
static void one_publisher_one_order(void **state)
{
    struct engine_channel c;

    (void)state;
    contract_subscribe(&c, "a");
    for (uint64_t i = 0; i < 200; i++) {
        char data[16];
        struct record r = {.name = STR_LIT("a"), .source = 3, .position = 8 * (i + 1)};

        snprintf(data, sizeof(data), "%u", (unsigned)i);
        r.data = str_from(data);
        engine->ops->publish(engine, &c, &r, NULL, i);
    }
    steps();
    assert_int_equal(nmessages, 200);
    for (unsigned i = 0; i < 200; i++) {
        completed(i, ENGINE_OK);
        assert_int_equal(atoi(messages[i].data), i);
        assert_true(messages[i].at.offset == i + 1 && messages[i].at.epoch == c.at.epoch);
        assert_true(calls[i].at.offset == i + 1 && calls[i].at.epoch == c.at.epoch);
    }
    engine->ops->unsubscribe(engine, &c, STR_LIT("a"));
}

/* Each is a channel of its own, whatever it would mean to the server. */
static void names_are_names(void **state)
{
    static const char *const names[] = {"a",
                                        "a.b",
                                        "a.*",
                                        "a.>",
                                        "*",
                                        ">",
                                        "a b",
                                        "\t",
                                        "",
                                        "\r\nPING",
                                        "a\r\nPUB t.c.a 0\r\n\r\n",
                                        "=",
                                        "a=2Eb",
                                        "\xc3\xa9",
                                        "\xff\x01",
                                        "$SYS.>"};
    static struct engine_channel c[ARRAY_LEN(names)];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        contract_subscribe(&c[i], names[i]);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char data[16];

        snprintf(data, sizeof(data), "%zu", i);
        contract_publish(&c[i], names[i], data, i);
    }
    steps();
    assert_int_equal(nmessages, ARRAY_LEN(names));
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        completed(i, ENGINE_OK);
        assert_ptr_equal(messages[i].channel, &c[i]);
        assert_int_equal(atoi(messages[i].data), i);
        engine->ops->unsubscribe(engine, &c[i], str_from(names[i]));
    }
    assert_int_equal(metrics->engine_reconnects_closed, 0);
}

static void as_much_as_the_server_takes(void **state)
{
    static char large[2 << 20];
    struct record r = {.name = STR_LIT("a"), .data = {.p = large}, .position = 8};

    (void)state;
    contract_publish(NULL, "a", "x", 0);
    completed(0, ENGINE_OK);
    r.data.n = nats_of(engine)->max_payload - ENVELOPE_HEADER;
    engine->ops->publish(engine, NULL, &r, NULL, 1);
    completed(1, ENGINE_OK);
    r.data.n++;
    engine->ops->publish(engine, NULL, &r, NULL, 2);
    completed(2, ENGINE_TOO_BIG);
    assert_int_equal(metrics->engine_reconnects_closed, 0);
}

static void a_control_message_is_heard(void **state)
{
    const struct record r = {.data = STR_LIT("x"), .source = 1, .position = 8};

    (void)state;
    engine->ops->control(engine, STR_NULL, &r, false, 0);
    completed(0, ENGINE_OK);
    assert_int_equal(ncontrols, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONTRACT_TESTS,
        PRESENCE_TESTS,
        CONTRACT_TEST(one_publisher_one_order),
        CONTRACT_TEST(names_are_names),
        CONTRACT_TEST(as_much_as_the_server_takes),
        CONTRACT_TEST(a_control_message_is_heard),
    };

    contract.make = make;
    contract.setup = setup;
    contract.teardown = teardown;
    contract.kept = "kept:";
    contract.step = nats_step;
    contract.busy = waits;
    return cmocka_run_group_tests(tests, nats_group_setup, nats_group_teardown);
}
