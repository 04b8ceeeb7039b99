/* net/tcp.h - plain TCP, inlined where it is hot: what is done for each read and each delivery. */
#ifndef ROOST_NET_TCP_H
#define ROOST_NET_TCP_H

#include <errno.h>
#include <sys/socket.h>

#include "net/transport.h"

#define TCP_SEND_FLAGS (MSG_NOSIGNAL | MSG_DONTWAIT)

/* What a call that has failed with errno answers. */
ssize_t tcp_failed(void);

static inline ssize_t tcp_recv(struct conn *c, char *p, size_t max)
{
    ssize_t n = recv(conn_fd(c), p, max, MSG_DONTWAIT);

    if (LIKELY(n > 0))
        return n;
    return n == 0 ? TRANSPORT_EOF : tcp_failed();
}

static inline ssize_t tcp_send(struct conn *c, const char *p, size_t n)
{
    ssize_t sent = send(conn_fd(c), p, n, TCP_SEND_FLAGS);

    return LIKELY(sent >= 0) ? sent : tcp_failed();
}

static inline ssize_t tcp_sendv(struct conn *c, const struct iovec *iov, size_t n)
{
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = n};
    ssize_t sent = sendmsg(conn_fd(c), &msg, TCP_SEND_FLAGS);

    return LIKELY(sent >= 0) ? sent : tcp_failed();
}

/* events has changed. */
void tcp_rewatch(struct conn *c, int events);
static inline void tcp_want(struct conn *c, int events)
{
    if ((c->io.events & (EV_READ | EV_WRITE)) != events || ev_is_active(&c->io) != (events != 0))
        tcp_rewatch(c, events);
}

/* As transport_want(), if it is not TCP. */
void transport_rewatch(struct conn *c, int events);

static inline ssize_t transport_recv(struct conn *c, char *p, size_t max)
{
    return LIKELY(!(c->flags & CONN_NOT_TCP)) ? tcp_recv(c, p, max)
                                              : transport_of(c)->recv(c, p, max);
}

ssize_t tcp_raw(struct conn *c, char *p, size_t max, bool peek);
static inline ssize_t transport_raw(struct conn *c, char *p, size_t max, bool peek)
{
    const struct transport_ops *t = transport_of(c);

    return t->raw != NULL ? t->raw(c, p, max, peek) : tcp_raw(c, p, max, peek);
}

static inline ssize_t transport_send(struct conn *c, const char *p, size_t n)
{
    return LIKELY(!(c->flags & CONN_NOT_TCP)) ? tcp_send(c, p, n) : transport_of(c)->send(c, p, n);
}

static inline ssize_t transport_sendv(struct conn *c, const struct iovec *iov, size_t n)
{
    return LIKELY(!(c->flags & CONN_NOT_TCP)) ? tcp_sendv(c, iov, n)
                                              : transport_of(c)->sendv(c, iov, n);
}

/* May kill. */
static inline void transport_want(struct conn *c, int events)
{
    if (LIKELY(!(c->flags & CONN_NOT_TCP)))
        tcp_want(c, events);
    else
        transport_rewatch(c, events);
}

/* For a transport on a socket: what stands in its table besides its own. */
/* Before tcp_want(). */
void tcp_watch(struct conn *c);
int tcp_connected(struct conn *c);
int tcp_shut(struct conn *c, bool last);
void tcp_close(struct conn *c);
void tcp_linger(struct conn *c, uint64_t ns);
bool tcp_unread(const struct conn *c);

#endif
