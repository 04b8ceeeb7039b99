/* core/batch_encode.c - the variants of a batch other than the raw one, each made once.
 *
 * Happy path:
 *   1. the walk meets a subscriber that wants the variant and calls batch_encode() in its steps
 *   2. items are encoded one after the other, long ones in pieces, into a buffer
 *   3. behind the last one the buffer becomes the blob.
 * Can fail: no memory; what has been encoded stays, and the next call goes on from there. */
#include "core/batch.h"

#include <assert.h>

#include "core/framing.h"

#define AROUND 96          /* bytes that most encodings write around a payload */
#define PIECE  (16 * 1024) /* bytes of a payload encoded in one go */

struct batch_coding {
    struct buf out;         /* owned; as blob_begin() has it, until the last item is done */
    struct batch_part part; /* of item `done` */
    uint32_t done;          /* items encoded */
    uint32_t ends[];        /* where each of them ends in the variant */
};

static batch_encoder encoders[ENCODING_NR];

static const struct {
    enum batch_encoding encoding;
    enum framing framing;
} variants[BATCH_VARIANT_NR] = {
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

void batch_coding_free(struct batch_coding *c)
{
    if (c == NULL)
        return;
    buf_fini(&c->out);
    free(c);
}

static struct batch_coding *coding_new(const struct batch *b)
{
    struct batch_coding *c = malloc(sizeof(*c) + b->nitems * sizeof(c->ends[0]));

    if (c == NULL)
        return NULL;
    *c = (struct batch_coding){.part.start = BLOB_HEAD};
    if (blob_begin(&c->out, b->raw_len + (size_t)b->nitems * AROUND) == -1) {
        batch_coding_free(c);
        return NULL;
    }
    return c;
}

/* Takes n from the budget, or all of it. */
static void spend(size_t *budget, size_t n)
{
    *budget -= MIN(*budget, n);
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
    rc = encoders[variants[variant].encoding](b, item, part, PIECE, out);
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
    spend(budget, part.done - c->part.done + (c->out.len > before ? c->out.len - before : 0));
    c->part = part;
    if (rc == 0) {
        c->ends[c->done++] = (uint32_t)(c->out.len - BLOB_HEAD);
        c->part = (struct batch_part){.start = c->out.len};
    }
    return 0;
}

bool batch_encode(struct batch *b, unsigned variant, size_t *budget)
{
    struct batch_coding *c = b->coding[variant];

    assert(b->sealed);
    if (b->variant[variant] != NULL)
        return true;
    assert(variant != BATCH_RAW && encoders[variants[variant].encoding] != NULL);
    if (c == NULL)
        c = b->coding[variant] = coding_new(b);
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

void batch_encoded_range(const struct batch *b, unsigned variant, uint32_t i, uint32_t *start,
                         uint32_t *end)
{
    *start = i == 0 ? 0 : b->coding[variant]->ends[i - 1];
    *end = b->coding[variant]->ends[i];
}
