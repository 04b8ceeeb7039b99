/* core/engine_redis_internal.h - what the Redis engine's files share: engine_redis.c answers the hub ·
 * engine_redis_server.c keeps one server's connection · engine_redis_calls.c its calls ·
 * engine_redis_tick.c what time does to it · engine_redis_write.c writes
 * calls · engine_redis_reply.c reads replies · engine_redis_subs.c knows channels · engine_redis_push.c reads what is pushed ·
 * engine_redis_log.c hears control messages · engine_redis_users.c counts users ·
 * engine_redis_scripts.c has what runs in the server · engine_redis_cluster.c knows who has which slots ·
 * engine_redis_lanes.c keeps calls in order that were turned away ·
 * engine_redis_sentinel.c asks where a master is ·
 * engine_redis_restore.c subscribes again · engine_redis_sweep.c asks whether all stand where they should. */
#ifndef ROOST_CORE_ENGINE_REDIS_INTERNAL_H
#define ROOST_CORE_ENGINE_REDIS_INTERNAL_H

#include "base/buf.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/pool.h"
#include "codec/resp.h"
#include "core/channel_name.h"
#include "core/engine_common.h"
#include "core/engine_redis.h"
#include "core/engine_shards.h"

#define REDIS_BATCH_MAX 32 /* publications of one call */
#define REDIS_BATCH_BYTES                                                                          \
    ((size_t)256 *                                                                                 \
     1024) /* a call of more does not grow: the next answer is not far on a slow line */
#define REDIS_OPEN_SLOTS  64 /* calls of this round that may still grow, of each server */
#define REDIS_HEAL_MAX    64 /* publications that are fetched to close a gap */
#define REDIS_SERVERS_MAX 128
#define REDIS_SLOT_NR     16384

enum redis_script {
    REDIS_SCRIPT_PUBLISH = 0,
    REDIS_SCRIPT_PUBLISH_IF,
    REDIS_SCRIPT_HISTORY,
    REDIS_SCRIPT_REMOVE,
    REDIS_SCRIPT_CONTROL,
    REDIS_SCRIPT_USER,
    REDIS_SCRIPT_MEMBERS,
    REDIS_SCRIPT_COUNT,
    REDIS_SCRIPT_SWEEP,
    REDIS_SCRIPT_DISOWN,
    REDIS_SCRIPT_NR
};
extern const char *const redis_scripts[REDIS_SCRIPT_NR];

enum redis_call_kind {
    REDIS_HELLO = 0, /* those before PUBLISH: of a connection that is being set up */
    REDIS_INFO,
    REDIS_SELECT,
    REDIS_STATE, /* of the cluster */
    REDIS_LOAD,
    REDIS_SLOTS,     /* who has them */
    REDIS_LISTEN,    /* to what this node publishes to itself, and what is for all nodes */
    REDIS_CAUGHT_UP, /* what the control log holds since we last heard */
    REDIS_PUBLISH,   /* not kept: any number up to REDIS_BATCH_MAX */
    REDIS_KEEP,      /* kept, likewise */
    REDIS_PUBLISH_IF,
    REDIS_CHECK, /* does a channel stand where this node believes? */
    REDIS_SYNC,  /* where a channel stands, and what this node has missed of it */
    REDIS_HISTORY,
    REDIS_REMOVE,
    REDIS_USER, /* since.offset: the count */
    REDIS_CONTROL,
    REDIS_MEMBERS, /* who comes to a channel and goes: any number up to REDIS_BATCH_MAX */
    REDIS_LIST,    /* some of a channel's members */
    REDIS_COUNT,
    REDIS_OWNERS, /* the nodes that have members in a place */
    REDIS_INDEX,  /* some of the channels in which one of them has */
    REDIS_SWEEP,  /* removes some of its members */
    REDIS_DISOWN, /* it has none any more */
    REDIS_RELAY, /* those from here on: not of a channel's place. What the server that takes a slot over
                      * has published, to those who are still subscribed at the one that had it */
    REDIS_SAY, /* nodes to each other; token: to whom, 0: all */
    REDIS_PROBE,
    REDIS_SUBSCRIBE, /* and UNSUBSCRIBE: pushes answer them, the PING behind them ends the call */
    REDIS_UNSUBSCRIBE
};

