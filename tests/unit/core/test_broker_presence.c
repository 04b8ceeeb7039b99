/* A worker's members of channels: what is said of them, announced again, told to who wants it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/broker_presence.c"
#include "fault.h"

#include "broker_harness.h"

#define BROKER_TEST(f) cmocka_unit_test_setup_teardown(f, broker_setup, members_teardown)
#define MANY           100

static struct member {
    struct client client; /* first */
    char id[16];
    bool there;
} members[MANY];
static bool without_memory;           /* asked who is there, there is none */
static const struct member *too_long; /* asked who it is, it says more than a record can hold */

static struct str info_of(const char *id)
{
    static struct buf info;
    const struct client_info who = {.user = STR_LIT("ann"), .client = str_from(id)};

    buf_clear(&info);
    assert_int_equal(client_info_write(&info, &who), 0);
    return buf_view(&info);
}

static char long_info[RING_SIZE];

static int on_presence(struct sub *s, struct buf *out, bool *tell)
{
    struct member *m = CONTAINER_OF(s, struct member, client.sub);

    if (without_memory)
        return -1;
    *tell = true;
    if (m == too_long)
        return buf_append(out, (struct str){long_info, sizeof(long_info)});
    return m->there ? buf_append(out, info_of(m->id)) : 0;
}

static const struct sink_ops member_ops = {.subscribed = on_subscribed,
                                           .deliver = on_deliver,
                                           .lost = on_lost,
                                           .answered = not_asked,
                                           .presence = on_presence};
static const struct sink_ops *member_sinks[KINDS] = {[CLIENT] = &member_ops, [ASKER] = &asker_ops};

static int members_teardown(void **state)
{
    without_memory = false;
    too_long = NULL;
    return broker_teardown(state);
}

static void use_member_ops(void)
{
    broker->cfg.sinks = member_sinks;
}

/* Joins and becomes a member. */
static void come(struct member *m, const char *channel, unsigned n)
{
    join(&m->client, channel);
    snprintf(m->id, sizeof(m->id), "c%u", n);
    assert_int_equal(broker_presence_add(broker, &m->client.sub, info_of(m->id), PRESENCE_TELL), 0);
    m->there = true;
}

static void go(struct member *m)
{
    m->there = false;
    broker_presence_remove(broker, &m->client.sub, info_of(m->id), PRESENCE_TELL);
    leave(&m->client);
}

/* The next record that is about a member: of that kind, and about it. NULL: about anybody. */
static const struct record *expect_member(enum record_kind kind, const char *id)
{
    const struct record *r;
    struct client_info who;
    struct str info;

    while ((r = from_broker()) != NULL &&
           (r->kind == RECORD_SUBSCRIBE || r->kind == RECORD_COUNT || r->kind == RECORD_HELLO)) {
    }
    if (r == NULL)
        fail_msg("no record, expected %s", record_kind_name((uint8_t)kind));
    assert_string_equal(record_kind_name(r->kind), record_kind_name((uint8_t)kind));
    assert_true(str_equal(r->name, STR_LIT("room")));
    assert_true(record_field(r->fields, FIELD_INFO, &info));
    assert_int_equal(client_info_read(info, &who), 0);
    if (id != NULL)
        assert_true(str_equal(who.client, str_from(id)));
    return r;
}

static void what_is_said(void **state)
{
    const struct record *r;

    (void)state;
    use_member_ops();
    join_live(&members[0].client, "room");
    come(&members[1], "room", 1);
    flush();
    r = expect_member(RECORD_PRESENCE_ADD, "c1");
    assert_true(r->flags == PRESENCE_TELL && r->count == 0 && r->time_ns != 0);
    go(&members[1]);
    flush();
    r = expect_member(RECORD_PRESENCE_REMOVE, "c1");
    assert_int_equal(r->flags, PRESENCE_TELL);
    expect_record(RECORD_COUNT, "room");
    assert_int_equal(broker_presence(broker, asker(7), STR_LIT("room")), 0);
    assert_int_equal(broker_presence_stats(broker, asker(8), STR_LIT("room")), 0);
    flush();
    assert_int_equal(expect_record(RECORD_PRESENCE, "room")->token, 7);
    assert_int_equal(expect_record(RECORD_PRESENCE_STATS, "room")->token, 8);
}

