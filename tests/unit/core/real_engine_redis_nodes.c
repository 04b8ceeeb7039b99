/* Members over nodes: several Redis engines in one process and a real server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/config.h"
#include "base/metrics.h"
#include "core/channel_options.h"
#include "core/engine_redis_presence.c"

#include "fault.h"
#include "redis_nodes.h"

static void members_of_all_nodes_are_one_list(void **state)
{
    (void)state;
    come(0, "c1", "ann");
    come(1, "c2", "bob");
    come(2, "c3", "ann");
    for (unsigned i = 0; i < NODES; i++) {
        assert_true(counts(i, 3, 2));
        assert_string_equal(list(i, 64), "c1 c2 c3 ");
        assert_string_equal(list(i, 1), "c1 c2 c3 ");
        assert_string_equal(nodes[i].told, "+c1 +c2 +c3 ");
    }
    told_nothing();
    go(0, "c1", "ann");
    assert_true(counts(1, 2, 2));
    go(2, "c3", "ann");
    assert_true(counts(1, 1, 1));
    for (unsigned i = 0; i < NODES; i++)
        assert_string_equal(nodes[i].told, "-c1 -c3 ");
}

/* It is the node's to which it came last. */
static void a_client_that_moves_is_one_member(void **state)
{
    (void)state;
    come(0, "c1", "ann");
    come(1, "c1", "bob");
    assert_true(counts(2, 1, 1));
    go(0, "c1", "ann");
    assert_true(counts(2, 1, 1));
    assert_string_equal(list(2, 64), "c1 ");
    go(1, "c1", "bob");
    assert_true(counts(2, 0, 0));
}

static void a_dead_node_is_tidied_up_behind(void **state)
{
    (void)state;
    come(0, "c1", "ann");
    for (char client[] = "d1"; client[1] <= '3'; client[1]++)
        come(2, client, "bob");
    change(2, PRESENCE_SET, (struct somebody){"quiet", "eve", NULL, 0, 0, 0});
    all_idle();
    told_nothing();
    kill_node(2);
    UNTIL(strcmp(list(1, 64), "c1 ") == 0);
    UNTIL(counts(1, 1, 1));
    all_idle();
    assert_string_equal(nodes[0].told, "-d1 -d2 -d3 ");
    assert_string_equal(nodes[1].told, "-d1 -d2 -d3 ");
}

/* Nobody has ever heard of it. */
static void who_died_with_all_others_is_tidied_up_behind(void **state)
{
    (void)state;
    come(2, "d1", "bob");
    for (unsigned i = 0; i < NODES; i++)
        kill_node(i);
    begin(0, false);
    begin(1, false);
    come(0, "c1", "ann");
    UNTIL(counts(1, 1, 1));
    all_idle();
    assert_string_equal(list(1, 64), "c1 ");
}

static void who_was_taken_for_dead_comes_back(void **state)
{
    (void)state;
    come(0, "c1", "ann");
    come(1, "c2", "bob");
    change(1, PRESENCE_SET, (struct somebody){"quiet", "eve", NULL, 0, 0, 0});
    all_idle();
    nodes[1].still = true;
    told_nothing();
    UNTIL(counts(0, 1, 1));
    assert_string_equal(nodes[0].told, "-c2 ");
    nodes[1].still = false;
    UNTIL(counts(0, 3, 3));
    all_idle();
    assert_string_equal(nodes[0].told, "-c2 +c2 ");
}

/* What was known to all is not news. */
static void a_server_that_has_forgotten_is_told_again(void **state)
{
    (void)state;
    come(0, "c1", "ann");
    come(1, "c2", "bob");
    told_nothing();
    redis_kill();
    redis_start();
    UNTIL(counts(0, 2, 2) && nodes[0].answer == ENGINE_OK);
    all_idle();
    assert_string_equal(list(2, 64)[0] == 'c' ? "listed" : "not", "listed");
    for (unsigned i = 0; i < NODES; i++)
        assert_string_equal(nodes[i].told, "");
}

/* Keys that somebody removes are found when they are renewed. */
static void keys_that_are_gone_are_written_again(void **state)
{
    (void)state;
    come(0, "c1", "ann");
    told_nothing();
    redis_say("DEL t:p:a t:pu:a\r\n");
    assert_true(counts(1, 0, 0));
    redis_of(nodes[0].engine)->presence->renewed_ns -= 300 * NS_PER_SEC;
    UNTIL(counts(1, 1, 1));
    all_idle();
    for (unsigned i = 0; i < NODES; i++)
        assert_string_equal(nodes[i].told, "");
}

