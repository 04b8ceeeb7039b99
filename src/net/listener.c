#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/metrics.h"
#include "net/proxy.h"
#include "net/refusal.h"
#include "net/tls_server.h"
#include "net_internal.h"
#include "tcp.h"

#define PAUSE_NS NS_PER_SEC
/* A client that says nothing is shown to us after this many seconds only. */
#define DEFER_ACCEPT_S 1

static int listener_error(int fd, const struct address *a, const char *what, char *err,
                          size_t errcap)
{
    int saved = errno;
    char where[CONN_ADDRESS_MAX];

    address_format(a, where, sizeof(where));
    snprintf(err, errcap, "%s: cannot %s: %s", where, what, strerror(saved));
    if (fd != -1)
        close(fd);
    errno = saved;
    return -1;
}

static int set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof(value));
}

/* What accepted sockets inherit, so that accepting needs no further system call. NOTSENT_LOWAT
 * keeps a slow client's backlog in our queue, where the limits see it, instead of in the kernel. */
static int listener_set_options(int fd, int family, int64_t send_buffer)
{
    if (set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1) == -1 ||
        set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1) == -1 ||
        set_int(fd, SOL_SOCKET, SO_SNDBUF, (int)send_buffer) == -1 ||
        set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1) == -1 ||
        set_int(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, (int)send_buffer) == -1 ||
        set_int(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, DEFER_ACCEPT_S) == -1)
        return -1;
    if (family == AF_INET6)
        return set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    return 0;
}

int listener_open(struct address *a, int backlog, int64_t send_buffer, char *err, size_t errcap)
{
    struct sockaddr *sa = (struct sockaddr *)&a->sa;
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd == -1)
        return listener_error(fd, a, "open a socket", err, errcap);
    if (listener_set_options(fd, sa->sa_family, send_buffer) == -1)
        return listener_error(fd, a, "set socket options", err, errcap);
    if (bind(fd, sa, a->len) == -1)
        return listener_error(fd, a, "bind", err, errcap);
    if (listen(fd, backlog) == -1)
        return listener_error(fd, a, "listen", err, errcap);
    a->len = sizeof(a->sa);
    if (getsockname(fd, sa, &a->len) == -1)
        return listener_error(fd, a, "read the bound address", err, errcap);
    return fd;
}

/* Over a limit: kept for a short answer while the reserve lasts. True: kept. */
static bool listener_keep_refused(int fd, enum close_reason why)
{
    if (reactor->refused < reactor->refused_max)
        return true;
    METRIC_INC(closes[why]);
    close(fd);
    return false;
}

void accepted_next(struct conn *c)
{
    conn_set_state(c, transport_of(c)->secure != NULL ? CONN_SECURING : CONN_HTTP);
    conn_arm(c, c->state == CONN_SECURING ? (uint64_t)config.tls_handshake_timeout
                                          : (uint64_t)config.header_timeout);
}

/* The connection in its first state. NULL: no memory (fd closed). */
static struct conn *accepted_new(const struct listener *l, int fd, const struct sockaddr *peer,
                                 unsigned flags)
{
    const struct listener_options *o = &config.listener[l->index];
    enum conn_state first = o->proxy_protocol     ? CONN_PROXY
                            : listener_has_tls(o) ? CONN_SECURING
                                                  : CONN_HTTP;
    struct conn *c;

    flags |= CONN_VIA(l->index);
    if (LIKELY(first == CONN_HTTP))
        return reactor_add(fd, l->ops, peer, flags);
    c = listener_has_tls(o) ? tls_accept(fd, l->ops, peer, flags, first)
                            : conn_new(fd, l->ops, peer, flags, first);
    if (c == NULL) {
        close(fd);
        return NULL;
    }
    tcp_watch(c);
    if (first == CONN_PROXY)
        proxy_begin(c);
    conn_update_events(c);
    return c;
}

