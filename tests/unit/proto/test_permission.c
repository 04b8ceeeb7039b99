/* proto/permission: the whole matrix, against the rules said in another way. */
#include "proto/permission.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "codec/table_yaml.h"

static void load(const char *text)
{
    struct buf errors = {0};

    config_defaults(&config);
    if (table_yaml(&config_table, &config, "f", str_from(text), NULL, &errors) == -1)
        fail_msg("%.*s", (int)errors.len, buf_view(&errors).p);
    buf_fini(&errors);
    channel_options_changed();
}

/* One case: what is configured, who asks for what. */
struct matter {
    enum permission_op op;
    const char *user; /* "" is anonymous */
    const char *channel;
    bool token, subscribed;
    bool client, subscriber, anonymous; /* the three options of the operation */
    bool limited;                       /* allow_user_limited_channels */
    bool insecure, personal, available;
};

/* The rules, as reasons for and against, in no order. `$` and `#` concern subscribing alone. */
static unsigned by_the_rules(const struct matter *m)
{
    bool subscribing = m->op == PERMISSION_SUBSCRIBE, nobody = m->user[0] == '\0';
    bool dollar = subscribing && m->channel[0] == '$';
    bool hash = subscribing && m->limited && strchr(m->channel, '#') != NULL;
    bool mine = hash && strcmp(m->user, "42") == 0; /* all lists here are of 42 and 43 */
    bool own = subscribing && m->personal && strcmp(m->user, "42") == 0 &&
               strcmp(m->channel, "ns:#42") == 0;
    bool member = !subscribing && m->subscriber && m->subscribed;
    bool open = !hash && (m->client || member) && (!nobody || m->anonymous);
    bool without_token = mine || own || open || m->insecure;

    if (!m->available && (m->op == PERMISSION_PRESENCE || m->op == PERMISSION_HISTORY))
        return 108;
    if (subscribing && m->token)
        return 0;
    return !dollar && without_token ? 0 : 103;
}

static void configure(const struct matter *m)
{
    struct channel_options *o = &config.namespaces.items[0];

    table_defaults(&channel_table, o);
    snprintf(o->name, sizeof(o->name), "ns");
    o->allow_user_limited_channels = m->limited;
    o->presence = m->available;
    o->history_size = m->available ? 1 : 0;
    o->history_ttl = o->history_size;
    switch (m->op) {
    case PERMISSION_SUBSCRIBE:
        o->allow_subscribe_for_client = m->client;
        o->allow_subscribe_for_anonymous = m->anonymous;
        break;
    case PERMISSION_PUBLISH:
        o->allow_publish_for_client = m->client;
        o->allow_publish_for_subscriber = m->subscriber;
        o->allow_publish_for_anonymous = m->anonymous;
        break;
    case PERMISSION_PRESENCE:
        o->allow_presence_for_client = m->client;
        o->allow_presence_for_subscriber = m->subscriber;
        o->allow_presence_for_anonymous = m->anonymous;
        break;
    case PERMISSION_HISTORY:
        o->allow_history_for_client = m->client;
        o->allow_history_for_subscriber = m->subscriber;
        o->allow_history_for_anonymous = m->anonymous;
        break;
    case PERMISSION_OP_NR:
        break;
    }
    config.insecure = m->insecure;
    config.subscribe_to_user_personal_channel = m->personal;
}

static void one(const struct matter *m)
{
    const struct permission_ask ask = {.op = m->op,
                                       .channel = str_from(m->channel),
                                       .user = str_from(m->user),
                                       .token = m->token,
                                       .subscribed = m->subscribed};
    const struct channel_options *o = NULL;
    unsigned got, wanted = by_the_rules(m);

    configure(m);
    got = permission_check(&ask, &o);
    assert_ptr_equal(o, &config.namespaces.items[0]);
    if (got != wanted)
        fail_msg("op %d user '%s' channel %s token %d subscribed %d client %d subscriber %d "
                 "anonymous %d limited %d insecure %d personal %d available %d: %u, not %u",
                 m->op, m->user, m->channel, m->token, m->subscribed, m->client, m->subscriber,
                 m->anonymous, m->limited, m->insecure, m->personal, m->available, got, wanted);
}

static void the_whole_matrix(void **state UNUSED)
{
    static const char *const users[] = {"", "42", "44", "4"};
    static const char *const channels[] = {"ns:room", "$ns:room", "ns:room#42,43", "$ns:room#42,43",
                                           "ns:#42"};

    load("{namespaces: [{name: ns}], personal_channel_namespace: ns}");
    for (int op = 0; op < PERMISSION_OP_NR; op++)
        for (size_t u = 0; u < ARRAY_LEN(users); u++)
            for (size_t c = 0; c < ARRAY_LEN(channels); c++)
                for (unsigned bits = 0; bits < 1u << 9; bits++)
                    one(&(struct matter){.op = (enum permission_op)op,
                                         .user = users[u],
                                         .channel = channels[c],
                                         .token = bits & 1,
                                         .subscribed = bits & 2,
                                         .client = bits & 4,
                                         .subscriber = bits & 8,
                                         .anonymous = bits & 16,
                                         .limited = bits & 32,
                                         .insecure = bits & 64,
                                         .personal = bits & 128,
                                         .available = bits & 256});
}

