/* proc/engine_wires_internal.h - what engine_wires.c and engine_tls.c share. */
#ifndef ROOST_PROC_ENGINE_WIRES_INTERNAL_H
#define ROOST_PROC_ENGINE_WIRES_INTERNAL_H

#include "base/str.h"

struct tls_context;

/* engine_tls.c */
/* Whom connections to the engine's servers trust and what they show. NULL: no address wants it, or there is
 * no memory. */
struct tls_context *engine_tls(void);
/* In the hub, once: from what it was forked with, which is overwritten. -1: no memory. */
int engine_tls_begin(void) MUST_CHECK;

#endif
