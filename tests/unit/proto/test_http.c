/* The HTTP server end to end: bytes in at a socket, bytes out of it. */
#include "proto/http.c"

#include "fault.h"
#include "harness.h"

/* The resources */

static uint64_t deferred; /* token of the last one */
static unsigned abandoned, again;
static void *const deferred_state = &deferred;

static void on_hello(struct http_exchange *x)
{
    http_respond(x, 200, "text/plain", STR_LIT("X-Own: 1\r\n"), STR_LIT("hello\n"));
}

/* Answers with what it was given. */
static void on_echo(struct http_exchange *x)
{
    assert_non_null(x->request);
    assert_int_equal(http_field_get(x->request, STR_LIT("Host"), NULL).n, 1);
    http_respond(x, 200, "application/octet-stream", STR_LIT(""), buf_view(&x->body));
}

static void on_prefix(struct http_exchange *x)
{
    http_respond(x, 200, "text/plain", STR_LIT(""), x->path);
}

static void on_blob(struct http_exchange *x)
{
    struct blob *b = blob_from(STR_LIT("shared"));

    if (b == NULL) {
        http_refuse(x, CLOSE_NO_MEMORY);
        return;
    }
    http_respond_blob(x, 200, "text/plain", STR_LIT(""), b);
    blob_put(&b);
}

static void on_large(struct http_exchange *x)
{
    static char page[60000];

    memset(page, 'x', sizeof(page));
    http_respond(x, 200, "text/plain", STR_LIT(""), (struct str){.p = page, .n = sizeof(page)});
}

static void count_abandoned(struct http_exchange *x)
{
    assert_ptr_equal(x->state, deferred_state);
    abandoned++;
}

static void count_again(struct http_exchange *x)
{
    assert_ptr_equal(x->state, deferred_state);
    again++;
}

static void on_later(struct http_exchange *x)
{
    x->state = deferred_state;
    x->abandoned = count_abandoned;
    x->again = count_again;
    deferred = http_defer(x);
}

/* Deferred and yet answered before it returns. */
static void on_soon(struct http_exchange *x)
{
    struct http_exchange *same = http_exchange_find(http_defer(x));

    assert_ptr_equal(same, x);
    http_respond(x, 200, NULL, STR_LIT(""), STR_LIT("soon"));
}

static void on_refuse(struct http_exchange *x)
{
    http_refuse(x, CLOSE_BAD_QUERY);
}

static bool never(void)
{
    return false;
}

#define GET  (1u << HTTP_GET)
#define POST (1u << HTTP_POST)
#define BOTH (HTTP_ON_CLIENT | HTTP_ON_ADMIN)

static const struct http_resource resources[] = {
    {.path = "/hello", .where = BOTH, .methods = GET, .handle = on_hello},
    {.path = "/healthz", .where = BOTH, .methods = GET, .handle = on_hello},
    {.path = "/echo", .where = BOTH, .methods = POST | GET, .handle = on_echo},
    {.path = "/under/", .prefix = true, .where = BOTH, .methods = GET, .handle = on_prefix},
    {.path = "/blob", .where = BOTH, .methods = GET, .handle = on_blob},
    {.path = "/large", .where = BOTH, .methods = GET, .handle = on_large},
    {.path = "/later", .where = BOTH, .methods = GET | POST, .handle = on_later},
    {.path = "/soon", .where = BOTH, .methods = GET, .handle = on_soon},
    {.path = "/refuse", .where = BOTH, .methods = GET, .handle = on_refuse},
    {.path = "/admin", .where = HTTP_ON_ADMIN, .methods = GET, .handle = on_hello},
    {.path = "/key", .where = BOTH, .methods = GET, .needs_key = true, .handle = on_hello},
    {.path = "/open",
     .where = BOTH,
     .methods = GET,
     .needs_key = true,
     .client_open = true,
     .handle = on_hello},
    {.path = "/off", .where = BOTH, .methods = GET, .handle = on_hello, .enabled = never},
    {.path = "/hand", .where = BOTH, .methods = GET, .handshake = true, .handle = on_refuse},
};

static int setup(void **state UNUSED)
{
    deferred = 0;
    abandoned = again = 0;
    return h_start(false);
}

/* Plain exchanges */

