/* core/engine_nats_internal.h - what the NATS engine's files share: engine_nats.c answers the hub ·
 * engine_nats_calls.c has what waits and what is under way · engine_nats_server.c keeps the connection ·
 * engine_nats_servers.c chooses whom to connect to · engine_nats_subs.c knows channels ·
 * engine_nats_receive.c reads what comes · engine_nats_counts.c numbers publications and sees which are missing. */
#ifndef ROOST_CORE_ENGINE_NATS_INTERNAL_H
#define ROOST_CORE_ENGINE_NATS_INTERNAL_H

#include "base/buf.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/pool.h"
#include "codec/nats.h"
#include "core/channel_name.h"
#include "core/engine_common.h"
#include "core/engine_nats.h"
#include "core/engine_shards.h"

#define NATS_LEARNED_MAX 32                /* servers that others have named */
#define NATS_OUT_MAX     ((size_t)1 << 20) /* bytes handed to the connection in one round */
#define NATS_PINGS_MAX   64                /* without an answer */
#define NATS_TRIES_MAX   5                 /* times that a publication is sent */

enum nats_call_kind { NATS_PUBLISH = 0, NATS_CONTROL };

struct nats_call {
    struct list link; /* in nats.waiting, nats.sent */
    uint64_t id;
    uint64_t since_ns; /* when it came */
    uint64_t sent_ns;
    uint64_t token;
    uint64_t flight;    /* sent: the PING behind it */
    struct buf body;    /* owned: its envelope */
    struct position at; /* of its own copy that has come back; epoch 0: none has */
    uint8_t kind;
    uint8_t tries;
    uint8_t name_len;
    char name[CHANNEL_NAME_MAX];
};

/* Who publishes in a channel, as its subscribers see it: a worker of a node, or all of them. */
struct nats_publisher {
    uint64_t node; /* 0: an empty place */
    uint64_t last; /* the position of a worker's last publication, or the node's count */
    uint64_t heard_ns;
    uint16_t source;
};
struct nats_publishers {
    struct nats_publisher *slots; /* owned; of `cap`, a power of two */
    uint32_t cap, n;
};

enum nats_sub_state { NATS_SUB_WAITING = 0, NATS_SUB_ASKED, NATS_SUB_LIVE, NATS_SUB_REFUSED };

struct nats_sub { /* a channel this node subscribes to, or did a moment ago */
    struct htab_node node;
    struct list link;         /* in nats.wanted, .subscribe, .asked, .live or .refused */
    struct list linger;       /* in nats.lingering */
    struct engine_channel *c; /* borrowed; NULL: nobody is subscribed here any more */
    struct position at;
    uint64_t until_ns; /* lingering */
    uint64_t sid;
    uint64_t flight; /* ASKED: the PING behind it */
    struct nats_publishers publishers;
    uint8_t state; /* enum nats_sub_state */
    bool told;     /* subscribed() has been called */
    bool waits;    /* it is to be called, for somebody who waits */
    uint8_t name_len;
    char name[];
};

/* What a node listens to, beside channels. */
enum nats_own { NATS_OWN_PROBE = 0, NATS_OWN_NODE, NATS_OWN_NODES, NATS_OWN_CONTROL, NATS_OWN_NR };

/* How many publications this node has made in a channel. */
struct nats_counter {
    struct htab_node node;
    struct list link; /* in nats_counters.used */
    uint64_t n;
    uint64_t used_ns;
    uint8_t name_len;
    char name[];
};
struct nats_counters {
    struct htab table;
    struct list used; /* the one not used for longest first */
};

enum nats_state {
    NATS_DOWN = 0,
    NATS_CONNECTING,
    NATS_GREETING,
    NATS_SECURING,
    NATS_SETTING_UP,
    NATS_UP
};

struct nats {
    struct engine engine; /* first */
    struct engine_settings s;
    const struct engine_wire_ops *wires;
    void *arg;
    char prefix[NATS_ESCAPED(64) + 1];

    struct engine_address servers[ENGINE_ADDRESSES_MAX + NATS_LEARNED_MAX]; /* settings' first */
    unsigned nservers, current, tried; /* tried: since one was there */

    enum nats_state state;
    struct engine_wire *wire; /* owned; NULL: none */
    struct buf in;
    struct nats_scan scan;
    struct buf out;       /* of this round */
    uint64_t max_payload; /* 0: not known */
    bool leaving;         /* the server is going down */
    bool restored;        /* subscribed to everything again */
    unsigned deaf;        /* bits of enum nats_own: the server does not permit to listen to it */
    uint64_t deaf_ns;     /* when it is asked for again */
    uint64_t deaf_flight; /* that has been done: the PING behind it; 0: it has not */
    int shard;            /* its place among engine_shards */
    char refusal[160];    /* the last -ERR of this connection */
    bool unanswered;      /* something was written behind the last PING */
    uint64_t pings, pongs;
    uint64_t ping_ns[NATS_PINGS_MAX]; /* when each was sent, by its number */
    uint64_t down_since_ns, retry_ns, heard_ns;
    uint64_t ponged_ns; /* the last PONG came */
    struct engine_probe probe;
    uint64_t probe_flight; /* the PING behind it */

    struct list waiting, sent; /* of struct nats_call */
    struct list *echo;         /* where in `sent` the next copy is looked for; NULL: at its front */
    size_t waiting_bytes, sent_bytes;
    unsigned nwaiting, nsent;
    uint64_t next_id;
    struct pool calls;

