/* core/batch.h - all publications of a channel that one fan-out walk delivers.
 *
 * It holds the payloads and what is known of each publication: its position, where it came from,
 * its fields. A variant is an encoding (the session's) in a framing (the transport's),
 * tbl/variants.def. The raw variant (WebSocket frames, contiguous) is appended to as publications
 * arrive; other variants are made once, when the walk meets the first subscriber that wants one, in
 * as many steps as it takes. Sealed when its walk starts; what it says is immutable after. All its
 * publications are of one epoch.
 *
 * batch.c collects · batch_encode.c makes the variants · framing.c frames · batch_deflate.c
 * compresses · batch_own.c finds a session's own. */
#ifndef ROOST_CORE_BATCH_H
#define ROOST_CORE_BATCH_H

#include "base/blob.h"
#include "base/buf.h"
#include "codec/deflate.h"
#include "core/record.h"

enum batch_encoding {
#define ENCODING(name) ENCODING_##name,
#define FRAMING(name)
#define VARIANT(name, encoding, framing)
#include "tbl/variants.def"
#undef ENCODING
    ENCODING_NR
};
enum batch_variant {
#define ENCODING(name)
#undef VARIANT
#define VARIANT(name, encoding, framing) BATCH_##name,
#include "tbl/variants.def"
#undef ENCODING
#undef FRAMING
#undef VARIANT
    BATCH_FORM_NR
};
enum { /* the same rows, of which those in WebSocket frames come first */
#define ENCODING(name)
#define FRAMING(name)
#define VARIANT(name, encoding, framing)
#define WS_VARIANT(name, encoding, framing) BATCH_WS_##name,
#include "tbl/variants.def"
#undef ENCODING
#undef FRAMING
#undef VARIANT
       BATCH_WS_NR
};
/* Behind them, for each window, each of those in WebSocket frames compressed. */
#define BATCH_VARIANT_NR (BATCH_FORM_NR + DEFLATE_WINDOW_NR * BATCH_WS_NR)
_Static_assert((int)BATCH_FORM_NR + DEFLATE_WINDOW_NR * (int)BATCH_WS_NR <= UINT8_MAX,
               "struct sub has a byte for BATCH_VARIANT_NR");

/* A form, compressed as agreed (conn_deflate(): 0 is not at all); one that has no compressed
 * variant stays as it is. */
static inline uint8_t batch_deflated(unsigned form, unsigned deflate)
{
    return (uint8_t)(deflate == 0 || form >= BATCH_WS_NR
                         ? form
                         : BATCH_FORM_NR + (deflate - 1) * BATCH_WS_NR + form);
}

/* What a batch tells of. Each has one class, and what is of another begins the next batch, so that a
 * session that has not asked for it (sub.joins) skips it whole: such a batch does not come to its
 * deliver(). JOINS and LEAVES have items without payload and without a place in the channel's order,
 * and the client is in FIELD_INFO (core/client_info.h). */
enum batch_class { BATCH_PUBLICATIONS = 0, BATCH_JOINS, BATCH_LEAVES };
static inline enum batch_class batch_class_of(const struct record *r)
{
    if (LIKELY(r->kind != RECORD_JOIN && r->kind != RECORD_LEAVE))
        return BATCH_PUBLICATIONS;
    return r->kind == RECORD_JOIN ? BATCH_JOINS : BATCH_LEAVES;
}

/* What a batch takes, unless one publication is more. So much is worth a send of its own, and what
 * has to be done for a whole batch at once stays short. */
#define BATCH_BYTES_MAX (1024 * 1024)
#define BATCH_ITEMS_MAX 16384

struct batch_item {
    uint64_t offset;     /* of the publication in its channel; see RECORD_SKIP_HISTORY */
    uint64_t token;      /* what the session of origin is known by */
    uint32_t start;      /* of the frame in the raw variant */
    uint32_t size;       /* bytes of the frame, header included */
    uint32_t fields;     /* where its fields stand, see batch_fields() */
    uint16_t fields_len; /* bytes of them */
    uint16_t source;     /* worker of origin */
    uint8_t header;      /* bytes of frame header */
    uint8_t flags;       /* enum record_flags */
    uint8_t asker;       /* kind of session of origin */
};

enum batch_notice { NOTICE_LOST = 1, NOTICE_RESTARTED = 2 };

struct batch_coding; /* a variant in the making; batch_encode.c */
struct batch_index;  /* batch_own.c */

