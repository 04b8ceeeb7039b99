/* Exchanges that wait, and what all of them may hold. */
#include "proto/http_job.c"

#include "fault.h"
#include "http_fixture.h"

static void later_is_answered_and_the_pipelined_after_it(void **state UNUSED)
{
    struct peer *p = h_connect(0);
    struct http_exchange *x;
    uint64_t token;

    h_ask(p, "POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
             "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(p->len, 0);
    token = deferred;
    x = http_exchange_find(token);
    assert_non_null(x);
    assert_null(http_exchange_find(token + (1u << CONN_ID_FD_BITS)));
    assert_null(http_exchange_find(token | 0xffffff));
    assert_null(x->request);
    assert_int_equal(x->body.len, 2);
    http_respond(x, 200, NULL, STR_LIT(""), STR_LIT("later"));
    assert_null(http_exchange_find(token));
    h_turns(3);
    h_read(p);
    assert_has(p, "laterHTTP/1.1 200 OK\r\n");
    assert_has(p, "hello\n");
    assert_int_equal(abandoned, 0);
    assert_null(http_session(p->conn)->job);
    h_ask(p, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(deferred != token);
    http_refuse(http_exchange_find(deferred), CLOSE_NOT_FOUND);
    h_turns(2);
    h_read(p);
    assert_int_equal(h_status(p), 404);
    assert_false(p->eof);
    h_ask(p, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(h_status(p), 200);
    h_close(p);
}

static void waiting_ends_with_503(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    h_ask(p, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    for (int i = 0; i < 40; i++)
        h_wait(100 * NS_PER_MS);
    assert_int_equal(abandoned, 0);
    for (int i = 0; i < 15; i++)
        h_wait(100 * NS_PER_MS);
    h_read(p);
    assert_int_equal(h_status(p), 503);
    assert_has(p, "Retry-After: 1\r\n");
    assert_has(p, "the hub did not answer in time\n");
    assert_int_equal(abandoned, 1);
    assert_null(http_exchange_find(deferred));
    h_close(p);
    assert_int_equal(abandoned, 1);
}

/* overdue() may give it more time. */
static void waiting_longer(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    h_ask(p, "GET /longer HTTP/1.1\r\nHost: a\r\n\r\n");
    for (int i = 0; i < 69; i++)
        h_wait(100 * NS_PER_MS);
    h_read(p);
    assert_int_equal(overdue, 2);
    assert_int_equal(p->len, 0);
    for (int i = 0; i < 4; i++)
        h_wait(100 * NS_PER_MS);
    h_read(p);
    assert_int_equal(overdue, 3);
    assert_int_equal(h_status(p), 200);
    h_close(p);
}

static void a_waiting_connection_that_dies_is_abandoned_once(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    h_ask(p, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    conn_kill(p->conn, CLOSE_PEER_GONE);
    assert_null(http_exchange_find(deferred));
    h_turns(2);
    assert_int_equal(abandoned, 1);
    h_close(p);
    p = h_connect(0);
    h_ask(p, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    close(p->fd);
    p->fd = -1;
    http_respond(http_exchange_find(deferred), 200, NULL, STR_LIT(""), STR_LIT("x"));
    h_turns(3);
    assert_int_equal(abandoned, 1);
    h_close(p);
}

static void bodies_are_bounded_together(void **state UNUSED)
{
    static char piece[60000];
    struct peer *p[4];

    config.max_partial_bytes = 150000;
    reactor_config_changed();
    memset(piece, 'x', sizeof(piece));
    for (size_t i = 0; i < ARRAY_LEN(p); i++) {
        p[i] = h_connect(0);
        h_ask(p[i], "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
        h_send(p[i], piece, sizeof(piece));
        h_turns(4);
        h_wait(NS_PER_SEC);
        assert_true((partial_bytes(false) + partial_bytes(true)) < 200000);
    }
    for (size_t i = 0; i < ARRAY_LEN(p); i++)
        h_read(p[i]);
    assert_int_equal(h_status(p[0]), 503); /* it was there longest */
    assert_has(p[0], "takes too much memory");
    assert_true(p[0]->eof);
    assert_int_equal(p[3]->len, 0);
    assert_true(metrics->partial_ends > 0);
    for (size_t i = 0; i < ARRAY_LEN(p); i++)
        h_close(p[i]);
    assert_int_equal((partial_bytes(false) + partial_bytes(true)), 0);
}

static void every_failed_allocation_ends_in_order(void **state UNUSED)
{
    static const char text[] =
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345"
        "GET /hello HTTP/1.1\r\nHost: a\r\n\r\nGET /later HTTP/1.1\r\nHost: a\r\n\r\nGET /he";

    for (unsigned k = 1; k < 30; k++) {
        struct peer *p = h_connect(0);
        struct http_exchange *x;

        fault_fail_at(k);
        for (size_t i = 0; i < sizeof(text) - 1; i += 20) {
            send(p->fd, text + i, MIN(20, sizeof(text) - 1 - i), MSG_NOSIGNAL);
            h_turns(2);
        }
        x = http_exchange_find(deferred);
        if (x != NULL)
            http_respond(x, 200, NULL, STR_LIT(""), STR_LIT("x"));
        h_turns(2);
        fault_reset();
        h_close(p);
        assert_int_equal((partial_bytes(false) + partial_bytes(true)), 0);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, h_http_setup, h_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(later_is_answered_and_the_pipelined_after_it),
        T(waiting_ends_with_503),
        T(waiting_longer),
        T(a_waiting_connection_that_dies_is_abandoned_once),
        T(bodies_are_bounded_together),
        T(every_failed_allocation_ends_in_order),
    };

    http_register(h_resources, ARRAY_LEN(h_resources));
    return cmocka_run_group_tests_name("proto/http_job", tests, NULL, NULL);
}
