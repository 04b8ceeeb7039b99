/* net/tls.c - OpenSSL between a connection and its socket.
 *
 * OpenSSL may have to write in order to read and the other way round (a key update), so while an
 * operation waits, what it waits for is kept and tls_want() turns it into what the socket is
 * watched for; any event then tries both directions. Bytes that are decrypted and not fetched make
 * no socket readable, nor does an end that came with the last of them: tls_pending() tells. */
#include "net/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "net_internal.h"
#include "tcp.h"

struct tls_context {
    SSL_CTX *ctx; /* owned */
    bool verify;
};

enum tls_end {
    TLS_END_NONE = 0,
    TLS_END_NOTIFIED, /* by close_notify */
    TLS_END_BROKEN    /* OpenSSL must not be asked again (SSL_get_error(3)) */
};

struct tls {
    struct transport transport;
    SSL *ssl; /* owned */
    uint64_t began_ns;
    enum tls_end end; /* of what is to be read; broken: of both directions */
    bool read_wants_write, write_wants_read;
};
_Static_assert(sizeof(struct tls) <= TRANSPORT_STATE_SIZE, "TRANSPORT_STATE_SIZE");

static const struct transport_ops tls_transport;

static char failure[256];

static struct tls *tls_of(const struct conn *c)
{
    return transport_state(c);
}

/* The oldest error that OpenSSL has queued, as a sentence; the others are forgotten. */
static void take_error(char *out, size_t cap)
{
    unsigned long e = ERR_get_error();
    const char *reason = e != 0 ? ERR_reason_error_string(e) : NULL;

    ERR_clear_error();
    snprintf(out, cap, "%s", reason != NULL ? reason : "the connection was closed");
}

struct tls_context *tls_client_context(const char *ca_file, bool verify, char *err, size_t errcap)
{
    struct tls_context *t = calloc(1, sizeof(*t));
    bool own = ca_file != NULL && ca_file[0] != '\0';