    struct htab subs;
    struct list wanted, subscribe, asked, live, refused, lingering; /* wanted: somebody waits */
    struct engine_pace pace;
    uint64_t up_ns;
    uint64_t refused_ns; /* when those that are refused are asked for again */
    unsigned too_many;   /* of the SUBs that the next PONG answers; the server says only how many */
    uint64_t next_sid;
    struct nats_counters counters;
    struct buf scratch;
};

static inline struct nats *nats_of(const struct engine *e)
{
    return (struct nats *)(uintptr_t)e;
}

/* engine_nats_calls.c */
/* A call for the end of the queue. -1: no memory. */
int nats_call_new(struct nats *e, enum nats_call_kind kind, const struct record *r,
                  uint64_t token) MUST_CHECK;
bool nats_wants(const struct nats *e);
/* Is the server gone for longer than patience lasts? */
bool nats_given_up(const struct nats *e);
/* Writes calls that wait, as far as the window goes. */
void nats_send_waiting(struct nats *e);
/* What was sent up to a PING is done. */
void nats_calls_answered(struct nats *e, uint64_t flight);
/* The connection has ended: what was sent and not answered is to be sent again. */
void nats_calls_down(struct nats *e);
/* What has waited for longer than patience lasts. */
void nats_calls_expire(struct nats *e, uint64_t now_ns);
/* A publication of this node's came back. */
void nats_calls_echo(struct nats *e, uint64_t id, struct position at);
/* The server does not permit to publish there. */
void nats_calls_refused(struct nats *e, struct str subject);
/* It has refused the size of what was sent. */
void nats_calls_too_big(struct nats *e);
void nats_calls_fini(struct nats *e);

/* engine_nats_server.c */
void nats_set_state(struct nats *e, enum nats_state state);
/* The connection is of no use any more: a new one. why: as the ending says if NULL. */
void nats_restart(struct nats *e, enum engine_ending ending, const char *why);
/* The largest payload that the server takes. */
static inline void nats_set_most(struct nats *e, uint64_t bytes)
{
    e->max_payload = bytes;
    engine_nodes_set_most(e->engine.nodes, bytes);
}
/* The server's first INFO has come. False: it is to end. */
bool nats_greeted(struct nats *e, const struct nats_info *info);
/* A PONG. */
void nats_ponged(struct nats *e);
uint64_t nats_server_tick(struct nats *e, uint64_t now_ns);
void nats_server_fini(struct nats *e);
/* prefix.kind and what a name is written as; valid until the next call. STR_NULL: no memory. */
struct str nats_subject(struct nats *e, const char *kind, struct str name);
/* What the node itself listens to is not permitted, or not any more: it is tried again, and shown until then.
 * False: it is none of that. */
bool nats_own_refused(struct nats *e, struct str subject);
/* The same for what one node alone listens to. */
struct str nats_node_subject(struct nats *e, const char *kind, uint64_t node);

/* engine_nats_servers.c */
void nats_servers_init(struct nats *e);
/* What the server has said of others, in any INFO. */
void nats_servers_learn(struct nats *e, const struct nats_info *info);
/* TLS with this one has failed: its certificate may be for its other name. */
void nats_servers_refused(struct nats *e);
/* This one is of no use: the next. When it may be tried. */
uint64_t nats_servers_next(struct nats *e);
static inline const struct engine_address *nats_server(const struct nats *e)
{
    return &e->servers[e->current];
}

/* engine_nats_receive.c */
/* Bytes of the server. False: why says what it does wrong; it is to end. */
bool nats_received(struct nats *e, struct str bytes, const char **why);

/* engine_nats_subs.c */
struct nats_sub *nats_sub_find(struct nats *e, struct str name);
void nats_subscribe(struct nats *e, struct engine_channel *c, struct str name);
void nats_unsubscribe(struct nats *e, struct str name);
/* A new connection is there. */
void nats_subs_up(struct nats *e);
/* Subscribes to some more of what is to be subscribed to. True: there is more to be done at once. */
bool nats_subs_ask(struct nats *e);
bool nats_subs_restored(const struct nats *e);
/* Who waits is told that it cannot be now. True: there are more of them. */
bool nats_subs_give_up(struct nats *e);
/* What was asked for up to that PING. -1: more was refused for being too many than was asked for. */
int nats_subs_answered(struct nats *e, uint64_t flight) MUST_CHECK;
/* The server does not permit this one, or takes it away. */
void nats_subs_refused(struct nats *e, struct str name);
void nats_subs_down(struct nats *e);
/* Forgets channels that nobody has come back to. */
void nats_subs_linger(struct nats *e, uint64_t now_ns);
void nats_subs_fini(struct nats *e);
/* For subscribers of this node alone: engine_local_fallback. Where it stands. */
struct position nats_deliver_here(struct nats *e, const struct record *r);
/* A publication of a channel, for its subscribers, unless they have had it. sid: by which it has come. */
void nats_deliver(struct nats *e, struct nats_sub *sub, uint64_t sid, struct envelope *env);

/* engine_nats_counts.c */
/* The number of the next publication; 0: no memory, it has none. */
uint64_t nats_count(struct nats_counters *c, struct str name, uint64_t now_ns);
void nats_counters_init(struct nats_counters *c);
void nats_counters_fini(struct nats_counters *c);
/* Has come from there. False: it has come before. missing: so many that should have come before it
 * have not. */
bool nats_publishers_take(struct nats_publishers *p, const struct envelope *env, uint64_t now_ns,
                          uint64_t *missing);
void nats_publishers_fini(struct nats_publishers *p);

#endif
