/* core/hub_internal.h - what hub.c and the hub_*.c share. */
#ifndef ROOST_CORE_HUB_INTERNAL_H
#define ROOST_CORE_HUB_INTERNAL_H

#include "base/hash.h"
#include "base/list.h"
#include "base/pool.h"
#include "core/channel_name.h"
#include "core/hub.h"
#include "core/queue.h"
#include "turns.h"

/* Answers may go this far beyond queue_max; then the worker's ring is not read until it
 * takes some. */
#define HUB_QUEUE_RESERVE ((uint64_t)256 * 1024)
/* Beyond this part of queue_max for one worker no ring is read, so that publishers are held, not
 * publications lost: as long as that worker takes something, or a hung one would hold the node. */
#define HUB_PUSH_BACK_PART    8
#define HUB_PUSH_BACK_WAIT_NS NS_PER_SEC
/* Bytes set aside per worker. An honest one brings no more than its ring held when the old hub
 * died. */
#define HUB_ASIDE_MAX ((uint64_t)256 * 1024 * 1024)
/* Requests for histories a worker may have under way. */
#define HUB_HISTORIES_MAX 1024
/* Listings a worker may have under way. */
#define HUB_LISTINGS_MAX 16

struct pending { /* what a worker has asked for and the engine has not completed, or stands behind
                    it */
    struct list link;  /* in hub_worker.pending, in the ring's order */
    struct list turn;  /* if there is to be an answer: in hub.turns until then */
    uint64_t position; /* in the worker's ring */
    uint64_t token;
    union { /* the answer, when complete */
        struct position at;
        struct {
            uint32_t clients, users; /* MEMBER_COUNT; clients: USER_CONNECTED too */
        };
        struct {
            uint32_t told;                        /* workers that have it in their rings */
            uint32_t waits;                       /* copies in queues, and the engine's call */
            uint32_t nodes_asked, nodes_answered; /* 0: nobody but this node was asked */
        };
    };
    uint32_t life; /* of the asker */
    uint16_t worker;
    uint8_t kind; /* of the record; HELLO: of no record, the hub forgets a worker's members */
    uint8_t asker;
    uint8_t status; /* enum engine_status */
    bool complete;
    bool aside;  /* a publication that was set aside: the debt goes down when it is complete */
    bool answer; /* somebody waits for it */
    uint8_t name_len;
    char *name; /* owned; of the channel: HISTORY_REMOVE, a PUBLISH that is traced */
};

struct interest {  /* a worker's subscription to a channel; dense, so that publishing is one walk */
    uint32_t life; /* hub_worker.life when it was made; stale when that has moved on */
    uint32_t chan; /* the worker's id */
    uint32_t count;
    uint16_t worker;
    bool lost;  /* publications were lost; LOST is still to be written */
    bool asked; /* SUBSCRIBED is to be written when the engine has subscribed */
};

enum hub_subscribed {
    HUB_NOT_SUBSCRIBED = 0,
    HUB_SUBSCRIBING,
    HUB_UNAVAILABLE, /* the engine has said so, and goes on trying */
    HUB_SUBSCRIBED
};

struct lingering {    /* a channel without interest that is kept for a while */
    struct list link; /* in hub.lingering, the first to end first */
    uint64_t until_ns;
    struct hub_channel *channel; /* borrowed; owns this */
};

struct hub_channel {
    struct htab_node node;
    struct engine_channel engine;
    struct lingering *lingering; /* owned; NULL: somebody is interested */
    union {
        struct interest one;   /* while cap is 1 */
        struct interest *many; /* owned */
    };
    uint16_t n, cap;
    uint8_t name_len;
    uint8_t subscribed; /* enum hub_subscribed */
    uint32_t listed;    /* serial of the listing that has seen it */
    char name[];
};

static inline struct interest *hub_interests(struct hub_channel *c)
{
    return c->cap == 1 ? &c->one : c->many;
}

struct hub_forgetting { /* of members that a worker's earlier lives have left behind */
    struct pending call;
    struct engine_cursor cursor;
    bool due, calling;
    bool failed; /* the last call was not taken */
};

