/* core/engine_nodes_internal.h - what engine_nodes.c and engine_nodes_control.c share. */
#ifndef ROOST_CORE_ENGINE_NODES_INTERNAL_H
#define ROOST_CORE_ENGINE_NODES_INTERNAL_H

#include "base/buf.h"
#include "base/list.h"
#include "core/engine_common.h"
#include "core/engine_nodes.h"

#define NODES_DEAD_MAX 256  /* dead ones that are remembered */
#define NODES_SEEN     1024 /* control messages that are remembered: so many times NODES_WAYS */
#define NODES_WAYS     4

enum nodes_kind {
    NODES_HEARTBEAT = 0, /* the fields of tbl/nodes.def */
    NODES_HELLO,         /* the same, of one that wants to hear the others soon */
    NODES_BYE,
    NODES_TAKEN, /* an origin: the workers of the sender have that control message */
    NODES_SAID   /* bytes of a hub */
};

struct nodes_header { /* as on the wire, on a little-endian machine */
    uint8_t protocol, kind;
    uint16_t reserved;
    uint32_t reserved_too;
    uint64_t from;
};

struct nodes_dead {
    uint64_t id;
    bool for_good; /* it has said so */
};

struct nodes_origin {
    char bytes[ENVELOPE_ORIGIN_BYTES];
};

struct engine_nodes {
    struct engine_nodes_settings s;
    const struct engine_nodes_ops *ops;
    struct engine *engine;
    struct engine_node nodes[ENGINE_NODES_MAX]; /* the others that live */
    unsigned n;
    struct nodes_dead dead[NODES_DEAD_MAX]; /* the oldest is replaced */
    unsigned next_dead;
    uint64_t version;
    uint64_t up_since_ns; /* 0: not connected */
    uint64_t next_ns;     /* of the next heartbeat */
    bool hello;           /* the next one is to be a HELLO */
    bool left;            /* it has said goodbye */
    bool full;            /* it has been told that there are too many */
    unsigned mismatches;
    uint64_t most;     /* bytes of a message; 0: any */
    struct list waits; /* of struct nodes_wait */
    struct buf out;
    struct nodes_origin seen[NODES_SEEN][NODES_WAYS];
    uint8_t next_way[NODES_SEEN];
};

/* engine_nodes.c */
/* Begins a message in n->out. -1: no memory. */
int nodes_begin(struct engine_nodes *n, enum nodes_kind kind) MUST_CHECK;

/* engine_nodes_control.c */
void nodes_taken(struct engine_nodes *n, uint64_t node, struct str origin);
/* Nobody waits for that one any longer. */
void nodes_wait_no_more(struct engine_nodes *n, uint64_t node);
/* What has been waited for long enough. When to look again; UINT64_MAX: nothing waits. */
uint64_t nodes_waits_tick(struct engine_nodes *n, uint64_t now_ns);
void nodes_waits_fini(struct engine_nodes *n);

#endif
