/* core/record.h - what travels on the rings between a worker and the hub.
 *
 * One fixed header, then a name, a payload and optional typed fields serve every kind. Records are
 * written and read by Roost alone, but a worker may have been compromised by a hostile client, so
 * the hub checks every length, and nothing in a field can lead beyond the record. */
#ifndef ROOST_CORE_RECORD_H
#define ROOST_CORE_RECORD_H

#include "base/buf.h"
#include "base/str.h"

struct position {    /* in a channel's order */
    uint64_t epoch;  /* of a life of the channel; 0: none */
    uint64_t offset; /* of the last publication, from 1; 0: none yet */
};

enum record_kind { /* tbl/records.def */
                   RECORD_NONE = 0,
#define TO_HUB(name, label)    RECORD_##name,
#define TO_WORKER(name, label) RECORD_##name,
#include "tbl/records.def"
#undef TO_HUB
#undef TO_WORKER
                   RECORD_KIND_NR
};

enum record_flags {
    RECORD_BINARY = 1, /* publication is a binary message */
    RECORD_JSON = 2,   /* publication is known to be a JSON text (came by the API) */
    RECORD_WANT_ACK = 4,
    RECORD_LAST = 8,
    RECORD_SKIP_HISTORY = 16, /* publication is not kept; its offset is that of the one before */
    RECORD_DELTA = 32,        /* it may be sent as a difference to the one before */
    RECORD_IN_STREAM = 64,    /* it stands in the channel's history: its position means something to
                                   clients. SUBSCRIBED: the channel has a history */
    RECORD_EXCLUDE_ORIGIN = 128 /* its publisher does not get it */
};
/* Of a HISTORY, which is no publication: newest first. */
#define RECORD_REVERSE RECORD_SKIP_HISTORY
/* CONTROL_MESSAGE: it is for all workers, so that it may have gone by way of the engine. */
#define RECORD_TO_ALL RECORD_SKIP_HISTORY
/* LOST: before they came to this node; only who knows its position is told. */
#define RECORD_GAP RECORD_SKIP_HISTORY
/* LIST: the first names behind data, in their order. */
#define RECORD_PAGE     RECORD_SKIP_HISTORY
#define RECORD_PAGE_MAX 1000 /* channels of one */
/* LIST with PAGE: those with the most subscribers, in that order; and of this node alone. */
#define RECORD_TOP  RECORD_DELTA
#define RECORD_HERE RECORD_BINARY

enum record_field { /* tbl/fields.def */
                    FIELD_NONE = 0,
#define X(name, label) FIELD_##name,
#include "tbl/fields.def"
#undef X
                    FIELD_NR
};
_Static_assert(RECORD_KIND_NR <= UINT8_MAX && FIELD_NR <= UINT8_MAX,
               "records have a byte for each");

/* PUBLICATION and control messages: another node's; its position tells nothing. */
#define RECORD_SOURCE_REMOTE 128 /* as many workers as a node can have */

enum presence_flags { /* of PRESENCE_ADD, PRESENCE_REMOVE and USER */
                      /* The channel's subscribers are told: JOIN, LEAVE, also when its worker dies */
                      PRESENCE_TELL = 1,
                      /* It has been told before: this is for a hub that does not know it yet */
                      PRESENCE_AGAIN = 2
};

/* Decoded form; name, data and fields borrowed from the ring until it is released. */
struct record {
    uint8_t kind;
    uint8_t flags;
    uint8_t asker; /* kind of session that token belongs to: who is told of an answer */
    union {
        uint16_t source; /* PUBLICATION: worker that published */
        uint16_t status; /* of an answer: enum engine_status */
    };
    uint32_t generation; /* incarnation of the worker at that end of the link */
    uint32_t chan;       /* the worker's channel id */
    uint32_t count;
    uint64_t token;         /* the origin connection, or the asker's request */
    uint64_t epoch, offset; /* position in the channel */
    uint64_t position;      /* of what the worker sent, in its ring; tells repetitions */
    uint64_t time_ns;       /* clock_ns() when the publication was taken from its client */
    struct str name;        /* at most CHANNEL_NAME_MAX bytes */
    struct str data;
    struct str fields; /* at most RECORD_FIELDS_MAX bytes, see record_field() */
};

/* Where its channel stood before a publication. */
static inline struct position record_before(const struct record *r)
{
    return (struct position){.epoch = r->epoch,
                             .offset = r->offset - !(r->flags & RECORD_SKIP_HISTORY)};
}

/* Fixed overhead of a record. */
#define RECORD_OVERHEAD   64
#define RECORD_FIELDS_MAX UINT16_MAX
/* What precedes the value of a field. */
#define RECORD_FIELD_OVERHEAD 4

/* Bytes of a record with a name and a payload of these lengths and no fields, header included. */
size_t record_size(size_t name_len, size_t data_len);
/* Bytes that record_encode() writes. */
size_t record_bytes(const struct record *r);
void record_encode(const struct record *r, void *dst);
/* -1: malformed (unknown kind, lengths that do not add up, fields that do not end where they
 * should). */
int record_decode(struct str raw, struct record *out) MUST_CHECK;
const char *record_kind_name(uint8_t kind);

/* Appends a field (enum record_field) to what becomes record.fields. -1: no memory, or RECORD_FIELDS_MAX would be
 * exceeded (out is unchanged). */
int record_add_field(struct buf *out, uint8_t type, struct str value) MUST_CHECK;
/* Takes the next one off *rest, also one of an unknown type. False: there is none. */
bool record_next_field(struct str *rest, uint8_t *type, struct str *value);
/* The first field of that type; false when there is none. The view lies within fields, whatever a
 * hostile writer does to them meanwhile. */
bool record_field(struct str fields, enum record_field type, struct str *value);

#endif
