#include "net/reactor.c"

#include <arpa/inet.h>

#include "net_harness.h"

static void test_add_and_counts(void **state)
{
    int a, b, c;
    struct conn *client = net_pair(&a, &seen_ops, 0), *admin, *refused;
    int fds[2];

    (void)state;
    assert_int_equal(client->state, CONN_HTTP);
    assert_int_equal(client->reason, CLOSE_NONE);
    assert_int_equal(client->id & ((1u << CONN_ID_FD_BITS) - 1), client->io.fd);
    for (size_t i = 0; i < CONN_SESSION_SIZE; i++)
        assert_int_equal(((char *)conn_session(client))[i], 0);
    assert_ptr_equal(conn_of_session(conn_session(client)), client);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    admin = reactor_add(fds[0], &seen_ops, NULL, CONN_ADMIN);
    b = fds[1];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    refused = reactor_add(fds[0], &seen_ops, NULL, CONN_REFUSED);
    c = fds[1];
    assert_true(admin->id != client->id && refused->id != admin->id);
    assert_int_equal(reactor->connections, 3);
    assert_int_equal(reactor->client_connections, 1);
    assert_int_equal(reactor->refused, 1);
    conn_kill(client, CLOSE_NORMAL);
    conn_kill(admin, CLOSE_NORMAL);
    conn_kill(refused, CLOSE_FULL);
    assert_int_equal(reactor->connections, 3);
    net_steps(1);
    assert_int_equal(reactor->connections, 0);
    assert_int_equal(reactor->client_connections, 0);
    assert_int_equal(reactor->refused, 0);
    assert_int_equal(reactor->conn_pool.in_use, 0);
    close(a);
    close(b);
    close(c);
}

static void test_add_without_memory(void **state)
{
    (void)state;
    for (unsigned long k = 1; k <= 2; k++) {
        int fds[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
        fault_fail_at(k);
        assert_null(reactor_add(fds[0], &seen_ops, NULL, 0));
        fault_reset();
        assert_true(net_at_eof(fds[1])); /* the fd is closed */
        assert_int_equal(reactor->connections, 0);
        assert_int_equal(metrics->connections_http, 0);
        close(fds[1]);
    }
}

static void test_array_grows(void **state)
{
    int fds[2], high = 3000;
    struct conn *c;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    if (dup2(fds[0], high) == -1)
        skip(); /* RLIMIT_NOFILE is that small */
    close(fds[0]);
    c = reactor_add(high, &seen_ops, NULL, 0);
    assert_true(reactor->conns_cap > (size_t)high);
    assert_int_equal(reactor->conns_end, high + 1);
    assert_ptr_equal(conn_find(c->id), c);
    net_write(fds[1], "x", 1);
    net_steps(1);
    assert_int_equal(seen.inputs, 1);
    close(fds[1]);
}

static void test_output_lost_is_a_reset(void **state)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);
    int listening = socket(AF_INET, SOCK_STREAM, 0), peer = socket(AF_INET, SOCK_STREAM, 0), fd;
    static char data[8 << 20];
    struct conn *c;
    ssize_t n;

    (void)state;
    assert_int_equal(bind(listening, (struct sockaddr *)&in, len), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&in, &len), 0);
    assert_int_equal(connect(peer, (struct sockaddr *)&in, len), 0);
    fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK);
    c = reactor_add(fd, &seen_ops, NULL, 0);
    assert_int_equal(conn_send(c, (struct str){data, sizeof(data)}), 0);
    assert_true(conn_queued(c) > 0);
    conn_kill(c, CLOSE_SLOW);
    net_steps(1);
    while ((n = recv(peer, data, sizeof(data), 0)) > 0)
        ;
    assert_int_equal(n, -1);
    assert_int_equal(errno, ECONNRESET);
    close(peer);
    close(listening);
}

