/* codec/tls13: alerts, KeyUpdate, and whatever else may come after a handshake. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/tls13.c"
#include "tls13_harness.h"

static void alerts(void **state UNUSED)
{
    for (unsigned level = 0; level < 4; level++)
        for (unsigned alert = 0; alert < 256; alert++) {
            const uint8_t a[2] = {(uint8_t)level, (uint8_t)alert};

            start(0x1301);
            assert_int_equal(hear(21, a, 2, 0), alert == 0    ? TLS13_EVENT_CLOSED
                                                : alert == 90 ? TLS13_EVENT_QUIET
                                                              : TLS13_EVENT_ALERT);
            assert_int_equal(opened.alert, alert);
        }
    start(0x1301);
    expect_fatal(hear(21, "", 0, 0), TLS13_UNEXPECTED_MESSAGE);
    start(0x1301);
    expect_fatal(hear(21, "", 0, 10), TLS13_UNEXPECTED_MESSAGE);
    start(0x1301);
    expect_fatal(hear(21, "\1", 1, 0), TLS13_DECODE_ERROR); /* the rest does not follow */
    start(0x1301);
    expect_fatal(hear(21, "\1\0\1\0", 4, 0), TLS13_DECODE_ERROR);
}

/* Ours open at the peer. */
static void alerts_of_ours(void **state UNUSED)
{
    size_t n = tls13_seal_alert(&us, TLS13_CLOSE_NOTIFY, wire);

    assert_int_equal(tls13_open(&peer, wire, n, plain, &opened), TLS13_EVENT_CLOSED);
    assert_memory_equal(plain, "\1\0", 2);
    n = tls13_seal_alert(&us, TLS13_DECODE_ERROR, wire);
    assert_int_equal(tls13_open(&peer, wire, n, plain, &opened), TLS13_EVENT_ALERT);
    assert_memory_equal(plain, "\2\x32", 2);
}

/* The peer updates its keys; the message in pieces of so many bytes. */
static void update_peer(bool request, size_t piece)
{
    const uint8_t m[5] = {24, 0, 0, 1, request};

    for (size_t i = 0; i < 5; i += piece)
        assert_int_equal(hear(22, m + i, MIN(piece, 5 - i), 0), TLS13_EVENT_QUIET);
    assert_int_equal(tls13_keys_update(&peer, &peer.out), 0);
}

static void key_updates(void **state UNUSED)
{
    for (unsigned cipher = 0x1301; cipher <= 0x1303; cipher++) {
        teardown(NULL);
        start(cipher);
        for (size_t piece = 1; piece <= 5; piece++) {
            size_t n;

            update_peer(false, piece);
            assert_false(tls13_update_due(&us));
            expect_data(100);
            update_peer(true, piece);
            update_peer(true, piece);
            expect_data(100);
            for (int answers = 0; answers < 2; answers++) {
                assert_true(tls13_update_due(&us));
                n = tls13_seal_update(&us, wire);
                if (answers == 0)
                    assert_int_equal(tls13_open(&peer, wire, n, plain, &opened), TLS13_EVENT_QUIET);
            }
            assert_int_equal(n, TLS13_OVERHEAD + 5);
            assert_false(tls13_update_due(&us));
            assert_int_equal(tls13_open(&peer, wire, n, plain, &opened), TLS13_EVENT_QUIET);
            assert_memory_equal(plain, "\x18\0\0\1\0", 5);
            assert_false(tls13_update_due(&peer)); /* it was not asked */
            n = tls13_seal(&us, TLS13_DATA, text, 10, wire);
            assert_int_equal(tls13_open(&peer, wire, n, plain, &opened), TLS13_EVENT_DATA);
            assert_int_equal(us.out.seq, 1);
        }
    }
}

static void handshake_messages_that_are_wrong(void **state UNUSED)
{
    static const struct {
        const char *text;
        size_t n;
        enum tls13_alert alert;
    } cases[] = {
        {"", 0, TLS13_UNEXPECTED_MESSAGE},
        {"\x18\0\0\0", 4, TLS13_DECODE_ERROR},
        {"\x18\0\0\2\0\0", 6, TLS13_DECODE_ERROR},
        {"\x18\0\1\1\0", 5, TLS13_DECODE_ERROR},
        {"\x18\1\0\1\0", 5, TLS13_DECODE_ERROR},
        {"\x18\xff\xff\xff", 4, TLS13_DECODE_ERROR},
        {"\x18\0\0\1\2", 5, TLS13_ILLEGAL_PARAMETER},
        {"\x18\0\0\1\xff", 5, TLS13_ILLEGAL_PARAMETER},
        {"\x18\0\0\1\0\x18\0\0\1\0", 10, TLS13_UNEXPECTED_MESSAGE},
        {"\x18\0\0\1\0\x18", 6, TLS13_UNEXPECTED_MESSAGE},
        {"\x18\0\0\1\1\x01\0\0\1", 9, TLS13_UNEXPECTED_MESSAGE},
        {"\x01\0\0\x10", 4, TLS13_UNEXPECTED_MESSAGE},       /* ClientHello: renegotiation */
        {"\x04\0\0\x10", 4, TLS13_UNEXPECTED_MESSAGE},       /* NewSessionTicket */
        {"\x05\0\0\0", 4, TLS13_UNEXPECTED_MESSAGE},         /* EndOfEarlyData */
        {"\x0b\0\0\4\0\0\0\0", 8, TLS13_UNEXPECTED_MESSAGE}, /* Certificate, not asked for */
        {"\x0f\0\0\4", 4, TLS13_UNEXPECTED_MESSAGE},
        {"\x14\0\0\x20", 4, TLS13_UNEXPECTED_MESSAGE}, /* Finished */
        {"\xfe\0\0\0", 4, TLS13_UNEXPECTED_MESSAGE},   /* message_hash */
        {"\0\0\0\0", 4, TLS13_UNEXPECTED_MESSAGE},     /* HelloRequest */
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        start(0x1301);
        expect_fatal(hear(22, cases[i].text, cases[i].n, 0), cases[i].alert);
    }
    for (unsigned type = 0; type < 256; type++) { /* the type alone decides */
        const uint8_t m = (uint8_t)type;

        start(0x1301);
        assert_int_equal(hear(22, &m, 1, 0), type == 24 ? TLS13_EVENT_QUIET : TLS13_EVENT_FATAL);
    }
}

