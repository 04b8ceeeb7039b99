/* tests/unit/proc/test_config_check_proxies.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proc/config_check_proxies.c"

static struct config c;

static void set(const char *value)
{
    char err[256];

    assert_int_equal(table_set(&config_table, &c,
                               (size_t)config_row_find(STR_LIT("trusted_proxies")), str_from(value),
                               err, sizeof(err)),
                     0);
    config_derive(&c);
}

static void networks_and_unix_sockets(void **state UNUSED)
{
    struct buf errors = {0};

    config_defaults(&c);
    assert_int_equal(c.trusted.n, 0);
    set("127.0.0.1, 10.0.0.0/8,2001:db8::/32,unix:");
    assert_int_equal(config_check_proxies(&c, &errors), 0);
    assert_int_equal(c.trusted.n, 3);
    assert_true(c.trusted.unix_peers);
    set("127.0.0.1, 10.0.0.1/8, proxy.example, unix:/run/x");
    assert_int_equal(config_check_proxies(&c, &errors), 3);
    assert_non_null(
        memmem(errors.p, errors.len, "trusted_proxies: \"10.0.0.1/8\": the address", 42));
    assert_int_equal(c.trusted.n, 1);
    buf_fini(&errors);
}

static void everybody(void **state UNUSED)
{
    static const char *const rows[] = {"0.0.0.0/0", "::/0", "::ffff:0.0.0.0/96"};
    struct buf lines = {0};

    config_defaults(&c);
    set("10.0.0.0/8");
    assert_int_equal(config_warn_proxies(&c, &lines), 0);
    assert_int_equal(lines.len, 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_clear(&lines);
        set(rows[i]);
        assert_int_equal(config_warn_proxies(&c, &lines), 0);
        assert_true(str_starts_with(buf_view(&lines), STR_LIT("trusted_proxies: everybody")));
    }
    buf_fini(&lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_and_unix_sockets),
        cmocka_unit_test(everybody),
    };

    return cmocka_run_group_tests_name("proc/config_check_proxies", tests, NULL, NULL);
}
