/* codec/http_field: lists, tokens, body framing, persistence, expectations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/http_field.c"

#include "http_head.h"

static void bodies(void **state UNUSED)
{
    assert_parses(STR_LIT("POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551615\r\n\r\n"));
    assert_int_equal(req.body, HTTP_BODY_LENGTH);
    assert_true(req.content_length == UINT64_MAX);
    assert_parses(STR_LIT("POST / HTTP/1.1\r\n" H "content-length: 007\r\n\r\n"));
    assert_int_equal(req.content_length, 7);
    assert_parses(STR_LIT("POST / HTTP/1.1\r\n" H "Transfer-Encoding:  ChunkeD\r\n\r\n"));
    assert_int_equal(req.body, HTTP_BODY_CHUNKED);
    assert_int_equal(req.content_length, 0);
    assert_parses(STR_LIT("POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\n"));
    assert_int_equal(req.content_length, 3);
}

static void persistence(void **state UNUSED)
{
    static const struct {
        struct str head;
        bool keep_alive;
    } rows[] = {
        {L("GET / HTTP/1.1\r\n" H "\r\n"), true},
        {L("GET / HTTP/1.1\r\n" H "Connection: Close\r\n\r\n"), false},
        {L("GET / HTTP/1.1\r\n" H "Connection: x,\tclose\r\n\r\n"), false},
        {L("GET / HTTP/1.1\r\n" H "Connection: x\r\nConnection: close\r\n\r\n"), false},
        {L("GET / HTTP/1.1\r\n" H "Connection: closed\r\n\r\n"), true},
        {L("GET / HTTP/1.0\r\n\r\n"), false},
        {L("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), true},
        {L("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n"), false},
    };
    size_t i;

    for (i = 0; i < ARRAY_LEN(rows); i++) {
        assert_parses(rows[i].head);
        assert_int_equal(req.keep_alive, rows[i].keep_alive);
    }
}

static void expectations(void **state UNUSED)
{
    static const struct {
        struct str head;
        bool expect;
    } rows[] = {
        {L("POST / HTTP/1.1\r\n" H "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n"), true},
        {L("POST / HTTP/1.1\r\n" H "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"),
         true},
        {L("POST / HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n"), false},
        {L("GET / HTTP/1.1\r\n" H "Expect: 100-continue\r\n\r\n"), false},
        {L("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"), false},
        {L("POST / HTTP/1.0\r\nExpect: tea\r\nContent-Length: 1\r\n\r\n"), false},
    };
    size_t i;

    for (i = 0; i < ARRAY_LEN(rows); i++) {
        assert_parses(rows[i].head);
        assert_int_equal(req.expect_continue, rows[i].expect);
    }
}

static void refuses_framing(void **state UNUSED)
{
    static const struct refusal rows[] = {
        {CLOSE_BAD_LENGTH, L(R H "Content-Length: 5\r\nContent-Length: 5\r\n\r\n")},
        {CLOSE_BAD_LENGTH, L(R H "Content-Length: 5\r\ncontent-length: 6\r\n\r\n")},
        {CLOSE_BAD_LENGTH, L(R H "Content-Length: 5, 5\r\n\r\n")},
        {CLOSE_BAD_LENGTH, L(R H "Content-Length: +5\r\n\r\n")},
        {CLOSE_BAD_LENGTH, L(R H "Content-Length: -5\r\n\r\n")},
        {CLOSE_BAD_LENGTH, L(R H "Content-Length: 0x5\r\n\r\n")},
        {CLOSE_BAD_LENGTH, L(R H "Content-Length: 5 5\r\n\r\n")},
        {CLOSE_BAD_LENGTH, L(R H "Content-Length: 5.0\r\n\r\n")},
        {CLOSE_BAD_LENGTH, L(R H "Content-Length: \r\n\r\n")},
        {CLOSE_BAD_LENGTH, L(R H "Content-Length: 18446744073709551616\r\n\r\n")},
        {CLOSE_BAD_LENGTH, L(R H "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n")},
        {CLOSE_BAD_LENGTH, L(R H "Transfer-Encoding: x\r\nContent-Length: 0\r\n\r\n")},
        {CLOSE_BAD_LENGTH, L("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n")},
        {CLOSE_BAD_TRANSFER, L(R H "Transfer-Encoding: gzip, chunked\r\n\r\n")},
        {CLOSE_BAD_TRANSFER, L(R H "Transfer-Encoding: chunked, chunked\r\n\r\n")},
        {CLOSE_BAD_TRANSFER, L(R H "Transfer-Encoding: chunked\r\n"
                                   "Transfer-Encoding: chunked\r\n\r\n")},
        {CLOSE_BAD_TRANSFER, L(R H "Transfer-Encoding: identity\r\n\r\n")},
        {CLOSE_BAD_TRANSFER, L(R H "Transfer-Encoding: chunked;q=1\r\n\r\n")},
        {CLOSE_BAD_TRANSFER, L(R H "Transfer-Encoding: \xa0"
                                   "chunk\r\n\r\n")},
        {CLOSE_BAD_TRANSFER, L(R H "Transfer-Encoding:\r\n\r\n")},
        {CLOSE_BAD_EXPECT, L(R H "Expect: 200-ok\r\n\r\n")},
        {CLOSE_BAD_EXPECT, L(R H "Expect: 100-continue, x\r\n\r\n")},
        {CLOSE_BAD_EXPECT, L(R H "Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n")},
        {CLOSE_BAD_EXPECT, L(R H "Expect:\r\n\r\n")},
    };

    assert_table(rows, ARRAY_LEN(rows));
}

static void lists(void **state UNUSED)
{
    static const struct {
        struct str list;
        const char *elements[4];
    } rows[] = {
        {L(""), {NULL}},
        {L(" ,\t, "), {NULL}},
        {L("a"), {"a"}},
        {L(",a ,, b\t,"), {"a", "b"}},
        {L("a b,c;d=1"), {"a b", "c;d=1"}},
        {L("x=\"a,b\", c"), {"x=\"a,b\"", "c"}},
        {L("x=\"a\\\",b\",c"), {"x=\"a\\\",b\"", "c"}},
        {L("\"open, c"), {"\"open, c"}},
        {L("\"open\\"), {"\"open\\"}},
    };
    size_t i, k;

    for (i = 0; i < ARRAY_LEN(rows); i++) {
        struct str rest = rows[i].list, element;

        for (k = 0; rows[i].elements[k] != NULL; k++) {
            assert_true(http_list_next(&rest, &element));
            assert_str(element, rows[i].elements[k]);
        }
        assert_false(http_list_next(&rest, &element));
    }
}

static void tokens(void **state UNUSED)
{
    static const char not_in_token[] = "\"(),/:;<=>?@[\\]{} \t\x7f\x80\xff";
    size_t i;

    assert_true(http_is_token(STR_LIT("a")));
    assert_true(http_is_token(STR_LIT("!#$%&'*+-.^_`|~09AZaz")));
    assert_false(http_is_token(STR_NULL));
    assert_false(http_is_token((struct str){"a\0b", 3}));
    for (i = 0; i < sizeof(not_in_token); i++) /* with the NUL at its end */
        assert_false(http_is_token((struct str){&not_in_token[i], 1}));
    for (i = 1; i < 0x20; i++)
        assert_false(http_is_token((struct str){(const char[]){(char)i}, 1}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies),       cmocka_unit_test(persistence),
        cmocka_unit_test(expectations), cmocka_unit_test(refuses_framing),
        cmocka_unit_test(lists),        cmocka_unit_test(tokens),
    };

    return cmocka_run_group_tests_name("codec/http_field", tests, NULL, NULL);
}
