/* net/listener_socket.h - listening sockets, as the master opens them before it forks.
 *
 * All are non-blocking and close-on-exec, and have the options that accepted sockets inherit
 * (TCP_NODELAY, SO_SNDBUF, TCP_NOTSENT_LOWAT, TCP_DEFER_ACCEPT). -1 is with errno and a sentence in
 * err, which begins with the address. */
#ifndef ROOST_NET_LISTENER_SOCKET_H
#define ROOST_NET_LISTENER_SOCKET_H

#include <sys/types.h>

#include "net/address.h"

struct listener_socket {
    int backlog;
    int64_t send_buffer;
    bool ipv6_only; /* [::] is not for IPv4 too */
};

/* Who may connect to a UNIX socket. */
struct listener_file {
    mode_t mode;
    uid_t owner; /* -1: as it comes */
    gid_t group;
};

/* A bound and listening SO_REUSEPORT socket. Port 0 is resolved into *a, so that the next call
 * binds the same port. */
int listener_open(struct address *a, const struct listener_socket *s, char *err,
                  size_t errcap) MUST_CHECK;
/* A UNIX socket. A file that a daemon has left is replaced, one that somebody listens on, or that
 * is no socket, is not. There is no moment at which others than file says may connect. */
int listener_open_unix(const struct address *a, const struct listener_socket *s,
                       const struct listener_file *file, char *err, size_t errcap) MUST_CHECK;
/* fd has been passed to the process: is it a listening stream socket? Its address into *a. It gets
 * what the others have, as far as it can. */
int listener_adopt(int fd, const struct listener_socket *s, struct address *a, char *err,
                   size_t errcap) MUST_CHECK;

#endif
