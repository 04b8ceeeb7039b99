/* codec/tls13.c - records, and what may be in them after the handshake. */
#include "codec/tls13.h"

#include <openssl/crypto.h>

#include "tls13_internal.h"

#define KEY_UPDATE      24 /* RFC 8446 §4.6.3 */
#define KEY_UPDATE_SIZE 5

_Static_assert(sizeof(struct tls13) <= 224, "what a connection costs");

int tls13_init(struct tls13 *t, unsigned cipher, const struct tls13_secrets *s)
{
    int suite = tls13_suite_find(cipher);

    memset(t, 0, sizeof(*t));
    if (suite == -1)
        return -1;
    t->suite = (uint8_t)suite;
    if (s->in_len != tls13_hash_size(t) || s->out_len != s->in_len)
        return -1;
    memcpy(t->in.secret, s->in, s->in_len);
    memcpy(t->out.secret, s->out, s->out_len);
    if (tls13_keys_make(t, &t->in) == -1 || tls13_keys_make(t, &t->out) == -1) {
        tls13_fini(t);
        return -1;
    }
    t->in.seq = s->in_seq;
    t->out.seq = s->out_seq;
    return 0;
}

void tls13_fini(struct tls13 *t)
{
    tls13_aead_forget(&t->in);
    tls13_aead_forget(&t->out);
    OPENSSL_cleanse(t, sizeof(*t));
}

/* ---- reading */

ssize_t tls13_record_size(const uint8_t *p, size_t n, enum tls13_alert *alert)
{
    size_t size;

    /* In the clear nothing may come any more, change_cipher_spec included (§5). */
    *alert = TLS13_UNEXPECTED_MESSAGE;
    if (n > 0 && p[0] != TLS13_DATA)
        return -1;
    if (n < TLS13_HEADER)
        return 0;
    size = (size_t)p[3] << 8 | p[4];
    *alert = TLS13_DECODE_ERROR;
    if (p[1] != 3 || p[2] != 3)
        return -1;
    *alert = TLS13_RECORD_OVERFLOW; /* §5.2 */
    if (size > TLS13_RECORD_MAX - TLS13_HEADER)
        return -1;
    *alert = TLS13_BAD_RECORD_MAC;
    if (size < TLS13_TAG)
        return -1;
    return (ssize_t)(TLS13_HEADER + size);
}

static enum tls13_event fatal(struct tls13_opened *opened, enum tls13_alert alert)
{
    opened->n = 0;
    opened->alert = alert;
    return TLS13_EVENT_FATAL;
}

/* A record has brought nothing. Who sends nothing else costs us work for no end. */
static enum tls13_event quiet(struct tls13 *t, struct tls13_opened *opened)
{
    if (++t->quiet > TLS13_QUIET_MAX)
        return fatal(opened, TLS13_UNEXPECTED_MESSAGE);
    return TLS13_EVENT_QUIET;
}

/* RFC 8446 §6: the level says nothing, and what is not known is an error. One record has one alert,
 * whole (§5.1). */
static enum tls13_event take_alert(struct tls13 *t, const uint8_t *p, size_t n,
                                   struct tls13_opened *opened)
{
    if (n != 2)
        return fatal(opened, n == 0 ? TLS13_UNEXPECTED_MESSAGE : TLS13_DECODE_ERROR);
    opened->alert = (enum tls13_alert)p[1];
    if (p[1] == TLS13_CLOSE_NOTIFY)
        return TLS13_EVENT_CLOSED;
    if (p[1] == TLS13_USER_CANCELED) /* close_notify follows */
        return quiet(t, opened);
    return TLS13_EVENT_ALERT;
}

/* RFC 8446 §4.6.3 */
static enum tls13_event take_key_update(struct tls13 *t, struct tls13_opened *opened)
{
    uint8_t request = t->message[4];

    t->message_len = 0;
    if (request > 1)
        return fatal(opened, TLS13_ILLEGAL_PARAMETER);
    if (tls13_keys_update(t, &t->in) == -1)
        return fatal(opened, TLS13_INTERNAL_ERROR); /* UNTESTED: OpenSSL's memory */
    /* Each has its answer; one for many would do (§4.6.3), if there ever are so many. */
    if (request == 1 && t->answers < UINT8_MAX)
        t->answers++;
    return quiet(t, opened);
}

/* What is known of the message by now. The alert, or TLS13_CLOSE_NOTIFY for none. */
static enum tls13_alert check_message(const struct tls13 *t)
{
    const uint8_t *m = t->message;