static void fill_ring(void)
{
    while (broker_fence(broker, asker(1)) == 0) {
    }
}

static void empty_ring(void)
{
    const struct record *r;

    flush();
    while ((r = from_broker()) != NULL)
        assert_true(r->kind == RECORD_FENCE || r->kind == RECORD_COUNT);
}

/* Nothing is lost, everything keeps its order, and nobody publishes meanwhile. */
static void a_full_ring_is_made_up_for(void **state)
{
    (void)state;
    use_member_ops();
    join_live(&members[0].client, "room");
    fill_ring();
    come(&members[1], "room", 1);
    come(&members[2], "room", 2);
    go(&members[1]);
    flush();
    assert_false(broker_can_publish(broker, 1, 1));
    empty_ring();
    flush();
    expect_member(RECORD_PRESENCE_ADD, "c1");
    expect_member(RECORD_PRESENCE_ADD, "c2");
    expect_member(RECORD_PRESENCE_REMOVE, "c1");
    assert_true(broker_can_publish(broker, 1, 1));
}

static unsigned announced_ids(bool seen[MANY])
{
    const struct record *r;
    unsigned n = 0;

    for (flush(); (r = from_broker()) != NULL; flush()) {
        struct client_info who;
        struct str info;
        uint64_t id;

        if (r->kind == RECORD_ANNOUNCED) {
            assert_int_equal(r->chan, broker->round);
            return n;
        }
        if (r->kind != RECORD_PRESENCE_ADD)
            continue;
        assert_int_equal(r->flags, PRESENCE_TELL | PRESENCE_AGAIN);
        assert_int_equal(r->count, broker->round);
        assert_true(record_field(r->fields, FIELD_INFO, &info));
        assert_int_equal(client_info_read(info, &who), 0);
        who.client = str_skip(who.client, 1);
        assert_int_equal(str_to_u64(who.client, &id), 0);
        seen[id] = true;
        n++;
    }
    fail_msg("not announced");
    return 0;
}

static void drain(void)
{
    flush();
    while (from_broker() != NULL) {
    }
}

static void all_are_announced_to_a_new_hub(void **state)
{
    struct client other;
    bool seen[MANY] = {false};

    (void)state;
    use_member_ops();
    join_live(&members[0].client, "room");
    join(&other, "other");
    for (unsigned i = 1; i < MANY; i++) {
        come(&members[i], i % 3 ? "room" : "lobby", i);
        if (i % 10 == 0)
            drain();
    }
    go(&members[7]);
    drain();
    broker_hub_generation(broker, 2);
    turn();
    /* In a ring that holds few of them. */
    assert_int_equal(announced_ids(seen), MANY - 2);
    for (unsigned i = 1; i < MANY; i++)
        assert_int_equal(seen[i], i != 7);
    memset(seen, 0, sizeof(seen));
    broker_hub_generation(broker, 3);
    turn();
    assert_int_equal(announced_ids(seen), MANY - 2);
}

/* Who leaves or joins while the members are announced makes nobody be left out. */
static void they_move_meanwhile(void **state)
{
    (void)state;
    use_member_ops();
    for (unsigned seed = 1; seed < 40; seed++) {
        unsigned dice = seed;
        bool seen[MANY] = {false};

        for (unsigned i = 0; i < MANY; i++) {
            come(&members[i], "room", i);
            drain();
        }
        broker_hub_generation(broker, 100 + seed);
        while (task_run(&tasks, NS_PER_SEC)) {
        }
        fill_ring(); /* so that it takes many turns */
        while (broker->announcing) {
            struct member *m = &members[(unsigned)rand_r(&dice) % MANY];
            const struct record *r;

            if (rand_r(&dice) % 3 == 0 && m->there)
                go(m);
            else if (rand_r(&dice) % 3 == 0 && !m->there)
                come(m, "room", (unsigned)(m - members));
            for (unsigned n = (unsigned)rand_r(&dice) % 20; n > 0 && (r = from_broker()) != NULL;
                 n--) {
                struct client_info who;
                struct str info;
                uint64_t id;

                if (r->kind != RECORD_PRESENCE_ADD)
                    continue;
                assert_true(record_field(r->fields, FIELD_INFO, &info));
                assert_int_equal(client_info_read(info, &who), 0);
                assert_int_equal(str_to_u64(str_skip(who.client, 1), &id), 0);
                seen[id] = true;
            }
            flush();
        }
        for (const struct record *r; (r = from_broker()) != NULL;) {
            struct client_info who;
            struct str info;
            uint64_t id;

            if (r->kind != RECORD_PRESENCE_ADD)
                continue;
            assert_true(record_field(r->fields, FIELD_INFO, &info));
            assert_int_equal(client_info_read(info, &who), 0);
            assert_int_equal(str_to_u64(str_skip(who.client, 1), &id), 0);
            seen[id] = true;
        }
        for (unsigned i = 0; i < MANY; i++) {
            assert_true(seen[i] || !members[i].there);
            if (members[i].there)
                go(&members[i]);
        }
        drain();
    }
}

