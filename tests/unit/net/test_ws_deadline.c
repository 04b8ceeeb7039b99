#include "net/ws.c"

#include "ws_harness.h"

static void test_ping_and_pong(void **state UNUSED)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);
    uint64_t interval = (uint64_t)config.ping_interval, pong = (uint64_t)config.pong_timeout;

    net_after(interval - NS_PER_SEC);
    EXPECT(peer, "");
    net_after(NS_PER_SEC + 200 * NS_PER_MS);
    EXPECT(peer, "\x89\x00");
    assert_int_equal(metrics->pings_out, 1);
    net_after(pong - NS_PER_SEC);
    frame(peer, 0x8a, NULL, 0);
    net_steps(1);
    net_after(2 * NS_PER_SEC);
    assert_int_equal(c->state, CONN_OPEN);
    net_after(interval - NS_PER_SEC); /* since the pong, an interval and a bit */
    EXPECT(peer, "\x89\x00");
    net_after(pong + 300 * NS_PER_MS);
    expect_close(peer, CLOSE_NO_PONG);
    close(peer);
    net_steps(1);
    assert_int_equal(metrics->closes[CLOSE_NO_PONG], 1);
}

/* Any frame is a sign of life, and talking costs no pings. */
static void test_no_ping_while_talking(void **state UNUSED)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);

    for (int i = 0; i < 20; i++) {
        net_after((uint64_t)config.ping_interval - NS_PER_SEC);
        frame(peer, 0x82, NULL, 0);
        net_steps(1);
        EXPECT(peer, "\x82\x00");
    }
    assert_int_equal(metrics->pings_out, 0);
    assert_int_equal(c->state, CONN_OPEN);
    close(peer);
}

/* A worker that was stopped for long pings late; the pong's time counts from then. */
/* A pong timeout longer than the interval must not stretch it. */
static void test_pings_keep_their_interval(void **state UNUSED)
{
    int64_t interval = config.ping_interval;
    int peer;

    config.ping_interval = 2 * (int64_t)NS_PER_SEC;
    ws_pair(&peer, 0);
    for (unsigned i = 1; i <= 4; i++) {
        net_after((uint64_t)config.ping_interval + 200 * NS_PER_MS);
        EXPECT(peer, "\x89\x00");
        assert_int_equal(metrics->pings_out, i);
        frame(peer, 0x8a, NULL, 0);
        net_steps(1);
    }
    config.ping_interval = interval;
    close(peer);
}

static void test_late_ping_gives_the_whole_time(void **state UNUSED)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);

    net_after(10 * (uint64_t)config.ping_interval);
    EXPECT(peer, "\x89\x00");
    net_after((uint64_t)config.pong_timeout - NS_PER_SEC);
    assert_int_equal(c->state, CONN_OPEN);
    net_after(NS_PER_SEC + 300 * NS_PER_MS);
    assert_int_equal(c->state, CONN_CLOSING);
    close(peer);
}

static void test_held_is_not_silent(void **state UNUSED)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);

    session.allow_bytes = 0;
    text(peer, "waiting in the socket");
    net_steps(1);
    assert_int_equal(c->hold, CONN_HOLD_RING);
    for (int i = 0; i < 200; i++)
        net_after(NS_PER_SEC);
    assert_int_equal(c->state, CONN_OPEN);
    assert_int_equal(metrics->pings_out, 0);
    session.allow_bytes = SIZE_MAX;
    net_steps(1);
    assert_int_equal(session.messages, 1);
    close(peer);
}

/* One byte a second keeps the connection alive, but not the message. */
static void test_trickled_message_is_cut_off(void **state UNUSED)
{
    static const uint8_t first[] = {0x82, 0xfe, 0x0f, 0xff, 0, 0, 0, 0};
    int peer;
    struct conn *c = ws_pair(&peer, 0);
    int seconds;

    net_after(10 * NS_PER_SEC);
    net_write(peer, first, sizeof(first));
    net_steps(1);
    for (seconds = 0; seconds < 100 && c->state == CONN_OPEN; seconds++) {
        net_write(peer, "x", 1);
        net_steps(1);
        net_after(NS_PER_SEC);
    }
    assert_true(seconds >= 60 && seconds <= 62);
    expect_close(peer, CLOSE_MESSAGE_TIMEOUT);
    close(peer);
}

static void test_fragments_and_pings_do_not_prolong(void **state UNUSED)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);
    char got[1000];
    int seconds;

    frame(peer, 0x01, "a", 1);
    net_steps(1);
    for (seconds = 0; seconds < 100 && c->state == CONN_OPEN; seconds++) {
        frame(peer, 0x00, "a", 1);
        frame(peer, 0x89, "a", 1);
        net_steps(1);
        net_after(NS_PER_SEC);
    }
    assert_true(seconds >= 60 && seconds <= 62);
    assert_true(net_read(peer, got, sizeof(got), NULL) > 0);
    close(peer);
    net_steps(1);
    assert_int_equal(metrics->closes[CLOSE_MESSAGE_TIMEOUT], 1);
}

/* Every read ends inside a message, but never inside the same one. */
static void test_back_to_back_messages_are_not_cut_off(void **state UNUSED)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);
    char got[1000];

    net_write(peer, "\x82\x81\0\0", 4);
    net_steps(1);
    for (int i = 0; i < 200; i++) {
        net_write(peer, "\0\0x\x82\x81\0\0", 7);
        net_steps(1);
        net_after(NS_PER_SEC);
    }
    assert_int_equal(c->state, CONN_OPEN);
    assert_int_equal(session.messages, 200);
    assert_true(net_read(peer, got, sizeof(got), NULL) == 600);
    /* The same with pings, that are no messages. */
    net_write(peer, "\0\0x\x89\x81\0\0", 7);
    for (int i = 0; i < 200; i++) {
        net_write(peer, "\0\0x\x89\x81\0\0", 7);
        net_steps(1);
        net_after(NS_PER_SEC);
    }
    assert_int_equal(c->state, CONN_OPEN);
    close(peer);
}

static void test_short_message_timeout_arms_earlier(void **state UNUSED)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);

    config.message_timeout = (int64_t)(2 * NS_PER_SEC);
    net_write(peer, "\x82\x81", 2);
    net_steps(1);
    net_after(NS_PER_SEC);
    assert_int_equal(c->state, CONN_OPEN);
    net_after(NS_PER_SEC + 200 * NS_PER_MS);
    assert_int_equal(c->state, CONN_CLOSING);
    expect_close(peer, CLOSE_MESSAGE_TIMEOUT);
    close(peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WS_TEST(test_ping_and_pong),
        WS_TEST(test_no_ping_while_talking),
        WS_TEST(test_pings_keep_their_interval),
        WS_TEST(test_late_ping_gives_the_whole_time),
        WS_TEST(test_held_is_not_silent),
        WS_TEST(test_trickled_message_is_cut_off),
        WS_TEST(test_fragments_and_pings_do_not_prolong),
        WS_TEST(test_back_to_back_messages_are_not_cut_off),
        WS_TEST(test_short_message_timeout_arms_earlier),
    };

    return cmocka_run_group_tests_name("net/ws_deadline", tests, NULL, NULL);
}
