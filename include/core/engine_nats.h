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

#include "core/engine_settings.h"

/* settings: copied. wires and arg outlive it. NULL: no memory. */
struct engine *engine_nats_new(const struct engine_settings *settings,
                               const struct engine_wire_ops *wires, void *arg) MUST_CHECK;

#endif