static void get_is_answered(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    h_ask(p, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_string_equal(p->got, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                                "Content-Length: 6\r\nCache-Control: no-store\r\n"
                                "X-Own: 1\r\n\r\nhello\n");
    assert_false(p->eof);
    assert_null(http_session(p->conn)->job); /* idle: owns nothing */
    assert_int_equal(metrics->http_requests, 1);
    h_ask(p, "GET /hello?x=1 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(h_status(p), 200);
    h_close(p);
}

static void head_is_answered_as_get_without_body(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    h_ask(p, "HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_has(p, "Content-Length: 6\r\n");
    assert_has_not(p, "hello\n");
    h_ask(p, "HEAD /blob HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_has(p, "Content-Length: 6\r\n");
    assert_has_not(p, "shared");
    h_ask(p, "HEAD /nowhere HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(h_status(p), 404);
    assert_has_not(p, "no such resource");
    h_close(p);
}

static void blob_is_answered(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    h_ask(p, "GET /blob HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_has(p, "Content-Length: 6\r\n");
    assert_has(p, "\r\n\r\nshared");
    h_close(p);
    assert_int_equal(blob_bytes(), 0);
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

static void prefix_path_is_decoded(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    h_ask(p, "GET /under/a%20b%2Fc+d HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_has(p, "\r\n\r\na b/c+d");
    h_ask(p, "GET /under/ HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(h_status(p), 200);
    h_ask(p, "GET /under HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(h_status(p), 404);
    h_ask(p, "GET /und%65r/a HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(h_status(p), 404);
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
    assert_int_equal(http_partial_bytes(), 0);
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
    assert_int_equal(http_partial_bytes(), 0);
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

/* Refusals */

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
     "\r\n\r\nunknown or malformed query parameter\n"},
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
    memset(text + n, 'x', 5000);
    h_send(p, text, (size_t)n + 5000);
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
    assert_has(p, "Retry-After: 1\r\n");
    assert_int_equal(metrics->handshake_failures[CLOSE_FULL], 1);
    h_close(p);
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

static void keys_are_asked_for(void **state UNUSED)
{
    static const struct {
        const char *text;
        int status;
    } asks[] = {
        {"GET /key HTTP/1.1\r\nHost: a\r\n\r\n", 401},
        {"GET /key HTTP/1.1\r\nHost: a\r\nX-API-Key: s3cre\r\n\r\n", 401},
        {"GET /key HTTP/1.1\r\nHost: a\r\nX-API-Key: s3crets\r\n\r\n", 401},
        {"GET /key HTTP/1.1\r\nHost: a\r\nX-API-Key:\r\n\r\n", 401},
        {"GET /key HTTP/1.1\r\nHost: a\r\nX-API-Key: s3cret\r\nX-API-Key: s3cret\r\n\r\n", 401},
        {"GET /key HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer s3cret\r\n\r\n", 401},
        {"GET /key HTTP/1.1\r\nHost: a\r\nAuthorization: apikey\r\n\r\n", 401},
        {"GET /key?api_key=wrong HTTP/1.1\r\nHost: a\r\n\r\n", 401},
        {"GET /key?api_key=%zz HTTP/1.1\r\nHost: a\r\n\r\n", 401},
        {"GET /key?api_key HTTP/1.1\r\nHost: a\r\n\r\n", 401},
        {"GET /key HTTP/1.1\r\nHost: a\r\nX-API-Key: s3cret\r\n\r\n", 200},
        {"GET /key HTTP/1.1\r\nHost: a\r\nAuthorization: ApiKey s3cret\r\n\r\n", 200},
        {"GET /key?a=b&api_key=s3%63ret HTTP/1.1\r\nHost: a\r\n\r\n", 200},
    };
    struct peer *p = h_connect(CONN_ADMIN);

    snprintf(config.api_key, sizeof(config.api_key), "s3cret");
    for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
        h_ask(p, asks[i].text);
        if (h_status(p) != asks[i].status)
            fail_msg("%s: %s", asks[i].text, p->got);
        if (asks[i].status == 401)
            assert_has(p, "WWW-Authenticate: apikey realm=\"roost\"\r\n");
    }
    h_ask(p, "GET /open HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(h_status(p), 401);
    h_close(p);
    p = h_connect(0);
    h_ask(p, "GET /open HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(h_status(p), 200);
    h_ask(p, "GET /key HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(h_status(p), 401);
    config.api_key[0] = '\0';
    h_ask(p, "GET /key HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(h_status(p), 200);
    h_close(p);
}

/* Expect: 100-continue */

static void continue_is_sent_only_when_the_body_is_wanted(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    h_ask(p, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    assert_string_equal(p->got, "HTTP/1.1 100 Continue\r\n\r\n");
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

/* Deadlines */

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
    h_wait(50 * NS_PER_SEC);
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

/* Answers later */

static void later_is_answered_and_the_pipelined_after_it(void **state UNUSED)
{
    struct peer *p = h_connect(0);
    struct http_exchange *x;
    uint64_t token;

    h_ask(p, "POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
             "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(p->len, 0);
    token = deferred;
    assert_true(token & HTTP_TOKEN_BIT);
    x = http_exchange_find(token);
    assert_non_null(x);
    assert_null(http_exchange_find(token + (1u << CONN_ID_FD_BITS)));
    assert_null(http_exchange_find(token & ~HTTP_TOKEN_BIT));
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
    assert_in_range(again, 15, 45);
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

/* Drain */

static void drain_ends_idle_ones_now_and_busy_ones_after(void **state UNUSED)
{
    struct peer *idle = h_connect(0), *busy = h_connect(0), *half = h_connect(0);

    h_ask(idle, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    h_ask(busy, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    h_ask(half, "GET /hel");
    reactor.draining = true;
    idle->conn->ops->drain(idle->conn);
    busy->conn->ops->drain(busy->conn);
    half->conn->ops->drain(half->conn);
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
    reactor.draining = false;
    h_close(idle);
    h_close(busy);
    h_close(half);
}

/* Memory */

static void bodies_are_bounded_together(void **state UNUSED)
{
    static char piece[60000];
    struct peer *p[4];

    config.max_partial_bytes = 150000;
    memset(piece, 'x', sizeof(piece));
    for (size_t i = 0; i < ARRAY_LEN(p); i++) {
        p[i] = h_connect(0);
        h_ask(p[i], "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
        h_send(p[i], piece, sizeof(piece));
        h_turns(4);
        h_read(p[i]);
        assert_true(http_partial_bytes() < 200000);
    }
    assert_int_equal(p[0]->len, 0);
    assert_int_equal(h_status(p[3]), 503);
    assert_true(p[3]->eof);
    for (size_t i = 0; i < ARRAY_LEN(p); i++)
        h_close(p[i]);
    assert_int_equal(http_partial_bytes(), 0);
}

static void every_failed_allocation_ends_in_order(void **state UNUSED)
{
    static const char text[] =
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345"
        "GET /blob HTTP/1.1\r\nHost: a\r\n\r\nGET /later HTTP/1.1\r\nHost: a\r\n\r\nGET /he";

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
        assert_int_equal(http_partial_bytes(), 0);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, h_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(get_is_answered),
        T(head_is_answered_as_get_without_body),
        T(blob_is_answered),
        T(versions_and_connection),
        T(prefix_path_is_decoded),
        T(every_split_is_answered_alike),
        T(pipelined_requests_are_answered_in_order),
        T(pipelining_without_reading_is_bounded),
        T(refusals_have_their_status),
        T(long_heads_are_refused),
        T(handshake_refusals_are_counted),
        T(a_refused_connection_gets_only_healthz),
        T(keys_are_asked_for),
        T(continue_is_sent_only_when_the_body_is_wanted),
        T(a_trickling_head_is_answered_408),
        T(silence_is_closed_without_a_word),
        T(the_second_head_has_a_deadline_of_its_own),
        T(a_slow_body_is_answered_408),
        T(later_is_answered_and_the_pipelined_after_it),
        T(waiting_ends_with_503),
        T(a_waiting_connection_that_dies_is_abandoned_once),
        T(a_half_closed_peer_is_answered),
        T(drain_ends_idle_ones_now_and_busy_ones_after),
        T(bodies_are_bounded_together),
        T(every_failed_allocation_ends_in_order),
    };

    http_register(resources, ARRAY_LEN(resources));
    return cmocka_run_group_tests_name("proto/http", tests, NULL, NULL);
}
