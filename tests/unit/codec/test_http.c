/* codec/http: request heads. Every head is given whole and as every prefix of it (the parser keeps
 * no state, so that is every split and byte by byte): the outcome must not depend on it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/http.c"

#include "http_head.h"

static void a_browser_upgrade(void **state UNUSED)
{
    bool repeated;

    assert_parses(STR_LIT("GET /ws/lobby?echo=0&x=%20 HTTP/1.1\r\n"
                          "Host: example.org:8000\r\n"
                          "connection: keep-alive, Upgrade\r\n"
                          "Upgrade:websocket\r\n"
                          "Sec-WebSocket-Key: \t dGhlIHNhbXBsZSBub25jZQ== \t\r\n"
                          "X-Empty:\r\n"
                          "X-Twice: 1\r\n"
                          "X-Twice: 2\r\n"
                          "X-Obs: \xe9\r\n"
                          "\r\n"));
    assert_int_equal(req.method, HTTP_GET);
    assert_str(req.method_name, "GET");
    assert_str(req.path, "/ws/lobby");
    assert_str(req.query, "echo=0&x=%20");
    assert_str(req.host, "example.org:8000");
    assert_int_equal(req.minor, 1);
    assert_true(req.keep_alive);
    assert_false(req.expect_continue);
    assert_int_equal(req.body, HTTP_BODY_NONE);
    assert_int_equal(req.nfields, 8);
    assert_str(http_field_get(&req, STR_LIT("sec-websocket-KEY"), &repeated),
               "dGhlIHNhbXBsZSBub25jZQ==");
    assert_false(repeated);
    assert_str(http_field_get(&req, STR_LIT("x-twice"), &repeated), "1");
    assert_true(repeated);
    assert_non_null(http_field_get(&req, STR_LIT("x-empty"), NULL).p);
    assert_int_equal(http_field_get(&req, STR_LIT("x-empty"), NULL).n, 0);
    assert_null(http_field_get(&req, STR_LIT("x-absent"), &repeated).p);
    assert_false(repeated);
    assert_true(http_field_has_token(&req, STR_LIT("Connection"), STR_LIT("upgrade")));
    assert_false(http_field_has_token(&req, STR_LIT("Connection"), STR_LIT("up")));
}

static void methods(void **state UNUSED)
{
    static const struct {
        struct str head;
        enum http_method method;
    } rows[] = {
        {L("GET / HTTP/1.0\r\n\r\n"), HTTP_GET},
        {L("HEAD / HTTP/1.0\r\n\r\n"), HTTP_HEAD},
        {L("POST / HTTP/1.0\r\n\r\n"), HTTP_POST},
        {L("OPTIONS / HTTP/1.0\r\n\r\n"), HTTP_OPTIONS},
        {L("get / HTTP/1.0\r\n\r\n"), HTTP_OTHER}, /* case-sensitive, RFC 9110 §9.1 */
        {L("GETS / HTTP/1.0\r\n\r\n"), HTTP_OTHER},
        {L("!#$%&'*+-.^_`|~09azAZ / HTTP/1.0\r\n\r\n"), HTTP_OTHER},
    };
    size_t i;

    for (i = 0; i < ARRAY_LEN(rows); i++) {
        assert_parses(rows[i].head);
        assert_int_equal(req.method, rows[i].method);
    }
}

static void targets(void **state UNUSED)
{
    assert_parses(STR_LIT("GET /? HTTP/1.1\r\n" H "\r\n"));
    assert_str(req.path, "/");
    assert_non_null(req.query.p);
    assert_int_equal(req.query.n, 0);
    assert_parses(STR_LIT("GET //x/../y?a?b HTTP/1.1\r\n" H "\r\n"));
    assert_str(req.path, "//x/../y");
    assert_str(req.query, "a?b");
    assert_parses(STR_LIT("OPTIONS * HTTP/1.1\r\n" H "\r\n"));
    assert_str(req.path, "*");
    assert_null(req.query.p);
    assert_parses(STR_LIT("GET HTTP://A/x?y HTTP/1.1\r\n" H "\r\n"));
    assert_str(req.path, "/x");
    assert_str(req.query, "y");
    assert_str(req.host, "A");
    assert_parses(STR_LIT("GET https://a HTTP/1.1\r\n" H "\r\n"));
    assert_str(req.path, "/");
    assert_null(req.query.p);
    assert_parses(STR_LIT("GET http://a?q HTTP/1.1\r\n" H "\r\n"));
    assert_str(req.path, "/");
    assert_str(req.query, "q");
    assert_parses(STR_LIT("OPTIONS http://a HTTP/1.1\r\n" H "\r\n"));
    assert_str(req.path, "*");
    assert_parses(STR_LIT("GET http://b:1/ HTTP/1.0\r\n\r\n"));
    assert_str(req.host, "b:1");
    assert_parses(STR_LIT("GET / HTTP/1.0\r\n\r\n"));
    assert_null(req.host.p);
}