struct hub_worker {
    uint32_t generation; /* incarnation last heard of, 0: none */
    uint32_t life;       /* moves on whenever its interest is forgotten */
    uint32_t announced;  /* incarnation that has announced all its channels to this hub */
    uint32_t
        missed_generation; /* incarnation that missed publications of channels not announced yet */
    uint32_t owed;         /* interests of this life with lost set */
    uint32_t round;        /* of its announcing, as its records about members say */
    uint32_t mark;         /* of its members; another one for each life and round */
    bool congested;
    struct hub_forgetting forgetting;
    struct list member_lists; /* of struct member_list */
    unsigned nmember_lists;
    unsigned awaited; /* queued records that a CONTROL waits for */
    unsigned listings, histories;
    struct list pending; /* of struct pending */
    uint64_t aside_bytes;
    uint64_t took_ns; /* when its ring last took something queued, or the queue began */
    struct queue out;
    struct ring_debt *debt; /* borrowed; see hub_ops, may be NULL */
};
_Static_assert(sizeof(void *) != 8 || sizeof(struct hub_worker) == 256,
               "found by a shift, several times for each publication");

struct hub {
    const struct hub_ops *ops; /* borrowed */
    void *arg;
    unsigned workers;
    uint32_t generation;
    enum hub_state state;
    struct hub_limits limits;
    struct engine *engine;  /* owned */
    uint64_t engine_due_ns; /* when it wants to be called again; 0: whenever */
    struct htab channels;
    struct list lingering;
    struct pool pendings, member_lists;
    struct list turns[TURNS];       /* of struct pending */
    struct list member_lists_ended; /* gone, but for a call to the engine */
    struct htab users;
    bool users_sweeping, users_stale;
    bool forgetting;  /* some worker's may be due */
    unsigned awaited; /* of all workers */
    size_t users_cursor, users_renew_cursor;
    uint64_t users_renewed_ns;
    struct queue aside;
    size_t aside_publications; /* set aside, or since then with the engine */
    bool replaying;            /* the publication in work was set aside */
    struct list listings;      /* of struct listing, that wait */
    struct list surveys;       /* of struct survey */
    struct list replies;       /* of struct reply: what other nodes have not taken yet */
    struct list told;          /* of struct told_node */
    unsigned nreplies;         /* those, and the listings for more of them */
    uint64_t last_survey;      /* its id */
    struct listing *listing;   /* owned; the one that has begun */
    uint32_t listing_serial;
    struct list histories; /* of struct asking */
    uint64_t dropped,
        dropped_ns;       /* publications that nobody could be told of, since the log said so */
    bool sweeping, stale; /* a sweep is under way; forgotten interest has not been swept */
    size_t sweep_cursor;
    unsigned next_worker; /* whose queue is flushed first */
    unsigned congested;   /* workers */
    unsigned next_lists;  /* worker whose listings of members are looked at first */
    char fields
        [RECORD_FIELDS_MAX]; /* of the change of presence in work: the worker cannot reach it */
    struct hub_worker worker[];
};

/* hub_channel.c: channels and interest */
struct hub_channel *hub_find(struct hub *h, struct str name);
struct hub_channel *hub_channel_new(struct hub *h, struct str name) MUST_CHECK;
/* Frees the channel, or lets it linger, when nobody is interested any more. */
void hub_channel_prune(struct hub *h, struct hub_channel *c);
void hub_channel_free(struct hub *h, struct hub_channel *c);
struct str hub_channel_name(const struct hub_channel *c);
/* Frees those whose time has come. True when the budget ended it. */
bool hub_linger_run(struct hub *h, size_t *budget);
struct interest *hub_interest_find(struct hub *h, struct hub_channel *c, unsigned worker);
/* NULL: no memory. */
struct interest *hub_interest_add(struct hub *h, struct hub_channel *c, unsigned worker) MUST_CHECK;
/* Removes the old incarnations' entries, so that there are never more than workers. */
void hub_interest_drop_stale(struct hub *h, struct hub_channel *c);
void hub_interest_remove(struct hub *h, struct hub_channel *c, unsigned i);
static inline bool hub_interest_stale(const struct hub *h, const struct interest *i)
{
    return i->life != h->worker[i->worker].life;
}
/* hub.c */
/* The present incarnation of a worker is that one: if it is new, what is of the old one ends. */
void hub_adopt(struct hub *h, unsigned worker, uint32_t generation, bool hello);
/* Writes the answer to the worker's SUBSCRIBE. */
void hub_answer_subscribed(struct hub *h, struct hub_channel *c, struct interest *i);

/* hub_engine.c: to the engine and back */
extern const struct engine_events hub_engine_events;
void hub_publish(struct hub *h, const struct record *r, bool fresh);
void hub_fence(struct hub *h, const struct record *r);
void hub_position(struct hub *h, const struct record *r);
void hub_pending_init(struct hub *h);
void hub_pending_fini(struct hub *h);
/* What r asks for, behind everything its worker asked before. NULL: no memory. */
struct pending *hub_pending_new(struct hub *h, const struct record *r) MUST_CHECK;
/* It is complete. Frees it, if not now, then when all before it are. */
void hub_pending_done(struct hub *h, struct pending *p, enum engine_status status);

