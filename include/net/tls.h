/* net/tls.h - TLS on a connection, by OpenSSL; so far the client's side of it.
 *
 * A connection that speaks TLS has CONN_TLS. Its state stands in a table by descriptor that exists
 * only while there is one, so a plain connection pays a flag. Happy path: 1 conn_start_tls() · 2
 * the socket is connected, the handshake goes on as it becomes readable or writable · 3
 * ops->secured() · 4 what was queued meanwhile is sent; reading and writing are as on a plain
 * connection. can fail: the handshake (killed with CLOSE_PEER_GONE; tls_failure() says why), an end
 * without close_notify (as a reset). */
#ifndef ROOST_NET_TLS_H
#define ROOST_NET_TLS_H

#include "net/conn.h"

struct tls_context; /* whom to trust; one for any number of connections */

/* ca_file: PEM certificates to trust instead of the system's; "" or NULL: the system's. verify
 * false: anybody is trusted. TLS 1.2 at least. NULL: a sentence in err. */
struct tls_context *tls_client_context(const char *ca_file, bool verify, char *err,
                                       size_t errcap) MUST_CHECK;
/* tls_context_free(NULL) is fine. Connections keep what they need. */
void tls_context_free(struct tls_context *t);

/* A connection fresh from reactor_add(), connected or connecting, becomes a TLS client. host,
 * borrowed until return: the name or numeric address that the certificate must be for; a name is
 * sent as SNI (RFC 6066 §3). ALPN offers http/1.1. -1: no memory; c is killed. */
int conn_start_tls(struct conn *c, struct tls_context *t, const char *host) MUST_CHECK;
bool conn_tls_established(const struct conn *c);
/* clock_precise_ns() at which the handshake began, after TCP's; 0: not yet. */
uint64_t conn_tls_began_ns(const struct conn *c);
/* Of the last handshake that has failed in this process: a sentence; "" when none has. */
const char *tls_failure(void);

#endif
