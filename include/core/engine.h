/* core/engine.h - what puts a channel's publications in order, and keeps what outlives a delivery.
 *
 * The hub publishes nothing itself: it hands each publication to the engine and delivers what the
 * engine says, in the order in which it says it. The memory engine orders for this node and answers
 * inside the call; others speak to a server that several nodes share, are slow, may be away, and
 * may not know what became of a call.
 *
 * Each accepted call completes exactly once, with a status, inside the call or later; a call that
 * is not among the engine's capabilities completes with REFUSED. done() is the last that an engine
 * does for a call: what the caller has lent it may be gone then, and other calls may come within. An
 * engine calls engine_events only from within its own calls and from the hub's process, never from
 * another thread. */
#ifndef ROOST_CORE_ENGINE_H
#define ROOST_CORE_ENGINE_H

#include "base/list.h"
#include "core/client_info.h"
#include "core/record.h"

enum engine_status {
#define STATUS(name, label) ENGINE_##name,
#include "tbl/engine.def"
    ENGINE_STATUS_NR
};
_Static_assert(ENGINE_STATUS_NR <= UINT8_MAX, "the hub's struct pending has a byte for it");
const char *engine_status_name(enum engine_status s);

enum engine_capability_bit {
#define CAPABILITY(name, label) ENGINE_BIT_##name,
#include "tbl/engine.def"
    ENGINE_BIT_NR
};
_Static_assert(ENGINE_BIT_NR <= 31, "each has a bit of an int");
enum engine_capability {
#define CAPABILITY(name, label) ENGINE_CAN_##name = 1 << ENGINE_BIT_##name,
#include "tbl/engine.def"
};

/* Why a connection to one of its servers is no more. */
enum engine_ending {
#define ENDING(NAME, name, why, help) ENDING_##NAME,
#include "tbl/engine.def"
    ENDING_NR
};
/* The end of a sentence. */
const char *engine_ending_why(enum engine_ending e);
void engine_count_ending(enum engine_ending e);

struct stream;             /* the engine's own */
struct engine_channel {    /* embedded in a channel of the hub; owned by the hub */
    struct position at;    /* of the last message, or of subscribed(); written by the engine */
    struct stream *stream; /* NULL: no history is kept. Written by the engine */
};

/* What a publication is made under; see FIELD_IDEMPOTENCY_KEY and FIELD_VERSION. */
struct engine_condition {
    struct str idempotency_key; /* n == 0: none. One seen before: DUPLICATE */
    uint64_t version;           /* 0: none. One that is not newer than the last: SUPPRESSED */
    struct str version_epoch;   /* "": whichever it is */
};

/* SET     r: as in publish(), its field INFO says who, its flags are enum presence_flags. One member
 *         for each client id: again with the same one replaces what is known of it. Unless it is
 *         AGAIN, member() tells of a JOIN that is to be told.
 * CLEAR   the same, the other way: LEAVE, also when the member is not known.
 * LIST    listed() for each of at most `limit` members behind the cursor.
 * STATS   counted(), once.
 * FORGET  removes at most `limit` of the owner's members whose mark is another; LEAVE as with CLEAR. */
enum engine_presence_op {
    PRESENCE_SET = 0,
    PRESENCE_CLEAR,
    PRESENCE_LIST,
    PRESENCE_STATS,
    PRESENCE_FORGET
};
#define ENGINE_OWNERS_MAX 128
/* Of who goes through the members of a channel; zeroed before the first LIST. */
struct engine_cursor {
    struct list link; /* the engine's, and so is the next */
    void *at;
    bool begun;
    bool ended; /* LIST, FORGET: there is nothing more; written by the engine before done() */
};
struct engine_presence {
    enum engine_presence_op op;
    const struct record *r; /* SET, CLEAR */
    struct client_info who; /* SET, CLEAR: of r; views into it */
    struct str channel;     /* LIST, STATS */
    uint32_t owner;         /* SET, CLEAR, FORGET: a worker of this node */
    uint32_t mark;          /* SET, FORGET */
    uint32_t limit;         /* LIST, FORGET */
    /* LIST, FORGET. Borrowed; stays where it is until ended, or until a LIST with limit 0, which
     * gives the cursor up, or until one that fails. */
    struct engine_cursor *cursor;
};

