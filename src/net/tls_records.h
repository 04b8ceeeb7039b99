/* net/tls_records.h - TLS 1.3 without OpenSSL's objects, once they have made the handshake.
 *
 * What a connection then has is a struct tls13 (codec/tls13.h) from a pool that is kept out of core
 * dumps and cleansed, and a transport of its own (tls_records.c) in the place of OpenSSL's. Nothing
 * of its state is in a library object.
 *
 * Secrets come by OpenSSL's keylog callback, whose lines are read where they arrive: into memory of
 * that pool, and nowhere else. */
#ifndef ROOST_NET_TLS_RECORDS_H
#define ROOST_NET_TLS_RECORDS_H

#include "tls_internal.h"

/* Connections of a server's context may be taken over. -1: no memory. */
int tls_records_watch(SSL_CTX *ctx) MUST_CHECK;
/* The handshake of c, which is by OpenSSL and accepted, is complete: OpenSSL's objects are freed and
 * records are our own, if all of this holds: TLS 1.3 with a suite of ours, from a watched context, no
 * early data, no smaller records agreed upon, nothing waits in OpenSSL either way. What OpenSSL sent
 * and read with the secrets is counted, tickets included. False: c stays as it is. */
bool tls_records_take(struct conn *c);

#endif
