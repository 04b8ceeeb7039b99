/* codec/deflate.c - compressing messages. */
#include "codec/deflate.h"

#include "base/list.h"
#include "zlib_memory.h"

/* A peer reads without error what ends in a block with BFINAL set (RFC 7692 §7.2.3.4), or should;
 * there are clients that hang then. So what is written always ends in a flush. */
#define FLUSH_TAIL 4 /* bytes: 00 00 ff ff */
/* zlib wants more than six bytes of room, or it flushes twice. */
#define OUT_MIN   64
#define SPARE_MAX 2 /* of each window; a burst of large messages needs more for a moment */

struct deflater {
    struct list link; /* in a list of spare ones */
    z_stream z;
    enum deflate_window window;
    int level;
};

/* Measured with 1 KiB to 64 KiB of JSON and text: memory levels below 5 compress worse, those above
 * gain nothing with the smaller windows. A window of 512 bytes, the smallest that zlib writes raw,
 * never points back more than 250: zlib keeps 262 bytes of it as what it looks ahead. */
static const struct {
    int bits, memory;
    size_t reach;
} windows[DEFLATE_WINDOW_NR] = {
    [DEFLATE_32K] = {.bits = 15, .memory = 8, .reach = SIZE_MAX},
    [DEFLATE_4K] = {.bits = 12, .memory = 5, .reach = 4096 - 262},
    [DEFLATE_256] = {.bits = 9, .memory = 5, .reach = 512 - 262},
};

static struct {
    struct list list; /* struct deflater */
    unsigned n;
} spare[DEFLATE_WINDOW_NR];

enum deflate_window deflate_window_of(unsigned bits)
{
    return bits >= 15 ? DEFLATE_32K : bits >= 12 ? DEFLATE_4K : DEFLATE_256;
}

bool deflate_reaches(enum deflate_window window, size_t bytes)
{
    return bytes <= windows[window].reach;
}

static struct deflater *deflater_new(enum deflate_window window, int level)
{
    struct deflater *d = malloc(sizeof(*d));

    if (d == NULL)
        return NULL;
    *d = (struct deflater){.window = window, .level = level};
    d->z.zalloc = zlib_alloc;
    d->z.zfree = zlib_free;
    list_init(&d->link);
    if (deflateInit2(&d->z, level, Z_DEFLATED, -windows[window].bits, windows[window].memory,
                     Z_DEFAULT_STRATEGY) == Z_OK)
        return d;
    free(d);
    return NULL;
}

static void deflater_free(struct deflater *d)
{
    (void)deflateEnd(&d->z); /* says so when a message was not completed */
    free(d);
}

struct deflater *deflate_attach(enum deflate_window window, int level)
{
    struct deflater *d;

    while (spare[window].n > 0) {
        d = LIST_ENTRY(list_pop(&spare[window].list), struct deflater, link);
        spare[window].n--;
        if (d->level == level)
            return d;
        deflater_free(d); /* the setting has changed */
    }
    return deflater_new(window, level);
}

void deflate_detach(struct deflater **deflater)
{
    struct deflater *d = *deflater;

    *deflater = NULL;
    if (d == NULL)
        return;
    if (spare[d->window].n == SPARE_MAX || deflateReset(&d->z) != Z_OK) {
        deflater_free(d);
        return;
    }
    if (spare[d->window].n == 0)
        list_init(&spare[d->window].list);
    list_prepend(&spare[d->window].list, &d->link);
    spare[d->window].n++;
}

int deflate_piece(struct deflater *d, struct str piece, bool last, struct buf *out)
{
    z_stream *z;

    if (piece.n > DEFLATE_PIECE_MAX)
        return -1;
    z = &d->z;
    z->next_in = (z_const Bytef *)(uintptr_t)piece.p;
    z->avail_in = (uInt)piece.n;
    do {
        uInt room;

        if (buf_reserve(out, OUT_MIN + z->avail_in / 4) == -1)
            return -1;
        room = (uInt)MIN(out->cap - out->len, (size_t)UINT32_MAX);
        z->next_out = (Bytef *)out->p + out->len;
        z->avail_out = room;
        (void)deflate(z, last ? Z_SYNC_FLUSH : Z_NO_FLUSH); /* can but make no progress */
        out->len += room - z->avail_out;
    } while (z->avail_out == 0);
    if (last)
        out->len -= FLUSH_TAIL;
    return 0;
}

int deflate_message(enum deflate_window window, int level, struct str data, struct buf *out)
{
    struct deflater *d = deflate_attach(window, level);
    size_t before = out->len;
    int rc = d != NULL ? deflate_piece(d, data, true, out) : -1;

    deflate_detach(&d);
    if (rc == -1)
        out->len = before;
    return rc;
}
