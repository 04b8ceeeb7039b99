/* proc/capacity.h - how many workers there are, what they can hold by descriptors, and how a control group's memory is
 * shared out. Arithmetic alone: the daemon goes by it, `roostctl doctor` shows it. */
#ifndef ROOST_PROC_CAPACITY_H
#define ROOST_PROC_CAPACITY_H

#include "base/config.h"

#define CAPACITY_SPREAD_PERCENT 5 /* SO_REUSEPORT spreads by chance: head room a worker needs */
/* What the kernel has of an idle connection: socket, file, entry of epoll. */
#define CAPACITY_SOCKET_BYTES 5120

/* Descriptors without which nothing starts. */
uint64_t capacity_nofile_min(const struct config *c);
/* Workers whose listeners and links the master can hold. */
unsigned capacity_workers_max(const struct config *c, uint64_t nofile);
/* Number of workers for `auto`: as many as cores, or, for a max_connections that was set, as many
 * as it needs at nofile descriptors a process with 5 % head room; never more than the master has
 * descriptors for. */
unsigned capacity_auto_workers(const struct config *c, unsigned cores, uint64_t nofile);
/* Clients that one of so many workers can hold, and all of them together. */
uint64_t capacity_of_worker(const struct config *c, unsigned workers, uint64_t nofile);
uint64_t capacity_of_node(const struct config *c, unsigned workers, uint64_t nofile);

/* Processes of such a node, one that is being replaced among them. */
unsigned capacity_processes(const struct config *c, unsigned workers);

/* Of a limit of memory a quarter is for histories, one for what workers hold for clients, one for
 * the kernel's part of connections, one for rings, queues and programs. Sets history_memory and worker_memory
 * where nobody has; limit 0: there is none. */
void capacity_fit_memory(struct config *c, unsigned workers, uint64_t limit);
/* Connections whose part in the kernel fits. */
uint64_t capacity_of_memory(uint64_t limit);
/* Bytes of the rings between workers and hub. */
uint64_t capacity_rings(const struct config *c, unsigned workers);
/* What settings allow to be taken of it at the same time. */
uint64_t capacity_memory_needed(const struct config *c, unsigned workers);

#endif
