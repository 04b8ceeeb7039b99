#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "core/engine_shards.c"

#define AFTER (30 * NS_PER_SEC)

static int setup(void **state)
{
    (void)state;
    memset(engine_shards, 0, sizeof(*engine_shards));
    clock_set_virtual(NS_PER_SEC * 1000);
    return 0;
}

static void pass(uint64_t ns)
{
    clock_advance(ns);
}

static bool ready(enum shard_rule rule)
{
    return engine_shards_ready(rule, AFTER);
}

static struct engine_shard shown(unsigned n)
{
    struct engine_shard s = {0};
    unsigned i = 0;

    while (engine_shard_next(&i, &s))
        if (n-- == 0)
            return s;
    fail();
    return s;
}

static void connect(int place)
{
    engine_shard_set(place, SHARD_RESTORING, NULL);
    engine_shard_heard(place);
    engine_shard_set(place, SHARD_UP, NULL);
}

static void without_servers_a_node_is_ready(void **state)
{
    (void)state;
    assert_true(ready(SHARD_RULE_CUT_OFF));
    assert_true(ready(SHARD_RULE_CONNECTED));
}

static void it_is_not_ready_before_a_server_has_been_reached(void **state)
{
    int a = engine_shard_take("a"), b = engine_shard_take("b");

    (void)state;
    assert_false(ready(SHARD_RULE_CUT_OFF));
    assert_false(ready(SHARD_RULE_CONNECTED));
    assert_true(ready(SHARD_RULE_IGNORE));
    engine_shard_set(a, SHARD_UP, NULL); /* connected, but nothing has come back */
    assert_false(ready(SHARD_RULE_CUT_OFF));
    engine_shard_heard(b);
    assert_true(ready(SHARD_RULE_CUT_OFF));
    engine_shards_begin(); /* another hub of the same node */
    engine_shard_take("a");
    assert_true(ready(SHARD_RULE_CUT_OFF));
}

static void a_fleet_does_not_go_unready_together(void **state)
{
    int a = engine_shard_take("a"), b = engine_shard_take("b");

    (void)state;
    connect(a);
    connect(b);
    engine_shards_heard_others();
    pass(NS_PER_SEC);
    engine_shard_set(a, SHARD_DOWN, "gone");
    pass(AFTER + 1);
    assert_true(ready(SHARD_RULE_CUT_OFF)); /* nobody was heard since: all may be cut off */
    assert_false(ready(SHARD_RULE_CONNECTED));
    engine_shards_heard_others();
    assert_false(ready(SHARD_RULE_CUT_OFF));
    assert_true(ready(SHARD_RULE_IGNORE));
    connect(a);
    assert_true(ready(SHARD_RULE_CUT_OFF));
    assert_true(ready(SHARD_RULE_CONNECTED));
}

static void a_short_absence_is_no_matter(void **state)
{
    int a = engine_shard_take("a");

    (void)state;
    connect(a);
    pass(1);
    engine_shard_set(a, SHARD_DOWN, "gone");
    pass(AFTER);
    engine_shards_heard_others();
    assert_true(ready(SHARD_RULE_CUT_OFF));
    assert_true(ready(SHARD_RULE_CONNECTED));
    pass(1);
    assert_false(ready(SHARD_RULE_CUT_OFF));
    assert_false(ready(SHARD_RULE_CONNECTED));
}

/* To be connected is not to be heard. */
static void only_what_comes_back_ends_an_absence(void **state)
{
    int a = engine_shard_take("a");

    (void)state;
    connect(a);
    engine_shard_set(a, SHARD_DOWN, "gone");
    for (unsigned i = 0; i < 4; i++) {
        pass(AFTER / 3);
        engine_shard_set(a, SHARD_UP, NULL);
        engine_shard_set(a, SHARD_DOWN, "gone again");
    }
    assert_false(ready(SHARD_RULE_CONNECTED));
    assert_int_equal(shown(0).state, SHARD_DOWN);
    assert_string_equal(shown(0).why, "gone again");
    engine_shard_heard(a);
    assert_true(ready(SHARD_RULE_CONNECTED));
}

static void restoring_for_too_long_counts_only_where_all_must_be_well(void **state)
{
    int a = engine_shard_take("a");

    (void)state;
    engine_shard_heard(a);
    engine_shard_set(a, SHARD_RESTORING, NULL);
    pass(AFTER + 1);
    engine_shards_heard_others();
    assert_true(ready(SHARD_RULE_CUT_OFF));
    assert_false(ready(SHARD_RULE_CONNECTED));
    engine_shard_set(a, SHARD_DEGRADED, "OOM");
    assert_true(ready(SHARD_RULE_CONNECTED));
}

static void an_absence_outlives_the_hub(void **state)
{
    int a = engine_shard_take("a"), b = engine_shard_take("b");
    uint64_t since;

    (void)state;
    connect(a);
    connect(b);
    engine_shard_set(a, SHARD_DOWN, "gone");
    since = clock_ns();
    pass(10);
    (void)change(b); /* it dies while it writes */
    engine_shards_begin();
    assert_int_equal(engine_shards->place[b].version % 2, 0);
    a = engine_shard_take("a");
    b = engine_shard_take("b");
    assert_true(shown(0).away_ns == since);
    assert_true(shown(1).away_ns == clock_ns()); /* that one is away since the hub is */
    engine_shard_give(b);
    assert_string_equal(shown(0).name, "a");
}

static void more_than_there_is_room_for_are_not_shown(void **state)
{
    struct engine_shard s;
    unsigned n = 0, i = 0;
    char name[600];

    (void)state;
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    for (unsigned k = 0; k < ENGINE_SHARDS_MAX; k++)
        assert_int_equal(engine_shard_take(name), k);
    assert_int_equal(engine_shard_take("y"), -1);
    connect(-1);
    engine_shard_give(-1);
    engine_shard_set(3, SHARD_DOWN, name);
    while (engine_shard_next(&i, &s)) {
        n++;
        assert_int_equal(strlen(s.name), sizeof(s.name) - 1);
    }
    assert_int_equal(n, ENGINE_SHARDS_MAX);
    engine_shard_give(5); /* its place goes to whoever comes */
    assert_int_equal(engine_shard_take("y"), 5);
    for (unsigned k = 0; k < SHARD_STATE_NR; k++)
        assert_non_null(shard_state_name((enum shard_state)k));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(without_servers_a_node_is_ready, setup),
        cmocka_unit_test_setup(it_is_not_ready_before_a_server_has_been_reached, setup),
        cmocka_unit_test_setup(a_fleet_does_not_go_unready_together, setup),
        cmocka_unit_test_setup(a_short_absence_is_no_matter, setup),
        cmocka_unit_test_setup(only_what_comes_back_ends_an_absence, setup),
        cmocka_unit_test_setup(restoring_for_too_long_counts_only_where_all_must_be_well, setup),
        cmocka_unit_test_setup(an_absence_outlives_the_hub, setup),
        cmocka_unit_test_setup(more_than_there_is_room_for_are_not_shown, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
