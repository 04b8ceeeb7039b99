/* net/connect.h - connections that we open. */
#ifndef ROOST_NET_CONNECT_H
#define ROOST_NET_CONNECT_H

#include "net/conn.h"

struct tls_context;

struct outgoing {                /* borrowed until return, all of it */
    const struct sockaddr *peer; /* as long as its family is */
    const struct sockaddr
        *source;             /* the address to come from, its port left to the kernel; NULL: any */
    struct tls_context *tls; /* NULL: plain TCP */
    const char *host;        /* with tls, as tls_client_context() says */
    bool tls_later;          /* with tls: conn_secure() begins it */
};

/* A connection in state CONNECTING, with TCP_NODELAY; else as reactor_add(). Nothing of ops is
 * called before it returns: then set up the session and call conn_establish(). NULL with errno: no
 * socket, no memory (ENOMEM), or refused at once. */
struct conn *reactor_connect(const struct outgoing *to, const struct conn_ops *ops) MUST_CHECK;
/* A connection that was asked for with tls_later is plain so far: now it agrees on keys, and ops->secured()
 * comes. What has come before is not the peer's by any key, so nothing of it may be taken for what comes
 * later. May kill. -1: it is dead, was not asked for so, or still has something to send. */
int conn_secure(struct conn *c) MUST_CHECK;
/* Goes on with one that is opening as far as it can; the rest comes by events. May kill. */
void conn_establish(struct conn *c);

#endif
