/* core/engine_memory_internal.h - what the memory engine's files share: engine_memory.c answers the
 * hub · engine_memory_stream.c keeps publications · engine_memory_bounds.c says what goes when time
 * or memory is up · engine_memory_keys.c knows idempotency keys again ·
 * engine_memory_presence.c says who is there. */
#ifndef ROOST_CORE_ENGINE_MEMORY_INTERNAL_H
#define ROOST_CORE_ENGINE_MEMORY_INTERNAL_H

#include "base/hash.h"
#include "base/list.h"
#include "core/channel_name.h"
#include "core/channel_options.h"
#include "core/engine.h"
#include "engine_members_internal.h"

struct kept {         /* a publication of a stream; its offset follows from its place */
    uint64_t time_ns; /* clock_ns() when it came */
    uint32_t data_len;
    uint16_t fields_len;
    uint8_t flags; /* enum record_flags */
    char bytes[];  /* its payload, its fields */
};

struct guard {               /* the newest version published */
    uint64_t version, epoch; /* epoch: hash of its text */
};

struct stream { /* the history of a channel, and its position, which outlives that */
    struct htab_node node;
    struct list link; /* in space.full while it holds something, else in space.bare while it has no
                         subscriber */
    struct space *space;
    uint64_t used_ns; /* last publication; of one that holds none, last use */
    struct position at;
    struct guard *guard;    /* owned; NULL: no version yet */
    union {                 /* a circle of cap places; the oldest at `first` */
        struct kept *one;   /* owned; while cap is 1 */
        struct kept **many; /* owned, and so are they */
    };
    uint32_t first, n, cap; /* cap: a power of two */
    bool subscribed;
    uint8_t name_len;
    char name[];
};

struct space { /* the streams of a namespace */
    struct list link;
    struct list full, bare; /* see stream.link; the least recently used first */
    size_t bytes, streams;
    uint16_t name_len;
    char name[]; /* as a channel of it begins: "" or with the ':' */
};

struct streams {
    struct htab by_name;
    struct list spaces;
    size_t bytes;     /* of all spaces */
    uint64_t look_ns; /* when it is time to look for what has expired */
    struct htab keys;
    struct list key_order; /* the oldest first */
    size_t key_bytes;
};

struct memory {
    struct engine engine; /* first */
    struct streams streams;
    struct members members;
};

/* engine_memory_stream.c */
void streams_init(struct streams *s);
void streams_fini(struct streams *s);
/* Frees a namespace without streams. */
void space_put(struct space *space);
/* The channel's, made if need be, without what has expired. o: of the channel, with history. NULL:
 * no memory. */
struct stream *stream_get(struct streams *s, struct str name,
                          const struct channel_options *o) MUST_CHECK;
void stream_free(struct streams *s, struct stream *st);
/* A subscriber comes or goes. */
void stream_subscribe(struct stream *st, bool subscribed);
/* Adds it as the next one; st->at is its position then. -1: no memory, nothing has changed. */
int stream_append(struct streams *s, struct stream *st, const struct channel_options *o,
                  const struct record *r) MUST_CHECK;
/* The publication at that place, from 0: the oldest. */
const struct kept *stream_kept(const struct stream *st, uint32_t i);
/* Removes the oldest publications until at most n are left. */
void stream_shorten(struct streams *s, struct stream *st, uint32_t n);
/* Room for a version. -1: no memory. The two below need it. */
int stream_guard(struct streams *s, struct stream *st) MUST_CHECK;
/* Is that version not newer than the newest published? */
bool stream_is_older(const struct stream *st, uint64_t version, struct str epoch);
void stream_set_version(struct stream *st, uint64_t version, struct str epoch);

/* engine_memory_bounds.c */
/* Has all that the stream holds expired? Its position? */
bool stream_outdated(const struct stream *st, const struct channel_options *o);
bool stream_forgotten(const struct stream *st, const struct channel_options *o);
/* After something was added to st, which stays: what has to go goes. */
void streams_bound(struct streams *s, const struct stream *st, const struct channel_options *o);
/* Bounded work; true: there is more to do now. */
bool streams_tick(struct streams *s);

/* engine_memory_keys.c */
struct key;
/* Has this key been seen in this channel? Then *at is that publication's position. */
bool key_find(struct streams *s, struct str channel, struct str key, struct position *at);
/* One that has not been seen. key_done() or key_undo() must follow. NULL: no memory. */
struct key *key_new(struct streams *s, struct str channel, struct str key) MUST_CHECK;
void key_done(struct streams *s, struct key *k, struct position at);
void key_undo(struct streams *s, struct key *k);
/* Forgets the oldest ones that are too old or too many. True: the budget ended it. */
bool keys_expire(struct streams *s, unsigned budget);
void keys_fini(struct streams *s);

/* engine_memory_presence.c */
/* engine_ops.presence(). */
void presence_call(struct members *t, struct engine *e, const struct engine_presence *ask,
                   uint64_t token);

#endif
