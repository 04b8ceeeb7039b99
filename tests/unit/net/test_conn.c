#include "net/conn.c"

#include "fault.h"
#include "net_harness.h"

static void test_input(void **state UNUSED)
{
    int peer;
    struct conn *c = net_pair(&peer, &seen_ops, 0);

    net_steps(2);
    assert_int_equal(seen.inputs, 0);
    clock_advance(5 * NS_PER_SEC);
    net_write(peer, "hello", 5);
    net_steps(1);
    assert_int_equal(seen.len, 5);
    assert_memory_equal(seen.input, "hello", 5);
    assert_ptr_equal(seen.last, c);
    assert_int_equal(c->heard - c->since, 50); /* ticks: the clock was fresh in the callback */
    assert_int_equal(metrics->reads, 1);
    assert_int_equal(metrics->read_bytes, 5);
    close(peer);
}

static void test_read_budget(void **state UNUSED)
{
    char data[10000];
    int peer;

    memset(data, 'x', sizeof(data));
    config.read_budget = 4096;
    net_pair(&peer, &seen_ops, 0);
    net_write(peer, data, sizeof(data));
    net_steps(1);
    assert_int_equal(seen.len, 4096);
    net_steps(1);
    assert_int_equal(seen.len, 8192);
    net_steps(1);
    assert_int_equal(seen.len, 10000);
    close(peer);
}

