/* From a handshake to an open session: waiting for the hub, what comes behind the head. */
#include "proto/ws_upgrade.c"

#include "fault.h"
#include "harness.h"

static int setup(void **state UNUSED)
{
    return h_start(true);
}

static void the_101_waits_for_the_hub(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    h_hub.frozen = true;
    h_shake(p, "/ws/lobby");
    assert_nothing(p);
    assert_int_equal(p->conn->state, CONN_SUBSCRIBING);
    assert_int_equal(conn_ops(p->conn)->kind, SESSION_PLAIN);
    h_hub.frozen = false;
    h_turns(3);
    h_read(p);
    assert_string_equal(p->got, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                "Connection: Upgrade\r\n"
                                "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
                                "Date: Thu, 01 Jan 1970 00:16:40 GMT\r\n\r\n");
    assert_int_equal(p->conn->state, CONN_OPEN);
    assert_null(*upgrade_of(p->conn));
    assert_int_equal(metrics->upgrades, 1);
    assert_int_equal(metrics->http_requests, 1);
    assert_int_equal(upgrades()->pool.in_use, 0);
    h_close(p);
}

/* mode=pub has nobody to wait for, a second subscriber of a channel neither. */
static void who_need_not_wait(void **state UNUSED)
{
    struct peer *a = h_open("/ws/lobby"), *b = h_connect(0), *c = h_connect(0);

    h_hub.frozen = true;
    h_shake(b, "/ws/lobby");
    assert_int_equal(h_status(b), 101);
    h_shake(c, "/ws/nobody?mode=pub");
    assert_int_equal(h_status(c), 101);
    h_hub.frozen = false;
    h_close(a);
    h_close(b);
    h_close(c);
}

static void a_silent_hub_is_answered_503(void **state UNUSED)
{
    struct peer *p = h_connect(0), *q = h_connect(0);

    h_hub.frozen = true;
    h_shake(p, "/ws/lobby");
    h_shake(q, "/ws?channel=a&channel=b");
    h_wait(4 * NS_PER_SEC);
    h_read(p);
    assert_int_equal(p->len, 0);
    h_wait(2 * NS_PER_SEC);
    h_read(p);
    h_read(q);
    assert_int_equal(h_status(p), 503);
    assert_int_equal(h_status(q), 503);
    assert_has(p, "Retry-After: 1\r\n");
    assert_has(p, "Connection: close\r\n");
    assert_true(p->eof);
    assert_int_equal(metrics->handshake_failures[CLOSE_HUB_TIMEOUT], 2);
    h_hub.frozen = false;
    h_turns(4); /* confirmations come to nobody */
    h_close(p);
    h_close(q);
    assert_int_equal(metrics->subscriptions, 0);
    assert_int_equal(upgrades()->pool.in_use, 0);
}

/* The engine is away: whoever waits is told so, at once. */
static void who_cannot_be_subscribed_is_answered_503(void **state UNUSED)
{
    struct peer *p = h_connect(0), *q = h_connect(0);

    h_hub.frozen = true;
    h_shake(p, "/ws/lobby");
    h_shake(q, "/ws?channel=a&channel=lobby");
    h_turns(2);
    ws_upgrade_refused(p->conn);
    ws_upgrade_refused(q->conn);
    ws_upgrade_refused(q->conn);
    h_turns(2);
    h_read(p);
    h_read(q);
    assert_int_equal(h_status(p), 503);
    assert_int_equal(h_status(q), 503);
    assert_has(p, "Retry-After: 1\r\n");
    assert_int_equal(metrics->handshake_failures[CLOSE_ENGINE_AWAY], 2);
    h_hub.frozen = false;
    h_turns(4);
    h_close(p);
    h_close(q);
    assert_int_equal(metrics->subscriptions, 0);
    assert_int_equal(upgrades()->pool.in_use, 0);
}

static void a_peer_that_leaves_while_it_waits(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    h_hub.frozen = true;
    h_shake(p, "/ws?channel=a&channel=b");
    conn_kill(p->conn, CLOSE_PEER_GONE);
    h_turns(1);
    h_hub.frozen = false;
    h_turns(4);
    h_close(p);
    assert_int_equal(upgrades()->pool.in_use, 0);
    assert_int_equal(metrics->subscriptions, 0);
}

static void a_drain_is_answered_503(void **state UNUSED)
{
    struct peer *p = h_connect(0), *q = h_connect(0);

    h_hub.frozen = true;
    h_shake(p, "/ws/lobby");
    conn_ops(p->conn)->drain(p->conn);
    h_turns(2);
    h_read(p);
    assert_int_equal(h_status(p), 503);
    assert_int_equal(metrics->handshake_failures[CLOSE_DRAIN], 1);
    h_hub.frozen = false;
    reactor->draining = true;
    h_shake(q, "/ws/lobby");
    assert_int_equal(h_status(q), 503);
    assert_true(q->eof);
    reactor->draining = false;
    h_close(p);
    h_close(q);
}

