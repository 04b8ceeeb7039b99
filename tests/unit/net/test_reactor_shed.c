#include "net/reactor_shed.c"

#include "net_harness.h"

static int peers[700];

/* Answers the end, as a well-behaved peer does. */
static void hang_up(void)
{
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        if (peers[i] != -1 && net_at_eof(peers[i])) {
            close(peers[i]);
            peers[i] = -1;
        }
    net_steps(4);
}

static int setup(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        peers[i] = -1;
    return net_setup(state);
}

static int teardown(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        if (peers[i] != -1)
            close(peers[i]);
    return net_teardown(state);
}

#define SHED_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

static void connect_all(size_t n)
{
    for (size_t i = 0; i < n; i++)
        net_pair(&peers[i], &seen_ops, 0);
}

static void test_no_more_than_may_stay(void **state UNUSED)
{
    connect_all(20);
    reactor_shed(true, 12);
    net_steps(3);
    assert_int_equal(seen.drains, 8);
    assert_int_equal(reactor_staying(), 12);
    assert_int_equal(reactor->client_connections, 20); /* they are on their way */
    net_steps(3);
    assert_int_equal(seen.drains, 8);
    hang_up();
    assert_int_equal(reactor->client_connections, 12);
    assert_int_equal(reactor->shed.leaving, 0);
    assert_int_equal(reactor_staying(), 12);
    assert_int_equal(metrics->closes[CLOSE_DRAIN], 8);
    /* As the number falls. */
    for (unsigned most = 12; most > 0; most -= 3) {
        reactor_shed(true, most - 3);
        net_steps(3);
        hang_up();
        assert_int_equal(reactor->client_connections, most - 3);
    }
}

static void test_in_slices(void **state UNUSED)
{
    connect_all(ARRAY_LEN(peers));
    reactor_shed(true, 1);
    net_steps(1);
    assert_int_equal(seen.drains, SHED_SLICE);
    assert_int_equal(reactor->nap_ns, 0);
    net_steps(2);
    assert_int_equal(seen.drains, ARRAY_LEN(peers) - 1);
}

/* Who is dead but not yet reaped counts neither as one that stays nor as one that goes. */
static void test_others_that_go_meanwhile(void **state UNUSED)
{
    connect_all(10);
    for (size_t i = 0, n = 4; n > 0; i++)
        if (reactor->conns[i] != NULL && n-- > 0)
            conn_kill(reactor->conns[i], CLOSE_PEER_GONE);
    reactor_shed(true, 6);
    shed_step();
    assert_int_equal(seen.drains, 0);
    net_steps(5);
    assert_int_equal(seen.drains, 0);
    assert_int_equal(reactor_staying(), 6);
}

static void test_operators_and_refused_stay(void **state UNUSED)
{
    struct conn *admin, *refused;

    connect_all(3);
    admin = net_pair(&peers[3], &seen_ops, 0);
    admin->flags |= CONN_ADMIN; /* after it was counted as a client */
    reactor->client_connections--;
    reactor->admin_connections++;
    refused = net_pair(&peers[4], &seen_ops, 0);
    conn_set_refused(refused, CLOSE_FULL);
    reactor_shed(true, 0);
    assert_true(reactor_sends_away(refused));
    assert_false(reactor_sends_away(admin));
    net_steps(3);
    assert_int_equal(seen.drains, 3);
    assert_int_equal(reactor_staying(), 0);
    admin->flags &= (uint16_t)~CONN_ADMIN;
    reactor->client_connections++;
    reactor->admin_connections--;
}

/* One that is refused after it has been asked to go is no client, and counts no more as one that leaves. */
static void test_refused_on_the_way_out(void **state UNUSED)
{
    struct conn *c = net_pair(&peers[0], &seen_ops, 0);

    c->flags |= CONN_LEAVING;
    reactor->shed.leaving++;
    conn_set_refused(c, CLOSE_FULL);
    assert_int_equal(reactor->shed.leaving, 0);
    assert_int_equal(reactor->client_connections, 0);
}

static void test_off_again(void **state UNUSED)
{
    connect_all(5);
    reactor_shed(true, 5);
    net_steps(2);
    assert_true(reactor_sends_away(conn_find(reactor->conns[reactor->conns_end - 1]->id)));
    reactor_shed(false, 0);
    net_steps(2);
    assert_int_equal(seen.drains, 0);
    assert_false(reactor_sends_away(reactor->conns[reactor->conns_end - 1]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHED_TEST(test_no_more_than_may_stay),    SHED_TEST(test_in_slices),
        SHED_TEST(test_others_that_go_meanwhile), SHED_TEST(test_operators_and_refused_stay),
        SHED_TEST(test_refused_on_the_way_out),   SHED_TEST(test_off_again),
    };

    return cmocka_run_group_tests_name("net/reactor_shed", tests, NULL, NULL);
}
