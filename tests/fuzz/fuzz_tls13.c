/* fuzz_tls13 - what an authentic peer, and one that is not, may put into records.
 *
 * Input: a byte that chooses the suite, then records: a byte for the kind, one for the length, the
 * bytes. Most kinds are sealed as a peer with the keys would seal them (the last byte is the type),
 * 0xff: the bytes come as they are. Properties: opening in place and elsewhere gives the same; data
 * is what was sealed; only a whole KeyUpdate changes keys, and then both sides still understand each
 * other; a fault has one of our alerts; what is not authentic is never taken. */
#include "codec/tls13_internal.h"
#include "tests/fuzz/fuzz.h"

static uint8_t wire[TLS13_RECORD_MAX], there[TLS13_RECORD_MAX];

static void make(struct tls13 *us, struct tls13 *peer, unsigned cipher)
{
    struct tls13_secrets s = {.in_len = cipher == 0x1302 ? 48 : 32};

    s.out_len = s.in_len;
    memset(s.in, 1, s.in_len);
    memset(s.out, 2, s.out_len);
    REQUIRE(tls13_init(us, cipher, &s) == 0);
    memset(s.in, 2, s.in_len);
    memset(s.out, 1, s.out_len);
    REQUIRE(tls13_init(peer, cipher, &s) == 0);
}

static bool known(enum tls13_alert alert)
{
    return alert == TLS13_UNEXPECTED_MESSAGE || alert == TLS13_BAD_RECORD_MAC ||
           alert == TLS13_RECORD_OVERFLOW || alert == TLS13_ILLEGAL_PARAMETER ||
           alert == TLS13_DECODE_ERROR;
}

static size_t seal_inner(struct tls13 *peer, const uint8_t *inner, size_t n, size_t padding)
{
    size_t size = n + padding + TLS13_TAG;

    wire[0] = TLS13_DATA;
    wire[1] = wire[2] = 3;
    wire[3] = (uint8_t)(size >> 8);
    wire[4] = (uint8_t)size;
    memset(wire + TLS13_HEADER, 0, n + padding);
    memcpy(wire + TLS13_HEADER, inner, n);
    REQUIRE(tls13_aead_seal(peer, &peer->out, wire, wire + TLS13_HEADER, n + padding - 1,
                            wire[TLS13_HEADER + n + padding - 1], wire + TLS13_HEADER) == 0);
    return TLS13_HEADER + size;
}

/* Opens what is in wire, both ways. False: nothing may follow. */
static bool take(struct tls13 *us, size_t size, enum tls13_event *e, struct tls13_opened *o)
{
    struct tls13 copy = *us;
    struct tls13_opened other;

    *e = tls13_open(us, wire, size, there, o);
    REQUIRE(tls13_open(&copy, wire, size, wire + TLS13_HEADER, &other) == *e);
    REQUIRE(other.n == o->n && other.alert == o->alert && o->n <= TLS13_PLAIN_MAX);
    REQUIRE(memcmp(there, wire + TLS13_HEADER, o->n) == 0);
    REQUIRE(copy.in.seq == us->in.seq && copy.answers == us->answers);
    REQUIRE(memcmp(copy.in.key, us->in.key, sizeof(copy.in.key)) == 0);
    tls13_fini(&copy);
    if (*e == TLS13_EVENT_FATAL)
        REQUIRE(known(o->alert) && o->n == 0);
    return *e == TLS13_EVENT_DATA || *e == TLS13_EVENT_QUIET;
}

/* The peer goes on with the keys that we have. */
static void follow(struct tls13 *us, struct tls13 *peer)
{
    if (us->in.seq == peer->out.seq)
        return;
    REQUIRE(us->in.seq == 0 && us->message_len == 0);
    REQUIRE(tls13_keys_update(peer, &peer->out) == 0);
    REQUIRE(memcmp(us->in.secret, peer->out.secret, sizeof(us->in.secret)) == 0);
    if (tls13_update_due(us)) {
        size_t n = tls13_seal_update(us, wire);
        struct tls13_opened o;

        REQUIRE(tls13_open(peer, wire, n, there, &o) == TLS13_EVENT_QUIET);
        REQUIRE(peer->in.seq == 0 && !tls13_update_due(us) && !tls13_update_due(peer));
    }
}

static bool sealed_record(struct tls13 *us, struct tls13 *peer, unsigned kind, const uint8_t *p,
                          size_t n)
{
    uint8_t inner[257];
    enum tls13_event e;
    struct tls13_opened o;
    bool on;

    memcpy(inner, p, n);
    inner[n] = kind < 3 ? (uint8_t)(21 + kind) : (uint8_t)kind;
    on = take(us, seal_inner(peer, inner, n + 1, kind % 7), &e, &o);
    if (kind == 2 && us->message_len == 0 && e != TLS13_EVENT_FATAL)
        REQUIRE(o.n == n && memcmp(there, p, n) == 0);
    if (on)
        follow(us, peer);
    return on;
}

static void forged_record(struct tls13 *us, const uint8_t *p, size_t n)
{
    enum tls13_alert alert;
    enum tls13_event e;
    struct tls13_opened o;
    ssize_t size = tls13_record_size(p, n, &alert);

    REQUIRE(size >= -1 && size <= TLS13_RECORD_MAX);
    if (size == -1)
        REQUIRE(known(alert));
    if (size <= 0 || (size_t)size > n)
        return;
    memcpy(wire, p, (size_t)size);
    REQUIRE(!take(us, (size_t)size, &e, &o));
    REQUIRE(o.alert == TLS13_BAD_RECORD_MAC);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tls13 us, peer;
    bool on = true;

    if (size == 0)
        return 0;
    make(&us, &peer, 0x1301 + data[0] % 3);
    for (data++, size--; on && size >= 2;) {
        size_t n = MIN((size_t)data[1], size - 2);

        if (data[0] == 0xff) {
            forged_record(&us, data + 2, n);
            break;
        }
        on = sealed_record(&us, &peer, data[0], data + 2, n);
        data += 2 + n;
        size -= 2 + n;
    }
    tls13_fini(&us);
    tls13_fini(&peer);
    return 0;
}
