/* net/ws_deflate: compressed messages wait for room one by one; a session's own are compressed. */
#include "net/ws_deflate.c"

#include "codec/deflate.h"
#include "ws_harness.h"

#define RSV1 0x40

static struct conn *deflate_pair(int *peer)
{
    struct conn *c = ws_pair(peer, 0);

    conn_set_deflate(c, DEFLATE_32K);
    return c;
}

/* A message of n times the same byte, compressed, in one frame. */
static void run(int peer, size_t n)
{
    struct buf data = {0}, out = {0};

    assert_int_equal(buf_reserve(&data, n), 0);
    memset(data.p, 'x', n);
    data.len = n;
    assert_int_equal(deflate_message(DEFLATE_32K, 9, buf_view(&data), &out), 0);
    frame(peer, 0x81 | RSV1, out.p, out.len);
    buf_fini(&data);
    buf_fini(&out);
}

static void test_messages_wait_for_room(void **state UNUSED)
{
    int peer;
    struct conn *c = deflate_pair(&peer);

    session.allow_bytes = 20000;
    run(peer, 20000);
    net_steps(2);
    assert_int_equal(session.messages, 1);
    assert_int_equal(metrics->inflated, 1);
    assert_int_equal(metrics->inflated_to_bytes, 20000);
    run(peer, 20001); /* all in one read */
    text(peer, "next");
    run(peer, 20002);
    text(peer, "last");
    net_steps(4);
    assert_int_equal(session.messages, 1);
    assert_true(ws_rx_aside(&c->rx));
    assert_int_equal(c->hold, CONN_HOLD_RING);
    session.allow_bytes = 20001;
    net_steps(4);
    assert_int_equal(session.messages, 3);
    assert_true(ws_rx_aside(&c->rx));
    session.allow_bytes = 20002;
    net_steps(4);
    assert_int_equal(session.messages, 5);
    assert_null(c->rx.slot);
    assert_int_equal(c->hold, 0);
    text(peer, "on it goes");
    net_steps(2);
    assert_int_equal(session.messages, 6);
    close(peer);
}

/* Nothing is read that would only be put aside. */
static void test_no_room_at_all(void **state UNUSED)
{
    int peer;
    struct conn *c = deflate_pair(&peer);

    session.allow_bytes = 100;
    text(peer, "x");
    net_steps(3);
    assert_int_equal(session.messages, 0);
    assert_null(c->rx.slot);
    assert_int_equal(c->hold, CONN_HOLD_RING);
    session.allow_bytes = SIZE_MAX;
    net_steps(3);
    assert_int_equal(session.messages, 1);
    close(peer);
}

/* It is held for another reason, too, when there is room: no poll tells when that one is gone. */
static void test_held_twice(void **state UNUSED)
{
    int peer;
    struct conn *c = deflate_pair(&peer);

    session.allow_bytes = 20000;
    run(peer, 20001);
    net_steps(2);
    conn_hold(c, CONN_HOLD_ANSWER);
    session.allow_bytes = SIZE_MAX;
    net_steps(3);
    assert_int_equal(session.messages, 0);
    conn_release_hold(c, CONN_HOLD_ANSWER);
    net_steps(2);
    assert_int_equal(session.messages, 1);
    close(peer);
}

/* An end of ours: what waits is not taken any more, but the peer's close frame behind it is found. */
static void test_closing_while_it_waits(void **state UNUSED)
{
    int peer;
    struct conn *c = deflate_pair(&peer);

    session.allow_bytes = 20000;
    run(peer, 20001);
    frame(peer, 0x88, "\x03\xe8", 2);
    net_steps(2);
    assert_true(ws_rx_aside(&c->rx));
    ws_close(c, CLOSE_DRAIN);
    net_steps(2);
    expect_close(peer, CLOSE_DRAIN);
    assert_true(net_at_eof(peer));
    assert_int_equal(session.messages, 0);
    close(peer);
}

static void test_the_peer_goes_while_it_waits(void **state UNUSED)
{
    int peer;
    struct conn *c = deflate_pair(&peer);

    session.allow_bytes = 20000;
    run(peer, 20001);
    net_steps(2);
    assert_true(ws_rx_aside(&c->rx));
    conn_kill(c, CLOSE_PEER_GONE);
    net_steps(2);
    assert_int_equal(session.releases, 1);
    assert_int_equal(ws_rx_pool_slots_in_use(reactor->rx_pool), 0);
    close(peer);
}

/* What waits is accounted for as what is incomplete: beyond its share it ends. */
static void test_too_much_waits(void **state UNUSED)
{
    int peer;
    struct conn *c = deflate_pair(&peer);
    uint64_t held;

    session.allow_bytes = 20000;
    run(peer, 20001);
    net_steps(2);
    held = partial_bytes(false);
    assert_true(held > 0 && held == ws_rx_cost(&c->rx));
    ws_partial_over(c, CLOSE_PARTIAL);
    net_steps(2);
    expect_close(peer, CLOSE_PARTIAL);
    assert_int_equal(partial_bytes(false), 0);
    close(peer);
}

