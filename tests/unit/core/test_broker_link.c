/* The worker's end of the link: what it owes the hub, announcing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/broker_link.c"

#include "broker_harness.h"

static char blob[RING_SIZE];

/* Writes until not even the smallest record fits the ring to the hub; returns how many. */
static unsigned fill(void)
{
    unsigned n = 0;

    while (publish(STR_LIT("filler"), (struct str){.p = blob, .n = 200}, 0, 0) == 0)
        n++;
    while (broker_fence(broker, asker(0)) == 0)
        n++;
    flush();
    return n;
}

static void drain(unsigned n)
{
    while (n-- > 0)
        assert_non_null(from_broker());
}

static void publish_fence_list(void **state UNUSED)
{
    const struct record *r;
    bool more;

    expect_record(RECORD_HELLO, "");
    clock_set_virtual(777);
    assert_int_equal(publish(STR_LIT("a"), STR_LIT("data"), RECORD_BINARY | RECORD_WANT_ACK, 5), 0);
    assert_int_equal(broker_fence(broker, asker(6)), 0);
    assert_int_equal(broker_list(broker, asker(7), STR_LIT("*"), 100, NULL), 0);
    expect_nothing(); /* the end of the turn commits */
    assert_false(broker_flush(broker, &more));
    assert_false(more);
    r = expect_record(RECORD_PUBLISH, "a");
    assert_true(str_equal(r->data, STR_LIT("data")));
    assert_int_equal(r->flags, RECORD_BINARY | RECORD_WANT_ACK);
    assert_int_equal(r->token, 5);
    assert_int_equal(r->time_ns, 777);
    assert_int_equal(expect_record(RECORD_FENCE, "")->token, 6);
    r = expect_record(RECORD_LIST, "*");
    assert_true(r->token == 7 && r->count == 100);
    assert_int_equal(metrics->publications_in, 1);
    assert_int_equal(broker_list(broker, asker(7), (struct str){.p = blob, .n = 256}, 100, NULL),
                     -1);
}

/* What it lacks room for may be records that nobody was woken for. */
static void a_refused_publisher_wakes_the_hub(void **state UNUSED)
{
    bool more;

    expect_record(RECORD_HELLO, "");
    assert_true(ring_sleep(&hub_in));
    assert_false(broker_flush(broker, &more));
    assert_true(broker_can_publish(broker, 100, 1));
    assert_false(broker_flush(broker, &more));
    assert_false(broker_can_publish(broker, (size_t)1 << 30, 1));
    assert_true(broker_flush(broker, &more));
    assert_false(broker_flush(broker, &more));
}

static void sleeping_and_waking(void **state UNUSED)
{
    struct client a;
    bool more;

    expect_record(RECORD_HELLO, "");
    assert_true(ring_sleep(&hub_in));
    assert_false(broker_flush(broker, &more));
    assert_int_equal(broker_fence(broker, asker(1)), 0);
    assert_true(broker_flush(broker, &more));
    assert_int_equal(broker_fence(broker, asker(1)), 0);
    assert_false(broker_flush(broker, &more)); /* it has been woken */
    assert_true(broker_sleep(broker));
    broker_awake(broker);
    join_live(&a, "lobby");
    send_publication(a.sub.chan->id, "x");
    assert_false(broker_sleep(broker));
    turn();
    assert_true(broker_sleep(broker));
    send_publication(a.sub.chan->id, "y");
    assert_true(ring_wake_needed(&hub_out));
}

static void a_full_ring_refuses(void **state UNUSED)
{
    unsigned n = fill();

    assert_true(n > 10);
    assert_false(broker_can_publish(broker, 1, 1));
    assert_int_equal(broker_fence(broker, asker(1)), -1);
    assert_int_equal(publish(STR_LIT("a"), STR_NULL, 0, 0), -1);
    expect_record(RECORD_HELLO, "");
    drain(n);
    assert_true(broker_can_publish(broker, 1, 1));
    assert_false(broker_can_publish(broker, SIZE_MAX, 1));
    assert_false(broker_can_publish(broker, 1, SIZE_MAX));
    assert_false(broker_can_publish(broker, SIZE_MAX, SIZE_MAX));
}

