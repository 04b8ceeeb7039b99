/* codec/tls13: records against RFC 8448, and what each fault in one is answered with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "codec/tls13.c"
#include "tls13_harness.h"

static size_t from_hex(const char *hex, uint8_t *out)
{
    size_t n = 0;
    unsigned byte;

    for (; *hex != '\0'; hex++)
        if (*hex != ' ') {
            assert_int_equal(sscanf(hex, "%2x", &byte), 1);
            out[n++] = (uint8_t)byte;
            hex++;
        }
    return n;
}

/* RFC 8448 §3: the records of the open connection, both ways. */
static void rfc_8448(void **state UNUSED)
{
    static const char *client =
        "17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 "
        "bc ab 3f 2b 98 19 a8 a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 "
        "14 bd 1e 3d ea e6 3a ee bb 21 69 49 15 e4";
    static const char *server =
        "17 03 03 00 43 2e 93 7e 11 ef 4a c7 40 e5 38 ad 36 00 5f c4 a4 69 32 fc 32 25 d0 5f 82 "
        "aa 1b 36 e3 0e fa f9 7d 90 e6 df fc 60 2d cb 50 1a 59 a8 fc c4 9c 4b f2 e5 f0 a2 1c 00 "
        "47 c2 ab f3 32 54 0d d0 32 e1 67 c2 95 5d";
    struct tls13_secrets s = {.in_len = 32, .out_len = 32, .out_seq = 1}; /* a ticket was sent */
    uint8_t expected[100], key[32];
    size_t n;

    from_hex("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5", s.in);
    from_hex("a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643", s.out);
    tls13_fini(&us);
    assert_int_equal(tls13_init(&us, 0x1301, &s), 0);
    n = from_hex("17422dda596ed5d9acd890e3c63f5051", key);
    assert_memory_equal(us.in.key, key, n);
    n = from_hex("5b78923dee08579033e523d9", key);
    assert_memory_equal(us.in.iv, key, n);
    n = from_hex("9f02283b6c9c07efc26bb9f2ac92e356", key);
    assert_memory_equal(us.out.key, key, n);
    n = from_hex("cf782b88dd83549aadf1e984", key);
    assert_memory_equal(us.out.iv, key, n);

    for (size_t i = 0; i < 50; i++)
        text[i] = (uint8_t)i;
    n = from_hex(client, wire);
    assert_int_equal(open_wire(n), TLS13_EVENT_DATA);
    assert_int_equal(opened.n, 50);
    assert_memory_equal(plain, text, 50);
    n = from_hex(server, expected);
    assert_int_equal(tls13_seal(&us, TLS13_DATA, text, 50, wire), n);
    assert_memory_equal(wire, expected, n);

    n = from_hex("17 03 03 00 13 c9 87 27 60 65 56 66 b7 4d 7f f1 15 3e fd 6d b6 d0 b0 e3", wire);
    assert_int_equal(open_wire(n), TLS13_EVENT_CLOSED);
    n = from_hex("17 03 03 00 13 b5 8f d6 71 66 eb f5 99 d2 47 20 cf be 7e fa 7a 88 64 a9",
                 expected);
    assert_int_equal(tls13_seal_alert(&us, TLS13_CLOSE_NOTIFY, wire), n);
    assert_memory_equal(wire, expected, n);
}

static void every_suite_both_ways(void **state UNUSED)
{
    static const size_t sizes[] = {0, 1, 2, 15, 16, 17, 100, 1400, 16383, 16384};

    for (unsigned cipher = 0x1301; cipher <= 0x1303; cipher++) {
        teardown(NULL);
        start(cipher);
        assert_non_null(strstr(tls13_suite_name(&us), "TLS_"));
        for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
            for (int in_place = 0; in_place < 2; in_place++) {
                size_t n = sizes[i], size;
                uint8_t *to = in_place ? wire + 5 : plain;

                if (in_place)
                    memcpy(wire + 5, text, n);
                size = tls13_seal(&peer, TLS13_DATA, in_place ? wire + 5 : text, n, wire);
                assert_int_equal(size, n + TLS13_OVERHEAD);
                assert_int_equal(tls13_open(&us, wire, size, to, &opened),
                                 n > 0 ? TLS13_EVENT_DATA : TLS13_EVENT_QUIET);
                assert_int_equal(opened.n, n);
                assert_memory_equal(to, text, n);
                assert_true(tls13_seal(&us, TLS13_DATA, text, n, wire) > 0);
                assert_true(tls13_open(&peer, wire, size, plain, &opened) <= TLS13_EVENT_QUIET);
                assert_memory_equal(plain, text, n);
            }
    }
}

