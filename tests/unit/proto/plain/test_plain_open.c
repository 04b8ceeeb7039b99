/* From the request to the subscriptions: what is refused. */
#include "proto/plain/plain_open.c"

#include "fault.h"

#include "../harness.h"

static int setup(void **state UNUSED)
{
    return h_start(true);
}

struct refusal {
    const char *text;
    int status;
    enum close_reason why;
    const char *has;
};

#define UP                                                                                         \
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: "                             \
    "dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VER "Sec-WebSocket-Version: 13\r\n"

static void handshakes_that_are_refused(void **state UNUSED)
{
    static const struct refusal bad[] = {
        {"GET /ws/a HTTP/1.1\r\nHost: a\r\n\r\n", 426, CLOSE_UPGRADE_REQUIRED,
         "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nConnection: Upgrade\r\n"},
        {"GET /ws/a HTTP/1.0\r\n" UP VER "\r\n", 426, CLOSE_UPGRADE_REQUIRED, "Connection: "},
        {"GET /ws/a HTTP/1.1\r\nHost: a\r\n" UP "Sec-WebSocket-Version: 8\r\n\r\n", 426,
         CLOSE_UPGRADE_VERSION, "Sec-WebSocket-Version: 13\r\n"},
        {"GET /ws/a HTTP/1.1\r\nHost: a\r\n" UP "\r\n", 426, CLOSE_UPGRADE_VERSION, NULL},
        {"POST /ws/a HTTP/1.1\r\nHost: a\r\n" UP VER "\r\n", 405, CLOSE_BAD_METHOD,
         "Allow: GET\r\n"},
        {"HEAD /ws/a HTTP/1.1\r\nHost: a\r\n" UP VER "\r\n", 405, CLOSE_BAD_METHOD, NULL},
        {"GET /ws/a HTTP/1.1\r\nHost: a\r\n" UP VER "Content-Length: 2\r\n\r\nab", 400,
         CLOSE_UPGRADE_HEADER, NULL},
        {"GET /ws/a HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" VER
         "\r\n",
         400, CLOSE_UPGRADE_KEY, NULL},
        {"GET /ws/a HTTP/1.1\r\nHost: a\r\n" UP VER "Origin: http://b\r\n\r\n", 403,
         CLOSE_BAD_ORIGIN, NULL},
        {"GET /ws/ HTTP/1.1\r\nHost: a\r\n" UP VER "\r\n", 400, CLOSE_BAD_CHANNEL, NULL},
        {"GET /ws/a%20b HTTP/1.1\r\nHost: a\r\n" UP VER "\r\n", 400, CLOSE_BAD_CHANNEL, NULL},
        {"GET /ws/%c3 HTTP/1.1\r\nHost: a\r\n" UP VER "\r\n", 400, CLOSE_BAD_CHANNEL, NULL},
        {"GET /ws/%g1 HTTP/1.1\r\nHost: a\r\n" UP VER "\r\n", 400, CLOSE_BAD_TARGET, NULL},
        {"GET /ws HTTP/1.1\r\nHost: a\r\n" UP VER "\r\n", 400, CLOSE_BAD_CHANNEL, NULL},
        {"GET /ws?channel= HTTP/1.1\r\nHost: a\r\n" UP VER "\r\n", 400, CLOSE_BAD_CHANNEL, NULL},
        {"GET /ws/a?mode=x HTTP/1.1\r\nHost: a\r\n" UP VER "\r\n", 400, CLOSE_BAD_QUERY, NULL},
        {"GET /ws?channel=a&channel=b&channel=c HTTP/1.1\r\nHost: a\r\n" UP VER "\r\n", 400,
         CLOSE_TOO_MANY_CHANNELS, NULL},
    };

    config.max_channels_per_connection = 2;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct peer *p = h_connect(0);
        uint64_t before = metrics->handshake_failures[bad[i].why];

        h_ask(p, bad[i].text);
        if (h_status(p) != bad[i].status || metrics->handshake_failures[bad[i].why] != before + 1)
            fail_msg("%s: %s", bad[i].text, p->got);
        if (bad[i].has != NULL)
            assert_has(p, bad[i].has);
        h_turns(2);
        h_read(p);
        /* A proxy may have taken what asks for an upgrade for a tunnel: nothing else is read of it. */
        assert_true(p->eof == (strstr(bad[i].text, "Upgrade:") != NULL));
        if (!p->eof) {
            h_shake(p, "/ws/fine");
            h_turns(2);
            h_read(p);
            assert_int_equal(h_status(p), 101);
        }
        h_close(p);
    }
    assert_int_equal(metrics->subscriptions, 0);
}

