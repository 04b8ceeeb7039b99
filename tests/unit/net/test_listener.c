#include "net/listener.c"

#include <netinet/tcp.h>

#include "listener_harness.h"

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof(value);

    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

static void test_port_is_resolved_and_shared(void **state UNUSED)
{
    struct address again = where;
    char a[CONN_ADDRESS_MAX], b[CONN_ADDRESS_MAX];
    int second = open_listener(&again);

    address_format(&where, a, sizeof(a));
    address_format(&again, b, sizeof(b));
    assert_string_equal(a, b);
    assert_int_not_equal(((struct sockaddr_in *)&where.sa)->sin_port, 0);
    close(second);
}

static void test_options_are_inherited(void **state UNUSED)
{
    int peer = dial(), fd;

    net_steps(1);
    fd = conn_of_serial(1)->io.fd;
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
    assert_int_equal(option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT), 65536);
    assert_int_equal(option(fd, SOL_SOCKET, SO_SNDBUF), 2 * 65536);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(peer);
}

static void test_open_fails_with_a_sentence(void **state UNUSED)
{
    struct address a;
    char err[200] = "", want[CONN_ADDRESS_MAX];
    int plain = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(address_parse(STR_LIT("127.0.0.1:0"), &a, err, sizeof(err)), 0);
    assert_int_equal(bind(plain, (struct sockaddr *)&a.sa, a.len), 0);
    assert_int_equal(getsockname(plain, (struct sockaddr *)&a.sa, &a.len), 0);
    assert_int_equal(listener_open(&a, &how, err, sizeof(err)), -1);
    assert_int_equal(errno, EADDRINUSE);
    address_format(&a, want, sizeof(want));
    assert_non_null(strstr(err, want));
    assert_non_null(strstr(err, "cannot bind: Address already in use"));
    close(plain);
    assert_int_equal(address_parse(STR_LIT("192.0.2.1:0"), &a, err, sizeof(err)), 0);
    assert_int_equal(listener_open(&a, &how, err, sizeof(err)), -1);
    assert_int_equal(errno, EADDRNOTAVAIL);
}

static void test_dual_stack(void **state UNUSED)
{
    struct address any, v4 = where;
    struct listener l = {0};
    char err[200], text[CONN_ADDRESS_MAX];
    int fd, peer;

    assert_int_equal(address_parse(STR_LIT("[::]:0"), &any, err, sizeof(err)), 0);
    fd = listener_open(&any, &how, err, sizeof(err));
    if (fd == -1 && errno == EAFNOSUPPORT)
        skip(); /* a machine without IPv6 */
    assert_int_not_equal(fd, -1);
    listener_start(&l, fd, 0, &seen_ops);
    ((struct sockaddr_in *)&v4.sa)->sin_port = ((struct sockaddr_in6 *)&any.sa)->sin6_port;
    peer = dial_from(&v4, NULL);
    net_steps(1);
    conn_format_address(conn_of_serial(1), text, sizeof(text));
    assert_memory_equal(text, "127.0.0.1:", 10);
    listener_stop(&l);
    close(fd);
    close(peer);
}

static void test_accept_budget(void **state UNUSED)
{
    int peers[10];

    config.accept_budget = 4;
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        peers[i] = dial();
    net_steps(1);
    assert_int_equal(reactor->connections, 4);
    net_steps(1);
    assert_int_equal(reactor->connections, 8);
    net_steps(1);
    assert_int_equal(reactor->connections, 10);
    assert_int_equal(metrics->accepts, 10);
    assert_int_equal(metrics->accept_errors, 0);
    net_steps(2);
    assert_int_equal(seen.inputs, 10);
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        close(peers[i]);
}

static void test_stop(void **state UNUSED)
{
    int peer;

    listener_stop(&client);
    listener_stop(&client);
    listener_stop(&admin); /* never started */
    peer = dial();
    net_steps(2);
    assert_int_equal(reactor->connections, 0);
    listener_start(&client, listening, 0, &seen_ops);
    net_steps(1);
    assert_int_equal(reactor->connections, 1);
    close(peer);
}

/* By another process that holds it, for all. */
static void test_shut_down(void **state UNUSED)
{
    assert_int_equal(shutdown(listening, SHUT_RDWR), 0);
    net_steps(2);
    assert_int_equal(metrics->accept_errors, 0);
    assert_false(client.paused);
    assert_false(ev_is_active(&client.io));
}

