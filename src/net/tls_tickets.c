/* net/tls_tickets.c - sessions in tickets (RFC 5077), whose keys are shared by all workers. */
#include <openssl/core_names.h>
#include <openssl/rand.h>

#include "base/clock.h"
#include "base/config.h"
#include "tls_internal.h"

#define TICKETS 1 /* for each TLS 1.3 connection; whoever comes back with it gets another */

static const struct tls_ticket_keys *shared;

void tls_tickets_use(const struct tls_ticket_keys *keys)
{
    shared = keys;
}

int tls_tickets_rotate(struct tls_ticket_keys *keys)
{
    uint32_t version = atomic_load(&keys->version);
    struct tls_ticket_key *next = keys->copies[(version + 1) & 1], fresh;

    if (RAND_bytes(fresh.name, sizeof(fresh.name)) != 1 ||
        RAND_priv_bytes(fresh.cipher, sizeof(fresh.cipher)) != 1 ||
        RAND_priv_bytes(fresh.mac, sizeof(fresh.mac)) != 1)
        return -1;
    /* The first time there are no older ones: zeros name no key (key_named()). */
    memcpy(next + 1, keys->copies[version & 1], sizeof(*next) * (TLS_TICKET_KEYS - 1));
    next[0] = fresh;
    OPENSSL_cleanse(&fresh, sizeof(fresh));
    atomic_store(&keys->version, version + 1);
    return 0;
}

/* The copy in use is not written to before its version has been replaced. */
static void take_keys(struct tls_ticket_key out[TLS_TICKET_KEYS])
{
    uint32_t version;

    do {
        version = atomic_load(&shared->version);
        memcpy(out, shared->copies[version & 1], sizeof(shared->copies[0]));
        atomic_thread_fence(memory_order_acquire);
    } while (atomic_load(&shared->version) != version);
}

/* -1: nobody has it, or not any more. */
static int key_named(const struct tls_ticket_key keys[TLS_TICKET_KEYS], const unsigned char *name)
{
    static const uint8_t none[sizeof(keys->name)];

    for (int i = 0; i < TLS_TICKET_KEYS; i++)
        if (memcmp(keys[i].name, none, sizeof(none)) != 0 &&
            memcmp(keys[i].name, name, sizeof(none)) == 0)
            return i;
    return -1;
}

static int start(const struct tls_ticket_key *k, const unsigned char *iv, EVP_CIPHER_CTX *cipher,
                 EVP_MAC_CTX *mac, int enc)
{
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)k->mac,
                                          sizeof(k->mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char[]){"SHA256"}, 0),
        OSSL_PARAM_construct_end()};

    return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, k->cipher, iv, enc) == 1 &&
                   EVP_MAC_CTX_set_params(mac, params) == 1
               ? 1
               : -1;
}

/* 1: go on; 2: and a new ticket is due; 0: a full handshake; -1: an error. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int enc)
{
    struct tls_ticket_key keys[TLS_TICKET_KEYS];
    int i = 0, rc;

    take_keys(keys);
    if (enc) {
        memcpy(name, keys[0].name, sizeof(keys[0].name));
        rc = RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) == 1 ? 1 : -1;
    } else {
        i = key_named(keys, name);
        /* A ticket of TLS 1.3 is for one use (RFC 8446 §C.4), so each use brings another. */
        rc = i == -1 ? 0 : i == 0 && SSL_version(ssl) < TLS1_3_VERSION ? 1 : 2;
    }
    if (rc > 0 && start(&keys[i], iv, cipher, mac, enc) == -1)
        rc = -1;
    OPENSSL_cleanse(keys, sizeof(keys));
    return rc;
}

int tls_tickets_set_up(SSL_CTX *ctx)
{
    int64_t life = config.tls_ticket_rotation / (int64_t)NS_PER_SEC * (TLS_TICKET_KEYS - 1);

    if (shared == NULL) {
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
        return SSL_CTX_set_num_tickets(ctx, 0) == 1 ? 0 : -1;
    }
    SSL_CTX_set_timeout(ctx, (long)life); /* as long as its key is there */
    return SSL_CTX_set_num_tickets(ctx, TICKETS) == 1 &&
                   SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket) == 1
               ? 0
               : -1;
}
