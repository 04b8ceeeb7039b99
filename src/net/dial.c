#include "net/dial.h"

#include <errno.h>
#include <netdb.h>
#include <openssl/err.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "codec/http.h"
#include "tls_internal.h"

#define HEAD_MAX 65536

/* Until events (as poll's) are possible on fd. */
static int dial_wait(int fd, short events, const struct dial_limits *l)
{
    struct pollfd p = {.fd = fd, .events = events};
    uint64_t now = clock_precise_ns();
    uint64_t left = now >= l->end_ns ? 0 : MIN(l->end_ns - now, l->idle_ns);
    int rc = left == 0 ? 0 : poll(&p, 1, (int)(left / NS_PER_MS) + 1);

    if (rc == 0)
        errno = ETIMEDOUT;
    return rc > 0 || (rc == -1 && errno == EINTR) ? 0 : -1;
}

static int dial_one(const struct addrinfo *a, const struct dial_limits *l)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), why = 0;
    socklen_t len = sizeof(why);

    if (fd == -1)
        return -1;
    if (connect(fd, a->ai_addr, a->ai_addrlen) == -1 &&
        (errno != EINPROGRESS || dial_wait(fd, POLLOUT, l) == -1))
        goto err;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &len) == 0 && why == 0)
        return fd;
    errno = why;
err:
    why = errno;
    close(fd);
    errno = why;
    return -1;
}

int dial(const struct addrinfo *found, const struct dial_limits *l, unsigned *which)
{
    unsigned n = 0;

    for (const struct addrinfo *a = found; a != NULL; a = a->ai_next, n++) {
        int fd = dial_one(a, l);

        if (fd == -1)
            continue;
        if (which != NULL)
            *which = n;
        return fd;
    }
    return -1;
}

/* OpenSSL has stopped with rc: waits for what it waits for. 0: try again, -1: it is over. */
static int ssl_wait(struct dialed *d, int rc, const struct dial_limits *l)
{
    int why = SSL_get_error(d->ssl, rc);

    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return dial_wait(d->fd, why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, l);
    errno = why == SSL_ERROR_SYSCALL && errno != 0 ? errno : EPROTO;
    return -1;
}

int dial_secure(struct dialed *d, struct tls_context *t, const char *host,
                const struct dial_limits *l, char *err, size_t errcap)
{
    int rc = 0;

    d->ssl = tls_client_ssl(t, host);
    if (d->ssl == NULL || SSL_set_fd(d->ssl, d->fd) != 1) {
        snprintf(err, errcap, "no memory for TLS");
        return -1;
    }
    for (;;) {
        ERR_clear_error();
        errno = 0;
        rc = SSL_do_handshake(d->ssl);
        if (rc == 1)
            return 0;
        if (ssl_wait(d, rc, l) == -1)
            break;
    }
    if (errno == ETIMEDOUT)
        snprintf(err, errcap, "%s", strerror(errno));
    else
        tls_handshake_error(d->ssl, err, errcap);
    return -1;
}

int dial_send(struct dialed *d, struct str s, const struct dial_limits *l)
{
    while (s.n > 0) {
        size_t sent = 0;
        ssize_t n;

        if (d->ssl == NULL) {
            n = send(d->fd, s.p, s.n, MSG_NOSIGNAL);
            sent = n > 0 ? (size_t)n : 0;
            if (n == -1 && (errno != EAGAIN || dial_wait(d->fd, POLLOUT, l) == -1))
                return -1;
        } else {
            ERR_clear_error();
            errno = 0;
            if (SSL_write_ex(d->ssl, s.p, s.n, &sent) != 1 && ssl_wait(d, 0, l) == -1)
                return -1;
        }
        s = str_skip(s, sent);
    }
    return 0;
}

ssize_t dial_recv(struct dialed *d, char *p, size_t max, const struct dial_limits *l)
{
    for (;;) {
        size_t got = 0;
        ssize_t n;

        if (d->ssl == NULL) {
            n = recv(d->fd, p, max, 0);
            if (n >= 0)
                return n;
            if (errno != EAGAIN || dial_wait(d->fd, POLLIN, l) == -1)
                return -1;
        } else {
            ERR_clear_error();
            errno = 0;
            if (SSL_read_ex(d->ssl, p, max, &got) == 1)
                return (ssize_t)got;
            if (SSL_get_error(d->ssl, 0) == SSL_ERROR_ZERO_RETURN)
                return 0;
            if (ssl_wait(d, 0, l) == -1)
                return -1;
        }
    }
}

void dial_close(struct dialed *d)
{
    SSL_free(d->ssl);
    if (d->fd != -1)
        close(d->fd);
    *d = (struct dialed){.fd = -1};
}

/* Everything until the peer closes. */
static int receive(struct dialed *d, struct buf *in, size_t max, const struct dial_limits *l)
{
    for (;;) {
        ssize_t n;

        if (in->len > max || buf_reserve(in, 65536) == -1) {
            errno = EMSGSIZE;
            return -1;
        }
        n = dial_recv(d, in->p + in->len, in->cap - in->len, l);
        if (n <= 0)
            return (int)n;
        in->len += (size_t)n;
    }
}

/* The status, 0: no HTTP, -1. */
static int take_answer(struct str in, size_t max, struct buf *body)
{
    enum close_reason why;
    struct http_response r;
    struct http_body b;
    struct str data;

    if (http_response_final(&in, HEAD_MAX, &r, &why) <= 0)
        return 0;
    http_body_init_response(&b, &r);
    while (http_body_next(&b, max, &in, &data, &why) > 0)
        if (buf_append(body, data) == -1) {
            errno = ENOMEM;
            return -1;
        }
    return r.status;
}

int dial_http(struct dialed *d, struct str request, size_t max, const struct dial_limits *l,
              struct buf *body)
{
    struct buf in = {0};
    int rc = -1;

    if (dial_send(d, request, l) == 0 && receive(d, &in, max, l) == 0)
        rc = take_answer(buf_view(&in), max, body);
    buf_fini(&in);
    return rc;
}
