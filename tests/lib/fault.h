/* tests/lib/fault.h - makes the k-th allocation fail.
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
