/* The Date of responses. */
#include "proto/http_date.c"

#include "http_fixture.h"

/* RFC 9110 §5.6.7, its own example among them. */
static void imf_fixdate(void **state UNUSED)
{
    static const struct {
        uint64_t seconds;
        const char *line;
    } rows[] = {
        {784111777, "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"},
        {951782400, "Date: Tue, 29 Feb 2000 00:00:00 GMT\r\n"},
        {1767225599, "Date: Wed, 31 Dec 2025 23:59:59 GMT\r\n"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        clock_set_virtual(rows[i].seconds * NS_PER_SEC + i);
        assert_true(str_equal(http_date_line(), str_from(rows[i].line)));
    }
    clock_set_virtual(0);
}

/* Made anew when the second has changed, not for every response. */
static void once_a_second(void **state UNUSED)
{
    struct str line;

    clock_set_virtual(784111777 * NS_PER_SEC);
    line = http_date_line();
    ((char *)(uintptr_t)line.p)[6] = 'x';
    clock_advance(999 * NS_PER_MS);
    assert_int_equal(http_date_line().p[6], 'x');
    clock_advance(NS_PER_MS);
    assert_true(str_equal(http_date_line(), STR_LIT("Date: Sun, 06 Nov 1994 08:49:38 GMT\r\n")));
    clock_set_virtual(0);
}

#define DATE "\r\nDate: Thu, 01 Jan 1970 00:16:40 GMT\r\n"

static void it_is_in_every_response(void **state UNUSED)
{
    static const char *const asks[] = {
        "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
        "HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /large HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
        "DELETE /hello HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /hello HTTP/1.0\r\n\r\n",
        "x\r\n\r\n",
    };

    for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
        struct peer *p = h_connect(0);

        h_ask(p, asks[i]);
        assert_int_equal(h_count(p, DATE), 1);
        h_close(p);
    }
}

static void in_interim_ones_too(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    h_ask(p, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    assert_has(p, "HTTP/1.1 100 Continue" DATE "\r\n");
    h_close(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(imf_fixdate),
        cmocka_unit_test(once_a_second),
        cmocka_unit_test_setup_teardown(it_is_in_every_response, h_http_setup, h_stop),
        cmocka_unit_test_setup_teardown(in_interim_ones_too, h_http_setup, h_stop),
    };

    http_register(h_resources, ARRAY_LEN(h_resources));
    return cmocka_run_group_tests_name("proto/http_date", tests, NULL, NULL);
}