static void listener_add(struct listener *l, int fd, const struct sockaddr *peer, uint64_t total)
{
    bool admin = listener_is_admin(&config.listener[l->index]);
    enum close_reason why;
    unsigned flags = admin ? CONN_ADMIN : 0;
    bool counted = false;
    struct conn *c;

    why = admin ? admission_check_admin() : admission_check(peer, total, &counted);
    if (why != CLOSE_NONE) {
        refusal_say_peer(peer, why);
        if (!listener_keep_refused(fd, why))
            return;
        flags |= CONN_REFUSED;
    }
    c = accepted_new(l, fd, peer, flags);
    if (c != NULL) {
        c->refusal = (uint8_t)why;
        c->flags |= counted ? CONN_COUNTED : 0;
        if (flags == CONN_ADMIN)
            admission_admin_added(c);
        return;
    }
    METRIC_INC(closes[CLOSE_NO_MEMORY]);
    refusal_say_peer(peer, CLOSE_NO_MEMORY);
    if (counted) {
        uint8_t address[16];
        uint16_t port;

        address_bytes(peer, address, &port);
        admission_leave(address);
    }
}

static void listener_rest(struct listener *l, bool *why)
{
    ev_io_stop(reactor->loop, &l->io);
    *why = true;
    list_append(&reactor->paused, &l->link);
}

static void listener_pause(struct listener *l)
{
    LOG(LOG_WARN, "accept failed, pausing", KV_ERRNO(errno),
        KV_S("listener", listener_label(&config.listener[l->index])));
    l->resume_ns = clock_ns() + PAUSE_NS;
    listener_rest(l, &l->paused);
}

/* After accept4() failed. True: try the next one. */
static bool listener_accept_failed(struct listener *l)
{
    switch (errno) {
    case EAGAIN:
        return false;
    case EINVAL: /* the master has shut the socket down for all who hold it: there will be no more
                  */
        ev_io_stop(reactor->loop, &l->io);
        return false;
    case EINTR:
    case ECONNABORTED: /* and other errors of a connection that ended in the queue, accept(2) */
    case EPROTO:
    case ENETDOWN:
    case EHOSTUNREACH:
    case ENETUNREACH:
        METRIC_INC(accept_errors);
        return true;
    default: /* EMFILE, ENFILE, ENOBUFS, ENOMEM: the queue stays readable, so wait instead of
                spinning */
        METRIC_INC(accept_errors);
        listener_pause(l);
        return false;
    }
}

static uint64_t node_connections(void)
{
    return reactor->cfg.node_connections != NULL ? reactor->cfg.node_connections()
                                                 : reactor->client_connections;
}

static void listener_on_event(struct ev_loop *loop UNUSED, ev_io *io, int revents UNUSED)
{
    struct listener *l = CONTAINER_OF(io, struct listener, io);
    /* The sum over the node is asked for once; what this batch adds is counted on top. */
    uint64_t others = node_connections() - reactor->client_connections;
    bool admin = listener_is_admin(&config.listener[l->index]);
    struct sockaddr_storage sa;
    socklen_t len;
    int fd;

    for (int64_t i = 0; i < config.accept_budget; i++) {
        if (!admin && overload_stops()) {
            listener_rest(l, &l->stopped);
            return;
        }
        len = sizeof(sa);
        fd = accept4(io->fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd == -1) {
            if (!listener_accept_failed(l))
                return;
            continue;
        }
        METRIC_INC(accepts);
        if (l->stand_in)
            METRIC_INC(accepts_stand_in);
        listener_add(l, fd, (struct sockaddr *)&sa, others + reactor->client_connections);
    }
}

void listener_start(struct listener *l, int fd, unsigned index, const struct conn_ops *ops)
{
    l->ops = ops;
    l->index = index;
    l->paused = l->stopped = false;
    l->stand_in = false;
    list_init(&l->link);
    ev_io_init(&l->io, listener_on_event, fd, EV_READ);
    ev_io_start(reactor->loop, &l->io);
}

void listener_stop(struct listener *l)
{
    if (l->ops == NULL)
        return;
    list_remove(&l->link);
    l->paused = l->stopped = false;
    ev_io_stop(reactor->loop, &l->io);
}

static bool listener_rests(const struct listener *l, bool fds_freed)
{
    return l->stopped ? reactor->overload.stopped : !fds_freed && clock_ns() < l->resume_ns;
}

void listener_resume(bool fds_freed)
{
    struct list all, *n;

    list_take(&all, &reactor->paused);
    while ((n = list_pop(&all)) != NULL) {
        struct listener *l = LIST_ENTRY(n, struct listener, link);

        if (listener_rests(l, fds_freed)) {
            list_append(&reactor->paused, n);
            continue;
        }
        l->paused = l->stopped = false;
        ev_io_start(reactor->loop, &l->io);
    }
}
