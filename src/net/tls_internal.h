/* net/tls_internal.h - what dial.c, tls.c, tls_accept.c, tls_client.c, tls_pem.c, tls_server.c
 * and tls_tickets.c share. */
#ifndef ROOST_NET_TLS_INTERNAL_H
#define ROOST_NET_TLS_INTERNAL_H

#include <openssl/ssl.h>

#include "base/clock.h"
#include "net/reactor.h"
#include "net/tls.h"
#include "net/tls_server.h"
#include "net/transport.h"

enum tls_end {
    TLS_END_NONE = 0,
    TLS_END_NOTIFIED, /* by close_notify */
    TLS_END_BROKEN,   /* OpenSSL must not be asked again (SSL_get_error(3)) */
    TLS_END_FAULT     /* the peer's, and it has been told so (net/tls_records.c) */
};

/* Begins the state of every transport that speaks TLS. */
struct tls_shared {
    struct transport transport;
    char
        *subject; /* owned: of the peer's certificate, its common name behind the NUL; NULL: none */
};

struct tls { /* by OpenSSL */
    struct tls_shared shared;
    SSL *ssl; /* owned */
    uint64_t began_ns;
    uint32_t sent_tick; /* reactor->tick of the last sending */
    uint16_t burst;     /* bytes sent since it was last silent, as far as that matters */
    uint16_t refused;   /* bytes of the record that the socket did not take */
    uint8_t end;        /* enum tls_end of what is to be read; broken: of both directions */
    bool read_wants_write : 1, write_wants_read : 1;
    bool accepted : 1; /* we are the server */
    bool queued : 1;   /* in reactor->securing */
};
_Static_assert(sizeof(struct tls) <= TRANSPORT_STATE_SIZE, "TRANSPORT_STATE_SIZE");

/* What is said behind a silence goes in records that fit a packet, so that the peer can read the
 * first of it before all of it has come. */
#define TLS_FIRST_RECORD 1370
#define TLS_FIRST_BYTES  4096
#define TLS_SILENCE_NS   NS_PER_SEC

/* Something is to be sent: *burst is 0 if it is the first behind a silence. */
static inline void tls_burst_begin(uint16_t *burst, uint32_t *sent_tick)
{
    if (reactor->tick - *sent_tick >= TLS_SILENCE_NS / WHEEL_TICK_NS)
        *burst = 0;
    *sent_tick = reactor->tick;
}
/* Bytes of the next record. */
static inline size_t tls_burst_record(uint16_t burst)
{
    return burst < TLS_FIRST_BYTES ? TLS_FIRST_RECORD : SSL3_RT_MAX_PLAIN_LENGTH;
}
static inline void tls_burst_add(uint16_t *burst, size_t n)
{
    *burst = (uint16_t)MIN(*burst + n, (size_t)TLS_FIRST_BYTES);
}

static inline struct tls *tls_of(const struct conn *c)
{
    return transport_state(c);
}

extern const struct transport_ops tls_transport;

/* tls.c */
/* What all contexts of ours have in common. */
void tls_context_set_up(SSL_CTX *ctx);
/* The oldest error that OpenSSL has queued, as a sentence; the others are forgotten. */
void tls_take_error(char *out, size_t cap);
/* Before calls of OpenSSL for c: whose socket the shared BIO means. */
void tls_enter(const struct conn *c);
/* A socket's BIO, the same for all: tls_enter() says whose. -1: no memory. */
int tls_set_bio(SSL *ssl) MUST_CHECK;

/* Why a handshake has failed. */
void tls_handshake_error(SSL *ssl, char *out, size_t cap);
/* Frees what is OpenSSL's, and closes. */
void tls_close(struct conn *c);

/* tls_pem.c */
/* The certificates of a PEM text, in order. NULL: there is none, or one of them is malformed. */
STACK_OF(X509) * tls_read_certificates(struct str text);
/* NULL: a sentence in err. */
EVP_PKEY *tls_read_key(struct str text, char *err, size_t errcap) MUST_CHECK;

/* tls_client.c */
/* A client's side of a handshake with the host, without a BIO; host NULL: its name is not looked at.
 * NULL: no memory. */
SSL *tls_client_ssl(const struct tls_context *t, const char *host) MUST_CHECK;

/* tls_accept.c: struct transport_ops.secure of an accepted connection. */
int tls_accept_secure(struct conn *c);

/* tls_server.c: as tls_server_new() has stored it. */
SSL_CTX *tls_server_context(const struct tls_server *s);

/* tls_tickets.c: contexts that are servers. -1: no memory. */
int tls_tickets_set_up(SSL_CTX *ctx) MUST_CHECK;

#endif
