#include "net/reactor_drain.c"

#include "net_harness.h"

static unsigned dones;

static void done(void)
{
    assert_int_equal(reactor->connections, 0);
    dones++;
}

static int setup(void **state)
{
    dones = 0;
    return net_setup(state);
}

/* Answers the end, as a well-behaved peer does. */
static void hang_up(int *peer)
{
    if (*peer != -1 && net_at_eof(*peer)) {
        close(*peer);
        *peer = -1;
    }
}

static void test_nobody(void **state)
{
    (void)state;
    reactor_drain(10 * NS_PER_SEC, done);
    assert_int_equal(dones, 0); /* from a turn only */
    net_steps(1);
    assert_int_equal(dones, 1);
    net_steps(3);
    assert_int_equal(dones, 1);
}

static void test_spread(void **state)
{
    int peers[200];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        net_pair(&peers[i], &seen_ops, 0);
    reactor_drain(10 * NS_PER_SEC, done);
    net_steps(5);
    assert_int_equal(seen.drains, 0);
    assert_true(reactor->nap_ns <= DRAIN_NAP_NS);
    for (unsigned second = 1; second <= 9; second++) {
        net_after(NS_PER_SEC);
        net_steps(3);
        assert_in_range(seen.drains, second * 20 - 1, second * 20 + 1);
    }
    assert_int_equal(dones, 0);
    net_after(NS_PER_SEC);
    net_steps(3);
    assert_int_equal(seen.drains, 200);
    assert_int_equal(dones, 0);
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        hang_up(&peers[i]);
    net_steps(8);
    assert_int_equal(dones, 1);
    assert_int_equal(metrics->closes[CLOSE_DRAIN], 200);
}

static void test_at_once_in_slices(void **state)
{
    int peers[DRAIN_SLICE + 50];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        net_pair(&peers[i], &seen_ops, 0);
    reactor_drain(0, done);
    net_steps(1);
    assert_int_equal(seen.drains, DRAIN_SLICE);
    net_steps(1);
    assert_int_equal(seen.drains, ARRAY_LEN(peers));
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        hang_up(&peers[i]);
    net_steps(8);
    assert_int_equal(dones, 1);
}

static void ignore_drain(struct conn *c UNUSED)
{
    seen.drains++;
}

static const struct conn_ops deaf_ops = {
    .name = "deaf", .input = seen_input, .deadline = seen_deadline, .drain = ignore_drain};

/* Who does not end within the grace is killed. */
static void test_grace(void **state)
{
    int peer;
    struct conn *c = net_pair(&peer, &deaf_ops, 0);

    (void)state;
    conn_arm(c, 0);
    reactor_drain(0, done);
    net_steps(3);
    assert_int_equal(seen.drains, 1);
    net_after((uint64_t)config.close_timeout - NS_PER_SEC);
    net_steps(3);
    assert_false(conn_dead(c));
    assert_int_equal(dones, 0);
    net_after(NS_PER_SEC);
    net_steps(3);
    assert_int_equal(dones, 1);
    assert_int_equal(seen.drains, 1);
    assert_int_equal(metrics->closes[CLOSE_DRAIN], 1);
    close(peer);
}

static struct conn *add_admin(int *peer)
{
    struct conn *c = net_pair(peer, &deaf_ops, 0);

    c->flags |= CONN_ADMIN; /* after it was counted as a client */
    reactor->client_connections--;
    return c;
}

static void clients_done(void)
{
    assert_int_equal(reactor->client_connections + reactor->refused, 0);
    dones++;
}

/* Until the scan has killed the only client; its place in the table is free. */
static void drain_past_all(void)
{
    int peer;

    conn_arm(net_pair(&peer, &deaf_ops, 0), 0);
    reactor_drain(0, clients_done);
    net_steps(3);
    net_after((uint64_t)config.close_timeout);
    net_steps(1);
    assert_int_equal(reactor->drain.phase, DRAIN_KILL);
    assert_int_equal(metrics->closes[CLOSE_DRAIN], 1);
    assert_int_equal(dones, 0);
    close(peer);
}

