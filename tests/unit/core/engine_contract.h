/* The engine contract: what every engine keeps to, by what it declares. A test of an engine
 * includes its .c, sets `contract` and runs CONTRACT_TESTS and PRESENCE_TESTS. An engine that completes later is
 * driven by contract.step(). */
#ifndef ROOST_TEST_ENGINE_CONTRACT_H
#define ROOST_TEST_ENGINE_CONTRACT_H

#include "core/engine.h"

#define CONTRACT_CALLS    256
#define CONTRACT_MESSAGES 256

static struct {
    struct engine *(*make)(void);
    int (*setup)(void **state), (*teardown)(void **state); /* may be NULL */
    const char *kept; /* HISTORY: channels of which 3 publications are kept begin with this */
    void (*step)(struct engine *e); /* lets time pass and answers arrive; may be NULL */
    bool (*busy)(struct engine *e); /* does it wait for an answer? may be NULL */
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
static unsigned nmessages, nsubscribed, nlost;
static uint64_t next_call;   /* token of the next call about presence */
static unsigned kept_wanted; /* history() is told to stop behind so many */
static char kept_text[256];  /* "offset:text " for each that history() tells */
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

static void on_lost(void *hub, struct engine_channel *c)
{
    assert_ptr_equal(hub, calls);
    assert_true(c->at.epoch != 0);
    nlost++;
}

static bool on_kept(void *hub, uint64_t token, const struct record *r)
{
    size_t n = strlen(kept_text);

    assert_ptr_equal(hub, calls);
    assert_int_equal(calls[token].completed, 0);
    assert_true(r->epoch != 0 && r->flags & RECORD_IN_STREAM);
    snprintf(kept_text + n, sizeof(kept_text) - n, "%u:%.*s ", (unsigned)r->offset,
             STR_ARG(r->data));
    return --kept_wanted > 0;
}

/* What was told of members, in order: "+c1 -c2 ", and who was listed or counted. */
static char told[1024], listed[1024];
static uint32_t nclients, nusers;
static unsigned ncontrols;

static void note(char *log, char sign, struct str fields)
{
    struct client_info info;
    struct str field;
    size_t n = strlen(log);

    assert_true(record_field(fields, FIELD_INFO, &field));
    assert_int_equal(client_info_read(field, &info), 0);
    snprintf(log + n, 1024 - n, "%c%.*s ", sign, STR_ARG(info.client));
}

static void on_member(void *hub, const struct record *r)
{
    assert_ptr_equal(hub, calls);
    assert_true(r->kind == RECORD_JOIN || r->kind == RECORD_LEAVE);
    assert_true(r->name.n > 0);
    note(told, r->kind == RECORD_JOIN ? '+' : '-', r->fields);
}

static void on_listed(void *hub, uint64_t token, struct str fields)
{
    assert_ptr_equal(hub, calls);
    assert_int_equal(calls[token].completed, 0);
    note(listed, ' ', fields);
}

static void on_counted(void *hub, uint64_t token, uint32_t clients, uint32_t users)
{
    assert_ptr_equal(hub, calls);
    assert_int_equal(calls[token].completed, 0);
    nclients = clients;
    nusers = users;
}

static bool on_control(void *hub, const struct record *r)
{
    assert_ptr_equal(hub, calls);
    assert_true(str_equal(r->data, STR_LIT("x")));
    ncontrols++;
    return true;
}

static void on_told(void *hub, uint64_t token, uint32_t asked, uint32_t answered)
{
    assert_ptr_equal(hub, calls);
    assert_int_equal(calls[token].completed, 0);
    assert_true(answered <= asked);
}

static const struct engine_events contract_events = {
    .done = on_done,
    .subscribed = on_subscribed,
    .message = on_message,
    .lost = on_lost,
    .kept = on_kept,
    .member = on_member,
    .listed = on_listed,
    .counted = on_counted,
    .control = on_control,
    .told = on_told,
};

/* Many, and more while a server that is slow owes an answer. */
static bool more_steps(int n)
{
    return n < 1000 || (n < 20000 && contract.busy != NULL && contract.busy(engine));
}

static void steps(void)
{
    for (int i = 0; contract.step != NULL && more_steps(i); i++)
        contract.step(engine);
}

static int contract_setup(void **state)
{
    if (contract.setup != NULL)
        contract.setup(state);
    memset(calls, 0, sizeof(calls));
    nmessages = nsubscribed = nlost = 0;
    told[0] = listed[0] = '\0';
    ncontrols = 0;
    next_call = 0;
    engine = contract.make();
    assert_non_null(engine);
    engine_attach(engine, &contract_events, calls);
    return 0;
}

static int contract_teardown(void **state)
{
    engine_free(engine);
    if (contract.teardown != NULL)
        contract.teardown(state);
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

    engine->ops->publish(engine, c, &r, NULL, token);
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
        engine->ops->publish(engine, &a, &keyed,
                             &(struct engine_condition){.idempotency_key = STR_LIT("k")}, 3);
        completed(3, ENGINE_REFUSED);
    }
    if (!(can & ENGINE_CAN_CONTROL_LOG)) {
        engine->ops->control(engine, STR_LIT(""), &keyed, true, 4);
        completed(4, ENGINE_REFUSED);
    }
    assert_int_equal(nmessages, 0);
    assert_true(a.at.offset == 0 || can & ENGINE_CAN_HISTORY);
}

