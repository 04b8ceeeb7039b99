/* The echo protocol: without a hub, in order, bounded. */
#include "proto/echo/echo.c"

#include "../harness.h"
#include "fault.h"

static int setup(void **state UNUSED)
{
    int rc = h_start(false); /* there is no hub */

    config.echo = true;
    return rc;
}

static void each_message_goes_back_to_its_sender(void **state UNUSED)
{
    struct peer *a = h_open("/echo"), *b = h_open("/echo");

    h_text(a, "hello");
    h_frame(a, WS_OP_BINARY, STR_LIT("\x01\x02"));
    h_text(a, "");
    h_turns(2);
    assert_frames(a, TEXT, "hello", BINARY, "\x01\x02", TEXT, "");
    assert_nothing(b);
    assert_int_equal(conn_ops(a->conn)->kind, SESSION_ECHO);
    assert_int_equal(metrics->connections_echo, 2);
    assert_int_equal(metrics->connections_plain, 0);
    h_close(a);
    h_close(b);
    assert_int_equal(metrics->connections_echo, 0);
}

/* Pings between messages are answered in their place, and all of it with one write. */
static void one_input_is_one_write(void **state UNUSED)
{
    struct peer *a = h_open("/echo");
    struct buf in = {0};
    uint64_t writes = metrics->writes, out = metrics->frames_out;

    for (int i = 0; i < 10; i++) {
        h_append_frame(&in, WS_OP_TEXT, STR_LIT("m"));
        h_append_frame(&in, WS_OP_PING, STR_LIT("p"));
    }
    h_send(a, in.p, in.len);
    h_turns(1);
    h_read(a);
    assert_int_equal(a->len, 60);
    for (int i = 0; i < 10; i++)
        assert_memory_equal(a->got + 6 * i, "\x81\x01m\x8a\x01p", 6);
    assert_int_equal(metrics->writes - writes, 1);
    assert_int_equal(metrics->frames_out - out, 20);
    buf_fini(&in);
    h_close(a);
}

/* What does not fit what is gathered stays in its place, too. */
static void long_messages_keep_their_order(void **state UNUSED)
{
    static char text[40000];
    static const size_t sizes[] = {1, 4000, 100, 4060, 4061, 5, 40000, 2};
    struct peer *a = h_open("/echo");
    struct buf in = {0};
    size_t at = 0;

    memset(text, 'x', sizeof(text));
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        h_append_frame(&in, WS_OP_TEXT, (struct str){text, sizes[i]});
    h_send(a, in.p, in.len);
    buf_fini(&in);
    h_turns(6);
    h_read(a);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        uint8_t header[WS_HEADER_MAX];
        size_t n = ws_tx_header(WS_OP_TEXT, sizes[i], header);

        assert_memory_equal(a->got + at, header, n);
        at += n + sizes[i];
    }
    assert_int_equal(a->len, at);
    h_close(a);
}

static void the_answers_come_before_the_close_frame(void **state UNUSED)
{
    struct peer *a = h_open("/echo"), *b = h_open("/echo");
    struct buf in = {0};

    h_append_frame(&in, WS_OP_TEXT, STR_LIT("last"));
    h_append_frame(&in, WS_OP_CLOSE, STR_LIT("\x03\xe8"));
    h_append_frame(&in, WS_OP_TEXT, STR_LIT("never"));
    h_send(a, in.p, in.len);
    buf_fini(&in);
    assert_frames(a, TEXT, "last", CLOSE_FRAME, "\x03\xe8");
    assert_true(a->eof);
    session_end(b->conn, CLOSE_DRAIN);
    assert_int_equal(session_send(b->conn, STR_LIT("behind it"), false), -1);
    assert_closed(b, 1001);
    h_close(a);
    h_close(b);
}

/* Not in answer to anything: sent at once, copied. */
static void a_message_of_our_own(void **state UNUSED)
{
    struct peer *a = h_open("/echo");
    char text[] = "news";

    assert_int_equal(session_send(a->conn, (struct str){text, 4}, true), 0);
    memset(text, 'x', 4);
    assert_frames(a, BINARY, "news");
    h_close(a);
}

/* A peer that reads nothing is not read, so nothing grows. */
static void who_does_not_read_is_not_read(void **state UNUSED)
{
    static char text[8000];
    struct peer *a = h_open("/echo");
    struct buf in = {0};

    config.output_limit = 16384;
    h_append_frame(&in, WS_OP_BINARY, (struct str){text, sizeof(text)});
    for (int i = 0; i < 1000 && !(a->conn->hold & CONN_HOLD_OUTPUT); i++) {
        (void)!send(a->fd, in.p, in.len, MSG_NOSIGNAL);
        h_turns(1);
    }
    assert_true(a->conn->hold & CONN_HOLD_OUTPUT);
    assert_true(conn_queued(a->conn) < 16384 + 2 * SCRATCH_SIZE);
    buf_fini(&in);
    h_close(a);
}

static void off_it_is_404(void **state UNUSED)
{
    struct peer *a = h_connect(0);

    config.echo = false;
    h_shake(a, "/echo");
    assert_int_equal(h_status(a), 404);
    h_close(a);
    config.echo = true;
    a = h_connect(0);
    h_shake(a, "/echo");
    assert_int_equal(h_status(a), 101);
    h_close(a);
}

static void what_is_no_handshake_is_refused(void **state UNUSED)
{
    struct peer *a = h_connect(0);

    h_ask(a, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(h_status(a), 426);
    h_ask(a, "GET /echo/more HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(h_status(a), 404);
    reactor->draining = true;
    h_shake(a, "/echo");
    assert_int_equal(h_status(a), 503);
    reactor->draining = false;
    h_close(a);
}

static void every_failed_allocation_ends_in_order(void **state UNUSED)
{
    static char text[8000];

    for (unsigned k = 1; k < 15; k++) {
        struct peer *a = h_connect(0);
        struct buf in = {0};

        assert_int_equal(buf_append_lit(&in, "GET /echo" H_UPGRADE), 0);
        h_append_frame(&in, WS_OP_TEXT, (struct str){text, sizeof(text)});
        h_append_frame(&in, WS_OP_TEXT, STR_LIT("x"));
        h_send(a, in.p, in.len);
        buf_fini(&in);
        fault_fail_at(k);
        h_turns(6);
        fault_reset();
        h_close(a);
        assert_int_equal(metrics->connections_echo, 0);
        assert_int_equal(reactor->connections, 0);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, h_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(each_message_goes_back_to_its_sender),
        T(one_input_is_one_write),
        T(long_messages_keep_their_order),
        T(the_answers_come_before_the_close_frame),
        T(a_message_of_our_own),
        T(who_does_not_read_is_not_read),
        T(off_it_is_404),
        T(what_is_no_handshake_is_refused),
        T(every_failed_allocation_ends_in_order),
    };

    sessions_init();
    return cmocka_run_group_tests_name("proto/echo/echo", tests, NULL, NULL);
}
