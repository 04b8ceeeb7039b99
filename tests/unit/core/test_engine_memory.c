/* The memory engine keeps the contract, and completes inside the call. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/engine_memory.c"
#include "fault.h"

#include "engine_contract.h"
#include "engine_contract_presence.h"

static void completes_inside_the_call(void **state)
{
    struct engine_channel a;

    (void)state;
    contract_subscribe(&a, "a");
    contract_publish(&a, "a", "x", 0);
    assert_int_equal(calls[0].completed, 1);
    assert_true(calls[0].at.epoch == a.at.epoch && calls[0].at.offset == 1);
    contract_publish(NULL, "nobody", "x", 1);
    assert_int_equal(calls[1].completed, 1);
    assert_true(calls[1].at.epoch == 0 && calls[1].at.offset == 0);
}

/* --- streams --- */

#define KEPT "kept:"

static int memory_setup(void **state)
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
    clock_set_virtual(NS_PER_SEC);
    (void)state;
    return 0;
}

static int memory_teardown(void **state)
{
    (void)state;
    assert_int_equal(metrics->history_channels, 0);
    assert_int_equal(metrics->history_publications, 0);
    assert_int_equal(metrics->history_bytes, 0);
    assert_int_equal(metrics->idempotency_keys, 0);
    clock_set_virtual(0);
    config_defaults(&config);
    channel_options_changed();
    return 0;
}

static struct channel_options *kept_options(void)
{
    return &config.namespaces.items[0];
}

static void pass(uint64_t seconds)
{
    clock_advance(seconds * NS_PER_SEC);
    while (engine->ops->tick(engine, clock_ns()) != 0) {
    }
}

static void publications_expire_together(void **state)
{
    struct engine_channel a;

    (void)state;
    contract_publish(NULL, KEPT "a", "one", 0);
    pass(40);
    contract_publish(NULL, KEPT "a", "two", 1);
    pass(60);
    assert_string_equal(contract_history(KEPT "a", 0, 100, false, 2), "1:one 2:two ");
    assert_int_equal(metrics->history_publications, 2);
    pass(1);
    assert_int_equal(metrics->history_publications, 0);
    assert_int_equal(metrics->history_expired, 2);
    assert_string_equal(contract_history(KEPT "a", 0, 100, false, 3), "");
    assert_true(calls[3].at.offset == 2 && calls[3].at.epoch == calls[0].at.epoch);
    contract_subscribe(&a, KEPT "a");
    assert_true(a.at.offset == 2);
    engine->ops->unsubscribe(engine, &a, STR_LIT(KEPT "a"));
}

/* Also when nobody has looked for it yet. */
static void what_has_expired_is_not_told(void **state)
{
    (void)state;
    contract_publish(NULL, KEPT "a", "one", 0);
    clock_advance(61 * NS_PER_SEC);
    assert_string_equal(contract_history(KEPT "a", 0, 100, false, 1), "");
    assert_int_equal(metrics->history_expired, 1);
    contract_publish(NULL, KEPT "a", "two", 2);
    clock_advance((uint64_t)config.history_meta_ttl + NS_PER_SEC);
    assert_string_equal(contract_history(KEPT "a", 0, 100, false, 3), "");
    assert_true(calls[3].at.offset == 0 && calls[3].at.epoch != calls[0].at.epoch);
}

static void positions_expire_without_subscribers(void **state)
{
    struct engine_channel a;

    (void)state;
    kept_options()->history_meta_ttl = 600 * (int64_t)NS_PER_SEC;
    contract_subscribe(&a, KEPT "a");
    contract_publish(&a, KEPT "a", "one", 0);
    contract_publish(NULL, KEPT "b", "one", 1);
    pass(660);
    pass(660);
    assert_int_equal(metrics->history_channels, 1); /* a, which has a subscriber */
    assert_int_equal(metrics->history_positions_expired, 1);
    contract_publish(&a, KEPT "a", "two", 2);
    completed(2, ENGINE_OK);
    assert_true(calls[2].at.offset == 2 && calls[2].at.epoch == calls[0].at.epoch);
    engine->ops->unsubscribe(engine, &a, STR_LIT(KEPT "a"));
    pass(660);
    pass(660);
    assert_int_equal(metrics->history_channels, 0);
    contract_publish(NULL, KEPT "a", "three", 3);
    assert_true(calls[3].at.offset == 1 && calls[3].at.epoch != calls[0].at.epoch);
}

static void what_is_not_to_be_kept_has_no_place(void **state)
{
    struct record by = {
        .name = STR_LIT(KEPT "a"), .data = STR_LIT("by"), .flags = RECORD_SKIP_HISTORY};
    struct engine_channel a;

    (void)state;
    contract_subscribe(&a, KEPT "a");
    contract_publish(&a, KEPT "a", "one", 0);
    engine->ops->publish(engine, &a, &by, NULL, 1);
    contract_publish(&a, KEPT "a", "two", 2);
    assert_int_equal(nmessages, 3);
    assert_string_equal(messages[1].data, "by");
    assert_int_equal(messages[1].at.offset, 1);
    assert_int_equal(messages[2].at.offset, 2);
    assert_string_equal(contract_history(KEPT "a", 0, 100, false, 3), "1:one 2:two ");
    engine->ops->unsubscribe(engine, &a, STR_LIT(KEPT "a"));
}

