/* core/engine_wire.h - connections of an engine to its servers, as the engine sees them.
 *
 * The process gives an engine the means to connect (proc/engine_wires.c, on net's reactor); tests give it a
 * peer in memory or a plain socket. Nothing here is called from within engine_wire_ops.open(). */
#ifndef ROOST_CORE_ENGINE_WIRE_H
#define ROOST_CORE_ENGINE_WIRE_H

#include "base/str.h"
#include "core/engine_address.h"

struct engine_wire; /* one connection; the process's */

struct engine_wire_events { /* the engine's; static */
    /* It is there: what is sent from now on goes out. */
    void (*opened)(void *peer);
    /* What secure() has begun is complete. NULL where nobody calls that. */
    void (*secured)(void *peer);
    /* Bytes have come, as they cut themselves; all of them are taken. Borrowed. May close it. */
    void (*received)(void *peer, struct str bytes);
    /* It has ended or never came to be, why: a sentence's end. It is gone: not to be closed any
     * more. */
    void (*closed)(void *peer, const char *why);
};

struct engine_wire_ops {
    /* Begins to connect; an event tells what came of it. peer: first argument of events. NULL: it
     * cannot be tried now (no descriptor, no memory). */
    struct engine_wire *(*open)(void *arg, const struct engine_address *to,
                                const struct engine_wire_events *events, void *peer);
    /* Begins TLS on a connection that is open, for a server that wants it so (NATS: scheme
     * ENGINE_SCHEME_NATS is never secured by open()). Everything that was to be sent has left, and what was
     * received so far is all that may be taken of what came before: bytes behind it would be anybody's. -1: it
     * cannot be; closed() does not follow. */
    int (*secure)(struct engine_wire *w) MUST_CHECK;
    /* Takes all of it, as a copy if need be. -1: no memory, or it has ended (closed() follows). */
    int (*send)(struct engine_wire *w, struct str bytes);
    /* Bytes taken by send() that have not left. */
    size_t (*queued)(const struct engine_wire *w);
    /* No event follows. */
    void (*close)(struct engine_wire *w);
};

#endif