/* Whoever opens an admin connection that late and says nothing must not hold up the end; whoever
 * asks something gets an answer. */
static void test_admin_behind_the_scan(void **state)
{
    struct conn *admin;
    int peer;

    (void)state;
    drain_past_all();
    admin = add_admin(&peer);
    net_steps(3);
    assert_int_equal(dones, 1);
    assert_false(conn_dead(admin));
    net_write(peer, "probe", 5);
    net_steps(1);
    assert_int_equal(seen.len, 5);
    close(peer);
}

static void test_client_behind_the_scan(void **state)
{
    int peer;

    (void)state;
    drain_past_all();
    conn_arm(net_pair(&peer, &deaf_ops, 0), 0);
    net_steps(4);
    assert_int_equal(dones, 1);
    assert_int_equal(metrics->closes[CLOSE_DRAIN], 2);
    close(peer);
}

/* Until the grace ends, an answer that is under way is waited for. */
static void test_admin_has_the_grace(void **state)
{
    int peer;
    struct conn *c = add_admin(&peer);

    (void)state;
    conn_arm(c, 0);
    reactor_drain(0, clients_done);
    net_steps(3);
    net_after((uint64_t)config.close_timeout - NS_PER_SEC);
    net_steps(3);
    assert_int_equal(dones, 0);
    net_after(NS_PER_SEC);
    net_steps(3);
    assert_int_equal(dones, 1);
    close(peer);
}

static void test_default_is_finish(void **state)
{
    int peer;
    struct conn *c = net_pair(&peer, &bare_ops, 0);

    (void)state;
    reactor_drain(0, done);
    net_steps(1);
    assert_int_equal(c->state, CONN_LINGERING);
    assert_int_equal(c->reason, CLOSE_DRAIN);
    hang_up(&peer);
    net_steps(3);
    assert_int_equal(dones, 1);
}

/* Those that have ended or are ending are not asked. */
static void test_leavers(void **state)
{
    int peers[3];
    struct conn *c[3];

    (void)state;
    for (int i = 0; i < 3; i++)
        c[i] = net_pair(&peers[i], &seen_ops, 0);
    conn_finish(c[0], CLOSE_HTTP_DONE);
    conn_kill(c[1], CLOSE_NORMAL);
    reactor_drain(0, NULL);
    net_steps(2);
    assert_int_equal(seen.drains, 1);
    for (int i = 0; i < 3; i++)
        close(peers[i]);
    net_steps(3);
    assert_int_equal(metrics->closes[CLOSE_HTTP_DONE], 1);
    assert_int_equal(metrics->closes[CLOSE_NORMAL], 1);
    assert_int_equal(metrics->closes[CLOSE_DRAIN], 1);
}

static void test_again_and_faster(void **state)
{
    int peer;

    (void)state;
    net_pair(&peer, &seen_ops, 0);
    reactor_drain(1000 * NS_PER_SEC, done);
    net_after(NS_PER_SEC);
    assert_int_equal(seen.drains, 0);
    reactor_drain(0, done);
    net_steps(1);
    assert_int_equal(seen.drains, 1);
    hang_up(&peer);
    net_steps(3);
    assert_int_equal(dones, 1);
}

#define DRAIN_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, net_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DRAIN_TEST(test_nobody),
        DRAIN_TEST(test_spread),
        DRAIN_TEST(test_at_once_in_slices),
        DRAIN_TEST(test_grace),
        DRAIN_TEST(test_admin_behind_the_scan),
        DRAIN_TEST(test_client_behind_the_scan),
        DRAIN_TEST(test_admin_has_the_grace),
        DRAIN_TEST(test_default_is_finish),
        DRAIN_TEST(test_leavers),
        DRAIN_TEST(test_again_and_faster),
    };

    return cmocka_run_group_tests_name("net/reactor_drain", tests, NULL, NULL);
}
