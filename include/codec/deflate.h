/* codec/deflate.h - the payload of a message as RFC 7692 §7.2 has it: DEFLATE (RFC 1951), flushed
 * to a byte, without the four bytes 00 00 ff ff that each such flush ends with. By zlib.
 *
 * Every message stands for itself: nothing of one is needed to write or to read the next, so one
 * compressed form is good for all who take it, and a connection keeps nothing between messages.
 *
 * deflate.c compresses, inflate.c decompresses. */
#ifndef ROOST_CODEC_DEFLATE_H
#define ROOST_CODEC_DEFLATE_H

#include "base/buf.h"
#include "base/close.h"

/* How far back what is written may point (RFC 7692 §7.1.2.1). */
enum deflate_window {
    DEFLATE_32K = 0,
    DEFLATE_4K,
    DEFLATE_256, /* also for whoever takes no more than 256 bytes */
    DEFLATE_WINDOW_NR
};
_Static_assert(DEFLATE_WINDOW_NR <= 3, "a connection has two bits for it, one value is for none");
/* The largest one for a peer that keeps 2^bits bytes, 8 to 15. */
enum deflate_window deflate_window_of(unsigned bits);
/* Does a message of so many bytes come out the same with this window as with any larger one? */
bool deflate_reaches(enum deflate_window window, size_t bytes);

struct deflater; /* one message; pooled */

/* Borrows one for a message. level: 1 to 9. NULL: no memory. */
struct deflater *deflate_attach(enum deflate_window window, int level) MUST_CHECK;
/* Gives it back and nulls *d, whether the message was completed or not. Safe on a NULL *d. */
void deflate_detach(struct deflater **d);
/* Appends what comes of the next piece of the message to out; last: the message ends with it. -1:
 * no memory, or a piece of more than DEFLATE_PIECE_MAX bytes; only deflate_detach() may follow. */
#define DEFLATE_PIECE_MAX ((size_t)1 << 30)
int deflate_piece(struct deflater *d, struct str piece, bool last, struct buf *out) MUST_CHECK;
/* A whole message. -1: no memory; out has what it had before. */
int deflate_message(enum deflate_window window, int level, struct str data,
                    struct buf *out) MUST_CHECK;

struct inflate_limits {
    uint64_t bytes; /* of the message, decompressed */
    uint64_t ratio; /* of them for each compressed one, beyond INFLATE_FREE; 0: no limit */
};
/* So many bytes may come of anything: people do send a megabyte of one letter. */
#define INFLATE_FREE ((uint64_t)1024 * 1024)

/* Decompresses a message into out, which is empty. -1: *why is CLOSE_BAD_DEFLATE,
 * CLOSE_MESSAGE_TOO_BIG, CLOSE_INFLATE_RATIO or CLOSE_NO_MEMORY, and out has no memory. It grows
 * with what comes out, never beyond the limits. */
int inflate_message(struct str in, const struct inflate_limits *limits, struct buf *out,
                    enum close_reason *why) MUST_CHECK;

#endif
