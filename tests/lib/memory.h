/* tests/lib/memory.h - a transport in memory: two ends in one process, no descriptors, and a peer
 * and a way that misbehave as a seed says.
 *
 * An end is a connection of net (memory_add), or the test's own (memory_write and memory_read).
 * Bytes that are on their way are lost by a reset, and an end that is closed before it has read
 * everything resets, as TCP does. */
#ifndef ROOST_TESTS_MEMORY_H
#define ROOST_TESTS_MEMORY_H

#include "net/transport.h"

struct memory_plan {
    uint64_t seed;       /* 0: nothing is left to chance */
    size_t capacity;     /* bytes on their way in one direction; 0: 64 KiB */
    unsigned short_each; /* one call in so many moves a part only; 0: none */
    unsigned later_each; /* one in so many answers TRANSPORT_LATER although it could go on */
    unsigned stall_each; /* one in so many is the first of a row that answers so */
    unsigned reset_each; /* one in so many resets */
};

struct memory_end;

/* Both ends are the caller's until they are closed, or given to memory_add(). -1: no memory. */
int memory_pair(const struct memory_plan *plan, struct memory_end *ends[2]) MUST_CHECK;
/* The end becomes a connection's, in state `first`: HTTP for one that was accepted, CONNECTING for
 * one that connects (and finds its peer at once, unless memory_refuse()). NULL: no memory, and the
 * end is closed. */
struct conn *memory_add(struct memory_end *e, const struct conn_ops *ops,
                        const struct sockaddr *peer, unsigned flags,
                        enum conn_state first) MUST_CHECK;
/* While it waits, a CONNECTING peer is not found; memory_refuse(): it is refused. */
void memory_listen(struct memory_end *e, bool there);
void memory_refuse(struct memory_end *e);

/* The test's own end. > 0: bytes; 0 and < 0: enum transport_answer. */
ssize_t memory_write(struct memory_end *e, const void *p, size_t n) MUST_CHECK;
ssize_t memory_read(struct memory_end *e, void *p, size_t max) MUST_CHECK;
void memory_shut(struct memory_end *e);
void memory_reset(struct memory_end *e);
void memory_close(struct memory_end *e);
/* Of a connection that memory_add() has made, while it lives. */
struct memory_end *memory_of(const struct conn *c);

#endif