static void test_stand_in(void **state UNUSED)
{
    int peer = dial();

    client.stand_in = true;
    net_steps(1);
    assert_int_equal(metrics->accepts, 1);
    assert_int_equal(metrics->accepts_stand_in, 1);
    close(peer);
}

static void test_full(void **state UNUSED)
{
    int peers[4];
    struct conn *c;

    config.max_connections = 2;
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        peers[i] = dial();
    net_steps(1);
    assert_int_equal(reactor->client_connections, 2);
    assert_int_equal(reactor->refused, 2);
    assert_int_equal(reactor->connections, 4);
    c = conn_of_serial(3);
    assert_true(c->flags & CONN_REFUSED);
    assert_int_equal(c->refusal, CLOSE_FULL);
    assert_false(conn_of_serial(2)->flags & CONN_REFUSED);
    conn_kill(conn_of_serial(1), CLOSE_NORMAL);
    conn_kill(c, CLOSE_FULL);
    net_steps(1);
    assert_int_equal(reactor->refused, 1);
    close(peers[0]);
    peers[0] = dial();
    net_steps(1);
    assert_false(conn_of_serial(5)->flags & CONN_REFUSED);
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        close(peers[i]);
}

/* As many descriptors are taken as there are for clients: who comes is left in the queue, until
 * half of those of the refused are free. */
static void test_out_of_places(void **state UNUSED)
{
    enum { REFUSED = 64 };
    int peers[REFUSED + 5];

    reactor->connection_max = 0;
    config.accept_budget = 1000;
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        peers[i] = dial();
    net_steps(5);
    assert_int_equal(reactor->refused, REFUSED);
    assert_int_equal(metrics->accepts, REFUSED);
    assert_int_equal(metrics->closes[CLOSE_FULL], 0);
    assert_int_equal(metrics->accept_stops_descriptors, 1);
    assert_true(client.stopped);
    for (uint64_t serial = 1; serial < REFUSED / 2; serial++)
        conn_kill(conn_of_serial(serial), CLOSE_FULL);
    net_steps(3);
    assert_true(client.stopped);
    conn_kill(conn_of_serial(REFUSED / 2), CLOSE_FULL);
    net_steps(3);
    assert_false(client.stopped);
    assert_int_equal(metrics->accepts, ARRAY_LEN(peers));
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        close(peers[i]);
}

/* Who comes faster than accept_rate waits in the queue, for moments. */
static void test_an_accept_rate(void **state UNUSED)
{
    int peers[5];

    config.listener[0].accept_rate = 2;
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        peers[i] = dial();
    net_steps(3);
    assert_int_equal(metrics->accepts, 2);
    assert_int_equal(metrics->accept_stops_rate, 1);
    assert_true(client.slowed);
    assert_true(reactor->nap_ns <= RATE_REST_NS);
    conn_kill(conn_of_serial(1), CLOSE_NORMAL);
    net_steps(3); /* that is no reason to go on */
    assert_int_equal(metrics->accepts, 2);
    for (int i = 0; i < 100 && metrics->accepts < ARRAY_LEN(peers); i++)
        net_after(RATE_REST_NS + 1);
    assert_int_equal(metrics->accepts, ARRAY_LEN(peers));
    assert_int_equal(metrics->closes[CLOSE_FULL], 0);
    assert_true(clock_ns() - NET_START >= NS_PER_SEC);
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        close(peers[i]);
}

/* Beyond the places of the refused, at a limit that is not this worker's. */
static void test_full_beyond_the_reserve(void **state UNUSED)
{
    enum { REFUSED = 64 };
    int peers[REFUSED + 5];

    config.max_connections = 0;
    config.accept_budget = 1000;
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        peers[i] = dial();
    net_steps(1);
    assert_int_equal(reactor->refused, REFUSED);
    assert_int_equal(reactor->connections, REFUSED);
    assert_int_equal(metrics->closes[CLOSE_FULL], 5);
    assert_int_equal(metrics->accepts, ARRAY_LEN(peers));
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        close(peers[i]);
}

static uint64_t node_total(void)
{
    return 100 + reactor->client_connections;
}

/* The sum is asked for once per batch; what the batch adds counts all the same. */
static void test_full_over_the_node(void **state UNUSED)
{
    int peers[5];

    reactor->cfg.node_connections = node_total;
    config.max_connections = 103;
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        peers[i] = dial();
    net_steps(1);
    assert_int_equal(reactor->client_connections, 3);
    assert_int_equal(reactor->refused, 2);
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        close(peers[i]);
}