static void test_reap_is_bounded(void **state)
{
    int peers[5];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        conn_kill(net_pair(&peers[i], &seen_ops, 0), CLOSE_NORMAL);
    assert_int_equal(reactor_reap(2), 2);
    assert_int_equal(seen.releases, 2);
    assert_int_equal(reactor_reap(100), 3);
    assert_int_equal(reactor_reap(100), 0);
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        close(peers[i]);
}

static void count_visit(struct conn *c, void *arg)
{
    unsigned *n = arg;

    (*n)++;
    if (*n % 3 == 0)
        conn_kill(c, CLOSE_NORMAL);
}

static void test_scan(void **state)
{
    int peers[10];
    size_t cursor = 0, calls = 0;
    unsigned n = 0;
    struct conn *dead;

    (void)state;
    assert_false(reactor_scan(&cursor, 10, count_visit, &n)); /* nobody yet */
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        dead = net_pair(&peers[i], &seen_ops, 0);
    conn_kill(dead, CLOSE_NORMAL);
    cursor = 0;
    while (reactor_scan(&cursor, 7, count_visit, &n))
        calls++;
    assert_int_equal(n, 9);
    assert_true(calls >= 1 && calls == (reactor->conns_end - 1) / 7);
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        close(peers[i]);
}

static void test_gauges(void **state)
{
    int peer;
    struct conn *c = net_pair(&peer, &seen_ops, 0);
    struct blob *b = blob_from(STR_LIT("twelve bytes"));

    (void)state;
    conn_set_state(c, CONN_OPEN);
    c->sent_turn = (uint32_t)reactor->turn; /* no direct send */
    conn_deliver(c, b, 0, 12, 0, 1);
    reactor_update_gauges();
    assert_int_equal(metrics->output_queues, 1);
    assert_int_equal(metrics->output_bytes, 12);
    assert_true(metrics->blob_bytes >= 12);
    assert_true(metrics->pool_objects >= 3); /* the connection, its queue, a chunk */
    assert_true(metrics->pool_bytes > 0);
    assert_int_equal(metrics->partial_bytes, 0);
    assert_int_equal(metrics->ws_slots, 0);
    net_steps(1);
    reactor_update_gauges();
    assert_int_equal(metrics->output_queues, 0);
    assert_int_equal(metrics->output_bytes, 0);
    blob_put(&b);
    close(peer);
}

/* Both listeners' incomplete input, each bounded apart. */
static void test_partial_gauge(void **state)
{
    struct holder h[2] = {{0}};
    int peers[2];

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct conn *c = net_pair(&peers[i], &seen_ops, 0);

        c->flags |= i == 1 ? CONN_ADMIN : 0;
        reactor->admin_connections += i;
        reactor->client_connections -= i;
        assert_int_equal(partial_hold(c, &h[i], 1000), CLOSE_NONE);
    }
    reactor_update_gauges();
    assert_int_equal(metrics->partial_bytes, 2000);
    assert_int_equal(partial_bytes(true), 1000);
    for (unsigned i = 0; i < 2; i++) {
        budget_leave(&h[i]);
        close(peers[i]);
    }
    reactor_update_gauges();
    assert_int_equal(metrics->partial_bytes, 0);
}

static void test_fini_releases_everything(void **state)
{
    struct reactor_config cfg = {.wake_fd = -1, .hub_wake_fd = -1};
    int peer;
    struct conn *c = net_pair(&peer, &seen_ops, 0);

    (void)state;
    conn_hold(c, CONN_HOLD_RING);
    c->sent_turn = (uint32_t)reactor->turn;
    assert_int_equal(conn_send(c, STR_LIT("queued")), 0);
    reactor_fini();
    assert_int_equal(seen.releases, 1);
    assert_int_equal(metrics->connections_http, 0);
    assert_true(net_at_eof(peer) || errno == ECONNRESET);
    close(peer);
    reactor_init(&cfg);
}

static void test_config_changed(void **state)
{
    size_t before = reactor->connection_max;

    (void)state;
    reactor->connection_max = 0;
    reactor_config_changed();
    assert_int_equal(reactor->connection_max, before);
    reactor->cfg.inherited_fds = 10;
    reactor_config_changed();
    assert_int_equal(reactor->connection_max, before - 10);
    assert_true(before > 0);
}

