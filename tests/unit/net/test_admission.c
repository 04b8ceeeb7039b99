#include "net/admission.c"

#include <arpa/inet.h>

#include "net_harness.h"

static unsigned here; /* the listener */

static struct sockaddr_storage peer_of(const char *text)
{
    struct address a;
    char err[200];

    if (address_parse(str_from(text), &a, err, sizeof(err)) == -1)
        fail_msg("%s", err);
    return a.sa;
}

static enum close_reason enter(const char *text)
{
    struct sockaddr_storage sa = peer_of(text);
    bool counted = false;
    enum close_reason why = admission_check((const struct sockaddr *)&sa, here, 0, &counted);

    assert_int_equal(counted, why == CLOSE_NONE && (config.max_connections_per_address > 0 ||
                                                    config.connection_rate_per_address > 0));
    return why;
}

static void leave(const char *text)
{
    struct sockaddr_storage sa = peer_of(text);
    uint8_t bytes[16];
    uint16_t port;

    address_bytes((const struct sockaddr *)&sa, bytes, &port);
    admission_leave(bytes, here);
}

static void test_no_limit_keeps_nothing(void **state)
{
    (void)state;
    assert_int_equal(enter("192.0.2.1:1"), CLOSE_NONE);
    leave("192.0.2.1:1"); /* unknown: no effect */
    for (size_t i = 0; i < NET_PLACES; i++)
        assert_int_equal(net_places[0][i].tag, 0);
}

static void test_node_limit(void **state)
{
    struct sockaddr_storage sa = peer_of("192.0.2.1:1");
    bool counted;

    (void)state;
    config.max_connections = 10;
    assert_int_equal(admission_check((struct sockaddr *)&sa, here, 9, &counted), CLOSE_NONE);
    assert_int_equal(admission_check((struct sockaddr *)&sa, here, 10, &counted), CLOSE_FULL);
    reactor->connection_max = 0;
    assert_int_equal(admission_check((struct sockaddr *)&sa, here, 0, &counted), CLOSE_FULL);
}

static void test_ipv4_exact(void **state)
{
    (void)state;
    config.max_connections_per_address = 2;
    assert_int_equal(enter("192.0.2.1:1"), CLOSE_NONE);
    assert_int_equal(enter("[::ffff:192.0.2.1]:2"),
                     CLOSE_NONE); /* the same host by the other family */
    assert_int_equal(enter("192.0.2.1:3"), CLOSE_ADDRESS_LIMIT);
    assert_int_equal(enter("192.0.2.2:1"), CLOSE_NONE);
    leave("192.0.2.1:1");
    assert_int_equal(enter("192.0.2.1:4"), CLOSE_NONE);
    assert_int_equal(net_counted(), 6); /* once for the listener */
    leave("192.0.2.1:4");
    leave("192.0.2.1:2");
    leave("192.0.2.2:1");
    assert_int_equal(net_counted(), 0);
}

static void test_ipv6_prefix(void **state)
{
    (void)state;
    config.max_connections_per_address = 1;
    assert_int_equal(enter("[2001:db8:0:1::1]:1"), CLOSE_NONE);
    assert_int_equal(enter("[2001:db8:0:1:ffff::2]:1"), CLOSE_ADDRESS_LIMIT);
    assert_int_equal(enter("[2001:db8:0:2::1]:1"), CLOSE_NONE);
    leave("[2001:db8:0:1:9::9]:1");
    assert_int_equal(enter("[2001:db8:0:1::3]:1"), CLOSE_NONE);
}

static void test_many_addresses(void **state)
{
    char text[40];

    (void)state;
    config.max_connections_per_address = 1;
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 5000; i++) {
            snprintf(text, sizeof(text), "10.1.%d.%d:9", i / 250, i % 250);
            assert_int_equal(enter(text), round == 0 ? CLOSE_NONE : CLOSE_ADDRESS_LIMIT);
        }
    for (int i = 0; i < 5000; i++) {
        snprintf(text, sizeof(text), "10.1.%d.%d:9", i / 250, i % 250);
        leave(text);
    }
    assert_int_equal(net_counted(), 0);
}

/* Places of an address's own, and all near them, are taken. */
static void test_no_place(void **state)
{
    (void)state;
    config.max_connections_per_address = 1;
    for (size_t i = 0; i < NET_PLACES; i++) {
        net_places[0][i].tag = i + 1;
        net_places[0][i].count = 1;
        net_places[0][i].life = 1;
    }
    assert_int_equal(enter("192.0.2.1:1"), CLOSE_NO_MEMORY);
}