/* RFC 8446 §5.1: between the pieces of a message nothing comes. */
static void pieces_are_not_interleaved(void **state UNUSED)
{
    for (size_t n = 1; n < 5; n++) {
        start(0x1301);
        assert_int_equal(hear(22, "\x18\0\0\1", n, 0), TLS13_EVENT_QUIET);
        expect_fatal(hear(23, "a", 1, 0), TLS13_UNEXPECTED_MESSAGE);
        start(0x1301);
        assert_int_equal(hear(22, "\x18\0\0\1", n, 0), TLS13_EVENT_QUIET);
        expect_fatal(hear(23, "", 0, 0), TLS13_UNEXPECTED_MESSAGE);
        start(0x1301);
        assert_int_equal(hear(22, "\x18\0\0\1", n, 0), TLS13_EVENT_QUIET);
        expect_fatal(hear(21, "\1\0", 2, 0), TLS13_UNEXPECTED_MESSAGE);
        start(0x1301);
        assert_int_equal(hear(22, "\x18\0\0\1", n, 0), TLS13_EVENT_QUIET);
        expect_fatal(hear(22, "", 0, 0), TLS13_UNEXPECTED_MESSAGE);
        start(0x1301); /* a second message begins in the record that ends the first */
        assert_int_equal(hear(22, "\x18\0\0\1", n, 0), TLS13_EVENT_QUIET);
        expect_fatal(hear(22, &"\x18\0\0\1\0\x18"[n], 6 - n, 0), TLS13_UNEXPECTED_MESSAGE);
    }
}

static void records_that_bring_nothing_are_limited(void **state UNUSED)
{
    for (int i = 0; i < TLS13_QUIET_MAX; i++)
        assert_int_equal(hear(23, "", 0, 0), TLS13_EVENT_QUIET);
    expect_data(1); /* that counts anew */
    for (int i = 0; i < TLS13_QUIET_MAX; i++)
        update_peer(true, 5);
    expect_fatal(hear(23, "", 0, 0), TLS13_UNEXPECTED_MESSAGE);
}

/* As many records as a key may seal, then another. */
static void keys_do_not_grow_old(void **state UNUSED)
{
    size_t n;

    us.out.seq = peer.in.seq = TLS13_RECORDS_MAX - 2;
    assert_false(tls13_update_due(&us));
    n = tls13_seal(&us, TLS13_DATA, text, 10, wire);
    assert_int_equal(tls13_open(&peer, wire, n, plain, &opened), TLS13_EVENT_DATA);
    assert_true(tls13_update_due(&us));
    n = tls13_seal_update(&us, wire);
    assert_int_equal(tls13_open(&peer, wire, n, plain, &opened), TLS13_EVENT_QUIET);
    assert_memory_equal(plain, "\x18\0\0\1\0", 5);
    assert_int_equal(us.out.seq, 0);
    assert_int_equal(peer.in.seq, 0);
    n = tls13_seal(&us, TLS13_DATA, text, 10, wire);
    assert_int_equal(tls13_open(&peer, wire, n, plain, &opened), TLS13_EVENT_DATA);

    /* The peer's: it is asked for another. */
    us.in.seq = peer.out.seq = TLS13_RECORDS_MAX - 2;
    expect_data(10);
    assert_false(tls13_update_due(&us));
    expect_data(10);
    assert_true(tls13_update_due(&us));
    n = tls13_seal_update(&us, wire);
    assert_int_equal(tls13_open(&peer, wire, n, plain, &opened), TLS13_EVENT_QUIET);
    assert_memory_equal(plain, "\x18\0\0\1\1", 5);
    assert_true(tls13_update_due(&peer));
    expect_data(10); /* once */
    assert_false(tls13_update_due(&us));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(alerts),
        T(alerts_of_ours),
        T(key_updates),
        T(handshake_messages_that_are_wrong),
        T(pieces_are_not_interleaved),
        T(records_that_bring_nothing_are_limited),
        T(keys_do_not_grow_old),
    };

    return cmocka_run_group_tests_name("codec/tls13_messages", tests, NULL, NULL);
}
