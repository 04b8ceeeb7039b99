/* codec/http_response: response heads, every prefix of each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/http_response.c"

static struct http_response rsp;

static int parse_prefix(struct str head, size_t n, enum close_reason *why)
{
    char *copy = malloc(n + 1);
    struct str in = {copy + 1, n};
    int rc;

    assert_non_null(copy);
    memcpy(copy + 1, head.p, n);
    rc = http_response_parse(&in, 1024, &rsp, why);
    assert_int_equal(n - in.n, rc > 0 ? n : 0);
    free(copy);
    return rc;
}

static void assert_parses(const char *text)
{
    struct str head = str_from(text);
    enum close_reason why;
    size_t n;

    for (n = 0; n < head.n; n++)
        assert_int_equal(parse_prefix(head, n, &why), 0);
    if (http_response_parse(&head, 1024, &rsp, &why) != 1)
        fail_msg("refused: %s", text);
    assert_int_equal(head.n, 0);
}

/* text ends with the byte that proves it. */
static void assert_refused(const char *text, enum close_reason expected)
{
    struct str head = str_from(text);
    enum close_reason why = CLOSE_NONE;
    size_t n;

    for (n = 0; n < head.n; n++)
        assert_int_equal(parse_prefix(head, n, &why), 0);
    if (parse_prefix(head, head.n, &why) != -1)
        fail_msg("accepted: %s", text);
    assert_int_equal(why, expected);
}

static void status_lines(void **state UNUSED)
{
    assert_parses("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\n");
    assert_int_equal(rsp.status, 200);
    assert_true(str_equal(rsp.reason, STR_LIT("OK")));
    assert_int_equal(rsp.body, HTTP_BODY_LENGTH);
    assert_int_equal(rsp.content_length, 5);
    assert_true(rsp.keep_alive);
    assert_true(str_equal(http_response_field(&rsp, STR_LIT("x-a")), STR_LIT("b")));
    assert_null(http_response_field(&rsp, STR_LIT("x-b")).p);
    assert_parses("HTTP/1.1 404 \r\n\r\n");
    assert_int_equal(rsp.reason.n, 0);
    assert_parses("HTTP/1.1 500\r\n\r\n");
    assert_int_equal(rsp.status, 500);
    assert_parses("HTTP/1.0 200 a b\xe9\r\n\r\n");
    assert_false(rsp.keep_alive);
}

