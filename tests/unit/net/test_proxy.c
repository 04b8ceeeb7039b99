/* A header before everything else: in any parts, from whoever may send it and who may not. */
#include "net/proxy.c"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "memory.h"
#include "net_harness.h"

#define PROXY_4 "PROXY TCP4 203.0.113.9 192.0.2.2 50000 443\r\n"
#define LOCAL   "\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"
#define NAMED                                                                                      \
    "\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x1a\xcb\x00\x71\x09\xc0\x00\x02\x02\xc3\x50\x01\xbb"         \
    "\x02\x00\x0b"                                                                                 \
    "example.org"

static struct sockaddr_in from(const char *address)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(4000)};

    assert_int_equal(inet_pton(AF_INET, address, &sa.sin_addr), 1);
    return sa;
}

/* An accepted connection that waits for its header. */
static struct conn *accepted(int *peer, const char *address)
{
    struct sockaddr_in sa = from(address);
    struct conn *c;
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    c = conn_new(fds[0], &seen_ops, (struct sockaddr *)&sa, 0, CONN_PROXY);
    assert_non_null(c);
    tcp_watch(c);
    proxy_begin(c);
    conn_update_events(c);
    *peer = fds[1];
    return c;
}

static const char *address_of(const struct conn *c)
{
    static char text[CONN_ADDRESS_MAX];

    conn_format_address(c, text, sizeof(text));
    return text;
}

static void assert_seen(const char *text, size_t n)
{
    assert_int_equal(seen.len, n);
    assert_memory_equal(seen.input, text, n);
}

/* What stands behind the header is not its. */
static void a_header_and_more(void **state UNUSED)
{
    int peer;
    struct conn *c = accepted(&peer, "192.0.2.7");

    assert_string_equal(address_of(c), "192.0.2.7:4000");
    net_write(peer, PROXY_4 "GET /", sizeof(PROXY_4 "GET /") - 1);
    net_steps(3);
    assert_int_equal(c->state, CONN_HTTP);
    assert_string_equal(address_of(c), "203.0.113.9:50000");
    assert_seen("GET /", 5);
    assert_int_equal(metrics->clients_proxied, 1);
    close(peer);
    net_steps(3);
}

static void every_split(void **state UNUSED)
{
    static const struct {
        const char *text;
        size_t n;
        const char *address;
    } rows[] = {
        {PROXY_4 "hello", sizeof(PROXY_4 "hello") - 1, "203.0.113.9:50000"},
        {NAMED "hello", sizeof(NAMED "hello") - 1, "203.0.113.9:50000"},
        {LOCAL "hello", sizeof(LOCAL "hello") - 1, "192.0.2.7:4000"},
        {"PROXY UNKNOWN\r\nhello", 20, "192.0.2.7:4000"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t cut = 0; cut <= rows[i].n; cut++) {
            int peer;
            struct conn *c = accepted(&peer, "192.0.2.7");

            seen.len = 0;
            net_write(peer, rows[i].text, cut);
            net_steps(3);
            net_write(peer, rows[i].text + cut, rows[i].n - cut);
            net_steps(3);
            assert_seen("hello", 5);
            assert_string_equal(address_of(c), rows[i].address);
            close(peer);
            conn_kill(c, CLOSE_NORMAL);
            net_steps(3);
        }
    }
}

static void byte_by_byte(void **state UNUSED)
{
    static const char text[] = NAMED "hello";
    int peer;
    struct conn *c = accepted(&peer, "192.0.2.7");

    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        net_write(peer, text + i, 1);
        net_steps(2);
        assert_false(reactor->busy); /* what is there has been taken: nothing spins */
    }
    assert_seen("hello", 5);
    assert_string_equal(address_of(c), "203.0.113.9:50000");
    close(peer);
    net_steps(3);
}

static void assert_ends(const char *text, size_t n, enum close_reason why)
{
    uint64_t before = metrics->closes[why];
    int peer;

    accepted(&peer, "192.0.2.7");
    net_write(peer, text, n);
    net_steps(3);
    assert_int_equal(metrics->closes[why], before + 1);
    assert_int_equal(reactor->connections, 0);
    assert_int_equal(seen.len, 0);
    close(peer);
}

