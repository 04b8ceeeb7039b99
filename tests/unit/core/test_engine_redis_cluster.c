/* The Redis engine and a cluster of scripted servers in memory: who is asked, in which order, when a slot moves. */
#include "redis_cluster_peers.h"

/* --- tests --- */

static void tags_spread_slots_evenly(void **state)
{
    static const unsigned counts[] = {1, 2, 3, 256, 1000, REDIS_SLOT_NR};

    (void)state;
    for (size_t c = 0; c < ARRAY_LEN(counts); c++) {
        struct redis_cluster *k = redis_cluster_new(counts[c]);
        char tag[16];

        assert_non_null(k);
        for (unsigned i = 0; i < k->n; i++) {
            const struct redis_partition *p = &k->partitions[i];

            snprintf(tag, sizeof(tag), "%u", p->tag);
            assert_int_equal(crc16(str_from(tag)) % REDIS_SLOT_NR, p->slot);
            assert_int_equal(p->slot * k->n / REDIS_SLOT_NR, i);
            assert_ptr_equal(partition_at(k, p->slot), p);
        }
        assert_null(partition_at(k, REDIS_SLOT_NR));
        free(k);
    }
}

static void each_primary_has_its_channels(void **state)
{
    (void)state;
    assert_int_equal(redis_of(t.engine)->nservers, SERVERS);
    for (unsigned i = 0; i < SERVERS; i++)
        publish(channel_at(i, 0), i == 0 ? "a" : i == 1 ? "b" : "c", i);
    turns(3);
    all_done(0, 2, ENGINE_OK);
    assert_non_null(strstr(t.log, "0:a "));
    assert_non_null(strstr(t.log, "1:b "));
    assert_non_null(strstr(t.log, "2:c "));
}

/* Calls of two rounds are under way when the slot turns out to have moved, a third comes meanwhile. */
static void what_has_moved_is_sent_again_in_its_order(void **state)
{
    const char *name = channel_at(0, 0);

    (void)state;
    t.refuse[0] = redirection("MOVED", name, 1);
    publish(name, "a", 0);
    t.engine->ops->tick(t.engine, clock_ns());
    publish(name, "b", 1);
    t.engine->ops->tick(t.engine, clock_ns());
    publish(name, "c", 2);
    turns(10);
    all_done(0, 2, ENGINE_OK);
    assert_string_equal(t.log, "1:a 1:b 1:c ");
    assert_int_equal(partition_of(name)->server->address.port, FIRST + 1);
    assert_int_equal(redis_of(t.engine)->lanes.count, 0);
    publish(name, "d", 3);
    turns(3);
    assert_string_equal(t.log, "1:a 1:b 1:c 1:d ");
}

static void while_a_channel_waits_others_flow(void **state)
{
    const char *name = channel_at(0, 0), *other = channel_at(1, 0);

    (void)state;
    t.refuse[0] = "-TRYAGAIN later\r\n";
    publish(name, "a", 0);
    turns(3);
    publish(name, "b", 1);
    publish(other, "x", 2);
    turns(100);
    assert_string_equal(t.log, "1:x ");
    assert_int_equal(t.done[0] + t.done[1], 0);
    t.refuse[0] = NULL;
    turns(100);
    assert_string_equal(t.log, "1:x 0:a 0:b ");
    all_done(0, 2, ENGINE_OK);
    assert_int_equal(redis_of(t.engine)->lanes.count, 0);
}

static void what_nobody_takes_is_unavailable(void **state)
{
    const char *name = channel_at(0, 0);

    (void)state;
    t.refuse[0] = "-CLUSTERDOWN Hash slot not served\r\n";
    publish(name, "a", 0);
    turns(3);
    publish(name, "b", 1);
    turns(2100);
    all_done(0, 1, ENGINE_UNAVAILABLE);
    assert_string_equal(t.log, "");
    turns(100);
    assert_int_equal(redis_of(t.engine)->lanes.count, 0);
    assert_int_equal(redis_of(t.engine)->servers[0]->nwaiting, 0);
}

static void who_takes_a_slot_over_is_asked(void **state)
{
    const char *name = channel_at(0, 0);

    (void)state;
    t.refuse[0] = redirection("ASK", name, 1);
    publish(name, "a", 0);
    turns(3);
    publish(name, "b", 1);
    turns(20);
    all_done(0, 1, ENGINE_OK);
    assert_string_equal(t.log, "1:*a 0:a 1:*b 0:b "); /* and subscribers are told where they are */
    assert_int_equal(partition_of(name)->server->address.port, FIRST);
    assert_int_equal(redis_of(t.engine)->lanes.count, 0);
}

