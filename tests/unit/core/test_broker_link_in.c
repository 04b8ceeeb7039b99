/* The worker's end of the link: what it accepts from the hub. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/broker_link.c"

#include "broker_harness.h"

static char blob[RING_SIZE];

static void answers_reach_their_askers_once(void **state UNUSED)
{
    struct record r = {
        .kind = RECORD_PUBLISHED, .token = 4, .epoch = 1, .offset = 1, .position = 100};

    assert_true(to_broker(r));
    assert_true(to_broker(r)); /* a hub that died before it gave our record back */
    r.kind = RECORD_FENCED;
    r.token = 5;
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

/* An engine's server may be there while another one is away: its answers come first, although they were
 * asked for later. */
static void askers_overtake_each_other(void **state UNUSED)
{
    struct record r = {.kind = RECORD_PUBLISHED, .epoch = 1, .offset = 1};
    const struct {
        uint64_t token, position;
        int told; /* how many times anybody has been told by then */
    } come[] = {
        {4, 300, 1}, {5, 100, 2}, {5, 100, 2}, {5, 200, 3}, {4, 300, 3}, {4, 400, 4}, {5, 200, 4},
    };

    for (size_t i = 0; i < ARRAY_LEN(come); i++) {
        r.token = come[i].token;
        r.position = come[i].position;
        assert_true(to_broker(r));
        turn();
        assert_int_equal(npublished, come[i].told);
    }
    r.kind = RECORD_FENCED; /* asked for before what has overtaken it */
    r.position = 350;
    assert_true(to_broker(r));
    assert_true(to_broker(r));
    turn();
    assert_int_equal(nfenced, 1);
}

/* An answer goes to the kind of session that asked; one for a kind that does not exist
 * to nobody. */
static void answers_for_nobody(void **state UNUSED)
{
    static const uint8_t none[] = {KINDS, 127, 128, 255};

    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        assert_true(to_broker(
            (struct record){.kind = RECORD_PUBLISHED, .asker = none[i], .position = i * 8}));
    turn();
    assert_int_equal(npublished, 0);
    assert_int_equal(metrics->ring_bad_records, ARRAY_LEN(none));
}

/* The engine is away: whoever waits is told, and so is whoever comes then; when it is back, those who
 * have stayed are subscribed. */
static void a_refused_subscription(void **state UNUSED)
{
    struct record no = {.kind = RECORD_SUBSCRIBED, .status = ENGINE_UNAVAILABLE};
    struct client a, b, c;

    join(&a, "a");
    join(&b, "a");
    a.ends = true;
    flush();
    expect_record(RECORD_HELLO, "");
    no.chan = expect_record(RECORD_SUBSCRIBE, "a")->chan;
    assert_true(to_broker(no));
    turn();
    assert_string_equal(a.log, "U");
    assert_string_equal(b.log, "");
    leave(&a);
    join(&c, "a"); /* asks again */
    flush();
    assert_int_equal(expect_record(RECORD_SUBSCRIBE, "a")->chan, no.chan);
    c.ends = true;
    assert_true(to_broker(no));
    turn();
    assert_string_equal(c.log, "U");
    send_subscribed(no.chan);
    turn();
    assert_string_equal(b.log, "S");
    assert_true(
        to_broker(no)); /* of a new hub, to whom it was announced: who is subscribed stays */
    send_publication(no.chan, "x");
    turn();
    assert_string_equal(b.log, "S(x)");
    leave(&b);
    leave(&c);
}

/* The last one leaves when it is refused, and another comes before the hub knows. */
static void a_refused_channel_is_asked_for_anew(void **state UNUSED)
{
    struct record no = {.kind = RECORD_SUBSCRIBED, .status = ENGINE_UNAVAILABLE};
    struct client a;

    join(&a, "a");
    a.ends = true;
    flush();
    expect_record(RECORD_HELLO, "");
    no.chan = expect_record(RECORD_SUBSCRIBE, "a")->chan;
    assert_true(to_broker(no));
    turn();
    leave(&a);
    join(&a, "a");
    flush();
    expect_record(RECORD_SUBSCRIBE, "a");
    expect_nothing();
    leave(&a);
    flush();
    expect_record(RECORD_UNSUBSCRIBE, "a");
    assert_true(to_broker(no)); /* nobody is there any more */
    turn();
}

