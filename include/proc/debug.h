/* proc/debug.h - /debug/...: what this worker and the node are doing, as JSON.
 *
 * Connections, pools and rings are those of the worker that the kernel picked for the request
 * ("worker" says which); processes and turns are of the whole node.
 *
 * Also of debug_trace.c (/debug/trace) and trace_reference.c (deploy/TRACING.md). */
#ifndef ROOST_PROC_DEBUG_H
#define ROOST_PROC_DEBUG_H

#include "base/buf.h"

/* How the answer begins that is given to who names a worker that the node has not; status 400. */
#define DEBUG_NO_WORKER "there is no worker"

void debug_init(unsigned worker);
/* debug_trace.c; debug_init() calls it */
void debug_trace_init(void);
/* trace_reference.c: deploy/TRACING.md. */
int trace_reference(struct buf *out) MUST_CHECK;

#endif
