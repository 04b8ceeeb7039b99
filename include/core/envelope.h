/* core/envelope.h - a publication on its way between nodes.
 *
 * What an engine's server carries and keeps: the record's parts that mean something elsewhere, and
 * who it is from, so that its publisher's node knows it again. The first byte is the version; a
 * node refuses others'. Numbers are little-endian. What comes out of a server is checked like any
 * input. */
#ifndef ROOST_CORE_ENVELOPE_H
#define ROOST_CORE_ENVELOPE_H

#include "base/buf.h"
#include "core/record.h"

#define ENVELOPE_VERSION 1
/* Where ENVELOPE_ORIGIN_BYTES of a written one begin that are the same when it is written again, and
 * in no other: node, source, generation, position. */
#define ENVELOPE_ORIGIN_AT    16
#define ENVELOPE_ORIGIN_BYTES 24
/* Where `count` stands, for who knows it later than the rest: 8 bytes, little-endian. */
#define ENVELOPE_COUNT_AT 64
#define ENVELOPE_HEADER   72

struct envelope {
    uint64_t node;    /* of the publisher's hub */
    uint64_t call;    /* the engine's number for it, in that hub's life */
    uint64_t wall_ms; /* since 1970, by that node's clock */
    uint64_t count;   /* of the worker's publications in the channel, from 1; 0: nobody counts */
    struct record r;  /* kind, flags, asker, source, generation, token, position, data, fields */
};

/* Appends it. -1: no memory, or more than 4 GiB (out is unchanged). */
int envelope_write(struct buf *out, const struct envelope *e) MUST_CHECK;
/* Takes the next one off *rest: views into it. > 0: there it is; 0: the end; -1: malformed, or of another
 * version. */
int envelope_next(struct str *rest, struct envelope *out) MUST_CHECK;

#endif
