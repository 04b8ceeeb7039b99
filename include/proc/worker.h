/* proc/worker.h - one worker process: reactor, broker, protocols, admin resources. */
#ifndef ROOST_PROC_WORKER_H
#define ROOST_PROC_WORKER_H

#include "base/common.h"

/* Never returns; exits 0 after a drain. master_fd: read end of the pipe that ends with
 * the master. */
void worker_main(unsigned index, int master_fd) NORETURN;
/* For /readyz: accepting, hub linked, not draining. *why names what is missing. */
bool worker_ready(const char **why);

#endif