struct engine_events { /* the hub's */
    /* A call with this token (0: nobody's) is complete. at: of the publication (OK, DUPLICATE) when it is in a
     * history or this node subscribes to its channel; of the newest one (SUPPRESSED; history() and
     * remove_history() when OK); else zero. */
    void (*done)(void *hub, uint64_t token, enum engine_status status, struct position at);
    /* engine_ops.subscribe() of c is complete: from now on its messages come, and those before
     * c->at have come or never will. Not OK: it cannot be now. The engine goes on trying, if it has the
     * memory for that, until unsubscribe(), and calls this again; so does another subscribe(). */
    void (*subscribed)(void *hub, struct engine_channel *c, enum engine_status status);
    /* The next publication of a subscribed channel; c->at is its position. r: as in publish(), with
     * RECORD_IN_STREAM when it is kept, or RECORD_SKIP_HISTORY when those of this channel are and it
     * is not; borrowed. The hub neither subscribes nor unsubscribes meanwhile. */
    void (*message)(void *hub, struct engine_channel *c, const struct record *r);
    /* Publications of a subscribed channel are missing, or nobody can say that none is: c->at is
     * where it stands now, maybe in another epoch. */
    void (*lost)(void *hub, struct engine_channel *c);
    /* Before the done() of history(): a publication. r: epoch, offset, flags, time_ns, data, fields;
     * borrowed. False: no more of them, as if limit were reached. */
    bool (*kept)(void *hub, uint64_t token, const struct record *r);
    /* Somebody has come to a channel or has gone: r->kind is JOIN or LEAVE, name and fields as they
     * were set, position and source those of the record that caused it; source is
     * ENGINE_OWNERS_MAX or more when that was not a record of this node's. Borrowed. */
    void (*member)(void *hub, const struct record *r);
    /* Before the done() of LIST and STATS. fields: as they were set. */
    void (*listed)(void *hub, uint64_t token, struct str fields);
    void (*counted)(void *hub, uint64_t token, uint32_t clients, uint32_t users);
    /* For every worker of this node: r as it was given to engine_ops.control(), before its
     * done(); source as in member(). False: some worker does not get it. */
    bool (*control)(void *hub, const struct record *r);
    /* Before the done() of control(): so many nodes, this one included, were to have it, and so many
     * are known to. Not told by an engine of one node. */
    void (*told)(void *hub, uint64_t token, uint32_t asked, uint32_t answered);
    /* Another node's hub has said this by engine_nodes_say(). Borrowed; checked by nobody yet. NULL: it
     * listens to none. */
    void (*heard)(void *hub, uint64_t node, struct str bytes);
    /* Another node has come, or is dead. NULL: it does not matter. */
    void (*node)(void *hub, uint64_t node, bool alive);
};

struct engine_nodes; /* core/engine_nodes.h */
struct engine;       /* each engine's own struct begins with it */
struct engine_ops {
    const char *name;
    unsigned capabilities; /* enum engine_capability bits */
    /* r: name, data, fields, flags, and the origin: asker, source, token, position, time_ns;
     * borrowed until this returns. c: the channel's, when this node is subscribed to it; else NULL.
     * condition: NULL: none. token comes back in done(). */
    void (*publish)(struct engine *e, struct engine_channel *c, const struct record *r,
                    const struct engine_condition *condition, uint64_t token);
    /* c must stay where it is until unsubscribe(), which completes a subscribe() silently. */
    void (*subscribe)(struct engine *e, struct engine_channel *c, struct str name);
    void (*unsubscribe)(struct engine *e, struct engine_channel *c, struct str name);
    /* Publications after `since`, at most limit; when reverse those before it, newest first (offset
     * 0: from the newest one). since.epoch has no part in it. limit 0: only the position. REFUSED:
     * none is kept of this channel. */
    void (*history)(struct engine *e, struct str name, struct position since, uint32_t limit,
                    bool reverse, uint64_t token);
    void (*remove_history)(struct engine *e, struct str name, uint64_t token);
    void (*presence)(struct engine *e, const struct engine_presence *p, uint64_t token);
    /* r->data to every node, or to the one of that id. r: borrowed. */
    void (*control)(struct engine *e, struct str node, const struct record *r, bool must_arrive,
                    uint64_t token);
    /* This node has `count` connections of the user from now on; limit: of all nodes' together, 0:
     * none. REFUSED: that would be more, and this node's count is as it was. NULL: it has not the
     * capability USERS. */
    void (*user)(struct engine *e, struct str user, uint32_t count, uint32_t limit, uint64_t token);
    /* May more be handed to it now? NULL: always. */
    bool (*wants)(const struct engine *e);
    /* Deadlines: once a round at least. Returns when it wants to be called again, by clock_ns() (not
     * after now: at once); 0: whenever. NULL: it has none. */
    uint64_t (*tick)(struct engine *e, uint64_t now_ns);
    void (*free)(struct engine *e);
};

struct engine {
    const struct engine_ops *ops;
    const struct engine_events *events; /* set by engine_attach() */
    void *hub;                          /* borrowed; first argument of events */
    struct engine_nodes *nodes;         /* owned by the engine; NULL: it is for one node */
};

/* At the hub's start, before any other call. */
static inline void engine_attach(struct engine *e, const struct engine_events *events, void *hub)
{
    e->events = events;
    e->hub = hub;
}
static inline void engine_free(struct engine *e)
{
    if (e != NULL)
        e->ops->free(e);
}

/* Orders the channels of this node in this process's memory. NULL: no memory. */
struct engine *engine_memory_new(void) MUST_CHECK;

#endif
