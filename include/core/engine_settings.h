/* core/engine_settings.h - what engines that speak to servers are told. */
#ifndef ROOST_CORE_ENGINE_SETTINGS_H
#define ROOST_CORE_ENGINE_SETTINGS_H

#include <stdatomic.h>

#include "core/engine_nodes.h"
#include "core/engine_wire.h"

#define ENGINE_SERVERS_MAX 16

/* What tells that a server is another one than before. */
enum engine_guard { ENGINE_GUARD_RUN_ID = 0, ENGINE_GUARD_REPLID, ENGINE_GUARD_NONE };

/* How far this node has heard the log of control messages: id of an entry, of which server. ms 0: not at all. */
struct engine_redis_mark {
    uint64_t ms, seq;
    uint64_t run; /* hash of the server's run id */
};
/* Outlives a hub, which may die at any moment: the mark is copies[version & 1], and no other is written to. */
struct engine_redis_marks {
    _Atomic uint32_t version;
    struct engine_redis_mark copies[2];
};

struct engine_settings {
    /* redis: of independent servers, over which channels are spread, or of one service; nats: of one
     * cluster */
    struct engine_address address[ENGINE_ADDRESSES_MAX];
    unsigned addresses;
    char prefix[64];                    /* of every key, channel and subject */
    uint64_t node;                      /* this node's id, over all lives of its hub; not 0 */
    struct engine_nodes_settings nodes; /* but for id, which is `node` */
    uint64_t timeout_ns, patience_ns, reconnect_max_ns, probe_ns;
    uint64_t queue_bytes;
    uint32_t window;           /* calls under way, of each server */
    uint32_t resubscribe_rate; /* channels a second that are subscribed to again; 0: any */
    bool local_fallback;       /* channels that are not kept go on within this node */

    /* Redis alone: */
    char sentinel_user[128], sentinel_password[256]; /* at Sentinels; "": none */
    /* Not 0: the addresses are those of one Redis Cluster, and channels are spread over so many of its
     * slots. */
    unsigned partitions;
    /* This hub is not the node's first: what its rings hold may have been published. */
    bool restarted;
    struct engine_redis_marks *marks; /* borrowed; NULL: the mark lives as long as the engine */
    uint64_t position_sweep_ns; /* in which all channels are asked for their position; 0: none is */
    enum engine_guard guard;
};

#endif
