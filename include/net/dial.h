/* net/dial.h - connections of the tools, which wait: roostctl's and roostload's, never the
 * daemon's.
 *
 * Sockets do not block; every wait is bounded, and so is all of it together, so that a server which
 * answers one byte at a time holds nobody up. What fails returns -1 with errno. */
#ifndef ROOST_NET_DIAL_H
#define ROOST_NET_DIAL_H

#include "base/buf.h"

struct addrinfo;

struct dial_limits {
    uint64_t end_ns;  /* of all of it, by clock_precise_ns() */
    uint64_t idle_ns; /* of one wait */
};

/* A socket connected to the first of the addresses that takes it; *which (may be NULL) is its place
 * in `found`. */
int dial(const struct addrinfo *found, const struct dial_limits *l, unsigned *which) MUST_CHECK;

struct ssl_st;
struct tls_context;
struct dialed {         /* what dial() has brought, plain or by TLS; {.fd = -1}: nothing */
    int fd;             /* owned */
    struct ssl_st *ssl; /* owned; NULL: plain */
};
/* Agrees on keys with the host, as tls_client_context() says; host NULL: any name will do that the
 * context's certificates vouch for. -1: a sentence in err. */
int dial_secure(struct dialed *d, struct tls_context *t, const char *host,
                const struct dial_limits *l, char *err, size_t errcap) MUST_CHECK;
int dial_send(struct dialed *d, struct str s, const struct dial_limits *l) MUST_CHECK;
/* Waits for bytes; 0: there will be no more. */
ssize_t dial_recv(struct dialed *d, char *p, size_t max, const struct dial_limits *l) MUST_CHECK;
/* Sends a request that ends with its answer ("Connection: close") and appends the answer's body, of
 * max bytes with its head. The status; 0: what answers does not speak HTTP/1.1. */
int dial_http(struct dialed *d, struct str request, size_t max, const struct dial_limits *l,
              struct buf *body) MUST_CHECK;
void dial_close(struct dialed *d);

#endif
