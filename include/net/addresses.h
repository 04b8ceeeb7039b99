/* net/addresses.h - how many connections an address has on this node, and how many it has opened
 * lately; the latter of each listener, too.
 *
 * Each worker has a table of what came to it, in memory that it alone writes and all may read; what
 * counts is the sum. A worker enters a connection first and looks at the sum then, so two that do
 * so at a time may both refuse, and never both pass: the limit is not exceeded.
 *
 * A table is open-addressed by a hash whose key all workers share and no client knows; the hash
 * stands for the address. Places are never moved, so a reader meets each once. What a worker that
 * was killed has left is of another life, and counts no more. */
#ifndef ROOST_NET_ADDRESSES_H
#define ROOST_NET_ADDRESSES_H

#include <stdatomic.h>

#include "base/common.h"

struct address_place {
    _Atomic uint64_t tag;    /* hash of the address; 0: never used, nothing stands behind it */
    _Atomic uint32_t life;   /* of the worker that wrote it */
    _Atomic uint32_t count;  /* connections */
    _Atomic uint32_t second; /* in which `made` were opened */
    _Atomic uint32_t made, made_before; /* and in the second before that */
};

struct addresses_of {             /* a worker's */
    struct address_place *places; /* behind those of addresses one for each listener */
    const _Atomic uint32_t *life; /* what counts; 0: nothing does */
};

struct addresses { /* as one worker sees them */
    unsigned workers, own;
    size_t places;               /* of each table; a power of two */
    uint8_t key[16];             /* the same for all */
    struct addresses_of *tables; /* borrowed, by worker */
};

struct address_use { /* on the node */
    uint64_t connections;
    uint64_t lately; /* opened within the last second, as far as two counters can tell */
};

/* Places for so many connections, each of another address, at twice. */
size_t addresses_places(uint64_t connections);
/* Of one table. */
size_t addresses_bytes(size_t places);
/* what tells apart several counts of one address, such as a listener's. */
uint64_t addresses_tag(const struct addresses *a, const uint8_t address[16], unsigned what);
/* A connection more in the own table; opened: now. -1: no place is left near its own. */
int addresses_enter(struct addresses *a, uint64_t tag, bool opened) MUST_CHECK;
/* One that was entered has ended. */
void addresses_leave(struct addresses *a, uint64_t tag);
/* One that was opened is refused: as if it had never come. */
void addresses_take_back(struct addresses *a, uint64_t tag);
struct address_use addresses_use(const struct addresses *a, uint64_t tag);

/* A listener's: one was opened; those of the last second, as above. */
void addresses_listener_made(struct addresses *a, unsigned listener);
uint64_t addresses_listener_lately(const struct addresses *a, unsigned listener);

#endif
