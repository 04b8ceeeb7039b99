/* core/record.h - what travels on the rings between a worker and the hub.
 *
 * One fixed header and two byte strings serve every kind. Records are written and read by Roost
 * alone, but a worker may have been compromised by a hostile client, so the hub checks every
 * length. */
#ifndef ROOST_CORE_RECORD_H
#define ROOST_CORE_RECORD_H

#include "base/str.h"

enum record_kind {
    /* worker to hub */
    RECORD_HELLO = 1,   /* a new incarnation of the worker: forget the old one's interest */
    RECORD_SUBSCRIBE,   /* name, chan, count: first local subscriber, or a re-announcement */
    RECORD_COUNT,       /* chan, name, count: local subscribers now */
    RECORD_UNSUBSCRIBE, /* chan, name: no local subscriber left */
    RECORD_ANNOUNCED,   /* every channel has been announced to this incarnation of the hub (count =
                           hub generation) */
    RECORD_PUBLISH,     /* name, data, flags, token = origin; RECORD_WANT_ACK asks for PUBLISHED */
    RECORD_FENCE,       /* token: answered by FENCED behind everything published before */
    RECORD_LIST, /* token, name = glob pattern, count = most channels wanted: answered by LISTED */
    /* hub to worker */
    RECORD_SUBSCRIBED,  /* chan, epoch, offset: the answer to SUBSCRIBE */
    RECORD_PUBLICATION, /* chan, epoch, offset, source, position, token, data, flags */
    RECORD_PUBLISHED,   /* token, epoch, offset */
    RECORD_FENCED,      /* token */
    RECORD_LISTED, /* token, data = part of the listing, flags & RECORD_LAST; count = all matches
                      (on the last) */
    RECORD_LOST,   /* chan: publications of this channel were lost on the way */
    RECORD_KIND_NR
};

enum record_flags {
    RECORD_BINARY = 1, /* publication is a binary message */
    RECORD_JSON = 2,   /* publication is known to be a JSON text (came by the API) */
    RECORD_WANT_ACK = 4,
    RECORD_LAST = 8
};

struct record { /* decoded form; name and data borrowed from the ring until ring_release() */
    uint8_t kind;
    uint8_t flags;
    uint16_t source;     /* worker that published */
    uint32_t generation; /* incarnation of the worker at that end of the link */
    uint32_t chan;       /* the worker's channel id */
    uint32_t count;
    uint64_t token;         /* the origin connection, or the asker's request */
    uint64_t epoch, offset; /* position in the channel */
    uint64_t position; /* PUBLICATION, PUBLISHED, FENCED: ring position of what the worker sent;
                          tells repetitions */
    uint64_t time_ns;  /* clock_ns() when the publication was taken from its client */
    struct str name;   /* at most CHANNEL_NAME_MAX bytes */
    struct str data;
};

/* Bytes of a record with these lengths, header included. */
size_t record_size(size_t name_len, size_t data_len);
/* Fixed overhead: record_size(0, 0). */
#define RECORD_OVERHEAD 64
void record_encode(const struct record *r, void *dst);
/* -1: malformed (unknown kind, lengths that do not add up). */
int record_decode(struct str raw, struct record *out) MUST_CHECK;
const char *record_kind_name(uint8_t kind);

#endif
