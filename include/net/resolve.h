/* net/resolve.h - the addresses of a host, for who may not wait: by c-ares, on the reactor's loop.
 *
 * Each question reads /etc/resolv.conf and /etc/hosts anew and asks anew, so that an answer is never older than
 * its record. A process that can no longer read resolv.conf asks the servers that it last named.
 * Happy path: 1. resolve_begin() 2. the loop watches c-ares' sockets 3. done(), from the loop.
 * can fail: there is no such name, no server answers in time (done() says so). */
#ifndef ROOST_NET_RESOLVE_H
#define ROOST_NET_RESOLVE_H

#include <netinet/in.h>

#include "base/common.h"

#define RESOLVE_MAX 8 /* addresses that are looked at */

union host_address {
    struct sockaddr sa;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};
struct resolved { /* the ones to try first come first (RFC 6724), families in turn (RFC 8305 §4) */
    unsigned n;
    union host_address address[RESOLVE_MAX];
};

struct resolve; /* a question under way */

/* Is the host a numeric address? */
bool resolve_numeric(struct resolved *out, const char *host, uint16_t port);
/* A name. done is called once, later, unless it is cancelled; n 0: why. NULL: no memory. */
struct resolve *resolve_begin(const char *host, uint16_t port, uint64_t timeout_ns,
                              void (*done)(void *arg, const struct resolved *found,
                                           const char *why),
                              void *arg) MUST_CHECK;
/* Not from within done. */
void resolve_cancel(struct resolve *r);

#endif