struct batch {
    struct batch *next; /* private to the broker: the one to be delivered after this */
    uint8_t notice;     /* private to the broker: enum batch_notice, of what was before this one */
    bool sealed;
    bool deflated; /* a compressed variant is there */
    uint8_t class; /* enum batch_class */
    uint8_t any;   /* enum record_flags that some item has */
    uint32_t nitems, cap;
    struct batch_item *items; /* owned, or &first */
    struct batch_item first;  /* most batches have one */
    uint32_t raw_len;         /* bytes of the raw variant, which is longer until sealed */
    uint64_t published_ns;    /* time_ns of the oldest publication */
    uint64_t epoch;           /* of all items */
    /* Where the channel stood before the first item, as this worker was told. The first item may
     * stand further on: what is between has been told as lost, or was delivered under another epoch
     * by a hub that died. Set by the broker. */
    struct position before;
    /* The payload that stood before the first item, for differences; NULL: it is not known, or not
     * wanted (broker_want_previous()). That of another item is the item before it. */
    struct blob *previous;                  /* shared (refs) */
    uint8_t previous_flags;                 /* its enum record_flags */
    struct buf fields;                      /* owned; of all items, behind each other */
    struct blob *variant[BATCH_VARIANT_NR]; /* shared (refs) */
    struct batch_coding *codings;           /* owned; of the variants asked for, but RAW */
    struct batch_index *index;              /* owned; NULL until asked for */
    struct str channel; /* borrowed from the channel for as long as the batch lives */
};

struct batch_part { /* how far the encoding of one item has come; zeroed before it */
    size_t start;   /* where its frame begins in the buffer */
    size_t done;    /* bytes of its payload encoded */
    unsigned phase; /* the encoder's own */
};
/* Appends the next piece of a publication in its encoding, without framing, to out, of at most max
 * (>= 4) bytes of payload, and moves *part on. >0: there is more of it. 0: it is complete. -1: no
 * memory; what was appended and *part are of no account then. Looking at the whole payload at once
 * is allowed, writing it is not: on memory that is touched for the first time that takes ten times
 * as long. */
typedef int (*batch_encoder)(const struct batch *b, uint32_t item, struct batch_part *part,
                             size_t max, struct buf *out);
/* At start: who encodes (every encoding but RAW has somebody). */
void batch_register(enum batch_encoding encoding, batch_encoder encode);

struct batch *batch_new(struct str channel) MUST_CHECK;
void batch_free(struct batch *b);
/* Does the publication belong in this batch? An empty one takes any. */
bool batch_has_room(const struct batch *b, const struct record *publication);
/* -1: no memory (the batch is unchanged). */
int batch_append(struct batch *b, const struct record *publication) MUST_CHECK;
size_t batch_bytes(const struct batch *b);
/* Nothing more is appended; there is something in it. */
void batch_seal(struct batch *b);
/* Payload of item i in the raw variant. */
struct str batch_payload(const struct batch *b, uint32_t i);
/* Its fields, see record_field(). */
struct str batch_fields(const struct batch *b, uint32_t i);

/* Goes on encoding a variant of a sealed batch until that has read and written about *budget bytes,
 * which it takes from it. False: call again. True: there is no more to do; batch_variant() is NULL
 * when memory has run out (calling again goes on from there). */
bool batch_encode(struct batch *b, unsigned variant, size_t *budget) MUST_CHECK;
/* The bytes of a variant of a sealed batch. NULL: not (completely) encoded. Borrowed; blob_get() to
 * keep. */
struct blob *batch_variant(const struct batch *b, unsigned variant);
/* Where item i stands in a completely encoded variant other than the raw one. */
void batch_encoded_range(const struct batch *b, unsigned variant, uint32_t i, uint32_t *start,
                         uint32_t *end);
/* The same for any variant. */
static inline void batch_range(const struct batch *b, unsigned variant, uint32_t i, uint32_t *start,
                               uint32_t *end)
{
    if (variant != BATCH_RAW) {
        batch_encoded_range(b, variant, i, start, end);
        return;
    }
    *start = b->items[i].start;
    *end = b->items[i].start + b->items[i].size;
}

/* The first item that came from this session of a worker, and the next one behind such an item;
 * nitems: there is none. Takes as long as there are such items, not as long as the sealed
 * batch is. */
uint32_t batch_own_first(struct batch *b, uint16_t source, uint8_t asker, uint64_t token);
uint32_t batch_own_next(const struct batch *b, uint32_t i);

/* batch_encode.c and batch_own.c, for batch_free(). Safe on NULL. */
void batch_codings_free(struct batch_coding *first);
void batch_index_free(struct batch_index *x);

#endif