    if (m[0] != KEY_UPDATE)
        return TLS13_UNEXPECTED_MESSAGE;
    if (t->message_len >= 4 && (m[1] != 0 || m[2] != 0 || m[3] != 1))
        return TLS13_DECODE_ERROR;
    return TLS13_CLOSE_NOTIFY;
}

static enum tls13_event take_handshake(struct tls13 *t, const uint8_t *p, size_t n,
                                       struct tls13_opened *opened)
{
    if (n == 0)
        return fatal(opened, TLS13_UNEXPECTED_MESSAGE); /* §5.1 */
    for (size_t i = 0; i < n; i++) {
        enum tls13_alert wrong;

        t->message[t->message_len++] = p[i];
        wrong = check_message(t);
        if (wrong != TLS13_CLOSE_NOTIFY)
            return fatal(opened, wrong);
        if (t->message_len < KEY_UPDATE_SIZE)
            continue;
        /* §5.1: a message before new keys ends where its record does. */
        return i + 1 == n ? take_key_update(t, opened) : fatal(opened, TLS13_UNEXPECTED_MESSAGE);
    }
    return quiet(t, opened);
}

static enum tls13_event take_data(struct tls13 *t, size_t n, struct tls13_opened *opened)
{
    opened->n = n;
    if (n == 0)
        return quiet(t, opened);
    t->quiet = 0;
    return TLS13_EVENT_DATA;
}

enum tls13_event tls13_open(struct tls13 *t, const uint8_t *record, size_t size, uint8_t *out,
                            struct tls13_opened *opened)
{
    size_t n = size - TLS13_HEADER - TLS13_TAG;

    *opened = (struct tls13_opened){0};
    if (tls13_aead_open(t, &t->in, record, record + TLS13_HEADER, n, out) == -1)
        return fatal(opened, TLS13_BAD_RECORD_MAC);
    if (UNLIKELY(t->in.seq == TLS13_RECORDS_MAX))
        t->ask = true; /* the peer's key is old */
    if (n > TLS13_PLAIN_MAX + 1)
        return fatal(opened, TLS13_RECORD_OVERFLOW); /* §5.2: padding counts */
    while (n > 0 && out[n - 1] == 0)
        n--;
    if (n == 0)
        return fatal(opened, TLS13_UNEXPECTED_MESSAGE); /* §5.4: it has no type */
    n--;
    if (t->message_len > 0 && out[n] != TLS13_HANDSHAKE)
        return fatal(opened, TLS13_UNEXPECTED_MESSAGE); /* §5.1: nothing in between */
    switch (out[n]) {
    case TLS13_DATA:
        return take_data(t, n, opened);
    case TLS13_ALERT:
        return take_alert(t, out, n, opened);
    case TLS13_HANDSHAKE:
        return take_handshake(t, out, n, opened);
    }
    return fatal(opened, TLS13_UNEXPECTED_MESSAGE);
}

/* ---- writing */

size_t tls13_seal(struct tls13 *t, enum tls13_type type, const uint8_t *in, size_t n, uint8_t *out)
{
    size_t size = n + 1 + TLS13_TAG;

    out[0] = TLS13_DATA;
    out[1] = out[2] = 3;
    out[3] = (uint8_t)(size >> 8);
    out[4] = (uint8_t)size;
    if (tls13_aead_seal(t, &t->out, out, in, n, (uint8_t)type, out + TLS13_HEADER) == -1)
        return 0; /* UNTESTED: OpenSSL's memory */
    return TLS13_HEADER + size;
}

size_t tls13_seal_alert(struct tls13 *t, enum tls13_alert alert, uint8_t *out)
{
    const uint8_t text[2] = {alert == TLS13_CLOSE_NOTIFY ? 1 : 2, (uint8_t)alert};

    return tls13_seal(t, TLS13_ALERT, text, sizeof(text), out);
}

size_t tls13_seal_update(struct tls13 *t, uint8_t *out)
{
    bool ask = t->answers == 0 && t->ask;
    const uint8_t text[KEY_UPDATE_SIZE] = {KEY_UPDATE, 0, 0, 1, ask};
    size_t n = tls13_seal(t, TLS13_HANDSHAKE, text, sizeof(text), out);

    if (t->answers > 0)
        t->answers--;
    else
        t->ask = false;
    return n > 0 && tls13_keys_update(t, &t->out) == 0 ? n : 0;
}
