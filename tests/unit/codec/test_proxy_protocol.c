/* codec/proxy_protocol: each header whole and as every prefix of it, which is every split, as the
 * parser keeps no state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "codec/proxy_protocol.c"

#define L(literal)                                                                                 \
    {                                                                                              \
        .p = (literal), .n = sizeof(literal) - 1                                                   \
    }
#define SIG    "\r\n\r\n\0\r\nQUIT\n"
#define FROM_4 "\xc0\x00\x02\x01\xc0\x00\x02\x02\xc3\x50\x01\xbb"
#define FROM_6                                                                                     \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\xc3\x50\x01\xbb"
#define ZEROS_8  "\0\0\0\0\0\0\0\0"
#define ZEROS_72 ZEROS_8 ZEROS_8 ZEROS_8 ZEROS_8 ZEROS_8 ZEROS_8 ZEROS_8 ZEROS_8 ZEROS_8
#define TLV_NAME                                                                                   \
    "\x02\0\x0b"                                                                                   \
    "example.org"

static int parse_once(struct str text, struct proxy_header *out, enum close_reason *why)
{
    char *copy = malloc(text.n + 1); /* so that a sanitizer sees any look beyond it */
    struct str in;
    int rc;

    assert_non_null(copy);
    memcpy(copy + 1, text.p, text.n);
    in = (struct str){copy + 1, text.n};
    rc = proxy_header_parse(&in, out, why);
    assert_true(rc > 0 || in.n == text.n);
    free(copy);
    return rc;
}

/* Whole, behind every prefix, and with more behind it. */
static struct proxy_header assert_header(struct str text)
{
    static char longer[PROXY_HEADER_MAX + 16];
    enum close_reason why = CLOSE_NONE;
    struct proxy_header h;
    struct str in = text;

    for (size_t n = 0; n < text.n; n++)
        assert_int_equal(parse_once((struct str){text.p, n}, &h, &why), 0);
    memcpy(longer, text.p, text.n);
    memcpy(longer + text.n, "PROXY ", 6);
    in = (struct str){longer, text.n + 6};
    assert_int_equal(proxy_header_parse(&in, &h, &why), 1);
    assert_int_equal(in.n, 6);
    in = text;
    assert_int_equal(proxy_header_parse(&in, &h, &why), 1);
    assert_int_equal(in.n, 0);
    return h;
}

/* The last byte is the one that proves it wrong. */
static void assert_refused(struct str text, enum close_reason expected)
{
    enum close_reason why = CLOSE_NONE;
    struct proxy_header h;

    for (size_t n = 0; n < text.n; n++)
        if (parse_once((struct str){text.p, n}, &h, &why) != 0)
            fail_msg("%zu of %zu bytes: %.*s", n, text.n, STR_ARG(text));
    if (parse_once(text, &h, &why) != -1)
        fail_msg("not refused: %.*s", STR_ARG(text));
    assert_int_equal(why, expected);
}

static void assert_source(const struct proxy_header *h, const char *address, unsigned port)
{
    uint8_t bytes[16];

    assert_true(h->addressed);
    assert_int_equal(ip_parse(str_from(address), bytes), 0);
    assert_memory_equal(h->source, bytes, 16);
    assert_int_equal(h->source_port, port);
}