struct redis_publication {
    uint64_t token;
    struct position at; /* epoch 0: not known yet */
    bool echo;          /* it is to come back to us, too */
    bool quiet;         /* nobody waits for it */
};

struct redis_call {
    struct list link; /* in server.waiting, server.sent, lane.again, lane.held */
    struct redis_server *server;
    struct redis_partition *partition; /* NULL: none, or no cluster */
    struct redis_lane *lane;           /* its channel's, unless it is done; NULL: none */
    uint64_t id;
    uint64_t since_ns; /* when it came; sent: when it was sent */
    struct buf body;   /* owned: envelopes of publications; SUBSCRIBE and the like: commands */
    uint64_t token;    /* HISTORY and the like */
    struct position since;
    uint32_t limit;
    uint8_t kind;
    uint8_t script; /* LOAD */
    uint8_t n;      /* publications */
    uint8_t echoes; /* of them not back yet; MEMBERS: when it has been replied to */
    uint8_t back;   /* MEMBERS: have come back before the reply */
    bool reverse, replied;
    bool echoed;    /* this node subscribes to its channel: what it publishes comes back */
    bool repeat;    /* it may have been done before */
    bool refused;   /* it has certainly not been */
    bool overtaken; /* it was refused once: what came behind it may have been done before it */
    bool sent;      /* in server.sent */
    bool asking;    /* ASKING stands before it, and is not answered yet */
    bool asked;     /* ASKING stood before it when it was sent last */
    uint8_t name_len;
    uint16_t key_len; /* of the idempotency key, behind the name in `text` */
    uint64_t version;
    char *text; /* owned; key and epoch of the version */
    uint16_t version_epoch_len;
    char index;     /* MEMBERS: '+', '-' or 0, see the script */
    bool drop;      /* DISOWN: whatever it has */
    uint16_t place; /* OWNERS and the like */
    void *task;     /* borrowed; LIST, INDEX and the like: whose step it is */
    char name[CHANNEL_NAME_MAX];
    struct redis_publication pubs[REDIS_BATCH_MAX];
};

enum redis_sub_state { REDIS_SUB_ASKED = 0, REDIS_SUB_LIVE };

struct redis_sub { /* a channel this node subscribes to, or did a moment ago */
    struct htab_node node;
    struct list link;         /* in server.subs, server.resubscribe */
    struct list linger;       /* in redis.lingering */
    struct list in_partition; /* in partition.subs */
    struct engine_channel *c; /* borrowed; NULL: nobody is subscribed here any more */
    struct redis_server *server;
    struct redis_partition *partition; /* NULL: no cluster */
    struct position at;                /* epoch 0: it has not been live yet */
    uint64_t was;                      /* the epoch before that of `at`; 0: none */
    uint64_t heard;      /* offset of the last one that came while SYNC was under way */
    uint64_t until_ns;   /* lingering */
    uint64_t sync_id;    /* of the SYNC under way */
    uint32_t connection; /* server.connections when SUBSCRIBE was sent */
    uint32_t live_on;    /* when it became live; 0: its server is another one since */
    uint32_t moved_to;   /* likewise of a server it has moved to without a break; 0: with one */
    uint8_t state;       /* enum redis_sub_state */
    bool confirmed;      /* of that connection */
    bool kept;           /* it has a history */
    bool told;           /* subscribed() has been called */
    bool waits;          /* it is to be called, for somebody who waits */
    bool again;          /* asked for again, by another connection */
    uint8_t name_len;
    char name[];
};

enum redis_state { REDIS_DOWN = 0, REDIS_CONNECTING, REDIS_SETTING_UP, REDIS_UP };

