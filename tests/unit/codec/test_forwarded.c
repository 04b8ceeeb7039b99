/* codec/forwarded: lists of proxies, honest, made up and malformed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/forwarded.c"

#define X   FORWARDED_X_FORWARDED_FOR
#define RFC FORWARDED_RFC_7239

static struct networks trusted;

/* fields: names and values in turn, up to NULL. */
static int ask(const char *const *fields, enum forwarded_field field, struct forwarded_client *out)
{
    static struct http_request r;

    r.nfields = 0;
    for (; fields[0] != NULL; fields += 2)
        r.fields[r.nfields++] =
            (struct http_field){.name = str_from(fields[0]), .value = str_from(fields[1])};
    return forwarded_client(&r, field, &trusted, out);
}

static void assert_client(const char *value, enum forwarded_field field, const char *client)
{
    const char *const fields[] = {names[field].p, value, NULL};
    struct forwarded_client c;
    uint8_t address[16];
    uint16_t port;
    int rc = ask(fields, field, &c);

    if (rc != (client != NULL ? 1 : 0))
        fail_msg("%s: %d", value, rc);
    if (client == NULL)
        return;
    assert_int_equal(ip_parse_port(str_from(client), address, &port), 0);
    if (memcmp(address, c.address, 16) != 0 || port != c.port)
        fail_msg("%s is not %s", value, client);
}

static void x_forwarded_for(void **state UNUSED)
{
    static const char *const rows[][2] = {
        {"203.0.113.9", "203.0.113.9"},
        {" 203.0.113.9 ", "203.0.113.9"},
        {"203.0.113.9:4711", "203.0.113.9:4711"},
        {"2001:db8::9", "2001:db8::9"},
        {"[2001:db8::9]:4711", "[2001:db8::9]:4711"},
        /* proxies of ours in between */
        {"203.0.113.9, 10.0.0.1", "203.0.113.9"},
        {"203.0.113.9,10.0.0.1 ,10.0.0.2", "203.0.113.9"},
        /* they ask for themselves */
        {"10.0.0.3, 10.0.0.1", "10.0.0.3"},
        /* made up by the client */
        {"198.51.100.1, 203.0.113.9", "203.0.113.9"},
        {"10.0.0.7, 203.0.113.9", "203.0.113.9"},
        {"198.51.100.1, 203.0.113.9, 10.0.0.1", "203.0.113.9"},
        {"\", 203.0.113.9", "203.0.113.9"},
        {"\"198.51.100.1, 203.0.113.9", "203.0.113.9"},
        {"unknown, 203.0.113.9", "203.0.113.9"},
        {"<script>, ,, 203.0.113.9", "203.0.113.9"},
        /* what is known of it */
        {"198.51.100.1, unknown, 10.0.0.1", "10.0.0.1"},
        {"198.51.100.1, unknown", NULL},
        {"unknown", NULL},
        {"", NULL},
        {",", NULL},
        {"client.example", NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_client(rows[i][0], X, rows[i][1]);
}

static void forwarded(void **state UNUSED)
{
    static const char *const rows[][2] = {
        {"for=203.0.113.9", "203.0.113.9"},
        {"For=203.0.113.9;proto=https;by=10.0.0.1", "203.0.113.9"},
        {"by=10.0.0.1; for=203.0.113.9", "203.0.113.9"},
        {"for=\"203.0.113.9:4711\"", "203.0.113.9:4711"},
        {"for=\"[2001:db8::9]\"", "2001:db8::9"},
        {"for=\"[2001:db8::9]:4711\"", "[2001:db8::9]:4711"},
        {"for=203.0.113.9, for=10.0.0.1", "203.0.113.9"},
        {"for=198.51.100.1, for=203.0.113.9", "203.0.113.9"},
        {"for=198.51.100.1;host=\"a, for=9.9.9.9\", for=203.0.113.9", "203.0.113.9"},
        {"host=\"a\\\", for=9.9.9.9\"; for=203.0.113.9", "203.0.113.9"},
        {"for=198.51.100.1, for=unknown, for=10.0.0.1", "10.0.0.1"},
        {"for=198.51.100.1, for=_hidden", NULL},
        {"for=198.51.100.1, proto=https", NULL},
        {"for=\"[2001:db8::9]:_port\"", NULL},
        {"proto=https", NULL},
        {"", NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_client(rows[i][0], RFC, rows[i][1]);
}

/* Who has written what is not sure. */
static void malformed(void **state UNUSED)
{
    static const char *const rows[] = {
        "for=198.51.100.1;x=\", for=203.0.113.9",
        "for=198.51.100.1;x=\", for=\"[2001:db8::9]\"",
        "for=198.51.100.1 for=203.0.113.9",
        "for=198.51.100.1; for=203.0.113.9",
        "for",
        "for=",
        "for=2001:db8::9",
        "=x, for=203.0.113.9",
        "203.0.113.9",
        "for=\"203.0.113.9\"x",
    };
    struct forwarded_client c;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *const fields[] = {"forwarded", rows[i], NULL};

        if (ask(fields, RFC, &c) != -1)
            fail_msg("%s", rows[i]);
    }
}

/* One list, whatever stands between, and nothing of the other field. */
static void several_fields(void **state UNUSED)
{
    static const char *const fields[] = {
        "X-Forwarded-For", "198.51.100.1", "Forwarded", "for=192.0.2.7",
        "x-forwarded-for", "203.0.113.9",  "Host",      "a",
        "X-FORWARDED-FOR", "10.0.0.1",     NULL};
    struct forwarded_client c;
    uint8_t address[16];

    assert_int_equal(ask(fields, X, &c), 1);
    assert_int_equal(ip_parse(STR_LIT("203.0.113.9"), address), 0);
    assert_memory_equal(c.address, address, 16);
    assert_int_equal(ask(fields, RFC, &c), 1);
    assert_int_equal(ip_parse(STR_LIT("192.0.2.7"), address), 0);
    assert_memory_equal(c.address, address, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(x_forwarded_for),
        cmocka_unit_test(forwarded),
        cmocka_unit_test(malformed),
        cmocka_unit_test(several_fields),
    };

    networks_read(&trusted, "10.0.0.0/8");
    return cmocka_run_group_tests_name("codec/forwarded", tests, NULL, NULL);
}
