/* tests/unit/proc/test_config_check.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/http.h"
#include "codec/table_yaml.h"
#include "proc/config_check.c"

static struct config c;
static struct buf lines;

static int set_up(void **state)
{
    (void)state;
    config_defaults(&c);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buf_fini(&lines);
    return 0;
}

static void set(const char *name, const char *value)
{
    char err[256];

    if (table_set(&config_table, &c, (size_t)config_row_find(str_from(name)), str_from(value), err,
                  sizeof(err)) == -1)
        fail_msg("%s: %s", name, err);
    config_derive(&c);
}

static void warns(const char *text)
{
    buf_clear(&lines);
    assert_int_equal(config_warnings(&c, &lines), 0);
    if (text == NULL ? lines.len > 0 : memmem(lines.p, lines.len, text, strlen(text)) == NULL)
        fail_msg("got: %.*s", (int)lines.len, lines.p);
}

static void limits_follow_each_other(void **state)
{
    (void)state;
    warns(NULL);
    assert_true(c.max_frame_size == 1 << 20);
    assert_true(c.max_body_size > (1 << 20) / 3 * 4);
    set("max_message_size", "4MiB");
    assert_true(c.max_frame_size == 4 << 20);
    assert_true(c.max_body_size >= config_body_needed(4 << 20));
    warns(NULL);
    set("max_message_size", "16MiB");
    warns(NULL);
    set("max_message_size", "1KiB");
    assert_true(c.max_frame_size == 1024);
    assert_true(c.max_body_size == 1 << 20); /* a broadcast has many names */
    warns(NULL);
    set("max_frame_size", "512");
    assert_true(c.max_frame_size == 512);
    set("max_frame_size", "auto");
    assert_true(c.max_frame_size == 1024);
}

/* They are allowed, and not shown. */
static void values_with_their_quotes(void **state)
{
    (void)state;
    set("api_key", "\"a-key-of-publishers");
    set("node_name", "it's'");
    warns(NULL);
    set("api_key", "\"a-key-of-publishers\"");
    warns("api_key: " CONFIG_QUOTES "\n");
    assert_null(memmem(lines.p, lines.len, "publishers", 10));
    set("api_key", "a-key-of-publishers");
    set("node_name", "'a'");
    warns("node_name: " CONFIG_QUOTES "\n");
    set("node_name", "a");
    set("log_file", "'/var/log/roost.log'");
    warns("log_file: " CONFIG_QUOTES "\n");
    set("log_file", "");
}

