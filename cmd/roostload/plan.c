/* plan.c - see plan.h. */
#include "plan.h"

#include <time.h>
#include <unistd.h>

#include "adapter.h"
#include "base/cpus.h"
#include "base/nofile.h"
#include "loopback.h"
#include "net/conn.h"
#include "payload.h"
#include "target.h"

#define NOFILE_RESERVE 64
/* Of an idle TCP socket: itself, its file, inode and dentry. */
#define KERNEL_MEMORY UINT64_C(3072)
#define USER_MEMORY   (sizeof(struct conn) + CONN_SESSION_SIZE + 32) /* 32: engine.h's arrays */
#define SENT_MAX                                                                                   \
    (UINT64_C(64) * 1024 * 1024) /* (publisher, channel) pairs checked to the last message */

/* 0: not known. */
static uint64_t memory_available(void)
{
    FILE *f = fopen("/proc/meminfo", "re");
    unsigned long long kb = 0;
    char line[256];

    if (f == NULL)
        return 0;
    while (fgets(line, sizeof(line), f) != NULL)
        if (sscanf(line, "MemAvailable: %llu kB", &kb) == 1)
            break;
    fclose(f);
    return kb * 1024;
}

void plan_limits_read(struct plan_limits *l)
{
    unsigned lo = 32768, hi = 60999;
    FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");

    if (f != NULL) {
        if (fscanf(f, "%u %u", &lo, &hi) != 2 || hi < lo) {
            lo = 32768;
            hi = 60999;
        }
        fclose(f);
    }
    l->nofile = nofile_raise();
    l->ports = hi - lo + 1;
    l->cores = cpus_usable("");
    l->memory = memory_available();
}

unsigned plan_processes(const struct options *o, uint64_t users, const struct plan_limits *l,
                        struct buf *errors)
{
    uint64_t usable = l->nofile > 2 * NOFILE_RESERVE ? l->nofile - NOFILE_RESERVE : 1;
    uint64_t need = (users + usable - 1) / usable, processes;
    char text[512];

    /* One process more than descriptors need, up to one per core, only when there is work
     * for it. */
    processes = o->processes > 0 ? (uint64_t)o->processes
                                 : MAX(need, users >= 2000 ? (uint64_t)MIN(l->cores, 2u) : 1);
    if (o->processes == 0 && processes > LOAD_PROCESSES_MAX) {
        snprintf(text, sizeof(text),
                 "%llu connections need %llu processes of %llu descriptors each (RLIMIT_NOFILE "
                 "%llu less %d), and %d is the most; raise the limit with ulimit -n",
                 (unsigned long long)users, (unsigned long long)need, (unsigned long long)usable,
                 (unsigned long long)l->nofile, NOFILE_RESERVE, LOAD_PROCESSES_MAX);
        options_complain(errors, text);
        return 0;
    }
    if (processes * usable < users) {
        snprintf(
            text, sizeof(text),
            "%llu connections need %llu processes of %llu descriptors each (RLIMIT_NOFILE %llu "
            "less %d), "
            "and --processes is %llu; raise it, leave it away, or raise the limit with ulimit -n",
            (unsigned long long)users, (unsigned long long)need, (unsigned long long)usable,
            (unsigned long long)l->nofile, NOFILE_RESERVE, (unsigned long long)processes);
        options_complain(errors, text);
        return 0;
    }
    return (unsigned)processes;
}

static bool has_line(struct str list, struct str wanted)
{
    struct str line;

    while (list.n > 0 && str_cut(&list, '\n', &line))
        if (str_equal(line, wanted))
            return true;
    return false;
}

unsigned plan_distinct(char *list)
{
    struct str rest = str_from(list), line;
    size_t kept = 0;
    unsigned n = 0;

    while (rest.n > 0 && str_cut(&rest, '\n', &line)) {
        if (has_line((struct str){list, kept}, line))
            continue;
        if (n++ > 0)
            list[kept++] = '\n';
        memmove(list + kept, line.p, line.n);
        kept += line.n;
    }
    list[kept] = '\0';
    return n;
}

/* Ports are taken per address and port of the other end, whatever the path. */
static bool same_place(const struct load_target *a, const struct load_target *b)
{
    return a->address_len == b->address_len &&
           memcmp(&a->address, &b->address, a->address_len) == 0;
}

int plan_ports(const struct options *o, uint64_t users, const struct plan_limits *l,
               unsigned processes, const struct load_target *targets, unsigned n,
               struct buf *errors)
{
    char list[OPTION_LIST_MAX], text[640];
    uint64_t given;

    memcpy(list, o->source, sizeof(list));
    given = plan_distinct(list);
    for (unsigned i = 0; i < n; i++) {
        uint64_t sources = given, same = 0, there;

        if (given == 0)
            sources =
                target_is_loopback4(&targets[i]) ? (uint64_t)processes * LOAD_SOURCES : UINT64_C(1);
        for (unsigned k = 0; k < n; k++)
            same += same_place(&targets[i], &targets[k]);
        there = MIN(users, (users + n - 1) / n * same);
        if (there <= sources * l->ports)
            continue;
        snprintf(text, sizeof(text),
                 "%llu connections to %s need as many local ports, and there are %llu: %llu source "
                 "addresses x %llu ports (net.ipv4.ip_local_port_range); add --source addresses, "
                 "or targets with another address or port, or widen the range",
                 (unsigned long long)there, targets[i].host,
                 (unsigned long long)(sources * l->ports), (unsigned long long)sources,
                 (unsigned long long)l->ports);
        options_complain(errors, text);
        return -1;
    }
    return 0;
}

