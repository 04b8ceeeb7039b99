/* proc/drain.h - sending clients away while the node stays: an operator's order, for a number that
 * may stay and a time to get there in.
 *
 * Happy path: 1. a worker is asked on the admin listener; it leaves the wish in its slot and wakes
 * the master 2. the master makes it the order in force, in shared memory, where it outlives workers
 * and hub (proc/supervisor_drain.c) 3. from then on no worker takes clients; every 50 ms the master
 * says how many each may still have, and each asks those to go that are more (net/reactor_shed.c)
 * 4. no more are left than shall: drained. The node stays so until it is told otherwise, or stops,
 * if that was wished. A further order takes the place of the one before. Can fail: the master does
 * not move: who asked is told so, the wish is withdrawn, and he may ask again. */
#ifndef ROOST_PROC_DRAIN_H
#define ROOST_PROC_DRAIN_H

#include "proc/shm.h"

/* The longest time that an order may take, as a number and in words. */
#define DRAIN_TIME_MAX_NS (INT64_C(7) * 24 * 3600 * 1000 * 1000 * 1000)
#define DRAIN_TIME_MAX    "a week"

/* Of the worker: its pages. */
void drain_init(unsigned worker);
/* In each of its turns, and before it accepts anybody: keeps the order, answers who waits. */
void drain_turn(void);

/* Clients that may stay, and those that are more; 0 while nothing is ordered. */
uint64_t drain_target(void);
uint64_t drain_left(void);

/* How many may be left so long after the beginning, on the way from one number to another. */
uint64_t drain_most(uint64_t from, uint64_t leave, uint64_t elapsed_ns, uint64_t time_ns);
/* Gives each of n workers its part of the most that all may have: in sum exactly that, and none more
 * than it has. have: what each has said last. told: what each was told last, UINT64_MAX before the
 * first time; it is replaced. One that has not yet done what it was told will do it: it counts as if
 * it had, or the others would give up clients in its place, and in the end too many were gone. Where
 * nobody has to go, each is told what it was told before. */
void drain_share(uint64_t most, const uint64_t *have, unsigned n, uint64_t *told);

#endif