static void no_memory(void **state)
{
    bool seen[MANY] = {false};

    (void)state;
    use_member_ops();
    join_live(&members[0].client, "room");
    come(&members[1], "room", 1);
    drain();
    fill_ring();
    join(&members[2].client, "room");
    info_of("c2");
    fault_fail_at(1);
    assert_int_equal(
        broker_presence_add(broker, &members[2].client.sub, info_of("c2"), PRESENCE_TELL), -1);
    /* The hub cannot be told that one has gone: it is not announced again. */
    fault_fail_at(1);
    go(&members[1]);
    fault_reset();
    empty_ring();
    without_memory = true;
    turn();
    assert_true(broker->announcing);
    without_memory = false;
    assert_int_equal(announced_ids(seen), 0);
    assert_int_equal(broker->round, 1);
}

static void too_long_for_a_record(void **state)
{
    static char big[RING_SIZE];

    (void)state;
    join_live(&members[0].client, "room");
    assert_int_equal(broker_presence(broker, asker(1), (struct str){big, 300}), -1);
    assert_int_equal(broker_presence_stats(broker, asker(1), (struct str){big, 300}), -1);
    assert_int_equal(broker_presence_add(broker, &members[0].client.sub,
                                         (struct str){.p = big, .n = sizeof(big)}, 0),
                     -1);
}

/* Or the worker would announce for ever, and its clients could publish nothing. */
static void who_fits_no_record_is_left_out(void **state)
{
    bool seen[MANY] = {false};

    (void)state;
    use_member_ops();
    join_live(&members[0].client, "room");
    for (unsigned i = 1; i < 4; i++)
        come(&members[i], "room", i);
    drain();
    too_long = &members[2];
    broker_hub_generation(broker, 2);
    turn();
    assert_true(announced_ids(seen) == 2 && !seen[2] && !broker->announcing);
    assert_int_equal(metrics->presence_lost, 1);
}

/* Who has no memory for what it was announces the others again. */
static void gone_without_an_info(void **state)
{
    bool seen[MANY] = {false};

    (void)state;
    use_member_ops();
    join_live(&members[0].client, "room");
    come(&members[1], "room", 1);
    drain();
    broker_presence_remove(broker, &members[1].client.sub, STR_NULL, PRESENCE_TELL);
    leave(&members[1].client);
    turn();
    assert_true(announced_ids(seen) == 0 && broker->round == 1);
}

/* --- what others do --- */

static unsigned njoins, nleaves;
static uint32_t last_variant;

static void on_deliver_members(struct sub *s, struct batch *b)
{
    if (b->class == BATCH_PUBLICATIONS) {
        on_deliver(s, b);
        return;
    }
    assert_true(s->joins);
    for (uint32_t i = 0; i < b->nitems; i++) {
        struct client_info who;
        struct str info;

        assert_true(record_field(batch_fields(b, i), FIELD_INFO, &info));
        assert_int_equal(client_info_read(info, &who), 0);
        client_log(s, b->class == BATCH_JOINS ? "+" : "-", 1);
        client_log(s, who.client.p, who.client.n);
    }
    njoins += b->class == BATCH_JOINS ? b->nitems : 0;
    nleaves += b->class == BATCH_LEAVES ? b->nitems : 0;
    last_variant = s->variant;
}

