#include "net/overload.c"

#include "output_harness.h"

#define SECOND (NS_PER_SEC / WHEEL_TICK_NS)

static char said[8192];

static void keep(struct str line, void *arg UNUSED)
{
    assert_int_equal(str_copy(line, said, sizeof(said)), 0);
}

/* --- room --- */

static struct conn *waiting(uint32_t seconds)
{
    int peer; /* left open: nobody ends it but we */
    struct conn *c = net_pair(&peer, &seen_ops, 0);

    c->since = c->heard = reactor->tick - seconds * (uint32_t)SECOND;
    return c;
}

static void test_who_waits_longest_makes_room(void **state UNUSED)
{
    struct conn *young = waiting(0), *old = waiting(5), *older = waiting(9), *served = waiting(20),
                *at_work = waiting(30), *answering = waiting(30), *admin = waiting(30);

    served->flags |= CONN_WELCOME;
    at_work->hold = CONN_HOLD_ANSWER;
    conn_set_state(answering, CONN_SUBSCRIBING);
    admin->flags |= CONN_ADMIN;
    reactor->client_connections--;
    reactor->admin_connections++;
    assert_false(overload_make_room(1)); /* of another listener */
    assert_true(overload_make_room(0));
    assert_int_equal(older->reason, CLOSE_CROWDED_OUT);
    older->since = older->heard = reactor->tick; /* that it trickles does not help it */
    assert_true(overload_make_room(LISTENERS_MAX));
    assert_int_equal(old->reason, CLOSE_CROWDED_OUT);
    assert_true(overload_make_room(LISTENERS_MAX));
    assert_int_equal(served->reason, CLOSE_CROWDED_OUT);
    assert_false(overload_make_room(LISTENERS_MAX));
    young->since -= (uint32_t)SECOND;
    assert_true(overload_make_room(LISTENERS_MAX));
    assert_int_equal(young->reason, CLOSE_CROWDED_OUT);
    assert_false(conn_dead(at_work) || conn_dead(answering) || conn_dead(admin));
}

/* Its request is answered, and it does not take the answer. */
static void test_who_does_not_read_makes_room(void **state UNUSED)
{
    static char page[65536];
    struct conn *c = waiting(5);

    c->flags |= CONN_WELCOME;
    c->hold = CONN_HOLD_OUTPUT;
    assert_false(overload_make_room(LISTENERS_MAX));
    for (int i = 0; i < 1000 && !(c->flags & CONN_OUT_STALLED); i++) {
        assert_int_equal(conn_send(c, (struct str){page, sizeof(page)}), 0);
        net_steps(1);
    }
    assert_true(c->flags & CONN_OUT_STALLED);
    c->heard = reactor->tick;
    assert_false(overload_make_room(LISTENERS_MAX));
    c->heard -= 2 * (uint32_t)SECOND;
    assert_true(overload_make_room(LISTENERS_MAX));
    assert_int_equal(c->reason, CLOSE_CROWDED_OUT);
}

/* However many there are, a look is bounded, and the next one goes on from there. */
static void test_the_look_is_bounded(void **state UNUSED)
{
    struct conn *last = NULL;
    unsigned looks = 1;

    for (int i = 0; i < 2 * ROOM_LOOK; i++)
        last = waiting(0);
    last->since -= 9 * (uint32_t)SECOND;
    while (!overload_make_room(LISTENERS_MAX))
        assert_true(++looks <= 5);
    assert_true(looks > 1);
    assert_int_equal(last->reason, CLOSE_CROWDED_OUT);
}

static void test_a_full_node_and_a_full_worker(void **state UNUSED)
{
    bool counted;

    config.max_connections = 1;
    waiting(3);
    assert_int_equal(admission_check(NULL, 0, 1, &counted), CLOSE_NONE);
    assert_int_equal(admission_check(NULL, 0, 1, &counted), CLOSE_FULL);
    config.max_connections = 10;
    reactor->connection_max = 1;
    waiting(3);
    assert_int_equal(admission_check(NULL, 0, 1, &counted), CLOSE_NONE);
    assert_int_equal(admission_check(NULL, 0, 1, &counted), CLOSE_FULL);
}

/* --- memory --- */

static int setup(void **state)
{
    net_setup(state);
    config.output_limit = 1 << 20;
    log_set_sink(keep, NULL);
    said[0] = '\0';
    return 0;
}

static int teardown(void **state)
{
    log_set_sink(NULL, NULL);
    return net_teardown(state);
}

/* Room for so much more than is used now. */
static void allow(uint64_t more)
{
    config.worker_memory = (int64_t)(overload_used() + more);
}

