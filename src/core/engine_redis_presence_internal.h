/* core/engine_redis_presence_internal.h - members over nodes, for engine_redis_presence*.c:
 * engine_redis_presence.c has the hub's calls and what becomes of them · engine_redis_presence_list.c lists
 * and counts · engine_redis_presence_tidy.c keeps what the servers have true · engine_redis_presence_write.c
 * writes the commands · engine_redis_presence_scripts.c has what runs in the server.
 *
 * In the server a channel's members are a hash: client id → node, generation, owner and the fields as
 * they were set (struct redis_member). Members are their node's: they are written when they come or go,
 * never to be kept alive. A second hash counts each user's clients there; scripts change
 * both in one piece, so that counting is two lengths. For each node there is a set of the channels in
 * which it has members, and for each place a set of those nodes: what a dead node has left is
 * found by them and removed by the living one with the lowest id, which tells of the leaves. Until then its members
 * are not listed.
 *
 * This node's own members are in memory, too (engine_members.c): they are written again when the server is another
 * one than before, or has lost them, or another node has taken this one for dead. What the server
 * could not be told of who went is found by its generation: a new one is written, then the old
 * one is removed. */
#ifndef ROOST_CORE_ENGINE_REDIS_PRESENCE_INTERNAL_H
#define ROOST_CORE_ENGINE_REDIS_PRESENCE_INTERNAL_H

#include "engine_members_internal.h"
#include "engine_redis_internal.h"

/* Flags of an envelope in a MEMBERS call, beside enum presence_flags; who receives it ignores them. */
enum redis_member_flags {
    REDIS_MEMBER_KEEP = 4,   /* LEAVE: nothing is removed, it is only told */
    REDIS_MEMBER_IF_NEW = 8, /* told only if the server did not know it */
    REDIS_MEMBER_TELLS = 16, /* its leave is to be told when its node has died */
    REDIS_MEMBER_FIRST = 32  /* of this node in its channel */
};

struct redis_member { /* a value of the hash */
    uint64_t node;
    struct str fields;
};

struct redis_place {   /* where keys live together: a server, in a cluster a partition */
    char name[12];     /* of a channel that is there, or would be: the first such number */
    uint32_t gen;      /* of the members that are written now */
    uint64_t run;      /* hash of the server's run id; 0: none yet */
    uint64_t asked_ns; /* for its nodes */
    bool asking;       /* they are being asked for */
    bool rewrite,
        retell; /* all members are to be written again; those it has lost are told again */
    bool rewriting, telling; /* the same, of the pass under way */
    bool sweep;              /* then what is of another generation is to be removed */
    bool written;            /* the server has a member of this node's */
};

struct redis_sweep { /* through the channels of a node */
    struct list link;
    struct redis *engine;
    uint64_t node;
    unsigned place, outstanding; /* calls */
    unsigned rounds;             /* through its channels */
    uint64_t run;                /* of the server that knows the cursors */
    bool failed, removed;        /* removed: it is none of the place's nodes any more */
    char cursor[24];             /* into the set of its channels; "0": begins, or has ended */
};

struct redis_presence {
    struct members members;     /* this node's */
    struct list listings;       /* of struct listing */
    size_t seen_bytes;          /* of all listings */
    struct redis_place *places; /* owned */
    unsigned nplaces;
    struct list sweeps;
    unsigned nsweeps;
    bool heard[ENGINE_OWNERS_MAX]; /* owners that have said all they have */
    bool pass;                     /* members are being written again */
    size_t pass_cursor, renew_cursor;
    uint64_t next_ns, renewed_ns;
};

/* engine_redis_presence.c */
bool redis_node_alive(const struct redis *e, uint64_t node);
/* Is it this node's part to tidy up behind the dead? */
bool redis_node_tidies(const struct redis *e);
/* Tells the server's process from all others. */
uint64_t redis_run(const struct redis_server *s);
unsigned redis_place_of(struct redis *e, struct str channel);
struct redis_server *redis_place_server(struct redis *e, unsigned place);
/* A call that is for the place rather than a channel. NULL: no memory. */
struct redis_call *redis_place_call(struct redis *e, unsigned place,
                                    enum redis_call_kind kind) MUST_CHECK;
/* Something that has come or gone, to be written with others of its channel. m: this node's, or the
 * last that was known of it. quiet: no done() for it. -1: no memory, or the server is given up. */
int redis_member_change(struct redis *e, const struct record *r, uint8_t flags, uint32_t owner,
                        bool quiet, uint64_t token) MUST_CHECK;

/* engine_redis_presence_list.c */
void redis_members_list(struct redis *e, const struct engine_presence *ask, uint64_t token);
void redis_members_stats(struct redis *e, const struct engine_presence *ask, uint64_t token);
bool redis_list_reply(struct redis_call *c, struct str value);
bool redis_stats_reply(struct redis_call *c, struct str value);
void redis_list_failed(struct redis_call *c);
/* May it be sent again? */
bool redis_list_repeatable(const struct redis_call *c);
/* The next names of a listing's that are fetched one by one, as arguments. */
int redis_list_write(struct redis_call *c, struct buf *out) MUST_CHECK;
void redis_listings_fini(struct redis *e);

/* engine_redis_presence_tidy.c */
bool redis_tidy_reply(struct redis_call *c, struct str value);
void redis_tidy_failed(struct redis_call *c);
void redis_sweeps_fini(struct redis *e);

/* engine_redis_presence_write.c */
/* False: it is none of this version. */
bool redis_member_read(struct str value, struct redis_member *out);
/* Do they say who it is? */
bool redis_member_sound(struct str fields);

#endif
