/* tests/unit/base/test_table_origin.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/table_origin.c"

static void as_browsers_send_them(void **state UNUSED)
{
    static const char *const rows[][2] = {
        {"https://example.com", "https://example.com"},
        {"HTTPS://Example.COM", "https://example.com"},
        {"https://example.com/", "https://example.com"},
        {"https://example.com:443", "https://example.com"},
        {"http://example.com:80/", "http://example.com"},
        {"http://example.com:443", "http://example.com:443"},
        {"https://example.com:8443", "https://example.com:8443"},
        {"http://[::1]:3000", "http://[::1]:3000"},
        {"http://[2001:DB8::1]:80", "http://[2001:db8::1]"},
        {"https://*.example.com", "https://*.example.com"},
        {"http://localhost:*", "http://localhost:*"},
        {"*://example.com", "*://example.com"},
        {"https://*", "https://*"},
        {"*", "*"},
        {"null", "null"},
        {"chrome-extension://abcdef", "chrome-extension://abcdef"},
        {"https://xn--bcher-kva.de", "https://xn--bcher-kva.de"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char out[300];
        const char *wrong = table_origin(str_from(rows[i][0]), out, sizeof(out));

        if (wrong != NULL)
            fail_msg("%s: %s", rows[i][0], wrong);
        assert_string_equal(out, rows[i][1]);
    }
}

static void what_no_browser_sends(void **state UNUSED)
{
    static const char *const rows[][2] = {
        {"example.com", "with its scheme"},
        {"*.example.com", "with its scheme"},
        {"example.com:8080", "with its scheme"},
        {"//example.com", "with its scheme"},
        {"://example.com", "with its scheme"},
        {"h ttp://example.com", "with its scheme"},
        {"https://example.com/path", "without a path"},
        {"https://example.com//", "without a path"},
        {"https://example.com#x", "without a path"},
        {"https://user@example.com", "without a user name"},
        {"https://", "an address or a name"},
        {"https:///", "an address or a name"},
        {"https://a b", "an address or a name"},
        {"https://b\xc3\xbc\x63her.de", "xn--"},
        {"https://[::1", "an address or a name"},
        {"https://[]", "an address or a name"},
        {"https://[x]", "an address or a name"},
        {"https://a:", "port"},
        {"https://a:x", "port"},
        {"https://a:65536", "port"},
        {"[\"https://a\"]", "with its scheme"},
        {"", "with its scheme"},
        {":", "with its scheme"},
    };
    static char big[400];
    char out[300];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *wrong = table_origin(str_from(rows[i][0]), out, sizeof(out));

        if (wrong == NULL || strstr(wrong, rows[i][1]) == NULL)
            fail_msg("%s: %s", rows[i][0], wrong != NULL ? wrong : out);
    }
    memset(big, 'x', sizeof(big) - 1);
    assert_non_null(table_origin(str_from(big), out, sizeof(out)));
    assert_non_null(table_origin((struct str){"https://a\0b", 11}, out, sizeof(out)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_browsers_send_them),
        cmocka_unit_test(what_no_browser_sends),
    };
    return cmocka_run_group_tests_name("base/table_origin", tests, NULL, NULL);
}
