/* codec/tls13_keys.c - traffic secrets, keys, and the AEAD with contexts that all share. */
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "tls13_internal.h"

static const struct suite {
    unsigned number;
    const char *name, *aead, *hash;
    size_t key_size, hash_size;
} suites[] = {
#define X(number, name, aead, hash, key_size, hash_size)                                           \
    {number, name, aead, hash, key_size, hash_size},
#include "tbl/tls13_suites.def"
#undef X
};

/* A context of the process for a suite and a way. `keyed` is whose key is in it: a connection that
 * sends or gets much in a row pays for that once. */
struct aead {
    EVP_CIPHER_CTX *ctx;                 /* owned; NULL: not used yet */
    const struct tls13_direction *keyed; /* borrowed until tls13_aead_forget(); NULL: nobody's */
};
static struct aead aeads[ARRAY_LEN(suites)][2];

int tls13_suite_find(unsigned cipher)
{
    for (size_t i = 0; i < ARRAY_LEN(suites); i++)
        if (suites[i].number == cipher)
            return (int)i;
    return -1;
}

const char *tls13_suite_name(const struct tls13 *t)
{
    return suites[t->suite].name;
}

size_t tls13_hash_size(const struct tls13 *t)
{
    return suites[t->suite].hash_size;
}

/* HKDF-Expand-Label(secret, label, "", n) (RFC 8446 §7.1). n is at most the hash's size, so the
 * first block of HKDF-Expand (RFC 5869 §2.3) is enough. */
static int expand_label(const struct tls13 *t, const uint8_t *secret, const char *label,
                        uint8_t *out, size_t n)
{
    const struct suite *s = &suites[t->suite];
    uint8_t info[32], block[EVP_MAX_MD_SIZE];
    int len = snprintf((char *)info + 3, sizeof(info) - 3, "tls13 %s", label);
    const EVP_MD *md = s->hash_size == 48 ? EVP_sha384() : EVP_sha256();
    unsigned size;
    int rc = -1;

    info[0] = 0;
    info[1] = (uint8_t)n;
    info[2] = (uint8_t)len;
    info[3 + len] = 0; /* no context */
    info[4 + len] = 1; /* the number of the block */
    if (HMAC(md, secret, (int)s->hash_size, info, (size_t)len + 5, block, &size) != NULL) {
        memcpy(out, block, n);
        rc = 0;
    }
    OPENSSL_cleanse(block, sizeof(block));
    return rc;
}

int tls13_keys_make(const struct tls13 *t, struct tls13_direction *d)
{
    d->seq = 0;
    tls13_aead_forget(d);
    return expand_label(t, d->secret, "key", d->key, suites[t->suite].key_size) == 0 &&
                   expand_label(t, d->secret, "iv", d->iv, sizeof(d->iv)) == 0
               ? 0
               : -1;
}

int tls13_keys_update(const struct tls13 *t, struct tls13_direction *d)
{
    uint8_t next[TLS13_SECRET_MAX];
    size_t n = suites[t->suite].hash_size;
    int rc = expand_label(t, d->secret, "traffic upd", next, n);

    if (rc == 0) {
        memcpy(d->secret, next, n);
        rc = tls13_keys_make(t, d);
    }
    OPENSSL_cleanse(next, sizeof(next));
    return rc;
}

static EVP_CIPHER_CTX *aead_new(const struct suite *s, bool seal)
{
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, s->aead, NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

    if (cipher == NULL || ctx == NULL ||
        EVP_CipherInit_ex(ctx, cipher, NULL, NULL, NULL, seal) != 1) {
        EVP_CIPHER_CTX_free(ctx);
        ctx = NULL;
    }
    EVP_CIPHER_free(cipher); /* the context has its own reference */
    return ctx;
}

/* The context, with d's key and the number of its next record, which is taken (RFC 8446 §5.3). */
static EVP_CIPHER_CTX *aead_begin(const struct tls13 *t, struct tls13_direction *d, bool seal)
{
    struct aead *a = &aeads[t->suite][seal];
    bool keyed = a->keyed == d;
    uint8_t nonce[sizeof(d->iv)];

    if (a->ctx == NULL && (a->ctx = aead_new(&suites[t->suite], seal)) == NULL)
        return NULL; /* UNTESTED: OpenSSL's memory */
    memcpy(nonce, d->iv, sizeof(nonce));
    for (unsigned i = 0; i < 8; i++)
        nonce[11 - i] ^= (uint8_t)(d->seq >> (8 * i));
    d->seq++;
    a->keyed = NULL;
    if (EVP_CipherInit_ex(a->ctx, NULL, NULL, keyed ? NULL : d->key, nonce, seal) != 1)
        return NULL; /* UNTESTED: OpenSSL's memory */
    a->keyed = d;
    return a->ctx;
}

int tls13_aead_seal(const struct tls13 *t, struct tls13_direction *d, const uint8_t *head,
                    const uint8_t *in, size_t n, uint8_t type, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = aead_begin(t, d, true);
    int len, more;

    if (ctx == NULL || EVP_CipherUpdate(ctx, NULL, &len, head, TLS13_HEADER) != 1)
        return -1;
    if (in == out) { /* the type has its place behind it */
        out[n++] = type;
        if (EVP_CipherUpdate(ctx, out, &len, out, (int)n) != 1)
            return -1;
    } else {
        if (n > 0 && EVP_CipherUpdate(ctx, out, &len, in, (int)n) != 1)
            return -1;
        if (EVP_CipherUpdate(ctx, out + n, &len, &type, 1) != 1)
            return -1;
        n++;
    }
    return EVP_CipherFinal_ex(ctx, out + n, &more) == 1 &&
                   EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TLS13_TAG, out + n) == 1
               ? 0
               : -1;
}

int tls13_aead_open(const struct tls13 *t, struct tls13_direction *d, const uint8_t *head,
                    const uint8_t *in, size_t n, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = aead_begin(t, d, false);
    uint8_t tag[TLS13_TAG];
    int len;

    memcpy(tag, in + n, sizeof(tag));
    if (ctx != NULL && EVP_CipherUpdate(ctx, NULL, &len, head, TLS13_HEADER) == 1 &&
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TLS13_TAG, tag) == 1 &&
        (n == 0 || EVP_CipherUpdate(ctx, out, &len, in, (int)n) == 1) &&
        EVP_CipherFinal_ex(ctx, tag, &len) == 1)
        return 0;
    ERR_clear_error(); /* what is left there, a handshake would take for its own */
    return -1;
}

void tls13_aead_forget(const struct tls13_direction *d)
{
    static const uint8_t nothing[32];

    for (size_t i = 0; i < ARRAY_LEN(suites); i++)
        for (int seal = 0; seal < 2; seal++) {
            struct aead *a = &aeads[i][seal];

            if (a->keyed != d)
                continue;
            a->keyed = NULL;
            (void)EVP_CipherInit_ex(a->ctx, NULL, NULL, nothing, NULL, seal);
        }
}
