/* Calls of the server API that end without a result, and what their callers are told. */
#include "proto/api/call.c"

#include "api_fixture.h"
#include "fault.h"
#include "proto/http_internal.h"

#define NOT_DONE(why) "{\"error\":{\"code\":100,\"message\":\"not done, retry: " why "\"}}"
#define UNKNOWN(why)  "{\"error\":{\"code\":100,\"message\":\"outcome unknown: " why "\"}}"
#define SILENT        "the hub did not answer in time"

/* 503 asks for a repetition, so it is said only when nothing will happen; 504 never asks for one.
 */
static void assert_refused(const struct peer *p, int status, const char *body)
{
    assert_int_equal(h_status(p), status);
    assert_has(p, "Content-Type: application/json\r\n");
    assert_string_equal(body_of(p), body);
}

static void assert_failed(const struct peer *p, int status, const char *body)
{
    assert_refused(p, status, body);
    if (status == 503)
        assert_has(p, "Retry-After: 1\r\n");
    else
        assert_has_not(p, "Retry-After");
}

/* What is in the ring will be delivered. */
static void a_silent_hub_leaves_the_outcome_unknown(void **state UNUSED)
{
    static const struct {
        const char *path, *body;
        int status;
        const char *answer;
    } asks[] = {
        {"/api/publish", "{\"channel\":\"a\",\"data\":1}", 504, UNKNOWN(SILENT)},
        {"/api/broadcast", "{\"channels\":[\"a\",\"b\"],\"data\":1}", 504,
         UNKNOWN(SILENT "; it concerns all 2 channels")},
        {"/api/channels", "{}", 503, NOT_DONE(SILENT)},
    };

    for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
        struct peer *p = h_admin(), *a = h_open("/ws/a");

        h_hub.frozen = true;
        post(p, asks[i].path, asks[i].body);
        wait_long(4 * NS_PER_SEC);
        h_read(p);
        assert_int_equal(p->len, 0);
        wait_long(2 * NS_PER_SEC);
        h_read(p);
        assert_failed(p, asks[i].status, asks[i].answer);
        h_hub.frozen = false;
        h_turns(4); /* the answer finds nobody */
        if (asks[i].status == 504)
            assert_frames(a, TEXT, "1");
        else
            assert_nothing(a);
        h_close(p);
        h_close(a);
        assert_int_equal(api_in_use(), 0);
    }
    assert_int_equal(metrics->api_unknown, 2);
    assert_int_equal(metrics->api_failed, 1);
    assert_int_equal(metrics->api_abandoned, 0);
}

static struct api_op *only_op(struct peer *p)
{
    struct api_call *call = http_session(p->conn)->job->x.state;

    return LIST_ENTRY(call->ops.next, struct api_op, link);
}

/* The one call there is: what the hub answers about it. */
static void hub_says(struct peer *p, uint8_t kind, uint16_t status)
{
    const struct record r = {.kind = kind,
                             .flags = RECORD_LAST,
                             .asker = SESSION_API,
                             .status = status,
                             .token = only_op(p)->token};

    api_session_ops.sink.answered(&r);
    h_turns(2);
    h_read(p);
}

/* What the engine says becomes one of the answers. */
static void the_engines_word(void **state UNUSED)
{
    static const struct {
        enum engine_status status;
        int http;
        const char *answer;
    } words[] = {
        {ENGINE_UNAVAILABLE, 503, NOT_DONE(SILENT)},
        {ENGINE_UNKNOWN, 504, UNKNOWN(SILENT)},
        {ENGINE_TOO_BIG, 200,
         "{\"error\":{\"code\":107,\"message\":\"bad request: the data is larger than the engine's "
         "server takes\"}}"},
        {ENGINE_REFUSED, 200,
         "{\"error\":{\"code\":108,\"message\":\"not available: the engine says refused\"}}"},
        {ENGINE_DUPLICATE, 200, "{\"result\":{}}"},
        {ENGINE_OK, 200, "{\"result\":{}}"},
    };

    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        struct peer *p = h_admin();

        h_hub.frozen = true;
        post(p, "/api/publish", "{\"channel\":\"a\",\"data\":1}");
        hub_says(p, RECORD_PUBLISHED, (uint16_t)words[i].status);
        if (words[i].http == 200)
            assert_answer(p, words[i].answer);
        else
            assert_failed(p, words[i].http, words[i].answer);
        h_hub.frozen = false;
        h_turns(4);
        h_close(p);
    }
    assert_int_equal(api_in_use(), 0);
}

/* A listing that the hub refuses is no empty one. */
static void a_refused_listing(void **state UNUSED)
{
    struct peer *p = h_admin();

    h_hub.frozen = true;
    post(p, "/api/channels", "{}");
    hub_says(p, RECORD_LISTED, ENGINE_UNAVAILABLE);
    assert_failed(p, 503, NOT_DONE(SILENT));
    h_hub.frozen = false;
    h_turns(4);
    h_close(p);
    assert_int_equal(api_in_use(), 0);
}