static void the_admin_listener_asks_for_the_key(void **state UNUSED)
{
    struct peer *p = h_connect(CONN_ADMIN);

    snprintf(config.api_key, sizeof(config.api_key), "k");
    h_shake(p, "/ws/a");
    assert_int_equal(h_status(p), 401);
    assert_int_equal(metrics->handshake_failures[CLOSE_UNAUTHORIZED], 1);
    h_close(p);
    p = h_connect(CONN_ADMIN);
    h_shake(p, "/ws/a?api_key=k");
    h_turns(2);
    h_read(p);
    assert_int_equal(h_status(p), 101);
    h_close(p);
    p = h_open("/ws/a");
    h_close(p);
}

static void channel_limits_are_answered_503(void **state UNUSED)
{
    struct peer *a, *p = h_connect(0);

    config.max_channels = 2;
    a = h_open("/ws/x");
    h_shake(p, "/ws?channel=x&channel=y&channel=z");
    h_turns(2);
    h_read(p);
    assert_int_equal(h_status(p), 503);
    assert_true(p->eof);
    assert_int_equal(metrics->handshake_failures[CLOSE_CHANNEL_LIMIT], 1);
    h_turns(3);
    assert_int_equal(metrics->subscriptions, 1);
    h_close(p);
    h_close(a);
}

static void name_channel(struct str channel, const struct sub *s UNUSED, void *out)
{
    assert_int_equal(buf_append_char(out, ' '), 0);
    assert_int_equal(buf_append(out, channel), 0);
}

static void sessions_are_described(void **state UNUSED)
{
    static const char *const rows[][2] = {
        {"/ws/a", ",\"mode\":\"both\",\"echo\":true,\"envelope\":false a"},
        {"/ws/a?mode=pub", ",\"mode\":\"pub\",\"echo\":true,\"envelope\":false a"},
        {"/ws?channel=a&channel=b&mode=sub&echo=0",
         ",\"mode\":\"sub\",\"echo\":false,\"envelope\":true a b"},
        {"/ws?channel=a&channel=b&mode=pub",
         ",\"mode\":\"pub\",\"echo\":true,\"envelope\":true a b"},
    };
    struct peer *http = h_connect(0);

    assert_int_equal(conn_ops(http->conn)->kind, SESSION_NONE);
    h_close(http);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct peer *p = h_open(rows[i][0]);
        struct buf out = {0};

        assert_int_equal(conn_ops(p->conn)->kind, SESSION_PLAIN);
        assert_int_equal(plain_session_ops.describe(p->conn, &out), 0);
        plain_session_ops.channels(p->conn, name_channel, &out);
        assert_int_equal(buf_append_char(&out, '\0'), 0);
        assert_string_equal(out.p, rows[i][1]);
        buf_fini(&out);
        for (unsigned k = 1; k < 4; k++) {
            fault_fail_at(k);
            (void)!plain_session_ops.describe(p->conn, &out);
            fault_reset();
            buf_fini(&out);
        }
        h_close(p);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, h_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(handshakes_that_are_refused),
        T(the_admin_listener_asks_for_the_key),
        T(channel_limits_are_answered_503),
        T(sessions_are_described),
    };

    sessions_init();
    return cmocka_run_group_tests_name("proto/plain/plain_open", tests, NULL, NULL);
}
