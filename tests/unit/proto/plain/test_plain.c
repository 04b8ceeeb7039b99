/* Open sessions of the plain protocol, with a broker and a hub in memory. */
#include "proto/plain/plain.c"

#include "../harness.h"
#include "fault.h"

static int setup(void **state UNUSED)
{
    return h_start(true);
}

static void a_publication_reaches_everybody_its_sender_too(void **state UNUSED)
{
    struct peer *a = h_open("/ws/lobby"), *b = h_open("/ws/lobby"), *c = h_open("/ws/other");

    h_text(a, "hello");
    h_turns(4);
    assert_frames(a, TEXT, "hello");
    assert_frames(b, TEXT, "hello");
    assert_nothing(c);
    h_frame(b, WS_OP_BINARY, STR_LIT("\x01\x02"));
    h_text(b, "{\"as\":\"it is\"}");
    h_text(b, "");
    h_turns(4);
    assert_frames(a, BINARY, "\x01\x02", TEXT, "{\"as\":\"it is\"}", TEXT, "");
    assert_frames(b, BINARY, "\x01\x02", TEXT, "{\"as\":\"it is\"}", TEXT, "");
    assert_int_equal(metrics->upgrades, 3);
    h_close(a);
    h_close(b);
    h_close(c);
    assert_int_equal(metrics->subscriptions, 0);
}

static void one_turn_is_one_write(void **state UNUSED)
{
    struct peer *a = h_open("/ws/lobby"), *b = h_open("/ws/lobby");
    struct buf frames = {0};
    uint64_t writes;

    for (int i = 0; i < 20; i++)
        h_append_frame(&frames, WS_OP_TEXT, STR_LIT("x"));
    writes = metrics->writes;
    h_send(a, frames.p, frames.len);
    h_turns(5);
    h_read(b);
    assert_int_equal(b->len, 20 * 3);
    assert_int_equal(metrics->writes - writes, 2); /* one for each subscriber */
    assert_int_equal(metrics->deliveries, 40);
    buf_fini(&frames);
    h_close(a);
    h_close(b);
}

static void echo_0_hears_the_others_only(void **state UNUSED)
{
    struct peer *quiet = h_open("/ws/lobby?echo=0"), *other = h_open("/ws/lobby");

    h_text(quiet, "mine");
    h_turns(4);
    assert_nothing(quiet);
    assert_frames(other, TEXT, "mine");
    /* In one batch: own ones are cut out of the middle and off both ends. */
    h_hub.frozen = true;
    h_text(quiet, "q1");
    h_turns(1);
    h_text(other, "o1");
    h_turns(1);
    h_text(other, "o2");
    h_turns(1);
    h_text(quiet, "q2");
    h_turns(1);
    h_text(other, "o3");
    h_turns(1);
    h_text(quiet, "q3");
    h_turns(1);
    h_hub.frozen = false;
    h_turns(4);
    assert_frames(quiet, TEXT, "o1", TEXT, "o2", TEXT, "o3");
    assert_frames(other, TEXT, "q1", TEXT, "o1", TEXT, "o2", TEXT, "q2", TEXT, "o3", TEXT, "q3");
    h_close(quiet);
    h_close(other);
}

/* More than are searched one by one. */
static void echo_0_in_a_long_batch(void **state UNUSED)
{
    struct peer *quiet = h_open("/ws/lobby?echo=0"), *q = h_open("/ws?channel=lobby&echo=0");
    struct peer *other = h_open("/ws/lobby?mode=pub");

    h_hub.frozen = true;
    for (int i = 0; i < 40; i++) {
        h_text(i % 10 == 3 ? quiet : other, i % 10 == 3 ? "q" : "o");
        h_turns(1);
    }
    h_hub.frozen = false;
    h_turns(4);
    h_read(quiet);
    assert_int_equal(quiet->len, 36 * 3);
    for (size_t i = 0; i < quiet->len; i += 3)
        assert_memory_equal(quiet->got + i, "\x81\001o", 3);
    h_read(q);
    assert_int_equal(q->len, 40 * (2 + strlen("{\"channel\":\"lobby\",\"data\":\"o\"}")));
    h_close(quiet);
    h_close(q);
    h_close(other);
}

