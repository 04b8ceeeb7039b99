/* net/tls.h - TLS as a transport, by OpenSSL (tls.c, tls_client.c, tls_memory.c); the server's
 * side: net/tls_server.h.
 *
 * A connection speaks it when reactor_connect() is given a context. What is OpenSSL's stands behind
 * the session (net/transport.h), so a plain connection pays nothing. can fail: the handshake
 * (killed with CLOSE_PEER_GONE; tls_failure() says why), an end without close_notify (as a reset).
 */
#ifndef ROOST_NET_TLS_H
#define ROOST_NET_TLS_H

#include "net/conn.h"

struct tls_context; /* whom to trust; one for any number of connections */

/* For reactor_connect(), whose host is the name or numeric address that the certificate must be
 * for; a name is sent as SNI (RFC 6066 §3). ALPN offers http/1.1. ca_file: PEM certificates to
 * trust instead of the system's; "" or NULL: the system's. verify false: anybody is trusted.
 * TLS 1.2 at least. NULL: a sentence in err. */
struct tls_context *tls_client_context(const char *ca_file, bool verify, char *err,
                                       size_t errcap) MUST_CHECK;
/* Trusts those that show the first certificate of one of these files (PEM; line ends between), and
 * nobody else. */
struct tls_context *tls_client_context_of(const char *certificates, char *err,
                                          size_t errcap) MUST_CHECK;
/* From texts, for who may open no file; no ALPN is offered. */
struct tls_client_texts {        /* borrowed */
    struct str trusted;          /* with verify: certificates in PEM, at least one */
    struct str certificate, key; /* to show who asks for one; certificate.n 0: none */
    bool verify;
};
struct tls_context *tls_client_context_from(const struct tls_client_texts *texts, char *err,
                                            size_t errcap) MUST_CHECK;
/* tls_context_free(NULL) is fine. Connections keep what they need. */
void tls_context_free(struct tls_context *t);

/* clock_precise_ns() at which the connection's handshake began; 0: not yet. */
uint64_t tls_began_ns(const struct conn *c);
/* Of the last handshake that has failed in this process: a sentence; "" when none has. */
const char *tls_failure(void);

/* First of all in a program, before OpenSSL is used: what that frees is overwritten (tls_memory.c).
 * -1: it is too late for that. */
int tls_wipe_memory(void) MUST_CHECK;

#endif
