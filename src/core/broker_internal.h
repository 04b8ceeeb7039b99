/* core/broker_internal.h - what broker.c and the broker_*.c share. */
#ifndef ROOST_CORE_BROKER_INTERNAL_H
#define ROOST_CORE_BROKER_INTERNAL_H

#include "base/list.h"
#include "base/pool.h"
#include "core/broker.h"
#include "core/channel_name.h"
#include "core/hub.h"
#include "core/queue.h"
#include "turns.h"

#define CONTROL_SEEN 512 /* control messages to all: so many later ones may overtake one */

/* A channel and the hub: NEW (it knows nothing) -> ASKING (SUBSCRIBE is on its way) -> LIVE
 * (SUBSCRIBED has come). A channel without subscribers is freed at once when NEW, else when
 * UNSUBSCRIBE has been written; until then a new subscriber finds it as it was. Ids are not used
 * again within four thousand million channels, so what the hub still sends for a freed one meets no
 * other. */
enum chan_state { CHAN_NEW = 0, CHAN_ASKING, CHAN_LIVE };
enum chan_owes {
    CHAN_OWES_NOTHING = 0,
    CHAN_OWES_SUBSCRIBE,
    CHAN_OWES_COUNT /* or UNSUBSCRIBE */,
    CHAN_OWES_MEMBERS
};

struct walk { /* fan-out in progress or due; from a pool, only while there is something to say */
    struct task task;
    struct broker *broker;
    struct chan *chan;
    struct batch *batch; /* owned; under way, sealed */
    struct batch *next,
        *last;              /* owned; waiting, the last one collecting. A loss begins a new one */
    uint32_t cursor, limit; /* the zones, see broker.h; both 0 between walks */
    uint32_t visited;
    struct position before; /* where the channel stood before what this walk delivers */
    uint64_t started_ns;
    bool under_way;
    bool members;    /* the walk under way tells who comes and goes */
    uint8_t notice;  /* enum batch_notice: what the walk under way tells of */
    bool next_round; /* a walk is due even without publications */
};

struct chan {
    struct htab_node by_name, by_id;
    struct list owed;         /* in the broker's asks or owed list while a record is owed */
    struct sub **subs;        /* owned array of borrowed subs, or &one */
    struct sub *one;          /* most channels of notifications have one subscriber for life */
    struct walk *walk;        /* owned; NULL while there is nothing to deliver */
    struct tail *tail;        /* owned; NULL: nobody has recovered here, or wants what was before */
    struct position position; /* of the last publication received, or of SUBSCRIBED */
    uint32_t count, cap;
    uint32_t id;
    uint32_t told;      /* count that the hub knows */
    uint32_t asked_hub; /* hub generation for which SUBSCRIBE was last written */
    uint32_t asked_ms;  /* clock_ns() when it was, in milliseconds; wraps */
    uint8_t state;      /* enum chan_state */
    uint8_t owes;       /* enum chan_owes: which list it is on */
    bool ask;           /* SUBSCRIBE is due (first time, or announcing) */
    uint8_t joins : 1;  /* some subscriber has wanted to be told who comes and goes */
    uint8_t members : 1, members_due : 1; /* it has had members; they are to be announced */
    uint8_t in_stream : 1;                /* it has a history */
    uint8_t refused : 1;                  /* ASKING: the answer was that it cannot be now */
    uint8_t name_len;
    char name[];
};

struct broker {
    struct broker_config cfg;
    struct ring out, in;
    uint64_t committed; /* out.position at the last commit */
    struct htab by_name, by_id;
    struct pool walks;
    uint32_t next_id;
    size_t subscriptions;
    size_t backlog;          /* bytes of batches not completely walked */
    struct list asks, owed;  /* channels that owe SUBSCRIBE; COUNT or UNSUBSCRIBE */
    struct list members;     /* channels whose members are to be announced */
    struct chan *scan;       /* the one whose members are being announced, or NULL */
    uint32_t scan_index;     /* its subscribers before this are still to be asked */
    struct queue behind;     /* records about members for which there was no room */
    struct buf info, fields; /* owned; scratch */
    struct htab users;
    struct list users_owed;
    size_t users_cursor;
    uint32_t hub_generation; /* last seen, 0: none */
    struct task announce;
    size_t announce_cursor;
    uint32_t round; /* of announcing: members not announced in the last one are gone */
    bool urgent;    /* something for which the hub is to be woken has been written */
    bool hello_owed;
    bool announcing;    /* until ANNOUNCED has been written */
    bool scanning;      /* announcing, and not all that is to be announced is on its list yet */
    bool scanned;       /* of that, the channels are */
    bool announce_lost; /* the inbound ring was corrupt: all channels have lost publications */
    bool starved;       /* the last flush could not write all that is owed */
    bool fence_owed;    /* see broker_unanswered.c */
    uint64_t seen[HUB_WORKERS_MAX]; /* end of the positions seen, per source */
    uint64_t seen_own[TURNS];       /* the same of answers to our own requests */
    uint64_t seen_fence; /* and to FENCE, which stands behind all that was asked before */
    uint64_t seen_members[HUB_WORKERS_MAX]; /* as seen */
    uint64_t seen_told[HUB_WORKERS_MAX];    /* the same of control messages to this worker alone */
    uint64_t seen_control[CONTROL_SEEN];    /* those to all, the last ones, see broker_control.c */
    unsigned next_control;                  /* in it */
    uint64_t forgotten_control[HUB_WORKERS_MAX]; /* of those that are not in it any more: as seen */
    uint64_t repeats[HUB_WORKERS_MAX];         /* seen, when this hub came: what is before may be */
    uint64_t repeats_members[HUB_WORKERS_MAX]; /* sent again */
    /* Tails of channels, see broker_tail_internal.h. */
    struct list tails; /* those that keep publications, the least lately used first */
    struct list fetches,
        fetching; /* those that have yet to ask the hub; that wait for its answer */
    size_t tail_bytes;
    struct htab recovering; /* of struct recoverer */
    struct pool recoverers;
    uint64_t positions_ns; /* when the next check of positions is due; 0: not begun */
    size_t positions_cursor;
};