struct redis_server {
    struct redis *engine;
    struct redis_sentinels *sentinels; /* owned; who say where it is; NULL: its address does */
    struct engine_address address;
    enum redis_state state;
    struct engine_wire *wire; /* owned; NULL: none */
    struct buf in;
    struct resp_scan scan;
    struct buf out;                            /* of this round */
    struct list waiting, sent;                 /* of struct redis_call */
    struct redis_call *open[REDIS_OPEN_SLOTS]; /* waiting ones that may grow, by hash of the name */
    struct list subs, resubscribe; /* of struct redis_sub; resubscribe: still to be asked for */
    uint32_t connections;          /* so many have there been */
    uint64_t answered_ns;          /* the last reply came */
    size_t waiting_bytes, sent_bytes;
    unsigned nwaiting, nsent, setup;
    char sha[REDIS_SCRIPT_NR][41];
    char run_id[64];  /* what tells it from others, and from itself before it was a replica */
    uint64_t time_ms; /* by its clock, when it last told its INFO; 0: it does not say */
    uint64_t down_since_ns, retry_ns, heard_ns;
    struct engine_probe probe;
    uint64_t role_ns; /* when it was last asked whether it is a master */
    unsigned attempts;
    bool caught_up;          /* with the control log; it is home to it */
    bool restored;           /* subscribed to everything again */
    int shard;               /* its place among engine_shards */
    uint8_t ending;          /* enum engine_ending, if what comes cannot be taken */
    char refusal[96];        /* of a call, that makes the connection end: REFUSED */
    unsigned loading;        /* scripts under way */
    struct engine_pace pace; /* of subscribing again */
    struct list wanted;      /* of struct redis_sub: asked for first, as somebody waits */
    unsigned asking;         /* SUBSCRIBE calls that are not answered */
    uint64_t up_ns;
    bool degraded; /* it delivers, and refuses to write */
    bool original; /* a master that has never been a copy of another one */
    /* In a cluster: */
    unsigned partitions;
    const struct redis_partition *listens; /* the probe's; NULL: none */
    uint64_t keep_until_ns;                /* also without a partition */
};

struct redis_partition {         /* channels whose keys share a slot */
    struct redis_server *server; /* it has the slot, as far as is known; borrowed */
    struct list subs;            /* of struct redis_sub; those not asked for in front */
    uint64_t sure_until_ns;      /* only the server itself says otherwise before */
    uint32_t tag;
    uint16_t slot;
    bool served;      /* somebody has the slot; server is else whoever had it, or the first one */
    uint32_t told_in; /* the last of redis_cluster.answers that named an owner */
};

struct redis_cluster {
    uint64_t ask_ns, asked_ns; /* for the slots */
    uint64_t seeds_ns;         /* when to try the addresses of the settings again */
    unsigned turn;
    uint32_t answers;                   /* about slots; so many have there been */
    bool known;                         /* a server has said who has which slots */
    const struct redis_partition *home; /* of what is for no channel */
    unsigned n;
    struct redis_partition partitions[]; /* by slot */
};

struct redis {
    struct engine engine; /* first */
    struct engine_settings s;
    const struct engine_wire_ops *wires;
    void *arg;
    struct htab subs;
    struct list lingering;
    struct pool calls;
    uint64_t next_id;
    uint64_t began_ns, repeats_until_ns; /* then rings bring no repetitions any more */
    struct buf scratch;
    size_t value_max;              /* bytes of one value of a server, as far as it has said */
    struct engine_redis_mark mark; /* how far the control log has been heard */
    struct redis_server *servers[REDIS_SERVERS_MAX]; /* owned */
    unsigned nservers;
    struct redis_presence *presence; /* owned */
    struct redis_cluster *cluster;   /* owned; NULL: servers stand alone */
    uint64_t sweep_ns;
    size_t sweep_cursor;
    struct htab lanes;
    struct list lane_list;
};

static inline struct redis *redis_of(const struct engine *e)
{
    return (struct redis *)(uintptr_t)e;
}

/* engine_redis.c */
uint64_t redis_same_hash(struct str s);
struct redis_server *redis_server_of(struct redis *e, struct str channel);
/* Control messages and their log live where the channel without a name would. */
bool redis_is_home(const struct redis_server *s);
void redis_done(struct redis *e, uint64_t token, enum engine_status status, struct position at);
/* A new call, or NULL after the asker has been told that it cannot be done. */
struct redis_call *redis_ask(struct redis *e, enum redis_call_kind kind, struct str name,
                             uint64_t token);