/* Subscribers are at the server that has the slot, until it has moved: it takes what needs no key. */
static void a_plain_publication_goes_where_its_subscribers_are(void **state)
{
    const char *name = named_at("plain", 0, 0);

    (void)state;
    t.refuse[0] = redirection("ASK", name, 1);
    publish_once(name, "a", 0);
    turns(1);
    publish(name, "b", 1);
    publish_once(name, "c", 2);
    turns(20);
    all_done(0, 2, ENGINE_OK);
    assert_non_null(strstr(t.log, "0:b "));
    assert_null(strstr(t.log, "1:b "));
    assert_null(strstr(t.log, "1:*b "));
    assert_int_equal(redis_of(t.engine)->lanes.count, 0);
}

/* The server that had the slot has done it, and told everybody: it is not told again. */
static void what_was_done_before_a_move_is_told_once(void **state)
{
    const char *name = channel_at(0, 0);

    (void)state;
    publish(name, "a", 0);
    t.engine->ops->tick(t.engine, clock_ns());
    move(partition_of(name), redis_of(t.engine)->servers[1]);
    turns(20);
    all_done(0, 0, ENGINE_OK);
    assert_string_equal(t.log, "0:a ");
}

#define POSITION(epoch, offset, was, at)                                                           \
    "*5\r\n$1\r\n" epoch "\r\n$1\r\n" offset "\r\n*0\r\n$1\r\n" was "\r\n$1\r\n" at "\r\n"

/* A subscriber of the first server that has 3 of epoch 7. */
static struct redis_sub *subscriber(struct engine_channel *c)
{
    const char *name = channel_at(0, 0);
    struct redis_sub *sub;

    t.synced[0] = POSITION("7", "3", "0", "0");
    t.engine->ops->subscribe(t.engine, c, str_from(name));
    turns(20);
    assert_int_equal(t.subscribed, 1);
    sub = redis_sub_find(redis_of(t.engine), str_from(name));
    assert_int_equal(sub->state, REDIS_SUB_LIVE);
    return sub;
}

static void ends_live_at(const struct redis_sub *sub, uint64_t epoch, unsigned lost)
{
    assert_int_equal(sub->state, REDIS_SUB_LIVE);
    assert_int_equal(sub->at.epoch, epoch);
    assert_int_equal(t.lost, lost);
}

/* From one living master to another nothing can have been lost. */
static void a_subscriber_goes_on_with_its_slot(void **state)
{
    struct engine_channel c = {0};
    struct redis_sub *sub = subscriber(&c);

    (void)state;
    t.synced[1] = POSITION("8", "3", "7", "3");
    move(sub->partition, redis_of(t.engine)->servers[1]);
    turns(20);
    ends_live_at(sub, 8, 0);
}

/* The copy has 3 of epoch 7, as this node: more may have been acknowledged. */
static void a_copy_that_took_over_may_lack_something(void **state)
{
    struct engine_channel c = {0};
    struct redis_sub *sub = subscriber(&c);

    (void)state;
    t.info = INFO("master", "1234567890123456789012345678901234567890");
    redis_server_restart(redis_of(t.engine)->servers[1], ENDING_CLOSED);
    turns(3000);
    assert_int_equal(redis_of(t.engine)->servers[1]->state, REDIS_UP);
    t.synced[1] = POSITION("8", "3", "7", "3");
    move(sub->partition, redis_of(t.engine)->servers[1]);
    turns(20);
    ends_live_at(sub, 8, 1);
}

/* The old server was not there when the slot moved. */
static void a_server_that_was_away_may_have_acknowledged_more(void **state)
{
    struct engine_channel c = {0};
    struct redis_sub *sub = subscriber(&c);

    (void)state;
    t.synced[1] = POSITION("8", "3", "7", "3");
    redis_server_restart(redis_of(t.engine)->servers[0], ENDING_CLOSED);
    move(sub->partition, redis_of(t.engine)->servers[1]);
    turns(20);
    ends_live_at(sub, 8, 1);
}

