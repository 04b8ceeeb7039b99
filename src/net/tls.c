/* net/tls.c - OpenSSL between a connection and its socket; both roles, once the handshake has begun.
 *
 * OpenSSL may have to write in order to read and the other way round (a key update), so while an
 * operation waits, what it waits for is kept and tls_want() turns it into what the socket is
 * watched for; any event then tries both directions. Bytes that are decrypted and not fetched make
 * no socket readable, nor does an end that came with the last of them: tls_pending() tells. */
#include "net/tls.h"

#include <openssl/err.h>

#include "net_internal.h"
#include "tcp.h"
#include "tls_internal.h"

#define RECORD_MAX SSL3_RT_MAX_PLAIN_LENGTH

static char failure[256];

void tls_take_error(char *out, size_t cap)
{
    unsigned long e = ERR_get_error();
    const char *reason = e == 0                ? NULL
                         : ERR_SYSTEM_ERROR(e) ? strerror(ERR_GET_REASON(e))
                                               : ERR_reason_error_string(e);

    ERR_clear_error();
    snprintf(out, cap, "%s", reason != NULL ? reason : "the connection was closed");
}

/* ---- the socket, as OpenSSL sees it ---- */

/* One for all connections: of its own each would need another object, and OpenSSL uses it only
 * within the calls made here. */
static struct {
    BIO *bio;
    const struct conn *conn;
    bool eof;
} socket_of;

