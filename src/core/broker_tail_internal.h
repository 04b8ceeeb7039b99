/* core/broker_tail_internal.h - what broker_tail.c, which keeps a channel's last publications, and
 * broker_recover.c, which answers from them, share. */
#ifndef ROOST_CORE_BROKER_TAIL_INTERNAL_H
#define ROOST_CORE_BROKER_TAIL_INTERNAL_H

#include "broker_internal.h"

struct held { /* a publication of a tail; its offset follows from its place */
    uint64_t time_ns;
    uint32_t data_len;
    uint16_t fields_len;
    uint8_t flags; /* enum record_flags */
    char bytes[];  /* payload, fields */
};

/* Of what is fetched from the hub: nothing, to be asked for when the ring has room, asked for. */
enum tail_fetch { TAIL_FETCH_NONE = 0, TAIL_FETCH_OWED, TAIL_FETCH_ASKED };

/* The end of a channel's history in a worker. Without a gap it holds the n publications that end
 * with the one at `at`. */
struct tail {
    struct list link;       /* in broker.tails while it keeps publications: the least lately used
                               first */
    struct list fetch_link; /* in broker.fetches (OWED) or broker.fetching (ASKED) */
    struct broker *broker;
    struct chan *chan;
    struct position at;
    struct held **held; /* owned circle of cap places, and so are they; the oldest at `first` */
    uint32_t first, n, cap;
    uint32_t depth; /* most publications that somebody has wanted */
    size_t bytes;
    uint64_t used_ns;  /* somebody wanted something */
    uint64_t asked_ns; /* of the fetch */
    uint32_t serial;   /* of the fetch: an answer to an earlier one is of no use */
    uint8_t fetch;     /* enum tail_fetch */
    bool complete;     /* the hub has nothing more of what depth allows */
    bool wants_previous;
    struct blob *previous;  /* shared (refs); payload of the last publication of a walk; or NULL */
    uint8_t previous_flags; /* its enum record_flags */

    /* broker_recover.c */
    struct task task;
    struct list waiting; /* to be answered, in their order */
    struct list parked;  /* waiting for the fetch */
    bool failed;         /* the last fetch; those who wait are told so */
    uint64_t lowest;     /* the oldest publication that somebody knows who waits */
    /* What those who wait are given: the publications from snapshot_first to snapshot_at. */
    struct batch *snapshot; /* owned; or NULL */
    uint64_t snapshot_first;
    struct position snapshot_at;
    bool snapshot_used;
    unsigned overtaken;     /* snapshots that were of no use before they were encoded, in a row */
    struct position walked; /* a walk has begun with what stands up to here, and may have passed
                               whoever waits */
};

/* broker_tail.c */
/* The channel's, made if need be; NULL: no memory. */
struct tail *tail_get(struct broker *b, struct chan *c) MUST_CHECK;
/* It keeps publications from now on; somebody may want so many. */
void tail_use(struct tail *t, uint32_t depth);
/* Forgets what has expired, and all when it does not end where the channel stands now. */
void tail_check(struct tail *t);
/* From 0, the oldest. */
const struct held *tail_held(const struct tail *t, uint32_t i);
/* Asks the hub for what stands before the oldest one. */
void tail_fetch(struct tail *t);
/* Cuts it back to what is kept in any case. */
void tail_settle(struct tail *t);

/* broker_recover.c */
void recover_init(struct tail *t);
/* Whoever waits still is not told. */
void recover_fini(struct tail *t);
bool recover_busy(const struct tail *t);
/* The fetch has ended: those who wait for it are looked at again. failed: without what it was to
 * bring they are not recovered. */
void recover_fetched(struct tail *t, bool failed);
void recover_drop_snapshot(struct tail *t);

#endif
