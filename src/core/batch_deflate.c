/* core/batch_deflate.c - the compressed variants of a batch (RFC 7692), each made once for all who
 * have agreed on its window.
 *
 * Happy path:
 *   1. the form that is to be compressed is encoded first (batch_encode())
 *   2. if all its messages are short, it is the same as another variant: with a smaller window, which
 *      costs less, or not compressed at all
 *   3. else its messages are compressed one after the other, long ones in pieces.
 * Can fail: no memory; what has been done of other messages stays, and the next call begins with
 * this one again. */
#include "base/config.h"
#include "base/metrics.h"
#include "batch_internal.h"
#include "codec/ws_tx.h"
#include "core/framing.h"

#define COSTS 8 /* a byte compressed takes as long as so many encoded */

static struct str frame_of(const struct batch *b, unsigned form, uint32_t i)
{
    uint32_t start, end;

    batch_range(b, form, i, &start, &end);
    return (struct str){b->variant[form]->data + start, end - start};
}

static struct str payload_of(struct str frame)
{
    return str_skip(frame, ws_tx_header_size(frame));
}

/* The variant that this one is the same as. */
static unsigned same_as(const struct batch *b, unsigned form, unsigned window)
{
    size_t longest = 0;

    for (uint32_t i = 0; i < b->nitems; i++)
        longest = MAX(longest, payload_of(frame_of(b, form, i)).n);
    if (longest < (size_t)config.compression_min_size)
        return form;
    for (unsigned w = DEFLATE_WINDOW_NR - 1; w > window; w--)
        if (deflate_reaches((enum deflate_window)w, longest))
            return batch_deflated(form, w + 1);
    return batch_deflated(form, window + 1);
}

/* The message as it is. */
static int copy(struct batch_coding *c, struct str frame)
{
    if (buf_append(&c->out, frame) == -1)
        return -1;
    batch_coding_item_done(c);
    return 0;
}

static int begin(struct batch_coding *c, unsigned window)
{
    c->deflater = deflate_attach((enum deflate_window)window, (int)config.compression_level);
    if (c->deflater == NULL)
        return -1;
    return framing_open(FRAMING_WS, &c->out);
}

/* All of it has been compressed: was it worth it? */
static int finish(struct batch_coding *c, struct str frame)
{
    size_t start = c->part.start, before = payload_of(frame).n, after;
    bool binary = (frame.p[0] & 0x0f) == WS_OP_BINARY;

    deflate_detach(&c->deflater);
    if (framing_close(FRAMING_WS, start, binary, &c->out) == -1)
        return -1; /* UNTESTED: such a frame needs no memory at its end */
    after = payload_of((struct str){c->out.p + start, c->out.len - start}).n;
    METRIC_INC(deflated);
    METRIC_ADD(deflated_from_bytes, before);
    METRIC_ADD(deflated_to_bytes, MIN(before, after));
    if (after >= before) {
        c->out.len = start;
        return copy(c, frame);
    }
    ws_tx_deflated((uint8_t *)c->out.p + start);
    batch_coding_item_done(c);
    return 0;
}

/* The next piece of item c->done. -1: no memory. */
static int step(const struct batch *b, unsigned form, unsigned window, struct batch_coding *c,
                size_t *budget)
{
    struct str frame = frame_of(b, form, c->done), payload = payload_of(frame), piece;

    if (c->deflater == NULL && payload.n < (size_t)config.compression_min_size) {
        batch_spend(budget, frame.n);
        return copy(c, frame);
    }
    if (c->deflater == NULL && begin(c, window) == -1)
        return -1;
    piece = str_skip(payload, c->part.done);
    piece.n = MIN(piece.n, (size_t)BATCH_PIECE);
    c->part.done += piece.n;
    batch_spend(budget, piece.n * COSTS);
    if (deflate_piece(c->deflater, piece, c->part.done == payload.n, &c->out) == -1)
        return -1;
    return c->part.done == payload.n ? finish(c, frame) : 0;
}

/* False: call again. True: it is there, or memory has run out. */
static bool make(struct batch *b, unsigned form, unsigned variant, size_t *budget)
{
    unsigned window = (variant - BATCH_FORM_NR) / BATCH_WS_NR;
    struct batch_coding *c = batch_coding_of(b, variant);

    if (c == NULL)
        c = batch_coding_new(b, variant, b->variant[form]->len / 2);
    if (c == NULL)
        return true;
    while (c->done < b->nitems) {
        if (*budget == 0)
            return false;
        if (step(b, form, window, c, budget) == -1) {
            deflate_detach(&c->deflater);
            c->out.len = c->part.start;
            c->part = (struct batch_part){.start = c->out.len};
            return true;
        }
    }
    b->variant[variant] = blob_finish(&c->out);
    return true;
}

bool batch_deflate(struct batch *b, unsigned variant, size_t *budget)
{
    unsigned form = (variant - BATCH_FORM_NR) % BATCH_WS_NR;
    unsigned window = (variant - BATCH_FORM_NR) / BATCH_WS_NR, same = variant;

    if (!batch_encode(b, form, budget))
        return false;
    if (b->variant[form] == NULL)
        return true;
    if (batch_coding_of(b, variant) == NULL)
        same = same_as(b, form, window);
    if (same == variant)
        return make(b, form, variant, budget);
    if (!batch_encode(b, same, budget))
        return false;
    if (b->variant[same] != NULL) {
        b->variant[variant] = blob_get(b->variant[same]);
        b->deflated = true;
    }
    return true;
}
