/* base/clock.h - cached time, refreshed once per turn.
 *
 * Code below proc never asks the kernel for the time itself; tests move the clock. */
#ifndef ROOST_BASE_CLOCK_H
#define ROOST_BASE_CLOCK_H

#include "base/common.h"

#define NS_PER_SEC UINT64_C(1000000000)
#define NS_PER_MS  UINT64_C(1000000)

/* Asks the kernel (CLOCK_MONOTONIC and CLOCK_REALTIME); no effect while virtual. */
void clock_refresh(void);
/* Cached monotonic time, ns. Comparable between processes of one machine. */
uint64_t clock_ns(void);
/* Cached wall time, ns since the epoch. */
uint64_t clock_wall_ns(void);
/* Uncached monotonic time for measuring a step inside a turn; the virtual time while virtual. */
uint64_t clock_precise_ns(void);
/* What clock_precise_ns() said last: good for a decision about what has just been measured. */
uint64_t clock_latest_ns(void);
/* Tests: stop the clock at ns (monotonic and wall); 0 returns to the kernel's clock. */
void clock_set_virtual(uint64_t ns);
/* Tests: move the virtual clock on. */
void clock_advance(uint64_t ns);

#endif
