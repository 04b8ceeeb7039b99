/* proc/egress.h - the process that asks other servers: for key sets of tokens.
 *
 * It holds no clients and no listening socket, runs only where a setting names a URL, and cannot
 * write what others read but the sets it has fetched (shm_put_keys()). They stay in shared memory,
 * so neither its end nor a worker's takes them away. Where it asks, and how often at most, is for
 * the settings alone. */
#ifndef ROOST_PROC_EGRESS_H
#define ROOST_PROC_EGRESS_H

#include "base/config.h"

/* Is there anything to fetch? */
bool egress_wanted(const struct config *c);
/* NULL, or why nothing is fetched from there: "is ...". */
const char *egress_refusal(const char *url);
void egress_main(int master_fd) NORETURN;

#endif