/* A server has come up or has gone. */
void redis_nodes_up(struct redis *e);
/* The call of this round that something of the channel's may join, or a new one. NULL: no memory. */
struct redis_call *redis_call_growing(struct redis_server *s, enum redis_call_kind kind,
                                      struct str name) MUST_CHECK;
/* May what comes from the rings have been done by the hub before this one? */
bool redis_may_repeat(const struct redis *e);

/* engine_redis_server.c */
/* Added to the engine's. NULL: no memory, or there are too many. */
struct redis_server *redis_server_new(struct redis *e,
                                      const struct engine_address *address) MUST_CHECK;
void redis_server_free(struct redis_server *s);
/* Reads the next piece of the control log. -1: no memory. */
int redis_server_catch_up(struct redis_server *s) MUST_CHECK;
/* Connects; a DOWN one. */
void redis_server_begin(struct redis_server *s);
/* Sends what has been written in this round. */
void redis_server_flush(struct redis_server *s);
/* The connection is of no use any more: a new one. */
void redis_server_restart(struct redis_server *s, enum engine_ending ending);
/* Its connection hears the probe and, at home, control messages; when it is up. */
void redis_server_listen(struct redis_server *s);
/* If that is not where it listens: over the first of its partitions that are served, as all nodes do. */
void redis_server_listen_anew(struct redis_server *s);
/* Is it up, and heard? */
bool redis_server_listens(const struct redis_server *s);
/* Its scripts are gone: they are loaded again. */
void redis_server_load(struct redis_server *s);
/* A step of setting up is complete. */
void redis_setup_step(struct redis_server *s);
bool redis_server_wants(const struct redis_server *s);
/* Is it gone for longer than patience lasts? */
bool redis_server_given_up(const struct redis_server *s);

/* engine_redis_calls.c */
/* A call for the end of the queue. NULL: no memory. */
struct redis_call *redis_call_new(struct redis_server *s, enum redis_call_kind kind,
                                  struct str name) MUST_CHECK;
/* Takes it out of its queue, with what it counts there. */
void redis_call_free(struct redis_call *c);
/* Sends it now, before all that waits; when it cannot be written it fails. */
void redis_call_send(struct redis_call *c);
/* Another server's from now on; it has not been sent. Of a list it stays where it is. */
void redis_call_move(struct redis_call *c, struct redis_server *to);
/* So many bytes have been added to a waiting call's body. */
void redis_call_grew(struct redis_call *c, size_t bytes);
/* The connection has ended: what was sent and may have been done ends, in its order; the rest is tried again,
 * before all that waits. */
void redis_calls_give_up(struct redis_server *s);
void redis_calls_take_back(struct redis_server *s);

/* engine_redis_tick.c */
/* Deadlines, what waits is sent. When it wants to be called again. */
uint64_t redis_server_tick(struct redis_server *s, uint64_t now_ns);
/* What this node publishes to itself has come back. */
void redis_server_heard_itself(struct redis_server *s);
/* Does this error say that it writes nothing now? */
bool redis_is_full(struct str error);
/* Does it come from inside a script? What stands before it there is done. */
bool redis_is_inside_script(struct str error);
void redis_degraded(struct redis_server *s, const char *text);
/* A call that writes was taken. */
void redis_written(struct redis_server *s);

/* engine_redis_sentinel.c */
/* Those of all that are of the server's master: the same name and database. NULL: no memory. */
struct redis_sentinels *redis_sentinels_new(struct redis_server *s,
                                            const struct engine_address *all,
                                            unsigned n) MUST_CHECK;
/* redis_sentinels_free(NULL) is fine. */
void redis_sentinels_free(struct redis_sentinels *t);
/* Where the master is, by an answer that was not used before. False: there is none; s->retry_ns is set when it
 * comes. */
bool redis_sentinels_master(struct redis_sentinels *t, struct engine_address *out);
/* What was named did not come up. */
void redis_sentinels_mistaken(struct redis_sentinels *t);
/* When it wants to be called again. */
uint64_t redis_sentinels_tick(struct redis_sentinels *t, uint64_t now_ns);

