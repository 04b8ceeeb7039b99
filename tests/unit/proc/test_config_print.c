/* tests/unit/proc/test_config_print.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proc/config_print.c"

static void round_trip(void **state)
{
    struct config a, b;
    struct buf text = {0}, errors = {0}, x = {0}, y = {0};
    char err[256];

    (void)state;
    config_defaults(&a);
    for (size_t i = 0; i < config_row_count(); i++) {
        static const char *const others[] = {
            "false", "7", "77KiB", "1234ms", "it's: #{[\"text\"]}", "a,b c", "127.0.0.1:0"};

        for (size_t k = 0; k < ARRAY_LEN(others); k++)
            if (table_set(&config_table, &a, i, str_from(others[k]), err, sizeof(err)) == 0)
                break;
    }
    for (size_t i = 0; i < config_row_count(); i++) /* not shown, so not read back */
        if (config_row(i)->type == TABLE_SECRET)
            table_default(&config_table, &a, i);
    config_derive(&a);
    assert_int_equal(config_print(&a, &text), 0);
    config_defaults(&b);
    if (config_load_text(&b, "p", buf_view(&text), NULL, &errors) == -1)
        fail_msg("%.*s", (int)errors.len, errors.p);
    assert_int_equal(config_diff(&a, &b, &x, &y), 0);
    assert_int_equal(x.len + y.len, 0);
    buf_fini(&text);
    buf_fini(&errors);
}

static void secrets_are_not_shown(void **state)
{
    struct config a, b;
    struct buf text = {0}, errors = {0};
    char err[256];

    (void)state;
    config_defaults(&a);
    assert_int_equal(table_set(&config_table, &a, (size_t)config_row_find(STR_LIT("api_key")),
                               STR_LIT("hunter2"), err, sizeof(err)),
                     0);
    assert_int_equal(config_print(&a, &text), 0);
    assert_null(memmem(text.p, text.len, "hunter2", 7));
    assert_non_null(memmem(text.p, text.len, "\napi_key: '(hidden)'\n", 21));
    config_defaults(&b);
    assert_int_equal(config_load_text(&b, "p", buf_view(&text), NULL, &errors), -1);
    a.set.api_key = false; /* it came from api_key_file */
    buf_clear(&text);
    assert_int_equal(config_print(&a, &text), 0);
    assert_non_null(memmem(text.p, text.len, "\napi_key: ''\n", 13));
    buf_fini(&text);
    buf_fini(&errors);
}

static void every_setting_is_in_both_documents(void **state)
{
    struct config c;
    struct buf print = {0}, reference = {0};
    char name[128];

    (void)state;
    config_defaults(&c);
    assert_int_equal(config_print(&c, &print), 0);
    assert_int_equal(config_reference(&reference), 0);
    assert_int_equal(buf_append_char(&print, '\0') | buf_append_char(&reference, '\0'), 0);
    for (size_t i = 0; i < config_row_count(); i++) {
        snprintf(name, sizeof(name), "\n%s: ", config_row(i)->name);
        assert_non_null(strstr(print.p, name));
        snprintf(name, sizeof(name), "\n## %s\n", config_row(i)->name);
        assert_non_null(strstr(reference.p, name));
    }
    buf_fini(&print);
    buf_fini(&reference);
}

static void differences_are_sorted_by_what_reload_may_do(void **state)
{
    struct config a, b;
    struct buf reload = {0}, restart = {0};

    (void)state;
    config_defaults(&a);
    b = a;
    b.max_connections = 1;
    b.log_level = 2;
    b.workers = 2;
    assert_int_equal(config_diff(&a, &b, &reload, &restart), 0);
    assert_true(str_equal(buf_view(&reload), STR_LIT("max_connections, log_level")));
    assert_true(str_equal(buf_view(&restart), STR_LIT("workers")));
    buf_fini(&reload);
    buf_fini(&restart);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(secrets_are_not_shown),
        cmocka_unit_test(every_setting_is_in_both_documents),
        cmocka_unit_test(differences_are_sorted_by_what_reload_may_do),
    };
    return cmocka_run_group_tests_name("proc/config_print", tests, NULL, NULL);
}
