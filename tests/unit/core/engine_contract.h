/* The engine contract: what every engine keeps to, by what it declares. A test of an engine
 * includes its .c, sets `contract` and runs CONTRACT_TESTS. An engine that completes later is
 * driven by contract.step(). */
#ifndef ROOST_TEST_ENGINE_CONTRACT_H
#define ROOST_TEST_ENGINE_CONTRACT_H

#include "core/engine.h"

#define CONTRACT_CALLS    256
#define CONTRACT_MESSAGES 256

static struct {
    struct engine *(*make)(void);
    void (*step)(struct engine *e); /* lets time pass and answers arrive; may be NULL */
} contract;

static struct call {
    unsigned completed;
    enum engine_status status;
    struct position at;
} calls[CONTRACT_CALLS]; /* by token */

static struct message {
    struct engine_channel *channel;
    struct position at;
    char data[16];
    uint64_t origin;
} messages[CONTRACT_MESSAGES];
static unsigned nmessages, nsubscribed;
static struct engine *engine;

static void on_done(void *hub, uint64_t token, enum engine_status status, struct position at)
{
    assert_ptr_equal(hub, calls);
    assert_true(token < CONTRACT_CALLS && status < ENGINE_STATUS_NR);
    calls[token].completed++;
    calls[token].status = status;
    calls[token].at = at;
}

static void on_subscribed(void *hub, struct engine_channel *c, enum engine_status status)
{
    assert_ptr_equal(hub, calls);
    assert_int_equal(status, ENGINE_OK);
    assert_true(c->at.epoch != 0);
    nsubscribed++;
}

static void on_message(void *hub, struct engine_channel *c, const struct record *r)
{
    struct message *m = &messages[nmessages++];

    assert_ptr_equal(hub, calls);
    assert_true(nmessages <= CONTRACT_MESSAGES && r->data.n < sizeof(m->data));
    m->channel = c;
    m->at = c->at;
    m->origin = r->token;
    memcpy(m->data, r->data.p, r->data.n);
    m->data[r->data.n] = '\0';
}

static const struct engine_events contract_events = {
    .done = on_done, .subscribed = on_subscribed, .message = on_message};

static void steps(void)
{
    for (int i = 0; contract.step != NULL && i < 1000; i++)
        contract.step(engine);
}

static int contract_setup(void **state)
{
    (void)state;
    memset(calls, 0, sizeof(calls));
    nmessages = nsubscribed = 0;
    engine = contract.make();
    assert_non_null(engine);
    engine_attach(engine, &contract_events, calls);
    return 0;
}

static int contract_teardown(void **state)
{
    (void)state;
    engine_free(engine);
    return 0;
}

static void contract_subscribe(struct engine_channel *c, const char *name)
{
    unsigned before = nsubscribed;

    *c = (struct engine_channel){0};
    engine->ops->subscribe(engine, c, str_from(name));
    steps();
    assert_int_equal(nsubscribed, before + 1);
}

static void contract_publish(struct engine_channel *c, const char *name, const char *data,
                             uint64_t token)
{
    const struct record r = {.name = str_from(name), .data = str_from(data), .token = token + 1000};

    engine->ops->publish(engine, c, &r, STR_NULL, token);
}

/* Token by token: exactly once, with that status. */
static void completed(uint64_t token, enum engine_status status)
{
    steps();
    assert_int_equal(calls[token].completed, 1);
    assert_string_equal(engine_status_name(calls[token].status), engine_status_name(status));
}

static void a_subscriber_is_given_what_is_published_after(void **state)
{
    struct engine_channel a;

    (void)state;
    contract_publish(NULL, "a", "before", 0);
    completed(0, ENGINE_OK);
    contract_subscribe(&a, "a");
    contract_publish(&a, "a", "one", 1);
    completed(1, ENGINE_OK);
    assert_int_equal(nmessages, 1);
    assert_string_equal(messages[0].data, "one");
    assert_ptr_equal(messages[0].channel, &a);
    assert_int_equal(messages[0].origin, 1001);
    engine->ops->unsubscribe(engine, &a, STR_LIT("a"));
    contract_publish(NULL, "a", "after", 2);
    completed(2, ENGINE_OK);
    assert_int_equal(nmessages, 1);
}

