/* net/closes.h - the last connections that have ended, one worker's, in shared memory.
 *
 * Their process writes, any other reads while it does: each record says which one it is, before and
 * behind, and one that changes meanwhile is passed over. What is read is not trusted. */
#ifndef ROOST_NET_CLOSES_H
#define ROOST_NET_CLOSES_H

#include <stdatomic.h>

#include "base/common.h"

#define CLOSES_KEPT     256 /* of each worker: a power of two */
#define CLOSES_PROTOCOL 20

struct conn;

struct closed {
    uint64_t wall_ns, id, age_ns, queued; /* queued: bytes that it was not sent */
    uint8_t address[16];
    uint16_t port;
    uint16_t code;  /* the close code that was sent; 0: none */
    uint8_t reason; /* enum close_reason */
    uint8_t listener;
    uint32_t frames_in, frames_out;
    char protocol[CLOSES_PROTOCOL]; /* ends with a NUL */
};
struct closes {         /* zeroed: there are none */
    _Atomic uint64_t n; /* ever */
    struct {
        _Atomic uint64_t number; /* from 1; 0: it is being written */
        struct closed closed;
    } ring[CLOSES_KEPT];
};

/* c is about to be freed. */
void closes_note(struct closes *closes, const struct conn *c);
/* The one of that number (from 1 to closes->n). False: it has been overwritten, or is at this moment. */
bool closes_read(const struct closes *closes, uint64_t number, struct closed *out);

#endif