static int bio_write(BIO *b, const char *p, int n)
{
    ssize_t sent = send(conn_fd(socket_of.conn), p, (size_t)n, TCP_SEND_FLAGS);

    BIO_clear_retry_flags(b);
    if (sent == -1 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(b);
    return (int)sent;
}

static int bio_read(BIO *b, char *p, int n)
{
    ssize_t got = recv(conn_fd(socket_of.conn), p, (size_t)n, MSG_DONTWAIT);

    BIO_clear_retry_flags(b);
    if (got == -1 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_read(b);
    socket_of.eof = got == 0;
    return (int)got;
}

static long bio_ctrl(BIO *b UNUSED, int what, long number UNUSED, void *p UNUSED)
{
    switch (what) {
    case BIO_CTRL_EOF:
        return socket_of.eof;
    case BIO_CTRL_FLUSH:
        return 1;
    default:
        return 0;
    }
}

static BIO *bio_new(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "roost socket");
    BIO *bio = NULL;

    if (method != NULL && BIO_meth_set_write(method, bio_write) == 1 &&
        BIO_meth_set_read(method, bio_read) == 1 && BIO_meth_set_ctrl(method, bio_ctrl) == 1)
        bio = BIO_new(method);
    if (bio == NULL)
        BIO_meth_free(method);
    else
        BIO_set_init(bio, 1);
    return bio;
}

int tls_set_bio(SSL *ssl)
{
    if (socket_of.bio == NULL)
        socket_of.bio = bio_new();
    if (socket_of.bio == NULL || BIO_up_ref(socket_of.bio) != 1)
        return -1;
    SSL_set_bio(ssl, socket_of.bio, socket_of.bio);
    return 0;
}

void tls_enter(const struct conn *c)
{
    socket_of.conn = c;
    socket_of.eof = false;
    ERR_clear_error();
}

/* ---- both sides ---- */

void tls_context_set_up(SSL_CTX *ctx)
{
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
}

uint64_t tls_began_ns(const struct conn *c)
{
    return tls_of(c)->began_ns;
}

const char *tls_failure(void)
{
    return failure;
}

void tls_close(struct conn *c)
{
    tls_enter(c);
    SSL_free(tls_of(c)->ssl);
    ERR_clear_error();
    free(tls_of(c)->shared.subject);
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

void tls_handshake_error(SSL *ssl, char *out, size_t cap)
{
    long verdict = SSL_get_verify_result(ssl);

    if (verdict != X509_V_OK) {
        ERR_clear_error();
        snprintf(out, cap, "certificate verify failed: %s", X509_verify_cert_error_string(verdict));
    } else {
        tls_take_error(out, cap);
    }
}

static int tls_secure(struct conn *c)
{
    struct tls *tls = tls_of(c);
    int rc;

    if (tls->accepted)
        return tls_accept_secure(c);
    if (tls->began_ns == 0)
        tls->began_ns = clock_precise_ns();
    tls_enter(c);
    rc = SSL_do_handshake(tls->ssl);
    if (rc == 1) {
        tls->read_wants_write = false;
        return 1;
    }
    rc = SSL_get_error(tls->ssl, rc);
    tls->read_wants_write = rc == SSL_ERROR_WANT_WRITE;
    if (rc == SSL_ERROR_WANT_READ || rc == SSL_ERROR_WANT_WRITE)
        return 0;
    tls_handshake_error(tls->ssl, failure, sizeof(failure));
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
        tls_enter(c);
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

/* Bytes of the next record: few for what comes first behind a silence. What the socket did not
 * take has to be offered again as long as it was. */
static size_t next_record_size(const struct tls *tls)
{
    return MAX(tls_burst_record(tls->burst), (size_t)tls->refused);
}

/* The next record's bytes, `skip` behind the beginning of iov: where they stand, if they do so in
 * one piece, else gathered. */
static struct str gather(const struct iovec *iov, size_t n, size_t skip, size_t size)
{
    static char record[RECORD_MAX];
    size_t i = 0, have = 0;

    while (skip >= iov[i].iov_len)
        skip -= iov[i++].iov_len;
    if (i + 1 == n || iov[i].iov_len - skip >= size)
        return (struct str){(const char *)iov[i].iov_base + skip, MIN(size, iov[i].iov_len - skip)};
    for (; i < n && have < size; i++, skip = 0) {
        size_t part = MIN(size - have, iov[i].iov_len - skip);

        memcpy(record + have, (const char *)iov[i].iov_base + skip, part);
        have += part;
    }
    return (struct str){record, have};
}

static ssize_t tls_sendv(struct conn *c, const struct iovec *iov, size_t n)
{
    struct tls *tls = tls_of(c);
    size_t total = 0, all = 0, sent;

    if (conn_opening(c))
        return TRANSPORT_LATER;
    if (tls->end == TLS_END_BROKEN)
        return TRANSPORT_BROKEN;
    for (size_t i = 0; i < n; i++)
        all += iov[i].iov_len;
    tls_burst_begin(&tls->burst, &tls->sent_tick);
    tls->write_wants_read = false;
    while (total < all) {
        struct str record = gather(iov, n, total, next_record_size(tls));

        tls_enter(c);
        if (SSL_write_ex(tls->ssl, record.p, record.n, &sent) != 1) {
            tls->refused = (uint16_t)record.n;
            note_stop(tls, false);
            return total > 0 ? (ssize_t)total : wait_or_end(tls, false);
        }
        tls->refused = 0;
        tls_burst_add(&tls->burst, sent);
        total += sent;
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

    tls_enter(c);
    if (tls->end != TLS_END_BROKEN &&
        SSL_shutdown(tls->ssl) < 0) /* the socket is full: then without it */
        ERR_clear_error();
    return tcp_shut(c, last);
}

static bool tls_pending(const struct conn *c)
{
    const struct tls *tls = tls_of(c);

    return tls->ssl != NULL && (SSL_pending(tls->ssl) > 0 || tls->end != TLS_END_NONE);
}

static void tls_describe(const struct conn *c, char *out, size_t cap)
{
    SSL *ssl = tls_of(c)->ssl;

    if (ssl == NULL || SSL_in_init(ssl))
        snprintf(out, cap, "tls handshake");
    else
        snprintf(out, cap, "tls %s %s", SSL_get_version(ssl), SSL_get_cipher_name(ssl));
}

const struct transport_ops tls_transport = {
    .tls = true,
    .ahead = RECORD_MAX, /* OpenSSL wants to be given again what it was given: a record */
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
