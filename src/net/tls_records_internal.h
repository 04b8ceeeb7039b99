/* net/tls_records_internal.h - what tls_records.c, tls_kept.c and tls_secrets.c share. */
#ifndef ROOST_NET_TLS_RECORDS_INTERNAL_H
#define ROOST_NET_TLS_RECORDS_INTERNAL_H

#include "base/budget.h"
#include "base/buf.h"
#include "base/pool.h"
#include "codec/tls13.h"
#include "tls_records.h"

struct tls_records_part { /* of the reactor */
    struct pool secrets;  /* struct tls13, or what becomes one */
};

/* tls_records.c */
struct tls_records_part *tls_records_part(void);
/* c's records are its own from now on; shared and keys are its. */
void tls_records_begin(struct conn *c, const struct tls_shared *shared, struct tls13 *keys);

/* tls_kept.c: of what was read. Incomplete input, and accounted as such (net/partial.h). */
struct tls_kept {
    struct holder holder;
    struct buf raw;    /* the beginning of a record */
    size_t size;       /* its size; 0: not known yet */
    struct buf opened; /* what the caller had no room for */
    size_t at;         /* of opened: what is taken */
};
void tls_kept_free(struct tls_kept **k);
/* The one there is, or an empty one. NULL: no memory. */
struct tls_kept *tls_kept_make(struct tls_kept **k);
/* What is kept has changed: its account, or its end if that is nothing. Answers as recv() does, 0: go
 * on. May kill. */
ssize_t tls_kept_settle(struct conn *c, struct tls_kept **k) MUST_CHECK;
/* Hands out what is opened. k may be NULL. */
size_t tls_kept_take(struct tls_kept *k, char *p, size_t max);

#endif
