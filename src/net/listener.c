#include <errno.h>
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

#define PAUSE_NS     NS_PER_SEC
#define RATE_REST_NS (20 * NS_PER_MS)

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

struct totals { /* of the other workers, asked for once in a batch */
    uint64_t clients;
    struct listener_others listener;
};

static uint64_t node_connections(void)
{
    return reactor->cfg.node_connections != NULL ? reactor->cfg.node_connections()
                                                 : reactor->client_connections;
}

/* The sums are asked for once in a batch; what the batch adds is counted on top. */
static void ask_others(const struct listener *l, struct totals *others)
{
    memset(others, 0, sizeof(*others));
    others->clients = node_connections() - reactor->client_connections;
    if (l->shared && reactor->cfg.listener_others != NULL)
        reactor->cfg.listener_others(l->index, &others->listener);
}

/* Is the listener's own limit reached? It is counted before the others are looked at: so two
 * workers may both refuse the last one, and never both take it. The place is held (true in *held)
 * until the connection has its own. */
static bool listener_full(const struct listener *l, bool *held)
{
    uint64_t most = (uint64_t)config.listener[l->index].max_connections;
    _Atomic uint64_t *own = &reactor->counts[l->index].connections;
    struct listener_others others = {0};

    *held = most != 0;
    if (most == 0)
        return false;
    listener_count_add(own, 1);
    atomic_thread_fence(memory_order_seq_cst);
    if (reactor->cfg.listener_others != NULL)
        reactor->cfg.listener_others(l->index, &others);
    if (others.connections + atomic_load_explicit(own, memory_order_relaxed) <= most)
        return false;
    return listener_is_admin(&config.listener[l->index]) || !overload_make_room(l->index);
}

static enum close_reason listener_check(const struct listener *l, const struct sockaddr *peer,
                                        const struct totals *others, bool *counted)
{
    *counted = false;
    return listener_is_admin(&config.listener[l->index])
               ? admission_check_admin()
               : admission_check(peer, l->index, others->clients + reactor->client_connections,
                                 counted);
}

static void listener_add(struct listener *l, int fd, const struct sockaddr *peer,
                         const struct totals *others, bool full)
{
    bool admin = listener_is_admin(&config.listener[l->index]);
    enum close_reason why = CLOSE_LISTENER_FULL;
    unsigned flags = admin ? CONN_ADMIN : 0;
    bool counted = false;
    struct conn *c;

    if (!full)
        why = listener_check(l, peer, others, &counted);
    if (why != CLOSE_NONE) {
        refusal_say_peer(peer, why);
        if (!listener_keep_refused(fd, why))
            return;
        flags |= CONN_REFUSED;
    }
    if (!admin)
        admission_accepted(l->index);
    c = accepted_new(l, fd, peer, flags);
    if (c != NULL) {
        if (TRACE_WANTED(connect))
            conn_trace_connect(c);
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
        admission_leave(address, l->index);
    }
}

/* Closed at once: not even an answer is owed. */
static bool listener_allows(const struct listener *l, const struct sockaddr *peer)
{
    const struct networks *allowed = &config.allowed[l->index];
    uint8_t address[16];
    uint16_t port;

    if (LIKELY(allowed->n == 0))
        return true;
    address_bytes(peer, address, &port);
    return networks_have(allowed, address);
}

static void listener_take(struct listener *l, int fd, const struct sockaddr *peer,
                          const struct totals *others)
{
    bool held, full;

    if (!listener_allows(l, peer)) {
        METRIC_INC(closes[CLOSE_NOT_ALLOWED]);
        refusal_say_peer(peer, CLOSE_NOT_ALLOWED);
        close(fd);
        return;
    }
    full = listener_full(l, &held);
    listener_add(l, fd, peer, others, full);
    if (held)
        listener_count_add(&reactor->counts[l->index].connections, (uint64_t)-1);
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

/* Is the client that comes next to be left where it is for now? */
static bool listener_waits(struct listener *l)
{
    static struct log_site site = {.window_ns = 10 * NS_PER_SEC, .burst = 1};
    const struct listener_options *o = &config.listener[l->index];

    if (overload_stops()) {
        listener_rest(l, &l->stopped);
        return true;
    }
    if (!admission_waits(l->index))
        return false;
    METRIC_INC(accept_stops_rate);
    LOG_AT(&site, LOG_WARN, "accept_rate is reached: clients wait to be accepted",
           KV_S("listener", listener_label(o)), KV_I("accept_rate", o->accept_rate),
           KV_U("now", admission_rate(l->index)));
    l->resume_ns = clock_ns() + RATE_REST_NS;
    listener_rest(l, &l->slowed);
    return true;
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

/* UNIX sockets inherit nothing. */
static void set_unix(int fd)
{
    int bytes = (int)config.send_buffer_size;

    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)) == -1)
        return; /* UNTESTED: it is a socket; the kernel's default will do */
}

static void listener_on_event(struct ev_loop *loop UNUSED, ev_io *io, int revents UNUSED)
{
    struct listener *l = CONTAINER_OF(io, struct listener, io);
    struct listener_count *count = &reactor->counts[l->index];
    bool admin = listener_is_admin(&config.listener[l->index]);
    struct totals others;
    struct sockaddr_storage sa;
    socklen_t len;
    int fd;

    ask_others(l, &others);
    for (int64_t i = 0; i < config.accept_budget; i++) {
        if (!admin && listener_waits(l))
            return;
        if (l->shared && listener_stands_back(l, &others.listener))
            return;
        len = sizeof(sa);
        fd = accept4(io->fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd == -1) {
            if (!listener_accept_failed(l))
                return;
            continue;
        }
        METRIC_INC(accepts);
        listener_count_add(&count->accepts, 1);
        if (UNLIKELY(sa.ss_family == AF_UNIX))
            set_unix(fd);
        if (l->stand_in)
            METRIC_INC(accepts_stand_in);
        listener_take(l, fd, (struct sockaddr *)&sa, &others);
    }
}

void listener_start(struct listener *l, int fd, unsigned index, const struct conn_ops *ops)
{
    l->ops = ops;
    l->index = index;
    l->paused = l->stopped = l->slowed = false;
    l->stand_in = false;
    l->shared = false;
    l->waits = false;
    list_init(&l->link);
    ev_io_init(&l->io, listener_on_event, fd, EV_READ);
    ev_io_start(reactor->loop, &l->io);
}

void listener_stop(struct listener *l)
{
    if (l->ops == NULL)
        return;
    list_remove(&l->link);
    l->paused = l->stopped = l->slowed = false;
    ev_io_stop(reactor->loop, &l->io);
}

static bool listener_rests(const struct listener *l, bool fds_freed)
{
    if (l->stopped)
        return reactor->overload.stopped;
    if ((fds_freed && !l->waits && !l->slowed) || clock_ns() >= l->resume_ns)
        return false;
    reactor_wake_within(l->resume_ns - clock_ns());
    return true;
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
        l->paused = l->stopped = l->slowed = false;
        if (l->waits)
            listener_turn_comes(l);
        ev_io_start(reactor->loop, &l->io);
    }
}