/* The other worker has connections of that address, too. */
static void others(const char *text, uint32_t connections)
{
    struct addresses other = net_addresses;
    struct sockaddr_storage sa = peer_of(text);
    uint8_t bytes[16];
    uint16_t port;

    address_bytes((const struct sockaddr *)&sa, bytes, &port);
    other.own = 1;
    while (connections-- > 0)
        assert_int_equal(addresses_enter(&other, tags_of(bytes, 0).all, true), 0);
}

static void test_the_node_counts(void **state)
{
    (void)state;
    config.max_connections_per_address = 3;
    others("192.0.2.1:1", 2);
    assert_int_equal(enter("192.0.2.1:1"), CLOSE_NONE);
    assert_int_equal(enter("192.0.2.1:2"), CLOSE_ADDRESS_LIMIT);
    assert_int_equal(net_counted(), 2); /* twice one; a refused one leaves nothing */
    net_lives[1] = 2;                   /* that worker was killed and is another one now */
    assert_int_equal(enter("192.0.2.1:2"), CLOSE_NONE);
    assert_int_equal(enter("192.0.2.1:2"), CLOSE_NONE);
    assert_int_equal(enter("192.0.2.1:2"), CLOSE_ADDRESS_LIMIT);
}

static void test_rate(void **state)
{
    (void)state;
    config.connection_rate_per_address = 4;
    others("192.0.2.1:1", 2);
    assert_int_equal(enter("192.0.2.1:1"), CLOSE_NONE);
    leave("192.0.2.1:1"); /* that it has gone does not matter */
    assert_int_equal(enter("192.0.2.1:1"), CLOSE_NONE);
    for (int i = 0; i < 100; i++) /* who is refused is not counted, or it would be so for ever */
        assert_int_equal(enter("192.0.2.1:1"), CLOSE_ADDRESS_RATE);
    assert_int_equal(enter("192.0.2.2:1"), CLOSE_NONE);
    clock_advance(NS_PER_SEC + NS_PER_SEC / 2); /* half of the four count still */
    assert_int_equal(enter("192.0.2.1:1"), CLOSE_NONE);
    assert_int_equal(enter("192.0.2.1:1"), CLOSE_NONE);
    assert_int_equal(enter("192.0.2.1:1"), CLOSE_ADDRESS_RATE);
    clock_advance(2 * NS_PER_SEC);
    for (int i = 0; i < 4; i++)
        assert_int_equal(enter("192.0.2.1:1"), CLOSE_NONE);
    assert_int_equal(enter("192.0.2.1:1"), CLOSE_ADDRESS_RATE);
}

/* A listener's own limit is instead of the setting, for those that come by it. */
static void test_a_listener_of_its_own(void **state)
{
    (void)state;
    config.listeners_count = 2;
    config.max_connections_per_address = 2;
    config.listener[1].max_connections_per_address = 3;
    here = 0;
    assert_int_equal(enter("192.0.2.1:1"), CLOSE_NONE);
    here = 1;
    for (int i = 0; i < 3; i++)
        assert_int_equal(enter("192.0.2.1:1"), CLOSE_NONE);
    assert_int_equal(enter("192.0.2.1:1"), CLOSE_ADDRESS_LIMIT);
    here = 0;
    assert_int_equal(enter("192.0.2.1:1"), CLOSE_ADDRESS_LIMIT); /* it has four in all */
    config.listener[1].max_connections_per_address = 0;
    here = 1;
    leave("192.0.2.1:1");
    leave("192.0.2.1:1");
    leave("192.0.2.1:1");
    assert_int_equal(enter("192.0.2.1:1"), CLOSE_NONE);
    assert_int_equal(enter("192.0.2.1:1"), CLOSE_ADDRESS_LIMIT);
    config.listener[1].max_connections_per_address = 2; /* by a reload: what was counted, counts */
    assert_int_equal(enter("192.0.2.1:1"), CLOSE_NONE);
    assert_int_equal(enter("192.0.2.1:1"), CLOSE_ADDRESS_LIMIT);
    here = 0;
}

static void test_an_accept_rate(void **state)
{
    struct addresses other = net_addresses;

    (void)state;
    other.own = 1;
    admission_accepted(1);
    assert_false(admission_waits(1));
    config.listener[1].accept_rate = 3;
    addresses_listener_made(&other, 1);
    admission_accepted(1);
    assert_false(admission_waits(1));
    admission_accepted(1);
    assert_true(admission_waits(1));
    assert_false(admission_waits(0));
    net_lives[1] = 0; /* killed */
    assert_false(admission_waits(1));
    net_lives[1] = 1;
    clock_advance(2 * NS_PER_SEC);
    assert_false(admission_waits(1));
}