/* By hand, a few that somebody has got wrong before. */
static void known_traps(void **state UNUSED)
{
    struct permission_ask ask = {.op = PERMISSION_SUBSCRIBE, .channel = STR_LIT("chat:r#other")};

    load("{namespaces: [{name: chat, allow_subscribe_for_client: true}, "
         "{name: users, allow_subscribe_for_client: true, allow_user_limited_channels: true}]}");
    assert_int_equal(permission_check(&ask, NULL), 103); /* anonymous: needs the second option */
    ask.user = STR_LIT("me");
    assert_int_equal(permission_check(&ask, NULL), 0); /* '#' restricts only where that is on */
    ask.channel = STR_LIT("users:r#other");
    assert_int_equal(permission_check(&ask, NULL), 103);
    ask.channel = STR_LIT("users:r#other,me");
    assert_int_equal(permission_check(&ask, NULL), 0);
    ask.channel = STR_LIT("users:r#");
    ask.user = STR_NULL;
    assert_int_equal(permission_check(&ask, NULL), 103);
    ask.channel = STR_LIT("users:r#other");
    ask.token = true;
    assert_int_equal(permission_check(&ask, NULL), 0);
    ask.channel = STR_LIT("nope:r");
    assert_int_equal(permission_check(&ask, NULL), 102); /* a token does not make a namespace */
    ask.channel = STR_LIT("$nope:r");
    assert_int_equal(permission_check(&ask, NULL), 102);
    ask.channel = STR_LIT("chat:\xc3\xa9");
    assert_int_equal(permission_check(&ask, NULL), 107);
    ask.channel = STR_NULL;
    assert_int_equal(permission_check(&ask, NULL), 107);
}

static void without_any_setting_all_is_denied(void **state UNUSED)
{
    struct permission_ask ask = {.channel = STR_LIT("room"), .user = STR_LIT("me")};

    load("{}");
    ask.op = PERMISSION_SUBSCRIBE;
    assert_int_equal(permission_check(&ask, NULL), 103);
    ask.op = PERMISSION_PUBLISH;
    assert_int_equal(permission_check(&ask, NULL), 103);
    ask.op = PERMISSION_PRESENCE;
    assert_int_equal(permission_check(&ask, NULL), 108);
    ask.op = PERMISSION_HISTORY;
    assert_int_equal(permission_check(&ask, NULL), 108);
}

static bool accepts(const char *format, const char *data)
{
    char text[100];

    snprintf(text, sizeof(text), "channel_without_namespace: {publication_data_format: %s}",
             format);
    load(text);
    return permission_data(&config.channel_without_namespace, str_from(data));
}

static void data_by_format(void **state UNUSED)
{
    assert_false(accepts("any", ""));
    assert_true(accepts("any", "\xff"));
    assert_true(accepts("any", "null"));
    assert_false(accepts("json", ""));
    assert_false(accepts("json", "hello"));
    assert_true(accepts("json", "\"hello\""));
    assert_true(accepts("json", "0"));
    assert_true(accepts("json_object", " {\"a\":1} "));
    assert_false(accepts("json_object", "[1]"));
    assert_false(accepts("json_object", "{"));
    assert_true(accepts("binary", ""));
}

static void personal(const char *settings, const char *user, const char *wanted)
{
    char out[CHANNEL_NAME_MAX];

    load(settings);
    assert_true(str_equal(permission_personal_channel(str_from(user), out), str_from(wanted)));
}

static void personal_channels(void **state UNUSED)
{
    char longest[260];

    personal("{}", "42", "");
    personal("{subscribe_to_user_personal_channel: true}", "42", "#42");
    personal("{subscribe_to_user_personal_channel: true}", "", "");
    personal("{subscribe_to_user_personal_channel: true, personal_channel_namespace: own}", "42",
             "own:#42");
    personal("{subscribe_to_user_personal_channel: true}", "ann@example.com", "#ann@example.com");
    personal("{subscribe_to_user_personal_channel: true}", "\xd0\xb0", "#\xd0\xb0");
    for (const char *c = " *\"\\"; *c != '\0'; c++) /* what no channel's name has */
        personal("{subscribe_to_user_personal_channel: true}", (char[]){'a', *c, 'b', '\0'}, "");
    memset(longest, 'x', sizeof(longest));
    longest[254] = '\0';
    load("{subscribe_to_user_personal_channel: true}");
    assert_int_equal(permission_personal_channel(str_from(longest), (char[CHANNEL_NAME_MAX]){0}).n,
                     255);
    longest[254] = 'x';
    longest[255] = '\0';
    assert_int_equal(permission_personal_channel(str_from(longest), (char[CHANNEL_NAME_MAX]){0}).n,
                     0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_whole_matrix),
        cmocka_unit_test(known_traps),
        cmocka_unit_test(without_any_setting_all_is_denied),
        cmocka_unit_test(data_by_format),
        cmocka_unit_test(personal_channels),
    };

    return cmocka_run_group_tests_name("proto/permission", tests, NULL, NULL);
}