/* RFC 9112 §3.2.2: what the target says counts, the Host beside it does not. */
static void the_host_of_an_absolute_form(void **state UNUSED)
{
    static const struct {
        struct str head;
        const char *host;
    } rows[] = {
        {L("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"), "b"},
        {L("GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n"), "a:80"},
        {L("GET http://b/ HTTP/1.0\r\nHost: a\r\n\r\n"), "b"},
        {L("GET ws://b:1/x HTTP/1.1\r\nHost: a\r\n\r\n"), "b:1"},
        {L("GET WSS://[::1]/x HTTP/1.1\r\nHost: a\r\n\r\n"), "[::1]"},
        {L("GET http://[v1.x]/x HTTP/1.1\r\nHost: [vA.a:b]:1\r\n\r\n"), "[v1.x]"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_parses(rows[i].head);
        assert_str(req.host, rows[i].host);
    }
}

/* RFC 9110 §2.5 */
static void later_minor_versions_are_1_1(void **state UNUSED)
{
    char text[] = "GET / HTTP/1.x\r\n" H "\r\n";

    for (char digit = '2'; digit <= '9'; digit++) {
        *strchr(text, 'x') = digit;
        assert_parses(str_from(text));
        assert_int_equal(req.minor, 1);
        assert_true(req.keep_alive);
        *strrchr(text, digit) = 'x';
    }
}

static void refuses_request_lines(void **state UNUSED)
{
    static const struct refusal rows[] = {
        {CLOSE_BAD_REQUEST_LINE, L("\x16")}, /* TLS on a plain port */
        {CLOSE_BAD_REQUEST_LINE, L("\n")},
        {CLOSE_BAD_REQUEST_LINE, L("\rG")},
        {CLOSE_BAD_REQUEST_LINE, L("\r\n\r")}, /* one empty line is enough */
        {CLOSE_BAD_REQUEST_LINE, L(" ")},
        {CLOSE_BAD_REQUEST_LINE, L("GET\t")},
        {CLOSE_BAD_REQUEST_LINE, L("G\xc3")},
        {CLOSE_BAD_REQUEST_LINE, L("G:")},
        {CLOSE_BAD_REQUEST_LINE, L("GET\r")},
        {CLOSE_BAD_REQUEST_LINE, L("GET  ")},
        {CLOSE_BAD_REQUEST_LINE, L("GET /  ")},
        {CLOSE_BAD_REQUEST_LINE, L("GET /\r")}, /* HTTP/0.9 */
        {CLOSE_BAD_REQUEST_LINE, L("GET /\n")},
        {CLOSE_BAD_REQUEST_LINE, L("GET /\t")},
        {CLOSE_BAD_REQUEST_LINE, L("GET / h")},
        {CLOSE_BAD_REQUEST_LINE, L("GET / HTTP/1.1 ")},
        {CLOSE_BAD_REQUEST_LINE, L("GET / HTTP/1.1\n")},
        {CLOSE_BAD_REQUEST_LINE, L("GET / HTTP/1.1\rH")},
        {CLOSE_BAD_REQUEST_LINE, L("GET / HTTP/1.10")},
        {CLOSE_BAD_REQUEST_LINE, L("GET / HTTP/a")},
        {CLOSE_BAD_REQUEST_LINE, L("GET / HTTP/11")},
        {CLOSE_BAD_REQUEST_LINE, L("GET / I")},
        {CLOSE_BAD_REQUEST_LINE, L("ABCDEFGHIJKLMNOPABCDEFGHIJKLMNOPQ")},
        {CLOSE_BAD_VERSION, L("GET / HTTP/2.0\r\n")},
        {CLOSE_BAD_VERSION, L("PRI * HTTP/2.0\r\n")},
        {CLOSE_BAD_VERSION, L("GET / HTTP/0.9\r\n")},
    };

    assert_table(rows, ARRAY_LEN(rows));
}

static void refuses_targets(void **state UNUSED)
{
    static const struct refusal rows[] = {
        {CLOSE_BAD_TARGET, L("GET /#")},
        {CLOSE_BAD_TARGET, L("GET /\xc3")},
        {CLOSE_BAD_TARGET, L("GET /\0")},
        {CLOSE_BAD_TARGET, L("GET /\x7f")},
        {CLOSE_BAD_TARGET, L("GET /\x1b")},
        {CLOSE_BAD_TARGET, L("GET x HTTP/1.1\r\n")},
        {CLOSE_BAD_TARGET, L("GET * HTTP/1.1\r\n")},
        {CLOSE_BAD_TARGET, L("GET ?x HTTP/1.1\r\n")},
        {CLOSE_BAD_TARGET, L("OPTIONS *?x HTTP/1.1\r\n")},
        {CLOSE_BAD_TARGET, L("CONNECT a:80 HTTP/1.1\r\n")},
        {CLOSE_BAD_TARGET, L("GET ftp://a/ HTTP/1.1\r\n")},
        {CLOSE_BAD_TARGET, L("GET http:/a/ HTTP/1.1\r\n")},
        {CLOSE_BAD_TARGET, L("GET http:///x HTTP/1.1\r\n")},
        {CLOSE_BAD_TARGET, L("GET http://u@a/ HTTP/1.1\r\n")},
        {CLOSE_BAD_TARGET, L("GET http://a:b/ HTTP/1.1\r\n")},
        {CLOSE_BAD_TARGET, L("GET http://a\\/ HTTP/1.1\r\n")},
        {CLOSE_BAD_TARGET, L("GET wsss://a/ HTTP/1.1\r\n")},
    };

    assert_table(rows, ARRAY_LEN(rows));
}

static void refuses_fields(void **state UNUSED)
{
    static const struct refusal rows[] = {
        {CLOSE_BAD_HEADER, L(R " ")},   /* white space before the first field */
        {CLOSE_BAD_HEADER, L(R H " ")}, /* obs-fold */
        {CLOSE_BAD_HEADER, L(R H "\t")},       {CLOSE_BAD_HEADER, L(R H ":")},
        {CLOSE_BAD_HEADER, L(R H "A ")},       {CLOSE_BAD_HEADER, L(R H "A\t")},
        {CLOSE_BAD_HEADER, L(R H "A\r")},      {CLOSE_BAD_HEADER, L(R H "A\n")},
        {CLOSE_BAD_HEADER, L(R H "A\xe9")},    {CLOSE_BAD_HEADER, L(R H "(")},
        {CLOSE_BAD_HEADER, L(R H "A: b\n")},   {CLOSE_BAD_HEADER, L(R H "A: b\rc")},
        {CLOSE_BAD_HEADER, L(R H "A: b\r\r")}, {CLOSE_BAD_HEADER, L(R H "A: b\0")},
        {CLOSE_BAD_HEADER, L(R H "A: b\x01")}, {CLOSE_BAD_HEADER, L(R H "A: b\x7f")},
        {CLOSE_BAD_HEADER, L(R H "\n")},       {CLOSE_BAD_HEADER, L(R H "\rx")},
    };

    assert_table(rows, ARRAY_LEN(rows));
}

static void refuses_hosts(void **state UNUSED)
{
    static const struct refusal rows[] = {
        {CLOSE_BAD_HOST, L(R "\r\n")},
        {CLOSE_BAD_HOST, L("GET http://a/ HTTP/1.1\r\n\r\n")},
        {CLOSE_BAD_HOST, L(R H H "\r\n")},
        {CLOSE_BAD_HOST, L("GET / HTTP/1.0\r\n" H "host: a\r\n\r\n")},
        {CLOSE_BAD_HOST, L("GET / HTTP/1.0\r\nHost: a b\r\n\r\n")},
        {CLOSE_BAD_HOST, L(R "Host:\r\n\r\n")},
        {CLOSE_BAD_HOST, L(R "Host: a, b/\r\n\r\n")},
        {CLOSE_BAD_HOST, L(R "Host: u@a\r\n\r\n")},
        {CLOSE_BAD_HOST, L(R "Host: a:65536\r\n\r\n")},
        {CLOSE_BAD_HOST, L(R "Host: \xc3\xa9\r\n\r\n")},
    };

    assert_table(rows, ARRAY_LEN(rows));
}

static void append_repeated(struct buf *b, const char *text, size_t times)
{
    while (times-- > 0)
        assert_int_equal(buf_append_lit(b, text), 0);
}

static void the_number_of_fields_is_bounded(void **state UNUSED)
{
    struct buf b = {0};

    append_repeated(&b, R H, 1);
    append_repeated(&b, "A:\r\n", FIELDS_MAX - 1);
    append_repeated(&b, "\r\n", 1);
    assert_parses(buf_view(&b));
    assert_int_equal(req.nfields, FIELDS_MAX);
    b.len -= 2;
    append_repeated(&b, "A", 1); /* the first byte of one too many */
    assert_refused(buf_view(&b), HEAD_MAX, CLOSE_HEADER_TOO_BIG);
    buf_fini(&b);
}

/* By the head's size alone. */
static void the_target_is_bounded(void **state UNUSED)
{
    struct buf b = {0};

    append_repeated(&b, "GET /", 1);
    append_repeated(&b, "x", HEAD_MAX - 30);
    append_repeated(&b, " HTTP/1.0\r\n\r\n", 1);
    assert_parses(buf_view(&b));
    assert_int_equal(req.path.n, HEAD_MAX - 29);
    b.len = 5;
    append_repeated(&b, "x", HEAD_MAX - 5);
    assert_refused(buf_view(&b), HEAD_MAX, CLOSE_URI_TOO_LONG);
    buf_fini(&b);
}

/* A head of exactly max bytes passes; with one byte less it is refused as soon as max bytes are
 * there. */
static void the_head_is_bounded(void **state UNUSED)
{
    const struct str head = L("GET /target HTTP/1.1\r\n" H "\r\n");
    struct str in = head;
    enum close_reason why;

    assert_int_equal(http_request_parse(&in, head.n, FIELDS_MAX, &req, &why), 1);
    assert_int_equal(in.n, 0);
    assert_refused((struct str){head.p, head.n - 1}, head.n - 1, CLOSE_HEADER_TOO_BIG);
    assert_refused((struct str){head.p, 20}, 20, CLOSE_HEADER_TOO_BIG);
    assert_refused((struct str){head.p, 8}, 8, CLOSE_URI_TOO_LONG);
    assert_refused((struct str){head.p, 2}, 2, CLOSE_HEADER_TOO_BIG);
}

/* A fault that lies below the limit is told before the limit. */
static void a_fault_comes_before_the_limit(void **state UNUSED)
{
    assert_refused(STR_LIT("GET /#"), 6, CLOSE_BAD_TARGET);
    assert_refused(STR_LIT("GET /#"), 7, CLOSE_BAD_TARGET);
}

static void an_empty_line_may_precede(void **state UNUSED)
{
    assert_parses(STR_LIT("\r\nGET / HTTP/1.1\r\n" H "\r\n"));
    assert_str(req.path, "/");
}

static void pipelined_heads(void **state UNUSED)
{
    struct str in = STR_LIT("GET /1 HTTP/1.1\r\n" H "\r\nGET /2 HTTP/1.1\r\n" H "\r\nGET /");
    enum close_reason why;

    assert_int_equal(http_request_parse(&in, HEAD_MAX, FIELDS_MAX, &req, &why), 1);
    assert_str(req.path, "/1");
    assert_int_equal(http_request_parse(&in, HEAD_MAX, FIELDS_MAX, &req, &why), 1);
    assert_str(req.path, "/2");
    assert_int_equal(http_request_parse(&in, HEAD_MAX, FIELDS_MAX, &req, &why), 0);
    assert_str(in, "GET /");
}

static void nothing_is_incomplete(void **state UNUSED)
{
    struct str in = STR_NULL;
    enum close_reason why;

    assert_int_equal(http_request_parse(&in, HEAD_MAX, FIELDS_MAX, &req, &why), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_browser_upgrade),
        cmocka_unit_test(methods),
        cmocka_unit_test(targets),
        cmocka_unit_test(the_host_of_an_absolute_form),
        cmocka_unit_test(later_minor_versions_are_1_1),
        cmocka_unit_test(refuses_request_lines),
        cmocka_unit_test(refuses_targets),
        cmocka_unit_test(refuses_fields),
        cmocka_unit_test(refuses_hosts),
        cmocka_unit_test(the_number_of_fields_is_bounded),
        cmocka_unit_test(the_target_is_bounded),
        cmocka_unit_test(the_head_is_bounded),
        cmocka_unit_test(a_fault_comes_before_the_limit),
        cmocka_unit_test(an_empty_line_may_precede),
        cmocka_unit_test(pipelined_heads),
        cmocka_unit_test(nothing_is_incomplete),
    };

    return cmocka_run_group_tests_name("codec/http", tests, NULL, NULL);
}
