/* net/tls_server.h - the server's side of TLS: contexts from texts, what accepted connections need.
 *
 * Files are read by somebody else (proc/tls_files.h); here are texts, checked the same way wherever
 * they are used. TLS 1.2 and 1.3, Mozilla's intermediate suites, ALPN http/1.1, no session cache:
 * sessions are in tickets, whose keys all workers share.
 *
 * Happy path of an accepted connection: 1 tls_accept(), state SECURING · 2 it is readable, and takes
 * its place in the queue of handshakes · 3 step 3 of a turn goes on with as many of them as
 * config.tls_handshake_budget allows · 4 the handshake is complete: ops->secured(), state HTTP.
 * can fail: the deadline (CLOSE_TLS_TIMEOUT), the handshake (CLOSE_TLS_FAILED, counted by reason),
 * plain HTTP instead of it (answered in plain 400, CLOSE_PLAIN_ON_TLS). */
#ifndef ROOST_NET_TLS_SERVER_H
#define ROOST_NET_TLS_SERVER_H

#include <stdatomic.h>

#include "net/conn.h"

#define TLS_PAIRS_MAX 16 /* certificates of one listener */

enum tls_clients { TLS_CLIENTS_OFF = 0, TLS_CLIENTS_OPTIONAL, TLS_CLIENTS_REQUIRED };

struct tls_texts { /* all of it borrowed until return */
    struct tls_pair {
        struct str certificate, key; /* PEM; the certificate's chain behind it */
        struct str ocsp;             /* DER; n 0: none is stapled */
    } pairs[TLS_PAIRS_MAX];
    size_t npairs; /* at least one */
    enum tls_clients clients;
    struct str client_ca; /* PEM; with clients */
    unsigned listener;    /* a session of one is not resumed at another */
};

/* What a listener's connections begin with. Immutable; connections keep what they need of it. */
struct tls_server;

/* NULL: a sentence in err, and in *pair which of them is meant (npairs: none). Several pairs: the
 * name that the client asks for (SNI) chooses, then the kinds of key that it takes; where no
 * certificate has the name, the first one's. */
struct tls_server *tls_server_new(const struct tls_texts *texts, size_t *pair, char *err,
                                  size_t errcap) MUST_CHECK;
/* tls_server_free(NULL) is fine. Handshakes that have begun go on with it. */
void tls_server_free(struct tls_server *s);
/* Of a pair's certificate, wall clock: seconds since 1970. */
int64_t tls_server_expires(const struct tls_server *s, size_t pair);
/* Until when its OCSP response is good, in the same way; later it is not stapled. 0: for good. */
int64_t tls_server_ocsp_until(const struct tls_server *s, size_t pair);

/* What connections by this listener (below LISTENERS_MAX) are served with from now on; owned, and
 * so freed when another comes. NULL: nothing any more. */
void tls_server_use(unsigned listener, struct tls_server *s);
/* An accepted connection on the descriptor, in state `first` (PROXY or SECURING), that will speak TLS
 * by what its listener (CONN_VIA() of flags) is served with when its first bytes come; else as
 * reactor_add(). NULL: no memory (nothing was closed). */
struct conn *tls_accept(int fd, const struct conn_ops *ops, const struct sockaddr *peer,
                        unsigned flags, enum conn_state first) MUST_CHECK;
/* The deadline of an accepted connection in state SECURING: killed. False: it is another's. */
bool tls_overdue(struct conn *c);
/* Step 3: goes on with handshakes for config.tls_handshake_budget. True when some are left. */
bool tls_turn(void);
/* The subject of the client's certificate, which was verified: RFC 2253 text, most specific first.
 * NULL: it has shown none. Borrowed while c lives. */
const char *tls_subject(const struct conn *c);
/* Its common name, in UTF-8; "": it has none, or not just one. */
const char *tls_common_name(const struct conn *c);
/* Do these bytes begin as a TLS handshake does? */
bool tls_looks_like(struct str in);

/* Keys of tickets, newest first. In memory that is shared, written by one process: the copy in use
 * is copies[version & 1]; version 0: there are none. */
#define TLS_TICKET_KEYS 3
struct tls_ticket_key {
    uint8_t name[16], cipher[32], mac[32];
};
struct tls_ticket_keys {
    _Atomic uint32_t version;
    struct tls_ticket_key copies[2][TLS_TICKET_KEYS];
};
/* A new key, and the oldest one goes. -1: no random numbers (nothing has changed). */
int tls_tickets_rotate(struct tls_ticket_keys *keys) MUST_CHECK;
/* From now on; borrowed for good. NULL: contexts made from now on give no tickets. */
void tls_tickets_use(const struct tls_ticket_keys *keys);

#endif