static void cut(unsigned i)
{
    redis_test.refuse = true;
    redis_server_restart(((struct redis *)(void *)nodes[i].engine)->servers[0], ENDING_CLOSED);
    UNTIL(redis_server_given_up(((struct redis *)(void *)nodes[i].engine)->servers[0]));
}

static void who_comes_and_goes_meanwhile_is_told_afterwards(void **state)
{
    unsigned before;

    (void)state;
    come(0, "c1", "ann");
    come(0, "c2", "bob");
    come(1, "c3", "bob");
    cut(0);
    told_nothing();
    before = nodes[0].done;
    change(0, PRESENCE_CLEAR, (struct somebody){"c1", "ann", NULL, 0, 0, PRESENCE_TELL});
    change(0, PRESENCE_SET, (struct somebody){"c4", "eve", NULL, 0, 0, PRESENCE_TELL});
    assert_int_equal(nodes[0].done, before + 2); /* it is this node's part now */
    assert_int_equal(nodes[0].status, ENGINE_OK);
    redis_test.refuse = false;
    UNTIL(counts(1, 3, 2));
    all_idle();
    UNTIL(strcmp(nodes[1].told, "+c4 -c1 ") == 0);
    assert_true(counts(0, 3, 2));
}

/* The hub is another one, the node is the same: what its workers do not say again has gone. */
static void a_hub_that_was_started_again(void **state)
{
    (void)state;
    come(0, "c1", "ann");
    change(0, PRESENCE_SET, (struct somebody){"c2", "bob", NULL, 1, 0, PRESENCE_TELL});
    change(0, PRESENCE_SET, (struct somebody){"c3", "eve", NULL, 2, 0, PRESENCE_TELL});
    come(1, "c4", "bob");
    kill_node(0);
    begin(0, true);
    told_nothing();
    /* One that the old hub had written, read from the ring again; one announced; one new. */
    change(0, PRESENCE_SET, (struct somebody){"c1", "ann", NULL, 0, 0, PRESENCE_TELL});
    change(0, PRESENCE_SET,
           (struct somebody){"c3", "eve", NULL, 2, 0, PRESENCE_TELL | PRESENCE_AGAIN});
    change(0, PRESENCE_SET, (struct somebody){"c5", "eve", NULL, 2, 0, PRESENCE_TELL});
    all_idle();
    assert_true(counts(1, 5, 3));
    assert_string_equal(nodes[1].told, "+c5 ");
    forget_all(0, 0, 0);
    forget_all(0, 2, 0);
    all_idle();
    assert_true(counts(1, 5, 3)); /* owner 1 has said nothing yet */
    forget_all(0, 1, 0);
    UNTIL(counts(1, 4, 3));
    all_idle();
    assert_string_equal(nodes[1].told, "+c5 -c2 ");
    /* A leave that the old hub had told. */
    change(0, PRESENCE_CLEAR, (struct somebody){"c2", "bob", NULL, 1, 0, PRESENCE_TELL});
    all_idle();
    assert_string_equal(nodes[1].told, "+c5 -c2 ");
}

static void a_channel_with_many_members(void **state)
{
    char client[16];

    (void)state;
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(client, sizeof(client), "%05u", i);
        change(i % NODES, PRESENCE_SET,
               (struct somebody){client, "ann", "\"some text that makes it a table\"", 0, 0, 0});
    }
    all_idle();
    assert_true(counts(0, MANY, 1));
    list(1, 64);
    assert_int_equal(nodes[1].nlisted, MANY);
    kill_node(2);
    UNTIL(counts(1, MANY - MANY / 3, 1));
    list(1, 64);
    assert_int_equal(nodes[1].nlisted, MANY - MANY / 3);
}

