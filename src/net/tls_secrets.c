/* net/tls_secrets.c - what OpenSSL knows at the end of a handshake, and the hand-over of a
 * connection to records of our own. */
#include <openssl/crypto.h>

#include "base/config.h"
#include "net/reactor.h"
#include "tls_records_internal.h"

/* Of struct tls13_secrets among an SSL's extra data: what is gathered while the handshake lasts, and
 * freed with the SSL at the latest. */
static int place = -1;

static void secrets_free(void *parent UNUSED, void *ptr, CRYPTO_EX_DATA *ad UNUSED, int idx UNUSED,
                         long argl UNUSED, void *argp UNUSED)
{
    pool_put(&tls_records_part()->secrets, ptr);
}

static struct tls13_secrets *secrets_of(const SSL *ssl)
{
    return SSL_get_ex_data(ssl, place);
}

static struct tls13_secrets *secrets_make(SSL *ssl)
{
    struct tls13_secrets *s = secrets_of(ssl);

    if (s != NULL)
        return s;
    s = pool_get(&tls_records_part()->secrets);
    if (s != NULL && SSL_set_ex_data(ssl, place, s) != 1) {
        pool_put(&tls_records_part()->secrets, s);
        s = NULL;
    }
    return s;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The bytes of a secret, or 0: it is none. */
static size_t read_secret(const char *hex, uint8_t out[TLS13_SECRET_MAX])
{
    size_t n;

    for (n = 0; n < TLS13_SECRET_MAX && hex[2 * n] != '\0'; n++) {
        int high = hex_digit(hex[2 * n]);
        int low = high == -1 ? -1 : hex_digit(hex[2 * n + 1]);

        if (low == -1)
            return 0;
        out[n] = (uint8_t)(high << 4 | low);
    }
    return hex[2 * n] == '\0' ? n : 0;
}

/* "LABEL client-random secret". A secret is announced when its keys are put to use, so the records
 * that are counted from then on are sealed with them. */
static void on_secret(const SSL *ssl, const char *line)
{
    static const char reading[] = "CLIENT_TRAFFIC_SECRET_0 ",
                      writing[] = "SERVER_TRAFFIC_SECRET_0 ";
    bool in = strncmp(line, reading, sizeof(reading) - 1) == 0;
    bool out = strncmp(line, writing, sizeof(writing) - 1) == 0;
    struct tls13_secrets *s = NULL;

    if ((in || out) && config.tls_records == TLS_RECORDS_COMPACT)
        s = secrets_make((SSL *)(uintptr_t)ssl);

    if (s == NULL)
        return; /* another secret; or no memory: then the connection stays with OpenSSL */
    line = strrchr(line, ' ') + 1;
    if (in) {
        s->in_len = read_secret(line, s->in);
        s->in_seq = 0;
    } else {
        s->out_len = read_secret(line, s->out);
        s->out_seq = 0;
    }
}

/* A record's head has been read or written. */
static void on_message(int writing, int version UNUSED, int type, const void *p UNUSED,
                       size_t n UNUSED, SSL *ssl, void *arg UNUSED)
{
    struct tls13_secrets *s = type == SSL3_RT_HEADER ? secrets_of(ssl) : NULL;

    if (s == NULL)
        return;
    if (writing)
        s->out_seq++;
    else
        s->in_seq++;
}

int tls_records_watch(SSL_CTX *ctx)
{
    if (place == -1)
        place = SSL_get_ex_new_index(0, NULL, NULL, NULL, secrets_free);
    if (place == -1)
        return -1;
    SSL_CTX_set_keylog_callback(ctx, on_secret);
    SSL_CTX_set_msg_callback(ctx, on_message);
    return 0;
}

/* Does OpenSSL hold nothing that would be lost with it? */
static bool may_leave(SSL *ssl)
{
    const SSL_SESSION *session = SSL_get0_session(ssl);

    return SSL_version(ssl) == TLS1_3_VERSION && SSL_is_init_finished(ssl) &&
           SSL_has_pending(ssl) == 0 && SSL_get_shutdown(ssl) == 0 &&
           SSL_get_early_data_status(ssl) != SSL_EARLY_DATA_ACCEPTED &&
           SSL_get_key_update_type(ssl) == SSL_KEY_UPDATE_NONE && session != NULL &&
           SSL_SESSION_get_max_fragment_length(session) == TLSEXT_max_fragment_length_DISABLED;
}

/* Not more than that happens: c stays as it is. */
static bool give_up(SSL *ssl)
{
    pool_put(&tls_records_part()->secrets, secrets_of(ssl));
    SSL_set_ex_data(ssl, place, NULL);
    return false;
}

bool tls_records_take(struct conn *c)
{
    SSL *ssl = tls_of(c)->ssl;
    struct tls13_secrets *s = place == -1 ? NULL : secrets_of(ssl);
    struct tls_shared shared = tls_of(c)->shared;
    struct pool *pool = &tls_records_part()->secrets;
    struct tls13 *keys;

    if (s == NULL || !may_leave(ssl))
        return s != NULL && give_up(ssl);
    keys = pool_get(pool);
    if (keys == NULL)
        return give_up(ssl);
    if (tls13_init(keys, SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl)), s) == -1) {
        pool_put(pool, keys);
        return give_up(ssl);
    }
    SSL_set_quiet_shutdown(ssl, 1); /* the connection goes on without it */
    SSL_free(ssl);
    tls_records_begin(c, &shared, keys);
    return true;
}
