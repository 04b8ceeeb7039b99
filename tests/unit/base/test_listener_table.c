/* tests/unit/base/test_listener_table.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/config.h"
#include "base/listener_table.c"

static struct listener_options o;

static void fresh(const char *address)
{
    table_defaults(&listener_table, &o);
    snprintf(o.address, sizeof(o.address), "%s", address);
}

static void set(const char *name, const char *value)
{
    char err[256];

    if (table_set(&listener_table, &o, (size_t)table_find(&listener_table, str_from(name)),
                  str_from(value), err, sizeof(err)) == -1)
        fail_msg("%s: %s", name, err);
}

static void wrong(const char *text)
{
    char err[256] = "";
    int rc = check(&o, err, sizeof(err));

    if (text == NULL ? rc != 0 : rc != -1 || strstr(err, text) != err)
        fail_msg("got: %s", err);
}

static void what_an_address_is(void **state UNUSED)
{
    fresh("unix:/run/roost.sock");
    assert_true(listener_is_unix(&o));
    assert_int_equal(listener_passed(&o).n, 0);
    assert_string_equal(listener_label(&o), "unix:/run/roost.sock");
    fresh("fd:web");
    assert_true(str_equal(listener_passed(&o), STR_LIT("web")));
    set("name", "public");
    assert_string_equal(listener_label(&o), "public");
    fresh("[::]:8000");
    assert_false(listener_is_unix(&o));
    assert_int_equal(listener_passed(&o).n, 0);
}

static void what_does_not_go_together(void **state UNUSED)
{
    static const struct {
        const char *address, *name, *value, *text;
    } cases[] = {
        {"unix:/a", "mode", "600", NULL},
        {"unix:/a", "mode", "0777", NULL},
        {"unix:/a", "mode", "0888", "mode: three or four octal digits"},
        {"unix:/a", "mode", "4600", "mode: a socket has no"},
        {"unix:/a", "owner", "daemon", NULL},
        {":80", "owner", "daemon", "owner and group: only"},
        {"fd:x", "group", "daemon", "owner and group: only"},
        {":80", "ipv6_only", "true", NULL},
        {"[::1]:80", "ipv6_only", "true", NULL},
        {"127.0.0.1:80", "ipv6_only", "true", "ipv6_only: "},
        {"unix:/a", "ipv6_only", "true", "ipv6_only: "},
        {":80", "allow", "192.0.2.0/24, ::1", NULL},
        {":80", "allow", "192.0.2.1/24", "allow: "},
        {":80", "allow", "everybody", "allow: "},
        {"unix:/a", "allow", "::1", "allow: who may"},
        {":80", "name", "a.b-c_9", NULL},
        {":80", "name", "a b", "name: "},
        {":80", "tls_certificate", "a.pem", "tls_certificate and tls_key: "},
        {":80", "tls_key", "a.pem", "tls_certificate and tls_key: "},
        {":80", "tls_ocsp", "a.der", "tls_ocsp: "},
        {":80", "tls_client_certificates", "required", "tls_client_certificates: it needs"},
        {":80", "tls_client_ca", "a.pem", "tls_client_certificates and tls_client_ca: "},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fresh(cases[i].address);
        set(cases[i].name, cases[i].value);
        wrong(cases[i].text);
    }
}

static void certificates_have_their_keys(void **state UNUSED)
{
    fresh(":443");
    set("tls_certificate", "rsa.pem, ecdsa.pem");
    set("tls_key", "same.key");
    wrong("tls_certificate and tls_key: ");
    set("tls_key", "same.key, same.key"); /* the names of files may repeat */
    wrong(NULL);
    assert_true(listener_has_tls(&o));
    set("tls_client_certificates", "optional");
    wrong("tls_client_certificates and tls_client_ca: ");
    set("tls_client_ca", "ca.pem");
    wrong(NULL);
}

static void addresses_of_every_kind(void **state UNUSED)
{
    static const char *const good[] = {"unix:/a", "fd:x", "fd:roost.socket", "[::]:1", ":1"},
                             *const bad[] = {"unix:",  "unix:a",  "unix:/", "fd:",
                                             "fd:a:b", "unix:@a", "fd:a b", "unixx:/a"};
    char err[256];

    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        set("address", good[i]);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (table_set(&listener_table, &o, 0, str_from(bad[i]), err, sizeof(err)) == 0)
            fail_msg("taken: %s", bad[i]);
}

static struct config c;

static void put(const char *name, const char *value)
{
    char err[256];

    if (table_set(&config_table, &c, (size_t)config_row_find(str_from(name)), str_from(value), err,
                  sizeof(err)) == -1)
        fail_msg("%s: %s", name, err);
    config_derive(&c);
}

static void add(const char *address, enum listener_kind kind)
{
    const struct table_row *row = config_row((size_t)config_row_find(STR_LIT("listeners")));
    struct listener_options *item = table_maps_add(row, &c);

    assert_non_null(item);
    snprintf(item->address, sizeof(item->address), "%s", address);
    item->kind = (int)kind;
    config_derive(&c);
}

static void expect(size_t n, ...)
{
    va_list ap;

    assert_int_equal(c.listeners_count, n);
    va_start(ap, n);
    for (size_t i = 0; i < n; i++)
        assert_string_equal(c.listener[i].address, va_arg(ap, const char *));
    va_end(ap);
}

static void the_flat_settings_are_a_short_form(void **state UNUSED)
{
    config_defaults(&c);
    expect(2, "[::]:8000", "127.0.0.1:8001");
    assert_false(listener_is_admin(&c.listener[0]));
    assert_true(listener_is_admin(&c.listener[1]));
    put("tls_certificate", "a.pem");
    put("admin_tls_key", "b.key");
    assert_string_equal(c.listener[0].tls_certificate, "a.pem");
    assert_string_equal(c.listener[1].tls_certificate, ""); /* the admin listener stays plain */
    assert_string_equal(c.listener[1].tls_key, "b.key");
    put("admin_listen", "off");
    expect(1, "[::]:8000");
}

static void their_defaults_give_way_to_the_list(void **state UNUSED)
{
    config_defaults(&c);
    add("unix:/a", LISTENER_CLIENT);
    expect(2, "127.0.0.1:8001", "unix:/a");
    add("unix:/b", LISTENER_ADMIN);
    expect(2, "unix:/a", "unix:/b");
    put("listen", ":80"); /* what somebody has written counts */
    put("admin_listen", ":81");
    expect(4, ":80", ":81", "unix:/a", "unix:/b");
    put("admin_listen", "off");
    expect(3, ":80", "unix:/a", "unix:/b");
}

static void more_than_fit_are_counted(void **state UNUSED)
{
    char address[16];

    config_defaults(&c);
    put("listen", ":1");
    for (int i = 0; i < LISTENERS_MAX; i++) {
        snprintf(address, sizeof(address), ":%d", 10 + i);
        add(address, LISTENER_CLIENT);
    }
    assert_int_equal(c.listeners_count, LISTENERS_MAX + 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_an_address_is),
        cmocka_unit_test(what_does_not_go_together),
        cmocka_unit_test(certificates_have_their_keys),
        cmocka_unit_test(addresses_of_every_kind),
        cmocka_unit_test(the_flat_settings_are_a_short_form),
        cmocka_unit_test(their_defaults_give_way_to_the_list),
        cmocka_unit_test(more_than_fit_are_counted),
    };
    return cmocka_run_group_tests_name("base/listener_table", tests, NULL, NULL);
}
