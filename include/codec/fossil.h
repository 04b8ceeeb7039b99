/* codec/fossil.h - the difference of two payloads in Fossil's delta format.
 *
 * The text of a delta: the target's length and a line end; then commands: `N@O,` copies N bytes from
 * offset O of the source, `N:` inserts the N bytes that follow; at last the target's checksum and `;`.
 * Numbers are in base 64.
 *
 * The time is linear in both lengths (a megabyte takes 3 to 13 ms): of the places of the source that
 * look like one of the target's, a bounded number is tried, and when nothing has been found for
 * long, no more is looked for. What is inserted of a target that is UTF-8 is UTF-8, too, so the delta
 * can be sent as text. */
#ifndef ROOST_CODEC_FOSSIL_H
#define ROOST_CODEC_FOSSIL_H

#include "base/buf.h"
#include "base/str.h"

/* Appends to out the delta that makes target from source, if it has less than max bytes. >0: done.
 * 0: it would not; out is unchanged. -1: no memory, or one of them has 2^31 bytes or more; out is
 * unchanged. work: memory that may be kept for the next call. */
int fossil_create(struct str source, struct str target, size_t max, struct buf *work,
                  struct buf *out) MUST_CHECK;
/* Appends the target, which has at most max bytes. -1: not a delta of this source, or no memory; out
 * is unchanged. */
int fossil_apply(struct str source, struct str delta, size_t max, struct buf *out) MUST_CHECK;

#endif
