/* net/tls.c - OpenSSL between a connection and its socket.
 *
 * OpenSSL may have to write in order to read and the other way round (a key update), so while an
 * operation waits, what it waits for is kept and tls_events() turns it into what the socket is
 * watched for; any event then tries both directions. Bytes that are decrypted and not fetched make
 * no socket readable, nor does an end that came with the last of them: such a connection stands in
 * reactor->unread and is read in the next turn. */
#include "net/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "net_internal.h"

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
    SSL *ssl; /* owned */
    uint64_t began_ns;
    enum tls_end end; /* of what is to be read; broken: of both directions */
    bool established;
    bool read_wants_write, write_wants_read;
    bool unread; /* in reactor->unread */
};

static char failure[256];

static struct tls *tls_of(const struct conn *c)
{
    return reactor->tls[c->io.fd];
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

/* The table has a place for every descriptor that may be a connection. */
static int tls_table(size_t fd)
{
    struct tls **grown;

    if (fd < reactor->tls_cap)
        return 0;
    grown = calloc(reactor->conns_cap, sizeof(struct tls *));
    if (grown == NULL)
        return -1;
    for (size_t i = 0; i < reactor->tls_cap; i++)
        grown[i] = reactor->tls[i];
    free(reactor->tls);
    reactor->tls = grown;
    reactor->tls_cap = reactor->conns_cap;
    return 0;
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

static struct tls *tls_new(int fd, const struct tls_context *t, const char *host)
{
    static const unsigned char alpn[] = "\x08http/1.1";
    struct tls *tls = calloc(1, sizeof(*tls));

    if (tls == NULL)
        return NULL;
    tls->ssl = SSL_new(t->ctx);
    if (tls->ssl == NULL)
        goto err;
    SSL_set_connect_state(tls->ssl);
    if (SSL_set_fd(tls->ssl, fd) != 1 || expect_host(tls->ssl, t, host) == -1 ||
        SSL_set_alpn_protos(tls->ssl, alpn, sizeof(alpn) - 1) != 0)
        goto err;
    return tls;

err:
    SSL_free(tls->ssl);
    free(tls);
    ERR_clear_error();
    return NULL;
}

int conn_start_tls(struct conn *c, struct tls_context *t, const char *host)
{
    struct tls *tls = tls_table((size_t)c->io.fd) == 0 ? tls_new(c->io.fd, t, host) : NULL;

    if (tls == NULL) {
        conn_kill(c, CLOSE_NO_MEMORY);
        return -1;
    }
    tls->read_wants_write = true; /* connected, the socket is writable */
    reactor->tls[c->io.fd] = tls;
    c->flags |= CONN_TLS;
    conn_update_events(c);
    return 0;
}

bool conn_tls_established(const struct conn *c)
{
    return tls_of(c)->established;
}

uint64_t conn_tls_began_ns(const struct conn *c)
{
    return tls_of(c)->began_ns;
}

const char *tls_failure(void)
{
    return failure;
}

void tls_free(struct conn *c)
{
    struct tls *tls = tls_of(c);

    reactor->tls[c->io.fd] = NULL;
    SSL_free(tls->ssl);
    free(tls);
    ERR_clear_error();
}

void tls_fini(void)
{
    free(reactor->tls);
    free(reactor->unread.ids);
}

int tls_events(const struct conn *c, int want)
{
    const struct tls *tls = tls_of(c);

    if (!tls->established)
        return EV_READ | (tls->read_wants_write ? EV_WRITE : 0);
    if (tls->write_wants_read && (want & EV_WRITE))
        want = (want & ~EV_WRITE) | EV_READ;
    if (tls->read_wants_write && (want & EV_READ))
        want |= EV_WRITE;
    return want;
}

static void handshake_failed(struct conn *c)
{
    long verdict = SSL_get_verify_result(tls_of(c)->ssl);

    if (verdict != X509_V_OK) {
        ERR_clear_error();
        snprintf(failure, sizeof(failure), "certificate verify failed: %s",
                 X509_verify_cert_error_string(verdict));
    } else {
        take_error(failure, sizeof(failure));
    }
    conn_kill(c, CLOSE_PEER_GONE);
}

static bool socket_connected(int fd)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);

    return getpeername(fd, (struct sockaddr *)&peer, &len) == 0;
}

/* 1: established, 0: goes on later, -1: killed. */
int tls_handshake(struct conn *c)
{
    struct tls *tls = tls_of(c);
    int rc;

    if (tls->established)
        return 1;
    if (tls->began_ns == 0 && !socket_connected(c->io.fd)) { /* refused, or not yet */
        int why = 0;
        socklen_t len = sizeof(why);

        if (getsockopt(c->io.fd, SOL_SOCKET, SO_ERROR, &why, &len) == -1 || why != 0)
            conn_kill(c, CLOSE_PEER_GONE);
        return conn_dead(c) ? -1 : 0;
    }
    if (tls->began_ns == 0)
        tls->began_ns = clock_precise_ns();
    ERR_clear_error();
    rc = SSL_do_handshake(tls->ssl);
    if (rc == 1) {
        tls->established = true;
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

/* As recv(2) and send(2) would say it. */
static ssize_t wait_or_end(const struct tls *tls, bool reading)
{
    if (reading && tls->end == TLS_END_NOTIFIED)
        return 0;
    errno = tls->end == TLS_END_BROKEN ? ECONNRESET : EAGAIN;
    return -1;
}

ssize_t tls_recv(struct conn *c, char *p, size_t max)
{
    struct tls *tls = tls_of(c);
    size_t total = 0, got;

    if (!tls->established) {
        errno = EAGAIN;
        return -1;
    }
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

ssize_t tls_sendv(struct conn *c, const struct iovec *iov, size_t n)
{
    struct tls *tls = tls_of(c);
    size_t total = 0, sent;

    if (!tls->established) {
        errno = EAGAIN;
        return -1;
    }
    if (tls->end == TLS_END_BROKEN)
        return wait_or_end(tls, false);
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

void tls_close_notify(struct conn *c)
{
    struct tls *tls = tls_of(c);

    ERR_clear_error();
    if (!tls->established || tls->end == TLS_END_BROKEN)
        return;
    if (SSL_shutdown(tls->ssl) < 0) /* the socket is full: then without it */
        ERR_clear_error();
}

void tls_note_unread(struct conn *c)
{
    struct tls *tls = tls_of(c);

    if (tls->unread || !tls->established)
        return;
    if (SSL_pending(tls->ssl) == 0 && tls->end == TLS_END_NONE)
        return;
    tls->unread = true;
    if (ids_push(&reactor->unread, c->id) == -1)
        conn_kill(c, CLOSE_NO_MEMORY);
}

bool tls_turn(void)
{
    /* Who is queued again meanwhile waits for the next turn. */
    for (size_t n = reactor->unread.n; n > 0; n--) {
        struct conn *c = conn_find(ids_pop(&reactor->unread));

        if (!c)
            continue;
        tls_of(c)->unread = false;
        conn_read_again(c);
    }
    return reactor->unread.n > 0;
}
