/* Whose request it is: with and without a trusted proxy, kept connections, upgrades. */
#include "proto/http_client.c"

#include "http_fixture.h"

static char asked_by[CONN_ADDRESS_MAX]; /* when the last request was handled */

static void on_who(struct http_exchange *x)
{
    conn_format_address(x->conn, asked_by, sizeof(asked_by));
    http_respond(x, 200, NULL, STR_LIT(""), STR_LIT(""));
}

static const struct http_resource resources[] = {
    {.path = "/who", .where = BOTH, .methods = GET | POST, .handle = on_who},
};

static void trust(const char *list)
{
    snprintf(config.trusted_proxies, sizeof(config.trusted_proxies), "%s", list);
    config_derive(&config);
}

static const char *now(const struct peer *p)
{
    static char text[CONN_ADDRESS_MAX];

    conn_format_address(p->conn, text, sizeof(text));
    return text;
}

#define OWN "127.0.0.1:40000"

static void assert_asks(struct peer *p, const char *fields, const char *who)
{
    char text[1000];

    asked_by[0] = '\0';
    snprintf(text, sizeof(text), "GET /who HTTP/1.1\r\nHost: a\r\n%s\r\n", fields);
    h_ask(p, text);
    assert_int_equal(h_status(p), 200);
    assert_string_equal(asked_by, who);
    assert_string_equal(now(p), OWN); /* and nobody asks any more */
}

static void nobody_is_trusted_by_default(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    assert_asks(p, "X-Forwarded-For: 203.0.113.9\r\n", OWN);
    assert_asks(p, "Forwarded: for=203.0.113.9\r\n", OWN);
    assert_int_equal(metrics->forwarded_ignored, 0);
    assert_int_equal(metrics->clients_forwarded, 0);
    h_close(p);
}

static void others_are_ignored_and_counted(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    trust("10.0.0.0/8\nunix:");
    assert_asks(p, "X-Forwarded-For: 203.0.113.9\r\n", OWN);
    assert_int_equal(metrics->forwarded_ignored, 1);
    assert_asks(p, "Forwarded: for=203.0.113.9\r\n", OWN);
    assert_asks(p, "", OWN);
    assert_int_equal(metrics->forwarded_ignored, 1);
    assert_int_equal(metrics->clients_forwarded, 0);
    h_close(p);
}

/* One connection of a proxy carries requests of several clients. */
static void each_request_has_its_client(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    trust("127.0.0.1");
    assert_asks(p, "X-Forwarded-For: 203.0.113.9\r\n", "203.0.113.9:0");
    assert_asks(p, "X-Forwarded-For: 198.51.100.1, 2001:db8::9\r\n", "[2001:db8::9]:0");
    assert_asks(p, "X-Forwarded-For: 203.0.113.9:77, 127.0.0.1\r\n", "203.0.113.9:77");
    assert_asks(p, "", OWN); /* a health check of the proxy's own */
    assert_asks(p, "X-Forwarded-For: unknown\r\n", OWN);
    assert_asks(p, "Forwarded: for=203.0.113.9\r\n", OWN); /* written by the client */
    assert_int_equal(metrics->clients_forwarded, 3);
    assert_int_equal(metrics->forwarded_ignored, 0);
    h_close(p);
}

static void the_field_is_a_setting(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    trust("127.0.0.1");
    config.trusted_proxy_header = FORWARDED_RFC_7239;
    assert_asks(p, "Forwarded: for=203.0.113.9\r\nX-Forwarded-For: 9.9.9.9\r\n", "203.0.113.9:0");
    config.trusted_proxy_header = FORWARDED_NR; /* none */
    assert_asks(p, "Forwarded: for=203.0.113.9\r\nX-Forwarded-For: 9.9.9.9\r\n", OWN);
    h_close(p);
}

static void malformed_is_refused(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    trust("127.0.0.1");
    config.trusted_proxy_header = FORWARDED_RFC_7239;
    h_ask(p,
          "GET /who HTTP/1.1\r\nHost: a\r\nForwarded: for=9.9.9.9;x=\", for=203.0.113.9\r\n\r\n");
    assert_int_equal(h_status(p), 400);
    assert_has(p, "malformed Forwarded field");
    assert_true(p->eof);
    assert_string_equal(asked_by, "");
    h_close(p);
}

/* The client's until the answer has been given, however late that is. */
static void an_answer_that_comes_later(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    trust("127.0.0.1");
    h_ask(p, "GET /later HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n");
    assert_string_equal(now(p), "203.0.113.9:0");
    http_respond(http_exchange_find(deferred), 200, NULL, STR_LIT(""), STR_LIT(""));
    assert_string_equal(now(p), OWN);
    h_close(p);
}

static void a_body_that_comes_later(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    trust("127.0.0.1");
    h_ask(p, "POST /who HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\n"
             "Content-Length: 2\r\n\r\n1");
    assert_string_equal(now(p), "203.0.113.9:0");
    h_ask(p, "2GET /who HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_string_equal(asked_by, OWN);
    assert_int_equal(h_count(p, "200 OK"), 2);
    h_close(p);
}

static void refused_requests_have_a_client_too(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    trust("127.0.0.1");
    h_ask(p, "GET /nowhere HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n");
    assert_int_equal(h_status(p), 404);
    assert_string_equal(now(p), OWN);
    /* The end of the connection is told with the address of who has brought it about. */
    h_ask(p, "GET /who HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\nConnection: "
             "close\r\n\r\n");
    assert_int_equal(p->conn->state, CONN_LINGERING);
    assert_string_equal(now(p), "203.0.113.9:0");
    h_close(p);
}

static int set_up(void **state)
{
    asked_by[0] = '\0';
    return h_http_setup(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nobody_is_trusted_by_default, set_up, h_stop),
        cmocka_unit_test_setup_teardown(others_are_ignored_and_counted, set_up, h_stop),
        cmocka_unit_test_setup_teardown(each_request_has_its_client, set_up, h_stop),
        cmocka_unit_test_setup_teardown(the_field_is_a_setting, set_up, h_stop),
        cmocka_unit_test_setup_teardown(malformed_is_refused, set_up, h_stop),
        cmocka_unit_test_setup_teardown(an_answer_that_comes_later, set_up, h_stop),
        cmocka_unit_test_setup_teardown(a_body_that_comes_later, set_up, h_stop),
        cmocka_unit_test_setup_teardown(refused_requests_have_a_client_too, set_up, h_stop),
    };

    http_register(h_resources, ARRAY_LEN(h_resources));
    http_register(resources, ARRAY_LEN(resources));
    return cmocka_run_group_tests_name("proto/http_client", tests, NULL, NULL);
}
