#include "net/dial.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "codec/http.h"

#define HEAD_MAX 65536

int dial_wait(int fd, short events, const struct dial_limits *l)
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

int dial_send(int fd, struct str s, const struct dial_limits *l)
{
    while (s.n > 0) {
        ssize_t n = send(fd, s.p, s.n, MSG_NOSIGNAL);

        if (n >= 0)
            s = str_skip(s, (size_t)n);
        else if (errno != EAGAIN || dial_wait(fd, POLLOUT, l) == -1)
            return -1;
    }
    return 0;
}

/* Everything until the peer closes. */
static int receive(int fd, struct buf *in, size_t max, const struct dial_limits *l)
{
    for (;;) {
        ssize_t n;

        if (in->len > max || buf_reserve(in, 65536) == -1) {
            errno = EMSGSIZE;
            return -1;
        }
        n = recv(fd, in->p + in->len, in->cap - in->len, 0);
        if (n == 0)
            return 0;
        if (n > 0)
            in->len += (size_t)n;
        else if (errno != EAGAIN || dial_wait(fd, POLLIN, l) == -1)
            return -1;
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

int dial_http(int fd, struct str request, size_t max, const struct dial_limits *l, struct buf *body)
{
    struct buf in = {0};
    int rc = -1;

    if (dial_send(fd, request, l) == 0 && receive(fd, &in, max, l) == 0)
        rc = take_answer(buf_view(&in), max, body);
    buf_fini(&in);
    return rc;
}
