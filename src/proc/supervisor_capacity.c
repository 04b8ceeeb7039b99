/* proc/supervisor_capacity.c - how many workers, and how many clients they can hold.
 *
 * Descriptors bind both: a worker needs one per client, the master some per worker. Cores decide
 * on the number of workers; more are made only for a max_connections that somebody has
 * asked for. */
#include "base/cpus.h"
#include "base/log.h"
#include "base/nofile.h"
#include "net/reactor.h"
#include "supervisor_internal.h"

#define SPREAD_PERCENT 5  /* SO_REUSEPORT spreads by chance: head room a worker needs */
#define MASTER_FDS     24 /* beside those that each worker costs it */

#define RAISE_NOFILE "raise the limit (LimitNOFILE=, --ulimit nofile=, ulimit -Hn)"

/* Its listening sockets and an eventfd. */
static uint64_t master_fds_per_worker(const struct config *c)
{
    return c->listeners_count + 1;
}

static uint64_t nofile_min(const struct config *c)
{
    return MASTER_FDS + 2 * master_fds_per_worker(c);
}

/* Clients one of so many workers can hold: it has the listeners of the others too. */
static uint64_t worker_capacity(const struct config *c, unsigned workers, uint64_t nofile)
{
    return reactor_connection_limit(nofile -
                                    MIN(nofile, c->listeners_count * (uint64_t)(workers - 1)));
}

/* Clients they can hold together. */
static uint64_t node_capacity(const struct config *c, unsigned workers, uint64_t nofile)
{
    uint64_t each = worker_capacity(c, workers, nofile);

    return workers == 1 ? each : workers * each * (100 - SPREAD_PERCENT) / 100;
}

/* Workers whose listeners and links the master can hold. */
static unsigned workers_max(const struct config *c, uint64_t nofile)
{
    uint64_t fit = nofile > MASTER_FDS ? (nofile - MASTER_FDS) / master_fds_per_worker(c) : 0;

    return (unsigned)MIN(fit, (uint64_t)HUB_WORKERS_MAX);
}

unsigned supervisor_auto_workers(const struct config *c, unsigned cores, uint64_t nofile)
{
    unsigned most = MAX(workers_max(c, nofile), 1u), n = MIN(MAX(cores, 1u), most);

    while (c->set.max_connections && n < most &&
           node_capacity(c, n, nofile) < (uint64_t)c->max_connections &&
           node_capacity(c, n + 1, nofile) > node_capacity(c, n, nofile))
        n++;
    return n;
}

void supervisor_fit_capacity(struct config *c, unsigned workers)
{
    uint64_t nofile = nofile_raise(), capacity = node_capacity(c, workers, nofile);

    if (c->set.max_connections || capacity >= (uint64_t)c->max_connections)
        return;
    if (config.max_connections != (int64_t)capacity) /* a reload has nothing new to say */
        LOG(LOG_WARN,
            "max_connections is lowered to what the limit of descriptors allows; " RAISE_NOFILE
            ", or set max_connections, for which more workers than cores are started",
            KV_I("default", c->max_connections), KV_U("max_connections", capacity),
            KV_U("workers", workers), KV_U("nofile", nofile));
    c->max_connections = (int64_t)capacity;
}

void supervisor_check_capacity(unsigned workers)
{
    uint64_t nofile = nofile_raise(), capacity = node_capacity(&config, workers, nofile);

    if (capacity < (uint64_t)config.max_connections)
        LOG(LOG_WARN,
            "max_connections does not fit: workers x what each can hold, less 5 % for uneven "
            "spread; raise workers; " RAISE_NOFILE,
            KV_I("max_connections", config.max_connections), KV_U("capacity", capacity),
            KV_U("workers", workers), KV_U("nofile", nofile),
            KV_U("each", worker_capacity(&config, workers, nofile)));
}

static int refuse(const char *what, unsigned long long n, uint64_t nofile)
{
    fprintf(stderr, "roostd: %s %llu does not fit RLIMIT_NOFILE, which is %llu: " RAISE_NOFILE "\n",
            what, n, (unsigned long long)nofile);
    return -1;
}

int supervisor_decide_workers(void)
{
    uint64_t nofile = nofile_raise();
    unsigned cores = cpus_usable(""), n = (unsigned)config.workers;

    if (nofile < nofile_min(&config))
        return refuse("the least number of descriptors", nofile_min(&config), nofile);
    if (n > workers_max(&config, nofile))
        return refuse("workers:", n, nofile);
    if (n == 0) {
        n = supervisor_auto_workers(&config, cores, nofile);
        LOG(LOG_INFO, "workers for the cores", KV_U("workers", n), KV_U("cores", cores),
            KV_U("affinity", cpus_affinity()), KV_U("quota", cpus_quota("")),
            KV_B("for_max_connections", n > cores));
    }
    supervisor_fit_capacity(&config, n);
    supervisor_check_capacity(n);
    return (int)n;
}
