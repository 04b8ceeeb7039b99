/* The server API end to end: a request in, the hub's answer, a response out. */
#include "proto/api/api.c"

#include "api_fixture.h"

static void publish_is_answered_when_it_is_ordered(void **state UNUSED)
{
    struct peer *p = h_admin(), *a = h_open("/ws/lobby"), *q = h_open("/ws?channel=lobby");

    h_hub.frozen = true;
    post(p, "/api/publish", "{\"channel\":\"lobby\",\"data\":{\"text\" : \"hi\"}}");
    assert_int_equal(p->len, 0);
    h_hub.frozen = false;
    h_turns(3);
    h_read(p);
    assert_answer(p, "{\"result\":{}}");
    assert_frames(a, TEXT, "{\"text\" : \"hi\"}");
    assert_frames(q, TEXT, "{\"channel\":\"lobby\",\"data\":{\"text\" : \"hi\"}}");
    post(p, "/api/publish", "{\"channel\":\"lobby\",\"data\":\"str\"}");
    assert_answer(p, "{\"result\":{}}");
    assert_frames(a, TEXT, "\"str\"");
    assert_frames(q, TEXT, "{\"channel\":\"lobby\",\"data\":\"str\"}");
    post(p, "/api/publish", "{\"channel\":\"lobby\",\"b64data\":\"AUI=\"}");
    assert_answer(p, "{\"result\":{}}");
    assert_frames(a, BINARY, "\001B");
    post(p, "/api/publish", "{\"channel\":\"nobody\",\"data\":1}");
    assert_answer(p, "{\"result\":{}}");
    assert_int_equal(metrics->api_ok, 4);
    assert_int_equal(metrics->api_refused + metrics->api_failed + metrics->api_abandoned, 0);
    assert_int_equal(metrics->api_publish_duration.count, 4);
    assert_int_equal(metrics->api_info_duration.count, 0);
    assert_int_equal(api_in_use(), 0);
    h_close(p);
    h_close(a);
    h_close(q);
}

/* An API publication is nobody's own. */
static void echo_0_hears_the_api(void **state UNUSED)
{
    struct peer *p = h_admin(), *a = h_open("/ws/lobby?echo=0");

    post(p, "/api/publish", "{\"channel\":\"lobby\",\"data\":1}");
    assert_frames(a, TEXT, "1");
    h_close(p);
    h_close(a);
}

static void bodies_that_are_no_json(void **state UNUSED)
{
    struct peer *p = h_admin();

    post(p, "/api/publish", "{\"channel\":");
    assert_int_equal(h_status(p), 400);
    assert_has(p, "Content-Type: text/plain");
    assert_string_equal(body_of(p), "the body is not JSON (byte 11)\n");
    post(p, "/api/publish", "[]");
    assert_int_equal(h_status(p), 400);
    assert_string_equal(body_of(p), "the body is not a JSON object (byte 0)\n");
    post(p, "/api/info", "x");
    assert_int_equal(h_status(p), 400);
    assert_false(p->eof);
    assert_int_equal(metrics->api_refused, 3);
    assert_int_equal(metrics->api_info_duration.count, 1);
    h_close(p);
}

static void requests_that_are_in_error(void **state UNUSED)
{
    struct peer *p = h_admin();

    post(p, "/api/publish", "{\"channel\":\"lobby\"}");
    assert_answer(p, "{\"error\":{\"code\":107,\"message\":\"bad request: data is missing\"}}");
    post(p, "/api/publish", "{\"channel\":\"a b\",\"data\":1}");
    assert_has(p,
               "{\"error\":{\"code\":107,\"message\":\"bad request: a channel name has 1 to 255");
    post(p, "/api/presence", "{\"channel\":\"a\"}");
    assert_answer(
        p, "{\"error\":{\"code\":108,\"message\":\"not available: the channel has no presence\"}}");
    assert_int_equal(metrics->api_refused, 3); /* with status 200 */
    assert_int_equal(metrics->api_ok, 0);
    assert_int_equal(metrics->publications_in, 0);
    h_close(p);
}