static void test_a_slow_start(void **state)
{
    (void)state;
    config.listener[1].accept_rate = 1000;
    config.slow_start = 10 * (int64_t)NS_PER_SEC;
    assert_int_equal(admission_rate(0), 0);
    assert_int_equal(admission_rate(1), 1000); /* it began long ago */
    reactor->cfg.node_started_ns = clock_ns();
    assert_int_equal(admission_rate(0), 0);
    assert_int_equal(admission_rate(1), 100);
    clock_advance(5 * NS_PER_SEC);
    assert_int_equal(admission_rate(1), 550);
    config.listener[1].accept_rate = 1;
    assert_int_equal(admission_rate(1), 1);
    config.listener[1].accept_rate = 1000;
    clock_advance(5 * NS_PER_SEC);
    assert_int_equal(admission_rate(1), 1000);
    config.slow_start = 0;
    reactor->cfg.node_started_ns = clock_ns();
    assert_int_equal(admission_rate(1), 1000);
}

/* Peers of a UNIX socket are nobody in particular. */
static void test_without_an_address(void **state)
{
    struct sockaddr_storage sa = {.ss_family = AF_UNIX};
    bool counted;

    (void)state;
    config.max_connections_per_address = 1;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(admission_check((struct sockaddr *)&sa, here, 0, &counted), CLOSE_NONE);
        assert_false(counted);
    }
}

/* Those that were there before a reload brought the limit count, too. */
static void test_a_limit_comes_later(void **state)
{
    struct sockaddr_in6 local = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct conn *c[3];
    int peer;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        c[i] = net_pair(&peer, &seen_ops, 0);
        conn_set_peer(c[i], (struct sockaddr *)&local);
    }
    admission_tick();
    assert_int_equal(net_counted(), 0);
    config.listeners_count = 1;
    config.connection_rate_per_address = 1; /* they were not opened now */
    config.max_connections_per_address = 3;
    admission_tick();
    admission_tick();
    assert_int_equal(net_counted(), 6); /* once for the listener */
    assert_int_equal(enter("[::1]:1"), CLOSE_ADDRESS_LIMIT);
    conn_kill(c[0], CLOSE_NORMAL);
    reactor_reap(SIZE_MAX);
    assert_int_equal(enter("[::1]:1"), CLOSE_NONE);
    config.connection_rate_per_address = 0;
    config.max_connections_per_address = 0;
    admission_tick();
    conn_kill(c[1], CLOSE_NORMAL);
    reactor_reap(SIZE_MAX);
    assert_int_equal(net_counted(), 4);
}

static char said[65536];

static void keep(struct str line, void *arg UNUSED)
{
    size_t n = strlen(said);

    assert_int_equal(str_copy(line, said + n, sizeof(said) - n), 0);
}

static unsigned times(const char *text)
{
    unsigned n = 0;

    for (const char *at = said; (at = strstr(at, text)) != NULL; at++)
        n++;
    return n;
}

/* What the limit's owner does about once a second. */
static void look(struct admission_watch *w, uint64_t connections, const struct admission_refused *r)
{
    const struct admission_limit limit = {
        .of = "node", .fix = "more", .connections = connections, .max = 10};

    admission_look(w, &limit, r->n, r->last_ns);
}

/* However many are refused: a line when it fills up, one a minute while it stays so, one when there
 * is room. */
static void test_full_and_room(void **state)
{
    struct admission_watch w = {0};
    struct admission_refused r = {0};

    (void)state;
    said[0] = '\0';
    log_set_sink(keep, NULL);
    log_set_level(LOG_INFO);
    look(&w, 10, &r);
    assert_string_equal(said, ""); /* as many as may be, and nobody was refused */
    for (int i = 0; i < 60; i++)
        note_refused(&r);
    look(&w, 10, &r);
    look(&w, 10, &r);
    assert_int_equal(times("\n"), 1);
    assert_int_equal(times("msg=\"full: further clients are answered 503\" of=node connections=10 "
                           "max=10 fix=more"),
                     1);
    look(&w, 9, &r); /* who comes and goes at the limit makes no line each time */
    assert_int_equal(times("\n"), 1);
    clock_advance(FULL_AGAIN_NS);
    note_refused(&r);
    clock_advance(FULL_CALM_NS + 1);
    look(&w, 10, &r);
    look(&w, 10, &r);
    assert_int_equal(times("\n"), 2);
    assert_int_equal(times("msg=\"still full\" of=node refused=61 full_for="), 1);
    clock_advance(2 * FULL_AGAIN_NS); /* nobody is refused any more: nothing to say */
    look(&w, 10, &r);
    assert_int_equal(times("\n"), 2);
    look(&w, 9, &r);
    look(&w, 9, &r);
    assert_int_equal(times("\n"), 3);
    assert_int_equal(
        times("msg=\"there is room for clients again\" of=node refused=61 full_for=60."), 1);
    note_refused(&r);
    look(&w, 10, &r);
    assert_int_equal(times("msg=\"full: "), 2);
    clock_advance(FULL_CALM_NS + 1);
    look(&w, 9, &r);
    assert_int_equal(times("of=node refused=1 full_for=0."), 1);
    log_set_sink(NULL, NULL);
}

