/* proc/usage.c - see usage.h. */
#include "proc/usage.h"

#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "proc/shm.h"

#define NETSTAT_MAX 16384
#define LOOK_NS     (NS_PER_SEC / 4)

static struct {
    unsigned slot;
    int statm, netstat; /* 0: not open */
    uint64_t next_ns;
} u;

/* Another process's clock is its to read for everybody, also when it does not move. */
static double cpu_seconds(int pid)
{
    struct timespec t;
    clockid_t clock;

    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) == -1)
        return 0;
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void process_usage_read(unsigned slot, struct process_usage *out)
{
    int pid = atomic_load(&shm->slots[slot].pid);

    *out = (struct process_usage){0};
    if (pid <= 0)
        return;
    out->cpu_seconds = cpu_seconds(pid);
    out->rss_bytes = atomic_load(&shm->slots[slot].rss_bytes);
}

static int open_proc(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    return fd == -1 ? 0 : fd;
}

/* What the master had open is a forked child's too, and about the master. */
void usage_open(unsigned slot)
{
    if (u.statm > 0)
        close(u.statm);
    if (u.netstat > 0)
        close(u.netstat);
    u.slot = slot;
    u.statm = open_proc("/proc/self/statm");
    u.netstat = slot == SHM_MASTER ? open_proc("/proc/self/net/netstat") : 0;
    u.next_ns = 0;
    usage_look();
}

static struct str read_proc(int fd, char *text, size_t cap)
{
    size_t n = 0;
    ssize_t got;

    if (fd == 0)
        return STR_NULL;
    while (n < cap && (got = pread(fd, text + n, cap - n, (off_t)n)) > 0)
        n += (size_t)got;
    return (struct str){text, n};
}

/* "size resident shared ...", in pages. */
static uint64_t resident(struct str statm)
{
    struct str word;
    uint64_t pages;

    if (!str_cut(&statm, ' ', &word) || !str_cut(&statm, ' ', &word) ||
        str_to_u64(word, &pages) == -1)
        return 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Pairs of lines: names, then their values. */
static uint64_t tcp_ext_value(struct str text, const char *name)
{
    struct str names, values, word, value;
    uint64_t n;

    while (str_cut(&text, '\n', &names) && str_cut(&text, '\n', &values)) {
        if (!str_starts_with(names, STR_LIT("TcpExt: ")))
            continue;
        while (str_cut(&names, ' ', &word) && str_cut(&values, ' ', &value))
            if (str_equal(word, str_from(name)) && str_to_u64(value, &n) == 0)
                return n;
    }
    return 0;
}

void usage_look(void)
{
    char text[NETSTAT_MAX];

    if (clock_ns() < u.next_ns)
        return;
    u.next_ns = clock_ns() + LOOK_NS;
    atomic_store_explicit(&shm->slots[u.slot].rss_bytes,
                          resident(read_proc(u.statm, text, sizeof(text))), memory_order_relaxed);
    if (u.netstat > 0)
        atomic_store_explicit(
            &shm->listen_overflows,
            tcp_ext_value(read_proc(u.netstat, text, sizeof(text)), "ListenOverflows"),
            memory_order_relaxed);
}
