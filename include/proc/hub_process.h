/* proc/hub_process.h - the hub's process: a reactor that serves the rings of all workers
 * round-robin, one record at a time.
 *
 * Each round takes at most a bounded number of records from each ring. in_work in its slot names the
 * ring whose record is being handled, so that a new incarnation handles that one first. */
#ifndef ROOST_PROC_HUB_PROCESS_H
#define ROOST_PROC_HUB_PROCESS_H

#include "base/common.h"

void hub_main(int master_fd) NORETURN;

#endif
