#include "net/ws.c"

#include "ws_harness.h"

static void test_echo(void **state)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);

    (void)state;
    text(peer, "hello");
    frame(peer, 0x82, "\x00\xff", 2);
    net_steps(1);
    EXPECT(peer, "\x81\x05hello\x82\x02\x00\xff");
    assert_int_equal(metrics->messages_in, 2);
    assert_int_equal(metrics->message_bytes_in, 7);
    assert_int_equal(metrics->frames_in, 2);
    assert_int_equal(metrics->frames_out, 2);
    assert_int_equal(c->frames_in, 2);
    assert_null(c->rx.slot);
    close(peer);
}

static void test_byte_by_byte(void **state)
{
    static const char in[] =
        "\x81\x85\0\0\0\0hello\x89\x81\0\0\0\0p\x01\x81\0\0\0\0a\x80\x81\0\0\0\0b"
        "\x88\x82\0\0\0\0\x03\xe8";
    int peer;

    (void)state;
    ws_pair(&peer, 0);
    for (size_t i = 0; i < sizeof(in) - 1; i++) {
        net_write(peer, in + i, 1);
        net_steps(1);
    }
    EXPECT(peer, "\x81\x05hello\x8a\x01p\x81\x02"
                 "ab\x88\x02\x03\xe8");
    assert_true(net_at_eof(peer));
    close(peer);
}

static void test_every_split(void **state)
{
    static const char in[] =
        "\x81\x85\0\0\0\0hello\x89\x80\0\0\0\0\x01\x81\0\0\0\0a\x80\x81\0\0\0\0b"
        "\x88\x80\0\0\0\0";

    (void)state;
    for (size_t split = 0; split < sizeof(in); split++) {
        int peer;

        ws_pair(&peer, 0);
        if (split > 0)
            net_write(peer, in, split);
        net_steps(1);
        if (split < sizeof(in) - 1)
            net_write(peer, in + split, sizeof(in) - 1 - split);
        net_steps(2);
        /* The pong may be sent with others of its input, but never behind the close frame. */
        {
            char got[64];
            bool eof;
            size_t n = net_read(peer, got, sizeof(got), &eof);

            assert_true(eof);
            assert_int_equal(n, 7 + 2 + 4 + 2);
            assert_memory_equal(got, "\x81\x05hello", 7);
            assert_memory_equal(got + 13, "\x88\x00", 2);
        }
        close(peer);
        net_steps(1);
    }
    assert_int_equal(reactor->connections, 0);
}

static void test_pings_are_answered(void **state)
{
    char payload[125];
    int peer;

    (void)state;
    memset(payload, 'p', sizeof(payload));
    ws_pair(&peer, 0);
    frame(peer, 0x89, NULL, 0);
    frame(peer, 0x89, "abc", 3);
    frame(peer, 0x8a, "unsolicited", 11);
    net_steps(1);
    EXPECT(peer, "\x8a\x00\x8a\x03"
                 "abc");
    for (int i = 0; i < 40; i++) /* more than one gathering of pongs */
        frame(peer, 0x89, payload, 125);
    net_steps(2);
    {
        char got[8192];

        assert_int_equal(net_read(peer, got, sizeof(got), NULL), 40 * 127);
        for (int i = 0; i < 40; i++) {
            assert_memory_equal(got + i * 127, "\x8a\x7d", 2);
            assert_memory_equal(got + i * 127 + 2, payload, 125);
        }
    }
    assert_int_equal(session.messages, 0);
    close(peer);
}

/* Tiny pongs to a peer that does not read must not cost more than their bytes. */
static void test_ping_flood_costs_little(void **state)
{
    char flood[6000];
    int peer;
    struct conn *c = ws_pair(&peer, 4608);

    (void)state;
    for (size_t i = 0; i + 6 <= sizeof(flood); i += 6)
        memcpy(flood + i, "\x89\x80\0\0\0\0", 6);
    config.output_limit = 20000;
    for (int i = 0; i < 100; i++) {
        (void)!send(peer, flood, sizeof(flood), MSG_NOSIGNAL);
        net_steps(1);
    }
    assert_false(conn_dead(c));
    assert_true(conn_queued(c) < 22000);
    assert_true(c->hold & CONN_HOLD_OUTPUT);
    close(peer);
}