/* The channel least recently published in loses its oldest publication; positions go too. */
static void memory_is_bounded(void **state)
{
    static char big[10000];
    struct record r = {.data = {.p = big, .n = sizeof(big)}};
    char name[32];

    (void)state;
    config.history_memory = 50000;
    for (unsigned i = 0; i < 6; i++) {
        snprintf(name, sizeof(name), i % 2 ? "other:%u" : KEPT "%u", i % 4);
        r.name = str_from(name);
        engine->ops->publish(engine, NULL, &r, NULL, i);
        completed(i, ENGINE_OK);
        assert_true(metrics->history_bytes <= 50000);
        clock_advance(NS_PER_MS);
    }
    /* 0 1 2 3 0 1: the first of 0 and the first of 1 made room, or those of 2 and 3 */
    assert_int_equal(metrics->history_evicted, 2);
    assert_int_equal(metrics->history_publications, 4);
    assert_string_equal(contract_history(KEPT "2", 0, 0, false, 10), "");
    engine->ops->history(engine, STR_LIT(KEPT "2"), (struct position){0}, 9, false, 11);
    assert_true(calls[11].at.offset == 1 && calls[11].at.epoch == calls[2].at.epoch);
    /* More positions than fit: the least recently used ones are forgotten. */
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(name, sizeof(name), KEPT "%u", 100 + i);
        engine->ops->history(engine, str_from(name), (struct position){0}, 0, false, 20);
        assert_true(metrics->history_bytes <= 50000);
        clock_advance(NS_PER_MS);
    }
    assert_int_equal(metrics->history_publications, 0);
    assert_true(metrics->history_positions_evicted > 1000);
    /* One that is larger than all of it is published, and not kept. */
    config.history_memory = 5000;
    r.name = STR_LIT(KEPT "huge");
    engine->ops->publish(engine, NULL, &r, NULL, 30);
    completed(30, ENGINE_OK);
    assert_int_equal(calls[30].at.offset, 1);
    pass(1);
    assert_true(metrics->history_bytes <= 5000);
}

static void a_namespace_has_its_own_bound(void **state)
{
    static char big[10000];
    struct record r = {.data = {.p = big, .n = sizeof(big)}};

    (void)state;
    kept_options()->history_memory = 25000;
    r.name = STR_LIT("other:a");
    engine->ops->publish(engine, NULL, &r, NULL, 0);
    for (uint64_t i = 1; i < 4; i++) {
        r.name = i % 2 ? STR_LIT(KEPT "a") : STR_LIT(KEPT "b");
        engine->ops->publish(engine, NULL, &r, NULL, i);
        clock_advance(NS_PER_MS);
    }
    assert_int_equal(metrics->history_evicted, 1);
    assert_int_equal(metrics->history_publications, 3);
    kept_options()->history_memory = 15000; /* a reload */
    pass(1);
    assert_int_equal(metrics->history_publications, 2);
    kept_options()->history_size = kept_options()->history_ttl = 0;
    channel_options_changed();
    pass(1);
    assert_int_equal(metrics->history_publications, 1);
    assert_int_equal(metrics->history_channels, 1);
    engine->ops->history(engine, STR_LIT(KEPT "a"), (struct position){0}, 9, false, 9);
    completed(9, ENGINE_REFUSED);
}

/* A subscriber was there before its channel had a history, and is there after. */
static void a_reload_gives_a_history_and_takes_it(void **state)
{
    struct channel_options *o = &config.channel_without_namespace;
    struct engine_channel a;
    uint64_t epoch;

    (void)state;
    contract_subscribe(&a, "a");
    assert_null(a.stream);
    epoch = a.at.epoch;
    contract_publish(&a, "a", "one", 0);
    o->history_size = 2;
    o->history_ttl = 60 * (int64_t)NS_PER_SEC;
    channel_options_changed();
    contract_publish(&a, "a", "two", 1);
    assert_non_null(a.stream);
    assert_true(messages[1].at.offset == 1 && messages[1].at.epoch != epoch);
    assert_string_equal(contract_history("a", 0, 100, false, 2), "1:two ");
    o->history_size = o->history_ttl = 0;
    channel_options_changed();
    contract_publish(&a, "a", "three", 3);
    assert_null(a.stream);
    assert_true(messages[2].at.offset == 1 && messages[2].at.epoch != messages[1].at.epoch);
    engine->ops->unsubscribe(engine, &a, STR_LIT("a"));
}