static void repeated_publications_are_skipped(void **state UNUSED)
{
    struct client a;
    uint32_t id = join_live(&a, "a");
    struct record r = {.kind = RECORD_PUBLICATION, .chan = id, .data = STR_LIT("x")};

    config.engine = ENGINE_IS_REDIS;
    assert_true(to_broker(r)); /* position 0, source 0 */
    r.source = 1;              /* another ring */
    assert_true(to_broker(r));
    r.position = 800;
    assert_true(to_broker(r));
    r.position = 400; /* of a channel that others have overtaken */
    assert_true(to_broker(r));
    turn();
    assert_string_equal(a.log, "S(x)(x)(x)(x)");
    assert_int_equal(metrics->duplicates, 0);
    broker_hub_generation(broker, 2); /* the next hub sends what the one before had sent */
    assert_true(to_broker(r));
    r.position = 800;
    assert_true(to_broker(r));
    r.source = 0;
    r.position = 0;
    assert_true(to_broker(r));
    r.position = 8;
    assert_true(to_broker(r));
    r.source = RECORD_SOURCE_REMOTE; /* other nodes' positions tell nothing */
    assert_true(to_broker(r));
    r.source = RECORD_SOURCE_REMOTE + 1;
    assert_true(to_broker(r));
    r.source = UINT16_MAX;
    assert_true(to_broker(r));
    turn();
    assert_string_equal(a.log, "S(x)(x)(x)(x)(x)(x)");
    assert_int_equal(metrics->duplicates, 3);
    assert_int_equal(metrics->ring_bad_records, 2);
}

/* Where a server keeps offsets through the death of a hub, they tell, not the place in the ring. */
static void an_engine_with_servers_tells_repeats_by_offset(void **state UNUSED)
{
    struct client a;
    uint32_t id = join_live(&a, "a");
    struct record r = {.kind = RECORD_PUBLICATION,
                       .flags = RECORD_IN_STREAM,
                       .chan = id,
                       .position = 800,
                       .epoch = 1,
                       .offset = 1,
                       .data = STR_LIT("x")};

    config.engine = ENGINE_IS_REDIS;
    assert_true(to_broker(r));
    turn();
    broker_hub_generation(broker, 2);
    assert_true(to_broker(r)); /* the same one */
    r.position = 400;          /* of before, but it had not come */
    r.offset = 2;
    assert_true(to_broker(r));
    turn();
    config.engine = ENGINE_IS_MEMORY;
    assert_string_equal(a.log, "S(x)(x)");
    assert_int_equal(metrics->duplicates, 1);
}

static void records_for_an_old_incarnation(void **state UNUSED)
{
    struct client a;
    uint32_t id = join_live(&a, "a");
    uint64_t bad = metrics->ring_bad_records;

    for (uint8_t kind = RECORD_SUBSCRIBED; kind < RECORD_KIND_NR; kind++)
        assert_true(to_broker(
            (struct record){.kind = kind, .generation = 9, .chan = id, .data = STR_LIT("x")}));
    turn();
    assert_string_equal(a.log, "S");
    assert_int_equal(npublished + nfenced + nlisted, 0);
    assert_int_equal(metrics->ring_bad_records - bad, RECORD_KIND_NR - RECORD_SUBSCRIBED);
}

static void unknown_channels_and_kinds(void **state UNUSED)
{
    struct client a;

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

static void the_backlog_is_bounded(void **state UNUSED)
{
    struct client a;
    uint32_t id = join_live(&a, "a");

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

static void malformed_records(void **state UNUSED)
{
    struct client a;
    uint32_t id = join_live(&a, "a");
    static const size_t sizes[] = {0, 1, 63, 64, 65, 500};
    uint64_t bad = metrics->ring_bad_records;

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
static void a_corrupt_ring(void **state UNUSED)
{
    struct client a, b;
    uint32_t id = join_live(&a, "a");
    uint64_t nonsense = 1 << 30;

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
        T(answers_reach_their_askers_once),
        T(askers_overtake_each_other),
        T(answers_for_nobody),
        T(a_refused_subscription),
        T(a_refused_channel_is_asked_for_anew),
        T(repeated_publications_are_skipped),
        T(an_engine_with_servers_tells_repeats_by_offset),
        T(records_for_an_old_incarnation),
        T(unknown_channels_and_kinds),
        T(the_backlog_is_bounded),
        T(malformed_records),
        T(a_corrupt_ring),
    };

    return cmocka_run_group_tests_name("core/broker_link_in", tests, NULL, NULL);
}