static void limits_that_others_make_unreachable(void **state)
{
    static const char *const rows[][3] = {
        {"max_frame_size", "1000", "max_frame_size: is less than max_message_size"},
        {"max_frame_size", "2MiB", "max_message_size: is less than max_frame_size"},
        {"max_body_size", "1MiB", "max_body_size: the server API cannot take"},
        {"max_partial_bytes", "64KiB", "max_partial_bytes: is less than max_message_size"},
        {"max_partial_bytes", "1MiB", "max_partial_bytes: is less than max_body_size"},
        {"max_connections_per_address", "40000", "max_connections: is less than"},
        {"max_channels", "100", "max_channels: is less than max_channels_per_connection"},
        {"hub_queue", "64KiB", "hub_queue: is less than max_message_size"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        config_defaults(&c);
        set(rows[i][0], rows[i][1]);
        warns(rows[i][2]);
    }
}

static void short_keys_off_loopback(void **state)
{
    (void)state;
    set("api_key", "k");
    warns(NULL);
    set("admin_listen", "0.0.0.0:8001");
    warns("api_key: it has less than 16 characters");
    set("api_key", "0123456789abcdef");
    warns(NULL);
}

static void refused(bool first, const char *text)
{
    buf_clear(&lines);
    assert_int_equal(config_check(&c, first, &lines), 1);
    if (memmem(lines.p, lines.len, text, strlen(text)) == NULL)
        fail_msg("got: %.*s", (int)lines.len, lines.p);
}

static void what_cannot_be(void **state)
{
    (void)state;
    assert_int_equal(config_check(&c, true, &lines), 0);
    set("listen", ":8001");
    refused(true, "admin_listen: 127.0.0.1:8001 takes in the port of listen, :8001");
    set("admin_listen", "off");
    assert_int_equal(config_check(&c, true, &lines), 0);
    set("pid_file", "/nonexistent/roost.pid");
    refused(true, "pid_file: the folder /nonexistent/ does not exist");
    buf_clear(&lines);
    assert_int_equal(config_check(&c, false, &lines), 0); /* it is open already */
    set("pid_file", "relative.pid");
    assert_int_equal(config_check(&c, true, &lines), 0);
    set("log_file", "/tmp");
    refused(true, "log_file: /tmp is a folder");
}

static void protections_that_go(void **state)
{
    struct config before;

    (void)state;
    set("api_key", "hunter2");
    set("allowed_origins", "https://a.example");
    set("max_connections_per_address", "5");
    before = c;
    assert_int_equal(config_removed(&before, &c, &lines), 0);
    assert_int_equal(lines.len, 0);
    config_defaults(&c);
    assert_int_equal(config_removed(&before, &c, &lines), 0);
    assert_true(str_equal(buf_view(&lines),
                          STR_LIT("max_connections_per_address: it was set, and is not any more\n"
                                  "allowed_origins: it was set, and is not any more\n"
                                  "api_key: it was set, and is not any more\n")));
    buf_clear(&lines);
    c = before;
    set("allowed_origins", "*");
    assert_int_equal(config_removed(&before, &c, &lines), 0);
    assert_true(
        str_equal(buf_view(&lines), STR_LIT("allowed_origins: every web page may connect now\n")));
}

/* What a setting allows, the code bears. */
static void settings_stay_below_the_limits_of_http(void **state)
{
    (void)state;
    assert_int_equal(config_row((size_t)config_row_find(STR_LIT("max_header_size")))->max,
                     HTTP_MAX_HEAD);
    assert_int_equal(config_row((size_t)config_row_find(STR_LIT("max_header_fields")))->max,
                     HTTP_MAX_FIELDS);
}

static void set_maps(const char *name, const char *yaml)
{
    struct buf errors = {0};

    if (table_yaml_value(&config_table, &c, (size_t)config_row_find(str_from(name)), "x",
                         str_from(yaml), &errors) == -1)
        fail_msg("%.*s", (int)errors.len, errors.p);
    config_derive(&c);
}

static void refuses(const char *text)
{
    buf_clear(&lines);
    config_check(&c, false, &lines);
    if (text == NULL ? lines.len > 0 : memmem(lines.p, lines.len, text, strlen(text)) == NULL)
        fail_msg("got: %.*s", (int)lines.len, lines.len > 0 ? lines.p : "");
}

/* Whatever names permissions ends the openness of plain, unless somebody has said so. */
static void plain_by_default(void **state UNUSED)
{
    assert_true(c.plain);
    assert_false(c.permissions);
    set("allow_anonymous_connect_without_token", "true");
    set("insecure", "true");
    assert_true(c.plain);
    assert_false(c.permissions);
    set_maps("channel_without_namespace", "{}"); /* as it was */
    assert_true(c.plain);
    set_maps("channel_without_namespace", "{presence: true}");
    assert_false(c.plain);
    assert_true(c.permissions);
    set("plain", "true");
    assert_true(c.plain);
    assert_true(c.permissions);
    config_defaults(&c);
    set_maps("namespaces", "[{name: ns}]");
    assert_false(c.plain);
    assert_true(c.permissions);
}

static void what_clients_settings_need(void **state UNUSED)
{
    set("listen", "0.0.0.0:8000");
    refuses(NULL);
    set("personal_channel_namespace", "own");
    refuses("personal_channel_namespace: there is no such namespace\n");
    set_maps("namespaces", "[{name: own}]");
    refuses(NULL);
    set("personal_channel_single_connection", "true");
    refuses("personal_channel_single_connection: it does nothing without");
    set("subscribe_to_user_personal_channel", "true");
    refuses(NULL);
    set_maps("namespaces", "[{name: own, history_size: 1, history_ttl: 10s}]");
    set("history_meta_ttl", "9s");
    refuses("history_meta_ttl: it is less than the history_ttl of own\n");
    set_maps("namespaces",
             "[{name: own, history_size: 1, history_ttl: 10s, history_meta_ttl: 10s}]");
    refuses(NULL);
}

static void api_for_clients(void **state UNUSED)
{
    set("listen", "0.0.0.0:8000");
    set("api_on_client_listener", "true");
    refuses("api_on_client_listener: listen is not on loopback");
    set("api_key", "0123456789abcdef");
    refuses(NULL);
    set("api_insecure", "true");
    refuses("api_insecure: listen is not on loopback");
    set("listen", "127.0.0.1:8000");
    refuses(NULL);
}

static void an_old_key_stands_beside_a_new_one(void **state UNUSED)
{
    set("api_key_old", "0123456789abcdef");
    refuses("api_key_old: it is good beside an api_key, and there is none");
    set("api_key", "fedcba9876543210");
    refuses(NULL);
}

static void a_key_for_metrics_is_another_one(void **state UNUSED)
{
    set("metrics_key", "0123456789abcdef");
    refuses("metrics_key: without an api_key everything is open, /metrics too");
    set("api_key", "0123456789abcdef");
    refuses("metrics_key: it is the same as api_key or api_key_old");
    set("api_key", "fedcba9876543210");
    refuses(NULL);
    set("api_key_old", "0123456789abcdef");
    refuses("metrics_key: it is the same as api_key or api_key_old");
    set("api_key_old", "another-old-key-of-ours");
    refuses(NULL);
    set("metrics_key", "short");
    warns(NULL);
    set("admin_listen", "0.0.0.0:8001");
    warns("metrics_key: it has less than 16 characters");
}

static void open_doors(void **state UNUSED)
{
    static const char *const rows[][2] = {
        {"insecure", "true"},
        {"allow_anonymous_connect_without_token", "true"},
        {"user_id_http_header", "X-User"},
        {"api_insecure", "true"},
    };
    char text[100];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        config_defaults(&c);
        warns(NULL);
        set(rows[i][0], rows[i][1]);
        snprintf(text, sizeof(text), "%s: ", rows[i][0]);
        warns(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_stay_below_the_limits_of_http),
        cmocka_unit_test_setup_teardown(limits_follow_each_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(limits_that_others_make_unreachable, set_up, tear_down),
        cmocka_unit_test_setup_teardown(values_with_their_quotes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(short_keys_off_loopback, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be, set_up, tear_down),
        cmocka_unit_test_setup_teardown(protections_that_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(plain_by_default, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_clients_settings_need, set_up, tear_down),
        cmocka_unit_test_setup_teardown(api_for_clients, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_old_key_stands_beside_a_new_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_key_for_metrics_is_another_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(open_doors, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("proc/config_check", tests, NULL, NULL);
}
