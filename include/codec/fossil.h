/* codec/fossil.h - the difference of two payloads in Fossil's delta format.
 *
 * The text of a delta: the target's length and a line end; then commands: `N@O,` copies N bytes from
 * offset O of the source, `N:` inserts the N bytes that follow; at last the target's checksum and `;`.
 * Numbers are in base 64. The time is linear in both lengths, times a constant that bounds how many
 * places of the source are tried for each of the target. */
#ifndef ROOST_CODEC_FOSSIL_H
#define ROOST_CODEC_FOSSIL_H

#include "base/buf.h"
#include "base/str.h"

/* Appends to out the delta that makes target from source, if it has less than max bytes. >0: done.
 * 0: it would be longer; out is unchanged. -1: no memory, or source and target are too long (more
 * than 2^31 bytes). work: memory that may be kept for the next call. */
int fossil_create(struct str source, struct str target, size_t max, struct buf *work,
                  struct buf *out) MUST_CHECK;
/* Appends the target, which has at most max bytes. -1: not a delta of this source, or no memory; out
 * is unchanged. */
int fossil_apply(struct str source, struct str delta, size_t max, struct buf *out) MUST_CHECK;

#endif
