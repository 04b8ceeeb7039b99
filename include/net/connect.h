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
};

/* A connection in state CONNECTING, with TCP_NODELAY; else as reactor_add(). Nothing of ops is
 * called before it returns: then set up the session and call conn_establish(). NULL with errno: no
 * socket, no memory (ENOMEM), or refused at once. */
struct conn *reactor_connect(const struct outgoing *to, const struct conn_ops *ops) MUST_CHECK;
/* Goes on with one that is opening as far as it can; the rest comes by events. May kill. */
void conn_establish(struct conn *c);

#endif