static void test_may_read_in_chunks(void **state)
{
    int peer;
    struct conn *c = ws_pair(&peer, 0);

    (void)state;
    assert_int_equal(ws_may_read(c, 65536), 65536);
    session.allow_messages = 16384 / 6 + 1;
    assert_int_equal(ws_may_read(c, 65536), 16384);
    session.allow_messages--;
    assert_int_equal(ws_may_read(c, 65536), 4096);
    session.allow_messages = 200;
    assert_int_equal(ws_may_read(c, 65536), 512);
    assert_int_equal(ws_may_read(c, 300), 300);
    session.allow_bytes = 511;
    assert_int_equal(ws_may_read(c, 65536), 0);
    session.allow_bytes = 520; /* what is held of an incomplete message counts */
    net_write(peer, "\x82\x9e\0\0\0\0 ten bytes", 16);
    net_steps(1);
    assert_int_equal(ws_rx_held(&c->rx), 10);
    assert_int_equal(ws_may_read(c, 65536), 0);
    session.allow_bytes = 522;
    assert_int_equal(ws_may_read(c, 65536), 512);
    session.allow_bytes = 0;
    ws_close(c, CLOSE_DRAIN); /* nothing is published any more */
    assert_int_equal(ws_may_read(c, 65536), 65536);
    close(peer);
}

static void test_no_memory(void **state)
{
    (void)state;
    for (unsigned long k = 1; k < 20; k++) {
        int peer;
        struct conn *c = ws_pair(&peer, 0);
        bool failed;

        text(peer, "whole");
        frame(peer, 0x01, "frag", 4);
        frame(peer, 0x89, "ping", 4);
        fault_fail_at(k);
        net_steps(1);
        failed = fault_count() >= k;
        fault_reset();
        net_steps(1);
        if (!failed) {
            assert_int_equal(c->state, CONN_OPEN);
            close(peer);
            return;
        }
        close(peer);
        net_steps(2);
        assert_int_equal(reactor->connections, 0);
        assert_int_equal(metrics->closes[CLOSE_NO_MEMORY], k);
        outq_pools_fini(&reactor->output);
    }
    fail();
}

/* Its incomplete input has to go, whatever has become of the connection meanwhile. */
static void test_incomplete_input_is_over(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 4; kind++) {
        int peer;
        struct conn *c = ws_pair(&peer, 0);

        net_write(peer, "\x81\xfe", 2);
        net_steps(1);
        assert_true(ws_rx_partial(&c->rx));
        assert_true(partial_bytes(false) > 0);
        if (kind == 1)
            ws_close(c, CLOSE_NORMAL);
        else if (kind == 2)
            conn_finish(c, CLOSE_NORMAL);
        else if (kind == 3)
            conn_kill(c, CLOSE_NORMAL);
        ws_partial_over(c, CLOSE_PARTIAL);
        assert_false(ws_rx_partial(&c->rx));
        assert_int_equal(partial_bytes(false), 0);
        assert_int_equal(c->reason, kind == 0 ? CLOSE_PARTIAL : CLOSE_NORMAL);
        assert_true(conn_finished(c));
        close(peer);
        net_steps(2);
    }
    assert_int_equal(reactor->connections, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WS_TEST(test_echo),
        WS_TEST(test_byte_by_byte),
        WS_TEST(test_every_split),
        WS_TEST(test_pings_are_answered),
        WS_TEST(test_ping_flood_costs_little),
        WS_TEST(test_may_read_in_chunks),
        WS_TEST(test_no_memory),
        WS_TEST(test_incomplete_input_is_over),
    };

    return cmocka_run_group_tests_name("net/ws", tests, NULL, NULL);
}
