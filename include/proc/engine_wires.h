/* proc/engine_wires.h - an engine's connections to its servers, on the hub's reactor. */
#ifndef ROOST_PROC_ENGINE_WIRES_H
#define ROOST_PROC_ENGINE_WIRES_H

#include "core/engine.h"

/* The engine that the settings ask for; restarted: this hub is not the node's first. NULL: no memory, or a
 * sentence in the log. Before the reactor runs. */
struct engine *engine_of_settings(uint64_t node, bool restarted) MUST_CHECK;
/* The text of ORDER_ENGINE_TLS (engine_tls.c). */
void engine_tls_take(struct str packed);

/* Has a server said something since this was asked last? */
bool engine_wires_heard(void);

#endif