static void bodies(void **state UNUSED)
{
    assert_parses("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_int_equal(rsp.body, HTTP_BODY_CHUNKED);
    assert_parses("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    assert_int_equal(rsp.body, HTTP_BODY_NONE);
    assert_false(rsp.keep_alive);
    assert_parses("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n");
    assert_int_equal(rsp.body, HTTP_BODY_LENGTH);
    assert_int_equal(rsp.content_length, 0);
    assert_parses("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n");
    assert_int_equal(rsp.content_length, 0);
    assert_parses("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_int_equal(rsp.body, HTTP_BODY_LENGTH);
}

static void refusals(void **state UNUSED)
{
    assert_refused("\r", CLOSE_BAD_VERSION);
    assert_refused("h", CLOSE_BAD_VERSION);
    assert_refused("HTTP/2", CLOSE_BAD_VERSION);
    assert_refused("HTTP/1.x", CLOSE_BAD_VERSION);
    assert_refused("HTTP/1.1\t", CLOSE_BAD_HEADER);
    assert_refused("HTTP/1.1  ", CLOSE_BAD_HEADER);
    assert_refused("HTTP/1.1 20 ", CLOSE_BAD_HEADER);
    assert_refused("HTTP/1.1 2000", CLOSE_BAD_HEADER);
    assert_refused("HTTP/1.1 099", CLOSE_BAD_HEADER);
    assert_refused("HTTP/1.1 200\n", CLOSE_BAD_HEADER);
    assert_refused("HTTP/1.1 200 OK\n", CLOSE_BAD_HEADER);
    assert_refused("HTTP/1.1 200 O\x01", CLOSE_BAD_HEADER);
    assert_refused("HTTP/1.1 200 OK\r\n ", CLOSE_BAD_HEADER);
    assert_refused("HTTP/1.1 200 OK\r\nA ", CLOSE_BAD_HEADER);
    assert_refused("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
                   CLOSE_BAD_LENGTH);
    assert_refused("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                   CLOSE_BAD_LENGTH);
    assert_refused("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", CLOSE_BAD_TRANSFER);
}

static void the_head_is_bounded(void **state UNUSED)
{
    const struct str head = STR_LIT("HTTP/1.1 200 OK\r\n\r\n");
    struct str in = head;
    enum close_reason why = CLOSE_NONE;

    assert_int_equal(http_response_parse(&in, head.n, &rsp, &why), 1);
    in = head;
    assert_int_equal(http_response_parse(&in, head.n - 1, &rsp, &why), -1);
    assert_int_equal(why, CLOSE_HEADER_TOO_BIG);
    in = STR_NULL;
    assert_int_equal(http_response_parse(&in, 1, &rsp, &why), 0);
}

#define INTERIM "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"

static int parse_final(struct str head, size_t max)
{
    struct str in = head;
    enum close_reason why;
    int rc = http_response_final(&in, max, &rsp, &why);

    assert_int_equal(head.n - in.n, rc > 0 ? head.n : 0);
    return rc;
}

static void interim_responses_are_skipped(void **state UNUSED)
{
    const struct str head = STR_LIT(INTERIM "HTTP/1.1 101 Switching Protocols\r\nX: 1\r\n\r\n");

    for (size_t n = 0; n < head.n; n++)
        assert_int_equal(parse_final((struct str){head.p, n}, head.n), 0);
    assert_int_equal(parse_final(head, head.n), 1);
    assert_int_equal(rsp.status, 101);
    assert_true(str_equal(http_response_field(&rsp, STR_LIT("X")), STR_LIT("1")));
    assert_int_equal(http_response_field(&rsp, STR_LIT("Link")).n, 0);
    assert_int_equal(parse_final(STR_LIT(INTERIM "HTTP/1.1 404\r\n\r\n"), 1024), 1);
    assert_int_equal(rsp.status, 404);
    assert_int_equal(parse_final(STR_LIT(INTERIM "nonsense"), 1024), -1);
    for (size_t max = sizeof(INTERIM) - 1; max < head.n; max++) /* all heads together */
        assert_int_equal(parse_final(head, max), -1);
}

static void many_fields(void **state UNUSED)
{
    struct buf b = {0};
    enum close_reason why = CLOSE_NONE;
    struct str in;

    assert_int_equal(buf_append_lit(&b, "HTTP/1.1 200 OK\r\n"), 0);
    for (size_t i = 0; i < HTTP_RESPONSE_FIELDS; i++)
        assert_int_equal(buf_append_lit(&b, "A:\r\n"), 0);
    in = buf_view(&b);
    assert_int_equal(http_response_parse(&in, 65536, &rsp, &why), 0);
    assert_int_equal(buf_append_lit(&b, "\r\n"), 0);
    in = buf_view(&b);
    assert_int_equal(http_response_parse(&in, 65536, &rsp, &why), 1);
    assert_int_equal(rsp.nfields, HTTP_RESPONSE_FIELDS);
    b.len -= 2;
    assert_int_equal(buf_append_lit(&b, "B:\r\n\r\n"), 0);
    in = buf_view(&b);
    assert_int_equal(http_response_parse(&in, 65536, &rsp, &why), -1);
    assert_int_equal(why, CLOSE_HEADER_TOO_BIG);
    buf_fini(&b);
}

/* Every status of the close table must have its phrase. */
static void phrases(void **state UNUSED)
{
    static const int statuses[] = {
#define X(name, code, status, label, use, text, setting, fix) status,
#include "tbl/close.def"
#undef X
    };
    size_t i;

    for (i = 0; i < ARRAY_LEN(statuses); i++) {
        if (statuses[i] != 0)
            assert_string_not_equal(http_status_phrase(statuses[i]), "Unknown");
    }
    assert_string_equal(http_status_phrase(101), "Switching Protocols");
    assert_string_equal(http_status_phrase(299), "Unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_lines), cmocka_unit_test(bodies),
        cmocka_unit_test(refusals),     cmocka_unit_test(the_head_is_bounded),
        cmocka_unit_test(phrases),      cmocka_unit_test(interim_responses_are_skipped),
        cmocka_unit_test(many_fields),
    };

    return cmocka_run_group_tests_name("codec/http_response", tests, NULL, NULL);
}