/* Encoded in several steps, sent as one frame. */
static void a_long_message_in_the_query_form(void **state UNUSED)
{
    static char text[50000];
    struct peer *q = h_open("/ws?channel=a");
    struct sub *sub = &plain_session(q->conn)->one;
    struct batch *b = batch_new(STR_LIT("a"));
    struct record r = {.kind = RECORD_PUBLICATION, .data = {.p = text, .n = sizeof(text)}};
    const char *head = "{\"channel\":\"a\",\"data\":\"";
    size_t n = 10 + strlen(head), budget = 1, calls = 1;

    assert_non_null(b);
    memset(text, '"', sizeof(text));
    assert_int_equal(batch_append(b, &r), 0);
    batch_seal(b);
    assert_int_equal(sub->variant, BATCH_PLAIN_ENVELOPE);
    for (; !batch_encode(b, sub->variant, &budget); budget = 1)
        calls++;
    assert_true(calls > 2);
    plain_session_ops.sink.deliver(sub, b);
    h_turns(4);
    h_read(q);
    assert_int_equal(q->len, n + 2 * sizeof(text) + 2);
    assert_memory_equal(q->got, "\x81\x7f", 2);
    assert_memory_equal(q->got + 10, head, n - 10);
    for (size_t i = 0; i < 2 * sizeof(text); i += 2)
        assert_memory_equal(q->got + n + i, "\\\"", 2);
    assert_memory_equal(q->got + q->len - 2, "\"}", 2);
    batch_free(b);
    h_close(q);
}

static void the_query_form_names_the_channel(void **state UNUSED)
{
    struct peer *q = h_open("/ws?channel=a&channel=b"), *a = h_open("/ws/a"), *b = h_open("/ws/b");

    h_text(a, "hi");
    h_turns(4);
    h_text(b, "{\"v\":1}");
    h_turns(4);
    assert_frames(q, TEXT, "{\"channel\":\"a\",\"data\":\"hi\"}", TEXT,
                  "{\"channel\":\"b\",\"data\":{\"v\":1}}");
    h_forget(a);
    h_forget(b);
    h_text(q, "{\"channel\":\"b\",\"data\":\"to \\\"b\\\"\"}");
    h_turns(4);
    assert_frames(q, TEXT, "{\"channel\":\"b\",\"data\":\"to \\\"b\\\"\"}");
    h_read(b);
    h_forget(b);
    h_text(q, "{\"channel\":\"a\",\"data\":[1, 2]}");
    h_frame(q, WS_OP_BINARY, STR_LIT("\001bZ"));
    h_turns(4);
    assert_frames(q, TEXT, "{\"channel\":\"a\",\"data\":[1, 2]}", BINARY, "\001bZ");
    h_read(b);
    assert_memory_equal(b->got, "\x82\001Z", 3);
    h_close(q);
    h_close(a);
    h_close(b);
}

static void the_query_form_with_one_channel_and_without_echo(void **state UNUSED)
{
    struct peer *q = h_open("/ws?channel=a&echo=0"), *r = h_open("/ws?channel=a&channel=z&echo=0");

    h_text(q, "{\"channel\":\"a\",\"data\":\"x\"}");
    h_turns(4);
    assert_nothing(q);
    assert_frames(r, TEXT, "{\"channel\":\"a\",\"data\":\"x\"}");
    h_text(r, "{\"channel\":\"a\",\"data\":1}");
    h_turns(4);
    assert_nothing(r);
    assert_frames(q, TEXT, "{\"channel\":\"a\",\"data\":1}");
    h_close(q);
    h_close(r);
}

static void what_the_query_form_may_not_publish(void **state UNUSED)
{
    static const char *const bad[] = {"hi", "{\"channel\":\"c\",\"data\":1}", "{\"channel\":\"a\"}",
                                      "{\"channel\":\"\",\"data\":1}"};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct peer *q = h_open("/ws?channel=a&channel=b");

        h_text(q, bad[i]);
        assert_closed(q, 1008);
        h_close(q);
    }
    assert_int_equal(metrics->publications_in, 0);
}

static void mode_sub_may_not_publish(void **state UNUSED)
{
    struct peer *s = h_open("/ws/lobby?mode=sub"), *a = h_open("/ws/lobby");

    h_text(a, "x");
    h_turns(4);
    assert_frames(s, TEXT, "x");
    h_frame(s, WS_OP_PING, STR_LIT("p"));
    assert_frames(s, "\x8a", "p");
    h_text(s, "y");
    assert_closed(s, 1008);
    h_forget(a);
    assert_int_equal(a->len, 0);
    h_close(s);
    h_close(a);
}