static void what_is_no_header(void **state UNUSED)
{
    assert_ends("GET / HTTP/1.1\r\n\r\n", 18, CLOSE_PROXY_MISSING);
    assert_ends("PROXY TCP4 x\r\n", 14, CLOSE_PROXY_HEADER);
    assert_ends("\r\n\r\n\0\r\nQUIT\n\x22", 13, CLOSE_PROXY_HEADER);
    assert_int_equal(metrics->clients_proxied, 0);
}

/* At once, whatever it says or does not say. */
static void others_may_not(void **state UNUSED)
{
    int peer;
    struct conn *c = accepted(&peer, "192.0.3.7");

    net_write(peer, PROXY_4, sizeof(PROXY_4) - 1);
    assert_true(conn_dead(c));
    assert_string_equal(address_of(c), "192.0.3.7:4000");
    net_steps(1);
    assert_int_equal(metrics->closes[CLOSE_PROXY_UNTRUSTED], 1);
    assert_int_equal(metrics->clients_proxied, 0);
    close(peer);
}

static void the_proxy_goes_away(void **state UNUSED)
{
    int peer;

    accepted(&peer, "192.0.2.7");
    net_write(peer, "PROXY TCP4", 10);
    net_steps(2);
    close(peer);
    net_steps(2);
    assert_int_equal(metrics->closes[CLOSE_PEER_GONE], 1);
    assert_int_equal(seen.releases, 0); /* whoever comes next never had it */
}

static void its_deadline(void **state UNUSED)
{
    int peer;

    accepted(&peer, "192.0.2.7");
    net_write(peer, "PROXY TCP4", 10);
    net_steps(2);
    net_after((uint64_t)config.header_timeout + NS_PER_SEC);
    net_steps(2);
    assert_int_equal(metrics->closes[CLOSE_PROXY_TIMEOUT], 1);
    assert_int_equal(seen.deadlines, 0);
    close(peer);
}

static void drained_meanwhile(void **state UNUSED)
{
    int peer;

    accepted(&peer, "192.0.2.7");
    reactor_drain(0, reactor_stop);
    net_steps(3);
    assert_int_equal(reactor->connections, 0);
    assert_int_equal(metrics->closes[CLOSE_DRAIN], 1);
    assert_int_equal(seen.drains, 0);
    close(peer);
}

/* The client is over its limit, not the proxy. */
static void limits_are_the_clients(void **state UNUSED)
{
    struct conn *c[3];
    int peer[3];

    config.max_connections_per_address = 1;
    for (size_t i = 0; i < ARRAY_LEN(c); i++) {
        c[i] = accepted(&peer[i], "192.0.2.7");
        net_write(peer[i], i < 2 ? PROXY_4 : LOCAL,
                  i < 2 ? sizeof(PROXY_4) - 1 : sizeof(LOCAL) - 1);
        net_steps(3);
    }
    assert_false(c[0]->flags & CONN_REFUSED);
    assert_true(c[0]->flags & CONN_COUNTED);
    assert_true(c[1]->flags & CONN_REFUSED);
    assert_int_equal(c[1]->refusal, CLOSE_ADDRESS_LIMIT);
    assert_int_equal(c[1]->state, CONN_HTTP);
    assert_false(c[2]->flags & (CONN_REFUSED | CONN_COUNTED)); /* the proxy's own */
    assert_int_equal(reactor->refused, 1);
    assert_int_equal(reactor->client_connections, 2);
    assert_int_equal(net_counted(), 2); /* one, for its listener too */
    for (size_t i = 0; i < ARRAY_LEN(c); i++)
        close(peer[i]);
    for (size_t i = 0; i < ARRAY_LEN(c); i++)
        conn_kill(c[i], CLOSE_NORMAL);
    net_steps(2);
    assert_int_equal(net_counted(), 0);
    assert_int_equal(reactor->refused + reactor->client_connections, 0);
}