static void version_1(void **state UNUSED)
{
    static const struct {
        struct str text;
        const char *address; /* NULL: not said */
        unsigned port;
    } rows[] = {
        {L("PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\r\n"), "192.0.2.1", 50000},
        {L("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), "255.255.255.255", 65535},
        {L("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n"), "0.0.0.0", 0},
        {L("PROXY TCP6 2001:db8::1 ::1 1 2\r\n"), "2001:db8::1", 1},
        {L("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n"), "192.0.2.1", 1},
        {L("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
           "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
           "65535 65535\r\n"),
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535},
        {L("PROXY UNKNOWN\r\n"), NULL, 0},
        {L("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
           "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
         NULL, 0}, /* 107 bytes */
        {L("PROXY UNKNOWN TCP4 192.0.2.1\r 2\r\n"), NULL, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct proxy_header h = assert_header(rows[i].text);

        assert_int_equal(h.version, 1);
        assert_false(h.local);
        if (rows[i].address == NULL)
            assert_false(h.addressed);
        else
            assert_source(&h, rows[i].address, rows[i].port);
    }
}

static void version_1_malformed(void **state UNUSED)
{
    static const struct str rows[] = {
        L("PROXY \r\n"),
        L("PROXY \n"),
        L("PROXY UNKNOWN\n"),
        L("PROXY UNKNOWNX\r\n"),
        L("PROXY unknown\r\n"),
        L("PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n"),
        L("PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n"),
        L("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n"),
        L("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n"),
        L("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n"),
        L("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n"),
        L("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n"),
        L("PROXY TCP4 192.0.2.1\t192.0.2.2 1 2\r\n"),
        L("PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n"),
        L("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n"),
        L("PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n"),
        L("PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n"),
        L("PROXY TCP4 192.0.2.1 192.0.2.2 1 123456\r\n"),
        L("PROXY TCP4 ::1 192.0.2.2 1 2\r\n"),
        L("PROXY TCP4 ::1 ::1 1 2\r\n"),
        L("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n"),
        L("PROXY TCP6 ::1 192.0.2.2 1 2\r\n"),
        L("PROXY TCP6 ::g ::1 1 2\r\n"),
        L("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n"),
        L("PROXY TCP4 client.example 192.0.2.2 1 2\r\n"),
        /* 107 bytes without an end */
        L("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
          "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 655355\r"),
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_refused(rows[i], CLOSE_PROXY_HEADER);
}

static void no_header_at_all(void **state UNUSED)
{
    static const struct str rows[] = {L("G"),         L("PROXX"), L("PROXY\r"), L("\x16"),
                                      L("\r\n\r\nG"), L("\n"),    L("PRI")};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_refused(rows[i], CLOSE_PROXY_MISSING);
}

static void version_2(void **state UNUSED)
{
    struct proxy_header h;

    h = assert_header((struct str)L(SIG "\x21\x11\0\x0c" FROM_4));
    assert_int_equal(h.version, 2);
    assert_source(&h, "192.0.2.1", 50000);
    assert_null(h.authority.p);
    assert_null(h.tls_version.p);
    h = assert_header((struct str)L(SIG "\x21\x21\0\x24" FROM_6));
    assert_source(&h, "2001:db8::1", 50000);
    /* A UNIX socket's client has no address. */
    h = assert_header((struct str)L(SIG "\x21\x31\0\xd8" ZEROS_72 ZEROS_72 ZEROS_72));
    assert_false(h.addressed);
    assert_false(h.local);
    h = assert_header((struct str)L(SIG "\x21\0\0\x04"
                                        "\x02\xff\xff!"));
    assert_false(h.addressed);
}

/* All that follows is to be ignored, the family too. */
static void local(void **state UNUSED)
{
    static const struct str rows[] = {L(SIG "\x20\0\0\0"), L(SIG "\x20\x11\0\x0c" FROM_4),
                                      L(SIG "\x20\x77\0\x02??")};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct proxy_header h = assert_header(rows[i]);

        assert_true(h.local);
        assert_false(h.addressed);
    }
}

static void version_2_malformed(void **state UNUSED)
{
    static const struct str rows[] = {
        L(SIG "\x11"), /* version */
        L(SIG "\x31"),
        L(SIG "\x22"),     /* command */
        L(SIG "\x21\x12"), /* UDP */
        L(SIG "\x21\x41"), /* family */
        L(SIG "\x21\x10"),
        L(SIG "\x21\x01"),
        L(SIG "\x21\x11\0\x0b"), /* less than two addresses */
        L(SIG "\x21\x21\0\x23"),
        L(SIG "\x21\x31\0\xd7"),
        L(SIG "\x21\x11\x0f\xf1"), /* 4097 bytes */
        L(SIG "\x20\x11\xff\xff"),
        L(SIG "\x21\x11\0\x0d" FROM_4 "\x04"), /* TLVs cut off */
        L(SIG "\x21\x11\0\x0e" FROM_4 "\x04\0"),
        L(SIG "\x21\x11\0\x10" FROM_4 "\x04\0\x02x"),
        L(SIG "\x21\x11\0\x13" FROM_4 "\x03\0\x04\0\0\0\0"), /* checksum */
        L(SIG "\x21\x11\0\x12" FROM_4 "\x03\0\x03\0\0\0"),
        L(SIG "\x21\x11\0\x13" FROM_4 "\x20\0\x04\x01\0\0\0"), /* SSL: short, cut off */
        L(SIG "\x21\x11\0\x16" FROM_4 "\x20\0\x07\x01\0\0\0\0\x21\0"),
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_refused(rows[i], CLOSE_PROXY_HEADER);
}

static void longest(void **state UNUSED)
{
    static char text[PROXY_HEADER_MAX] = SIG "\x21\x11\x0f\xf0" FROM_4 "\x04\x0f\xe1";

    assert_int_equal(assert_header((struct str){text, sizeof(text)}).source_port, 50000);
}

static void details(void **state UNUSED)
{
    struct proxy_header h;

    h = assert_header((struct str)L(SIG "\x21\x11\0\x1d" FROM_4 TLV_NAME "\x04\0\0"));
    assert_true(str_equal(h.authority, STR_LIT("example.org")));
    /* By TLS, with a certificate that the proxy has verified. */
    h = assert_header((struct str)L(SIG "\x21\x11\0\x24" FROM_4 "\x20\0\x15\x07\0\0\0\0"
                                        "\x21\0\x07"
                                        "TLSv1.3"
                                        "\x22\0\x03"
                                        "ada"));
    assert_true(str_equal(h.tls_version, STR_LIT("TLSv1.3")));
    assert_true(str_equal(h.tls_subject, STR_LIT("ada")));
    assert_true(h.tls_verified);
    /* Not verified; no certificate at all; no TLS. */
    h = assert_header((struct str)L(SIG "\x21\x11\0\x14" FROM_4 "\x20\0\x05\x07\0\0\0\x01"));
    assert_false(h.tls_verified);
    assert_true(str_equal(h.tls_version, STR_LIT("TLS")));
    h = assert_header((struct str)L(SIG "\x21\x11\0\x14" FROM_4 "\x20\0\x05\x01\0\0\0\0"));
    assert_false(h.tls_verified);
    h = assert_header((struct str)L(SIG "\x21\x11\0\x14" FROM_4 "\x20\0\x05\0\0\0\0\0"));
    assert_null(h.tls_version.p);
}

static void checksum(void **state UNUSED)
{
    static const char good[] = SIG "\x21\x11\0\x13" FROM_4 "\x03\0\x04"
                                   "CRC!";
    char text[sizeof(good) - 1];
    uint32_t crc;

    /* RFC 3720 §B.4: 32 bytes of zeros. */
    assert_int_equal(~crc32c(UINT32_MAX, (struct str)L(ZEROS_8 ZEROS_8 ZEROS_8 ZEROS_8)),
                     UINT32_C(0x8a9136aa));
    memcpy(text, good, sizeof(text));
    memset(text + sizeof(text) - 4, 0, 4);
    crc = ~crc32c(UINT32_MAX, (struct str){text, sizeof(text)});
    for (int i = 0; i < 4; i++)
        text[sizeof(text) - 4 + (size_t)i] = (char)(crc >> (24 - 8 * i));
    assert_int_equal(assert_header((struct str){text, sizeof(text)}).source_port, 50000);
    for (size_t i = 16; i < sizeof(text); i++) { /* a bit of it is wrong */
        if (i >= 28 && i < 31)                   /* the TLV's head: another TLV */
            continue;
        text[i] ^= 0x10;
        assert_refused((struct str){text, sizeof(text)}, CLOSE_PROXY_HEADER);
        text[i] ^= 0x10;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_1),
        cmocka_unit_test(version_1_malformed),
        cmocka_unit_test(no_header_at_all),
        cmocka_unit_test(version_2),
        cmocka_unit_test(local),
        cmocka_unit_test(version_2_malformed),
        cmocka_unit_test(longest),
        cmocka_unit_test(details),
        cmocka_unit_test(checksum),
    };

    return cmocka_run_group_tests_name("codec/proxy_protocol", tests, NULL, NULL);
}
