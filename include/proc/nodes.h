/* proc/nodes.h - the nodes that share the engine, as every process of this one sees them.
 *
 * The hub writes them into shared memory; whoever reads copies and checks. */
#ifndef ROOST_PROC_NODES_H
#define ROOST_PROC_NODES_H

#include "core/engine_nodes.h"
#include "core/engine_redis.h"

struct nodes_area; /* in shared memory; written by the hub alone */
size_t nodes_area_bytes(void);

/* What is known of this node itself, all but its id. arg: unused. */
void nodes_self(void *arg, struct engine_node *out);
/* Hash of the settings that all nodes must have the same. */
uint64_t nodes_agreement(void);
/* In the hub, once a turn: what has changed of the others is written, a few times a second at most. NULL: there
 * are none. */
void nodes_publish(const struct engine_nodes *n);
/* The hub's own; it outlives the process. */
struct engine_redis_marks *nodes_marks(void);
/* This node, then the others that live, as the hub told it last; at most max (1 at least); how many. */
unsigned nodes_read(struct engine_node *out, unsigned max);
/* The id of the other node of that uid that lives and can be spoken to. 0: there is none. */
uint64_t nodes_find(struct str uid);

#endif
