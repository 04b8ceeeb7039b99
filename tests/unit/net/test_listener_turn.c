/* tests/unit/net/test_listener_turn.c - a shared socket, and other workers that are numbers. */
#include "net/listener_turn.c"

#include "net/listener_socket.h"
#include "net_harness.h"

static struct listener l;
static struct address where;
static struct listener_others others;
static int peers[64];
static size_t npeers;

static void say_others(unsigned index, struct listener_others *out)
{
    assert_int_equal(index, 0);
    *out = others;
}

static int setup(void **state)
{
    const struct listener_socket how = {.backlog = 100, .send_buffer = 65536};
    const struct listener_file file = {.mode = 0600, .owner = (uid_t)-1, .group = (gid_t)-1};
    char path[64], err[200];
    int fd;

    net_setup(state);
    reactor->cfg.listener_others = say_others;
    memset(&others, 0, sizeof(others));
    memset(&l, 0, sizeof(l));
    npeers = 0;
    snprintf(path, sizeof(path), "unix:/tmp/roost-turn-%d", (int)getpid());
    assert_int_equal(address_parse(str_from(path), &where, err, sizeof(err)), 0);
    fd = listener_open_unix(&where, &how, &file, err, sizeof(err));
    if (fd == -1)
        fail_msg("%s", err);
    listener_start(&l, fd, 0, &seen_ops);
    l.shared = true;
    return 0;
}

static int teardown(void **state)
{
    listener_stop(&l);
    close(l.io.fd);
    unlink(address_path(&where));
    for (size_t i = 0; i < npeers; i++)
        close(peers[i]);
    return net_teardown(state);
}

static void dial(unsigned n)
{
    for (; n > 0; n--) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_int_equal(connect(fd, (const struct sockaddr *)&where.sa, where.len), 0);
        peers[npeers++] = fd;
    }
}

static uint64_t held(void)
{
    return atomic_load(&reactor->counts[0].connections);
}

static void one_that_is_alone_takes_all(void **state UNUSED)
{
    dial(40);
    net_steps(2);
    assert_int_equal(held(), 40);
    assert_false(l.waits);
}

static void within_its_share_it_takes_at_once(void **state UNUSED)
{
    others = (struct listener_others){.serving = 1, .serving_connections = 40};
    dial(40);
    net_steps(2);
    assert_int_equal(held(), 40);
}

static void over_its_share_it_stands_back(void **state UNUSED)
{
    others = (struct listener_others){.serving = 3, .serving_connections = 0};
    dial(20);
    net_steps(4);
    assert_true(l.waits);
    assert_in_range(held(), SHARE_SLACK, SHARE_SLACK + 4);
}

static void what_others_take_it_leaves_to_them(void **state UNUSED)
{
    uint64_t before;

    others = (struct listener_others){.serving = 3, .serving_connections = 0};
    dial(20);
    net_steps(2);
    before = held();
    for (int i = 0; i < 5; i++) {
        others.accepts++; /* they move */
        net_after(2 * TURN_NS);
        net_steps(2);
        assert_int_equal(held(), before);
    }
}

static void what_nobody_takes_it_takes_one_by_one(void **state UNUSED)
{
    uint64_t before;

    others = (struct listener_others){.serving = 3, .serving_connections = 0};
    dial(20);
    net_steps(2);
    before = held();
    for (uint64_t i = 1; i <= 5; i++) {
        net_after(2 * TURN_NS);
        net_steps(2);
        assert_int_equal(held(), before + i);
    }
}

/* A turn that was waited for something that is gone is no claim to what comes next. */
static void an_old_turn_is_no_claim(void **state UNUSED)
{
    uint64_t before;
    int fd;

    others = (struct listener_others){.serving = 3, .serving_connections = 0};
    dial(20);
    net_steps(2);
    before = held();
    while ((fd = accept(l.io.fd, NULL, NULL)) != -1)
        close(fd);
    net_after(2 * TURN_NS);
    net_steps(2);
    assert_false(l.waits);
    dial(1);
    net_steps(1);
    assert_true(l.waits);
    assert_int_equal(held(), before);
}

static void what_does_not_serve_has_no_share(void **state UNUSED)
{
    others = (struct listener_others){.connections = 5, .serving = 0};
    dial(40);
    net_steps(2);
    assert_int_equal(held(), 40);
}

static void connections_have_no_address_to_be_counted_by(void **state UNUSED)
{
    char text[CONN_ADDRESS_MAX];
    struct conn *c;

    config.max_connections_per_address = 1;
    dial(3);
    net_steps(2);
    assert_int_equal(held(), 3);
    c = reactor->conns[reactor->conns_end - 1];
    conn_format_address(c, text, sizeof(text));
    assert_string_equal(text, "unix");
    assert_int_equal(conn_listener_index(c), 0);
    conn_kill(c, CLOSE_NORMAL);
    net_steps(1);
    assert_int_equal(held(), 2);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(one_that_is_alone_takes_all),           T(within_its_share_it_takes_at_once),
        T(over_its_share_it_stands_back),         T(what_others_take_it_leaves_to_them),
        T(what_nobody_takes_it_takes_one_by_one), T(an_old_turn_is_no_claim),
        T(what_does_not_serve_has_no_share),      T(connections_have_no_address_to_be_counted_by),
    };
    return cmocka_run_group_tests_name("net/listener_turn", tests, NULL, NULL);
}