static void test_node_refusals_are_noted(void **state)
{
    struct admission_refused r = {0};
    bool counted;

    (void)state;
    config.max_connections = 10;
    reactor->cfg.node_full = &r;
    assert_int_equal(admission_check(NULL, 0, 9, &counted), CLOSE_NONE);
    assert_int_equal(r.n, 0);
    assert_int_equal(admission_check(NULL, 0, 10, &counted), CLOSE_FULL);
    assert_int_equal(r.n, 1);
    assert_int_equal(r.last_ns, clock_ns());
}

static void test_full_worker(void **state)
{
    bool counted;

    (void)state;
    said[0] = '\0';
    log_set_sink(keep, NULL);
    log_set_level(LOG_INFO);
    reactor->connection_max = 0;
    for (int i = 0; i < 2; i++)
        assert_int_equal(admission_check(NULL, 0, 0, &counted), CLOSE_FULL);
    admission_tick();
    assert_int_equal(times("of=worker connections=0 max=0 fix=\"raise the limit of descriptors"),
                     1);
    reactor->connection_max = 1;
    clock_advance(FULL_CALM_NS + 1);
    admission_tick();
    assert_int_equal(times("msg=\"there is room for clients again\" of=worker refused=2 "), 1);
    assert_int_equal(times("\n"), 2);
    log_set_sink(NULL, NULL);
}

/* A connection of the admin listener that was heard at that tick. */
static struct conn *admin(uint32_t heard)
{
    int peer;
    struct conn *c = net_pair(&peer, &seen_ops, 0);

    c->flags |= CONN_ADMIN;
    reactor->client_connections--;
    reactor->admin_connections++;
    c->heard = heard;
    admission_admin_added(c);
    return c;
}

static void test_admin_makes_room(void **state)
{
    struct conn *c[4];

    (void)state;
    reactor->admin_max = 4;
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(admission_check_admin(), CLOSE_NONE);
        c[i] = admin(100 - i);
    }
    c[3]->flags |= CONN_WELCOME; /* longest silent, but it has had an answer */
    c[2]->hold = CONN_HOLD_ANSWER;
    assert_int_equal(admission_check_admin(), CLOSE_NONE);
    assert_int_equal(c[1]->reason, CLOSE_CROWDED_OUT);
    assert_int_equal(admission_check_admin(), CLOSE_NONE);
    assert_int_equal(c[0]->reason, CLOSE_CROWDED_OUT);
    assert_int_equal(admission_check_admin(), CLOSE_NONE);
    assert_int_equal(c[3]->reason, CLOSE_CROWDED_OUT);
    assert_int_equal(admission_check_admin(), CLOSE_FULL); /* who waits for an answer stays */
    assert_false(conn_dead(c[2]));
    reactor_reap(SIZE_MAX);
    assert_int_equal(reactor->admin_connections, 1);
    assert_int_equal(admission_check_admin(), CLOSE_NONE);
}

static void test_admin_queue_stays_short(void **state)
{
    (void)state;
    reactor->admin_max = 4;
    for (int i = 0; i < 100; i++) {
        conn_kill(admin(1), CLOSE_PEER_GONE);
        reactor_reap(SIZE_MAX);
        assert_true(reactor->admin.n <= 9);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(test_full_and_room),
        NET_TEST(test_node_refusals_are_noted),
        NET_TEST(test_full_worker),
        NET_TEST(test_no_limit_keeps_nothing),
        NET_TEST(test_node_limit),
        NET_TEST(test_ipv4_exact),
        NET_TEST(test_ipv6_prefix),
        NET_TEST(test_many_addresses),
        NET_TEST(test_no_place),
        NET_TEST(test_the_node_counts),
        NET_TEST(test_rate),
        NET_TEST(test_a_listener_of_its_own),
        NET_TEST(test_an_accept_rate),
        NET_TEST(test_a_slow_start),
        NET_TEST(test_without_an_address),
        NET_TEST(test_a_limit_comes_later),
        NET_TEST(test_admin_makes_room),
        NET_TEST(test_admin_queue_stays_short),
    };

    return cmocka_run_group_tests_name("net/admission", tests, NULL, NULL);
}
