/* processes.h - the load processes as children of the coordinator. Whoever was this process before
 * exec may have left it children of its own, and to process 1 of a container any orphan comes:
 * those are none of ours. */
#ifndef ROOSTLOAD_PROCESSES_H
#define ROOSTLOAD_PROCESSES_H

#include "shared.h"

/* Forks them all. -1: said why; those that were started are told to stop. */
int processes_start(void) MUST_CHECK;
/* Has one ended? Says which: it takes its users with it, so the result would be a lie. */
bool processes_died(void);
/* Waits for them; whoever does not come by itself is ended. */
void processes_collect(void);

#endif