    if (t == NULL || (t->ctx = SSL_CTX_new(TLS_client_method())) == NULL) {
        snprintf(err, errcap, "no memory for TLS");
        free(t);
        return NULL;
    }
    t->verify = verify;
    SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION);
    SSL_CTX_set_mode(t->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                 SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(t->ctx, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    if (own ? SSL_CTX_load_verify_file(t->ctx, ca_file) == 1
            : SSL_CTX_set_default_verify_paths(t->ctx) == 1)
        return t;
    take_error(err, errcap);
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

/* A client's side of the handshake. NULL: no memory. */
static SSL *ssl_new(int fd, const struct tls_context *t, const char *host)
{
    static const unsigned char alpn[] = "\x08http/1.1";
    SSL *ssl = SSL_new(t->ctx);

    if (ssl == NULL)
        return NULL;
    SSL_set_connect_state(ssl);
    if (SSL_set_fd(ssl, fd) == 1 && expect_host(ssl, t, host) == 0 &&
        SSL_set_alpn_protos(ssl, alpn, sizeof(alpn) - 1) == 0)
        return ssl;
    SSL_free(ssl);
    ERR_clear_error();
    return NULL;
}

struct conn *tls_connect(int fd, struct tls_context *t, const char *host,
                         const struct conn_ops *ops, const struct sockaddr *peer)
{
    struct tls state = {.transport = {&tls_transport}, .ssl = ssl_new(fd, t, host)};
    struct conn *c;

    if (state.ssl == NULL)
        return NULL;
    c = transport_add(&state.transport, sizeof(state), fd, ops, peer, 0, CONN_CONNECTING);
    if (c == NULL)
        SSL_free(state.ssl);
    return c;
}

uint64_t tls_began_ns(const struct conn *c)
{
    return tls_of(c)->began_ns;
}

const char *tls_failure(void)
{
    return failure;
}

static void tls_close(struct conn *c)
{
    SSL_free(tls_of(c)->ssl);
    ERR_clear_error();
    tcp_close(c);
}

static void tls_want(struct conn *c, int events)
{
    const struct tls *tls = tls_of(c);

    if (tls->write_wants_read && (events & TRANSPORT_WRITE))
        events = (events & ~TRANSPORT_WRITE) | TRANSPORT_READ;
    if (tls->read_wants_write && (events & TRANSPORT_READ))
        events |= TRANSPORT_WRITE;
    tcp_want(c, events);
}

static void handshake_failed(const struct conn *c)
{
    long verdict = SSL_get_verify_result(tls_of(c)->ssl);

    if (verdict != X509_V_OK) {
        ERR_clear_error();
        snprintf(failure, sizeof(failure), "certificate verify failed: %s",
                 X509_verify_cert_error_string(verdict));
    } else {
        take_error(failure, sizeof(failure));
    }
}

static int tls_secure(struct conn *c)
{
    struct tls *tls = tls_of(c);
    int rc;

    if (tls->began_ns == 0)
        tls->began_ns = clock_precise_ns();
    ERR_clear_error();
    rc = SSL_do_handshake(tls->ssl);
    if (rc == 1) {
        tls->read_wants_write = false;
        return 1;
    }
    rc = SSL_get_error(tls->ssl, rc);
    tls->read_wants_write = rc == SSL_ERROR_WANT_WRITE;
    if (rc == SSL_ERROR_WANT_READ || rc == SSL_ERROR_WANT_WRITE)
        return 0;
    handshake_failed(c);
    return -1;
}

/* Keeps why an operation stopped, also when it moved something first: what it waits for, or the
 * end, which OpenSSL may have consumed. */
static void note_stop(struct tls *tls, bool reading)
{
    switch (SSL_get_error(tls->ssl, 0)) {
    case SSL_ERROR_WANT_READ:
        tls->write_wants_read |= !reading;
        return;
    case SSL_ERROR_WANT_WRITE:
        tls->read_wants_write |= reading;
        return;
    case SSL_ERROR_ZERO_RETURN: /* close_notify */
        if (reading) {
            tls->end = TLS_END_NOTIFIED;
            return;
        }
        /* fall through */
    default:
        ERR_clear_error();
        tls->end = TLS_END_BROKEN;
    }
}

static ssize_t wait_or_end(const struct tls *tls, bool reading)
{
    if (reading && tls->end == TLS_END_NOTIFIED)
        return TRANSPORT_EOF;
    return tls->end == TLS_END_BROKEN ? TRANSPORT_BROKEN : TRANSPORT_LATER;
}

static ssize_t tls_recv(struct conn *c, char *p, size_t max)
{
    struct tls *tls = tls_of(c);
    size_t total = 0, got;

    tls->read_wants_write = false;
    while (total < max && tls->end == TLS_END_NONE) {
        ERR_clear_error();
        if (SSL_read_ex(tls->ssl, p + total, max - total, &got) != 1) {
            note_stop(tls, true);
            break;
        }
        total += got;
    }
    if (!SSL_in_init(tls->ssl)) /* what a write waited for may have come with this */
        tls->write_wants_read = false;
    return total > 0 ? (ssize_t)total : wait_or_end(tls, true);
}

static ssize_t tls_sendv(struct conn *c, const struct iovec *iov, size_t n)
{
    struct tls *tls = tls_of(c);
    size_t total = 0, sent;

    if (conn_opening(c))
        return TRANSPORT_LATER;
    if (tls->end == TLS_END_BROKEN)
        return TRANSPORT_BROKEN;
    tls->write_wants_read = false;
    for (size_t i = 0; i < n; i++)
        for (size_t at = 0; at < iov[i].iov_len; at += sent, total += sent) {
            ERR_clear_error();
            if (SSL_write_ex(tls->ssl, (const char *)iov[i].iov_base + at, iov[i].iov_len - at,
                             &sent) != 1) {
                note_stop(tls, false);
                return total > 0 ? (ssize_t)total : wait_or_end(tls, false);
            }
        }
    return (ssize_t)total;
}

static ssize_t tls_send(struct conn *c, const char *p, size_t n)
{
    const struct iovec iov = {.iov_base = (void *)(uintptr_t)p, .iov_len = n};

    return tls_sendv(c, &iov, 1);
}

static int tls_shut(struct conn *c, bool last)
{
    struct tls *tls = tls_of(c);

    ERR_clear_error();
    if (tls->end != TLS_END_BROKEN &&
        SSL_shutdown(tls->ssl) < 0) /* the socket is full: then without it */
        ERR_clear_error();
    return tcp_shut(c, last);
}

static bool tls_pending(const struct conn *c)
{
    const struct tls *tls = tls_of(c);

    return SSL_pending(tls->ssl) > 0 || tls->end != TLS_END_NONE;
}

static void tls_describe(const struct conn *c, char *out, size_t cap)
{
    SSL *ssl = tls_of(c)->ssl;

    snprintf(out, cap, "tls %s", SSL_in_init(ssl) ? "handshake" : SSL_get_version(ssl));
}

static const struct transport_ops tls_transport = {
    .ahead =
        SSL3_RT_MAX_PLAIN_LENGTH, /* OpenSSL wants to be given again what it was given: a record */
    .recv = tls_recv,
    .send = tls_send,
    .sendv = tls_sendv,
    .connected = tcp_connected,
    .secure = tls_secure,
    .shut = tls_shut,
    .close = tls_close,
    .linger = tcp_linger,
    .want = tls_want,
    .pending = tls_pending,
    .unread = tcp_unread,
    .describe = tls_describe,
};
