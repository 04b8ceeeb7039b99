/* What a session may say of its connection: its own clock, limit of messages, reasons. */
#include "net/ws.c"

#include "net/session.c"

#include "ws_harness.h"

static struct {
    unsigned asked;
    uint64_t answer; /* of deadline() */
    enum close_reason end;
} own;
static int64_t message_max;

static uint64_t own_deadline(struct conn *c)
{
    own.asked++;
    if (own.end != CLOSE_NONE)
        session_end(c, own.end);
    return own.answer;
}

static enum close_reason own_reason(enum close_reason why)
{
    return why == CLOSE_DRAIN ? CLOSE_CF_SHUTDOWN : why == CLOSE_SLOW ? CLOSE_CF_SLOW : why;
}

static const struct session_ops own_session_ops = {
    .message = echo_message,
    .message_max = &message_max,
    .deadline = own_deadline,
    .reason = own_reason,
    .release = echo_release,
};
static const struct conn_ops own_ops = {
    .name = "own", .session = &own_session_ops, .release = ws_release, WS_CONN_OPS};

static struct conn *own_pair(int *peer)
{
    struct conn *c = net_pair(peer, &own_ops, 0);

    memset(&own, 0, sizeof(own));
    own.answer = UINT64_MAX;
    message_max = 100;
    ws_open(c);
    return c;
}

static void expect_closed(int peer, uint16_t code, const char *text)
{
    uint8_t payload[WS_CONTROL_MAX];
    char frame_out[2 + WS_CONTROL_MAX];
    size_t n = ws_tx_close_payload(code, str_from(text), payload);

    expect_bytes(peer, frame_out, control_frame(WS_OP_CLOSE, payload, n, frame_out));
}

static void its_clock_is_asked_and_may_be_brought_forward(void **state)
{
    int peer;
    struct conn *c = own_pair(&peer);

    (void)state;
    c->flags |= CONN_OWN_PINGS;
    own.answer = 300 * NS_PER_SEC;
    session_wake(c, 2 * NS_PER_SEC);
    session_wake(c, 100 * NS_PER_SEC); /* not put off */
    net_after(NS_PER_SEC);
    assert_int_equal(own.asked, 1); /* when it was opened */
    net_after(NS_PER_SEC + 200 * NS_PER_MS);
    assert_int_equal(own.asked, 2);
    net_after(298 * NS_PER_SEC);
    assert_int_equal(own.asked, 2);
    net_after(3 * NS_PER_SEC);
    assert_int_equal(own.asked, 3);
    EXPECT(peer, ""); /* no ping but the session's own */
    own.end = CLOSE_CF_STALE;
    session_wake(c, 0);
    net_after(200 * NS_PER_MS);
    expect_closed(peer, 3502, "stale");
    close(peer);
    net_steps(1);
    assert_int_equal(metrics->closes[CLOSE_CF_STALE], 1);
}

static void its_clock_does_not_stop_what_is_due_by_the_frames(void **state)
{
    int peer;
    struct conn *c = own_pair(&peer);

    (void)state;
    net_after((uint64_t)config.ping_interval + 200 * NS_PER_MS);
    EXPECT(peer, "\x89\x00"); /* without OWN_PINGS */
    c->flags |= CONN_OWN_PINGS;
    net_write(peer, "\x81\x85\0\0\0\0he", 8);
    net_steps(1);
    net_after((uint64_t)config.message_timeout + 300 * NS_PER_MS);
    expect_close(peer, CLOSE_MESSAGE_TIMEOUT);
    close(peer);
}

static void its_messages_have_their_own_limit(void **state)
{
    static char big[101];
    char got[200];
    int peer;

    (void)state;
    own_pair(&peer);
    frame(peer, 0x81, big, 100);
    net_steps(1);
    assert_int_equal(session.messages, 1);
    assert_int_equal(net_read(peer, got, sizeof(got), NULL), 102);
    frame(peer, 0x81, big, 101);
    net_steps(1);
    expect_close(peer, CLOSE_MESSAGE_TOO_BIG);
    close(peer);
}

static void it_has_its_own_words_for_reasons(void **state)
{
    int peer;
    struct conn *c = own_pair(&peer);

    (void)state;
    ws_drain(c);
    expect_closed(peer, 3001, "shutdown");
    assert_int_equal(c->reason, CLOSE_CF_SHUTDOWN);
    close(peer);
    c = own_pair(&peer);
    session_end_as(c, CLOSE_CF_FORCED, 4321, STR_LIT("as the API said"));
    expect_closed(peer, 4321, "as the API said");
    session_end_as(c, CLOSE_CF_FORCED, 4322, STR_LIT("once"));
    EXPECT(peer, "");
    close(peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(its_clock_is_asked_and_may_be_brought_forward, ws_setup,
                                        ws_teardown),
        cmocka_unit_test_setup_teardown(its_clock_does_not_stop_what_is_due_by_the_frames, ws_setup,
                                        ws_teardown),
        cmocka_unit_test_setup_teardown(its_messages_have_their_own_limit, ws_setup, ws_teardown),
        cmocka_unit_test_setup_teardown(it_has_its_own_words_for_reasons, ws_setup, ws_teardown),
    };

    return cmocka_run_group_tests_name("net/ws_session", tests, NULL, NULL);
}