static void send_member(enum record_kind kind, uint32_t chan, const char *id, uint16_t source,
                        uint64_t position)
{
    struct buf fields = {0};

    assert_int_equal(record_add_field(&fields, FIELD_INFO, info_of(id)), 0);
    assert_true(to_broker((struct record){.kind = (uint8_t)kind,
                                          .flags = RECORD_SKIP_HISTORY,
                                          .chan = chan,
                                          .epoch = 9,
                                          .offset = 1,
                                          .source = source,
                                          .position = position,
                                          .fields = buf_view(&fields)}));
    buf_fini(&fields);
}

static void who_wants_it_is_told(void **state)
{
    static struct sink_ops ops;
    struct client plain;
    uint32_t id;

    (void)state;
    ops = member_ops;
    ops.deliver = on_deliver_members;
    member_sinks[CLIENT] = &ops;
    use_member_ops();
    id = join_live(&plain, "room");
    config.engine = ENGINE_IS_REDIS;
    send_member(RECORD_JOIN, id, "c0", 1, 800); /* nobody wants it: no walk */
    while (broker_receive(broker, 100)) {
    }
    assert_true(list_empty(&tasks.runnable));
    memset(&members[1], 0, sizeof(members[1]));
    members[1].client.sub.kind = CLIENT;
    members[1].client.sub.joins = true;
    assert_int_equal(
        broker_subscribe(broker, &members[1].client.sub, STR_LIT("room"), &(enum close_reason){0}),
        0);
    send_publication(id, "a");
    send_member(RECORD_JOIN, id, "c1", 1, 816);
    send_member(RECORD_JOIN, id, "c2", 1, 808); /* overtaken */
    while (broker_receive(broker, 100)) {
    }
    broker_hub_generation(broker, 2);
    send_member(RECORD_JOIN, id, "c2", 1, 808); /* by a hub that was started again */
    send_member(RECORD_LEAVE, id, "c3", HUB_WORKERS_MAX, 0);
    send_member(RECORD_LEAVE, id, "c4", HUB_WORKERS_MAX, 0);
    send_publication(id, "b");
    turn();
    assert_string_equal(members[1].client.log, "S(a)+c1+c2-c3-c4(b)");
    assert_string_equal(plain.log, "S(a)(b)");
    assert_int_equal(plain.batches, 2);
    member_sinks[CLIENT] = &member_ops;
}

/* Where a channel stands does not change by it, and it has no place there. */
static void it_has_no_position(void **state)
{
    struct client late;
    uint32_t id;

    (void)state;
    use_member_ops();
    memset(&members[1], 0, sizeof(members[1]));
    id = join_live(&members[0].client, "room");
    members[0].client.sub.chan->joins = true;
    send_publication(id, "a"); /* offset 1 */
    turn();
    send_member(RECORD_JOIN, id, "c1", 1, 8);
    while (broker_receive(broker, 100)) {
    }
    join(&late, "room"); /* the batch of the join waits to be delivered */
    assert_int_equal(late.at.offset, members[0].client.sub.chan->position.offset);
    turn();
}

static void without_memory_it_is_lost_and_counted(void **state)
{
    uint32_t id;

    (void)state;
    use_member_ops();
    id = join_live(&members[0].client, "room");
    members[0].client.sub.chan->joins = true;
    send_member(RECORD_JOIN, id, "c1", 1, 8);
    fault_fail_at(1);
    turn();
    fault_reset();
    assert_int_equal(metrics->presence_lost, 1);
    assert_string_equal(members[0].client.log, "S"); /* no loss of publications */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BROKER_TEST(what_is_said),
        BROKER_TEST(a_full_ring_is_made_up_for),
        BROKER_TEST(all_are_announced_to_a_new_hub),
        BROKER_TEST(they_move_meanwhile),
        BROKER_TEST(no_memory),
        BROKER_TEST(too_long_for_a_record),
        BROKER_TEST(who_fits_no_record_is_left_out),
        BROKER_TEST(gone_without_an_info),
        BROKER_TEST(who_wants_it_is_told),
        BROKER_TEST(it_has_no_position),
        BROKER_TEST(without_memory_it_is_lost_and_counted),
    };

    return cmocka_run_group_tests_name("core/broker_presence", tests, NULL, NULL);
}