static void where_and_how_it_may_be_asked(void **state UNUSED)
{
    struct peer *p = h_connect(0);

    post(p, "/api/publish", "{\"channel\":\"a\",\"data\":1}");
    assert_int_equal(h_status(p), 404);
    h_close(p);
    p = h_admin();
    h_ask(p, "GET /api/publish HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(h_status(p), 405);
    assert_has(p, "Allow: POST\r\n");
    post(p, "/api/nothing", "{}");
    assert_int_equal(h_status(p), 404);
    h_close(p);
    p = h_admin();
    snprintf(config.api_key, sizeof(config.api_key), "k");
    post(p, "/api/publish", "{\"channel\":\"a\",\"data\":1}");
    assert_int_equal(h_status(p), 401);
    h_close(p);
    p = h_admin();
    post(p, "/api/publish?api_key=k", "{\"channel\":\"a\",\"data\":1}");
    assert_int_equal(h_status(p), 200);
    h_close(p);
}

/* Broadcast */

static void broadcast_answers_in_order(void **state UNUSED)
{
    struct peer *p = h_admin(), *a = h_open("/ws/a"), *b = h_open("/ws/b");

    h_hub.frozen = true;
    post(p, "/api/broadcast", "{\"channels\":[\"a\",\"not valid\",\"b\",\"a\"],\"data\":7}");
    assert_int_equal(p->len, 0);
    h_hub.frozen = false;
    h_turns(4);
    h_read(p);
    assert_int_equal(
        strncmp(body_of(p), "{\"result\":{\"responses\":[{\"result\":{}},{\"error\":{\"code\":107,",
                58),
        0);
    assert_has(p, "}},{\"result\":{}},{\"result\":{}}]}}");
    assert_frames(a, TEXT, "7", TEXT, "7");
    assert_frames(b, TEXT, "7");
    post(p, "/api/broadcast", "{\"channels\":[\"\"],\"data\":7}");
    assert_int_equal(h_status(p), 200);
    assert_has(p, "{\"result\":{\"responses\":[{\"error\":");
    assert_int_equal(api_in_use(), 0);
    h_close(p);
    h_close(a);
    h_close(b);
}

/* More than the ring holds: in steps, as room comes. */
static void a_large_broadcast_goes_in_steps(void **state UNUSED)
{
    struct peer *p = h_admin(), *a = h_open("/ws/c9999");
    static char body[200000];
    int n = snprintf(body, sizeof(body), "{\"data\":\"%0200d\",\"channels\":[", 1);

    for (int i = 0; i < API_MAX_BROADCAST; i++)
        n += snprintf(body + n, sizeof(body) - (size_t)n, "%s\"c%d\"", i > 0 ? "," : "", i);
    snprintf(body + n, sizeof(body) - (size_t)n, "]}");
    post(p, "/api/broadcast", body);
    for (int i = 0; i < 40 && p->len == 0; i++) {
        h_wait(100 * NS_PER_MS);
        h_read(p);
    }
    for (int i = 0; i < 10; i++) {
        h_turns(2);
        h_read(p);
    }
    assert_int_equal(h_status(p), 200);
    assert_int_equal(h_count(p, "{\"result\":{}}"), API_MAX_BROADCAST);
    assert_int_equal(metrics->publications_in, API_MAX_BROADCAST);
    h_turns(4);
    h_read(a);
    assert_int_equal(a->len, 202 + 4);
    assert_int_equal(api_in_use(), 0);
    h_close(p);
    h_close(a);
}

/* Channels and info */

static void channels_are_listed(void **state UNUSED)
{
    struct peer *p = h_admin(), *a = h_open("/ws/room:a"), *b = h_open("/ws/room:a"),
                *c = h_open("/ws/x");

    post(p, "/api/channels", "{\"pattern\":\"room:*\"}");
    assert_answer(p, "{\"result\":{\"channels\":{\"room:a\":{\"num_clients\":2}}}}");
    post(p, "/api/channels", "");
    assert_int_equal(h_status(p), 200);
    assert_has(p, "\"room:a\":{\"num_clients\":2}");
    assert_has(p, "\"x\":{\"num_clients\":1}");
    post(p, "/api/channels", "{\"pattern\":\"none\"}");
    assert_answer(p, "{\"result\":{\"channels\":{}}}");
    h_close(p);
    h_close(a);
    h_close(b);
    h_close(c);
}

/* The hub's answer comes in several records. */
static void many_channels_are_listed(void **state UNUSED)
{
    struct peer *p = h_admin(), *subs[8];

    config.max_channels_per_connection = 1024;
    for (int s = 0; s < 8; s++) {
        char path[4096];
        int n = snprintf(path, sizeof(path), "/ws?");

        for (int i = 0; i < 100; i++)
            n += snprintf(path + n, sizeof(path) - (size_t)n, "channel=name-%d-%02d&", s, i);
        subs[s] = h_open(path);
    }
    post(p, "/api/channels", "{}");
    h_turns(5);
    h_read(p);
    assert_int_equal(h_status(p), 200);
    assert_int_equal(h_count(p, "{\"num_clients\":1}"), 800);
    assert_has(p, "\"name-7-99\":");
    assert_string_equal(p->got + p->len - 3, "}}}");
    for (int s = 0; s < 8; s++)
        h_close(subs[s]);
    h_close(p);
}

static void info_says_what_proc_knows(void **state UNUSED)
{
    struct peer *p = h_admin();

    post(p, "/api/info", "{}");
    assert_answer(p, "{\"result\":{\"nodes\":[{\"uid\":\"u-1\",\"name\":\"n \\\"1\\\"\","
                     "\"version\":\"0.1\",\"num_clients\":3,\"num_users\":7,\"num_channels\":2,"
                     "\"num_subs\":4,\"uptime\":5,\"process\":{\"cpu\":1.50,\"rss\":6}},"
                     "{\"uid\":\"u-2\",\"name\":\"n2\",\"version\":\"\",\"num_clients\":1,"
                     "\"num_users\":0,\"num_channels\":0,\"num_subs\":0,\"uptime\":0,"
                     "\"process\":{\"cpu\":0.00,\"rss\":0}}]}}");
    h_close(p);
}

#define T(name) cmocka_unit_test_setup_teardown(name, h_api_setup, h_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(publish_is_answered_when_it_is_ordered),
        T(echo_0_hears_the_api),
        T(bodies_that_are_no_json),
        T(requests_that_are_in_error),
        T(where_and_how_it_may_be_asked),
        T(broadcast_answers_in_order),
        T(a_large_broadcast_goes_in_steps),
        T(channels_are_listed),
        T(many_channels_are_listed),
        T(info_says_what_proc_knows),
    };

    sessions_init();
    api_init(tell_nodes);
    return cmocka_run_group_tests_name("proto/api/api", tests, NULL, NULL);
}