/* While it grows and shrinks, whoever is there all the time is listed once. */
static void many_come_and_go_between_steps(void **state)
{
    struct engine_cursor cursor = {0};
    const struct engine_presence ask = {
        .op = PRESENCE_LIST, .channel = STR_LIT("a"), .limit = 16, .cursor = &cursor};
    unsigned seen[300] = {0}, n = 0;
    char client[16];

    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        snprintf(client, sizeof(client), "%05u", i);
        change(0, PRESENCE_SET,
               (struct somebody){client, "ann", "\"some text that makes it a table\"", 0, 0, 0});
    }
    all_idle();
    while (!cursor.ended) {
        unsigned before = nodes[1].answered;

        nodes[1].listed[0] = '\0';
        nodes[1].engine->ops->presence(nodes[1].engine, &ask, QUESTION);
        UNTIL(nodes[1].answered == before + 1);
        for (char *at = nodes[1].listed; *at != '\0'; at += 6)
            if (strtoul(at, NULL, 10) < 300)
                seen[strtoul(at, NULL, 10)]++;
        for (unsigned k = 0; k < 100 && n < 3000; k++, n++) {
            snprintf(client, sizeof(client), "%05u", 300 + n);
            change(
                0, PRESENCE_SET,
                (struct somebody){client, "bob", "\"some text that makes it a table\"", 0, 0, 0});
        }
        all_idle();
    }
    for (unsigned i = 0; i < 300; i++)
        assert_int_equal(seen[i], 1);
    assert_int_equal(redis_of(nodes[1].engine)->presence->seen_bytes, 0);
}

/* Whoever can write to the server may write anything. */
static void what_is_malformed_is_left_out(void **state)
{
    static const char *const values[] = {
        "HSET t:p:a x1 y\r\n",
        "HSET t:p:a x2 0000000000000001000000000001ffffu\r\n",
        "HSET t:p:a x3 0000000000000001000000000001zzzzu\r\n",
        "HSET t:p:a x4 000000000000000100000000000100000123456789\r\n",
        "HSET t:p:a x5 00000000000000010000000000020000\r\n",
        "PUBLISH t:c:a gone:\r\n",
        "PUBLISH t:c:a gone:000000000000000100000000000100000123456789\r\n",
        "PUBLISH t:c:a 0:0:x\r\n",
        "SADD t:po:0 zz 0000000000000009 00000000000000090\r\n",
    };
    uint64_t before = metrics->engine_malformed;

    (void)state;
    come(0, "c1", "ann");
    told_nothing();
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        redis_say(values[i]);
    all_idle();
    assert_string_equal(list(1, 2), "c1 ");
    assert_true(metrics->engine_malformed >= before + 5);
    go(0, "c1", "ann");
    for (unsigned i = 0; i < NODES; i++)
        assert_string_equal(nodes[i].told, "-c1 ");
    come(0, "x2", "ann"); /* in the place of what makes no sense */
    assert_string_equal(list(1, 64), "x2 ");
}

/* Each allocation that fails leaves all of them complete, and the server with what is true in the end. */
static void without_memory_nothing_is_lost(void **state)
{
    (void)state;
    for (uint64_t k = 1; k <= 40; k++) {
        unsigned before = nodes[0].done;
        char client[16];

        snprintf(client, sizeof(client), "c%u", (unsigned)k);
        fail_at = k % 10;
        change(0, PRESENCE_SET, (struct somebody){client, "ann", NULL, 0, 0, PRESENCE_TELL});
        fail_at = 0;
        all_idle();
        assert_int_equal(nodes[0].done, before + 1);
        if (nodes[0].status == ENGINE_OK)
            UNTIL(strstr(list(1, 64), client) != NULL);
        go(0, client, "ann");
        UNTIL(counts(1, 0, 0));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(members_of_all_nodes_are_one_list),
        TEST(a_client_that_moves_is_one_member),
        TEST(a_dead_node_is_tidied_up_behind),
        TEST(who_died_with_all_others_is_tidied_up_behind),
        TEST(who_was_taken_for_dead_comes_back),
        TEST(a_server_that_has_forgotten_is_told_again),
        TEST(keys_that_are_gone_are_written_again),
        TEST(who_comes_and_goes_meanwhile_is_told_afterwards),
        TEST(a_hub_that_was_started_again),
        TEST(a_channel_with_many_members),
        TEST(many_come_and_go_between_steps),
        TEST(what_is_malformed_is_left_out),
        TEST(without_memory_nothing_is_lost),
    };

    return cmocka_run_group_tests(tests, redis_group_setup, redis_group_teardown);
}
