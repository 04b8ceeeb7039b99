/* core/batch_encode.c - the variants of a batch other than the raw one, each made once.
 *
 * Happy path: 1. the walk meets a subscriber that wants the variant and calls batch_encode() in its
 * steps 2. items are encoded one after the other, long ones in pieces, into a buffer 3. behind the
 * last one the buffer becomes the blob. Can fail: no memory; what has been encoded stays, and the
 * next call goes on from there. */
#include "core/batch.h"

#include <assert.h>

#define PIECE       (16 * 1024)              /* bytes of a payload encoded in one go */
#define VARIANT_MAX ((size_t)UINT32_MAX / 2) /* what a blob can hold */

struct batch_coding {
    struct buf out;         /* owned; as blob_begin() has it, until the last item is done */
    struct batch_part part; /* of item `done` */
    uint32_t done;          /* items encoded */
    uint32_t ends[];        /* where each of them ends in the variant */
};

static batch_encoder encoders[BATCH_VARIANTS];

void batch_register(unsigned variant, batch_encoder encode)
{
    assert(variant > BATCH_RAW && variant < BATCH_VARIANTS);
    encoders[variant] = encode;
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
    if (blob_begin(&c->out, b->raw_len) == -1) {
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

/* One piece of item c->done. */
static int encode_piece(const struct batch *b, unsigned variant, struct batch_coding *c,
                        size_t *budget)
{
    struct batch_part part = c->part;
    size_t before = c->out.len;
    int rc = encoders[variant](b, c->done, &part, PIECE, &c->out);

    if (rc >= 0 && c->out.len - BLOB_HEAD > VARIANT_MAX) {
        c->out.len = before;
        return -1;
    }
    if (rc == -1)
        return -1;
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
    assert(variant != BATCH_RAW && encoders[variant] != NULL);
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

void batch_range(const struct batch *b, unsigned variant, uint32_t i, uint32_t *offset,
                 uint32_t *end)
{
    if (variant == BATCH_RAW) {
        *offset = b->items[i].offset;
        *end = b->items[i].offset + b->items[i].size;
        return;
    }
    *offset = i == 0 ? 0 : b->coding[variant]->ends[i - 1];
    *end = b->coding[variant]->ends[i];
}
