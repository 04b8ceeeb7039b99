/* net/listener.h - accepting from listening sockets (net/listener_socket.h).
 *
 * A TCP listener has one for each worker, which accepts from it, and others while that one does not
 * serve. A socket that cannot be multiplied (UNIX, or passed to the daemon) is shared: all workers
 * accept from it. Whoever holds more than its share of its connections waits a turn, as long as
 * others accept. */
#ifndef ROOST_NET_LISTENER_H
#define ROOST_NET_LISTENER_H

#include <ev.h>
#include <stdatomic.h>

#include "net/conn.h"

/* What one worker has of a listener. Written by that worker alone. */
struct listener_count {
    _Atomic uint64_t connections; /* refused ones not counted */
    _Atomic uint64_t accepts;     /* ever */
};
/* What the other workers have of it. */
struct listener_others {
    uint64_t connections;
    uint64_t accepts;
    unsigned serving;             /* those that serve, and */
    uint64_t serving_connections; /* what they have */
};

struct listener { /* one per worker and address; embedded by proc */
    ev_io io;
    const struct conn_ops *ops; /* given to each new connection */
    unsigned index;             /* in config.listener */
    bool stand_in; /* another worker's, which does not serve; set after listener_start() */
    bool shared;   /* all workers accept from it; set likewise */
    bool paused;   /* after EMFILE or the like: until a connection ends or a second passes */
    bool stopped;  /* until net/overload.c says that it may go on */
    bool slowed;   /* for a moment: the listener's accept_rate */
    bool waits;    /* a turn, or has waited one; the others had accepted so many: */
    uint64_t seen_accepts;
    struct list link;   /* in reactor->paused, for each of those */
    uint64_t resume_ns; /* when paused, slowed or waiting */
};

/* Starts accepting on fd (borrowed), which is that of config.listener[index], in the reactor: at most config.accept_budget a turn. Over a
 * limit (config.max_connections for the node, RLIMIT_NOFILE, config.max_connections_per_address) a
 * connection is accepted with CONN_REFUSED and its reason while a small reserve lasts, closed at
 * once beyond it. Clients and operators have places of their own (config.max_admin_connections):
 * on an admin listener who waits longest makes room.
 *
 * Happy path of a connection: PROXY, if the listener's proxy_protocol says so: proxy_receive() ·
 * SECURING, with tls_certificate: the transport's secure(), then ops->secured() · HTTP. Each has its
 * deadline. can fail: the header or the handshake, their deadlines. */
void listener_start(struct listener *l, int fd, unsigned index, const struct conn_ops *ops);
/* Stops accepting; the fd stays open. Safe on a zeroed struct and to repeat. */
void listener_stop(struct listener *l);

#endif
