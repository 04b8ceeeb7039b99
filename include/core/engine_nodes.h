/* core/engine_nodes.h - the nodes that share an engine: which there are, which of them live, and what
 * they have to say to each other.
 *
 * For engines of several nodes, and neutral to how they speak: the engine owns one of these
 * (engine.nodes), sends what it is told to (engine_nodes_ops.send), hands over what has come
 * (engine_nodes_received()), says when its servers come and go, and ticks it. Messages get lost: each is
 * said again (heartbeats), or somebody waits for an answer only so long (the rest).
 *
 * Life and death. Each node says every `heartbeat_ns`, give or take a fifth, who it is. It is dead
 * when it says so (a normal end), or when it has not been heard for `ttl_ns`, in which this node was
 * connected itself: who was cut off does not bury the others. Ids are by chance and never come back.
 *
 * Control messages (engine_ops.control()) are handed to the hub once each, however often they come:
 * known by their origin (ENVELOPE_ORIGIN_AT). Whoever has taken one says so to its sender, whose call is
 * complete when every node that was alive has, or after ENGINE_NODES_WAIT_NS.
 *
 * What comes from a server is checked like any input. */
#ifndef ROOST_CORE_ENGINE_NODES_H
#define ROOST_CORE_ENGINE_NODES_H

#include "core/engine.h"
#include "core/envelope.h"

#define ENGINE_NODES_MAX      256
#define ENGINE_NODES_PROTOCOL 1 /* of what nodes say to each other; with ENVELOPE_VERSION */
#define ENGINE_NODES_WAIT_NS  UINT64_C(1000000000) /* for others to take a control message */

struct engine_node {
    uint64_t id;       /* not 0 */
    uint64_t heard_ns; /* clock_ns() when it was heard last; of this node itself: now */
#define TEXT(NAME, name, size) char name[size];
#define NUMBER(NAME, name)     uint64_t name;
#include "tbl/nodes.def"
};

struct engine_nodes_settings {
    uint64_t id; /* this node's, over all lives of its hub; not 0 */
    uint64_t heartbeat_ns, ttl_ns;
    uint64_t agreement; /* hash of the settings that all nodes must have the same */
    /* Fills in what is known of this node now, but for id, protocol, agreement. NULL: nothing is. */
    void (*self)(void *arg, struct engine_node *out);
    void *arg;
};

struct engine_nodes_ops { /* the engine's; static */
    /* bytes to every node with this prefix (to 0; this one may be among them or not), or to the node of that id.
     * everywhere: by each of several servers, so that none of them alone decides who lives. Borrowed. What
     * cannot be sent now is lost. */
    void (*send)(struct engine *e, uint64_t to, bool everywhere, struct str bytes);
    /* A node has come, or it is dead. After engine_events.node(). NULL: it does not matter. */
    void (*changed)(struct engine *e, uint64_t node, bool alive);
};

/* settings: copied. ops and e outlive it. NULL: no memory. */
struct engine_nodes *engine_nodes_new(const struct engine_nodes_settings *settings,
                                      const struct engine_nodes_ops *ops,
                                      struct engine *e) MUST_CHECK;
/* Says goodbye, and nothing more. */
void engine_nodes_leave(struct engine_nodes *n);
void engine_nodes_free(struct engine_nodes *n);

/* --- from the engine --- */

/* Whenever a connection to one of its servers has come up or has ended. up: is any of them up? */
void engine_nodes_up(struct engine_nodes *n, bool up);
/* Something that another node (or this one) gave to send(). Borrowed. */
void engine_nodes_received(struct engine_nodes *n, struct str bytes);
/* Heartbeats, deaths, waits. When it wants to be called again. */
uint64_t engine_nodes_tick(struct engine_nodes *n, uint64_t now_ns);

/* A control message is on its way (e: what envelope_write() was given); done(token) follows, for which
 * the engine calls engine_nodes_control_done(). -1: no memory. */
int engine_nodes_control_sent(struct engine_nodes *n, const struct envelope *e,
                              uint64_t token) MUST_CHECK;
/* The server has it (OK): the call is complete when the nodes have it too; or it has not. */
void engine_nodes_control_done(struct engine_nodes *n, uint64_t token, enum engine_status status);
/* It has come, this node's own too, maybe again: to the hub, unless all workers have it. True: they had not. */
bool engine_nodes_control_heard(struct engine_nodes *n, struct envelope *e);

/* --- what is known --- */

/* This one is. Others: unless they are known to be dead. Nodes that were never heard count as alive
 * while this node has not been connected for as long as it takes to hear all who live. */
bool engine_nodes_alive(const struct engine_nodes *n, uint64_t id);
/* Is this node to do what one of all has to do, such as to tidy up behind the dead? The one with the
 * lowest id of those alive; none while it does not know the others yet. */
bool engine_nodes_lowest(const struct engine_nodes *n);
/* Has it been connected for so long that it has heard all who live? */
bool engine_nodes_settled(const struct engine_nodes *n);
/* Of those alive, this one included; at least 1. */
unsigned engine_nodes_count(const struct engine_nodes *n);
/* Those alive, this one first, at most max; how many. */
unsigned engine_nodes_list(const struct engine_nodes *n, struct engine_node *out, unsigned max);
/* Their ids, at most max; 0: it does not know all of them. */
unsigned engine_nodes_ids(const struct engine_nodes *n, uint64_t *out, unsigned max);
/* Moves on with every change of what engine_nodes_list() says of others. */
uint64_t engine_nodes_version(const struct engine_nodes *n);

/* --- from the hub --- */

/* bytes to the hub of that node, or of all but this one (to 0): engine_events.heard() there. Borrowed. -1: no memory. */
int engine_nodes_say(struct engine_nodes *n, uint64_t to, struct str bytes) MUST_CHECK;
/* So many bytes arrive at the most; what is longer is to be cut. */
size_t engine_nodes_most(const struct engine_nodes *n);
/* What the engine's server takes in one message, by the engine; 0: anything. */
void engine_nodes_set_most(struct engine_nodes *n, uint64_t bytes);

#endif
