/* tests/unit/codec/tls13_harness.h - a connection and its peer, which is a struct tls13 with the
 * secrets the other way round and may seal what it wants. Include behind codec/tls13.c. */
#ifndef TESTS_CODEC_TLS13_HARNESS_H
#define TESTS_CODEC_TLS13_HARNESS_H

static struct tls13 us, peer;
static uint8_t wire[TLS13_RECORD_MAX + 100], plain[TLS13_RECORD_MAX + 100], text[20000];
static struct tls13_opened opened;

static UNUSED void start(unsigned cipher)
{
    struct tls13_secrets s = {.in_len = cipher == 0x1302 ? 48 : 32};

    s.out_len = s.in_len;
    memset(s.in, 1, s.in_len);
    memset(s.out, 2, s.out_len);
    assert_int_equal(tls13_init(&us, cipher, &s), 0);
    memset(s.in, 2, s.in_len);
    memset(s.out, 1, s.out_len);
    assert_int_equal(tls13_init(&peer, cipher, &s), 0);
}

static UNUSED int setup(void **state UNUSED)
{
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (uint8_t)(i * 7 % 251);
    start(0x1301);
    return 0;
}

static UNUSED int teardown(void **state UNUSED)
{
    tls13_fini(&us);
    tls13_fini(&peer);
    return 0;
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

/* `from` seals an inner plaintext as it stands, which need not be one. */
static UNUSED size_t seal_raw(struct tls13 *from, const uint8_t *inner, size_t n)
{
    size_t size = n + TLS13_TAG;

    wire[0] = 23;
    wire[1] = wire[2] = 3;
    wire[3] = (uint8_t)(size >> 8);
    wire[4] = (uint8_t)size;
    if (n > 0)
        memmove(wire + 5, inner, n - 1);
    if (n > 0)
        assert_int_equal(
            tls13_aead_seal(from, &from->out, wire, wire + 5, n - 1, inner[n - 1], wire + 5), 0);
    return 5 + size;
}

static UNUSED enum tls13_event open_wire(size_t size)
{
    enum tls13_alert alert;
    ssize_t n = tls13_record_size(wire, size, &alert);

    if (n == -1) {
        opened.alert = alert;
        return TLS13_EVENT_FATAL;
    }
    assert_int_equal(n, size);
    return tls13_open(&us, wire, size, plain, &opened);
}

/* The peer sends content of a type with so much padding. */
static UNUSED enum tls13_event hear(unsigned type, const void *content, size_t n, size_t padding)
{
    static uint8_t inner[TLS13_RECORD_MAX];

    memset(inner, 0, sizeof(inner));
    if (n > 0)
        memcpy(inner, content, n);
    inner[n] = (uint8_t)type;
    return open_wire(seal_raw(&peer, inner, n + 1 + padding));
}

static UNUSED void expect_fatal(enum tls13_event e, enum tls13_alert alert)
{
    assert_int_equal(e, TLS13_EVENT_FATAL);
    assert_int_equal(opened.alert, alert);
    assert_int_equal(opened.n, 0);
}

static UNUSED void expect_data(size_t n)
{
    assert_int_equal(hear(23, text, n, 0), TLS13_EVENT_DATA);
    assert_int_equal(opened.n, n);
    assert_memory_equal(plain, text, n);
}

#endif
