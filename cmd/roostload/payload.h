/* payload.h - the text of a test message: who sent it, where, which one, when.
 *
 *   RL<run:8><publisher:8><channel:8><sequence:8><intended:16><sent:16> then dots up to the size, or payload_fill();
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
/* What stands there instead of the dots where messages are to be compressed: words and numbers,
 * others for each sequence, that compress as JSON does, to about two fifths. */
void payload_fill(char *out, size_t n, uint32_t sequence);
/* Is it, or was it once, a message of that run? */
bool payload_is_of(struct str s, uint32_t run);
/* -1: not such a message. */
int payload_read(struct str s, struct payload *out) MUST_CHECK;

#define SEEN_RECENT 32  /* sequences whose arrival is remembered in struct seen itself */
#define SEEN_OLDER  256 /* and behind them, once one of them is missing there */

struct seen_older {
    uint64_t missing[SEEN_OLDER / 64]; /* bit i: sequence last - SEEN_RECENT - i has not come */
    uint64_t beyond;                   /* missing ones that are further back */
};

struct seen { /* of one publisher's sequence in one channel, by one subscriber */
    uint32_t last;
    uint32_t missing;         /* bit i: sequence last - i has not come (yet) */
    struct seen_older *older; /* owned; NULL: nothing is missing there */
};
#define SEQUENCE_ANY UINT32_MAX /* in last: accept whatever comes */

/* Counts a sequence that has come: gap, duplicate, late. A gap that is filled is none any more. Of
 * what is further back than the window only the number is known: while some of it is missing, what
 * comes from there is taken for one of those. Sequences begin at 1.
 *   1 it had not come before   0 a duplicate   -1 no memory: s no longer knows what is missing */
int seen_add(struct seen *s, uint32_t sequence, struct load_metrics *m) MUST_CHECK;
/* Everything up to `sequence` was sent: what has not come is a gap. -1: no memory. */
int seen_expect(struct seen *s, uint32_t sequence, struct load_metrics *m) MUST_CHECK;
void seen_fini(struct seen *s);

#endif
