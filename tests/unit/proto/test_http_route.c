/* Keys, tables, and the paths of requests. */
#include "proto/http_route.c"

#include "http_fixture.h"

static void keys_are_compared_whole(void **state UNUSED)
{
    static const char *const other[] = {"",        "s",       "secre",        "Secret", "secreT",
                                        "secret ", "secrets", "secretsecret", "terces"};

    assert_true(http_key_equal(STR_LIT("secret"), STR_LIT("secret")));
    for (size_t i = 0; i < ARRAY_LEN(other); i++)
        assert_false(http_key_equal(str_from(other[i]), STR_LIT("secret")));
    assert_false(http_key_equal(STR_LIT("x"), STR_LIT("")));
    assert_false(http_key_equal(STR_NULL, STR_LIT("x")));
}

static void handle_nothing(struct http_exchange *x UNUSED)
{
}

static bool on;
static bool is_on(void)
{
    return on;
}

static const struct http_resource table[] = {
    {.path = "/a", .where = HTTP_ON_CLIENT, .methods = 1u << HTTP_GET, .handle = handle_nothing},
    {.path = "/a/",
     .prefix = true,
     .where = HTTP_ON_CLIENT,
     .methods = 1u << HTTP_GET,
     .handle = handle_nothing},
    {.path = "/b",
     .where = HTTP_ON_ADMIN,
     .methods = 1u << HTTP_POST,
     .enabled = is_on,
     .handle = handle_nothing},
};