/* hub.c */
/* Handles a record (source: its worker; position: in that worker's ring) for good, whatever the
 * state. fresh: it comes from the worker's present
 * incarnation. */
void hub_handle(struct hub *h, const struct record *r, bool fresh);

/* hub_queue.c: the way to the workers */
/* Sends or queues an answer. -1: no memory, it is gone. */
int hub_answer(struct hub *h, unsigned worker, struct record *r) MUST_CHECK;
/* Sends or queues a JOIN or LEAVE to one interested worker. */
void hub_deliver_member(struct hub *h, const struct interest *i, struct record *r);
/* Sends or queues a control message; *copy: where it is queued, else NULL. -1: neither. */
int hub_deliver_control(struct hub *h, unsigned worker, struct record *r,
                        struct queued **copy) MUST_CHECK;
/* No ring to a worker can ever hold it: hub_limits.record_max. */
bool hub_fits_no_ring(const struct hub *h, const struct record *r);
/* Takes nothing of what is queued for it, and has not for a second. */
bool hub_hangs(const struct hub *h, unsigned worker);
/* Sends or queues a publication to one interested worker. -1: the interest is marked as having lost it. */
int hub_deliver(struct hub *h, struct interest *i, struct record *publication);
void hub_mark_lost(struct hub *h, struct interest *i);
/* Writes the LOST that is owed, of what was published up to there. -1: no room yet. */
int hub_report_lost(struct hub *h, struct interest *i, struct position to) MUST_CHECK;
/* What the engine has lost: `to` is where the channel stands now. */
void hub_report_gap(struct hub *h, struct interest *i, struct position to);
/* Drops what is queued for the worker. */
void hub_queue_drop(struct hub *h, unsigned worker);
/* Sends what fits. True when the budget ended it. */
bool hub_queue_flush(struct hub *h, size_t *budget);
/* Counts and logs what the last incarnation held when it died. */
void hub_write_off(struct hub *h);
/* Keeps debt.behind of the worker true; after every change of what it depends on. */
void hub_mark_behind(struct hub *h, unsigned worker);
/* Keeps a count of its debt true, where there is one. */
static inline void hub_debt_add(_Atomic uint32_t *count, int n)
{
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + (uint32_t)n,
                          memory_order_relaxed);
}

/* hub_gather.c: a new incarnation's start */
/* A publication cannot be handled: its subscribers have lost it. */
void hub_lose(struct hub *h, struct str channel);
void hub_set_aside(struct hub *h, const struct record *r);
/* A publication of the worker's that was set aside has come to its end. */
void hub_aside_done(struct hub *h, unsigned worker);
void hub_announced(struct hub *h, unsigned worker, const struct record *r);
/* Has everybody announced? Then on to replaying. */
void hub_gather_check(struct hub *h);
/* Handles records set aside; goes live behind the last one. */
void hub_replay(struct hub *h, size_t *budget);

/* hub_history.c */
void hub_history_start(struct hub *h, const struct record *r);
bool hub_history_kept(void *hub, uint64_t token, const struct record *r);
void hub_history_done(struct hub *h, struct pending *p, enum engine_status status,
                      struct position at);
/* True when a request could go on now. */
bool hub_history_run(struct hub *h, size_t *budget);
void hub_history_fini(struct hub *h);
void hub_remove(struct hub *h, const struct record *r);
void hub_removed(struct hub *h, struct pending *p, enum engine_status status, struct position at);

/* hub_presence.c: who comes and goes */
void hub_presence_change(struct hub *h, const struct record *r);
void hub_presence_stats(struct hub *h, const struct record *r);
/* The worker says which round of announcing its records belong to. */
void hub_presence_round(struct hub_worker *w, uint32_t round);
/* Members of the worker whose mark is not its present one are to be forgotten. */
void hub_presence_forget(struct hub *h, unsigned worker);
/* True when the budget ended it. */
bool hub_presence_run(struct hub *h, size_t *budget);
void hub_forget_done(struct hub *h, struct pending *call, enum engine_status status);
void hub_on_member(void *hub, const struct record *r);
void hub_on_counted(void *hub, uint64_t token, uint32_t clients, uint32_t users);

/* hub_members.c: listings of members */
void hub_members_init(struct hub *h);
void hub_members_start(struct hub *h, const struct record *r);
/* The worker's listings are of no use any more. */
void hub_members_drop(struct hub *h, unsigned worker);
/* True when the budget ended it. */
bool hub_members_run(struct hub *h, size_t *budget);
void hub_members_done(struct hub *h, struct pending *call, enum engine_status status);
void hub_on_listed(void *hub, uint64_t token, struct str fields);
void hub_members_fini(struct hub *h);