static void test_no_memory_to_wait(void **state UNUSED)
{
    int peer, failed = 0;

    for (unsigned long k = 1; k <= 12; k++) {
        struct conn *c = deflate_pair(&peer);

        session.allow_bytes = 20000;
        run(peer, 20001);
        fault_fail_at(k);
        net_steps(2);
        fault_reset();
        if (!ws_rx_aside(&c->rx)) {
            assert_int_equal(c->reason, CLOSE_NO_MEMORY);
            failed++;
        }
        session.allow_bytes = SIZE_MAX;
        net_steps(2);
        close(peer);
        net_steps(2);
        assert_int_equal(ws_rx_pool_slots_in_use(reactor->rx_pool), 0);
    }
    assert_true(failed >= 3);
}

/* --- sending --- */

/* The message that comes at the other end; whether it was compressed. */
static bool received(int peer, struct str expected)
{
    static char in[1 << 20];
    struct ws_rx_pool *pool = ws_rx_pool_new(WS_CLIENT, UINT64_MAX);
    const struct ws_rx_limits limits = {.frame = 1 << 20, .message = 1 << 20, .deflate = true};
    struct ws_rx rx = {0};
    struct ws_item item;
    enum close_reason why;
    struct str s = {in, net_read(peer, in, sizeof(in), NULL)};
    bool compressed;

    assert_int_equal(ws_rx_next(&rx, pool, &limits, &s, &item, &why), 1);
    assert_int_equal(item.kind, WS_ITEM_BINARY);
    assert_true(str_equal(item.data, expected) && s.n == 0);
    compressed = ws_rx_compressed(pool).p != NULL;
    ws_rx_pool_free(pool);
    return compressed;
}

static bool sent(struct conn *c, int peer, struct str data)
{
    assert_int_equal(ws_send(c, data, true), 0);
    net_steps(2);
    return received(peer, data);
}

static void test_replies(void **state UNUSED)
{
    static char text[DEFLATE_AT_ONCE + 1], noise[2000];
    int peer, buffer = 1 << 20;
    struct conn *c = deflate_pair(&peer);
    uint32_t random = 1;

    assert_int_equal(setsockopt(conn_fd(c), SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer)), 0);
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)('a' + i % 7);
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (char)((random = random * 1664525 + 1013904223) >> 24);
    assert_false(sent(c, peer, (struct str){text, 511}));
    assert_true(sent(c, peer, (struct str){text, 512}));
    assert_int_equal(metrics->deflated, 1);
    assert_int_equal(metrics->deflated_from_bytes, 512);
    assert_true(metrics->deflated_to_bytes > 0 && metrics->deflated_to_bytes < 100);
    assert_true(sent(c, peer, (struct str){text, 10000}));
    assert_false(sent(c, peer, (struct str){noise, sizeof(noise)})); /* would be longer */
    assert_true(sent(c, peer, (struct str){text, DEFLATE_AT_ONCE}));
    assert_true(sent(c, peer, (struct str){text, 600}));
    config.compression_min_size = 601;
    assert_false(sent(c, peer, (struct str){text, 600}));
    config.compression_min_size = 1;
    for (unsigned long k = 1; k <= 2; k++) {
        config.compression_level = (int64_t)(10 - k); /* needs memory for another one */
        fault_fail_at(k);
        assert_int_equal(ws_send(c, (struct str){text, 600}, true), 0);
        fault_reset();
        net_steps(2);
        (void)received(peer, (struct str){text, 600});
    }
    close(peer);
}

/* What is too long for one turn, and whoever has not agreed. */
static void test_replies_as_they_are(void **state UNUSED)
{
    static char text[DEFLATE_AT_ONCE + 1];
    struct str data = {text, sizeof(text)};
    int peer;
    struct conn *c = deflate_pair(&peer);

    assert_false(ws_deflate(c, &data));
    close(peer);
    c = ws_pair(&peer, 0);
    memset(text, 'x', 1000);
    assert_false(sent(c, peer, (struct str){text, 1000}));
    close(peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WS_TEST(test_messages_wait_for_room),
        WS_TEST(test_no_room_at_all),
        WS_TEST(test_held_twice),
        WS_TEST(test_closing_while_it_waits),
        WS_TEST(test_the_peer_goes_while_it_waits),
        WS_TEST(test_too_much_waits),
        WS_TEST(test_no_memory_to_wait),
        WS_TEST(test_replies),
        WS_TEST(test_replies_as_they_are),
    };

    return cmocka_run_group_tests_name("net/ws_deflate", tests, NULL, NULL);
}