/* The same address, another server or another life of it. */
static void a_server_that_is_another_may_lack_something(void **state)
{
    struct engine_channel c = {0};
    struct redis_sub *sub = subscriber(&c);

    (void)state;
    t.synced[0] = POSITION("8", "3", "7", "3");
    redis_server_restart(redis_of(t.engine)->servers[0], ENDING_CLOSED);
    turns(3000);
    ends_live_at(sub, 8, 1);
}

static void scripts_that_are_gone_are_loaded(void **state)
{
    const char *name = channel_at(0, 0);

    (void)state;
    t.refuse[0] = "-NOSCRIPT No matching script\r\n";
    publish(name, "a", 0);
    t.engine->ops->tick(t.engine, clock_ns());
    publish(name, "b", 1);
    turns(2);
    t.refuse[0] = NULL;
    turns(10);
    all_done(0, 1, ENGINE_OK);
    assert_string_equal(t.log, "0:a 0:b ");
    assert_true(metrics->engine_redirects_noscript > 0);
}

/* A call waits in its lane while the server that has turned it away goes. */
static void a_call_outlives_its_server(void **state)
{
    const char *name = channel_at(0, 0);

    (void)state;
    t.refuse[0] = "-TRYAGAIN later\r\n";
    publish(name, "a", 0);
    turns(3);
    t.stolen = true;
    redis_cluster_ask_soon(redis_of(t.engine));
    turns(300);
    all_done(0, 0, ENGINE_OK);
    assert_string_equal(t.log, "2:a ");
    assert_int_equal(redis_of(t.engine)->nservers, 1);
    assert_int_equal(redis_of(t.engine)->servers[0]->nwaiting, 0);
}

/* Who has slots now, as each of them says it. */
static void slots_are_told(void)
{
    for (unsigned i = 0; i < SERVERS; i++) {
        redis_of(t.engine)->cluster->ask_ns = 0;
        turns(3);
    }
}

/* A server does not serve them: over one of those nothing would come back. */
static void nobody_is_heard_over_a_slot_without_a_server(void **state)
{
    struct redis *e = redis_of(t.engine);
    struct redis_partition *p = e->cluster->partitions;

    (void)state;
    assert_ptr_equal(e->servers[0]->listens, &p[0]);
    t.gap = p[1].slot + 1u;
    slots_are_told();
    assert_false(p[0].served || p[1].served);
    assert_true(p[2].served);
    assert_ptr_equal(e->servers[0]->listens, &p[2]);
    t.gap = p[1].slot;
    slots_are_told();
    assert_ptr_equal(e->servers[0]->listens, &p[1]);
    t.gap = 0;
    slots_are_told();
    assert_ptr_equal(e->servers[0]->listens, &p[0]);
    for (unsigned i = 0; i < SERVERS; i++)
        assert_int_equal(e->servers[i]->connections, 1);
}

static void primaries_come_and_go(void **state)
{
    (void)state;
    t.stolen = true;
    clock_advance(31 * NS_PER_SEC);
    turns(20);
    assert_int_equal(redis_of(t.engine)->nservers, 1);
    assert_int_equal(redis_of(t.engine)->servers[0]->address.port, FIRST + 2);
    t.stolen = false;
    clock_advance(31 * NS_PER_SEC);
    turns(50);
    assert_int_equal(redis_of(t.engine)->nservers, SERVERS);
    for (unsigned i = 0; i < SERVERS; i++)
        assert_int_equal(redis_of(t.engine)->servers[i]->state, REDIS_UP);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_spread_slots_evenly),
        T(each_primary_has_its_channels),
        T(what_has_moved_is_sent_again_in_its_order),
        T(while_a_channel_waits_others_flow),
        T(what_nobody_takes_is_unavailable),
        T(who_takes_a_slot_over_is_asked),
        T(a_plain_publication_goes_where_its_subscribers_are),
        T(what_was_done_before_a_move_is_told_once),
        T(a_subscriber_goes_on_with_its_slot),
        T(a_copy_that_took_over_may_lack_something),
        T(a_server_that_was_away_may_have_acknowledged_more),
        T(a_server_that_is_another_may_lack_something),
        T(scripts_that_are_gone_are_loaded),
        T(a_call_outlives_its_server),
        T(nobody_is_heard_over_a_slot_without_a_server),
        T(primaries_come_and_go),
    };

    return cmocka_run_group_tests_name("core/engine_redis_cluster", tests, NULL, NULL);
}
