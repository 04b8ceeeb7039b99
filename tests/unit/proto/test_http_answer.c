/* Responses and refusals, as a client sees them. */
#include "proto/http_answer.c"

#include "http_fixture.h"

static void head_is_answered_as_get_without_body(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    h_ask(p, "HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_has(p, "Content-Length: 6\r\n");
    assert_has_not(p, "hello\n");
    h_ask(p, "HEAD /nowhere HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(h_status(p), 404);
    assert_has_not(p, "no such resource");
    h_close(p);
}

struct refusal {
    const char *text;
    int status;
    bool ends;
    const char *has;
};

static const struct refusal refusals[] = {
    {"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", 404, false, "no such resource\n"},
    {"GET /off HTTP/1.1\r\nHost: a\r\n\r\n", 404, false, NULL},
    {"GET /admin HTTP/1.1\r\nHost: a\r\n\r\n", 404, false, NULL},
    {"GET /hello/ HTTP/1.1\r\nHost: a\r\n\r\n", 404, false, NULL},
    {"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 404, true, NULL},
    {"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405, false,
     "Allow: GET, HEAD\r\n"},
    {"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", 405, true, NULL},
    {"DELETE /echo HTTP/1.1\r\nHost: a\r\n\r\n", 405, false, "Allow: GET, HEAD, POST\r\n"},
    {"OPTIONS /hello HTTP/1.1\r\nHost: a\r\n\r\n", 405, false, "Allow: GET, HEAD\r\n"},
    {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 405, false, "Allow: "},
    {"HEAD /hand HTTP/1.1\r\nHost: a\r\n\r\n", 405, false, "Allow: GET\r\n"},
    {"GET /refuse HTTP/1.1\r\nHost: a\r\n\r\n", 400, false,
     "\r\n\r\nmissing, malformed or repeated query parameter\n"},
    {"GET /under/%2 HTTP/1.1\r\nHost: a\r\n\r\n", 400, false, NULL},
    {"GET /hello HTTP/1.1\r\n\r\n", 400, true, NULL},
    {"GET /hello HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, true, NULL},
    {"GET /hello HTTP/1.1\nHost: a\n\n", 400, true, NULL},
    {"GET  /hello HTTP/1.1\r\nHost: a\r\n\r\n", 400, true, NULL},
    {"GET /hello HTTP/1.1\r\nHost : a\r\n\r\n", 400, true, NULL},
    {"GET /hello HTTP/1.1\r\nHost: a\r\n b: c\r\n\r\n", 400, true, NULL},
    {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400,
     true, NULL},
    {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
     400, true, NULL},
    {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx", 400, true, NULL},
    {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501, true, NULL},
    {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, true,
     "malformed chunked body"},
    {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n", 400, true,
     NULL},
    {"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n", 413, true, NULL},
    {"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n200000\r\n", 413, true,
     NULL},
    {"GET /hello HTTP/2.0\r\nHost: a\r\n\r\n", 505, true, NULL},
    {"GET /hello HTTP/1.1\r\nHost: a\r\nExpect: cake\r\n\r\n", 417, true, NULL},
    {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 400, true, NULL},
};

static void refusals_have_their_status(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        const struct refusal *r = &refusals[i];
        struct peer *p = h_connect(0);

        if (strchr(r->text, '\x16') != NULL)
            h_send(p, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 13);
        else
            h_say(p, r->text);
        h_turns(4);
        h_read(p);
        if (h_status(p) != r->status || p->eof != r->ends)
            fail_msg("%s: \"%s\"%s", r->text, p->got, p->eof ? ", then the end" : "");
        if (r->has != NULL)
            assert_has(p, r->has);
        assert_has(p, "Content-Type: text/plain");
        if (r->ends)
            assert_has(p, "Connection: close\r\n");
        h_close(p);
    }
}

static void long_heads_are_refused(void **state UNUSED)
{
    static char text[20000];
    struct peer *p = h_connect(0);
    int n = snprintf(text, sizeof(text), "GET /hello HTTP/1.1\r\nHost: a\r\nX: ");

    config.max_header_size = 8192;

    memset(text + n, 'x', 9000);
    h_send(p, text, (size_t)n + 9000);
    h_turns(3);
    h_read(p);
    assert_int_equal(h_status(p), 431);
    assert_true(p->eof);
    h_close(p);
    p = h_connect(0); /* in pieces */
    h_send(p, text, 5000);
    h_turns(2);
    h_send(p, text + 5000, 4000);
    h_turns(3);
    h_read(p);
    assert_int_equal(h_status(p), 431);
    h_close(p);
    p = h_connect(0);
    n = snprintf(text, sizeof(text), "GET /");
    memset(text + n, 'x', 9000);
    h_send(p, text, (size_t)n + 9000);
    h_turns(3);
    h_read(p);
    assert_int_equal(h_status(p), 414);
    h_close(p);
}

static void handshake_refusals_are_counted(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    h_ask(p, "GET /hand HTTP/1.1\r\nHost: a\r\n\r\n");
    h_ask(p, "POST /hand HTTP/1.1\r\nHost: a\r\n\r\n");
    h_ask(p, "GET /refuse HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(metrics->handshake_failures[CLOSE_BAD_QUERY], 1);
    assert_int_equal(metrics->handshake_failures[CLOSE_BAD_METHOD], 1);
    h_close(p);
    p = h_connect(CONN_REFUSED);
    p->conn->refusal = CLOSE_FULL;
    h_ask(p, "GET /hand HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(h_status(p), 503);
    assert_has(p, "Retry-After: ");
    assert_int_equal(metrics->handshake_failures[CLOSE_FULL], 1);
    h_close(p);
}

/* Those who are refused together do not come again together; a connection is told the same twice. */
static void when_to_ask_again(void **state UNUSED)
{
    unsigned seen[64] = {0}, different = 0;

    for (unsigned i = 0; i < 40; i++) {
        struct peer *p = h_connect(0);
        unsigned s = http_retry_after(p->conn, CLOSE_FULL);

        assert_in_range(s, 5, 15);
        assert_int_equal(http_retry_after(p->conn, CLOSE_FULL), s);
        assert_in_range(http_retry_after(p->conn, CLOSE_DRAIN), 1, 5);
        assert_int_equal(http_retry_after(p->conn, CLOSE_HUB_TIMEOUT), 1);
        different += seen[s]++ == 0;
        h_close(p);
    }
    assert_true(different > 3);
    for (unsigned why = 0; why < CLOSE_NR; why++) {
        char fields[128];
        struct str f;
        struct peer *p = h_connect(0);
        int status = close_row((enum close_reason)why)->status;

        f = http_refusal_fields(p->conn, NULL, (enum close_reason)why, status, fields,
                                sizeof(fields));
        assert_int_equal(str_starts_with(f, STR_LIT("Retry-After: ")),
                         status == 503 || status == 429);
        h_close(p);
    }
}

static void a_refused_connection_gets_only_healthz(void **state UNUSED)
{
    static const char *const asks[] = {"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
                                       "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
                                       "POST /healthz HTTP/1.1\r\nHost: a\r\n\r\n"};
    struct peer *p;

    for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
        p = h_connect(CONN_REFUSED);
        p->conn->refusal = CLOSE_ADDRESS_LIMIT;
        h_ask(p, asks[i]);
        assert_int_equal(h_status(p), 503);
        assert_has(p, "too many connections from this address\n");
        assert_true(p->eof);
        h_close(p);
    }
    p = h_connect(CONN_REFUSED);
    p->conn->refusal = CLOSE_FULL;
    h_ask(p, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(h_status(p), 200);
    assert_true(p->eof);
    h_close(p);
}

#define T(name) cmocka_unit_test_setup_teardown(name, h_http_setup, h_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(head_is_answered_as_get_without_body),
        T(refusals_have_their_status),
        T(long_heads_are_refused),
        T(handshake_refusals_are_counted),
        T(when_to_ask_again),
        T(a_refused_connection_gets_only_healthz),
    };

    http_register(h_resources, ARRAY_LEN(h_resources));
    return cmocka_run_group_tests_name("proto/http_answer", tests, NULL, NULL);
}
