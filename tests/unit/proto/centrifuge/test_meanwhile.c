/* The server API's orders that come while a client's command waits. */
#include "proto/centrifuge/control.c"

#include "../harness.h"
#include "core/channel_options.h"
#include "orders.h"
#include "proto/session.h"
#include "proto/tokens.h"

#define SECRET "a-secret-of-the-tests-long-enough-for-HS256"
/* sub 42, channel ch */
#define TOKEN                                                                                      \
    "eyJhbGciOiAiSFMyNTYiLCAidHlwIjogIkpXVCJ9.eyJzdWIiOiAiNDIiLCAiY2hhbm5lbCI6ICJjaCJ9."           \
    "zc6ZN78kujWWjDy2EtMDEDcHfCgBcA0qdlyhPig1RnU"

static int setup(void **state UNUSED)
{
    if (h_start(true) == -1)
        return -1;
    config.subscribe_to_user_personal_channel = true; /* a connect waits for the hub */
    config.channel_without_namespace.allow_publish_for_client = true;
    snprintf(config.keys.text, sizeof(config.keys.text), "%s", SECRET);
    config.keys.len[0][CONFIG_KEY_HMAC] = sizeof(SECRET) - 1;
    channel_options_changed();
    if (tokens_init(&reactor->tasks) == -1)
        return -1;
    tokens_reload();
    return 0;
}

static int teardown(void **state)
{
    int rc;

    tokens_fini();
    rc = h_stop(state);
    config_defaults(&config);
    channel_options_changed();
    return rc;
}

static void subscribed_while_its_token_is_verified(void **state UNUSED)
{
    struct peer *p = client_of_user("42");
    unsigned nsubs = 0;

    order(&(struct control){
        .order = CONTROL_SUBSCRIBE, .user = STR_LIT("42"), .channel = STR_LIT("ch")});
    h_text(p, "{\"id\":2,\"subscribe\":{\"channel\":\"ch\",\"token\":\"" TOKEN "\"}}");
    h_turns(8);
    assert_true(told(p, "\"push\":{\"channel\":\"ch\",\"subscribe\":"));
    assert_true(told(p, "{\"id\":2,\"error\":{\"code\":105"));
    for (struct list *n = client_of(p->conn)->subs.next; n != &client_of(p->conn)->subs;
         n = n->next)
        nsubs +=
            str_equal(chan_name(LIST_ENTRY(n, struct client_sub, link)->sub.chan), STR_LIT("ch"));
    assert_int_equal(nsubs, 1);
    h_close(p);
}

/* The same token where nothing came between. */
static void the_token_is_good(void **state UNUSED)
{
    struct peer *p = client_of_user("42");

    h_text(p, "{\"id\":2,\"subscribe\":{\"channel\":\"ch\",\"token\":\"" TOKEN "\"}}");
    h_turns(8);
    assert_true(told(p, "{\"id\":2,\"subscribe\":{"));
    h_close(p);
}

static void more_than_it_may_have_while_its_token_is_verified(void **state UNUSED)
{
    struct peer *p;

    config.channel_limit = 2; /* its own channel is one */
    p = client_of_user("42");
    order(&(struct control){
        .order = CONTROL_SUBSCRIBE, .user = STR_LIT("42"), .channel = STR_LIT("other")});
    h_text(p, "{\"id\":2,\"subscribe\":{\"channel\":\"ch\",\"token\":\"" TOKEN "\"}}");
    h_turns(8);
    assert_true(told(p, "{\"id\":2,\"error\":{\"code\":106"));
    h_close(p);
}

/* It was let in before, and is not in after. */
static void disconnected_while_it_connects(void **state UNUSED)
{
    struct peer *p, *other;

    h_hub.frozen = true;
    p = client_of_user("42");
    other = client_of_user("43");
    assert_int_equal(client_of(p->conn)->state, CLIENT_CONNECTING);
    order(&(struct control){.order = CONTROL_UNSUBSCRIBE, .user = STR_LIT("42")});
    order(&(struct control){.order = CONTROL_DISCONNECT, .user = STR_LIT("42")});
    h_turns(4);
    assert_true(told(p, "force disconnect"));
    h_hub.frozen = false;
    h_turns(8);
    assert_false(told(p, "\"connect\":{"));
    assert_true(told(other, "\"connect\":{"));
    h_close(p);
    h_close(other);
}

static void publish(const char *channel)
{
    const struct broker_publication pub = {.channel = str_from(channel),
                                           .data = STR_LIT("\"published\"")};

    assert_int_equal(broker_publish(reactor->broker, &pub), 0);
    h_turns(8);
}

/* It is told no, for good or so that it asks again, and goes on; the hub's answer comes to nobody. */
static void unsubscribed(int64_t code, const char *error)
{
    struct peer *p;

    config.channel_without_namespace.allow_subscribe_for_client = true;
    channel_options_changed();
    p = client_of_user("42");
    h_hub.frozen = true;
    h_text(p, "{\"id\":2,\"subscribe\":{\"channel\":\"ch\"}}\n{\"id\":3,\"rpc\":{}}");
    h_turns(4);
    order(&(struct control){.order = CONTROL_UNSUBSCRIBE,
                            .user = STR_LIT("42"),
                            .channel = STR_LIT("ch"),
                            .code = code});
    h_turns(4);
    assert_true(told(p, error));
    assert_true(told(p, "{\"id\":3,\"error\":{\"code\":108"));
    h_hub.frozen = false;
    h_turns(8);
    publish("ch");
    assert_false(told(p, "published"));
    h_text(p, "{\"id\":4,\"subscribe\":{\"channel\":\"ch\"}}");
    h_turns(8);
    assert_true(told(p, "{\"id\":4,\"subscribe\":{"));
    publish("ch");
    assert_true(told(p, "published"));
    h_close(p);
}