/* Nothing of one is seen in the other: connections, output, drain, deadlines, loop. */
static void test_two_in_one_process(void **state UNUSED)
{
    const struct reactor_config cfg = {.wake_fd = -1, .hub_wake_fd = -1};
    struct reactor *first = reactor, *second = calloc(1, sizeof(*second));
    int peer, other;
    struct conn *c = net_pair(&peer, &seen_ops, 0);

    assert_non_null(second);
    reactor = second;
    reactor_init(&cfg);
    assert_int_equal(reactor->connections, 0);
    net_pair(&other, &seen_ops, 0)->sent_turn = (uint32_t)reactor->turn;
    assert_int_equal(
        conn_send(seen.last = reactor->conns[reactor->conns_end - 1], STR_LIT("of the second")), 0);
    assert_int_equal(second->output.queues.in_use, 1);
    assert_int_equal(first->output.queues.in_use, 0);
    net_write(peer, "of the first", 12);
    reactor_drain(0, NULL);
    net_steps(3);
    net_expect(other, "of the second");
    assert_int_equal(seen.drains, 1);
    assert_int_equal(seen.inputs, 0);

    reactor = first;
    assert_false(reactor->draining);
    net_steps(2);
    assert_int_equal(seen.inputs, 1);
    assert_int_equal(c->state, CONN_HTTP);

    reactor = second;
    reactor_fini();
    assert_true(net_at_eof(other));
    reactor = first;
    assert_int_equal(reactor->connections, 1);
    free(second);
    close(peer);
    close(other);
}

static unsigned inits, finis;

static void seen_part_init(void *part)
{
    assert_int_equal(*(uint64_t *)part, 0);
    *(uint64_t *)part = ++inits;
}

static void seen_part_fini(void *part)
{
    assert_int_equal(*(uint64_t *)part, inits - finis++); /* the youngest first */
}

/* Set up when first asked for, in each reactor anew, and gone with it. */
static void test_parts(void **state UNUSED)
{
    static struct reactor_part a = {.size = 8, .init = seen_part_init, .fini = seen_part_fini},
                               b = {.size = 8, .init = seen_part_init, .fini = seen_part_fini},
                               zeroed = {.size = 100},
                               pool = REACTOR_POOL("of_a_test", struct list);
    const struct reactor_config cfg = {.wake_fd = -1, .hub_wake_fd = -1};

    for (int round = 0; round < 2; round++) {
        uint64_t *pa = reactor_part(&a), *pb;
        char *z = reactor_part(&zeroed);

        for (size_t i = 0; i < 100; i++)
            assert_int_equal(z[i], 0);
        memset(z, 1, 100);
        assert_non_null(pool_get(reactor_pool(&pool)));
        assert_int_equal(reactor_pool(&pool)->in_use, 1);
        assert_int_equal(*pa, 1);
        pb = reactor_part(&b);
        assert_int_equal(*pb, 2);
        assert_int_equal(*pa, 1);
        assert_ptr_equal(pa, reactor_part(&a));
        assert_int_equal(finis, 0);
        reactor_fini();
        assert_int_equal(finis, 2);
        inits = finis = 0;
        reactor_init(&cfg);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(test_add_and_counts),
        NET_TEST(test_add_without_memory),
        NET_TEST(test_array_grows),
        NET_TEST(test_output_lost_is_a_reset),
        NET_TEST(test_reap_is_bounded),
        NET_TEST(test_scan),
        NET_TEST(test_gauges),
        NET_TEST(test_partial_gauge),
        NET_TEST(test_fini_releases_everything),
        NET_TEST(test_config_changed),
        NET_TEST(test_two_in_one_process),
        NET_TEST(test_parts),
    };

    return cmocka_run_group_tests_name("net/reactor", tests, NULL, NULL);
}
