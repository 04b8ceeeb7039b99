/* The worker's end of the link: what it owes the hub, announcing, what it accepts. */
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

    while (broker_publish(broker, STR_LIT("filler"), (struct str){.p = blob, .n = 200}, 0, 0) == 0)
        n++;
    while (broker_fence(broker, 0) == 0)
        n++;
    flush();
    return n;
}

static void drain(unsigned n)
{
    while (n-- > 0)
        assert_non_null(from_broker());
}

static void publish_fence_list(void **state)
{
    const struct record *r;
    bool more;

    (void)state;
    expect_record(RECORD_HELLO, "");
    clock_set_virtual(777);
    assert_int_equal(
        broker_publish(broker, STR_LIT("a"), STR_LIT("data"), RECORD_BINARY | RECORD_WANT_ACK, 5),
        0);
    assert_int_equal(broker_fence(broker, 6), 0);
    assert_int_equal(broker_list(broker, 7, STR_LIT("*"), 100), 0);
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
    assert_int_equal(broker_list(broker, 7, (struct str){.p = blob, .n = 256}, 100), -1);
}

static void sleeping_and_waking(void **state)
{
    struct client a;
    bool more;

    (void)state;
    expect_record(RECORD_HELLO, "");
    assert_true(ring_sleep(&hub_in));
    assert_false(broker_flush(broker, &more));
    assert_int_equal(broker_fence(broker, 1), 0);
    assert_true(broker_flush(broker, &more));
    assert_int_equal(broker_fence(broker, 1), 0);
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

static void a_full_ring_refuses(void **state)
{
    unsigned n = fill();

    (void)state;
    assert_true(n > 10);
    assert_false(broker_can_publish(broker, 1, 1));
    assert_int_equal(broker_fence(broker, 1), -1);
    assert_int_equal(broker_publish(broker, STR_LIT("a"), STR_NULL, 0, 0), -1);
    expect_record(RECORD_HELLO, "");
    drain(n);
    assert_true(broker_can_publish(broker, 1, 1));
    assert_false(broker_can_publish(broker, SIZE_MAX, 1));
    assert_false(broker_can_publish(broker, 1, SIZE_MAX));
    assert_false(broker_can_publish(broker, SIZE_MAX, SIZE_MAX));
}

/* What broker_can_publish_to() promises is kept. */
static void the_promise_is_kept(void **state)
{
    unsigned seed = 2;
    char name[CHANNEL_NAME_MAX];

    (void)state;
    memset(name, 'n', sizeof(name));
    for (int round = 0; round < 2000; round++) {
        size_t bytes = (size_t)rand_r(&seed) % 3000, messages = 1 + (size_t)rand_r(&seed) % 8;
        size_t name_max = 1 + (size_t)rand_r(&seed) % CHANNEL_NAME_MAX;

        if (broker_can_publish_to(broker, name_max, bytes, messages)) {
            for (size_t i = messages; i > 0; i--) {
                size_t n = i == 1 ? bytes : (size_t)rand_r(&seed) % (bytes + 1);

                bytes -= n;
                assert_int_equal(
                    broker_publish(
                        broker, (struct str){.p = name, .n = 1 + (size_t)rand_r(&seed) % name_max},
                        (struct str){.p = blob, .n = n}, 0, 0),
                    0);
            }
            flush();
        }
        for (int i = rand_r(&seed) % 5; i > 0; i--)
            from_broker();
    }
}

/* Nothing that is owed is forgotten, and publishers do not get ahead of it for ever. */
static void owed_until_there_is_room(void **state)
{
    struct client live, gone, fresh, more_of_live;
    bool more;
    unsigned n;

    (void)state;
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

static void a_flush_is_bounded(void **state)
{
    static struct client c[1000];
    char name[16];
    bool more = true;
    unsigned flushes = 0, asked = 0;
    const struct record *r;

    (void)state;
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

static void hello_waits_for_room(void **state)
{
    unsigned n = fill();
    struct client a;
    bool more;

    (void)state;
    broker_free(broker);
    broker_start(2);
    assert_false(broker_can_publish(broker, 0, 1));
    assert_int_equal(broker_fence(broker, 1), -1);
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

static void the_first_hub(void **state)
{
    (void)state;
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

static void every_channel_is_announced(void **state)
{
    static struct client c[50];
    struct client gone;
    struct broker_stats s;
    char name[16];
    const struct record *r;
    bool seen[50] = {false};

    (void)state;
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

static void announced_only_when_all_has_been_written(void **state)
{
    static struct client c[400];
    char name[64];
    const struct record *r;
    unsigned asked = 0;
    bool more = true, announced = false;

    (void)state;
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
            assert_false(announced);
            announced = r->kind == RECORD_ANNOUNCED;
            asked += r->kind == RECORD_SUBSCRIBE;
        }
    }
    assert_true(announced);
    assert_int_equal(asked, 400);
}

static void joining_while_announcing(void **state)
{
    struct client a, b, c;

    (void)state;
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

static void answers_reach_their_askers_once(void **state)
{
    (void)state;
    struct record r = {
        .kind = RECORD_PUBLISHED, .token = 4, .epoch = 1, .offset = 1, .position = 100};

    assert_true(to_broker(r));
    assert_true(to_broker(r)); /* a hub that died before it gave our record back */
    r.kind = RECORD_FENCED;
    r.token = 5;
    assert_true(to_broker(r)); /* the same position cannot be: a repetition */
    r.position = 108;
    assert_true(to_broker(r));
    assert_true(to_broker(r));
    turn();
    assert_int_equal(npublished, 1);
    assert_int_equal(nfenced, 1);
    assert_int_equal(published_token, 4);
    assert_int_equal(fenced_token, 5);
    assert_true(to_broker((struct record){.kind = RECORD_LISTED, .token = 6}));
    assert_true(
        to_broker((struct record){.kind = RECORD_LISTED, .token = 6, .flags = RECORD_LAST}));
    turn();
    assert_int_equal(nlisted, 2);
}

static void repeated_publications_are_skipped(void **state)
{
    struct client a;
    uint32_t id = join_live(&a, "a");
    struct record r = {.kind = RECORD_PUBLICATION, .chan = id, .data = STR_LIT("x")};

    (void)state;
    assert_true(to_broker(r)); /* position 0, source 0 */
    assert_true(to_broker(r));
    r.source = 1; /* another ring */
    assert_true(to_broker(r));
    assert_true(to_broker(r));
    r.position = 800;
    assert_true(to_broker(r));
    r.position = 400;
    assert_true(to_broker(r));
    r.source = HUB_WORKERS_MAX;
    assert_true(to_broker(r));
    r.source = UINT16_MAX;
    assert_true(to_broker(r));
    turn();
    assert_string_equal(a.log, "S(x)(x)(x)");
    assert_int_equal(metrics->duplicates, 3);
    assert_int_equal(metrics->ring_bad_records, 2);
}

static void records_for_an_old_incarnation(void **state)
{
    struct client a;
    uint32_t id = join_live(&a, "a");
    uint64_t bad = metrics->ring_bad_records;

    (void)state;
    for (uint8_t kind = RECORD_SUBSCRIBED; kind < RECORD_KIND_NR; kind++)
        assert_true(to_broker(
            (struct record){.kind = kind, .generation = 9, .chan = id, .data = STR_LIT("x")}));
    turn();
    assert_string_equal(a.log, "S");
    assert_int_equal(npublished + nfenced + nlisted, 0);
    assert_int_equal(metrics->ring_bad_records - bad, RECORD_KIND_NR - RECORD_SUBSCRIBED);
}

static void unknown_channels_and_kinds(void **state)
{
    struct client a;

    (void)state;
    join(&a, "a"); /* not asked yet */
    send_publication(a.sub.chan->id, "x");
    send_subscribed(a.sub.chan->id);
    send_publication(99, "x");
    send_subscribed(0);
    assert_true(to_broker((struct record){.kind = RECORD_LOST, .chan = 99}));
    assert_true(to_broker((struct record){.kind = RECORD_LOST, .chan = a.sub.chan->id}));
    assert_true(to_broker((struct record){.kind = RECORD_PUBLISH}));
    turn();
    assert_string_equal(a.log, "");
    assert_int_equal(metrics->ring_bad_records, 1);
}

static void the_backlog_is_bounded(void **state)
{
    struct client a;
    uint32_t id = join_live(&a, "a");

    (void)state;
    config.publication_backlog = 1000;
    for (int i = 0; i < 10; i++)
        assert_true(to_broker((struct record){.kind = RECORD_PUBLICATION,
                                              .chan = id,
                                              .position = (uint64_t)i,
                                              .data = {.p = blob, .n = 300}}));
    assert_true(broker_receive(broker, 100));
    assert_true(broker_receive(broker, 100));
    assert_int_equal(metrics->publications_out, 4);
    assert_true(broker->backlog > 1000 && broker->backlog < 1400);
    while (task_run(&tasks, NS_PER_SEC)) {
    }
    assert_int_equal(broker->backlog, 0);
    assert_true(broker_receive(broker, 2)); /* and by the number of records */
    assert_int_equal(metrics->publications_out, 6);
    config.publication_backlog = 1 << 20;
    assert_false(broker_receive(broker, 4));
}

static void malformed_records(void **state)
{
    struct client a;
    uint32_t id = join_live(&a, "a");
    static const size_t sizes[] = {0, 1, 63, 64, 65, 500};
    uint64_t bad = metrics->ring_bad_records;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        void *p = ring_reserve(&hub_out, sizes[i]);

        memset(p, 0xee, sizes[i]);
    }
    ring_commit(&hub_out);
    send_publication(id, "x");
    turn();
    assert_int_equal(metrics->ring_bad_records - bad, ARRAY_LEN(sizes));
    assert_string_equal(a.log, "S(x)");
}

/* Memory gone wrong: everybody is told, and the link goes on. */
static void a_corrupt_ring(void **state)
{
    struct client a, b;
    uint32_t id = join_live(&a, "a");
    uint64_t nonsense = 1 << 30;

    (void)state;
    join_live(&b, "b");
    broker_hub_generation(broker, 1);
    turn();
    while (from_broker() != NULL) {
    }
    send_publication(id, "x");
    memcpy(from_hub->data + (atomic_load(&from_hub->head) & (RING_SIZE - 1)), &nonsense, 8);
    turn();
    assert_string_equal(a.log, "SL");
    assert_string_equal(b.log, "SL");
    from_broker();
    from_broker();
    assert_int_equal(expect_record(RECORD_ANNOUNCED, "")->count, 1);
    send_publication(id, "y");
    turn();
    assert_string_equal(a.log, "SL(y)");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, broker_setup, broker_teardown)
    const struct CMUnitTest tests[] = {
        T(publish_fence_list),
        T(sleeping_and_waking),
        T(a_full_ring_refuses),
        T(the_promise_is_kept),
        T(owed_until_there_is_room),
        T(a_flush_is_bounded),
        T(hello_waits_for_room),
        T(the_first_hub),
        T(every_channel_is_announced),
        T(announced_only_when_all_has_been_written),
        T(joining_while_announcing),
        T(answers_reach_their_askers_once),
        T(repeated_publications_are_skipped),
        T(records_for_an_old_incarnation),
        T(unknown_channels_and_kinds),
        T(the_backlog_is_bounded),
        T(malformed_records),
        T(a_corrupt_ring),
    };

    return cmocka_run_group_tests_name("core/broker_link", tests, NULL, NULL);
}
