/* payload.h - the text of a test message: who sent it, where, which one, when.
 *
 *   RL<run:8><publisher:8><channel:8><sequence:8><intended:16><sent:16> then dots up to the size;
 * numbers in hex. No character needs escaping in JSON. Times are CLOCK_MONOTONIC ns of this
 * machine. */
#ifndef ROOSTLOAD_PAYLOAD_H
#define ROOSTLOAD_PAYLOAD_H

#include "base/str.h"
#include "shared.h"

#define PAYLOAD_MIN 66

struct payload {
    uint32_t run, publisher, channel, sequence;
    uint64_t intended_ns, sent_ns;
};

/* size >= PAYLOAD_MIN bytes are written to out. */
void payload_write(const struct payload *p, char *out, size_t size);
/* -1: not such a message. */
int payload_read(struct str s, struct payload *out) MUST_CHECK;

struct seen { /* of one publisher's sequence in one channel, by one subscriber */
    uint32_t last;
    uint32_t missing; /* bit i: sequence last - 1 - i has not come (yet) */
};
#define SEQUENCE_ANY UINT32_MAX /* in last: accept whatever comes */

/* Counts a sequence that has come: gap, duplicate, late. A gap that is filled is none any more;
 * what is further back than `missing` reaches counts as late. Sequences begin at 1. */
void seen_add(struct seen *s, uint32_t sequence, struct load_metrics *m);

#endif