static void frames_behind_the_head_are_heard(void **state UNUSED)
{
    static const char head[] = "GET /ws/lobby" H_UPGRADE;
    size_t head_len = sizeof(head) - 1;
    struct buf all = {0};

    assert_int_equal(buf_append(&all, (struct str){head, head_len}), 0);
    h_append_frame(&all, WS_OP_TEXT, STR_LIT("early"));
    h_append_frame(&all, WS_OP_PING, STR_LIT("p"));
    for (size_t cut = head_len - 3; cut <= all.len; cut++) {
        struct peer *p = h_connect(0);
        char *at;

        h_send(p, all.p, cut);
        h_turns(1);
        if (cut < all.len)
            h_send(p, all.p + cut, all.len - cut);
        h_turns(6);
        h_read(p);
        at = strstr(p->got, "\r\n\r\n");
        assert_non_null(at);
        at += 4;
        assert_int_equal(p->len - (size_t)(at - p->got), 3 + 7);
        assert_non_null(memmem(at, 10,
                               "\x81\x05"
                               "early",
                               7));
        assert_non_null(memmem(at, 10, "\x8a\x01p", 3));
        h_close(p);
    }
    buf_fini(&all);
    assert_int_equal(upgrades()->pool.in_use, 0);
}

static void early_frames_wait_for_room_in_the_ring(void **state UNUSED)
{
    struct peer *filler = h_open("/ws/fill?mode=pub"), *p = h_connect(0);
    struct buf all = {0};
    static char text[60000];

    memset(text, 'x', sizeof(text));
    h_hub.frozen = true;
    while (broker_can_publish(reactor->broker, 200, 2)) {
        if (h_fill_ring((struct str){text, 5000}) == -1 &&
            h_fill_ring((struct str){text, 100}) == -1)
            break;
    }
    assert_int_equal(buf_append_lit(&all, "GET /ws/lobby?mode=pub" H_UPGRADE), 0);
    for (int i = 0; i < 300; i++)
        h_append_frame(&all, WS_OP_TEXT, (struct str){text, 100});
    h_send(p, all.p, all.len);
    h_turns(4);
    h_read(p);
    assert_int_equal(h_status(p), 101);
    assert_int_equal(p->conn->state, CONN_OPEN);
    assert_true(p->conn->hold & CONN_HOLD_ANSWER);
    assert_non_null(*upgrade_of(p->conn));
    assert_int_equal(metrics->messages_in, 0);
    h_hub.frozen = false;
    h_turns(60);
    assert_int_equal(metrics->messages_in, 300);
    assert_null(*upgrade_of(p->conn));
    assert_int_equal(p->conn->hold, 0);
    h_text(p, "on");
    h_turns(2);
    assert_int_equal(metrics->messages_in, 301);
    buf_fini(&all);
    h_close(p);
    h_close(filler);
}

static void a_close_in_the_early_frames(void **state UNUSED)
{
    struct peer *p = h_connect(0);
    struct buf all = {0};

    assert_int_equal(buf_append_lit(&all, "GET /ws/lobby" H_UPGRADE), 0);
    h_append_frame(&all, WS_OP_TEXT, STR_LIT("x"));
    h_append_frame(&all, WS_OP_CLOSE, STR_LIT("\x03\xe8"));
    h_append_frame(&all, WS_OP_TEXT, STR_LIT("never"));
    h_send(p, all.p, all.len);
    h_turns(8);
    h_read(p);
    assert_memory_equal(p->got + p->len - 7, "\x81\x01x\x88\x02\x03\xe8", 7);
    assert_true(p->eof);
    buf_fini(&all);
    h_close(p);
    assert_int_equal(upgrades()->pool.in_use, 0);
}

static void every_failed_allocation_ends_in_order(void **state UNUSED)
{
    static const char *const paths[] = {"/ws/a?mode=pub", "/ws?channel=a&channel=b", "/ws/c"};

    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        for (unsigned k = 1; k < 25; k++) {
            struct peer *p = h_connect(0);
            struct buf all = {0};

            assert_int_equal(buf_printf(&all, "GET %s" H_UPGRADE, paths[i]), 0);
            h_append_frame(&all, WS_OP_PING, STR_LIT("x"));
            h_send(p, all.p, all.len);
            buf_fini(&all);
            fault_fail_at(k);
            h_turns(6);
            fault_reset();
            h_wait(6 * NS_PER_SEC);
            h_close(p);
            assert_int_equal(upgrades()->pool.in_use, 0);
            assert_int_equal(metrics->subscriptions, 0);
        }
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, h_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_101_waits_for_the_hub),         T(who_need_not_wait),
        T(a_silent_hub_is_answered_503),      T(who_cannot_be_subscribed_is_answered_503),
        T(a_peer_that_leaves_while_it_waits), T(a_drain_is_answered_503),
        T(frames_behind_the_head_are_heard),  T(early_frames_wait_for_room_in_the_ring),
        T(a_close_in_the_early_frames),       T(every_failed_allocation_ends_in_order),
    };

    sessions_init();
    return cmocka_run_group_tests_name("proto/ws_upgrade", tests, NULL, NULL);
}
