/* tests/lib/fault.h - makes the k-th allocation fail.
 *
 * A test says so for what it is about. For a whole program FAULT_AT=k does, and FAULT_PLACES=file
 * lists which k are worth it: make check-faults runs every suite with each of them.
 *
 * The linker wraps malloc, calloc and realloc (-Wl,--wrap), so only calls from the program's own
 * objects are seen, not those inside libraries. */
#ifndef ROOST_TESTS_FAULT_H
#define ROOST_TESTS_FAULT_H

/* The k-th allocation from now on (1 = the next one) fails, once; also restarts the count. */
void fault_fail_at(unsigned long k);
/* No failures; restarts the count. */
void fault_reset(void);
/* Allocations since the last fault_fail_at() or fault_reset(). */
unsigned long fault_count(void);

#endif
