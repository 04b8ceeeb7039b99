/* core/engine_nats.h - an engine whose publications a NATS server carries to several nodes. It keeps nothing,
 * and it orders what one node says, not what several do.
 *
 * Happy path of a publication: publish() · tick() writes what a round has brought, and one PING behind it ·
 * the server gives it to every node with a subscriber, this one included: message() · its PONG, behind
 * this node's own copy: done(). Nothing is delivered in an order of this node's own.
 * Can fail: the server is away (calls wait for `patience_ns`, then they are UNAVAILABLE; what was sent
 * and not answered is sent again, and nodes drop what they have had; after that it is UNKNOWN), takes
 * no message of that size (TOO_BIG), does not permit the subject (UNAVAILABLE). What a node has missed
 * shows at the next publication of the same worker in the same channel, by its number: lost().
 *
 * Several addresses are servers of one cluster: one connection, to any of them, or to those that they
 * name. Order and repetitions are told by the worker that has published and its ring's position. */
#ifndef ROOST_CORE_ENGINE_NATS_H
#define ROOST_CORE_ENGINE_NATS_H

#include "core/engine_nodes.h"
#include "core/engine_wire.h"

struct engine_nats_settings {
    struct engine_address address[ENGINE_ADDRESSES_MAX];
    unsigned addresses;
    char prefix[64]; /* of every subject: their first token */
    uint64_t node;   /* this node's id, over all lives of its hub; not 0 */
    uint64_t timeout_ns, patience_ns, reconnect_max_ns, probe_ns;
    uint64_t queue_bytes;
    uint32_t window;                    /* calls under way */
    struct engine_nodes_settings nodes; /* but for id */
};

/* settings: copied. wires and arg outlive it. NULL: no memory. */
struct engine *engine_nats_new(const struct engine_nats_settings *settings,
                               const struct engine_wire_ops *wires, void *arg) MUST_CHECK;

#endif
