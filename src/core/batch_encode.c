/* core/batch_encode.c - the variants of a batch other than the raw one, each made once.
 *
 * Happy path:
 *   1. the walk meets a subscriber that wants the variant and calls batch_encode() in its steps
 *   2. items are encoded one after the other, long ones in pieces, into a buffer
 *   3. behind the last one the buffer becomes the blob.
 * Can fail: no memory; what has been encoded stays, and the next call goes on from there. */
#include "batch_internal.h"

#include <assert.h>

#include "core/framing.h"

#define AROUND 96 /* bytes that most encodings write around a payload */

static batch_encoder encoders[ENCODING_NR];

static const struct {
    enum batch_encoding encoding;
    enum framing framing;
} variants[BATCH_FORM_NR] = {
#define ENCODING(name)
#define FRAMING(name)
#define VARIANT(name, encoding, framing) {ENCODING_##encoding, FRAMING_##framing},
#include "tbl/variants.def"
#undef ENCODING
#undef FRAMING
#undef VARIANT
};

void batch_register(enum batch_encoding encoding, batch_encoder encode)
{
    assert(encoding > ENCODING_RAW && encoding < ENCODING_NR);
    encoders[encoding] = encode;
}

void batch_codings_free(struct batch_coding *first)
{
    while (first != NULL) {
        struct batch_coding *c = first;

        first = c->next;
        deflate_detach(&c->deflater);
        buf_fini(&c->out);
        free(c);
    }
}

struct batch_coding *batch_coding_of(const struct batch *b, unsigned variant)
{
    struct batch_coding *c = b->codings;

    while (c != NULL && c->variant != variant)
        c = c->next;
    return c;
}

struct batch_coding *batch_coding_new(struct batch *b, unsigned variant, size_t expected)
{
    struct batch_coding *c = malloc(sizeof(*c) + b->nitems * sizeof(c->ends[0]));

    if (c == NULL)
        return NULL;
    *c = (struct batch_coding){.part.start = BLOB_HEAD, .variant = (uint8_t)variant};
    if (blob_begin(&c->out, expected) == -1) {
        batch_codings_free(c);
        return NULL;
    }
    c->next = b->codings;
    b->codings = c;
    return c;
}

void batch_coding_item_done(struct batch_coding *c)
{
    c->ends[c->done++] = (uint32_t)(c->out.len - BLOB_HEAD);
    c->part = (struct batch_part){.start = c->out.len};
}

/* The next piece of the item that *part is in, framed. As batch_encoder, but complete items are as
 * they go on the wire. */
static int make_piece(const struct batch *b, unsigned variant, uint32_t item,
                      struct batch_part *part, struct buf *out)
{
    enum framing framing = variants[variant].framing;
    int rc;

    if (out->len == part->start && framing_open(framing, out) == -1)
        return -1;
    rc = encoders[variants[variant].encoding](b, item, part, BATCH_PIECE, out);
    if (rc == 0)
        rc = framing_close(framing, part->start, b->items[item].flags & RECORD_BINARY, out);
    return rc == -1 || out->len - BLOB_HEAD > BLOB_MAX ? -1 : rc;
}

/* One piece of item c->done. -1: no memory, nothing has changed. */
static int encode_piece(const struct batch *b, unsigned variant, struct batch_coding *c,
                        size_t *budget)
{
    struct batch_part part = c->part;
    size_t before = c->out.len;
    int rc = make_piece(b, variant, c->done, &part, &c->out);

    if (rc == -1) {
        c->out.len = before;
        return -1;
    }
    /* A long header may be left room for that is not needed in the end. */
    batch_spend(budget, part.done - c->part.done + (c->out.len > before ? c->out.len - before : 0));
    c->part = part;
    if (rc == 0)
        batch_coding_item_done(c);
    return 0;
}

bool batch_encode(struct batch *b, unsigned variant, size_t *budget)
{
    struct batch_coding *c;

    assert(b->sealed);
    if (b->variant[variant] != NULL)
        return true;
    if (variant >= BATCH_FORM_NR)
        return batch_deflate(b, variant, budget);
    assert(variant != BATCH_RAW && encoders[variants[variant].encoding] != NULL);
    c = batch_coding_of(b, variant);
    if (c == NULL)
        c = batch_coding_new(b, variant, b->raw_len + (size_t)b->nitems * AROUND);
    if (c == NULL)
        return true;
    while (c->done < b->nitems) {
        if (*budget == 0)
            return false;
        if (encode_piece(b, variant, c, budget) == -1)
            return true;
    }
    b->variant[variant] = blob_finish(&c->out);
    return true;
}

struct blob *batch_variant(const struct batch *b, unsigned variant)
{
    assert(b->sealed);
    return b->variant[variant];
}

/* One that came out the same as another has that one's items. */
void batch_encoded_range(const struct batch *b, unsigned variant, uint32_t i, uint32_t *start,
                         uint32_t *end)
{
    const struct batch_coding *c = b->codings;

    while (c != NULL && b->variant[c->variant] != b->variant[variant])
        c = c->next;
    if (c == NULL) {
        batch_range(b, BATCH_RAW, i, start, end);
        return;
    }
    *start = i == 0 ? 0 : c->ends[i - 1];
    *end = c->ends[i];
}
