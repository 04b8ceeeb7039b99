/* base/buf.h - a growable byte buffer with an upper bound.
 *
 * Owned by whoever embeds it. A zeroed struct is a valid empty buffer with no memory. */
#ifndef ROOST_BASE_BUF_H
#define ROOST_BASE_BUF_H

#include "base/str.h"

struct buf {
    char *p;    /* owned; NULL when cap == 0 */
    size_t len; /* bytes in use */
    size_t cap; /* bytes allocated */
};

/* Room for n more bytes; grows by half or to the need. -1: no memory (buffer unchanged). */
int buf_reserve(struct buf *b, size_t n) MUST_CHECK;
int buf_append(struct buf *b, struct str s) MUST_CHECK;
int buf_append_lit(struct buf *b, const char *cstr) MUST_CHECK;
int buf_append_char(struct buf *b, char c) MUST_CHECK;
int buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3) MUST_CHECK;
/* Drops the first n bytes, moves the rest down. n <= len. */
void buf_drop(struct buf *b, size_t n);
/* Empties, keeps memory. */
void buf_clear(struct buf *b);
/* Empties and returns memory. Safe on a zeroed struct. */
void buf_fini(struct buf *b);
struct str buf_view(const struct buf *b);

#endif