static void fill_ring(void)
{
    static char text[4000];

    h_hub.frozen = true;
    memset(text, 'x', sizeof(text));
    for (size_t n = sizeof(text); n > 0; n /= 2)
        while (h_fill_ring((struct str){text, n}) == 0)
            continue;
}

static void a_full_ring_is_waited_for(void **state UNUSED)
{
    static const char *const asks[][3] = {
        {"/api/publish", "{\"channel\":\"a\",\"data\":1}", "{\"result\":{}}"},
        {"/api/broadcast", "{\"channels\":[\"a\",\"b\"],\"data\":1}",
         "{\"result\":{\"responses\":[{\"result\":{}},{\"result\":{}}]}}"},
        {"/api/channels", "", "{\"result\":{\"channels\":{}}}"},
    };

    for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
        struct peer *p = h_admin();
        uint64_t n;

        fill_ring();
        post(p, asks[i][0], asks[i][1]);
        h_wait(300 * NS_PER_MS);
        h_read(p);
        assert_int_equal(p->len, 0);
        h_hub.frozen = false;
        h_turns(6); /* with the room it goes on, not with the time */
        h_read(p);
        assert_answer(p, asks[i][2]);
        h_close(p);
        assert_int_equal(api_in_use(), 0);
        p = h_admin(); /* and in vain */
        fill_ring();
        post(p, asks[i][0], asks[i][1]);
        wait_long(6 * NS_PER_SEC);
        h_read(p);
        assert_failed(p, 503, NOT_DONE(SILENT));
        n = metrics->publications_in;
        h_hub.frozen = false;
        wait_long(2 * NS_PER_SEC);
        assert_int_equal(metrics->publications_in, n); /* nor later */
        h_close(p);
        assert_int_equal(api_in_use(), 0);
    }
}

/* The hub takes one record. */
static void take_one(void)
{
    struct record r;
    struct str raw;

    assert_true(ring_peek(&h_hub.in, &raw) > 0);
    assert_int_equal(record_decode(raw, &r), 0);
    hub_receive(h_hub.hub, 0, &r, h_hub.in.position);
    ring_next(&h_hub.in);
    ring_release(&h_hub.in);
    h_turns(2);
}

/* A slow hub is not a silent one: what stands before the call in the ring is waited for. */
static void a_slow_hub_is_waited_for(void **state UNUSED)
{
    static const char *const asks[][3] = {
        {"/api/publish", "{\"channel\":\"a\",\"data\":1}", "{\"result\":{}}"},
        {"/api/broadcast", "{\"channels\":[\"a\"],\"data\":1}",
         "{\"result\":{\"responses\":[{\"result\":{}}]}}"},
        {"/api/channels", "", "{\"result\":{\"channels\":{}}}"},
    };

    for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
        struct peer *p = h_admin();

        h_turns(2);
        h_hub.frozen = true;
        for (int n = 0; n < 5; n++)
            assert_int_equal(h_fill_ring(STR_LIT("y")), 0);
        post(p, asks[i][0], asks[i][1]);
        for (int n = 0; n < 5; n++) { /* 20 s in all */
            wait_long(4 * NS_PER_SEC);
            h_read(p);
            assert_int_equal(p->len, 0);
            take_one();
        }
        h_hub.frozen = false;
        h_turns(4);
        h_read(p);
        assert_answer(p, asks[i][2]);
        h_close(p);
    }
}

/* What the hub takes behind the call's last record says nothing about it. */
static void others_progress_is_not_waited_for(void **state UNUSED)
{
    struct peer *p = h_admin();

    h_turns(2);
    h_hub.frozen = true;
    post(p, "/api/publish", "{\"channel\":\"a\",\"data\":1}");
    for (int n = 0; n < 60; n++)
        assert_int_equal(h_fill_ring(STR_LIT("y")), 0);
    h_turns(1);
    ring_discard(&h_hub.in); /* taken, and the answer was lost */
    for (int n = 0; n < 56; n++) {
        assert_int_equal(h_fill_ring(STR_LIT("y")), 0);
        h_wait(100 * NS_PER_MS);
        take_one();
    }
    h_read(p);
    assert_failed(p, 504, UNKNOWN(SILENT));
    h_hub.frozen = false;
    h_close(p);
}

static void post_broadcast(struct peer *p, unsigned channels)
{
    static char body[100000];
    int n = snprintf(body, sizeof(body), "{\"data\":\"%020000d\",\"channels\":[\"not valid\"", 1);

    for (unsigned i = 1; i < channels; i++)
        n += snprintf(body + n, sizeof(body) - (size_t)n, ",\"c%u\"", i);
    snprintf(body + n, sizeof(body) - (size_t)n, "]}");
    post(p, "/api/broadcast", body);
}

