/* tests/unit/proc/test_config_compare.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proc/config_compare.c"

static struct config a, b;

static int setup(void **state UNUSED)
{
    config_defaults(&a);
    config_derive(&a);
    b = a;
    return 0;
}

static void set(struct config *c, const char *name, const char *value)
{
    char err[256];
    int row = config_row_find(str_from(name));

    assert_true(row >= 0);
    if (table_set(&config_table, c, (size_t)row, str_from(value), err, sizeof(err)) == -1)
        fail_msg("%s: %s", name, err);
}

/* As a text of C; the document is JSON. */
static void finish(struct buf *out)
{
    struct json_value v;

    assert_int_equal(json_parse(buf_view(out), &v, NULL), 0);
    assert_int_equal(buf_append_char(out, '\0'), 0);
}

static void compare(const char *contents, struct buf *out)
{
    buf_clear(out);
    assert_int_equal(config_compare_json(&a, &b, str_from(contents), out), 0);
    finish(out);
}

static void what_is_equal_is_not_listed(void **state UNUSED)
{
    struct buf out = {0};

    compare("", &out);
    assert_string_equal(out.p, "[]");
    buf_fini(&out);
}

static void what_applies_is_told_from_what_does_not(void **state UNUSED)
{
    struct buf out = {0};

    set(&b, "max_connections", "77");
    set(&b, "workers", "3");
    set(&b, "trusted_proxies", "127.0.0.1,10.0.0.0/8");
    compare("max_connections, trusted_proxies", &out);
    assert_string_equal(
        out.p,
        "[\n{\"name\":\"workers\",\"before\":\"auto\",\"after\":\"3\",\"applies\":\"restart\"},"
        "\n{\"name\":\"max_connections\",\"before\":\"30000\",\"after\":\"77\",\"applies\":"
        "\"reload\"},\n{\"name\":\"trusted_proxies\",\"before\":\"\",\"after\":\"127.0.0.1, "
        "10.0.0.0/8\",\"applies\":\"reload\"}]");
    buf_fini(&out);
}

static void files_that_hold_something_else(void **state UNUSED)
{
    struct buf out = {0};

    set(&b, "max_connections", "77");
    compare("max_connections, token_hmac_secret_key_file, no_setting", &out);
    assert_non_null(strstr(out.p,
                           "{\"name\":\"token_hmac_secret_key_file\",\"before\":\"(what the file "
                           "held)\",\"after\":\"(changed)\",\"applies\":\"reload\"}]"));
    buf_fini(&out);
}

/* Of every secret there is: set, taken away, another one; and of a key in PEM. */
static void secrets_are_never_shown(void **state UNUSED)
{
    struct buf out = {0};
    size_t secrets = 0;

    for (size_t i = 0; i < config_row_count(); i++) {
        if (config_row(i)->type != TABLE_SECRET)
            continue;
        set(&a, config_row(i)->name, "hunter2-hunter2-hunter2");
        set(&b, config_row(i)->name, secrets++ % 2 == 0 ? "hunter3-hunter3-hunter3" : "");
    }
    set(&a, "token_rsa_public_key", "-----BEGIN PUBLIC KEY-----\nhunter2");
    set(&b, "token_rsa_public_key", "-----BEGIN PUBLIC KEY-----\nhunter3");
    compare("", &out);
    assert_null(strstr(out.p, "hunter"));
    assert_non_null(strstr(out.p, "\"api_key\",\"before\":\"(set)\",\"after\":\"(changed)\""));
    assert_non_null(strstr(out.p, "\"api_key_old\",\"before\":\"(set)\",\"after\":\"\""));
    assert_non_null(
        strstr(out.p, "\"token_rsa_public_key\",\"before\":\"(set)\",\"after\":\"(changed)\""));
    buf_clear(&out);
    assert_int_equal(config_write_json(&a, &out), 0);
    finish(&out);
    assert_null(strstr(out.p, "hunter"));
    assert_true(secrets >= 8);
    buf_fini(&out);
}

/* An entry of a list that a reload cannot add says so. */
static void listeners_that_move_need_a_restart(void **state UNUSED)
{
    struct buf out = {0}, errors = {0};

    assert_int_equal(config_load_text(&b, "f",
                                      STR_LIT("listeners: [{name: x, address: 127.0.0.1:0}]"), NULL,
                                      &errors),
                     0);
    compare("", &out);
    assert_non_null(strstr(out.p, "\"name\":\"listeners\",\"before\":\"[]\""));
    assert_non_null(strstr(out.p, "\"applies\":\"restart\"}"));
    buf_fini(&out);
}

static void all_of_them_with_their_defaults(void **state UNUSED)
{
    struct buf out = {0};

    set(&a, "log_level", "debug");
    set(&a, "max_connections", "30000");
    assert_int_equal(config_write_json(&a, &out), 0);
    finish(&out);
    assert_non_null(
        strstr(out.p, "{\"name\":\"log_level\",\"value\":\"debug\",\"default\":\"info\",\"set\":"
                      "true,\"is_default\":false,\"applies\":\"reload\"}"));
    assert_non_null(strstr(out.p, "{\"name\":\"max_connections\",\"value\":\"30000\",\"default\":"
                                  "\"30000\",\"set\":true,\"is_default\":true"));
    assert_non_null(strstr(out.p, "{\"name\":\"workers\",\"value\":\"auto\",\"default\":\"auto\","
                                  "\"set\":false,\"is_default\":true,\"applies\":\"restart\"}"));
    buf_fini(&out);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {
        T(what_is_equal_is_not_listed),        T(what_applies_is_told_from_what_does_not),
        T(files_that_hold_something_else),     T(secrets_are_never_shown),
        T(listeners_that_move_need_a_restart), T(all_of_them_with_their_defaults),
    };
    return cmocka_run_group_tests_name("proc/config_compare", tests, NULL, NULL);
}
