/* net/outq.h - what a connection could not send yet: references into shared blobs, in order.
 *
 * Exists only while something is queued. Chunks of entries come from a pool. No sockets here: the
 * caller asks for an iovec, sends, and says how much went. */
#ifndef ROOST_NET_OUTQ_H
#define ROOST_NET_OUTQ_H

#include <sys/uio.h>

#include "base/blob.h"
#include "base/list.h"

struct outq_chunk;
struct outq {                       /* link and owner are the owner's, the rest is private */
    struct list link;               /* unlinked at first */
    void *owner;                    /* borrowed */
    struct outq_chunk *head, *tail; /* owned; NULL while empty */
    size_t bytes, entries;
    uint64_t since;
    uint32_t items;
};

struct outq *outq_new(void *owner, uint64_t now_ns) MUST_CHECK;
/* Takes it out of the list it is linked in. */
void outq_free(struct outq **q);
/* Takes its own reference. publication: may be dropped by
 * outq_drop_publications(). -1: no memory (the queue is unchanged). */
int outq_append(struct outq *q, struct blob *b, uint32_t offset, uint32_t end, bool publication,
                uint32_t items) MUST_CHECK;
/* Up to max entries from the front; returns how many. */
int outq_iovec(const struct outq *q, struct iovec *iov, int max);
/* n bytes were sent; frees what is done. now_ns restarts the age. */
void outq_sent(struct outq *q, size_t n, uint64_t now_ns);
/* The first entry is to be kept by outq_drop_publications() from now on: a part of it may be on its
 * way although nothing counts as sent. */
void outq_keep_head(struct outq *q);
/* Removes every publication entry of which no byte was sent yet (a started entry is kept: its
 * frames must stay whole; control frames are kept). Returns the number of publications removed. */
uint32_t outq_drop_publications(struct outq *q);
size_t outq_bytes(const struct outq *q);
/* What the queue costs: its bytes and OUTQ_ENTRY_COST for each entry, so that a limit bounds many
 * tiny entries too. */
#define OUTQ_ENTRY_COST 32
size_t outq_cost(const struct outq *q);
bool outq_empty(const struct outq *q);
/* clock_ns() of the last progress (or of the creation). */
uint64_t outq_since(const struct outq *q);
/* Publications in unsent entries. */
uint32_t outq_items(const struct outq *q);
/* Over all queues of this process (gauges). */
void outq_totals(size_t *queues, size_t *bytes);
/* Returns the pools' memory; no queue may exist. */
void outq_pools_fini(void);

#endif
