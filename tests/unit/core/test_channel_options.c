/* core/channel_options: which namespace a channel belongs to, and which names it may have. */
#include "core/channel_options.c"

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

static const struct channel_options *of(const char *channel)
{
    return channel_options_of(str_from(channel));
}

static void namespace_of_a_channel(void **state UNUSED)
{
    const struct channel_options *chat, *rest;

    load("namespaces: [{name: chat, presence: true}, {name: ch, join_leave: true}]\n"
         "channel_without_namespace: {history_size: 7, history_ttl: 60s}\n");
    chat = of("chat:room");
    assert_non_null(chat);
    assert_true(chat->presence);
    assert_false(chat->join_leave);
    assert_ptr_equal(of("$chat:room"), chat);
    assert_ptr_equal(of("chat:"), chat);
    assert_ptr_equal(of("chat:a:b"), chat);
    assert_ptr_equal(of("chat:r#42,43"), chat);
    assert_true(of("ch:room")->join_leave);
    rest = of("room");
    assert_ptr_equal(rest, &config.channel_without_namespace);
    assert_int_equal(rest->history_size, 7);
    assert_ptr_equal(of("$room"), rest);
    assert_ptr_equal(of("#42"), rest);
    assert_ptr_equal(of(""), rest);
    assert_null(of("cha:room"));
    assert_null(of("chatx:room"));
    assert_null(of("CHAT:room"));
    assert_null(of(":room"));
    assert_null(of("$$chat:room"));
    assert_null(of("a-name-that-is-longer-than-any-namespace-may-be-and-so-is-not-one-of-them:r"));
}

static void without_namespaces(void **state UNUSED)
{
    load("{}");
    assert_non_null(of("room"));
    assert_null(of("chat:room"));
}

static void as_many_as_possible(void **state UNUSED)
{
    struct buf text = {0};
    char channel[32];

    assert_int_equal(buf_append_lit(&text, "namespaces:\n"), 0);
    for (int i = 0; i < CHANNEL_NAMESPACES_MAX; i++)
        assert_int_equal(
            buf_printf(&text, "- {name: ns%d, history_size: %d, history_ttl: 1s}\n", i, i + 1), 0);
    assert_int_equal(buf_append(&text, (struct str){"", 1}), 0);
    load(buf_view(&text).p);
    for (int i = 0; i < CHANNEL_NAMESPACES_MAX; i++) {
        snprintf(channel, sizeof(channel), "ns%d:x", i);
        assert_int_equal(of(channel)->history_size, i + 1);
    }
    assert_null(of("ns128:x"));
    load("namespaces: [{name: ns3}]");
    assert_int_equal(of("ns3:x")->history_size, 0);
    assert_null(of("ns4:x"));
    buf_fini(&text);
}

static void rest_of_a_name(void **state UNUSED)
{
    static const char *const rows[][2] = {{"chat:room", "room"}, {"$chat:room", "room"},
                                          {"room", "room"},      {"$room", "room"},
                                          {"chat:", ""},         {"a:b:c", "b:c"}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_true(str_equal(channel_rest(str_from(rows[i][0])), str_from(rows[i][1])));
}

static bool permitted(const char *channel)
{
    return channel_name_permitted(of(channel), str_from(channel));
}

static void names_permitted(void **state UNUSED)
{
    char longest[256];

    load("namespaces: [{name: id, channel_regex: '^[0-9]+$'}, {name: any, channel_regex: '.'}]\n");
    assert_true(permitted("room"));
    assert_false(permitted("caf\xc3\xa9")); /* without a regex: ASCII */
    assert_true(permitted("any:caf\xc3\xa9"));
    assert_true(permitted("id:42"));
    assert_true(permitted("$id:42"));
    assert_false(permitted("id:"));
    assert_false(permitted("id:4x"));
    assert_false(permitted("any:\xff"));
    assert_false(permitted("two words"));
    memset(longest, 'x', 255);
    longest[255] = '\0';
    assert_true(permitted(longest));
    config.channel_max_length = 254;
    assert_false(permitted(longest));
}

static void regex_follows_a_reload(void **state UNUSED)
{
    load("channel_without_namespace: {channel_regex: '^a'}");
    assert_true(permitted("abc"));
    load("channel_without_namespace: {channel_regex: '^b'}");
    assert_false(permitted("abc"));
    assert_true(permitted("bcd"));
}

static void users_of_a_name(void **state UNUSED)
{
    static const struct {
        const char *channel, *user;
        bool named;
    } rows[] = {
        {"r#42", "42", true},      {"r#42,43", "42", true}, {"r#42,43", "43", true},
        {"r#42,43", "4", false},   {"r#42", "421", false},  {"r#42", "", false},
        {"r#", "", false},         {"r#42,", "", false},    {"r", "42", false},
        {"#42", "42", true},       {"a#1#42", "42", true},  {"a#1#42", "1", false},
        {"a#1#42", "1#42", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(channel_names_user(str_from(rows[i].channel), str_from(rows[i].user)),
                         rows[i].named);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(namespace_of_a_channel), cmocka_unit_test(without_namespaces),
        cmocka_unit_test(as_many_as_possible),    cmocka_unit_test(rest_of_a_name),
        cmocka_unit_test(names_permitted),        cmocka_unit_test(regex_follows_a_reload),
        cmocka_unit_test(users_of_a_name),
    };

    return cmocka_run_group_tests_name("core/channel_options", tests, NULL, NULL);
}