static inline const struct sink_ops *broker_sink(const struct broker *b, const struct sub *s)
{
    return b->cfg.sinks[s->kind];
}

/* broker.c */
struct chan *broker_chan_by_id(struct broker *b, uint32_t id);
void broker_chan_free(struct broker *b, struct chan *c);

/* broker_link.c */
/* Puts the channel on the list of what it owes the hub, if anything. */
void broker_owe(struct broker *b, struct chan *c);
void broker_link_init(struct broker *b);
/* Writes a record. -1: no room. */
int broker_put(struct broker *b, struct record *r) MUST_CHECK;
/* A fence is to be written behind all that has been asked; broker_flush() writes what is owed: true
 * when there was no room. Its answer. */
void unanswered_owe(struct broker *b);
bool unanswered_flush(struct broker *b);
void unanswered_receive(struct broker *b, const struct record *r);

/* All is announced again. */
void broker_announce(struct broker *b);

/* broker_presence.c */
/* Writes what found no room, and members that are to be announced, as far as there is room. */
void members_flush(struct broker *b);
/* Is something of that left? */
static inline bool members_owed(const struct broker *b)
{
    return b->behind.first != NULL || b->scan != NULL || !list_empty(&b->members);
}
/* JOIN or LEAVE. */
void members_receive(struct broker *b, const struct record *r);

/* broker_positions.c */
void positions_receive(struct broker *b, const struct record *r);

/* broker_repeats.c */
/* Another hub has come. */
void repeats_begin(struct broker *b);
/* Has this publication come before? c: its channel's, or NULL. */
bool repeats_has(const struct broker *b, const struct chan *c, const struct record *r);
/* The same of a JOIN or LEAVE of a worker's. */
bool repeats_has_member(const struct broker *b, const struct record *r);

/* broker_control.c */
void control_receive(struct broker *b, const struct record *r);

/* broker_users.c */
/* Puts users of at most that many buckets on the list of what is owed. True: there are more. */
bool users_announce(struct broker *b, size_t max_buckets);
void users_flush(struct broker *b, unsigned *budget);
static inline bool users_owed(const struct broker *b)
{
    return !list_empty(&b->users_owed);
}
void users_fini(struct broker *b);

/* Writes a record. -1: no room. */
int broker_put(struct broker *b, struct record *r) MUST_CHECK;

/* broker_tail.c. The channel has a tail, where it does not say otherwise. */
/* A publication has been received, and c->position is its. */
void tail_append(struct chan *c, const struct record *r);
/* A sealed batch is about to be delivered. */
void tail_walk_begins(struct chan *c, struct batch *batch);
/* The hub says that publications were removed. Tail or not. */
void tail_trimmed(struct chan *c, const struct record *r);
/* A part of what was fetched. Tail or not. */
void tail_part(struct chan *c, const struct record *r);
/* The channel was announced to another hub, and c->position is its position there. */
void tail_announced(struct chan *c);
/* The channel has no subscribers any more. Tail or not. */
void tail_free(struct chan *c);
/* Writes requests as far as there is room; false: there was none. */
bool tails_flush(struct broker *b);
/* Gives up requests that are not answered in time. */
void tails_overdue(struct broker *b);
/* broker_recover.c */
void recover_open(struct broker *b);
void recover_close(struct broker *b);
/* s is recovering, and leaves. */
void recover_cancel(struct broker *b, struct sub *s);

/* broker_fanout.c */
/* A publication for a live channel. */
void fanout_append(struct broker *b, struct chan *c, const struct record *r);
/* A JOIN or LEAVE for one. */
void fanout_member(struct broker *b, struct chan *c, const struct record *r);
/* The channel has become live: everybody is to be told. */
void fanout_subscribed(struct broker *b, struct chan *c);
/* Those who wait for it are told that it cannot be now. */
void fanout_refused(struct broker *b, struct chan *c, uint16_t status);
/* Publications were lost: everybody is to be told, between what came before and what
 * comes after. */
void fanout_lost(struct broker *b, struct chan *c);
/* The channel's history has begun anew: the same. */
void fanout_restarted(struct broker *b, struct chan *c);
/* A trace tells of what s was given since these were metrics->deliveries and metrics->delivery_bytes, for where
 * TRACE_WANTED(deliver). */
void fanout_trace(struct broker *b, struct sub *s, uint64_t deliveries, uint64_t bytes);
/* Takes the subscriber at index out of the array, keeping the zones of a walk. */
void fanout_leave(struct chan *c, uint32_t index);
/* Ends the walk, drops its batches. */
void fanout_drop(struct broker *b, struct chan *c);
/* Whoever joins a live channel now is given everything after this. */
struct position fanout_before(const struct chan *c);
bool fanout_settled(const struct chan *c, uint32_t index);

#endif