static void test_the_slowest_go_first(void **state UNUSED)
{
    int peers[4];
    struct conn *little_for_long, *much_for_long, *much, *reads;

    little_for_long = open_pair(&peers[0], SMALL_BUFFER);
    much_for_long = open_pair(&peers[1], SMALL_BUFFER);
    much = open_pair(&peers[2], SMALL_BUFFER);
    reads = open_pair(&peers[3], SMALL_BUFFER);
    stall(little_for_long, 30000, 3);
    stall(much_for_long, 300000, 30);
    clock_advance(NS_PER_SEC);
    stall(much, 300000, 30);
    clock_advance(NS_PER_SEC);
    allow(0);
    assert_false(overload_turn());
    assert_int_equal(reactor->connections, 4);
    config.worker_memory--;
    log_set_level(LOG_WARN);
    assert_true(overload_turn()); /* what it holds is free when it has been reaped */
    assert_int_equal(much_for_long->reason, CLOSE_OVERLOAD);
    assert_non_null(
        strstr(said, "msg=\"worker_memory is used up: the slowest clients are closed\""));
    assert_int_equal(metrics->drops_disconnect, 30);
    reactor_reap(10);
    assert_false(overload_turn());
    config.worker_memory = (int64_t)overload_used() - 1;
    assert_true(overload_turn());
    assert_int_equal(much->reason, CLOSE_OVERLOAD);
    reactor_reap(10);
    config.worker_memory = 1; /* more than can be had: who reads stays */
    assert_true(overload_turn());
    assert_int_equal(little_for_long->reason, CLOSE_OVERLOAD);
    reactor_reap(10);
    assert_false(overload_turn());
    assert_false(conn_dead(reads));
    assert_int_equal(metrics->closes[CLOSE_OVERLOAD], 3);
}

/* One that takes a byte now and then has progress, and a queue that is too long all the same. */
static void test_trickling_does_not_help(void **state UNUSED)
{
    int peers[2];
    struct conn *trickles = open_pair(&peers[0], SMALL_BUFFER);
    struct conn *stands = open_pair(&peers[1], SMALL_BUFFER);

    config.output_limit = 20000;
    config.output_grace = 3600 * (int64_t)NS_PER_SEC;
    stall(trickles, 75000, 75);
    clock_advance(9 * NS_PER_SEC);
    stall(stands, 19000, 19);
    conn_restart_age(trickles);
    clock_advance(NS_PER_SEC);
    allow(0);
    config.worker_memory--;
    assert_true(overload_turn());
    assert_int_equal(trickles->reason, CLOSE_OVERLOAD);
    assert_false(conn_dead(stands));
}

static void test_then_incomplete_input(void **state UNUSED)
{
    int peer;
    struct conn *c = open_pair(&peer, 0);
    struct holder h = {0};

    assert_int_equal(partial_hold(c, &h, 50000), CLOSE_NONE);
    allow(0);
    assert_false(overload_turn());
    assert_int_equal(metrics->partial_ends, 0);
    config.worker_memory--;
    seen.partial_ends = 0;
    assert_false(overload_turn());
    assert_int_equal(metrics->partial_ends, 1);
    assert_int_equal(seen.partial_ends, 1);
    assert_null(h.budget);
    assert_false(overload_turn()); /* nobody is left */
    close(peer);
}

static void test_marks(void **state UNUSED)
{
    struct blob *b;

    assert_false(overload_stops()); /* no limit */
    config.worker_memory = 8 * 1000 * 1000;
    b = blob_new(6500 * 1000);
    assert_false(overload_stops());
    blob_put(&b);
    b = blob_new(7100 * 1000);
    assert_true(overload_stops());
    assert_true(reactor->overload.stopped);
    assert_int_equal(metrics->accept_stops_memory, 1);
    blob_put(&b);
    b = blob_new(6500 * 1000); /* between the marks: as it was */
    assert_false(overload_turn());
    assert_true(overload_stops());
    blob_put(&b);
    assert_false(overload_turn());
    assert_false(overload_stops());
    assert_int_equal(metrics->accept_stops_memory, 1);
    b = blob_new(7100 * 1000);
    assert_true(overload_stops());
    config.worker_memory = 0; /* by a reload */
    net_steps(1);
    assert_false(reactor->overload.stopped);
    blob_put(&b);
}

#define OVERLOAD_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(test_who_waits_longest_makes_room), NET_TEST(test_who_does_not_read_makes_room),
        NET_TEST(test_the_look_is_bounded),          NET_TEST(test_a_full_node_and_a_full_worker),
        OVERLOAD_TEST(test_the_slowest_go_first),    OVERLOAD_TEST(test_trickling_does_not_help),
        OVERLOAD_TEST(test_then_incomplete_input),   OVERLOAD_TEST(test_marks),
    };

    return cmocka_run_group_tests_name("net/overload", tests, NULL, NULL);
}
