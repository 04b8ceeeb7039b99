/* core/engine_redis.h - an engine whose order, history and presence are a Redis server's, so that several
 * nodes share them.
 *
 * Happy path of a publication: publish() adds it to its channel's call of this round · tick() sends
 * all calls with one write · the server gives it its offset, keeps it, and pushes it to every node
 * with a subscriber, this one included: message() · the reply: done(). Nothing is delivered in an
 * order of this node's own.
 * Can fail: the server is away (calls wait for `patience_ns`, then they are UNAVAILABLE; what was
 * sent and not answered is tried again where the server knows it again, else it is UNKNOWN), full
 * (UNAVAILABLE), another one than before (new epochs, lost()). The engine itself never ends for it.
 *
 * Order of replies and pushes: one connection per server carries both, RESP3 keeps them in one
 * stream, so what a reply says of a channel holds for what was pushed before it. */
#ifndef ROOST_CORE_ENGINE_REDIS_H
#define ROOST_CORE_ENGINE_REDIS_H

#include "core/engine_settings.h"

/* settings: copied. wires and arg outlive it. NULL: no memory. */
struct engine *engine_redis_new(const struct engine_settings *settings,
                                const struct engine_wire_ops *wires, void *arg) MUST_CHECK;

#endif
