/* base/blob.h - immutable, reference-counted bytes shared by many output queues.
 *
 * Written between blob_new() and the first blob_get(); never afterwards. Single-threaded. */
#ifndef ROOST_BASE_BLOB_H
#define ROOST_BASE_BLOB_H

#include "base/buf.h"

struct blob {
    uint32_t refs;
    uint32_t len; /* bytes in data */
    char data[];
};

/* One reference, len uninitialised bytes. NULL: no memory. len <= BLOB_MAX. */
#define BLOB_MAX ((size_t)UINT32_MAX / 2)
struct blob *blob_new(size_t len) MUST_CHECK;
/* Gives *b, of which there is one reference, more bytes: len in all, the new ones uninitialised.
 * -1: no memory (nothing has changed). */
int blob_grow(struct blob **b, size_t len) MUST_CHECK;
/* Takes the bytes behind len away, and gives them back when they are many. One reference. */
void blob_shorten(struct blob **b, size_t len);
/* A blob holding a copy. NULL: no memory. */
struct blob *blob_from(struct str s) MUST_CHECK;
/* A blob that is written as a buffer and takes over its memory. blob_begin() makes room in a zeroed
 * *out; what is appended between the two is the blob's, the bytes before BLOB_HEAD are nobody's.
 * -1: no memory. */
#define BLOB_HEAD sizeof(struct blob)
int blob_begin(struct buf *out, size_t expected) MUST_CHECK;
/* Empties *out. Needs no memory. At most BLOB_MAX bytes behind BLOB_HEAD. */
struct blob *blob_finish(struct buf *out);
struct blob *blob_get(struct blob *b);
/* Drops one reference, nulls *b. Safe on a NULL *b. */
void blob_put(struct blob **b);
/* Bytes of all live blobs of this process (gauge). */
size_t blob_bytes(void);

#endif