static void what_it_cannot_begin_with(void **state UNUSED)
{
    struct tls13_secrets s = {.in_len = 32, .out_len = 32};
    struct tls13 t;

    assert_int_equal(tls13_init(&t, 0x1304, &s), -1); /* AES-128-CCM */
    assert_int_equal(tls13_init(&t, 0xc02f, &s), -1);
    assert_int_equal(tls13_init(&t, 0x1302, &s), -1); /* a secret of SHA-256's length */
    s.in_len = 0;
    assert_int_equal(tls13_init(&t, 0x1301, &s), -1);
    s.in_len = 32, s.out_len = 48;
    assert_int_equal(tls13_init(&t, 0x1301, &s), -1);
}

/* All bytes of all records, one flipped. */
static void nothing_forged_is_taken(void **state UNUSED)
{
    size_t size = tls13_seal(&peer, TLS13_DATA, text, 20, wire);

    for (size_t i = 0; i < size; i++) {
        struct tls13 before = us;

        wire[i] ^= 1;
        if (i >= 5)
            expect_fatal(open_wire(size), TLS13_BAD_RECORD_MAC);
        wire[i] ^= 1;
        tls13_aead_forget(&us.in);
        us = before;
    }
    assert_int_equal(open_wire(size), TLS13_EVENT_DATA);
    expect_fatal(open_wire(size), TLS13_BAD_RECORD_MAC); /* a second time */
}

static void heads(void **state UNUSED)
{
    static const struct {
        uint8_t head[5];
        ssize_t size;
        enum tls13_alert alert;
    } cases[] = {
        {{23, 3, 3, 0, 17}, 22, 0},
        {{23, 3, 3, 0x41, 0}, 5 + 16384 + 256, 0},
        {{23, 3, 3, 0, 16}, 21, 0},
        {{23, 3, 3, 0x41, 1}, -1, TLS13_RECORD_OVERFLOW},
        {{23, 3, 3, 0xff, 0xff}, -1, TLS13_RECORD_OVERFLOW},
        {{23, 3, 3, 0, 15}, -1, TLS13_BAD_RECORD_MAC},
        {{23, 3, 3, 0, 0}, -1, TLS13_BAD_RECORD_MAC},
        {{20, 3, 3, 0, 1}, -1, TLS13_UNEXPECTED_MESSAGE},  /* change_cipher_spec */
        {{21, 3, 3, 0, 2}, -1, TLS13_UNEXPECTED_MESSAGE},  /* an alert in the clear */
        {{22, 3, 1, 1, 0}, -1, TLS13_UNEXPECTED_MESSAGE},  /* ClientHello */
        {{24, 3, 3, 0, 20}, -1, TLS13_UNEXPECTED_MESSAGE}, /* heartbeat */
        {{0, 3, 3, 0, 20}, -1, TLS13_UNEXPECTED_MESSAGE},
        {{'G', 'E', 'T', ' ', '/'}, -1, TLS13_UNEXPECTED_MESSAGE},
        {{23, 3, 1, 0, 20}, -1, TLS13_DECODE_ERROR},
        {{23, 3, 4, 0, 20}, -1, TLS13_DECODE_ERROR},
        {{23, 2, 3, 0, 20}, -1, TLS13_DECODE_ERROR},
    };
    enum tls13_alert alert;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(tls13_record_size(cases[i].head, 5, &alert), cases[i].size);
        if (cases[i].size == -1)
            assert_int_equal(alert, cases[i].alert);
        for (size_t n = 0; n < 5; n++) /* the type is seen at once, the rest when it is there */
            assert_int_equal(tls13_record_size(cases[i].head, n, &alert),
                             n > 0 && cases[i].head[0] != 23 ? -1 : 0);
    }
}