/* engine_redis_write.c */
/* Appends the call's command to s->out. -1: no memory. */
int redis_call_write(struct redis_call *c) MUST_CHECK;
/* Does the call hold publications that are kept? */
bool redis_call_is_kept(const struct redis_call *c);
bool redis_call_is_publication(const struct redis_call *c);
/* Does it belong where its channel is? Those without a channel belong home. */
bool redis_call_has_place(uint8_t kind);
/* SUBSCRIBE and the like: a PING ends it, and errors may stand before its answer. */
bool redis_call_is_listening(const struct redis_call *c);
/* May it be sent again after its connection has ended, without being done twice? */
bool redis_call_repeatable(const struct redis_call *c);

/* engine_redis_reply.c */
/* What the server answers to it; rest: a whole value. May free it. False: the connection is to
 * end. */
bool redis_call_reply(struct redis_call *c, struct str value);
/* An error in front of the reply to SUBSCRIBE and the like. */
bool redis_subscribe_refused(struct redis_call *c, struct str error);
/* It will not be done, or nobody knows. Frees it. */
void redis_call_fail(struct redis_call *c, enum engine_status status);
/* Completes and frees an answered call of publications when all of them have come back, or now. */
void redis_call_settle(struct redis_call *c, bool now);
/* A publication of this node's came back: of call `id`, from place `position` of a ring. */
void redis_call_echo(struct redis_server *s, const struct envelope *e, struct position at);

/* Names of keys and channels: prefix:kind channel. All are made here. -1: no memory. */
int redis_arg_name(struct redis_server *s, struct buf *out, const char *kind,
                   struct str channel) MUST_CHECK;
/* What is published has the number of the database in its name: prefix:dN:kind channel, without it in database 0. */
int redis_arg_channel(struct redis_server *s, struct buf *out, const char *kind,
                      struct str channel) MUST_CHECK;
#define REDIS_DATABASE_FORMAT "d%u:"
/* "SSUBSCRIBE" as this engine says it. */
struct str redis_word(const struct redis *e, const char *sharded);
/* Takes an entry of a stream off *rest. False: it is none. */
bool redis_next_entry(struct str *rest, uint64_t id[2], struct str *item);

/* EVALSHA, its script, the number of keys; keys and args are to follow. */
int redis_script(struct redis_call *c, struct buf *out, enum redis_script which, unsigned keys,
                 unsigned args) MUST_CHECK;

/* engine_redis_users.c */
void redis_user(struct redis *e, struct str user, uint32_t count, uint32_t limit, uint64_t token);
int redis_user_write(struct redis_call *c, struct buf *out) MUST_CHECK;
bool redis_user_reply(struct redis_call *c, struct str value);

/* engine_redis_presence.c: engine_redis_presence_internal.h has the rest */
int redis_presence_init(struct redis *e) MUST_CHECK;
void redis_presence_fini(struct redis *e);
void redis_presence(struct redis *e, const struct engine_presence *ask, uint64_t token);
bool redis_members_reply(struct redis_call *c, struct str value);
/* One of the call's has come back; which one does not matter. May free it. */
void redis_members_echo(struct redis_call *c);
/* Frees it. */
void redis_members_failed(struct redis_call *c);
/* A JOIN or LEAVE of a live node's that was published; what was published for a dead one. sub may be
 * NULL. */
void redis_member_told(struct redis *e, const struct redis_sub *sub, const struct envelope *env);
void redis_member_gone(struct redis *e, const struct redis_sub *sub, struct str value);

/* engine_redis_presence_tidy.c */
/* What is to be done from time to time. When it wants to be called again. */
uint64_t redis_presence_tick(struct redis *e, uint64_t now_ns);
/* A server has come up, a node has come or died: it is to be looked at. */
void redis_presence_wake(struct redis *e);

/* engine_redis_presence_write.c */
int redis_presence_write(struct redis_call *c, struct buf *out) MUST_CHECK;

/* engine_redis_subs.c */
struct redis_sub *redis_sub_find(struct redis *e, struct str name);
/* Is it to be told by the present connection? */
bool redis_sub_asked(const struct redis_sub *sub);
void redis_subs_fini(struct redis *e);
void redis_subscribe(struct redis *e, struct engine_channel *c, struct str name);
void redis_unsubscribe(struct redis *e, struct engine_channel *c, struct str name);
/* The reply to SYNC: where it stands, where its epoch began after another one, and n entries of what was
 * kept behind call->since. */
