/* proc/capacity.c - how many workers, and how many clients they can hold.
 *
 * Descriptors bind both: a worker needs one per client, the master some per worker. Cores decide
 * on the number of workers; more are made only for a max_connections that somebody has
 * asked for. */
#include "proc/capacity.h"

#include "net/reactor.h"
#include "proc/egress.h"
#include "proc/shm.h"

#define MASTER_FDS 24                 /* beside those that each worker costs it */
#define WORKER_MIN (INT64_C(1) << 20) /* less than that serves nobody */

/* Its listening sockets and an eventfd. */
static uint64_t master_fds_per_worker(const struct config *c)
{
    return c->listeners_count + 1;
}

uint64_t capacity_nofile_min(const struct config *c)
{
    return MASTER_FDS + 2 * master_fds_per_worker(c);
}

/* It has the listeners of the others too. */
uint64_t capacity_of_worker(const struct config *c, unsigned workers, uint64_t nofile)
{
    return reactor_connection_limit(nofile -
                                    MIN(nofile, c->listeners_count * (uint64_t)(workers - 1)));
}

uint64_t capacity_of_node(const struct config *c, unsigned workers, uint64_t nofile)
{
    uint64_t each = capacity_of_worker(c, workers, nofile);

    return workers == 1 ? each : workers * each * (100 - CAPACITY_SPREAD_PERCENT) / 100;
}

unsigned capacity_workers_max(const struct config *c, uint64_t nofile)
{
    uint64_t fit = nofile > MASTER_FDS ? (nofile - MASTER_FDS) / master_fds_per_worker(c) : 0;

    return (unsigned)MIN(fit, (uint64_t)HUB_WORKERS_MAX);
}

unsigned capacity_auto_workers(const struct config *c, unsigned cores, uint64_t nofile)
{
    unsigned most = MAX(capacity_workers_max(c, nofile), 1u), n = MIN(MAX(cores, 1u), most);

    while (c->set.max_connections && n < most &&
           capacity_of_node(c, n, nofile) < (uint64_t)c->max_connections &&
           capacity_of_node(c, n + 1, nofile) > capacity_of_node(c, n, nofile))
        n++;
    return n;
}

unsigned capacity_processes(const struct config *c, unsigned workers)
{
    return workers + 3 + egress_wanted(c); /* master, hub, one more */
}

void capacity_fit_memory(struct config *c, unsigned workers, uint64_t limit)
{
    if (limit == 0)
        return;
    if (!c->set.history_memory)
        c->history_memory = MIN(c->history_memory, (int64_t)(limit / 4));
    if (!c->set.worker_memory)
        c->worker_memory = MAX((int64_t)(limit / 4 / workers), WORKER_MIN);
}

uint64_t capacity_of_memory(uint64_t limit)
{
    return limit / 4 / CAPACITY_SOCKET_BYTES;
}

uint64_t capacity_rings(const struct config *c, unsigned workers)
{
    return 2 * shm_ring_capacity(c) * workers;
}

uint64_t capacity_memory_needed(const struct config *c, unsigned workers)
{
    uint64_t histories = c->engine == ENGINE_IS_MEMORY ? (uint64_t)c->history_memory : 0;

    return capacity_rings(c, workers) + histories + (uint64_t)c->worker_memory * workers +
           (uint64_t)c->max_connections * CAPACITY_SOCKET_BYTES;
}