static bool has_publishers(const struct options *o)
{
    if (o->scenario == SCENARIO_CHURN || o->scenario == SCENARIO_STORM)
        return o->recover;
    return o->scenario == SCENARIO_BROADCAST || o->scenario == SCENARIO_SLOW;
}

/* Pairs (publisher, channel). */
static uint64_t pairs(const struct options *o, uint64_t users, uint64_t channels)
{
    uint64_t n = 0;

    if (o->scenario == SCENARIO_CHAT)
        n = users;
    else if (has_publishers(o))
        n = (uint64_t)o->publishers * channels;
    return n;
}

static double gib(uint64_t bytes)
{
    return (double)bytes / (1024 * 1024 * 1024);
}

int plan_memory(const struct options *o, uint64_t users, const struct plan_limits *l,
                bool both_ends, struct buf *errors)
{
    bool chat = o->scenario == SCENARIO_CHAT;
    uint64_t each = USER_MEMORY + KERNEL_MEMORY * (both_ends ? 2 : 1), slots = 0, tracking, need;
    char text[640], tracks[256] = "";

    if (chat || has_publishers(o)) /* as engine.c's tracked_slots() */
        slots = (uint64_t)(chat ? o->room : o->publishers);
    tracking = (uint64_t)o->connections * slots * sizeof(struct seen);
    need = tracking + users * each;
    if (l->memory == 0 || need <= l->memory)
        return 0;
    if (slots > 0)
        snprintf(tracks, sizeof(tracks),
                 "%lld subscribers x %llu publishers x %zu bytes that find what is lost, and ",
                 (long long)o->connections, (unsigned long long)slots, sizeof(struct seen));
    snprintf(text, sizeof(text),
             "%llu connections need %.1f GiB of memory, and %.1f GiB are available: %s%llu "
             "connections x %llu bytes%s at the least; fewer --connections%s",
             (unsigned long long)users, gib(need), gib(l->memory), tracks,
             (unsigned long long)users, (unsigned long long)each, both_ends ? " of both ends" : "",
             slots == 0 ? ""
             : chat     ? " or a smaller --room"
                        : " or --publishers");
    options_complain(errors, text);
    return -1;
}

/* With adapter raw the path is the channel: one without a publisher would hear nothing. */
static int check_publishers(const struct options *o, struct buf *errors)
{
    const struct adapter *a = adapter_of(o);
    char text[512];

    if (!has_publishers(o) || a->publish != NULL || o->publishers >= o->channels)
        return 0;
    snprintf(
        text, sizeof(text),
        "with adapter %s a publisher publishes to the channel of its path: --publishers %lld "
        "would leave %lld of the %lld channels without one; --publishers %lld is the least, or "
        "use fewer --channels",
        a->name, (long long)o->publishers, (long long)(o->channels - o->publishers),
        (long long)o->channels, (long long)o->channels);
    options_complain(errors, text);
    return -1;
}

int plan_make(const struct options *o, struct buf *errors)
{
    static struct load_target targets[LOAD_TARGETS_MAX];
    uint64_t users = (uint64_t)o->connections + (has_publishers(o) ? (uint64_t)o->publishers : 0);
    uint64_t channels = (uint64_t)o->channels;
    struct plan_limits limits;
    uint64_t npairs = pairs(o, users, channels);
    unsigned n = 0, processes;
    bool here = true; /* the server's end of the connections too */

    if (plan_check(o, errors) == -1 || check_publishers(o, errors) == -1 ||
        targets_make(o, targets, &n, errors) == -1)
        return -1;
    for (unsigned i = 0; i < n; i++)
        here = here && loopback_is((const struct sockaddr *)&targets[i].address);
    plan_limits_read(&limits);
    processes = plan_processes(o, users, &limits, errors);
    if (processes == 0 || plan_ports(o, users, &limits, processes, targets, n, errors) == -1 ||
        plan_memory(o, users, &limits, here, errors) == -1)
        return -1;
    if (load_shared_create(o, processes, npairs <= SENT_MAX ? npairs : 0) == -1) {
        options_complain(errors, "no memory for the shared results");
        return -1;
    }
    memcpy(load_shared->targets, targets, sizeof(targets));
    load_shared->ntargets = n;
    load_shared->options.storm_after = plan_storm_after(o);
    plan_distinct(load_shared->options.source); /* an address has its ports once */
    load_shared->users = users;
    load_shared->publishers = users - (uint64_t)o->connections;
    load_shared->channels = channels;
    load_shared->tail_unchecked = npairs > SENT_MAX;
    load_shared->run_id = (uint32_t)((uint64_t)time(NULL) * 2654435761u) ^ (uint32_t)getpid();
    return 0;
}
