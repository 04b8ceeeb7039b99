/* core/ring.h - single-producer, single-consumer ring of variable-size records in shared memory.
 *
 * A record becomes visible by one release-store of the tail and is gone by one release-store of the
 * head, so either side may be killed at any instruction: a half-written record never existed, a
 * record whose handling was not finished is seen again. Positions are 64-bit and never restart.
 * Records are contiguous (a filler closes the end of the area) and 8-byte aligned.
 *
 * Sleep protocol: the consumer announces sleep, looks once more, then blocks on its eventfd; the
 * producer writes the eventfd only when ring_wake_needed() says so. */
#ifndef ROOST_CORE_RING_H
#define ROOST_CORE_RING_H

#include <stdatomic.h>

#include "base/common.h"
#include "base/str.h"

/* What the hub holds in its own memory of one worker, so that the next hub knows what was lost with
 * it (hub_ops.debt). Not used by the ring itself. */
struct ring_debt {
    _Atomic uint32_t behind; /* generation of the worker that would miss something; 0: none */
    _Atomic uint32_t queued; /* publications queued for this worker */
    _Atomic uint32_t aside;  /* publications of this worker that are set aside */
};

/* The head has a page of its own, so that a process may see how full a ring is and not what is in
 * it. */
#define RING_HEAD_BYTES 4096

struct ring_shared { /* lives in shared memory, one per direction */
    union {
        struct {
            _Alignas(CACHE_LINE) _Atomic uint64_t tail;     /* bytes ever produced */
            _Alignas(CACHE_LINE) _Atomic uint64_t head;     /* bytes ever consumed */
            _Alignas(CACHE_LINE) _Atomic uint32_t sleeping; /* set by the consumer */
            struct ring_debt debt; /* of the worker whose inbound ring this is */
        };
        char page[RING_HEAD_BYTES];
    };
    char data[];
};

struct ring {                   /* one process's end; zeroed + ring_attach() */
    struct ring_shared *shared; /* borrowed, outlives the process */
    uint64_t position; /* producer: end of what is reserved; consumer: end of what is read */
    uint64_t next;     /* consumer: end of the record last peeked */
    uint64_t seen;     /* cached copy of the other side's counter */
    uint64_t capacity; /* bytes of data, a power of two; the other end has no say in it */
};

#define RING_CAPACITY_MIN 4096

/* Bytes of shared memory for a capacity (a power of two, at least RING_CAPACITY_MIN). */
size_t ring_bytes(uint64_t capacity);
void ring_format(struct ring_shared *s, uint64_t capacity);
/* Continue where the last incarnation of this end stopped. capacity: as it was formatted with, from
 * where the other end cannot write. */
void ring_attach_producer(struct ring *r, struct ring_shared *s, uint64_t capacity);
void ring_attach_consumer(struct ring *r, struct ring_shared *s, uint64_t capacity);

/* Largest record that can ever be written. */
size_t ring_max_record(const struct ring *r);
/* Can records of `bytes` in total, in `records` pieces of at most `largest` bytes, be written now
 * without failing? Conservative: allows for alignment and the filler. True in an empty ring,
 * wherever it begins, whenever the records, another of the largest, and 16 bytes for each of these
 * take no more than the capacity. */
bool ring_has_room(struct ring *r, size_t bytes, size_t records, size_t largest);
/* Space for one record of len bytes, or NULL when full. Write it, then ring_commit(). Several
 * reserves may precede one commit. */
void *ring_reserve(struct ring *r, size_t len) MUST_CHECK;
/* Position of the record of len bytes that was reserved last. */
uint64_t ring_last(const struct ring *r, size_t len);
void ring_commit(struct ring *r);
/* After commits: must the consumer's eventfd be written? Clears the announcement. */
bool ring_wake_needed(struct ring *r);

/* Next record without taking it; the view is valid until ring_release(), and r->position is then
 * the record's position. >0 a record, 0 empty, <0 the ring is corrupt (sizes that do not fit):
 * ring_discard(). */
int ring_peek(struct ring *r, struct str *record) MUST_CHECK;
/* Skips to the record behind the last peeked one without giving it back to the producer. */
void ring_next(struct ring *r);
/* Gives everything read so far back to the producer. */
void ring_release(struct ring *r);
/* Gives back what was read before `position`, the position of a record that was read: it and what
 * follows stay, and are seen again by whoever attaches next. */
void ring_release_to(struct ring *r, uint64_t position);
/* Gives up everything produced so far: the way out of a corrupt ring. A tail that leads nowhere is put
 * right: positions only rise, whatever the producer does, and it is silent until it commits again. */
void ring_discard(struct ring *r);
/* Announces sleep. False: there is a record after all, do not block. */
bool ring_sleep(struct ring *r);
/* Withdraws the announcement. */
void ring_awake(struct ring *r);
/* Bytes produced and not yet consumed (either end). */
uint64_t ring_used(const struct ring *r);
/* The same for whoever looks on: a snapshot of what both ends move. */
uint64_t ring_shared_used(const struct ring_shared *s);
/* Position behind everything that the consumer has given back (either end). */
uint64_t ring_taken(const struct ring *r);

#endif