/* The name of a channel with history; valid until the next call. */
static const char *contract_kept(const char *name)
{
    static char text[64];

    snprintf(text, sizeof(text), "%s%s", contract.kept, name);
    return text;
}

static const char *contract_history(const char *name, uint64_t since, uint32_t limit, bool reverse,
                                    uint64_t token)
{
    kept_text[0] = '\0';
    kept_wanted = UINT32_MAX;
    engine->ops->history(engine, str_from(name), (struct position){.offset = since}, limit, reverse,
                         token);
    completed(token, ENGINE_OK);
    return kept_text;
}

/* HISTORY: what is kept can be asked for, subscribed or not, and from either end. */
static void what_is_kept_is_told(void **state)
{
    struct engine_channel a;
    const char *name;

    (void)state;
    if (!(engine->ops->capabilities & ENGINE_CAN_HISTORY))
        return;
    name = contract_kept("a");
    for (uint64_t i = 1; i <= 5; i++) {
        char data[16];

        snprintf(data, sizeof(data), "p%u", (unsigned)i);
        contract_publish(NULL, name, data, i);
        completed(i, ENGINE_OK);
        assert_true(calls[i].at.offset == i && calls[i].at.epoch == calls[1].at.epoch);
    }
    assert_string_equal(contract_history(name, 0, 100, false, 10), "3:p3 4:p4 5:p5 ");
    assert_true(calls[10].at.offset == 5 && calls[10].at.epoch == calls[1].at.epoch);
    assert_string_equal(contract_history(name, 3, 100, false, 11), "4:p4 5:p5 ");
    assert_string_equal(contract_history(name, 3, 1, false, 12), "4:p4 ");
    assert_string_equal(contract_history(name, 5, 100, false, 13), "");
    assert_string_equal(contract_history(name, 9, 100, false, 14), "");
    assert_string_equal(contract_history(name, 0, 0, false, 15), "");
    assert_true(calls[15].at.offset == 5);
    assert_string_equal(contract_history(name, 0, 2, true, 16), "5:p5 4:p4 ");
    assert_string_equal(contract_history(name, 5, 100, true, 17), "4:p4 3:p3 ");
    assert_string_equal(contract_history(name, 1, 100, true, 18), "");
    assert_string_equal(contract_history(name, UINT64_MAX, 1, true, 19), "5:p5 ");
    kept_text[0] = '\0';
    kept_wanted = 2;
    engine->ops->history(engine, str_from(name), (struct position){0}, 100, false, 21);
    completed(21, ENGINE_OK);
    assert_string_equal(kept_text, "3:p3 4:p4 ");
    contract_subscribe(&a, name);
    assert_true(a.stream != NULL);
    assert_true(a.at.offset == 5 && a.at.epoch == calls[1].at.epoch);
    contract_publish(&a, name, "p6", 6);
    completed(6, ENGINE_OK);
    assert_true(messages[0].at.offset == 6 && a.at.offset == 6);
    engine->ops->unsubscribe(engine, &a, str_from(name));
    assert_string_equal(contract_history(name, 0, 1, true, 20), "6:p6 ");
}

