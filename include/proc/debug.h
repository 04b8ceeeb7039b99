/* proc/debug.h - /debug/...: what this worker and the node are doing, as JSON.
 *
 * Connections, pools and rings are those of the worker that the kernel picked for the request
 * ("worker" says which); processes and turns are of the whole node. */
#ifndef ROOST_PROC_DEBUG_H
#define ROOST_PROC_DEBUG_H

void debug_init(unsigned worker);

#endif