static void keys_are_forgotten(void **state)
{
    char key[64];

    (void)state;
    contract_publish_if("a", "x", 0, "k", 0, "");
    pass(300);
    contract_publish_if("a", "x", 1, "k", 0, "");
    completed(1, ENGINE_DUPLICATE);
    clock_advance(NS_PER_SEC);
    contract_publish_if("a", "x", 2, "k", 0, "");
    completed(2, ENGINE_OK);
    pass(301);
    assert_int_equal(metrics->idempotency_keys, 0);
    config.history_memory = 80000;
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "key %u", i);
        contract_publish_if("a", "x", 3, key, 0, "");
        assert_true(metrics->history_bytes <= 10000);
    }
    assert_true(metrics->idempotency_keys > 10 && metrics->idempotency_keys_evicted > 100);
    contract_publish_if("a", "x", 4, key, 0, "");
    completed(4, ENGINE_DUPLICATE);
    contract_publish_if("a", "x", 5, "key 0", 0, "");
    completed(5, ENGINE_OK);
}

/* Whatever allocation fails: the call says that it was not done, and it was not. */
static void publishing_at_every_failure(void **state)
{
    (void)state;
    for (unsigned long k = 1;; k++) {
        char name[32];
        bool all;

        snprintf(name, sizeof(name), KEPT "%lu", k);
        fault_fail_at(k);
        contract_publish_if(name, "x", 2 * k, "key", 7, "e");
        all = fault_count() < k;
        fault_reset();
        completed(2 * k, all ? ENGINE_OK : ENGINE_UNAVAILABLE);
        if (all) {
            assert_true(k > 4);
            return;
        }
        assert_string_equal(contract_history(name, 0, 100, false, 2 * k + 1), "");
        assert_int_equal(calls[2 * k + 1].at.offset, 0);
        contract_publish_if(name, "x", 100, "key", 7, "e");
        assert_int_equal(calls[100].status, ENGINE_OK);
        calls[100].completed = 0;
    }
}

static void many_channels_take_little(void **state)
{
    enum { CHANNELS = 20000 };
    char name[32];

    (void)state;
    config.history_memory = 0;
    for (unsigned i = 0; i < CHANNELS; i++) {
        snprintf(name, sizeof(name), KEPT "%u", i);
        contract_publish(NULL, name, "a short text", 0);
        contract_publish(NULL, name, "another", 0);
    }
    assert_int_equal(metrics->history_channels, CHANNELS);
    assert_true(metrics->history_bytes < 320L * CHANNELS);
    clock_advance(61 * NS_PER_SEC);
    assert_true(engine->ops->tick(engine, clock_ns()) != 0);
    assert_true(metrics->history_publications > 2 * CHANNELS - 3000); /* not all at once */
    pass(0);
    assert_int_equal(metrics->history_publications, 0);
    assert_true(metrics->history_bytes < 200L * CHANNELS);
}

static void no_memory(void **state)
{
    (void)state;
    fault_fail_at(1);
    assert_null(engine_memory_new());
    fault_reset();
}

static unsigned nrefused;

static void count_refused(void *hub, uint64_t token, enum engine_status status, struct position at)
{
    on_done(hub, token, status, at);
    nrefused += status == ENGINE_UNAVAILABLE;
    calls[token].status = ENGINE_OK;
}

/* Whichever allocation fails, a member is there whole or not at all, and an older one stays. */
static void no_memory_for_a_member(void **state)
{
    struct engine_events events = contract_events;
    unsigned long k = 0;

    (void)state;
    events.done = count_refused;
    engine_attach(engine, &events, calls);
    do {
        nrefused = 0;
        fault_fail_at(++k);
        /* The test's own allocations come first: two of them. */
        if (k > 2)
            come((struct somebody){WHO("a", "c1", "ann", "1")});
        fault_reset();
        if (nrefused > 0)
            count_members("a", 0, 0);
    } while (k <= 2 || nrefused > 0);
    assert_true(k > 6); /* channel, member, user and the three tables */
    count_members("a", 1, 1);
    fault_fail_at(3);
    come((struct somebody){WHO("a", "c1", "bob", "22")});
    fault_reset();
    assert_int_equal(nrefused, 1);
    count_members("a", 1, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONTRACT_TESTS,
        PRESENCE_TESTS,
        CONTRACT_TEST(completes_inside_the_call),
        CONTRACT_TEST(publications_expire_together),
        CONTRACT_TEST(what_has_expired_is_not_told),
        CONTRACT_TEST(positions_expire_without_subscribers),
        CONTRACT_TEST(what_is_not_to_be_kept_has_no_place),
        CONTRACT_TEST(memory_is_bounded),
        CONTRACT_TEST(a_namespace_has_its_own_bound),
        CONTRACT_TEST(a_reload_gives_a_history_and_takes_it),
        CONTRACT_TEST(keys_are_forgotten),
        CONTRACT_TEST(publishing_at_every_failure),
        CONTRACT_TEST(many_channels_take_little),
        CONTRACT_TEST(no_memory_for_a_member),
        cmocka_unit_test(no_memory),
    };

    contract.make = engine_memory_new;
    contract.setup = memory_setup;
    contract.teardown = memory_teardown;
    contract.kept = KEPT;
    return cmocka_run_group_tests_name("core/engine_memory", tests, NULL, NULL);
}