/* ORDER: offsets rise by one from where subscribed() stood, in the order of the messages; the
 * publisher is told the same position. */
static void one_order_per_channel(void **state)
{
    struct engine_channel a, b;
    uint64_t offset[2];

    (void)state;
    if (!(engine->ops->capabilities & ENGINE_CAN_ORDER))
        return;
    contract_subscribe(&a, "a");
    contract_subscribe(&b, "b");
    assert_true(a.at.epoch != b.at.epoch);
    offset[0] = a.at.offset;
    offset[1] = b.at.offset;
    for (uint64_t i = 0; i < 100; i++) {
        char data[16];

        snprintf(data, sizeof(data), "%u", (unsigned)i);
        contract_publish(i % 3 ? &a : &b, i % 3 ? "a" : "b", data, i);
    }
    steps();
    assert_int_equal(nmessages, 100);
    for (unsigned i = 0; i < 100; i++) {
        const struct message *m = &messages[i];
        uint64_t token = m->origin - 1000;

        assert_true(m->at.offset == ++offset[m->channel == &b]);
        assert_true(m->at.epoch == (m->channel == &b ? b : a).at.epoch);
        completed(token, ENGINE_OK);
        assert_true(calls[token].at.epoch == m->at.epoch && calls[token].at.offset == m->at.offset);
    }
}

/* A channel that was given up and comes back is in another life, unless the engine
 * keeps history. */
static void a_new_life_has_a_new_epoch(void **state)
{
    struct engine_channel a;
    uint64_t epoch;

    (void)state;
    contract_subscribe(&a, "a");
    epoch = a.at.epoch;
    engine->ops->unsubscribe(engine, &a, STR_LIT("a"));
    contract_subscribe(&a, "a");
    if (!(engine->ops->capabilities & ENGINE_CAN_HISTORY))
        assert_true(a.at.epoch != epoch && a.at.offset == 0);
    engine->ops->unsubscribe(engine, &a, STR_LIT("a"));
}

/* What is not among the capabilities is refused, and nothing else happens. */
static void the_rest_is_refused(void **state)
{
    const struct engine_presence who = {.op = PRESENCE_STATS, .channel = STR_LIT("a")};
    const struct record keyed = {.name = STR_LIT("a"), .data = STR_LIT("x")};
    unsigned can = engine->ops->capabilities;
    struct engine_channel a;

    (void)state;
    contract_subscribe(&a, "a");
    if (!(can & ENGINE_CAN_HISTORY)) {
        engine->ops->history(engine, STR_LIT("a"), (struct position){0}, 10, false, 0);
        completed(0, ENGINE_REFUSED);
        engine->ops->remove_history(engine, STR_LIT("a"), 1);
        completed(1, ENGINE_REFUSED);
    }
    if (!(can & ENGINE_CAN_PRESENCE)) {
        engine->ops->presence(engine, &who, 2);
        completed(2, ENGINE_REFUSED);
    }
    if (!(can & ENGINE_CAN_IDEMPOTENCY)) {
        engine->ops->publish(engine, &a, &keyed, STR_LIT("k"), 3);
        completed(3, ENGINE_REFUSED);
    }
    if (!(can & ENGINE_CAN_CONTROL_LOG)) {
        engine->ops->control(engine, STR_LIT(""), &keyed, true, 4);
        completed(4, ENGINE_REFUSED);
    }
    assert_int_equal(nmessages, 0);
    assert_true(a.at.offset == 0 || can & ENGINE_CAN_HISTORY);
}

#define CONTRACT_TEST(f) cmocka_unit_test_setup_teardown(f, contract_setup, contract_teardown)
#define CONTRACT_TESTS                                                                             \
    CONTRACT_TEST(a_subscriber_is_given_what_is_published_after),                                  \
        CONTRACT_TEST(one_order_per_channel), CONTRACT_TEST(a_new_life_has_a_new_epoch),           \
        CONTRACT_TEST(the_rest_is_refused)

#endif
