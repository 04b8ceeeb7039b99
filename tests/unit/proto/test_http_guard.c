/* Web pages and the admin listener. */
#include "proto/http_guard.c"

#include "http_fixture.h"

static int setup(void **state)
{
    int rc = h_http_setup(state);

    snprintf(config.admin_hosts, sizeof(config.admin_hosts), "box\n*.internal");
    return rc;
}

static int ask(unsigned flags, const char *host, const char *more)
{
    struct peer *p = h_connect(flags);
    char text[512];
    int status;

    snprintf(text, sizeof(text), "GET /hello HTTP/1.1\r\nHost: %s\r\n%s\r\n", host, more);
    h_ask(p, text);
    status = h_status(p);
    if (status == 403)
        assert_has(p, "\r\n\r\nwithout an api_key, ");
    h_close(p);
    return status;
}

static void hosts_that_nobody_else_can_name(void **state UNUSED)
{
    static const char *const good[] = {
        "127.0.0.1",  "127.0.0.1:8001", "192.0.2.7",      "[::1]",      "[::1]:8001",
        "localhost",  "LocalHost",      "localhost:8001", "box",        "Box:1",
        "a.internal", "A.B.Internal",   "1.2.3.4:",       "localhost:",
    };
    static const char *const bad[] = {
        "evil.example",
        "evil.example:8001",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "localhosts",
        "boxes",
        "abox",
        "internal",
        "127.0.0.1.",
        "%6cocalhost",
        "x.localhost",
    };

    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (ask(CONN_ADMIN, good[i], "") != 200)
            fail_msg("%s is refused", good[i]);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (ask(CONN_ADMIN, bad[i], "") != 403)
            fail_msg("%s is served", bad[i]);
        assert_int_equal(ask(0, bad[i], ""), 200); /* clients may come under any name */
    }
}

static void pages_of_other_origins(void **state UNUSED)
{
    static const char *const good[] = {
        "Origin: http://localhost:8001\r\n",
        "Origin: http://LOCALHOST:8001\r\nSec-Fetch-Site: same-origin\r\n",
        "Sec-Fetch-Site: none\r\n",
    };
    static const char *const bad[] = {
        "Origin: http://evil.example\r\n",
        "Origin: http://localhost\r\n",
        "Origin: http://localhost:8000\r\n",
        "Origin: http://127.0.0.1:8001\r\n",
        "Origin: null\r\n",
        "Origin:\r\n",
        "Origin: http://localhost:8001\r\nOrigin: http://evil.example\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "Sec-Fetch-Site: something-new\r\n",
        "Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site\r\n",
        "Origin: http://localhost:8001\r\nSec-Fetch-Site: cross-site\r\n",
    };

    snprintf(config.allowed_origins, sizeof(config.allowed_origins), "*"); /* is of clients */
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (ask(CONN_ADMIN, "localhost:8001", good[i]) != 200)
            fail_msg("refused: %s", good[i]);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (ask(CONN_ADMIN, "localhost:8001", bad[i]) != 403)
            fail_msg("served: %s", bad[i]);
        assert_int_equal(ask(0, "localhost:8001", bad[i]), 200);
    }
}

static void a_key_counts_instead(void **state UNUSED)
{
    snprintf(config.api_key, sizeof(config.api_key), "s3cret");
    assert_int_equal(ask(CONN_ADMIN, "evil.example", "Origin: http://evil.example\r\n"), 200);
}

/* The body is neither awaited nor asked for. */
static void before_the_body_is_read(void **state UNUSED)
{
    struct peer *p = h_connect(CONN_ADMIN);

    h_ask(p, "POST /echo HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 9\r\n"
             "Expect: 100-continue\r\n\r\n");
    assert_int_equal(h_status(p), 403);
    assert_has(p, "Connection: close\r\n");
    assert_has_not(p, "100 Continue");
    h_close(p);
}

/* What does not exist is told to nobody, either; a program without Host is no browser. */
static void everything_of_that_listener(void **state UNUSED)
{
    struct peer *p = h_connect(CONN_ADMIN);

    h_ask(p, "GET /nowhere HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert_int_equal(h_status(p), 403);
    h_ask(p, "GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert_int_equal(h_status(p), 403);
    h_ask(p, "OPTIONS * HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert_int_equal(h_status(p), 403);
    h_ask(p, "GET /hand HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert_int_equal(h_status(p), 403);
    assert_int_equal(metrics->handshake_failures[CLOSE_ADMIN_HOST], 1);
    h_ask(p, "GET /hello HTTP/1.0\r\n\r\n");
    assert_int_equal(h_status(p), 200);
    h_close(p);
}

static void log_sink(struct str line, void *arg)
{
    struct buf *out = arg;

    assert_int_equal(buf_append(out, line), 0);
}

static void a_line_says_what_to_set(void **state UNUSED)
{
    struct buf lines = {0};

    reactor->cfg.tell_refusals = true;
    log_set_level(LOG_WARN);
    log_set_sink(log_sink, &lines);
    assert_int_equal(ask(CONN_ADMIN, "evil.example:1", "Origin: http://o.example\r\n"), 403);
    assert_int_equal(buf_append_char(&lines, '\0'), 0);
    assert_non_null(strstr(lines.p, "reason=admin_host cause="));
    assert_non_null(strstr(lines.p, " fix=\"set an api_key, or add the name to admin_hosts"));
    assert_non_null(strstr(lines.p, " host=evil.example:1 origin=http://o.example\n"));
    log_set_sink(NULL, NULL);
    buf_fini(&lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(hosts_that_nobody_else_can_name, setup, h_stop),
        cmocka_unit_test_setup_teardown(pages_of_other_origins, setup, h_stop),
        cmocka_unit_test_setup_teardown(a_key_counts_instead, setup, h_stop),
        cmocka_unit_test_setup_teardown(before_the_body_is_read, setup, h_stop),
        cmocka_unit_test_setup_teardown(everything_of_that_listener, setup, h_stop),
        cmocka_unit_test_setup_teardown(a_line_says_what_to_set, setup, h_stop),
    };

    http_register(h_resources, ARRAY_LEN(h_resources));
    return cmocka_run_group_tests_name("proto/http_guard", tests, NULL, NULL);
}
