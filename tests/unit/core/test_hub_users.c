/* The hub: how many connections each user has, and who may have one more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/hub_users.c"
#include "fault.h"

#include "hub_harness.h"

#define HUB_TEST(f) cmocka_unit_test_setup_teardown(f, hub_setup, hub_teardown)

static void user_count(unsigned worker, const char *user, uint32_t count)
{
    from(worker, (struct record){.kind = RECORD_USER, .data = name_of(user), .count = count});
}

/* One more, with which the worker has `count`. */
static void ask_connect(unsigned worker, const char *user, uint32_t count, uint32_t max)
{
    from(worker, (struct record){.kind = RECORD_USER_CONNECT,
                                 .asker = 3,
                                 .token = 5,
                                 .data = name_of(user),
                                 .count = count,
                                 .chan = max});
}

static void assert_connected(unsigned worker, enum engine_status status, uint32_t count)
{
    const struct record *r = next_sent(worker, RECORD_USER_CONNECTED);

    assert_true(r->asker == 3 && r->token == 5);
    assert_string_equal(engine_status_name(r->status), engine_status_name(status));
    assert_int_equal(r->count, count);
}

static void try_connect(unsigned worker, const char *user, uint32_t count, uint32_t max,
                        enum engine_status status, uint32_t in_node)
{
    ask_connect(worker, user, count, max);
    assert_connected(worker, status, in_node);
}

static void the_limit_is_the_nodes(void **state)
{
    (void)state;
    try_connect(0, "ann", 1, 3, ENGINE_OK, 1);
    try_connect(1, "ann", 1, 3, ENGINE_OK, 2);
    user_count(2, "ann", 1);
    try_connect(3, "ann", 1, 3, ENGINE_REFUSED, 3);
    try_connect(0, "ann", 2, 3, ENGINE_REFUSED, 3);
    try_connect(0, "bob", 1, 3, ENGINE_OK, 1);
    assert_int_equal(metrics->users, 2);
    user_count(1, "ann", 0);
    try_connect(0, "ann", 2, 3, ENGINE_OK, 3);
    user_count(0, "ann", 0);
    user_count(2, "ann", 0);
    assert_int_equal(metrics->users, 1);
    user_count(2, "nobody", 0);
    assert_int_equal(metrics->users, 1);
}

/* What a hub that died had begun is done again: it changes nothing. */
static void again_is_the_same(void **state)
{
    (void)state;
    try_connect(0, "ann", 1, 1, ENGINE_OK, 1);
    try_connect(0, "ann", 1, 1, ENGINE_OK, 1);
    try_connect(0, "ann", 2, 1, ENGINE_REFUSED, 1);
}

static void a_worker_that_has_gone_counts_no_more(void **state)
{
    (void)state;
    user_count(0, "ann", 2);
    user_count(1, "ann", 1);
    user_count(0, "bob", 1);
    fakes[0].generation = 0;
    hub_worker_gone(hub, 0);
    try_connect(1, "ann", 2, 2, ENGINE_OK, 2); /* at once */
    run_all();
    assert_int_equal(metrics->users, 1);
    fakes[0].generation = 2;
    user_count(0, "ann", 1);
    try_connect(1, "ann", 3, 3, ENGINE_REFUSED, 3);
}

static void it_is_asked_while_gathering(void **state)
{
    (void)state;
    hub_free(hub);
    hub_start(2);
    ask_connect(0, "ann", 1, 1);
    nothing_sent(0);
    /* Announced: at once. */
    from(1, (struct record){
                .kind = RECORD_USER, .flags = PRESENCE_AGAIN, .data = name_of("ann"), .count = 1});
    /* What has happened since keeps its order. */
    ask_connect(2, "bob", 1, 1);
    user_count(2, "bob", 0);
    ask_connect(3, "bob", 1, 1);
    for (unsigned i = 0; i < FAKES; i++)
        announced(i, 2);
    run_all();
    assert_connected(0, ENGINE_REFUSED, 1);
    assert_connected(2, ENGINE_OK, 1);
    assert_connected(3, ENGINE_OK, 1);
}

static void malformed(void **state)
{
    static char big[BROKER_USER_MAX + 2];

    (void)state;
    memset(big, 'u', BROKER_USER_MAX + 1);
    user_count(0, "", 1);
    user_count(0, big, 1);
    ask_connect(0, "", 1, 1);
    assert_int_equal(metrics->ring_bad_records, 3);
    assert_int_equal(metrics->users, 0);
    big[BROKER_USER_MAX] = '\0';
    user_count(0, big, 1);
    assert_int_equal(metrics->users, 1);
}

/* Whichever allocation fails: no answer, a refusal for the time being, or it is done. */
static void no_memory(void **state)
{
    (void)state;
    for (unsigned w = 0; w < 3; w++)
        user_count(w, "ann", 1);
    for (unsigned long k = 1;; k++) {
        assert_true(k < 8);
        fault_fail_at(k);
        ask_connect(3, "bob", 1, 2);
        fault_reset();
        if (fakes[3].seen == fakes[3].n)
            continue;
        if (next_sent(3, RECORD_USER_CONNECTED)->status == ENGINE_OK)
            break;
        assert_int_equal(fakes[3].sent[fakes[3].n - 1].r.status, ENGINE_UNAVAILABLE);
    }
    user_count(3, "ann", 1); /* four: the array is full */
    fault_fail_at(1);
    user_count(0, "bob", 1);
    fault_reset();
    try_connect(1, "bob", 1, 2, ENGINE_OK, 2);
}