/* A broadcast of which a part is in the ring: the answer says where the doubt ends. */
static void half_a_broadcast_is_named(void **state UNUSED)
{
    struct peer *p = h_admin();
    char want[256];

    h_hub.frozen = true;
    post_broadcast(p, 100);
    wait_long(6 * NS_PER_SEC);
    h_read(p);
    assert_in_range(metrics->publications_in, 2, 98);
    snprintf(want, sizeof(want),
             UNKNOWN(SILENT "; it concerns the first %u of 100 channels, for the others, from "
                            "\\\"c%u\\\" on, it is not done"),
             (unsigned)metrics->publications_in + 1, (unsigned)metrics->publications_in + 1);
    assert_failed(p, 504, want);
    h_hub.frozen = false;
    h_turns(4);
    h_close(p);
}

/* Without memory, too, nothing is called undone that is in the ring. */
static void no_memory_in_the_middle_of_a_broadcast(void **state UNUSED)
{
    unsigned unknown = 0;

    for (unsigned k = 1; k < 80; k++) {
        struct peer *p = h_admin();
        uint64_t before = metrics->publications_in;

        h_turns(3);
        fault_fail_at(k);
        post_broadcast(p, 40);
        fault_reset();
        wait_long(6 * NS_PER_SEC);
        h_read(p);
        if (h_status(p) == 503)
            assert_int_equal(metrics->publications_in, before);
        if (h_status(p) == 504) {
            assert_has(p, "outcome unknown: the server is out of memory");
            assert_true(metrics->publications_in > before);
            unknown++;
        }
        h_close(p);
    }
    assert_true(unknown > 0);
}

/* What is refused before it is looked at is not done either, and says so in the same form. */
static void refusals_have_the_same_form(void **state UNUSED)
{
    struct peer *p = h_connect(CONN_ADMIN | CONN_REFUSED);
    const char *after;
    long seconds;

    p->conn->refusal = CLOSE_FULL;
    post(p, "/api/publish", "{\"channel\":\"a\",\"data\":1}");
    assert_refused(p, 503, NOT_DONE("the server holds as many connections as it may"));
    after = strstr(p->got, "Retry-After: ");
    assert_non_null(after);
    seconds = strtol(after + strlen("Retry-After: "), NULL, 10);
    assert_in_range(seconds, 5, 15); /* tbl/retry_after.def */
    h_close(p);
}

static void a_caller_that_leaves(void **state UNUSED)
{
    static const char *const asks[][2] = {
        {"/api/publish", "{\"channel\":\"a\",\"data\":1}"},
        {"/api/broadcast", "{\"channels\":[\"a\"],\"data\":1}"},
        {"/api/channels", "{}"},
    };

    for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
        struct peer *p = h_admin();

        h_hub.frozen = true;
        post(p, asks[i][0], asks[i][1]);
        conn_kill(p->conn, CLOSE_PEER_GONE);
        h_turns(2);
        assert_int_equal(api_in_use(), 0);
        h_hub.frozen = false;
        h_turns(4);
        h_close(p);
    }
}

static void every_failed_allocation_ends_in_order(void **state UNUSED)
{
    static const char *const asks[][2] = {
        {"/api/publish", "{\"channel\":\"a\",\"b64data\":\"AAAA\"}"},
        {"/api/broadcast", "{\"channels\":[\"a\",\"\",\"b\"],\"data\":1}"},
        {"/api/channels", "{\"pattern\":\"z*\"}"},
        {"/api/info", "{}"},
    };

    for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
        for (unsigned k = 1; k < 25; k++) {
            struct peer *p = h_admin();

            fault_fail_at(k);
            post(p, asks[i][0], asks[i][1]);
            fault_reset();
            wait_long(6 * NS_PER_SEC);
            h_close(p);
            assert_int_equal(api_in_use(), 0);
            assert_int_equal((partial_bytes(false) + partial_bytes(true)), 0);
        }
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, h_api_setup, h_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_silent_hub_leaves_the_outcome_unknown),
        T(the_engines_word),
        T(a_refused_listing),
        T(a_full_ring_is_waited_for),
        T(a_slow_hub_is_waited_for),
        T(others_progress_is_not_waited_for),
        T(half_a_broadcast_is_named),
        T(no_memory_in_the_middle_of_a_broadcast),
        T(refusals_have_the_same_form),
        T(a_caller_that_leaves),
        T(every_failed_allocation_ends_in_order),
    };

    sessions_init();
    api_init(tell_nodes);
    return cmocka_run_group_tests_name("proto/api/call", tests, NULL, NULL);
}
