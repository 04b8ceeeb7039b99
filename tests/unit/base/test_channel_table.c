/* base/channel_table: options that do not go together are refused where they are read. */
#include "base/channel_table.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/config.h"
#include "codec/table_yaml.h"

static struct config c;

static void read_as(const char *text, const char *lines)
{
    struct buf errors = {0};
    int rc;

    config_defaults(&c);
    rc = table_yaml(&config_table, &c, "f", str_from(text), NULL, &errors);
    if (rc != (lines[0] != '\0' ? -1 : 0) || !str_equal(buf_view(&errors), str_from(lines)))
        fail_msg("%s: got %.*s", text, (int)errors.len, errors.p);
    buf_fini(&errors);
}

/* One mapping of options; the error without its place. */
static void options(const char *text, const char *error)
{
    char whole[300], lines[400] = "";

    snprintf(whole, sizeof(whole), "channel_without_namespace: {%s}\n", text);
    if (error[0] != '\0')
        snprintf(lines, sizeof(lines), "f:1:28: channel_without_namespace: %s\n", error);
    read_as(whole, lines);
    snprintf(whole, sizeof(whole), "namespaces:\n- {name: ns, %s}\n", text);
    if (error[0] != '\0')
        snprintf(lines, sizeof(lines), "f:2:3: namespaces: %s\n", error);
    read_as(whole, lines);
}

static void all_together(void **state UNUSED)
{
    const struct channel_options *o = &c.namespaces.items[1];

    read_as("namespaces:\n"
            "- name: chat\n"
            "- name: Feed-1_x.y\n"
            "  presence: true\n"
            "  history_size: 100\n"
            "  history_ttl: 300s\n"
            "  history_meta_ttl: 10m\n"
            "  force_recovery: true\n"
            "  force_recovery_mode: cache\n"
            "  auto_cache_recover: true\n"
            "  allowed_delta_types: [fossil]\n"
            "  channel_regex: '^[a-z]+$'\n"
            "  publication_data_format: json\n"
            "  rate_limit_publish: 2.5\n",
            "");
    assert_int_equal(c.namespaces.n, 2);
    assert_string_equal(c.namespaces.items[0].name, "chat");
    assert_false(c.namespaces.items[0].presence);
    assert_string_equal(o->name, "Feed-1_x.y");
    assert_true(o->presence);
    assert_int_equal(o->history_size, 100);
    assert_int_equal(o->history_ttl, 300 * (int64_t)NS_PER_SEC);
    assert_int_equal(o->history_meta_ttl, 600 * (int64_t)NS_PER_SEC);
    assert_int_equal(o->force_recovery_mode, RECOVERY_CACHE);
    assert_string_equal(o->allowed_delta_types, "fossil");
    assert_int_equal(o->publication_data_format, PUBLICATION_JSON);
    assert_true(o->rate_limit_publish > 2.4 && o->rate_limit_publish < 2.6);
}

static void history(void **state UNUSED)
{
    static const char *const both =
        "history_size and history_ttl: one does nothing without the other; set both or none";
    static const char *const recovery =
        "force_recovery and allow_recovery: they need history_size and history_ttl";
    static const char *const positioning =
        "force_positioning and allow_positioning: they need history_size and history_ttl";

    options("history_size: 1, history_ttl: 1s", "");
    options("history_size: 1", both);
    options("history_ttl: 1s", both);
    options("history_size: 1, history_ttl: 1500ms", "history_ttl: whole seconds are possible");
    options("history_size: 1, history_ttl: 10s, history_meta_ttl: 9s",
            "history_meta_ttl: it is less than history_ttl, so publications would outlive their "
            "position");
    options("history_size: 1, history_ttl: 10s, history_meta_ttl: 10s", "");
    options("force_recovery: true", recovery);
    options("allow_recovery: true", recovery);
    options("force_positioning: true", positioning);
    options("allow_positioning: true", positioning);
    options("allow_positioning: true, history_size: 1, history_ttl: 1s", "");
}

static void cache_and_delta(void **state UNUSED)
{
    static const char *const cache =
        "auto_cache_recover: it needs force_recovery and force_recovery_mode cache";

    options("history_size: 1, history_ttl: 1s, auto_cache_recover: true", cache);
    options("history_size: 1, history_ttl: 1s, auto_cache_recover: true, force_recovery: true",
            cache);
    options("history_size: 1, history_ttl: 1s, auto_cache_recover: true, allow_recovery: true, "
            "force_recovery_mode: cache",
            cache);
    options("allowed_delta_types: [fossil]", "");
    options("allowed_delta_types: [bsdiff]", "allowed_delta_types: fossil is the only kind");
    options("allowed_delta_types: [fossil, x]", "allowed_delta_types: fossil is the only kind");
}

static void regex(void **state UNUSED)
{
    options("channel_regex: 'a[b'",
            "channel_regex: missing terminating ] for character class, at its byte 4");
    options("channel_regex: '^[a-z]+$'", "");
}

static void names(void **state UNUSED)
{
    read_as("namespaces: [{name: a b}]",
            "f:1:14: namespaces: name: letters, digits and the characters - _ . are possible\n");
    read_as("namespaces: [{name: 'a:b'}]",
            "f:1:14: namespaces: name: letters, digits and the characters - _ . are possible\n");
    read_as("namespaces: [{name: a}]", "f:1:21: namespaces[0].name: expected text of 2 to 64 bytes "
                                       "without control characters, got \"a\"\n");
    read_as("namespaces: [{presence: true}]", "f:1:14: namespaces[0].name: is missing\n");
    read_as("namespaces: [{name: ab}, {name: cd}, {name: ab}]",
            "f:1:38: namespaces: there are two with the name ab\n");
    read_as(
        "channel_without_namespace: {name: ab}",
        "f:1:29: unknown key \"name\"; deploy/CONFIGURATION.md lists the options of channels\n");
    read_as("namespaces: [{name: ab, presense: true}]",
            "f:1:25: unknown key \"presense\"; did you mean \"presence\"?\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_together),    cmocka_unit_test(history),
        cmocka_unit_test(cache_and_delta), cmocka_unit_test(regex),
        cmocka_unit_test(names),
    };

    return cmocka_run_group_tests_name("base/channel_table", tests, NULL, NULL);
}
