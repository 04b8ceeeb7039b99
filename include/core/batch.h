/* core/batch.h - all publications of a channel that one fan-out walk delivers.
 *
 * The raw variant (WebSocket frames, contiguous) is appended to as publications arrive; other
 * variants are encoded once, when the first subscriber asks. Sealed when its walk starts; immutable
 * after. */
#ifndef ROOST_CORE_BATCH_H
#define ROOST_CORE_BATCH_H

#include "base/blob.h"
#include "base/buf.h"
#include "core/record.h"

#define BATCH_VARIANTS 4
#define BATCH_RAW      0 /* variant: each publication as one frame, unchanged */

struct batch_item {
    uint32_t offset; /* of the frame in the raw variant */
    uint32_t header; /* bytes of frame header */
    uint32_t size;   /* bytes of the frame, header included */
    uint16_t source; /* worker of origin */
    uint8_t flags;   /* enum record_flags */
    uint64_t token;  /* connection of origin, 0 for the API */
};

struct batch {
    struct batch *next; /* private to the broker: the one to be delivered after this */
    bool lost;          /* private to the broker: publications were lost before this one */
    bool sealed;
    uint32_t nitems, cap;
    struct batch_item *items; /* owned, or &first */
    struct batch_item first;  /* most batches have one */
    uint32_t raw_len;         /* bytes of the raw variant, which is longer until sealed */
    uint64_t published_ns;    /* time_ns of the oldest publication */
    struct blob *variant[BATCH_VARIANTS]; /* shared (refs) */
    uint32_t *ends[BATCH_VARIANTS]; /* owned; end offset of each item in that variant (not RAW) */
    struct str channel;             /* borrowed from the channel for as long as the batch lives */
};

/* Appends one publication as a frame to out. -1: no memory. */
typedef int (*batch_encoder)(const struct batch *b, uint32_t item, struct str payload,
                             struct buf *out);
/* At start: which encoder makes variant v (1..BATCH_VARIANTS-1). */
void batch_register(unsigned variant, batch_encoder encode);

struct batch *batch_new(struct str channel) MUST_CHECK;
void batch_free(struct batch *b);
/* -1: no memory (the batch is unchanged). */
int batch_append(struct batch *b, const struct record *publication) MUST_CHECK;
size_t batch_bytes(const struct batch *b);
/* Nothing more is appended; there is something in it. */
void batch_seal(struct batch *b);
/* The encoded bytes of a sealed batch; built at first use. NULL: no memory. Borrowed; blob_get() to
 * keep. */
struct blob *batch_variant(struct batch *b, unsigned variant);
/* Where item i stands in an (already built) variant. */
void batch_range(const struct batch *b, unsigned variant, uint32_t i, uint32_t *offset,
                 uint32_t *end);
/* Payload of item i in the raw variant. */
struct str batch_payload(const struct batch *b, uint32_t i);
/* Is any item from this origin? */
bool batch_has_origin(const struct batch *b, uint16_t source, uint64_t token);

#endif