static void mode_pub_is_not_subscribed(void **state UNUSED)
{
    struct peer *p = h_open("/ws/lobby?mode=pub"), *q = h_open("/ws?channel=a&channel=b&mode=pub");
    struct peer *a = h_open("/ws/a"), *l = h_open("/ws/lobby");

    assert_int_equal(metrics->subscriptions, 2);
    h_text(p, "x");
    h_text(q, "{\"channel\":\"a\",\"data\":\"y\"}");
    h_turns(4);
    assert_nothing(p);
    assert_nothing(q);
    assert_frames(l, TEXT, "x");
    assert_frames(a, TEXT, "y");
    h_text(q, "{\"channel\":\"lobby\",\"data\":\"y\"}");
    assert_closed(q, 1008);
    h_close(p);
    h_close(q);
    h_close(a);
    h_close(l);
}

/* Settling */

static void the_echo_precedes_the_close(void **state UNUSED)
{
    struct peer *a = h_open("/ws/lobby"), *q = h_open("/ws?channel=x&channel=y");
    struct buf frames = {0};

    h_append_frame(&frames, WS_OP_TEXT, STR_LIT("one"));
    h_append_frame(&frames, WS_OP_TEXT, STR_LIT("two"));
    h_append_frame(&frames, WS_OP_CLOSE, STR_LIT("\x03\xe8"));
    h_send(a, frames.p, frames.len);
    h_turns(6);
    assert_frames(a, TEXT, "one", TEXT, "two", CLOSE_FRAME, "\x03\xe8");
    assert_true(a->eof);
    buf_clear(&frames);
    h_append_frame(&frames, WS_OP_TEXT, STR_LIT("{\"channel\":\"y\",\"data\":\"z\"}"));
    h_append_frame(&frames, WS_OP_TEXT, STR_LIT("\xff")); /* a violation ends it in the same way */
    h_send(q, frames.p, frames.len);
    h_turns(6);
    h_read(q);
    assert_memory_equal(q->got + 2, "{\"channel\":\"y\",\"data\":\"z\"}", 26);
    assert_int_equal((unsigned char)q->got[28], 0x88);
    assert_memory_equal(q->got + 30, "\x03\xef", 2); /* 1007 */
    buf_fini(&frames);
    h_close(a);
    h_close(q);
}

static void settling_does_not_wait_for_nothing(void **state UNUSED)
{
    static const char *const paths[] = {"/ws/l", "/ws/l?mode=pub", "/ws/l?echo=0",
                                        "/ws/l?mode=sub"};

    h_turns(2);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct peer *p = h_open(paths[i]);

        if (i == 1 || i == 2) {
            h_text(p, "x");
            reactor_step(false);
        }
        h_hub.frozen = true;
        h_frame(p, WS_OP_CLOSE, STR_LIT("\x03\xe8"));
        assert_frames(p, CLOSE_FRAME, "\x03\xe8");
        h_hub.frozen = false;
        h_close(p);
    }
}

static void settling_has_an_end(void **state UNUSED)
{
    struct peer *a = h_open("/ws/lobby");

    h_hub.frozen = true;
    h_text(a, "x");
    h_frame(a, WS_OP_CLOSE, STR_LIT("\x03\xe8"));
    assert_nothing(a);
    assert_int_equal(a->conn->state, CONN_SETTLING);
    h_wait(SETTLE_MAX_NS + 200 * NS_PER_MS);
    assert_frames(a, CLOSE_FRAME, "\x03\xe8");
    h_hub.frozen = false;
    h_turns(5); /* the fence comes back to nobody */
    h_close(a);
}

static void a_settling_connection_may_die(void **state UNUSED)
{
    struct peer *a = h_open("/ws/lobby");

    h_hub.frozen = true;
    h_text(a, "x");
    h_frame(a, WS_OP_CLOSE, STR_LIT("\x03\xe8"));
    h_turns(3);
    assert_int_equal(a->conn->state, CONN_SETTLING);
    conn_kill(a->conn, CLOSE_PEER_GONE);
    h_turns(2);
    h_hub.frozen = false;
    h_turns(5);
    h_close(a);
    assert_int_equal(metrics->subscriptions, 0);
}

/* Trouble */

static void lost_publications_end_by_policy(void **state UNUSED)
{
    struct peer *a = h_open("/ws/lobby"), *b = h_open("/ws/other");

    config.slow_consumer = SLOW_DROP;
    plain_session_ops.sink.lost(&plain_session(a->conn)->one, (struct position){0});
    assert_nothing(a);
    config.slow_consumer = SLOW_DISCONNECT;
    plain_session_ops.sink.lost(&plain_session(a->conn)->one, (struct position){0});
    assert_closed(a, 1013);
    assert_nothing(b);
    h_close(a);
    h_close(b);
}

/* Sends what the socket takes. */
static void push(struct peer *p, struct str *rest)
{
    ssize_t n = rest->n == 0 ? 0 : send(p->fd, rest->p, rest->n, MSG_NOSIGNAL);

    if (n > 0)
        *rest = str_skip(*rest, (size_t)n);
    h_turns(1);
}

