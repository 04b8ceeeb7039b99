/* A broadcast does not hold up a bystander. The virtual clock stands still and the turn's budget is
 * nothing, so a turn does exactly one slice of the fan-out: what is counted is slices, not time. */
#include "proto/plain/plain.c"

#include "../harness.h"

#define SUBSCRIBERS 3000
#define SLICES_MAX  3

static int far_ends[SUBSCRIBERS];

static int setup(void **state UNUSED)
{
    if (h_start(true) == -1)
        return -1;
    config.turn_budget = 0;
    return 0;
}

/* A struct peer has a megabyte to read into, which so many do not need. */
static void subscribe_all(void)
{
    static const char request[] = "GET /ws/all?mode=sub" H_UPGRADE;
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(40000)};
    uint64_t upgrades = metrics->upgrades;

    sa.sin_addr.s_addr = htonl(0x7f000001);
    for (int i = 0; i < SUBSCRIBERS; i++) {
        int fds[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
        assert_non_null(reactor_add(fds[0], &http_conn_ops, (struct sockaddr *)&sa, 0));
        assert_int_equal(send(fds[1], request, sizeof(request) - 1, 0), sizeof(request) - 1);
        far_ends[i] = fds[1];
        h_turns(1);
    }
    for (int i = 0; metrics->upgrades < upgrades + SUBSCRIBERS && i < SUBSCRIBERS; i++)
        h_turns(1);
    assert_int_equal(metrics->upgrades - upgrades, SUBSCRIBERS);
}

static void close_all(void)
{
    for (int i = 0; i < SUBSCRIBERS; i++)
        close(far_ends[i]);
    h_turns(100);
}

/* Turns until something has come; more than that is a failure. */
static void assert_within_slices(struct peer *p, const char *what)
{
    for (int slices = 1;; slices++) {
        h_turns(1);
        h_read(p);
        if (p->len > 0)
            return;
        if (slices == SLICES_MAX)
            fail_msg("%s has not come after %d slices", what, slices);
    }
}

static void begin_broadcast(struct peer *publisher)
{
    uint64_t deliveries = metrics->deliveries;

    h_text(publisher, "to everybody");
    for (int i = 0; metrics->deliveries == deliveries && i < 10; i++)
        h_turns(1);
    assert_true(metrics->deliveries > deliveries);
    assert_true(metrics->deliveries - deliveries < SUBSCRIBERS / 10); /* it goes slice by slice */
}

static void a_ping_is_answered_within_slices(void **state UNUSED)
{
    struct peer *publisher = h_open("/ws/all?mode=pub"), *bystander = h_open("/ws/other");
    uint64_t end;

    subscribe_all();
    end = metrics->deliveries + SUBSCRIBERS;
    begin_broadcast(publisher);
    for (int i = 0; i < 10; i++) {
        h_frame(bystander, WS_OP_PING, STR_LIT("there?"));
        assert_within_slices(bystander, "the pong");
        assert_int_equal(bystander->len, 8);
        assert_memory_equal(bystander->got, "\x8a\x06there?", 8);
        h_forget(bystander);
    }
    assert_true(metrics->deliveries < end); /* all that was while the broadcast went on */
    h_turns(SUBSCRIBERS / 10);
    assert_int_equal(metrics->deliveries, end);
    close_all();
    h_close(publisher);
    h_close(bystander);
}

static void another_channel_and_a_newcomer_are_served_within_slices(void **state UNUSED)
{
    struct peer *publisher = h_open("/ws/all?mode=pub"), *bystander = h_open("/ws/other");
    struct peer *newcomer = h_connect(0);
    uint64_t end;

    subscribe_all();
    end = metrics->deliveries + SUBSCRIBERS + 1;
    begin_broadcast(publisher);
    h_text(bystander, "hello");
    assert_within_slices(bystander, "an echo in another channel");
    assert_memory_equal(bystander->got, "\x81\x05hello", 7);
    h_say(newcomer, "GET /ws/other" H_UPGRADE);
    assert_within_slices(newcomer, "the 101");
    assert_has(newcomer, " 101 ");
    assert_true(metrics->deliveries < end);
    h_turns(SUBSCRIBERS / 10);
    close_all();
    h_close(publisher);
    h_close(bystander);
    h_close(newcomer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_ping_is_answered_within_slices, setup, h_stop),
        cmocka_unit_test_setup_teardown(another_channel_and_a_newcomer_are_served_within_slices,
                                        setup, h_stop),
    };

    sessions_init();
    return cmocka_run_group_tests_name("proto/plain/plain, bystander", tests, NULL, NULL);
}