static void no_place_for_the_refused(void **state UNUSED)
{
    int peer[2];

    config.max_connections_per_address = 1;
    reactor->refused_max = 0;
    for (size_t i = 0; i < ARRAY_LEN(peer); i++) {
        accepted(&peer[i], "192.0.2.7");
        net_write(peer[i], PROXY_4, sizeof(PROXY_4) - 1);
        net_steps(3);
    }
    assert_int_equal(metrics->closes[CLOSE_ADDRESS_LIMIT], 1);
    assert_int_equal(reactor->connections, 1);
    close(peer[0]);
    close(peer[1]);
}

/* UNIX sockets have no address: they are trusted as such. */
static void by_a_unix_socket(void **state UNUSED)
{
    static const uint8_t none[16];

    assert_false(client_is_proxy(none));
    networks_read(&config.trusted, "unix:");
    assert_true(client_is_proxy(none));
}

static void no_memory_for_a_part(void **state UNUSED)
{
    int peer;
    struct conn *c;

    accepted(&peer, "192.0.2.7");
    net_write(peer, "PROXY", 5);
    fault_fail_at(1);
    net_steps(1);
    fault_reset();
    net_steps(1);
    assert_int_equal(metrics->closes[CLOSE_NO_MEMORY], 1);
    assert_int_equal(reactor->connections, 0);
    close(peer);
    c = accepted(&peer, "192.0.2.7");
    net_write(peer, "PROXY", 5);
    net_steps(2);
    assert_int_equal(c->state, CONN_PROXY);
    close(peer);
}

/* On a way that gives little at a time, and breaks. */
static void a_way_that_misbehaves(void **state UNUSED)
{
    static const char text[] = NAMED "hello";
    unsigned done = 0;

    for (uint64_t seed = 1; seed < 200; seed++) {
        const struct memory_plan plan = {.seed = seed,
                                         .capacity = 16 + seed % 50,
                                         .short_each = 2,
                                         .later_each = 3,
                                         .stall_each = 20,
                                         .reset_each = seed % 4 == 0 ? 40 : 0};
        struct sockaddr_in sa = from("192.0.2.7");
        struct memory_end *ends[2];
        size_t sent = 0;
        struct conn *c;

        seen.len = 0;
        assert_int_equal(memory_pair(&plan, ends), 0);
        c = memory_add(ends[0], &seen_ops, (struct sockaddr *)&sa, 0, CONN_PROXY);
        assert_non_null(c);
        for (int i = 0; i < 500 && seen.len < 5; i++) {
            ssize_t n = memory_write(ends[1], text + sent, sizeof(text) - 1 - sent);

            sent += n > 0 ? (size_t)n : 0;
            net_steps(1);
        }
        if (seen.len == 5) {
            done++;
            assert_seen("hello", 5);
            assert_string_equal(address_of(c), "203.0.113.9:50000");
        } else {
            assert_true(plan.reset_each > 0);
        }
        memory_close(ends[1]);
        net_steps(2);
        if (reactor->connections > 0)
            conn_kill(c, CLOSE_NORMAL);
        net_steps(1);
    }
    assert_true(done > 150);
}

static int set_up(void **state)
{
    int rc = net_setup(state);

    networks_read(&config.trusted, "192.0.2.0/24");
    return rc;
}

#define PROXY_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, net_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROXY_TEST(a_header_and_more),      PROXY_TEST(every_split),
        PROXY_TEST(byte_by_byte),           PROXY_TEST(what_is_no_header),
        PROXY_TEST(others_may_not),         PROXY_TEST(the_proxy_goes_away),
        PROXY_TEST(its_deadline),           PROXY_TEST(drained_meanwhile),
        PROXY_TEST(limits_are_the_clients), PROXY_TEST(no_place_for_the_refused),
        PROXY_TEST(by_a_unix_socket),       PROXY_TEST(no_memory_for_a_part),
        PROXY_TEST(a_way_that_misbehaves),
    };

    return cmocka_run_group_tests_name("net/proxy", tests, NULL, NULL);
}
