/* net/outq.h - what a connection could not send yet: references into shared blobs, in order.
 *
 * Exists only while something is queued. Chunks of entries come from a pool. No sockets here: the
 * caller asks for an iovec, sends, and says how much went. */
#ifndef ROOST_NET_OUTQ_H
#define ROOST_NET_OUTQ_H

#include <sys/uio.h>

#include "base/blob.h"
#include "base/list.h"
#include "base/pool.h"

struct outq_chunk;
struct outq_pools { /* the memory of a reactor's queues; zeroed: set up at first use */
    struct pool queues, chunks;
    size_t bytes; /* in all queues */
};
struct outq {                       /* link, over and owner are the owner's, the rest is private */
    struct list link;               /* unlinked at first */
    struct list over;               /* in a list while over_since is not 0 */
    uint64_t over_since;            /* the owner's, too */
    struct outq_pools *pools;       /* borrowed */
    void *owner;                    /* borrowed */
    struct outq_chunk *head, *tail; /* owned; NULL while empty */
    size_t bytes, entries;
    uint64_t since;
    uint32_t items;
    uint32_t tagged, conflate_at; /* appended with a tag since the last outq_conflate(), and when */
    size_t conflate_cost;         /* the next one is worth while: so many, or as much */
};

struct outq *outq_new(struct outq_pools *pools, void *owner, uint64_t now_ns) MUST_CHECK;
/* Takes it out of the lists it is linked in. */
void outq_free(struct outq **q);
/* Takes its own reference. items: publications, each a frame, that are all there is in it; 0: it is
 * something else. -1: no memory (the queue is unchanged). */
int outq_append(struct outq *q, struct blob *b, uint32_t offset, uint32_t end,
                uint32_t items) MUST_CHECK;
/* The same for one publication of which outq_conflate() keeps only the newest of its tag (not 0). */
int outq_append_newest(struct outq *q, struct blob *b, uint32_t offset, uint32_t end,
                       uint64_t tag) MUST_CHECK;
/* Has so much been appended with tags that it is worth a pass? Below `least` it is only worth one for
 * many. */
bool outq_wants_conflating(const struct outq *q, size_t least);
/* Has anything been appended with a tag since the last pass? */
bool outq_has_tagged(const struct outq *q);
/* Removes publications behind which there is another one of their tag, but for one that has begun
 * (ahead: as below). Returns how many. Without memory for a table: none, this time. */
uint32_t outq_conflate(struct outq *q, uint32_t ahead);
/* The first entry, just appended, is the rest of one that began at `begin`: what is before its
 * offset was sent. */
void outq_begun(struct outq *q, uint32_t begin);
/* Up to max entries from the front; returns how many. */
int outq_iovec(const struct outq *q, struct iovec *iov, int max);
/* n bytes were sent; frees what is done. now_ns restarts the age. */
void outq_sent(struct outq *q, size_t n, uint64_t now_ns);
/* Removes every publication of which no byte was sent yet; a frame that has begun stays whole, and
 * what is no publication stays. ahead: so many bytes of the first entry count as begun, too. framed:
 * publications are WebSocket frames; else an entry that has begun stays as a whole. Returns how many
 * were removed. */
uint32_t outq_drop_publications(struct outq *q, uint32_t ahead, bool framed);
size_t outq_bytes(const struct outq *q);
/* What the queue costs: its bytes and OUTQ_ENTRY_COST for each entry, so that a limit bounds many
 * tiny entries too. */
#define OUTQ_ENTRY_COST 32
size_t outq_cost(const struct outq *q);
bool outq_empty(const struct outq *q);
/* reactor_ns() of the last progress (or of the creation, or of outq_touch()). */
uint64_t outq_since(const struct outq *q);
void outq_touch(struct outq *q, uint64_t now_ns);
/* Publications in entries that are not done. */
uint32_t outq_items(const struct outq *q);
/* Returns the pools' memory; no queue may exist. */
void outq_pools_fini(struct outq_pools *pools);

#endif