/* hub_elsewhere.c: for a worker of the node r->epoch */
void hub_elsewhere(struct hub *h, const struct record *r);
/* That node is dead. */
void hub_elsewhere_forget(struct hub *h, uint64_t node);
void hub_elsewhere_fini(struct hub *h);

/* hub_control.c */
/* Of another node, to one worker. */
void hub_control_tell(struct hub *h, unsigned worker, const struct record *r);
void hub_control(struct hub *h, const struct record *r);
void hub_control_done(struct hub *h, struct pending *p, enum engine_status status);
/* A copy that was queued for a worker has gone into its ring (OK), or with its worker (REFUSED), or
 * is not waited for any longer (UNKNOWN). */
void hub_control_left(struct hub *h, unsigned worker, struct queued *copy, enum engine_status how);
/* Waits no longer for workers that take nothing. */
void hub_control_run(struct hub *h);
bool hub_on_control(void *hub, const struct record *r);
void hub_on_told(void *hub, uint64_t token, uint32_t asked, uint32_t answered);

/* hub_users.c */
void hub_user_count(struct hub *h, const struct record *r);
void hub_user_connect(struct hub *h, const struct record *r);
void hub_user_counted(struct hub *h, struct pending *p, enum engine_status status);
/* Removes what workers that have gone have left. True when the budget ended it. */
bool hub_users_run(struct hub *h, size_t *budget);
void hub_users_fini(struct hub *h);

/* hub_page.c: the first names of many, in the order of their bytes, or by their clients (each name
 * once then) */
struct page_item { /* malloc'ed */
    uint64_t clients;
    uint8_t len;
    char name[];
};
struct hub_page { /* malloc'ed */
    uint32_t n, max;
    bool top;                  /* the most clients first */
    struct page_item *items[]; /* owned */
};
struct hub_page *hub_page_new(uint32_t max, bool top) MUST_CHECK;
void hub_page_free(struct hub_page *p);
/* 1: it is behind the first max, or another one is from now on; -1: no memory. One that is there: its clients are added. */
int hub_page_add(struct hub_page *p, struct str name, uint64_t clients) MUST_CHECK;
/* STR_NULL: it is empty. */
struct str hub_page_last(const struct hub_page *p);
int hub_name_compare(struct str a, struct str b);

/* hub_list.c */
struct hub_query { /* borrowed */
    struct str pattern, after;
    uint32_t max;
    bool paged; /* the first names behind `after`, in their order, */
    bool top;   /* or those with the most clients */
};
struct hub_collected {     /* a listing for a survey */
    uint64_t node, survey; /* node 0: this node's survey */
    uint32_t matches;
    bool failed;
    struct buf names; /* as hub_survey_put() writes them; owned */
};
void hub_list_start(struct hub *h, unsigned worker, const struct record *r);
/* Ends with hub_survey_collected(). -1: no memory. */
int hub_list_collect(struct hub *h, const struct hub_query *q, uint64_t node, uint64_t survey,
                     uint64_t until_ns) MUST_CHECK;
/* The last part, of a listing that cannot be had. */
void hub_list_refuse(struct hub *h, unsigned worker, uint8_t asker, uint64_t token);
/* One channel of a listing, as JSON; at most HUB_LISTED_MAX bytes. */
#define HUB_LISTED_MAX (CHANNEL_NAME_MAX + sizeof(",\"\":{\"num_clients\":18446744073709551615}"))
size_t hub_list_put(char *out, size_t size, bool first, struct str name, uint64_t clients);
/* True when the listing could go on now. */
bool hub_list_run(struct hub *h, size_t *budget);
void hub_list_fini(struct hub *h);

/* hub_survey.c, hub_survey_reply.c: listings of all nodes */
/* Are there other nodes to ask? */
bool hub_survey_wanted(const struct hub *h);
/* -1: no memory. */
int hub_survey_start(struct hub *h, unsigned worker, const struct record *r,
                     const struct hub_query *q) MUST_CHECK;
int hub_survey_put(struct buf *out, struct str name, uint64_t clients) MUST_CHECK;
/* Takes the names. */
void hub_survey_collected(struct hub *h, struct hub_collected *c);
/* True when one could go on now. */
bool hub_survey_run(struct hub *h, size_t *budget);
void hub_on_heard(void *hub, uint64_t node, struct str bytes);
void hub_on_node(void *hub, uint64_t node, bool alive);
void hub_survey_fini(struct hub *h);

#endif
