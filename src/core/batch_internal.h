/* core/batch_internal.h - variants in the making: what batch_encode.c and batch_deflate.c share. */
#ifndef ROOST_CORE_BATCH_INTERNAL_H
#define ROOST_CORE_BATCH_INTERNAL_H

#include "core/batch.h"

#define BATCH_PIECE (16 * 1024) /* bytes of a payload encoded, or compressed, in one go */

struct batch_coding {
    struct batch_coding *next;
    struct buf out;            /* owned; as blob_begin() has it, until the last item is done */
    struct batch_part part;    /* of item `done` */
    struct deflater *deflater; /* owned; of an item that is being compressed */
    uint32_t done;             /* items encoded */
    uint8_t variant;
    uint32_t ends[]; /* where each of them ends in the variant */
};

/* NULL: it has not been begun. */
struct batch_coding *batch_coding_of(const struct batch *b, unsigned variant);
/* Begins it. NULL: no memory. */
struct batch_coding *batch_coding_new(struct batch *b, unsigned variant,
                                      size_t expected) MUST_CHECK;
/* Item c->done ends at the end of c->out. */
void batch_coding_item_done(struct batch_coding *c);
/* Takes n from the budget, or all of it. */
static inline void batch_spend(size_t *budget, size_t n)
{
    *budget -= MIN(*budget, n);
}

/* As batch_encode(), of a compressed variant. */
bool batch_deflate(struct batch *b, unsigned variant, size_t *budget) MUST_CHECK;

#endif