static void a_full_ring_holds_publishers_and_loses_nothing(void **state UNUSED)
{
    struct peer *a = h_open("/ws/lobby?echo=0"), *s = h_open("/ws/lobby?mode=sub");
    static char text[20000];
    struct buf all = {0};
    struct str rest;

    memset(text, 'x', sizeof(text));
    for (int i = 0; i < 40; i++) /* more than the ring and the socket take together */
        h_append_frame(&all, WS_OP_TEXT, (struct str){text, sizeof(text)});
    rest = buf_view(&all);
    config.output_limit = 64 << 20;
    h_hub.frozen = true;
    for (int i = 0; i < 2000; i++)
        push(a, &rest);
    assert_true(rest.n > 0);
    assert_true(a->conn->hold & CONN_HOLD_RING);
    assert_int_equal(a->conn->state, CONN_OPEN);
    assert_int_equal(s->conn->hold, 0);
    h_hub.frozen = false;
    for (int i = 0; i < 3000 && s->len < 40 * (sizeof(text) + 4); i++) {
        push(a, &rest);
        h_read(s);
    }
    assert_int_equal(rest.n, 0);
    assert_int_equal(s->len, 40 * (sizeof(text) + 4));
    h_turns(3);
    assert_int_equal(a->conn->hold, 0);
    buf_fini(&all);
    h_close(a);
    h_close(s);
}

static void no_memory_for_a_variant(void **state UNUSED)
{
    struct peer *q = h_open("/ws?channel=a"), *a = h_open("/ws/a");
    struct batch *b = batch_new(STR_LIT("a"));
    struct record r = {.kind = RECORD_PUBLICATION, .data = STR_LIT("hi")};

    assert_non_null(b);
    assert_int_equal(batch_append(b, &r), 0);
    batch_seal(b);
    plain_session_ops.sink.deliver(&plain_session(q->conn)->one, b); /* it could not be encoded */
    plain_session_ops.sink.deliver(&plain_session(a->conn)->one, b);
    assert_closed(q, 1013);
    assert_frames(a, TEXT, "hi");
    batch_free(b);
    h_close(q);
    h_close(a);
}

static void every_failed_allocation_ends_in_order(void **state UNUSED)
{
    for (unsigned k = 1; k < 40; k++) {
        struct peer *a, *b;

        fault_reset();
        a = h_open("/ws/a");
        b = h_connect(0);
        fault_fail_at(k);
        send(b->fd, "GET /ws?channel=a&channel=b" H_UPGRADE, 27 + strlen(H_UPGRADE), 0);
        h_turns(3);
        {
            static const char frame[] = "\x81\x9b\0\0\0\0{\"channel\":\"b\",\"data\":\"y\"}";

            send(b->fd, frame, 32, MSG_NOSIGNAL);
        }
        h_turns(3);
        send(b->fd, "\x88\x80\0\0\0\0", 6, MSG_NOSIGNAL);
        h_turns(4);
        fault_reset();
        h_wait(6 * NS_PER_SEC);
        h_wait(6 * NS_PER_SEC);
        h_close(a);
        h_close(b);
        h_turns(3);
        assert_int_equal(metrics->subscriptions, 0);
        assert_int_equal((partial_bytes(false) + partial_bytes(true)), 0);
    }
}

static void a_drain_closes_with_1001(void **state UNUSED)
{
    struct peer *a = h_open("/ws/lobby");

    conn_ops(a->conn)->drain(a->conn);
    assert_closed(a, 1001);
    h_close(a);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, h_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_publication_reaches_everybody_its_sender_too),
        T(one_turn_is_one_write),
        T(echo_0_hears_the_others_only),
        T(echo_0_in_a_long_batch),
        T(a_long_message_in_the_query_form),
        T(the_query_form_names_the_channel),
        T(the_query_form_with_one_channel_and_without_echo),
        T(what_the_query_form_may_not_publish),
        T(mode_sub_may_not_publish),
        T(mode_pub_is_not_subscribed),
        T(the_echo_precedes_the_close),
        T(settling_does_not_wait_for_nothing),
        T(settling_has_an_end),
        T(a_settling_connection_may_die),
        T(lost_publications_end_by_policy),
        T(a_full_ring_holds_publishers_and_loses_nothing),
        T(no_memory_for_a_variant),
        T(every_failed_allocation_ends_in_order),
        T(a_drain_closes_with_1001),
    };

    sessions_init();
    return cmocka_run_group_tests_name("proto/plain/plain", tests, NULL, NULL);
}
