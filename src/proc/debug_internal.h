/* proc/debug_internal.h - what the files of /debug share.
 *
 * debug.c               the index, and pages about the node as shared memory has it
 * debug_connections.c   connections of all workers: walking, merging; debug_connections_query.c which
 * debug_connection.c    one connection: in full, and its end
 * debug_conn.c          a connection as JSON
 * debug_channel.c       what the settings say of a channel
 * debug_closes.c        connections that have ended
 * debug_trace.c         what is told of a connection, an address, a channel
 * debug_channels.c      channels by their subscribers */
#ifndef ROOST_PROC_DEBUG_INTERNAL_H
#define ROOST_PROC_DEBUG_INTERNAL_H

#include "net/conn.h"
#include "proto/http.h"

/* Answers with JSON, or with NO_MEMORY where rc is not 0; frees out. */
void debug_answer(struct http_exchange *x, struct buf *out, int rc);

/* The parameter of a query, decoded into out, which ends with a NUL. 1: it is there; 0: it is not;
 * -1: it is malformed or too long, or there twice. */
int debug_param(struct http_exchange *x, const char *name, char *out, size_t cap) MUST_CHECK;
/* The same as a number; 1: *out is it. */
int debug_number(struct http_exchange *x, const char *name, uint64_t *out) MUST_CHECK;
/* "W:ID". -1: it is not; an id without its worker may be another's connection there. */
int debug_id_parse(struct str text, unsigned *worker, uint64_t *id) MUST_CHECK;

/* Refuses a request whose parameters are not right; says which worker there is none of, if that is it. */
void debug_refuse_query(struct http_exchange *x);

/* debug_conn.c */
#define DEBUG_CHANNELS_LISTED 100  /* of one connection, in a listing */
#define DEBUG_CHANNELS_SHOWN  1000 /* and in full */
/* Appends an object without the brace at its end. -1: no memory. */
int debug_put_conn(struct conn *c, unsigned worker, struct buf *out) MUST_CHECK;
/* Appends what only its own page has, as members. -1: no memory. */
int debug_put_full(struct conn *c, struct buf *out) MUST_CHECK;
/* Seconds since a tick of the reactor. */
double debug_age(uint32_t tick);

void debug_connections_init(unsigned worker);
void debug_connection_init(unsigned worker);
void debug_channel_init(void);
void debug_closes_init(void);
void debug_channels_init(void);

#endif
