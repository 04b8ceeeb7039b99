#include <netdb.h>

static int counted_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                               struct addrinfo **found);

#define getaddrinfo counted_getaddrinfo
#include "net/address.c"
#undef getaddrinfo

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int lookups; /* of hosts; NULL asks nobody */

static int counted_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                               struct addrinfo **found)
{
    lookups += node != NULL;
    return getaddrinfo(node, service, hints, found);
}

static void test_accepted(void **state UNUSED)
{
    static const struct {
        const char *text, *formatted;
        bool loopback;
    } rows[] = {
        {"0.0.0.0:8000", "0.0.0.0:8000", false},
        {":80", "[::]:80", false},
        {"127.0.0.1:0", "127.0.0.1:0", true},
        {"127.255.0.9:65535", "127.255.0.9:65535", true},
        {"localhost:8001", "127.0.0.1:8001", true},
        {"LocalHost:1", "127.0.0.1:1", true},
        {"192.0.2.1:0080", "192.0.2.1:80", false},
        {"[::]:8000", "[::]:8000", false},
        {"[::1]:8000", "[::1]:8000", true},
        {"[2001:db8::1]:443", "[2001:db8::1]:443", false},
        {"[::ffff:127.0.0.1]:5", "127.0.0.1:5", true},
        {"[::ffff:192.0.2.7]:5", "192.0.2.7:5", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct address a;
        char err[200] = "", out[CONN_ADDRESS_MAX];

        if (address_parse(str_from(rows[i].text), &a, err, sizeof(err)) == -1)
            fail_msg("%s: %s", rows[i].text, err);
        address_format(&a, out, sizeof(out));
        assert_string_equal(out, rows[i].formatted);
        assert_int_equal(address_is_loopback(&a), rows[i].loopback);
        assert_int_equal(a.len, a.sa.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                           : sizeof(struct sockaddr_in));
    }
}

static void test_unix_and_passed(void **state UNUSED)
{
    static const char *const bad[] = {"unix:", "unix:a", "unix:/", "unix:@a"};
    struct address a, b;
    char err[200] = "", out[ADDRESS_TEXT_MAX], longest[160];

    assert_int_equal(address_parse(STR_LIT("unix:/run/a"), &a, err, sizeof(err)), 0);
    address_format(&a, out, sizeof(out));
    assert_string_equal(out, "unix:/run/a");
    assert_string_equal(address_path(&a), "/run/a");
    assert_true(address_is_unix(&a) && address_is_loopback(&a));
    assert_false(address_to_ipv4(&a));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(address_parse(str_from(bad[i]), &b, err, sizeof(err)), -1);
    for (int n = 107; n <= 108; n++) { /* unix(7): a path and its NUL in 108 bytes */
        snprintf(longest, sizeof(longest), "unix:/%0*d", n - 1, 0);
        assert_int_equal(address_parse(str_from(longest), &b, err, sizeof(err)), n == 107 ? 0 : -1);
    }
    assert_int_equal(address_parse(STR_LIT("unix:/run/a"), &b, err, sizeof(err)), 0);
    assert_true(address_equal(&a, &b) && address_overlaps(&a, &b));
    assert_int_equal(address_parse(STR_LIT("unix:/run/b"), &b, err, sizeof(err)), 0);
    assert_false(address_equal(&a, &b) || address_overlaps(&a, &b));
    assert_int_equal(address_parse(STR_LIT("fd:web"), &b, err, sizeof(err)), 0);
    assert_int_equal(b.len, 0);
    assert_false(address_is_loopback(&b)); /* who knows */
    assert_false(address_equal(&b, &b) || address_overlaps(&a, &b) || address_overlaps(&b, &b));
    assert_int_equal(address_parse(STR_LIT("[::]:80"), &a, err, sizeof(err)), 0);
    assert_int_equal(address_parse(STR_LIT("0.0.0.0:80"), &b, err, sizeof(err)), 0);
    assert_true(address_equal(&a, &a));
    assert_false(address_equal(&a, &b)); /* it takes in more */
}

static void test_everywhere_without_ipv6(void **state UNUSED)
{
    struct address a;
    char err[200], out[CONN_ADDRESS_MAX];

    assert_int_equal(address_parse(STR_LIT(":8000"), &a, err, sizeof(err)), 0);
    assert_true(address_to_ipv4(&a));
    address_format(&a, out, sizeof(out));
    assert_string_equal(out, "0.0.0.0:8000");
    assert_int_equal(a.len, sizeof(struct sockaddr_in));
    assert_false(address_to_ipv4(&a));
    assert_int_equal(address_parse(STR_LIT("[::1]:8000"), &a, err, sizeof(err)), 0);
    assert_false(address_to_ipv4(&a));
}

static void test_overlaps(void **state UNUSED)
{
    static const struct {
        const char *a, *b;
        bool overlap;
    } rows[] = {
        {"127.0.0.1:80", "127.0.0.1:80", true},
        {"127.0.0.1:80", "127.0.0.1:81", false},
        {"127.0.0.1:80", "127.0.0.2:80", false},
        {"[::]:80", "127.0.0.1:80", true},
        {"0.0.0.0:80", "127.0.0.1:80", true},
        {"0.0.0.0:80", "[::1]:80", false},
        {"[::]:80", "[::1]:80", true},
        {"[::]:0", "[::]:0", false},
        {"[::ffff:1.2.3.4]:80", "1.2.3.4:80", true},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct address a, b;
        char err[200];

        assert_int_equal(address_parse(str_from(rows[i].a), &a, err, sizeof(err)), 0);
        assert_int_equal(address_parse(str_from(rows[i].b), &b, err, sizeof(err)), 0);
        assert_int_equal(address_overlaps(&a, &b), rows[i].overlap);
        assert_int_equal(address_overlaps(&b, &a), rows[i].overlap);
    }
}

static void test_localhost_needs_no_resolver(void **state UNUSED)
{
    static const char *const names[] = {"localhost", "LOCALHOST", "127.0.0.1", "::1"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct addrinfo *found, *a;

        lookups = 0;
        assert_int_equal(address_lookup(names[i], "8001", &found), 0);
        assert_int_equal(lookups, i < 2 ? 0 : 1);
        for (a = found; a != NULL; a = a->ai_next) {
            struct address address = {.len = a->ai_addrlen};

            memcpy(&address.sa, a->ai_addr, a->ai_addrlen);
            assert_true(address_is_loopback(&address));
            assert_int_equal(a->ai_socktype, SOCK_STREAM);
        }
        freeaddrinfo(found);
    }
}

static void test_refused(void **state UNUSED)
{
    static const char *const rows[] = {
        "",
        ":",
        "8000",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:+1",
        "127.0.0.1: 1",
        "127.0.0.1:1 ",
        " 127.0.0.1:1",
        "127.0.0.1:0x10",
        "127.0.0.1:99999999999999999999",
        "127.0.0:80",
        "127.0.0.256:80",
        "127.1:80",
        "example.org:80",
        "*:80",
        "::1:80",
        "::80",
        "a:b:c",
        "[::1]",
        "[::1]:",
        "[::1]80",
        "[::1:80",
        "[]:80",
        "[:]:80",
        "[127.0.0.1]:80",
        "[::g]:80",
        "[fe80::1%eth0]:80",
        "[localhost]:80",
        "localhost.:80",
        "[1:2:3:4:5:6:7:8:9]:80",
        "[11111111111111111111111111111111111111111111111111111111111111]:1",
        "111111111111111111111111111111111111111111111111111111111111111:1",
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct address a;
        char err[200] = "";

        if (address_parse(str_from(rows[i]), &a, err, sizeof(err)) == 0)
            fail_msg("accepted: %s", rows[i]);
        assert_string_not_equal(err, "");
    }
}

static void test_refused_bytes(void **state UNUSED)
{
    struct address a;
    char err[200];

    assert_int_equal(address_parse(STR_LIT("127.0.0.1\0:80"), &a, err, sizeof(err)), -1);
    assert_int_equal(address_parse(STR_LIT("127.0.0.1:80\0"), &a, err, sizeof(err)), -1);
    assert_int_equal(address_parse(STR_NULL, &a, err, sizeof(err)), -1);
    assert_int_equal(address_parse(STR_LIT("x"), &a, err, 4), -1); /* a short buffer is kept to */
    assert_int_equal(strlen(err), 3);
}

static void test_bytes_of_other_families(void **state UNUSED)
{
    static const uint8_t zeros[16];
    const struct sockaddr_storage sa = {.ss_family = AF_UNIX};
    uint8_t bytes[16] = {1};
    uint16_t port = 1;

    address_bytes((const struct sockaddr *)&sa, bytes, &port);
    assert_memory_equal(bytes, zeros, sizeof(zeros));
    assert_int_equal(port, 0);
    bytes[3] = 1;
    address_bytes(NULL, bytes, &port);
    assert_memory_equal(bytes, zeros, sizeof(zeros));
}

static void test_longest(void **state UNUSED)
{
    uint8_t bytes[16];
    char out[CONN_ADDRESS_MAX];

    memset(bytes, 0xfe, sizeof(bytes));
    address_format_bytes(bytes, 65535, out, sizeof(out));
    assert_string_equal(out, "[fefe:fefe:fefe:fefe:fefe:fefe:fefe:fefe]:65535");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unix_and_passed),
        cmocka_unit_test(test_everywhere_without_ipv6),
        cmocka_unit_test(test_overlaps),
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_localhost_needs_no_resolver),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_refused_bytes),
        cmocka_unit_test(test_bytes_of_other_families),
        cmocka_unit_test(test_longest),
    };

    return cmocka_run_group_tests_name("net/address", tests, NULL, NULL);
}