static void resources_are_found_by_path_and_place(void **state UNUSED)
{
    assert_ptr_equal(http_resource_find(STR_LIT("/a"), HTTP_ON_CLIENT), &table[0]);
    assert_ptr_equal(http_resource_find(STR_LIT("/a/"), HTTP_ON_CLIENT), &table[1]);
    assert_ptr_equal(http_resource_find(STR_LIT("/a/b/c"), HTTP_ON_CLIENT), &table[1]);
    assert_null(http_resource_find(STR_LIT("/a"), HTTP_ON_ADMIN));
    assert_null(http_resource_find(STR_LIT("/ab"), HTTP_ON_CLIENT));
    assert_null(http_resource_find(STR_LIT("/"), HTTP_ON_CLIENT));
    assert_null(http_resource_find(STR_LIT(""), HTTP_ON_CLIENT));
    assert_null(http_resource_find(STR_LIT("/b"), HTTP_ON_ADMIN));
    on = true;
    assert_ptr_equal(http_resource_find(STR_LIT("/b"), HTTP_ON_ADMIN), &table[2]);
    assert_null(http_resource_find(STR_LIT("/b"), HTTP_ON_CLIENT));
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
        {"GET /key HTTP/1.1\r\nHost: a\r\nX-API-Key: count\r\n\r\n", 401},
        {"GET /numbers HTTP/1.1\r\nHost: a\r\nX-API-Key: coun\r\n\r\n", 401},
        {"GET /numbers HTTP/1.1\r\nHost: a\r\nX-API-Key: count\r\n\r\n", 200},
        {"GET /numbers HTTP/1.1\r\nHost: a\r\nX-API-Key: s3cret\r\n\r\n", 200},
        {"GET /key HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer count\r\n\r\n", 401},
        {"GET /numbers HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer coun\r\n\r\n", 401},
        {"GET /numbers HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer\r\n\r\n", 401},
        {"GET /numbers HTTP/1.1\r\nHost: a\r\nAuthorization: Basic count\r\n\r\n", 401},
        {"GET /numbers HTTP/1.1\r\nHost: a\r\nAuthorization: apikey count\r\n\r\n", 200},
        {"GET /numbers HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer count\r\n\r\n", 200},
        {"HEAD /numbers HTTP/1.1\r\nHost: a\r\nAuthorization: bearer  count\r\n\r\n", 200},
        {"GET /numbers HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer s3cret\r\n\r\n", 200},
    };
    struct peer *p = NULL;

    snprintf(config.api_key, sizeof(config.api_key), "s3cret");
    snprintf(config.metrics_key, sizeof(config.metrics_key), "count");
    for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
        p = h_connect(CONN_ADMIN);
        h_ask(p, asks[i].text);
        if (h_status(p) != asks[i].status)
            fail_msg("%s: %s", asks[i].text, p->got);
        if (asks[i].status == 401)
            assert_has(
                p, strstr(asks[i].text, "/numbers") == NULL
                       ? "WWW-Authenticate: apikey realm=\"roost\"\r\n"
                       : "WWW-Authenticate: apikey realm=\"roost\", Bearer realm=\"roost\"\r\n");
        h_close(p);
    }
    assert_int_equal(metrics->api_key_failures, 16);
    p = h_connect(CONN_ADMIN);
    h_ask(p, "GET /open HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(h_status(p), 401);
    h_close(p);
    p = h_connect(0);
    h_ask(p, "GET /open HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(h_status(p), 200);
    h_ask(p, "GET /key HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(h_status(p), 401);
    h_close(p);
}

/* On the client listener the want of a key lets nobody in, and keyless pages stay out. */
static void without_a_key_clients_are_let_in_by_a_setting(void **state UNUSED)
{
    static const struct {
        const char *text;
        int status, insecure; /* without api_insecure, and with it */
    } asks[] = {
        {"GET /key HTTP/1.1\r\nHost: localhost\r\n\r\n", 401, 200},
        {"GET /key HTTP/1.1\r\nHost: localhost\r\nX-API-Key:\r\n\r\n", 401, 200},
        {"GET /key?api_key= HTTP/1.1\r\nHost: localhost\r\n\r\n", 401, 200},
        {"GET /key HTTP/1.1\r\nHost: evil.example\r\n\r\n", 401, 403},
        {"GET /key HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n", 401, 403},
        {"GET /open HTTP/1.1\r\nHost: evil.example\r\n\r\n", 200, 200},
        {"GET /hello HTTP/1.1\r\nHost: evil.example\r\n\r\n", 200, 200},
    };

    for (size_t i = 0; i < 2 * ARRAY_LEN(asks); i++) {
        struct peer *p = h_connect(0);

        config.api_insecure = i % 2 == 1;
        h_ask(p, asks[i / 2].text);
        assert_int_equal(h_status(p), i % 2 == 1 ? asks[i / 2].insecure : asks[i / 2].status);
        h_close(p);
    }
}

/* Guesses are answered a few at a time; a right key begins the count anew. */
static void a_few_wrong_keys_end_the_connection(void **state UNUSED)
{
    static const char wrong[] = "GET /key HTTP/1.1\r\nHost: a\r\nX-API-Key: x\r\n\r\n";
    static const char right[] = "GET /key HTTP/1.1\r\nHost: a\r\nX-API-Key: s3cret\r\n\r\n";
    struct peer *p = h_connect(CONN_ADMIN);

    snprintf(config.api_key, sizeof(config.api_key), "s3cret");
    for (int i = 0; i < 4; i++) {
        for (int k = 1; k < HTTP_KEY_TRIES; k++) {
            h_ask(p, wrong);
            assert_int_equal(h_status(p), 401);
        }
        h_ask(p, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"); /* needs none: changes nothing */
        assert_int_equal(h_status(p), 200);
        h_ask(p, right);
        assert_int_equal(h_status(p), 200);
    }
    h_forget(p);
    for (int i = 0; i < 50; i++) /* pipelined */
        h_say(p, wrong);
    h_turns(4);
    h_read(p);
    assert_int_equal(h_count(p, "HTTP/1.1 401 "), HTTP_KEY_TRIES);
    assert_int_equal(h_count(p, "Connection: close\r\n"), 1);
    assert_true(p->eof);
    assert_int_equal(metrics->api_key_failures, 4 * (HTTP_KEY_TRIES - 1) + HTTP_KEY_TRIES);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_compared_whole),
        cmocka_unit_test(resources_are_found_by_path_and_place),
        cmocka_unit_test_setup_teardown(keys_are_asked_for, h_http_setup, h_stop),
        cmocka_unit_test_setup_teardown(without_a_key_clients_are_let_in_by_a_setting, h_http_setup,
                                        h_stop),
        cmocka_unit_test_setup_teardown(a_few_wrong_keys_end_the_connection, h_http_setup, h_stop),
        cmocka_unit_test_setup_teardown(prefix_path_is_decoded, h_http_setup, h_stop),
    };

    http_register(table, ARRAY_LEN(table));
    http_register(h_resources, ARRAY_LEN(h_resources));
    return cmocka_run_group_tests_name("proto/http_route", tests, NULL, NULL);
}