static void test_admin_is_not_limited(void **state UNUSED)
{
    struct address a = where;
    int fd, peer, other;

    ((struct sockaddr_in *)&a.sa)->sin_port = 0;
    fd = open_listener(&a);
    listener_start(&admin, fd, 1, &seen_ops);
    config.max_connections = 1;
    config.max_connections_per_address = 1;
    peer = dial();
    other = dial_from(&a, NULL);
    net_steps(1);
    assert_int_equal(reactor->client_connections, 1);
    assert_int_equal(reactor->refused, 0);
    assert_int_equal(reactor->connections, 2);
    assert_int_equal(
        !!(conn_of_serial(1)->flags & CONN_ADMIN) + !!(conn_of_serial(2)->flags & CONN_ADMIN), 1);
    listener_stop(&admin);
    close(fd);
    close(peer);
    close(other);
}

static void test_address_limit(void **state UNUSED)
{
    int peers[4];

    config.max_connections_per_address = 2;
    for (int i = 0; i < 3; i++)
        peers[i] = dial_from(&where, "127.0.0.2");
    peers[3] = dial_from(&where, "127.0.0.3");
    net_steps(1);
    assert_int_equal(reactor->client_connections, 3);
    assert_int_equal(reactor->refused, 1);
    assert_int_equal(conn_of_serial(3)->refusal, CLOSE_ADDRESS_LIMIT);
    conn_kill(conn_of_serial(3), CLOSE_ADDRESS_LIMIT);
    conn_kill(conn_of_serial(1), CLOSE_NORMAL);
    net_steps(1);
    close(peers[0]);
    close(peers[2]);
    peers[0] = dial_from(&where, "127.0.0.2");
    peers[2] = dial_from(&where, "127.0.0.2");
    net_steps(1);
    assert_false(conn_of_serial(5)->flags & CONN_REFUSED);
    assert_true(conn_of_serial(6)->flags & CONN_REFUSED);
    config.max_connections_per_address =
        0; /* reloaded: those that were counted are still taken off */
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        close(peers[i]);
    for (uint64_t serial = 1; serial <= 6; serial++)
        if (conn_of_serial(serial))
            conn_kill(conn_of_serial(serial), CLOSE_NORMAL);
    net_steps(1);
    assert_int_equal(reactor->connections, 0);
}

static void test_no_memory(void **state UNUSED)
{
    int peer = dial();
    bool eof;
    char got[8];

    fault_fail_at(1);
    net_steps(1);
    fault_reset();
    assert_int_equal(reactor->connections, 0);
    assert_int_equal(metrics->closes[CLOSE_NO_MEMORY], 1);
    net_read(peer, got, sizeof(got), &eof);
    assert_true(eof || errno == ECONNRESET);
    close(peer);
    /* The count of an address that could not be kept is given back. */
    config.max_connections_per_address = 1;
    for (unsigned long k = 1; k <= 4; k++) {
        peer = dial();
        fault_fail_at(k);
        net_steps(1);
        fault_reset();
        reactor_step(false);
        for (size_t i = 0; i < reactor->conns_end; i++)
            if (reactor->conns[i])
                conn_kill(reactor->conns[i], CLOSE_NORMAL);
        net_steps(1);
        close(peer);
    }
    peer = dial();
    net_steps(1);
    assert_int_equal(reactor->client_connections, 1);
    close(peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LISTENER_TEST(test_port_is_resolved_and_shared),
        LISTENER_TEST(test_options_are_inherited),
        LISTENER_TEST(test_open_fails_with_a_sentence),
        LISTENER_TEST(test_dual_stack),
        LISTENER_TEST(test_accept_budget),
        LISTENER_TEST(test_stop),
        LISTENER_TEST(test_shut_down),
        LISTENER_TEST(test_stand_in),
        LISTENER_TEST(test_full),
        LISTENER_TEST(test_out_of_places),
        LISTENER_TEST(test_an_accept_rate),
        LISTENER_TEST(test_full_beyond_the_reserve),
        LISTENER_TEST(test_full_over_the_node),
        LISTENER_TEST(test_admin_is_not_limited),
        LISTENER_TEST(test_address_limit),
        LISTENER_TEST(test_no_memory),
    };

    return cmocka_run_group_tests_name("net/listener", tests, NULL, NULL);
}