static void test_scratch_bounds_read(void **state UNUSED)
{
    static char data[100 * 1024];
    int peer, size = 1 << 20;

    config.read_budget = 1 << 20;
    net_pair(&peer, &seen_ops, 0);
    assert_int_equal(setsockopt(peer, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
    net_write(peer, data, sizeof(data));
    net_steps(1);
    assert_true(seen.len <= SCRATCH_SIZE);
    net_steps(3);
    assert_int_equal(seen.len, sizeof(data));
    close(peer);
}

static void test_hold_and_release(void **state UNUSED)
{
    int peer;
    struct conn *c = net_pair(&peer, &seen_ops, 0);

    conn_hold(c, CONN_HOLD_ANSWER);
    conn_hold(c, CONN_HOLD_OUTPUT);
    net_write(peer, "x", 1);
    net_steps(3);
    assert_int_equal(seen.inputs, 0);
    conn_release_hold(c, CONN_HOLD_ANSWER);
    net_steps(3);
    assert_int_equal(seen.inputs, 0);
    conn_release_hold(c, CONN_HOLD_OUTPUT);
    net_steps(1);
    assert_int_equal(seen.inputs, 1);
    close(peer);
}

static void test_ring_full_holds(void **state UNUSED)
{
    int peer;
    struct conn *c = net_pair(&peer, &bare_ops, 0);

    seen.allow = 0;
    net_write(peer, "hello", 5);
    net_steps(1);
    assert_int_equal(c->hold, CONN_HOLD_RING);
    assert_int_equal(metrics->ring_stalls, 1);
    assert_int_equal(metrics->reads, 0);
    net_steps(4);
    assert_int_equal(metrics->ring_stalls, 1);
    assert_false(reactor->busy); /* asked by the timer, not by spinning */
    assert_int_equal(reactor->nap_ns, NAP_RETRY_NS);
    seen.allow = 2;
    net_steps(1);
    assert_int_equal(seen.len, 2);
    assert_int_equal(c->hold, 0);
    assert_true(waiters_empty(&reactor->waiters));
    net_steps(3);
    assert_memory_equal(seen.input, "hello", 5);
    assert_int_equal(seen.len, 5);
    close(peer);
}

static void test_held_for_two_reasons(void **state UNUSED)
{
    int peer;
    struct conn *c = net_pair(&peer, &bare_ops, 0);
    unsigned asked;

    seen.allow = 0;
    net_write(peer, "x", 1);
    net_steps(1);
    conn_hold(c, CONN_HOLD_ANSWER);
    asked = seen.asked;
    seen.allow = SIZE_MAX;
    net_steps(2);
    assert_int_equal(seen.asked, asked); /* the other reason comes first */
    assert_int_equal(c->hold, CONN_HOLD_ANSWER);
    conn_release_hold(c, CONN_HOLD_ANSWER);
    net_steps(1);
    assert_int_equal(seen.len, 1);
    close(peer);
}

static void test_many_held_go_on_in_turns(void **state UNUSED)
{
    int peers[200];

    seen.allow = 0;
    for (size_t i = 0; i < ARRAY_LEN(peers); i++) {
        net_pair(&peers[i], &bare_ops, 0);
        net_write(peers[i], "x", 1);
    }
    /* libev hands out a bounded number of events per poll, and more the next time. */
    net_steps(8);
    assert_int_equal(metrics->ring_stalls, ARRAY_LEN(peers));
    seen.allow = SIZE_MAX;
    seen.asked = 0;
    reactor_turn();
    assert_int_equal(seen.inputs, 64);
    assert_true(reactor->busy);
    net_steps(4);
    assert_int_equal(seen.inputs, ARRAY_LEN(peers));
    assert_int_equal(metrics->ring_stalls, ARRAY_LEN(peers));
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        close(peers[i]);
}

static void test_held_without_memory(void **state UNUSED)
{
    int peer;
    struct conn *c = net_pair(&peer, &bare_ops, 0);

    seen.allow = 0;
    net_write(peer, "x", 1);
    fault_fail_at(1);
    net_steps(1);
    fault_reset();
    (void)c;
    assert_int_equal(metrics->closes[CLOSE_NO_MEMORY], 1);
    assert_int_equal(reactor->connections, 0);
    close(peer);
}

/* Killed ones wait until their turn comes. */
static void test_held_and_killed(void **state UNUSED)
{
    int peers[150];
    struct conn *c[ARRAY_LEN(peers)];

    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        c[i] = net_pair(&peers[i], &bare_ops, 0);
    seen.allow = 0;
    for (size_t i = 0; i < 60; i++)
        conn_hold(c[i], CONN_HOLD_RING);
    net_steps(1); /* those that were asked in vain are behind now */
    for (size_t i = 60; i < ARRAY_LEN(peers); i++)
        conn_hold(c[i], CONN_HOLD_RING);
    assert_int_equal(reactor->held.in_use, ARRAY_LEN(peers));
    for (size_t i = 0; i < ARRAY_LEN(peers); i += 2)
        conn_kill(c[i], CLOSE_INTERNAL);
    seen.allow = SIZE_MAX;
    net_steps(4);
    assert_true(waiters_empty(&reactor->waiters));
    for (size_t i = 1; i < ARRAY_LEN(peers); i += 2) {
        assert_int_equal(c[i]->hold, 0);
        net_write(peers[i], "x", 1);
    }
    net_steps(8);
    assert_int_equal(seen.inputs, ARRAY_LEN(peers) / 2);
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        close(peers[i]);
}

static void test_held_killed(void **state UNUSED)
{
    int peer;
    struct conn *c = net_pair(&peer, &bare_ops, 0);

    seen.allow = 0;
    net_write(peer, "x", 1);
    net_steps(1);
    conn_kill(c, CLOSE_INTERNAL);
    net_steps(1);
    assert_true(waiters_empty(&reactor->waiters));
    assert_int_equal(reactor->connections, 0);
    assert_int_equal(metrics->closes[CLOSE_INTERNAL], 1);
    close(peer);
}

static void test_eof_kills_by_default(void **state UNUSED)
{
    int peer;
    struct conn *c = net_pair(&peer, &bare_ops, 0);
    uint64_t id = c->id;

    assert_ptr_equal(conn_find(id), c);
    close(peer);
    net_steps(1);
    assert_int_equal(metrics->closes[CLOSE_PEER_GONE], 1);
    assert_null(conn_find(id));
    assert_int_equal(reactor->connections, 0);
}

static void test_eof_op(void **state UNUSED)
{
    int peer;
    struct conn *c = net_pair(&peer, &seen_ops, 0);

    net_write(peer, "last", 4);
    assert_int_equal(shutdown(peer, SHUT_WR), 0);
    net_steps(4);
    assert_int_equal(seen.len, 4);
    assert_int_equal(seen.eofs, 1);
    assert_true(c->flags & CONN_EOF);
    assert_int_equal(conn_send(c, STR_LIT("answer")), 0); /* half-closed: it still reads */
    net_expect(peer, "answer");
    conn_finish(c, CLOSE_HTTP_DONE);
    assert_true(conn_dead(c)); /* no linger: the peer's end has been seen */
    net_steps(1);
    assert_true(net_at_eof(peer));
    assert_int_equal(metrics->closes[CLOSE_HTTP_DONE], 1);
    close(peer);
}

static void test_kill(void **state UNUSED)
{
    int peer;
    struct conn *c = net_pair(&peer, &seen_ops, 0);
    uint64_t id = c->id;

    conn_arm(c, NS_PER_SEC);
    conn_kill(c, CLOSE_FRAME_RSV);
    conn_kill(c, CLOSE_NO_MEMORY);
    conn_finish(c, CLOSE_NORMAL);
    conn_arm(c, NS_PER_SEC);
    conn_hold(c, CONN_HOLD_RING);
    conn_release_hold(c, CONN_HOLD_RING);
    assert_true(conn_dead(c));
    assert_int_equal(c->reason, CLOSE_FRAME_RSV);
    assert_int_equal(conn_send(c, STR_LIT("x")), -1);
    assert_null(conn_find(id));
    assert_int_equal(seen.releases, 0);
    assert_false(net_at_eof(peer)); /* the socket is closed in the reaping step */
    net_after(2 * NS_PER_SEC);
    assert_int_equal(seen.releases, 1);
    assert_int_equal(seen.deadlines, 0);
    assert_true(net_at_eof(peer));
    assert_int_equal(metrics->closes[CLOSE_FRAME_RSV], 1);
    assert_int_equal(metrics->closes[CLOSE_NO_MEMORY], 0);
    close(peer);
}

static void kill_on_input(struct conn *c, struct str in UNUSED)
{
    conn_kill(c, CLOSE_BAD_UTF8);
    seen.inputs++;
}

static void test_kill_inside_input(void **state UNUSED)
{
    static const struct conn_ops ops = {.name = "kill", .input = kill_on_input};
    int peer;

    net_pair(&peer, &ops, 0);
    net_write(peer, "xy", 2);
    net_steps(3);
    assert_int_equal(seen.inputs, 1);
    assert_int_equal(metrics->closes[CLOSE_BAD_UTF8], 1);
    close(peer);
}

static struct conn *victim;

static void kill_other(struct conn *c UNUSED, struct str in UNUSED)
{
    conn_kill(victim, CLOSE_INTERNAL);
    seen.inputs++;
}

/* Both are readable in one poll, and the first that is called kills the other, or itself. */
static void test_kill_of_a_pending_one(void **state UNUSED)
{
    static const struct conn_ops ops = {.name = "kill", .input = kill_other};
    int a, b;

    net_pair(&a, &ops, 0);
    victim = net_pair(&b, &ops, 0);
    net_write(a, "x", 1);
    net_write(b, "x", 1);
    net_steps(1);
    assert_true(seen.inputs == 1 || seen.inputs == 2);
    assert_int_equal(reactor->connections, 1);
    assert_true(net_at_eof(b) || errno == ECONNRESET);
    close(a);
    close(b);
}

/* As after a restart of the process: the same place, and another id. */
static void test_ids_do_not_begin_again(void **state)
{
    uint64_t id;
    int peer, place;
    struct conn *c = net_pair(&peer, &seen_ops, 0);

    id = c->id;
    place = conn_fd(c);
    close(peer);
    assert_int_equal(net_teardown(state), 0);
    assert_int_equal(net_setup(state), 0);
    c = net_pair(&peer, &seen_ops, 0);
    if (conn_fd(c) != place) /* descriptors are the loop's, too */
        id = id - (uint64_t)place + (uint64_t)conn_fd(c);
    assert_true(c->id != id);
    close(peer);
}

static void test_find_after_reuse(void **state UNUSED)
{
    int peer;
    struct conn *c = net_pair(&peer, &seen_ops, 0);
    uint64_t old = c->id;
    int fd = c->io.fd;

    conn_kill(c, CLOSE_NORMAL);
    net_steps(1);
    close(peer);
    c = net_pair(&peer, &seen_ops, 0);
    assert_int_equal(c->io.fd, fd);
    assert_null(conn_find(old));
    assert_ptr_equal(conn_find(c->id), c);
    assert_null(conn_find(0));
    assert_null(conn_find(UINT64_MAX));
    net_write(peer, "x", 1); /* libev watches the new socket behind the same number */
    net_steps(1);
    assert_int_equal(seen.inputs, 1);
    close(peer);
}

static void test_deadline(void **state UNUSED)
{
    int peer;
    struct conn *c = net_pair(&peer, &seen_ops, 0);

    net_after((uint64_t)config.header_timeout - NS_PER_SEC);
    assert_int_equal(seen.deadlines, 0);
    net_after(2 * NS_PER_SEC); /* armed by reactor_add() */
    assert_int_equal(seen.deadlines, 1);
    net_after(100 * NS_PER_SEC);
    assert_int_equal(seen.deadlines, 1);
    conn_arm(c, NS_PER_SEC);
    conn_arm(c, 5 * NS_PER_SEC);
    net_after(2 * NS_PER_SEC);
    assert_int_equal(seen.deadlines, 1);
    conn_arm(c, 0);
    net_after(100 * NS_PER_SEC);
    assert_int_equal(seen.deadlines, 1);
    close(peer);
}

static void test_gauges_follow_states(void **state UNUSED)
{
    int peer;
    struct conn *c = net_pair(&peer, &seen_ops, 0);

    assert_int_equal(metrics->connections_http, 1);
    conn_set_state(c, CONN_SUBSCRIBING);
    assert_int_equal(metrics->connections_http, 1);
    conn_set_state(c, CONN_OPEN);
    assert_int_equal(metrics->connections_http, 0);
    assert_int_equal(metrics->connections_plain, 1); /* the protocol's own */
    conn_set_state(c, CONN_SETTLING);
    assert_int_equal(metrics->connections_plain, 0);
    assert_int_equal(metrics->connections_closing, 1);
    conn_set_state(c, CONN_FLUSHING);
    assert_int_equal(metrics->connections_closing, 1);
    conn_set_state(c, CONN_LINGERING);
    assert_int_equal(metrics->connections_closing, 1);
    conn_kill(c, CLOSE_NORMAL);
    assert_int_equal(metrics->connections_closing, 0);
    assert_string_equal(conn_state_name(CONN_SETTLING), "settling");
    close(peer);
    c = net_pair(&peer, &bare_ops, 0);
    conn_set_state(c, CONN_OPEN); /* no session: without a gauge */
    assert_int_equal(metrics->connections_plain, 0);
    conn_set_state(c, CONN_CLOSING);
    assert_int_equal(metrics->connections_http, 0);
    assert_int_equal(metrics->connections_closing, 1);
    close(peer);
}

static void test_tcp_reset_and_address(void **state UNUSED)
{
    const struct linger reset = {.l_onoff = 1};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);
    int listening = socket(AF_INET, SOCK_STREAM, 0), peer = socket(AF_INET, SOCK_STREAM, 0), fd;
    char text[CONN_ADDRESS_MAX], want[CONN_ADDRESS_MAX];
    struct conn *c;

    assert_int_equal(bind(listening, (struct sockaddr *)&in, len), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&in, &len), 0);
    assert_int_equal(connect(peer, (struct sockaddr *)&in, len), 0);
    fd = accept4(listening, (struct sockaddr *)&in, &len, SOCK_NONBLOCK);
    c = reactor_add(fd, &seen_ops, (struct sockaddr *)&in, 0);
    assert_non_null(c);
    conn_format_address(c, text, sizeof(text));
    snprintf(want, sizeof(want), "127.0.0.1:%u", ntohs(in.sin_port));
    assert_string_equal(text, want);
    setsockopt(peer, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(peer);
    net_steps(1);
    assert_int_equal(metrics->closes[CLOSE_PEER_GONE], 1);
    assert_int_equal(seen.eofs, 0);
    close(listening);
}

static void test_size(void **state UNUSED)
{
    /* What an idle connection costs, besides its pool's share. */
    assert_true(sizeof(struct conn) <= 184);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(test_input),
        NET_TEST(test_read_budget),
        NET_TEST(test_scratch_bounds_read),
        NET_TEST(test_hold_and_release),
        NET_TEST(test_ring_full_holds),
        NET_TEST(test_held_for_two_reasons),
        NET_TEST(test_many_held_go_on_in_turns),
        NET_TEST(test_held_without_memory),
        NET_TEST(test_held_and_killed),
        NET_TEST(test_held_killed),
        NET_TEST(test_eof_kills_by_default),
        NET_TEST(test_eof_op),
        NET_TEST(test_kill),
        NET_TEST(test_kill_inside_input),
        NET_TEST(test_kill_of_a_pending_one),
        NET_TEST(test_ids_do_not_begin_again),
        NET_TEST(test_find_after_reuse),
        NET_TEST(test_deadline),
        NET_TEST(test_gauges_follow_states),
        NET_TEST(test_tcp_reset_and_address),
        NET_TEST(test_size),
    };

    return cmocka_run_group_tests_name("net/conn", tests, NULL, NULL);
}
