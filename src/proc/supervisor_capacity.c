/* proc/supervisor_capacity.c - decides how many workers there are, and says what the limits of this
 * machine leave of the settings. */
#include "base/cgroup.h"
#include "base/cpus.h"
#include "base/log.h"
#include "base/nofile.h"
#include "proc/capacity.h"
#include "supervisor_internal.h"

#define RAISE_NOFILE "raise the limit (LimitNOFILE=, --ulimit nofile=, ulimit -Hn)"

static const char *proc_root = "";

static bool lower_connections(struct config *c, uint64_t capacity)
{
    bool news = config.max_connections != (int64_t)capacity; /* a reload has nothing new to say */

    if (c->set.max_connections || capacity >= (uint64_t)c->max_connections)
        return false;
    c->max_connections = (int64_t)capacity;
    return news;
}

static void fit_memory(struct config *c, unsigned workers)
{
    uint64_t limit = cgroup_memory(proc_root, CGROUP_SELF);
    int64_t wanted = c->max_connections;

    capacity_fit_memory(c, workers, limit);
    if (limit != 0 && lower_connections(c, capacity_of_memory(limit)))
        LOG(LOG_WARN,
            "max_connections is lowered to what a quarter of the control group's memory has room "
            "for in the "
            "kernel; raise the limit (MemoryMax=, --memory, resources.limits.memory), or set "
            "max_connections",
            KV_I("default", wanted), KV_I("max_connections", c->max_connections),
            KV_U("limit", limit), KV_U("each", CAPACITY_SOCKET_BYTES));
}

void supervisor_fit_capacity(struct config *c, unsigned workers)
{
    uint64_t nofile = nofile_raise(), capacity = capacity_of_node(c, workers, nofile);
    int64_t wanted = c->max_connections;

    if (lower_connections(c, capacity))
        LOG(LOG_WARN,
            "max_connections is lowered to what the limit of descriptors allows; " RAISE_NOFILE
            ", or set max_connections, for which more workers than cores are started",
            KV_I("default", wanted), KV_U("max_connections", capacity), KV_U("workers", workers),
            KV_U("nofile", nofile));
    fit_memory(c, workers);
}

/* What was set is not changed, but its sum told. */
static void check_memory(unsigned workers)
{
    uint64_t limit = cgroup_memory(proc_root, CGROUP_SELF),
             needed = capacity_memory_needed(&config, workers);
    bool endless = config.worker_memory == 0 ||
                   (config.engine == ENGINE_IS_MEMORY && config.history_memory == 0);

    if (limit == 0)
        return;
    LOG(LOG_INFO, "memory of the control group", KV_U("limit", limit),
        KV_I("history_memory", config.history_memory), KV_I("worker_memory", config.worker_memory),
        KV_U("workers", workers), KV_U("rings", capacity_rings(&config, workers)));
    if (needed > limit || endless)
        LOG(LOG_WARN,
            "the settings allow more memory than the control group has, whose end is the OOM "
            "killer; leave history_memory and worker_memory auto, lower ring_size or "
            "max_connections, or raise the limit",
            KV_U("limit", limit), KV_U("needed", needed),
            KV_I("history_memory", config.history_memory),
            KV_I("worker_memory", config.worker_memory),
            KV_I("max_connections", config.max_connections));
}

static void check_tasks(unsigned workers)
{
    uint64_t limit = cgroup_tasks(proc_root, CGROUP_SELF);

    if (limit != 0 && limit < capacity_processes(&config, workers))
        LOG(LOG_WARN,
            "the control group allows fewer processes than the daemon has: some cannot be forked; "
            "raise it (TasksMax=, --pids-limit), or lower workers",
            KV_U("limit", limit), KV_U("processes", capacity_processes(&config, workers)),
            KV_U("workers", workers));
}

void supervisor_check_capacity(unsigned workers)
{
    uint64_t nofile = nofile_raise(), capacity = capacity_of_node(&config, workers, nofile);

    if (capacity < (uint64_t)config.max_connections)
        LOG(LOG_WARN,
            "max_connections does not fit: workers x what each can hold, less 5 % for uneven "
            "spread; raise workers; " RAISE_NOFILE,
            KV_I("max_connections", config.max_connections), KV_U("capacity", capacity),
            KV_U("workers", workers), KV_U("nofile", nofile),
            KV_U("each", capacity_of_worker(&config, workers, nofile)));
    check_memory(workers);
    check_tasks(workers);
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

    if (nofile < capacity_nofile_min(&config))
        return refuse("the least number of descriptors", capacity_nofile_min(&config), nofile);
    if (n > capacity_workers_max(&config, nofile))
        return refuse("workers:", n, nofile);
    if (n == 0) {
        n = capacity_auto_workers(&config, cores, nofile);
        LOG(LOG_INFO, "workers for the cores", KV_U("workers", n), KV_U("cores", cores),
            KV_U("affinity", cpus_affinity()), KV_U("quota", cgroup_cores("", CGROUP_SELF)),
            KV_B("for_max_connections", n > cores));
    }
    supervisor_fit_capacity(&config, n);
    supervisor_check_capacity(n);
    return (int)n;
}
