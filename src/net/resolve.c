/* net/resolve.c - see resolve.h. One c-ares channel for each question; it and the question go from a timer of their
 * own, as c-ares must not be ended from what it calls. */
#include "net/resolve.h"

#include <ares.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/reactor.h"

#ifndef RESOLV_CONF
#define RESOLV_CONF "/etc/resolv.conf"
#define NAMES_PORT  53
#endif
#define SOCKETS_MAX 16
#define TRIES       4 /* of the time for a name, before a server is asked again or the next one */

struct resolve {
    ares_channel channel;
    ev_io sockets[SOCKETS_MAX];
    unsigned used;  /* bits of sockets */
    ev_timer timer; /* c-ares' next look at the time */
    ev_timer end;   /* of all of it; at once when it is complete */
    bool complete;
    int status;
    struct resolved found;
    void (*done)(void *arg, const struct resolved *found, const char *why);
    void *arg;
};

/* Owned; whom resolv.conf named last: asked while it cannot be read. NULL: nobody yet. */
static struct ares_addr_port_node *last_named;

static void rearm(struct resolve *r)
{
    struct timeval left, *next = ares_timeout(r->channel, NULL, &left);

    ev_timer_stop(reactor->loop, &r->timer);
    if (next == NULL)
        return;
    ev_timer_set(&r->timer, (double)next->tv_sec + (double)next->tv_usec / 1e6, 0.);
    ev_timer_start(reactor->loop, &r->timer);
}

static void on_socket(struct ev_loop *loop UNUSED, ev_io *io, int events)
{
    struct resolve *r = io->data;
    int fd = io->fd;

    ares_process_fd(r->channel, events & EV_READ ? fd : ARES_SOCKET_BAD,
                    events & EV_WRITE ? fd : ARES_SOCKET_BAD);
    rearm(r);
}

static void on_timer(struct ev_loop *loop UNUSED, ev_timer *t, int events UNUSED)
{
    struct resolve *r = t->data;

    ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    rearm(r);
}

static ev_io *socket_of(struct resolve *r, int fd)
{
    ev_io *unused = NULL;

    for (unsigned i = 0; i < SOCKETS_MAX; i++) {
        if (!(r->used >> i & 1))
            unused = &r->sockets[i];
        else if (r->sockets[i].fd == fd)
            return &r->sockets[i];
    }
    return unused;
}

/* From c-ares: what it wants to know of a socket. */
static void on_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct resolve *r = arg;
    ev_io *io = socket_of(r, fd);
    unsigned bit;

    if (io == NULL) /* more servers than that: the time brings the next one */
        return;
    bit = 1u << (io - r->sockets);
    if (r->used & bit)
        ev_io_stop(reactor->loop, io);
    r->used &= ~bit;
    if (!readable && !writable)
        return;
    ev_io_init(io, on_socket, fd, (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));
    io->data = r;
    ev_io_start(reactor->loop, io);
    r->used |= bit;
}

/* --- answers --- */

static void add(struct resolved *out, const struct ares_addrinfo_node *n)
{
    union host_address *to = &out->address[out->n];

    if (n->ai_addrlen > sizeof(*to))
        return;
    memset(to, 0, sizeof(*to));
    memcpy(to, n->ai_addr, n->ai_addrlen);
    out->n++;
}

static const struct ares_addrinfo_node *of_family(const struct ares_addrinfo_node *n, int family,
                                                  bool same)
{
    while (n != NULL && (n->ai_family == family) != same)
        n = n->ai_next;
    return n;
}

/* The order that RFC 6724 gives, but one of the other family behind each, so that one that leads nowhere does not
 * stand in front of all others. */
static void take_found(struct resolved *out, const struct ares_addrinfo_node *list)
{
    int family = list->ai_family;
    const struct ares_addrinfo_node *one = list, *other = of_family(list, family, false);

    while ((one != NULL || other != NULL) && out->n < RESOLVE_MAX) {
        if (one != NULL) {
            add(out, one);
            one = of_family(one->ai_next, family, true);
        }
        if (other != NULL && out->n < RESOLVE_MAX) {
            add(out, other);
            other = of_family(other->ai_next, family, false);
        }
    }
}

static void complete(struct resolve *r, int status)
{
    if (r->complete)
        return;
    r->complete = true;
    r->status = status;
    ev_timer_stop(reactor->loop, &r->end);
    ev_timer_set(&r->end, 0., 0.);
    ev_timer_start(reactor->loop, &r->end);
}

