/* A connection's input end to end: bytes in at a socket, bytes out of it. */
#include "proto/http.c"

#include "http_fixture.h"

static void get_is_answered(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    h_ask(p, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_string_equal(p->got, "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:16:40 GMT\r\n"
                                "Content-Type: text/plain\r\n"
                                "Content-Length: 6\r\nCache-Control: no-store\r\n"
                                "X-Own: 1\r\n\r\nhello\n");
    assert_false(p->eof);
    assert_null(http_session(p->conn)->job); /* idle: owns nothing */
    assert_int_equal(metrics->http_requests, 1);
    h_ask(p, "GET /hello?x=1 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(h_status(p), 200);
    h_close(p);
}

static void versions_and_connection(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    h_ask(p, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_has(p, "Connection: keep-alive\r\n");
    assert_false(p->eof);
    h_ask(p, "GET /hello HTTP/1.0\r\n\r\n");
    assert_has(p, "Connection: close\r\n");
    assert_true(p->eof);
    h_close(p);
    p = h_connect(0);
    h_ask(p, "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_has(p, "Connection: close\r\n");
    assert_true(p->eof);
    h_close(p);
}

/* However a stream is cut, the answers are the same bytes. */
static void check_splits(const char *text)
{
    struct peer *whole = h_connect(0), *p;
    size_t n = strlen(text);

    h_ask(whole, text);
    h_turns(20);
    h_read(whole);
    assert_true(whole->len > 0);
    for (size_t cut = 1; cut < n; cut++) {
        p = h_connect(0);
        h_send(p, text, cut);
        h_turns(1);
        h_send(p, text + cut, n - cut);
        h_turns(6);
        h_read(p);
        assert_string_equal(p->got, whole->got);
        assert_int_equal(p->eof, whole->eof);
        h_close(p);
    }
    p = h_connect(0);
    for (size_t i = 0; i < n && !p->eof; i++) {
        h_send(p, text + i, 1);
        h_turns(1);
        h_read(p);
    }
    h_turns(4);
    h_read(p);
    assert_string_equal(p->got, whole->got);
    h_close(p);
    h_close(whole);
    assert_int_equal((partial_bytes(false) + partial_bytes(true)), 0);
}

static void every_split_is_answered_alike(void **state UNUSED)
{
    check_splits("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    check_splits("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345");
    check_splits("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n");
    check_splits("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
                 "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
                 "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n"
                 "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    check_splits("GET /soon HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    check_splits("\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
}

static void pipelined_requests_are_answered_in_order(void **state UNUSED)
{
    struct peer *p = h_connect(0);
    char text[16384];
    size_t n = 0;
    const char *at;

    for (int i = 0; i < 200; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n,
                              "GET /under/%d HTTP/1.1\r\nHost: a\r\n\r\n", i);
    h_ask(p, text);
    h_turns(40);
    at = h_read(p);
    for (int i = 0; i < 200; i++) {
        char want[32];

        snprintf(want, sizeof(want), "\r\n\r\n%dH", i);
        if (i == 199)
            snprintf(want, sizeof(want), "\r\n\r\n199");
        at = strstr(at, want);
        assert_non_null(at);
        at += 4;
    }
    assert_int_equal(metrics->http_requests, 200);
    assert_int_equal((partial_bytes(false) + partial_bytes(true)), 0);
    h_close(p);
}

/* Answers that nobody reads are not heaped up. */
static void pipelining_without_reading_is_bounded(void **state UNUSED)
{
    struct peer *p = h_connect(0);
    char text[32768];
    size_t n = 0;

    config.output_limit = 200000;
    for (int i = 0; i < 500; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    h_send(p, text, n);
    for (int i = 0; i < 50; i++) {
        h_wait(200 * NS_PER_MS);
        assert_true(conn_queued(p->conn) < 200000 + 17 * 61000);
    }
    assert_true(metrics->http_requests < 100);
    for (int i = 0; i < 2000 && metrics->http_requests < 500; i++) {
        h_forget(p);
        h_read(p);
        h_wait(100 * NS_PER_MS);
    }
    assert_int_equal(metrics->http_requests, 500);
    h_close(p);
}

static void continue_is_sent_only_when_the_body_is_wanted(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    h_ask(p, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    assert_string_equal(p->got,
                        "HTTP/1.1 100 Continue\r\nDate: Thu, 01 Jan 1970 00:16:40 GMT\r\n\r\n");
    h_ask(p, "abc");
    assert_int_equal(h_status(p), 200);
    assert_has(p, "\r\n\r\nabc");
    h_ask(p, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
             "Expect: 100-continue\r\n\r\nabc");
    assert_int_equal(h_status(p), 200);
    h_ask(p, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n"
             "Expect: 100-continue\r\n\r\n");
    assert_int_equal(h_status(p), 200);
    h_ask(p, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n"
             "Expect: 100-continue\r\n\r\n");
    assert_int_equal(h_status(p), 413);
    assert_true(p->eof);
    h_close(p);
    p = h_connect(0);
    h_ask(p, "POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n"
             "Expect: 100-continue\r\n\r\n");
    assert_int_equal(h_status(p), 404);
    assert_true(p->eof);
    h_close(p);
}

static void a_trickling_head_is_answered_408(void **state UNUSED)
{
    static const char text[] = "GET /hello HTTP/1.1\r\nHost: a\r\n";
    struct peer *p = h_connect(0);
    size_t i;

    for (i = 0; i < sizeof(text) - 1 && !p->eof; i++) {
        h_send(p, text + i, 1);
        h_wait(NS_PER_SEC);
        h_read(p);
    }
    assert_in_range(i, 10, 12); /* header_timeout, however often a byte came */
    assert_int_equal(h_status(p), 408);
    h_close(p);
    assert_int_equal(metrics->closes[CLOSE_HEADER_TIMEOUT], 1);
}

static void silence_is_closed_without_a_word(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    h_wait(9 * NS_PER_SEC);
    h_read(p);
    assert_false(p->eof);
    h_wait(2 * NS_PER_SEC);
    h_read(p);
    assert_true(p->eof);
    assert_int_equal(p->len, 0);
    h_close(p);
    assert_int_equal(metrics->closes[CLOSE_HEADER_TIMEOUT], 1);
    p = h_connect(0);
    h_ask(p, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    h_forget(p);
    h_wait(65 * NS_PER_SEC); /* longer than the 60 s of load balancers */
    h_read(p);
    assert_false(p->eof);
    h_wait(11 * NS_PER_SEC);
    h_read(p);
    assert_true(p->eof);
    assert_int_equal(p->len, 0);
    h_close(p);
    assert_int_equal(metrics->closes[CLOSE_IDLE_TIMEOUT], 1);
}

static void the_second_head_has_a_deadline_of_its_own(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    h_ask(p, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    h_wait(40 * NS_PER_SEC);
    h_ask(p, "GET /hel");
    h_wait(9 * NS_PER_SEC);
    h_read(p);
    assert_false(p->eof);
    h_wait(2 * NS_PER_SEC);
    h_read(p);
    assert_int_equal(h_status(p), 408);
    assert_true(p->eof);
    h_close(p);
}

static void a_slow_body_is_answered_408(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    h_ask(p, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n");
    for (int i = 0; i < 40 && !p->eof; i++) {
        h_say(p, "x");
        h_wait(NS_PER_SEC);
        h_read(p);
    }
    assert_int_equal(h_status(p), 408);
    assert_true(p->eof);
    h_close(p);
    assert_int_equal(metrics->closes[CLOSE_BODY_TIMEOUT], 1);
}

static void a_half_closed_peer_is_answered(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    h_say(p, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    shutdown(p->fd, SHUT_WR);
    h_turns(4);
    h_read(p);
    assert_int_equal(h_status(p), 200);
    assert_true(p->eof);
    h_close(p);
    p = h_connect(0);
    h_say(p, "GET /hel");
    shutdown(p->fd, SHUT_WR);
    h_turns(4);
    h_read(p);
    assert_true(p->eof);
    assert_int_equal(p->len, 0);
    h_close(p);
}

static void drain_ends_idle_ones_now_and_busy_ones_after(void **state UNUSED)
{
    struct peer *idle = h_connect(0), *busy = h_connect(0), *half = h_connect(0);

    h_ask(idle, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    h_ask(busy, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    h_ask(half, "GET /hel");
    reactor->draining = true;
    conn_ops(idle->conn)->drain(idle->conn);
    conn_ops(busy->conn)->drain(busy->conn);
    conn_ops(half->conn)->drain(half->conn);
    h_turns(2);
    h_read(idle);
    h_read(busy);
    h_read(half);
    assert_true(idle->eof);
    assert_true(half->eof);
    assert_false(busy->eof);
    http_respond(http_exchange_find(deferred), 200, NULL, STR_LIT(""), STR_LIT("x"));
    h_turns(2);
    h_read(busy);
    assert_has(busy, "Connection: close\r\n");
    assert_true(busy->eof);
    reactor->draining = false;
    h_close(idle);
    h_close(busy);
    h_close(half);
}

#define T(name) cmocka_unit_test_setup_teardown(name, h_http_setup, h_stop)

/* What comes byte by byte is not parsed from the front with every byte. */
static void when_a_head_is_looked_at_again(void **state UNUSED)
{
    struct http_job job = {.looked_at = 100, .in.len = 101};

    assert_false(http_look_again(&job, STR_LIT("x")));
    assert_true(http_look_again(&job, STR_LIT("\n")));
    assert_true(http_look_again(&job, STR_LIT("x\r\nx")));
    job.in.len = 199;
    assert_false(http_look_again(&job, STR_LIT("\r")));
    job.in.len = 200;
    assert_true(http_look_again(&job, STR_LIT("x")));
    job.looked_at = 110000;
    job.in.len = (size_t)config.max_header_size - 1;
    assert_false(http_look_again(&job, STR_LIT("x")));
    job.in.len++;
    assert_true(http_look_again(&job, STR_LIT("x")));
}

/* Nothing of it is overlooked, though. */
static void a_long_head_in_pieces(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    h_say(p, "GET /under/");
    for (int i = 0; i < 2000; i++) {
        h_say(p, "abc%20def");
        h_turns(1);
    }
    h_say(p, " HTTP/1.1\r\nHost: a");
    h_turns(2);
    h_say(p, "\r");
    h_turns(2);
    h_say(p, "\n\r");
    h_turns(2);
    h_read(p);
    assert_int_equal(p->len, 0);
    h_ask(p, "\n");
    assert_int_equal(h_status(p), 200);
    assert_has(p, "Content-Length: 14000\r\n");
    h_forget(p);
    for (int i = 0; i < 40; i++) { /* refused when it has doubled, not only at its end */
        h_say(p, "\x01");
        h_turns(2);
    }
    h_read(p);
    assert_int_equal(h_status(p), 400);
    h_close(p);
}

/* A proxy that does not look at the status would be a tunnel from here on. */
static void an_upgrade_that_is_not_granted_ends(void **state UNUSED)
{
    static const char *const rows[] = {
        "GET /hello HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n",
        "GET /hand HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
        "GET /nowhere HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
        "GET /later HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
    };
    char text[300];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct peer *p = h_connect(0);

        snprintf(text, sizeof(text), "%sGET /soon HTTP/1.1\r\nHost: a\r\n\r\n", rows[i]);
        h_ask(p, text);
        if (i == ARRAY_LEN(rows) - 1)
            http_respond(http_exchange_find(deferred), 200, NULL, STR_LIT(""), STR_LIT(""));
        h_turns(3);
        h_read(p);
        assert_has(p, "Connection: close\r\n");
        assert_has_not(p, "soon");
        assert_true(p->eof);
        h_close(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(get_is_answered),
        T(versions_and_connection),
        T(every_split_is_answered_alike),
        T(pipelined_requests_are_answered_in_order),
        T(pipelining_without_reading_is_bounded),
        T(continue_is_sent_only_when_the_body_is_wanted),
        T(a_trickling_head_is_answered_408),
        T(silence_is_closed_without_a_word),
        T(the_second_head_has_a_deadline_of_its_own),
        T(a_slow_body_is_answered_408),
        T(a_half_closed_peer_is_answered),
        T(an_upgrade_that_is_not_granted_ends),
        T(drain_ends_idle_ones_now_and_busy_ones_after),
        cmocka_unit_test_setup_teardown(when_a_head_is_looked_at_again, h_http_setup, h_stop),
        cmocka_unit_test_setup_teardown(a_long_head_in_pieces, h_http_setup, h_stop),
    };

    http_register(h_resources, ARRAY_LEN(h_resources));
    return cmocka_run_group_tests_name("proto/http", tests, NULL, NULL);
}