/* What broker_can_publish_to() promises is kept. */
static void the_promise_is_kept(void **state UNUSED)
{
    unsigned seed = 2;
    char name[CHANNEL_NAME_MAX];

    memset(name, 'n', sizeof(name));
    for (int round = 0; round < 2000; round++) {
        size_t bytes = (size_t)rand_r(&seed) % 3000, messages = 1 + (size_t)rand_r(&seed) % 8;
        size_t name_max = 1 + (size_t)rand_r(&seed) % CHANNEL_NAME_MAX;

        if (broker_can_publish_to(broker, name_max, bytes, messages)) {
            for (size_t i = messages; i > 0; i--) {
                size_t n = i == 1 ? bytes : (size_t)rand_r(&seed) % (bytes + 1);

                bytes -= n;
                assert_int_equal(
                    publish((struct str){.p = name, .n = 1 + (size_t)rand_r(&seed) % name_max},
                            (struct str){.p = blob, .n = n}, 0, 0),
                    0);
            }
            flush();
        }
        for (int i = rand_r(&seed) % 5; i > 0; i--)
            from_broker();
    }
}

/* Who may bring a long message is not held before an empty ring, wherever that begins. */
static void an_empty_ring_takes_a_read(void **state UNUSED)
{
    const size_t name_max = 100, bytes = RING_SIZE / 4, messages = 40;

    expect_record(RECORD_HELLO, "");
    for (size_t i = 0; i < 2 * RING_SIZE / 64; i++) {
        assert_true(broker_can_publish_to(broker, name_max, bytes, messages));
        assert_int_equal(publish(STR_LIT("a"), STR_NULL, 0, 0), 0);
        flush();
        expect_record(RECORD_PUBLISH, "a");
    }
}

/* Nothing that is owed is forgotten, and publishers do not get ahead of it for ever. */
static void owed_until_there_is_room(void **state UNUSED)
{
    struct client live, gone, fresh, more_of_live;
    bool more;
    unsigned n;

    join_live(&live, "live");
    join_live(&gone, "gone");
    n = fill();
    join(&more_of_live, "live");
    leave(&gone);
    join(&fresh, "fresh");
    broker_flush(broker, &more);
    assert_true(more);
    assert_false(broker_can_publish(broker, 0, 1));
    drain(n);
    assert_false(broker_can_publish(broker, 0, 1)); /* first what is owed */
    broker_flush(broker, &more);
    assert_false(more);
    assert_true(broker_can_publish(broker, 0, 1));
    expect_record(RECORD_SUBSCRIBE, "fresh");
    assert_int_equal(expect_record(RECORD_COUNT, "live")->count, 2);
    expect_record(RECORD_UNSUBSCRIBE, "gone");
    expect_nothing();
}

static void a_flush_is_bounded(void **state UNUSED)
{
    static struct client c[1000];
    char name[16];
    bool more = true;
    unsigned flushes = 0, asked = 0;
    const struct record *r;

    for (unsigned i = 0; i < ARRAY_LEN(c); i++) {
        snprintf(name, sizeof(name), "c%u", i);
        join(&c[i], name);
    }
    while (more) {
        broker_flush(broker, &more);
        flushes++;
        while ((r = from_broker()) != NULL)
            asked += r->kind == RECORD_SUBSCRIBE;
    }
    assert_int_equal(asked, 1000);
    assert_true(flushes >= 1000 * 80 / RING_SIZE);
}

static void hello_waits_for_room(void **state UNUSED)
{
    unsigned n = fill();
    struct client a;
    bool more;

    broker_free(broker);
    broker_start(2);
    assert_false(broker_can_publish(broker, 0, 1));
    assert_int_equal(broker_fence(broker, asker(1)), -1);
    join(&a, "lobby");
    broker_flush(broker, &more);
    assert_true(more);
    expect_record(RECORD_HELLO, "");
    drain(n);
    broker_flush(broker, &more);
    assert_false(more);
    assert_int_equal(expect_record(RECORD_HELLO, "")->generation, 2);
    assert_int_equal(expect_record(RECORD_SUBSCRIBE, "lobby")->generation, 2);
}

/* --- a new hub --- */

