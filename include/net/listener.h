/* net/listener.h - listening sockets: opened by the master before fork, accepted from by one worker
 * each, and by others while that one does not serve. */
#ifndef ROOST_NET_LISTENER_H
#define ROOST_NET_LISTENER_H

#include <ev.h>

#include "net/address.h"
#include "net/conn.h"

/* A bound, listening, non-blocking, close-on-exec SO_REUSEPORT socket with the options that
 * accepted sockets inherit (TCP_NODELAY, SO_SNDBUF, TCP_NOTSENT_LOWAT, TCP_DEFER_ACCEPT). Port 0 is
 * resolved into *a, so that the next call binds the same port. -1 with errno and a sentence in err.
 */
int listener_open(struct address *a, int backlog, int64_t send_buffer, char *err,
                  size_t errcap) MUST_CHECK;

struct listener { /* one per worker and address; embedded by proc */
    ev_io io;
    const struct conn_ops *ops; /* given to each new connection */
    unsigned index;             /* in config.listener */
    bool stand_in;      /* another worker's, which does not serve; set after listener_start() */
    bool paused;        /* after EMFILE or the like: until a connection ends or a second passes */
    bool stopped;       /* until net/overload.c says that it may go on */
    struct list link;   /* in reactor->paused: either */
    uint64_t resume_ns; /* when paused */
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