static void unsubscribed_while_it_subscribes(void **state UNUSED)
{
    unsubscribed(0, "{\"id\":2,\"error\":{\"code\":103");
    unsubscribed(2499, "{\"id\":2,\"error\":{\"code\":103");
    unsubscribed(2500, "{\"id\":2,\"error\":{\"code\":100,\"message\":\"internal server "
                       "error\",\"temporary\":true");
}

/* What it has not asked for and was not told of is nothing to it. */
static void subscribed_and_unsubscribed(void **state UNUSED)
{
    struct peer *p = client_of_user("42");

    h_read(p);
    h_forget(p);
    h_hub.frozen = true;
    order(&(struct control){
        .order = CONTROL_SUBSCRIBE, .user = STR_LIT("42"), .channel = STR_LIT("ch")});
    order(&(struct control){
        .order = CONTROL_UNSUBSCRIBE, .user = STR_LIT("42"), .channel = STR_LIT("ch")});
    h_turns(4);
    h_hub.frozen = false;
    h_turns(8);
    publish("ch");
    assert_nothing(p);
    assert_int_equal(client_of(p->conn)->nserver, 1); /* its own */
    h_close(p);
}

/* A dead peer's close handshake takes its time; its user's place is free at once. */
static void ordered(struct conn *c UNUSED)
{
    order(&(struct control){.order = CONTROL_DISCONNECT, .user = STR_LIT("42")});
}

static void drained(struct conn *c)
{
    conn_ops(c)->drain(c);
}

static void slow(struct conn *c)
{
    conn_ops(c)->slow(c, CLOSE_SLOW);
}

static void ended_by_debug(struct conn *c)
{
    session_end(c, CLOSE_CF_FORCED);
}

static void ended_client_does_not_count(void (*end)(struct conn *c))
{
    struct peer *first, *second, *third;

    config.user_connection_limit = 1;
    first = client_of_user("42");
    assert_true(told(first, "\"connect\":{"));
    second = client_of_user("42");
    assert_true(told(second, "connection limit"));
    end(first->conn);
    h_turns(4);
    assert_true(told(first, "\x88"));
    assert_int_equal(first->conn->state, CONN_CLOSING);
    assert_non_null(client_of(first->conn)); /* it is there still */
    third = client_of_user("42");
    assert_true(told(third, "\"connect\":{"));
    h_close(first);
    h_close(second);
    assert_int_equal(third->conn->state, CONN_OPEN);
    second = client_of_user("42"); /* that the first has gone changes nothing */
    assert_true(told(second, "connection limit"));
    h_close(second);
    h_close(third);
}

static void an_ended_client_does_not_count(void **state UNUSED)
{
    ended_client_does_not_count(ordered);
}

static void a_drained_client_does_not_count(void **state UNUSED)
{
    ended_client_does_not_count(drained);
}

static void a_slow_client_does_not_count(void **state UNUSED)
{
    ended_client_does_not_count(slow);
}

static void a_client_that_was_ended_by_hand_does_not_count(void **state UNUSED)
{
    ended_client_does_not_count(ended_by_debug);
}

static void expired_while_it_connects(void **state UNUSED)
{
    static const struct control orders_to_go[] = {
        {.order = CONTROL_REFRESH, .user = {"42", 2}, .expired = 1},
        {.order = CONTROL_REFRESH, .user = {"42", 2}, .expire_at = 1}};
    struct peer *p;

    for (size_t i = 0; i < ARRAY_LEN(orders_to_go); i++) {
        h_hub.frozen = true;
        p = client_of_user("42");
        order(&(struct control){
            .order = CONTROL_REFRESH, .user = STR_LIT("42"), .expire_at = INT64_MAX});
        h_turns(4);
        assert_int_equal(client_of(p->conn)->state, CLIENT_CONNECTING);
        order(&orders_to_go[i]);
        h_turns(4);
        assert_true(told(p, "connection expired"));
        h_hub.frozen = false;
        h_turns(8);
        assert_false(told(p, "\"connect\":{"));
        h_close(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(subscribed_while_its_token_is_verified, setup, teardown),
        cmocka_unit_test_setup_teardown(the_token_is_good, setup, teardown),
        cmocka_unit_test_setup_teardown(more_than_it_may_have_while_its_token_is_verified, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(disconnected_while_it_connects, setup, teardown),
        cmocka_unit_test_setup_teardown(unsubscribed_while_it_subscribes, setup, teardown),
        cmocka_unit_test_setup_teardown(subscribed_and_unsubscribed, setup, teardown),
        cmocka_unit_test_setup_teardown(expired_while_it_connects, setup, teardown),
        cmocka_unit_test_setup_teardown(an_ended_client_does_not_count, setup, teardown),
        cmocka_unit_test_setup_teardown(a_drained_client_does_not_count, setup, teardown),
        cmocka_unit_test_setup_teardown(a_slow_client_does_not_count, setup, teardown),
        cmocka_unit_test_setup_teardown(a_client_that_was_ended_by_hand_does_not_count, setup,
                                        teardown),
    };

    sessions_init();
    return cmocka_run_group_tests_name("proto/centrifuge/meanwhile", tests, NULL, NULL);
}