static void the_first_hub(void **state UNUSED)
{
    expect_record(RECORD_HELLO, "");
    assert_true(broker_can_publish(broker, 0, 1));
    broker_hub_generation(broker, 0); /* none yet */
    turn();
    expect_nothing();
    broker_hub_generation(broker, 1);
    assert_false(broker_can_publish(broker, 0, 1));
    turn();
    assert_int_equal(expect_record(RECORD_ANNOUNCED, "")->count, 1);
    assert_true(broker_can_publish(broker, 0, 1));
    broker_hub_generation(broker, 1);
    turn();
    expect_nothing();
}

static void every_channel_is_announced(void **state UNUSED)
{
    static struct client c[50];
    struct client gone;
    struct broker_stats s;
    char name[16];
    const struct record *r;
    bool seen[50] = {false};

    for (unsigned i = 0; i < ARRAY_LEN(c); i++) {
        snprintf(name, sizeof(name), "%u", i);
        join_live(&c[i], name);
    }
    join_live(&gone, "gone");
    leave(&gone);
    broker_hub_generation(broker, 2);
    broker_stats(broker, &s);
    assert_true(s.announcing);
    while (task_run(&tasks, NS_PER_SEC)) {
    }
    flush();
    for (unsigned i = 0; i < ARRAY_LEN(c); i++) {
        uint64_t n;

        r = from_broker();
        assert_int_equal(r->kind, RECORD_SUBSCRIBE);
        assert_int_equal(r->count, 1);
        assert_int_equal(str_to_u64(r->name, &n), 0);
        assert_false(seen[n]);
        seen[n] = true;
        assert_int_equal(r->chan, c[n].sub.chan->id);
    }
    assert_int_equal(expect_record(RECORD_ANNOUNCED, "")->count, 2);
    expect_record(RECORD_UNSUBSCRIBE, "gone");
    expect_nothing();
    send_subscribed(c[7].sub.chan->id); /* changes nothing */
    turn();
    assert_string_equal(c[7].log, "S");
}

static void announced_only_when_all_has_been_written(void **state UNUSED)
{
    static struct client c[400];
    char name[64];
    const struct record *r;
    unsigned asked = 0;
    bool more = true, announced = false;

    for (unsigned i = 0; i < ARRAY_LEN(c); i++) {
        snprintf(name, sizeof(name), "a channel has a long name here:%u", i);
        for (char *p = name; *p != '\0'; p++)
            *p = *p == ' ' ? '_' : *p;
        join_live(&c[i], name);
    }
    broker_hub_generation(broker, 2);
    broker_hub_generation(broker, 3); /* the next one already */
    while (more) {
        while (task_run(&tasks, NS_PER_SEC)) {
        }
        broker_flush(broker, &more);
        assert_int_equal(broker_can_publish(broker, 0, 1), !more);
        while ((r = from_broker()) != NULL) {
            assert_true(!announced ||
                        r->kind == RECORD_FENCE); /* behind all that was asked before */
            announced |= r->kind == RECORD_ANNOUNCED;
            asked += r->kind == RECORD_SUBSCRIBE;
        }
    }
    assert_true(announced);
    assert_int_equal(asked, 400);
}

static void joining_while_announcing(void **state UNUSED)
{
    struct client a, b, c;

    join_live(&a, "a");
    broker_hub_generation(broker, 2);
    join(&b, "b");
    join(&c, "a");
    assert_string_equal(c.log, "S"); /* the hub publishes nothing before we have announced */
    turn();
    expect_record(RECORD_SUBSCRIBE, "b");
    assert_int_equal(expect_record(RECORD_SUBSCRIBE, "a")->count, 2);
    expect_record(RECORD_ANNOUNCED, "");
    expect_nothing();
}

/* --- what the hub sends --- */

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, broker_setup, broker_teardown)
    const struct CMUnitTest tests[] = {
        T(publish_fence_list),         T(a_refused_publisher_wakes_the_hub),
        T(sleeping_and_waking),        T(a_full_ring_refuses),
        T(the_promise_is_kept),        T(an_empty_ring_takes_a_read),
        T(owed_until_there_is_room),   T(a_flush_is_bounded),
        T(hello_waits_for_room),       T(the_first_hub),
        T(every_channel_is_announced), T(announced_only_when_all_has_been_written),
        T(joining_while_announcing),
    };

    return cmocka_run_group_tests_name("core/broker_link", tests, NULL, NULL);
}