void redis_synced(const struct redis_call *c, struct position top, struct position before,
                  struct str entries, uint32_t n);
void redis_sync_failed(const struct redis_call *c);
/* The partition has another server. */
void redis_subs_move(struct redis_partition *p);
/* What was asked for of it and is not confirmed is asked for again, in a moment. */
void redis_subs_again(struct redis_partition *p);
/* The server has ended a subscription. */
void redis_sub_ended(struct redis_sub *sub);
/* The server is given up: whoever waits is told. True: there are more. */
bool redis_subs_give_up(struct redis_server *s);
/* Forgets channels that nobody has come back to. */
void redis_linger_run(struct redis *e, uint64_t now_ns);

/* Asks where it stands and for what it has missed; until then it is not live. -1: no memory. */
int redis_sub_sync(struct redis_sub *sub) MUST_CHECK;
bool redis_is_kept(struct str name);
/* One whose body has just been written. NULL does nothing. */
void redis_call_send_new(struct redis_call *c);

/* engine_redis_restore.c */
/* The connection is there, has ended. */
void redis_subs_up(struct redis_server *s);
void redis_subs_down(struct redis_server *s);
/* Subscribes to some more of what is to be subscribed to again, at the rate of the settings. */
void redis_resubscribe(struct redis_server *s);
bool redis_subs_restored(const struct redis_server *s);

/* engine_redis_sweep.c */
/* The reply to CHECK. */
void redis_checked(const struct redis_call *c, struct str value);
/* Asks for some more channels where they stand, so that all have been within the settings' time. */
void redis_sweep_run(struct redis *e, uint64_t now_ns);

/* engine_redis_push.c */
/* A push: `>` and its children. */
void redis_pushed(struct redis_server *s, struct str value);
/* A publication at its position; sub is live. */
void redis_deliver(struct redis_sub *sub, struct envelope *env, struct position at);
/* "subscribe": the server has confirmed. */
void redis_confirmed(struct redis_sub *sub);
/* There is a gap in front of what has come. */
void redis_sub_heal(struct redis_sub *sub);

/* engine_redis_log.c */
/* Goes on where the hub before this one stood. */
void redis_log_begin(struct redis *e);
/* The connection has ended. */
void redis_log_ended(struct redis_server *s);
/* A control message as it is published. */
void redis_control_said(struct redis_server *s, struct str payload);
/* CAUGHT_UP. -1: no memory. */
int redis_log_write(struct redis_server *s, struct buf *out) MUST_CHECK;
/* Its reply. False: the connection is to be ended. */
bool redis_log_reply(struct redis_server *s, struct str value) MUST_CHECK;

/* engine_redis_cluster.c */
/* NULL: no memory. */
struct redis_cluster *redis_cluster_new(unsigned partitions) MUST_CHECK;
/* All partitions are the first server's until one has said better. */
void redis_cluster_begin(struct redis *e);
struct redis_partition *redis_partition_of(struct redis *e, uint64_t hash);
/* The reply to STATE: commands would be refused while it is down as a whole. */
bool redis_cluster_is_well(struct str info);
/* The reply to SLOTS. */
bool redis_cluster_slots(struct redis_server *s, struct str value);
/* Something has changed. */
void redis_cluster_ask_soon(struct redis *e);
/* When it wants to be called again. */
uint64_t redis_cluster_tick(struct redis *e, uint64_t now_ns);

enum redis_redirection {
    REDIS_NOT_REDIRECTED = 0,
    REDIS_AGAIN,       /* at *ask with ASKING, else where its channel is now */
    REDIS_AGAIN_LATER, /* nobody can take it now */
    REDIS_AGAIN_LOADED /* when the scripts have been loaded */
};
/* What an error says of where a call belongs, after taking note of it. */
enum redis_redirection redis_redirected(struct redis_server *s, struct str error,
                                        struct redis_server **ask);

#include "engine_redis_lanes_internal.h"

#endif