/* --- counted by the engine, over all nodes --- */

static struct asked {
    char user[64];
    uint32_t count, limit;
    uint64_t token;
} asked[64];
static unsigned nasked;

static void user_asked(struct engine *e, struct str user, uint32_t count, uint32_t limit,
                       uint64_t token)
{
    struct asked *a = &asked[nasked++];

    assert_ptr_equal(e, hub->engine);
    assert_true(nasked <= 64 && str_copy(user, a->user, sizeof(a->user)) == 0);
    a->count = count;
    a->limit = limit;
    a->token = token;
    if (token == 0) /* nobody waits */
        e->events->done(e->hub, 0, ENGINE_UNAVAILABLE, (struct position){0});
}

static void assert_asked(unsigned i, const char *user, uint32_t count, uint32_t limit)
{
    assert_true(i < nasked);
    assert_string_equal(asked[i].user, user);
    assert_int_equal(asked[i].count, count);
    assert_int_equal(asked[i].limit, limit);
    assert_true((asked[i].token != 0) == (limit != 0));
}

static void answer(unsigned i, enum engine_status status)
{
    hub->engine->events->done(hub, asked[i].token, status, (struct position){0});
}

static int shared_setup(void **state)
{
    static struct engine_ops ops;

    hub_setup(state);
    ops = *hub->engine->ops;
    ops.user = user_asked;
    hub->engine->ops = &ops;
    config.user_connection_limit_scope = USER_LIMIT_OF_ALL_NODES;
    nasked = 0;
    return 0;
}

static int shared_teardown(void **state)
{
    config.user_connection_limit_scope = USER_LIMIT_OF_A_NODE;
    clock_set_virtual(0);
    return hub_teardown(state);
}

static void the_engine_decides(void **state UNUSED)
{
    ask_connect(0, "ann", 1, 3);
    assert_asked(0, "ann", 1, 3);
    nothing_sent(0);
    answer(0, ENGINE_OK);
    assert_connected(0, ENGINE_OK, 1);
    ask_connect(1, "ann", 1, 3);
    assert_asked(1, "ann", 2, 3);
    answer(1, ENGINE_REFUSED);
    assert_connected(1, ENGINE_REFUSED, 2);
    user_count(1, "ann", 0); /* as its worker does then */
    assert_asked(2, "ann", 1, 0);
    ask_connect(0, "ann", 2, 1); /* this node alone knows that */
    assert_connected(0, ENGINE_REFUSED, 1);
    assert_int_equal(nasked, 3);
    assert_int_equal(metrics->user_limits_unsure, 0);
}

static void an_engine_that_is_away_turns_nobody_away(void **state UNUSED)
{
    ask_connect(0, "ann", 1, 3);
    answer(0, ENGINE_UNAVAILABLE);
    assert_connected(0, ENGINE_UNAVAILABLE, 1);
    assert_int_equal(metrics->user_limits_unsure, 1);
}

static void it_is_told_who_goes_and_with_which_worker(void **state UNUSED)
{
    user_count(0, "ann", 2);
    user_count(1, "ann", 1);
    user_count(1, "ann", 1); /* nothing new */
    user_count(1, "bob", 1);
    assert_asked(0, "ann", 2, 0);
    assert_asked(1, "ann", 3, 0);
    assert_asked(2, "bob", 1, 0);
    fakes[1].generation = 2;
    hub_worker_gone(hub, 1);
    run_all();
    assert_int_equal(nasked, 5);
    for (unsigned i = 3; i < 5; i++)
        assert_asked(i, asked[i].user, asked[i].user[0] == 'a' ? 2 : 0, 0);
    user_count(0, "ann", 0);
    assert_asked(5, "ann", 0, 0);
    assert_int_equal(metrics->users, 0);
}

static void what_it_was_told_is_renewed(void **state UNUSED)
{
    clock_set_virtual(1000 * NS_PER_SEC);
    user_count(0, "ann", 2);
    run_all();
    nasked = 0;
    for (unsigned i = 0; i < 700; i++) {
        clock_advance(NS_PER_SEC);
        (void)hub_run(hub, 64);
    }
    assert_true(nasked >= 1 && nasked <= 3);
    assert_asked(0, "ann", 2, 0);
}

#define SHARED_TEST(f) cmocka_unit_test_setup_teardown(f, shared_setup, shared_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HUB_TEST(the_limit_is_the_nodes),
        HUB_TEST(again_is_the_same),
        HUB_TEST(a_worker_that_has_gone_counts_no_more),
        HUB_TEST(it_is_asked_while_gathering),
        HUB_TEST(malformed),
        HUB_TEST(no_memory),
        SHARED_TEST(the_engine_decides),
        SHARED_TEST(an_engine_that_is_away_turns_nobody_away),
        SHARED_TEST(it_is_told_who_goes_and_with_which_worker),
        SHARED_TEST(what_it_was_told_is_renewed),
    };

    return cmocka_run_group_tests_name("core/hub_users", tests, NULL, NULL);
}
