/* base/boot.h - the state a program begins in, whatever its parent left behind.
 *
 * JVMs, Ruby, nohup and shells in the background hand on blocked and ignored signals; daemonizers
 * close descriptors 0 to 2, which the next socket or pipe would become. Called first in main. */
#ifndef ROOST_BASE_BOOT_H
#define ROOST_BASE_BOOT_H

#include "base/common.h"

/* /dev/null on each of the descriptors 0 to 2 that is closed; the default action for every signal,
 * but for keep_ignored (0: none), which stays ignored if it was; no signal blocked but the orders
 * (HUP, INT, QUIT, TERM, USR1), which are held: boot_release() must follow. */
void boot_process(int keep_ignored);
/* Until released, orders that are sent wait, also those from before boot_process(). Children
 * inherit the hold, not what waits. */
void boot_hold(void);
void boot_release(void);

#endif
