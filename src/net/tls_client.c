/* net/tls_client.c - the client's side of TLS: whom to trust, what to show, how a handshake begins. */
#include <arpa/inet.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "net/connect.h"
#include "net_internal.h"
#include "tcp.h"
#include "tls_internal.h"

struct tls_context {
    SSL_CTX *ctx; /* owned */
    bool verify;
    bool http; /* that is what is spoken within */
};

/* The first certificate of each, and nobody that it vouches for or is vouched for by. */
static int trust_these(SSL_CTX *ctx, const char *list)
{
    struct str rest = str_from(list), name;
    char path[PATH_MAX];
    int rc = 0;

    while (rc == 0 && rest.n > 0 && str_cut(&rest, '\n', &name)) {
        BIO *in = str_copy(name, path, sizeof(path)) == 0 ? BIO_new_file(path, "r") : NULL;
        X509 *x = in != NULL ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;

        rc = x != NULL && X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), x) == 1 ? 0 : -1;
        X509_free(x);
        BIO_free(in);
    }
    return rc;
}

static struct tls_context *context_new(bool verify, bool http, char *err, size_t errcap)
{
    struct tls_context *t = calloc(1, sizeof(*t));

    if (t == NULL || (t->ctx = SSL_CTX_new(TLS_client_method())) == NULL) {
        snprintf(err, errcap, "no memory for TLS");
        free(t);
        return NULL;
    }
    t->verify = verify;
    t->http = http;
    tls_context_set_up(t->ctx);
    SSL_CTX_set_verify(t->ctx, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(t->ctx), X509_V_FLAG_PARTIAL_CHAIN);
    return t;
}

static struct tls_context *context_or_why(struct tls_context *t, bool good, char *err,
                                          size_t errcap)
{
    if (good)
        return t;
    tls_take_error(err, errcap);
    tls_context_free(t);
    return NULL;
}

struct tls_context *tls_client_context(const char *ca_file, bool verify, char *err, size_t errcap)
{
    struct tls_context *t = context_new(verify, true, err, errcap);
    bool own = ca_file != NULL && ca_file[0] != '\0';

    if (t == NULL)
        return NULL;
    return context_or_why(t,
                          own ? SSL_CTX_load_verify_file(t->ctx, ca_file) == 1
                              : SSL_CTX_set_default_verify_paths(t->ctx) == 1,
                          err, errcap);
}

struct tls_context *tls_client_context_of(const char *certificates, char *err, size_t errcap)
{
    struct tls_context *t = context_new(true, true, err, errcap);

    return t != NULL ? context_or_why(t, trust_these(t->ctx, certificates) == 0, err, errcap)
                     : NULL;
}

/* Each certificate of a text. */
static int trust_text(SSL_CTX *ctx, struct str text)
{
    STACK_OF(X509) *all = tls_read_certificates(text);
    int rc = all != NULL ? 0 : -1;

    for (int i = 0; i < sk_X509_num(all) && rc == 0; i++)
        rc = X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), sk_X509_value(all, i)) == 1 ? 0 : -1;
    sk_X509_pop_free(all, X509_free);
    return rc;
}

/* A certificate with those that vouch for it, and its key. */
static int show(SSL_CTX *ctx, const struct tls_client_texts *texts, char *err, size_t errcap)
{
    STACK_OF(X509) *chain = tls_read_certificates(texts->certificate);
    X509 *own = sk_X509_shift(chain);
    EVP_PKEY *key = NULL;
    int rc = -1;

    if (own == NULL)
        snprintf(err, errcap, "the certificate to show: no certificate in PEM");
    else if ((key = tls_read_key(texts->key, err, errcap)) == NULL)
        rc = -1; /* said */
    else if (X509_check_private_key(own, key) != 1)
        snprintf(err, errcap, "the key is not the certificate's");
    else if (SSL_CTX_use_cert_and_key(ctx, own, key, chain, 1) != 1)
        tls_take_error(err, errcap);
    else
        rc = 0;
    ERR_clear_error();
    X509_free(own);
    EVP_PKEY_free(key);
    sk_X509_pop_free(chain, X509_free);
    return rc;
}

struct tls_context *tls_client_context_from(const struct tls_client_texts *texts, char *err,
                                            size_t errcap)
{
    struct tls_context *t = context_new(texts->verify, false, err, errcap);

    if (t == NULL)
        return NULL;
    if (texts->verify && trust_text(t->ctx, texts->trusted) == -1) {
        ERR_clear_error();
        snprintf(err, errcap, "whom to trust: no certificate in PEM");
    } else if (texts->certificate.n == 0 || show(t->ctx, texts, err, errcap) == 0) {
        return t;
    }
    tls_context_free(t);
    return NULL;
}

void tls_context_free(struct tls_context *t)
{
    if (t == NULL)
        return;
    SSL_CTX_free(t->ctx);
    free(t);
}

/* What the certificate must say. */
static int expect_host(SSL *ssl, const struct tls_context *t, const char *host)
{
    struct in6_addr address;
    bool numeric =
        inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;

    if (numeric)
        return !t->verify || X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1 ? 0 : -1;
    if (SSL_set_tlsext_host_name(ssl, host) != 1)
        return -1;
    return !t->verify || SSL_set1_host(ssl, host) == 1 ? 0 : -1;
}

SSL *tls_client_ssl(const struct tls_context *t, const char *host)
{
    static const unsigned char alpn[] = "\x08http/1.1";
    SSL *ssl = SSL_new(t->ctx);

    if (ssl == NULL)
        return NULL;
    SSL_set_connect_state(ssl);
    if ((host == NULL || expect_host(ssl, t, host) == 0) &&
        (!t->http || SSL_set_alpn_protos(ssl, alpn, sizeof(alpn) - 1) == 0))
        return ssl;
    SSL_free(ssl);
    ERR_clear_error();
    return NULL;
}

static bool nothing_pending(const struct conn *c UNUSED)
{
    return false;
}

static void describe_plain(const struct conn *c UNUSED, char *out, size_t cap)
{
    snprintf(out, cap, "tcp");
}

/* Plain until conn_secure(). */
static const struct transport_ops tls_later = {
    .recv = tcp_recv,
    .send = tcp_send,
    .sendv = tcp_sendv,
    .connected = tcp_connected,
    .shut = tcp_shut,
    .close = tls_close,
    .linger = tcp_linger,
    .want = tcp_want,
    .pending = nothing_pending,
    .unread = tcp_unread,
    .describe = describe_plain,
};

struct conn *tls_connect(int fd, const struct outgoing *to, const struct conn_ops *ops)
{
    struct tls state = {.shared.transport = {to->tls_later ? &tls_later : &tls_transport},
                        .ssl = tls_client_ssl(to->tls, to->host)};
    struct conn *c = NULL;

    if (state.ssl != NULL && tls_set_bio(state.ssl) == 0)
        c = transport_add(&state.shared.transport, sizeof(state), fd, ops, to->peer, 0,
                          CONN_CONNECTING);
    if (c == NULL)
        SSL_free(state.ssl);
    return c;
}

int conn_secure(struct conn *c)
{
    struct tls *tls = tls_of(c);

    if (conn_dead(c) || !(c->flags & CONN_NOT_TCP) || transport_of(c) != &tls_later ||
        c->out != NULL)
        return -1;
    tls->shared.transport.ops = &tls_transport;
    conn_set_state(c, CONN_SECURING);
    conn_establish(c);
    return 0;
}
