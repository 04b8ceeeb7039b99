/* core/engine_shards.h - how the engine's servers are, for the whole node to see: the hub's process writes,
 * /readyz, /metrics and /debug read.
 *
 * `engine_shards` points into shared memory (at a private one until proc sets it, so that units run
 * alone). One writer; a reader gets a copy in which nothing is half written. A server keeps its
 * place over lives of the hub, by its name, and with it the time since which it is away. */
#ifndef ROOST_CORE_ENGINE_SHARDS_H
#define ROOST_CORE_ENGINE_SHARDS_H

#include <stdatomic.h>

#include "core/engine_address.h"

#define ENGINE_SHARDS_MAX 64 /* further ones are served and not shown */

enum shard_state {
#define SHARD(NAME, label) SHARD_##NAME,
#include "tbl/engine.def"
    SHARD_STATE_NR
};
const char *shard_state_name(enum shard_state state);

struct engine_shard {
    uint64_t since_ns; /* it is in this state */
    uint64_t away_ns;  /* it has brought nothing back since then; 0: it does */
    uint64_t heard_ns; /* what this node published to itself last came back; 0: never */
    uint32_t state;    /* enum shard_state */
    char name[ENGINE_ADDRESS_TEXT];
    char why[160]; /* DOWN, DEGRADED: a sentence's end */
};

struct engine_shard_place {
    _Atomic uint32_t version; /* odd while it is written */
    _Atomic uint32_t used;
    struct engine_shard shard;
};

struct engine_shards {
    _Atomic uint64_t others_heard_ns; /* another node was, last; 0: never */
    _Atomic uint32_t reached;         /* one of the servers has, in this node's life */
    struct engine_shard_place place[ENGINE_SHARDS_MAX];
};
extern struct engine_shards *engine_shards, engine_shards_own;

/* --- the writer; place: from engine_shard_take(), < 0 does nothing --- */

/* A new life of the hub: all places are free, and keep their names. */
void engine_shards_begin(void);
/* A server's place, state DOWN. -1: all are taken. */
int engine_shard_take(const char *name);
/* The server is none of the engine's any more. */
void engine_shard_give(int place);
/* why: for DOWN and DEGRADED, else NULL. */
void engine_shard_set(int place, enum shard_state state, const char *why);
/* What this node publishes to itself has come back: only that ends its being away. */
void engine_shard_heard(int place);
/* Something of another node has come. */
void engine_shards_heard_others(void);

/* --- readers --- */

/* The next one in use; *i begins as 0. False: there is none. */
bool engine_shard_next(unsigned *i, struct engine_shard *out);

enum shard_rule {
    SHARD_RULE_CUT_OFF = 0, /* not, when a server is away and other nodes were heard meanwhile */
    SHARD_RULE_CONNECTED,   /* not, when a server is away or not yet restored */
    SHARD_RULE_IGNORE
};
/* May clients be sent to this node, as far as its engine is concerned? A server counts when it has been
 * like that for longer than after_ns; before the first one has ever been reached, at once. */
bool engine_shards_ready(enum shard_rule rule, uint64_t after_ns);

#endif
