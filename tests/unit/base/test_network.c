/* base/network: addresses and networks as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/network.c"

static void addresses(void **state UNUSED)
{
    static const struct {
        const char *text;
        int rc;
        const char *same; /* as text that ip_parse() takes */
        int port;
    } rows[] = {
        {"192.0.2.1", 0, "192.0.2.1", 0},
        {"192.0.2.1:80", 0, "192.0.2.1", 80},
        {"192.0.2.1", 0, "::ffff:192.0.2.1", 0},
        {"2001:db8::1", 0, "2001:DB8:0::1", 0},
        {"[2001:db8::1]", 0, "2001:db8::1", 0},
        {"[2001:db8::1]:65535", 0, "2001:db8::1", 65535},
        {"::", 0, "::", 0},
        {"", -1, NULL, 0},
        {"192.0.2", -1, NULL, 0},
        {"192.0.2.1.", -1, NULL, 0},
        {"192.0.2.256", -1, NULL, 0},
        {"0300.0.2.1", -1, NULL, 0},
        {"192.0.2.1:", -1, NULL, 0},
        {"192.0.2.1:65536", -1, NULL, 0},
        {"192.0.2.1:http", -1, NULL, 0},
        {"192.0.2.1:000080", -1, NULL, 0},
        {"[192.0.2.1]", -1, NULL, 0},
        {"[2001:db8::1", -1, NULL, 0},
        {"[2001:db8::1]80", -1, NULL, 0},
        {"[2001:db8::1]:", -1, NULL, 0},
        {"[]", -1, NULL, 0},
        {"fe80::1%eth0", -1, NULL, 0},
        {"unknown", -1, NULL, 0},
        {" 192.0.2.1", -1, NULL, 0},
        {"2001:db8:0000:0000:0000:0000:0000:0000:0001", -1, NULL, 0},
    };
    uint8_t a[16], b[16];
    uint16_t port;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (ip_parse_port(str_from(rows[i].text), a, &port) != rows[i].rc)
            fail_msg("%s", rows[i].text);
        if (rows[i].rc == -1)
            continue;
        assert_int_equal(ip_parse(str_from(rows[i].same), b), 0);
        assert_memory_equal(a, b, 16);
        assert_int_equal(port, rows[i].port);
    }
    assert_int_equal(ip_parse(STR_LIT("192.0.2.1\0"), a), -1);
    assert_int_equal(ip_parse(STR_NULL, a), -1);
}

static void what_a_network_has(void **state UNUSED)
{
    static const struct {
        const char *network, *address;
        bool has;
    } rows[] = {
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.2", false},
        {"192.0.2.1/32", "192.0.2.1", true},
        {"10.0.0.0/8", "10.255.255.255", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"10.0.0.0/8", "a00::", false},
        {"192.0.2.128/25", "192.0.2.128", true},
        {"192.0.2.128/25", "192.0.2.127", false},
        {"0.0.0.0/0", "255.0.0.1", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "192.0.2.1", true},
        {"2001:db8::/32", "2001:db8:ffff::1", true},
        {"2001:db8::/32", "2001:db9::", false},
        {"2001:db8::/33", "2001:db8:7fff::", true},
        {"2001:db8::/33", "2001:db8:8000::", false},
        {"::1", "::1", true},
        {"::ffff:192.0.2.0/120", "192.0.2.9", true},
    };
    struct network n;
    uint8_t address[16];
    char err[200];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(network_parse(str_from(rows[i].network), &n, err, sizeof(err)), 0);
        assert_int_equal(ip_parse(str_from(rows[i].address), address), 0);
        if (network_has(&n, address) != rows[i].has)
            fail_msg("%s, %s", rows[i].network, rows[i].address);
    }
}

static void malformed_networks(void **state UNUSED)
{
    static const struct {
        const char *text, *err;
    } rows[] = {
        {"", "is no network"},
        {"localhost", "is no network"},
        {"/8", "is no network"},
        {"10.0.0.0/", "from 0 to 32"},
        {"10.0.0.0/33", "from 0 to 32"},
        {"10.0.0.0/8x", "from 0 to 32"},
        {"::/129", "from 0 to 128"},
        {"10.0.0.1/8", "bits behind the first 8"},
        {"2001:db8::1/32", "bits behind the first 32"},
    };
    struct network n;
    char err[200];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(network_parse(str_from(rows[i].text), &n, err, sizeof(err)), -1);
        assert_non_null(strstr(err, rows[i].err));
    }
}

static void lists(void **state UNUSED)
{
    static struct networks list;
    uint8_t address[16];

    networks_read(&list, "");
    assert_int_equal(list.n, 0);
    assert_false(list.unix_peers);
    networks_read(&list, "10.0.0.0/8\nnonsense\n::1\nunix:");
    assert_int_equal(list.n, 2);
    assert_true(list.unix_peers);
    assert_int_equal(ip_parse(STR_LIT("::1"), address), 0);
    assert_true(networks_have(&list, address));
    assert_int_equal(ip_parse(STR_LIT("9.0.0.1"), address), 0);
    assert_false(networks_have(&list, address));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),
        cmocka_unit_test(what_a_network_has),
        cmocka_unit_test(malformed_networks),
        cmocka_unit_test(lists),
    };

    return cmocka_run_group_tests_name("base/network", tests, NULL, NULL);
}