/* RFC 8446 §5.4 */
static void padding(void **state UNUSED)
{
    static const uint8_t zeros[17000];

    for (size_t pad = 0; pad < 300; pad++) {
        assert_int_equal(hear(23, text, 5, pad), TLS13_EVENT_DATA);
        assert_int_equal(opened.n, 5);
    }
    assert_int_equal(hear(23, text, 5, 16384 - 5), TLS13_EVENT_DATA);
    assert_int_equal(hear(23, "", 0, 16384), TLS13_EVENT_QUIET);
    assert_int_equal(hear(23, text, 16384, 0), TLS13_EVENT_DATA);
    assert_int_equal(hear(21, "\1\0", 2, 1000), TLS13_EVENT_CLOSED);
    assert_int_equal(hear(22, "\x18\0\0\1\0", 5, 1000), TLS13_EVENT_QUIET);
    assert_int_equal(tls13_keys_update(&peer, &peer.out), 0);
    /* Content whose end is zeros is content. */
    assert_int_equal(hear(23, zeros, 100, 100), TLS13_EVENT_DATA);
    assert_int_equal(opened.n, 100);
    expect_fatal(open_wire(seal_raw(&peer, zeros, 1)), TLS13_UNEXPECTED_MESSAGE);
    start(0x1301);
    expect_fatal(open_wire(seal_raw(&peer, zeros, 16385)), TLS13_UNEXPECTED_MESSAGE);
    start(0x1301);
    expect_fatal(hear(23, text, 16384, 1), TLS13_RECORD_OVERFLOW);
    start(0x1301);
    expect_fatal(hear(23, text, 16385, 0), TLS13_RECORD_OVERFLOW);
    start(0x1301);
    expect_fatal(hear(23, text, 1, 16384 + 238), TLS13_RECORD_OVERFLOW);
}

/* An authentic record with nothing in it, its type included. */
static void a_record_of_nothing(void **state UNUSED)
{
    EVP_CIPHER_CTX *ctx;
    int n;

    wire[0] = 23, wire[1] = wire[2] = 3, wire[3] = 0, wire[4] = 16;
    ctx = EVP_CIPHER_CTX_new();
    EVP_CipherInit_ex(ctx, EVP_aes_128_gcm(), NULL, peer.out.key, peer.out.iv, 1);
    EVP_CipherUpdate(ctx, NULL, &n, wire, 5);
    EVP_CipherFinal_ex(ctx, wire + 5, &n);
    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, wire + 5);
    EVP_CIPHER_CTX_free(ctx);
    expect_fatal(open_wire(21), TLS13_UNEXPECTED_MESSAGE);
}

static void types_that_are_none(void **state UNUSED)
{
    for (unsigned type = 1; type < 256; type++) {
        if (type >= 21 && type <= 23)
            continue;
        start(0x1301);
        expect_fatal(hear(type, "\1", 1, 0), TLS13_UNEXPECTED_MESSAGE);
    }
}

/* Two connections on one context, whose order is the caller's. */
static void contexts_are_shared(void **state UNUSED)
{
    static uint8_t first[100], second[100];
    struct tls13 others[2];
    size_t n = 0, m = 0;

    others[0] = us;
    others[1] = peer;
    for (int i = 0; i < 10; i++) {
        n = tls13_seal(&peer, TLS13_DATA, text, 10, first);
        m = tls13_seal(&others[1], TLS13_DATA, text + 10, 20, second);
        assert_int_equal(tls13_open(&us, first, n, plain, &opened), TLS13_EVENT_DATA);
        assert_memory_equal(plain, text, 10);
        assert_int_equal(tls13_open(&others[0], second, m, plain, &opened), TLS13_EVENT_DATA);
        assert_memory_equal(plain, text + 10, 20);
    }
    /* What has ended leaves no key behind, neither here nor there. */
    tls13_fini(&others[1]);
    tls13_fini(&others[0]);
    for (size_t i = 0; i < sizeof(others); i++)
        assert_int_equal(((const uint8_t *)others)[i], 0);
    start(0x1301);
    n = tls13_seal(&peer, TLS13_DATA, text, 10, first);
    assert_int_equal(tls13_open(&us, first, n, plain, &opened), TLS13_EVENT_DATA);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(rfc_8448),
        T(every_suite_both_ways),
        T(what_it_cannot_begin_with),
        T(nothing_forged_is_taken),
        T(heads),
        T(padding),
        T(a_record_of_nothing),
        T(types_that_are_none),
        T(contexts_are_shared),
    };

    return cmocka_run_group_tests_name("codec/tls13", tests, NULL, NULL);
}
