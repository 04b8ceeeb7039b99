/* Kinds of sessions side by side: one channel, and each subscriber in its own protocol. */
#include "proto/session.c"

#include "harness.h"

/* A second protocol on the connections of /echo: it hears a channel, and says so in front of each
 * publication. */
static struct {
    struct sub sub;
    struct conn *conn;
    unsigned subscribed, lost, answered;
} second;

static void second_subscribed(struct sub *s, struct position at UNUSED)
{
    assert_ptr_equal(s, &second.sub);
    second.subscribed++;
}

static void second_deliver(struct sub *s, struct batch *b)
{
    assert_ptr_equal(s, &second.sub);
    for (uint32_t i = 0; i < b->nitems; i++) {
        struct str data = batch_payload(b, i);
        char text[100];
        int n = snprintf(text, sizeof(text), "second: %.*s", STR_ARG(data));

        assert_int_equal(session_send(second.conn, (struct str){text, (size_t)n}, true), 0);
    }
}

static void second_lost(struct sub *s UNUSED, struct position to UNUSED)
{
    second.lost++;
}

static void second_answered(const struct record *r)
{
    assert_int_equal(r->kind, RECORD_POSITIONED);
    assert_int_equal(r->token, 7);
    second.answered++;
}

static const struct sink_ops second_sink = {.subscribed = second_subscribed,
                                            .deliver = second_deliver,
                                            .lost = second_lost,
                                            .answered = second_answered};

static int setup(void **state UNUSED)
{
    static const struct sink_ops *sinks[SESSION_KIND_NR];
    int rc;

    memset(&second, 0, sizeof(second));
    memcpy(sinks, session_sinks, sizeof(sinks));
    sinks[SESSION_ECHO] = &second_sink;
    h_sinks = sinks;
    rc = h_start(true);
    config.echo = true;
    return rc;
}

static void join(struct peer *p, const char *channel)
{
    enum close_reason why;

    second.conn = p->conn;
    second.sub.kind = SESSION_ECHO;
    second.sub.variant = BATCH_RAW;
    assert_int_equal(broker_subscribe(reactor->broker, &second.sub, str_from(channel), &why), 0);
    h_turns(3);
    assert_int_equal(second.subscribed, 1);
}

static void one_channel_serves_two_protocols(void **state UNUSED)
{
    struct peer *a = h_open("/ws/lobby"), *q = h_open("/ws?channel=lobby&echo=0"),
                *b = h_open("/echo");

    join(b, "lobby");
    h_text(a, "one");
    h_turns(4);
    h_text(q, "{\"channel\":\"lobby\",\"data\":\"two\"}");
    h_turns(4);
    assert_frames(a, TEXT, "one", TEXT, "two");
    assert_frames(q, TEXT, "{\"channel\":\"lobby\",\"data\":\"one\"}");
    assert_frames(b, BINARY, "second: one", BINARY, "second: two");
    /* What it says itself is its own protocol's matter. */
    h_text(b, "to myself");
    assert_frames(b, TEXT, "to myself");
    assert_nothing(a);
    assert_int_equal(metrics->connections_plain, 2);
    assert_int_equal(metrics->connections_echo, 1);
    broker_unsubscribe(reactor->broker, &second.sub);
    h_close(a);
    h_close(q);
    h_close(b);
}

static void answers_go_to_the_kind_that_asked(void **state UNUSED)
{
    struct peer *a = h_open("/ws/lobby"), *b = h_open("/echo");

    join(b, "lobby");
    assert_int_equal(broker_position(reactor->broker, (struct asker){SESSION_ECHO, 7}, &second.sub),
                     0);
    h_turns(3);
    assert_int_equal(second.answered, 1);
    /* plain's own fence, in the same ring */
    h_text(a, "x");
    h_frame(a, WS_OP_CLOSE, STR_LIT("\x03\xe8"));
    assert_frames(a, TEXT, "x", CLOSE_FRAME, "\x03\xe8");
    assert_int_equal(second.answered, 1);
    broker_unsubscribe(reactor->broker, &second.sub);
    h_close(a);
    h_close(b);
}

static bool lives_in_exchanges(unsigned kind)
{
    switch (kind) {
#define HTTP_SESSION(NAME, name, label) case SESSION_##NAME:
#include "tbl/protocols.def"
        return true;
    default:
        return false;
    }
}

static void every_row_is_complete(void **state UNUSED)
{
    for (unsigned kind = 1; kind < SESSION_KIND_NR; kind++) {
        const struct conn_ops *waiting = &session_waiting_ops[kind],
                              *open = &session_open_ops[kind];

        assert_non_null(session_sinks[kind]->answered);
        if (lives_in_exchanges(kind)) {
            assert_null(open->session);
            continue;
        }
        assert_int_equal(open->kind, kind);
        assert_int_equal(waiting->kind, kind);
        assert_string_equal(open->name, waiting->name);
        assert_ptr_equal(open->session, waiting->session);
        assert_non_null(open->session->message);
        assert_non_null(open->end);
        assert_null(waiting->end); /* nothing was promised yet */
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, h_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(one_channel_serves_two_protocols),
        T(answers_go_to_the_kind_that_asked),
        T(every_row_is_complete),
    };

    sessions_init();
    return cmocka_run_group_tests_name("proto/session", tests, NULL, NULL);
}
