/* net/tcp.c - the transport that is a socket and nothing else. Not hot: src/net/tcp.h is. */
#include "tcp.h"

#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "net_internal.h"

ssize_t tcp_failed(void)
{
    switch (errno) {
    case EAGAIN:
    case EINTR:
        return TRANSPORT_LATER;
    case ENOBUFS:
    case ENOMEM:
        return TRANSPORT_NO_MEMORY;
    default:
        return TRANSPORT_BROKEN;
    }
}

static void tcp_on_event(struct ev_loop *loop UNUSED, ev_io *io, int revents)
{
    struct conn *c = CONTAINER_OF(io, struct conn, io);

    if (revents & EV_ERROR)
        conn_kill(c, CLOSE_INTERNAL); /* UNTESTED: libev found the fd invalid */
    else
        conn_event(c, revents);
}

void tcp_watch(struct conn *c)
{
    ev_io_init(&c->io, tcp_on_event, conn_fd(c), 0);
}

void tcp_rewatch(struct conn *c, int events)
{
    ev_io_stop(reactor->loop, &c->io);
    ev_io_modify(&c->io, events);
    if (events)
        ev_io_start(reactor->loop, &c->io);
}

ssize_t tcp_raw(struct conn *c, char *p, size_t max, bool peek)
{
    ssize_t n = recv(conn_fd(c), p, max, MSG_DONTWAIT | (peek ? MSG_PEEK : 0));

    if (n > 0)
        return n;
    return n == 0 ? TRANSPORT_EOF : tcp_failed();
}

int tcp_connected(struct conn *c)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);
    int why = 0;

    if (getpeername(conn_fd(c), (struct sockaddr *)&peer, &len) == 0)
        return 1;
    len = sizeof(why);
    if (getsockopt(conn_fd(c), SOL_SOCKET, SO_ERROR, &why, &len) == -1)
        return -1; /* UNTESTED: not a socket */
    /* Taken, and reset at once: that is for the first read to tell. */
    if (why == ECONNRESET || why == EPIPE)
        return 1;
    return why == 0 ? 0 : -1;
}

/* A socket of another kind has no such number: then nothing is known to be left. */
bool tcp_unread(const struct conn *c)
{
    int bytes = 0;

    return ioctl(conn_fd(c), SIOCOUTQ, &bytes) == 0 && bytes > 0;
}

int tcp_shut(struct conn *c, bool last)
{
    return last ? 0 : shutdown(conn_fd(c), SHUT_WR);
}

/* A reset gives the kernel's copy back at once instead of after minutes of retransmission to
 * somebody who does not read. */
void tcp_linger(struct conn *c, uint64_t ns)
{
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    const unsigned timeout = (unsigned)(ns / NS_PER_MS);

    if (ns == 0)
        (void)setsockopt(conn_fd(c), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    else
        (void)setsockopt(conn_fd(c), IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
}

void tcp_close(struct conn *c)
{
    close(conn_fd(c));
}

static bool tcp_pending(const struct conn *c UNUSED)
{
    return false;
}

static void tcp_describe(const struct conn *c UNUSED, char *out, size_t cap)
{
    snprintf(out, cap, "tcp");
}

const struct transport_ops tcp = {
    .recv = tcp_recv,
    .send = tcp_send,
    .sendv = tcp_sendv,
    .connected = tcp_connected,
    .shut = tcp_shut,
    .close = tcp_close,
    .linger = tcp_linger,
    .want = tcp_want,
    .pending = tcp_pending,
    .unread = tcp_unread,
    .describe = tcp_describe,
};