static void on_answer(void *arg, int status, int timeouts UNUSED, struct ares_addrinfo *info)
{
    struct resolve *r = arg;

    if (status == ARES_SUCCESS && info != NULL && info->nodes != NULL && !r->complete)
        take_found(&r->found, info->nodes);
    if (info != NULL)
        ares_freeaddrinfo(info);
    if (status != ARES_EDESTRUCTION)
        complete(r, status);
}

static void resolve_free(struct resolve *r)
{
    r->complete = true; /* whatever c-ares still says */
    if (r->channel != NULL)
        ares_destroy(r->channel);
    for (unsigned i = 0; i < SOCKETS_MAX; i++)
        if (r->used >> i & 1)
            ev_io_stop(reactor->loop, &r->sockets[i]);
    ev_timer_stop(reactor->loop, &r->timer);
    ev_timer_stop(reactor->loop, &r->end);
    free(r);
}

static void on_end(struct ev_loop *loop UNUSED, ev_timer *t, int events UNUSED)
{
    struct resolve *r = t->data;
    const char *why = "no server of names has answered in time";

    if (r->complete)
        why = r->status == ARES_SUCCESS ? "the name has no address" : ares_strerror(r->status);
    r->done(r->arg, &r->found, why);
    resolve_free(r);
}

/* --- questions --- */

/* Can the servers of today be read? Where not, c-ares would ask this machine instead. */
static bool conf_is_readable(void)
{
    int fd = open(RESOLV_CONF, O_RDONLY | O_CLOEXEC);

    if (fd != -1)
        close(fd);
    return fd != -1 || errno == ENOENT;
}

static int open_channel(struct resolve *r, uint64_t timeout_ns)
{
    static bool begun;
    struct ares_options o = {.timeout = (int)(timeout_ns / NS_PER_MS / TRIES) + 1,
                             .tries = TRIES,
                             .udp_port = NAMES_PORT,
                             .tcp_port = NAMES_PORT,
                             .sock_state_cb = on_state,
                             .sock_state_cb_data = r,
                             .resolvconf_path = (char *)(uintptr_t)RESOLV_CONF};
    int which = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB | ARES_OPT_RESOLVCONF |
                ARES_OPT_UDP_PORT | ARES_OPT_TCP_PORT;
    struct ares_addr_port_node *named = NULL;
    bool readable = conf_is_readable();

    if (!begun && ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS)
        return -1;
    begun = true;
    if (ares_init_options(&r->channel, &o, which) != ARES_SUCCESS)
        return -1;
    if (!readable)
        return last_named == NULL || ares_set_servers_ports(r->channel, last_named) == ARES_SUCCESS
                   ? 0
                   : -1;
    if (ares_get_servers_ports(r->channel, &named) == ARES_SUCCESS) {
        ares_free_data(last_named);
        last_named = named;
    }
    return 0;
}

bool resolve_numeric(struct resolved *out, const char *host, uint16_t port)
{
    union host_address *a = &out->address[0];

    memset(a, 0, sizeof(*a));
    if (inet_pton(AF_INET, host, &a->v4.sin_addr) == 1) {
        a->v4.sin_family = AF_INET;
        a->v4.sin_port = htons(port);
    } else if (inet_pton(AF_INET6, host, &a->v6.sin6_addr) == 1) {
        a->v6.sin6_family = AF_INET6;
        a->v6.sin6_port = htons(port);
    } else {
        return false;
    }
    out->n = 1;
    return true;
}

struct resolve *
resolve_begin(const char *host, uint16_t port, uint64_t timeout_ns,
              void (*done)(void *arg, const struct resolved *found, const char *why), void *arg)
{
    const struct ares_addrinfo_hints hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = ARES_AI_NUMERICSERV};
    struct resolve *r = calloc(1, sizeof(*r));
    char service[8];

    if (r == NULL)
        return NULL;
    r->done = done;
    r->arg = arg;
    ev_timer_init(&r->timer, on_timer, 0., 0.);
    ev_timer_init(&r->end, on_end, (double)timeout_ns / (double)NS_PER_SEC, 0.);
    r->timer.data = r->end.data = r;
    ev_timer_start(reactor->loop, &r->end);
    if (open_channel(r, timeout_ns) == -1) {
        resolve_free(r);
        return NULL;
    }
    snprintf(service, sizeof(service), "%u", port);
    ares_getaddrinfo(r->channel, host, service, &hints, on_answer, r);
    if (!r->complete)
        rearm(r);
    return r;
}

void resolve_cancel(struct resolve *r)
{
    resolve_free(r);
}
