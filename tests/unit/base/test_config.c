/* tests/unit/base/test_config.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/config.c"

static struct config c;

static int set_up(void **state)
{
    (void)state;
    config_defaults(&c);
    return 0;
}

static int set(const char *name, const char *value, char *err)
{
    int row = config_row_find(str_from(name));

    assert_true(row >= 0);
    return table_set(&config_table, &c, (size_t)row, str_from(value), err, 256);
}

static void refused(const char *name, const char *value, const char *why)
{
    struct config before = c;
    char err[256] = "";

    assert_int_equal(set(name, value, err), -1);
    assert_string_equal(err, why);
    assert_memory_equal(&before, &c, sizeof(c));
}

static void accepted(const char *name, const char *value)
{
    char err[256] = "";

    if (set(name, value, err) == -1)
        fail_msg("%s=%s: %s", name, value, err);
}

static void defaults_are_what_the_table_says(void **state)
{
    (void)state;
    assert_string_equal(c.listen, "[::]:8000");
    assert_int_equal(c.workers, 0);
    assert_int_equal(c.max_message_size, 1 << 20);
    assert_true(c.ping_interval == 25 * (int64_t)1000000000);
    assert_true(c.demo_page);
    assert_int_equal(c.slow_consumer, SLOW_DISCONNECT);
    assert_int_equal(config_log_level(&c), LOG_INFO);
    assert_true(config_list_has(c.subprotocols, STR_LIT("roost-plain")));
}

static void wrong_values_say_what_was_expected(void **state)
{
    (void)state;
    refused("ping_interval", "fast",
            "expected a duration such as 250ms, 10s, 5m or 1h, got \"fast\"");
    refused("ping_interval", "1ms", "expected a value from 100ms to 24h, got \"1ms\"");
    refused("output_limit", "1", "expected a value from 4KiB to 1GiB, got \"1\"");
    refused("output_limit", "much",
            "expected a size such as 512, 64KiB, 1MiB or 2GiB, got \"much\"");
    refused("workers", "0", "expected auto or a whole number from 1 to 128, got \"0\"");
    refused("workers", "129", "expected auto or a whole number from 1 to 128, got \"129\"");
    refused("workers", "many", "expected auto or a whole number from 1 to 128, got \"many\"");
    refused("max_connections", "-1", "expected a whole number from 1 to 16000000, got \"-1\"");
    refused("demo_page", "perhaps", "expected true or false, got \"perhaps\"");
    refused("log_level", "loud", "expected one of info|debug|warn|error, got \"loud\"");
    refused("listen", "nowhere",
            "expected an address such as [::]:8000, 0.0.0.0:8000, :8000 or unix:/path, got "
            "\"nowhere\"");
    refused(
        "listen", "off",
        "expected an address such as [::]:8000, 0.0.0.0:8000, :8000 or unix:/path, got \"off\"");
    refused("listen", "1.2.3.4:65536",
            "expected an address such as [::]:8000, 0.0.0.0:8000, :8000 or unix:/path, got "
            "\"1.2.3.4:65536\"");
    refused("admin_listen", "::1:80",
            "expected an address such as 127.0.0.1:8001, [::1]:8001, :8001 or unix:/path, or off, "
            "got \"::1:80\"");
    refused("node_name", "a\nb",
            "expected text of 0 to 100 bytes without control characters, got \"a?b\"");
}

static void right_values(void **state)
{
    (void)state;
    accepted("workers", "auto");
    accepted("workers", "128");
    accepted("listen", "[::]:0");
    accepted("listen", ":8000");
    accepted("admin_listen", "off");
    accepted("slow_consumer", "latest");
    assert_int_equal(c.slow_consumer, SLOW_LATEST);
    accepted("log_level", "error");
    assert_int_equal(config_log_level(&c), LOG_ERROR);
    accepted("allowed_origins", " https://a.example , https://*.b.example,");
    assert_string_equal(c.allowed_origins, "https://a.example\nhttps://*.b.example");
    assert_true(config_list_glob(c.allowed_origins, STR_LIT("https://x.b.example")));
    assert_false(config_list_glob(c.allowed_origins, STR_LIT("https://a.example.evil")));
    assert_false(config_list_has(c.allowed_origins, STR_LIT("https://x.b.example")));
    assert_false(config_list_has("", STR_LIT("")));
    assert_int_equal(config_row_find(STR_LIT("nope")), -1);
}

static void values_read_back_as_they_are_written(void **state)
{
    char text[CONFIG_LIST_MAX], err[256];
    struct config other;

    (void)state;
    accepted("ping_interval", "90s");
    accepted("output_limit", "12345");
    accepted("subprotocols", "a,b");
    accepted("slow_consumer", "drop");
    memset(&other, 0, sizeof(other));
    for (size_t i = 0; i < config_row_count(); i++) {
        struct str v = config_format_value(&c, i, text, sizeof(text));

        if (config_row(i)->type == TABLE_AUTO_SIZE && str_equal(v, STR_LIT("auto")))
            continue; /* derived */
        if (table_is_map(config_row(i)->type))
            continue; /* not one text */
        if (table_set(&config_table, &other, i, v, err, sizeof(err)) == -1)
            fail_msg("%s: %s", config_row(i)->name, err);
    }
    for (size_t i = 0; i < config_row_count(); i++) {
        const struct table_row *r = config_row(i);

        if (r->type != TABLE_AUTO_SIZE && !table_is_map(r->type))
            assert_memory_equal((char *)&c + r->offset, (char *)&other + r->offset, r->size);
    }
}

static void what_was_set_is_known(void **state)
{
    char err[256];

    (void)state;
    assert_false(c.set.max_connections);
    accepted("max_connections", "30000"); /* the default's value, but said */
    assert_true(c.set.max_connections);
    assert_int_equal(set("workers", "none", err), -1);
    assert_false(c.set.workers);
}

static void a_list_that_is_too_long_is_refused(void **state)
{
    static char big[4000];
    char err[256];

    (void)state;
    memset(big, 'x', sizeof(big) - 1);
    assert_int_equal(set("allowed_origins", big, err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(defaults_are_what_the_table_says, set_up),
        cmocka_unit_test_setup(wrong_values_say_what_was_expected, set_up),
        cmocka_unit_test_setup(right_values, set_up),
        cmocka_unit_test_setup(values_read_back_as_they_are_written, set_up),
        cmocka_unit_test_setup(what_was_set_is_known, set_up),
        cmocka_unit_test_setup(a_list_that_is_too_long_is_refused, set_up),
    };
    return cmocka_run_group_tests_name("base/config", tests, NULL, NULL);
}