static void a_position_outlives_what_was_removed(void **state)
{
    struct engine_channel a;
    const char *name;

    (void)state;
    if (!(engine->ops->capabilities & ENGINE_CAN_HISTORY))
        return;
    name = contract_kept("a");
    contract_publish(NULL, name, "one", 0);
    completed(0, ENGINE_OK);
    engine->ops->remove_history(engine, str_from(name), 1);
    completed(1, ENGINE_OK);
    assert_true(calls[1].at.offset == 1 && calls[1].at.epoch == calls[0].at.epoch);
    assert_string_equal(contract_history(name, 0, 100, false, 2), "");
    contract_subscribe(&a, name);
    assert_true(a.at.offset == 1 && a.at.epoch == calls[0].at.epoch);
    contract_publish(&a, name, "two", 3);
    completed(3, ENGINE_OK);
    assert_string_equal(contract_history(name, 0, 100, false, 4), "2:two ");
    engine->ops->unsubscribe(engine, &a, str_from(name));
}

static void contract_publish_if(const char *name, const char *data, uint64_t token, const char *key,
                                uint64_t version, const char *epoch)
{
    const struct record r = {.name = str_from(name), .data = str_from(data)};
    const struct engine_condition condition = {
        .idempotency_key = str_from(key), .version = version, .version_epoch = str_from(epoch)};

    engine->ops->publish(engine, NULL, &r, &condition, token);
}

/* IDEMPOTENCY: the same key in the same channel is the same publication. */
static void a_key_makes_one_publication(void **state)
{
    (void)state;
    if (!(engine->ops->capabilities & ENGINE_CAN_IDEMPOTENCY))
        return;
    contract_publish_if("a", "x", 0, "k", 0, "");
    completed(0, ENGINE_OK);
    contract_publish_if("a", "x", 1, "k", 0, "");
    completed(1, ENGINE_DUPLICATE);
    contract_publish_if("a", "x", 2, "other", 0, "");
    completed(2, ENGINE_OK);
    contract_publish_if("b", "x", 3, "k", 0, "");
    completed(3, ENGINE_OK);
    if (!(engine->ops->capabilities & ENGINE_CAN_HISTORY))
        return;
    contract_publish_if(contract_kept("a"), "x", 4, "k", 0, "");
    completed(4, ENGINE_OK);
    contract_publish_if(contract_kept("a"), "y", 5, "", 0, "");
    contract_publish_if(contract_kept("a"), "x", 6, "k", 0, "");
    completed(6, ENGINE_DUPLICATE);
    assert_true(calls[6].at.offset == 1 && calls[6].at.epoch == calls[4].at.epoch);
    assert_string_equal(contract_history(contract_kept("a"), 0, 100, false, 7), "1:x 2:y ");
}

/* HISTORY: a version that is not newer is not published. */
static void versions_only_rise(void **state)
{
    const char *name;

    (void)state;
    if (!(engine->ops->capabilities & ENGINE_CAN_HISTORY))
        return;
    name = contract_kept("a");
    contract_publish_if(name, "v5", 0, "", 5, "e");
    completed(0, ENGINE_OK);
    contract_publish_if(name, "v5", 1, "", 5, "e");
    completed(1, ENGINE_SUPPRESSED);
    assert_true(calls[1].at.offset == 1);
    contract_publish_if(name, "v4", 2, "", 4, "");
    completed(2, ENGINE_SUPPRESSED);
    contract_publish_if(name, "v6", 3, "", 6, "e");
    completed(3, ENGINE_OK);
    contract_publish_if(name, "v1", 4, "", 1, "f"); /* another life of what is versioned */
    completed(4, ENGINE_OK);
    contract_publish_if(name, "none", 5, "", 0, "");
    completed(5, ENGINE_OK);
    contract_publish_if(name, "v1", 6, "", 1, "f");
    completed(6, ENGINE_SUPPRESSED);
    assert_string_equal(contract_history(name, 0, 100, false, 7), "2:v6 3:v1 4:none ");
}

#define CONTRACT_TEST(f) cmocka_unit_test_setup_teardown(f, contract_setup, contract_teardown)
#define CONTRACT_TESTS                                                                             \
    CONTRACT_TEST(a_subscriber_is_given_what_is_published_after),                                  \
        CONTRACT_TEST(one_order_per_channel), CONTRACT_TEST(a_new_life_has_a_new_epoch),           \
        CONTRACT_TEST(the_rest_is_refused), CONTRACT_TEST(what_is_kept_is_told),                   \
        CONTRACT_TEST(a_position_outlives_what_was_removed),                                       \
        CONTRACT_TEST(a_key_makes_one_publication), CONTRACT_TEST(versions_only_rise)

#endif
