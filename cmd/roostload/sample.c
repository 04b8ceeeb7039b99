/* sample.c - see sample.h. */
#include "sample.h"

#include <dirent.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "scrape.h"

static int read_file(const char *path, char *out, size_t cap)
{
    FILE *f = fopen(path, "re");
    size_t n;

    if (f == NULL)
        return -1;
    n = fread(out, 1, cap - 1, f);
    out[n] = '\0';
    fclose(f);
    return n > 0 ? 0 : -1;
}

/* "Name:  123 kB" lines; bytes. */
static uint64_t kb_line(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    return at == NULL ? 0 : strtoull(at + strlen(name), NULL, 10) * 1024;
}

struct watched { /* a process of the server */
    int pid;
    uint64_t started;         /* tells it from a later one with the same pid */
    double own, own_children; /* CPU of its own; of its children that have ended */
};

#define WATCHED_MAX 4096 /* those above are counted while they live */

/* The processes of this sample and of the one before: what one that is gone has used must not be
 * missing, or the sum would go down. */
static struct {
    struct watched now[WATCHED_MAX], before[WATCHED_MAX];
    unsigned n, nbefore;
    double gone; /* used by processes that ended, and that no parent has waited for */
} family;

/* The clock of the process has its threads that have ended, too, and counts ns. 0: not known. */
static double clock_of(int pid)
{
    struct timespec t;
    clockid_t id;

    if (clock_getcpuclockid(pid, &id) != 0 || clock_gettime(id, &t) == -1)
        return 0;
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* -1: gone. */
static int read_watched(int pid, struct watched *w)
{
    double tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
    unsigned long long own[2], children[2], started;
    char path[64], text[1024];
    const char *at;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    if (read_file(path, text, sizeof(text)) == -1 || (at = strrchr(text, ')')) == NULL ||
        sscanf(at + 1,
               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %llu %llu %*d %*d %*d %*d "
               "%llu",
               &own[0], &own[1], &children[0], &children[1], &started) != 5)
        return -1;
    *w = (struct watched){.pid = pid, .started = started, .own = clock_of(pid)};
    if (w->own <= 0)
        w->own = (double)(own[0] + own[1]) * tick;
    w->own_children = (double)(children[0] + children[1]) * tick;
    return 0;
}

static const struct watched *find_watched(const struct watched *all, unsigned n, int pid)
{
    for (unsigned i = 0; i < n; i++)
        if (all[i].pid == pid)
            return &all[i];
    return NULL;
}

static void add_process(int pid, struct sample *out)
{
    char path[64], text[256];
    unsigned long long rss;
    struct watched w;

    if (find_watched(family.now, family.n, pid) != NULL || read_watched(pid, &w) == -1)
        return;
    out->cpu_seconds += w.own + w.own_children;
    if (family.n < WATCHED_MAX)
        family.now[family.n++] = w;
    snprintf(path, sizeof(path), "/proc/%d/statm", pid);
    if (read_file(path, text, sizeof(text)) == -1 || sscanf(text, "%*u %llu", &rss) != 1)
        return;
    out->processes++;
    out->rss_bytes += rss * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Walks page tables: seconds, for a server of many gigabytes. Without Private_Clean: pages of
 * programs and libraries are in it or not by who else on this machine runs the same ones. */
static void add_private(struct sample *out)
{
    char path[64], text[4096];

    for (unsigned i = 0; i < family.n; i++) {
        snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", family.now[i].pid);
        if (read_file(path, text, sizeof(text)) == 0)
            out->private_bytes += kb_line(text, "Private_Dirty:");
    }
}

/* A process that has ended is in its parent's figure if that has waited for it, and in nobody's
 * otherwise (its parent ignores SIGCHLD, or is not of the family): then its last figure stays. */
static void keep_what_ended_used(struct sample *out)
{
    double ended = 0, waited_for = 0;

    for (unsigned i = 0; i < family.nbefore; i++) {
        const struct watched *then = &family.before[i],
                             *now = find_watched(family.now, family.n, then->pid);

        if (now == NULL || now->started != then->started)
            ended += then->own + then->own_children;
        else
            waited_for += now->own_children - then->own_children;
    }
    family.gone += MAX(ended - waited_for, 0.0);
    out->cpu_seconds += family.gone;
}

static void begin_family(void)
{
    memcpy(family.before, family.now, family.n * sizeof(family.now[0]));
    family.nbefore = family.n;
    family.n = 0;
}

static int parent_of(int pid)
{
    char path[64], text[1024];
    const char *at;
    int parent;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    if (read_file(path, text, sizeof(text)) == -1 || (at = strrchr(text, ')')) == NULL ||
        sscanf(at + 2, "%*c %d", &parent) != 1)
        return 0;
    return parent;
}

/* The process and everything below it, as the process table has it now. */
static void add_family(int root, struct sample *out)
{
    DIR *d = opendir("/proc");
    struct dirent *e;

    add_process(root, out);
    if (d == NULL)
        return;
    while ((e = readdir(d)) != NULL) {
        int pid = (int)strtol(e->d_name, NULL, 10), up = pid;

        for (int depth = 0; up > 1 && depth < 8; depth++) {
            up = parent_of(up);
            if (up == root) {
                add_process(pid, out);
                break;
            }
        }
    }
    closedir(d);
}

static void add_kernel(struct sample *out)
{
    char text[8192];
    const char *at;

    if (read_file("/proc/net/sockstat", text, sizeof(text)) == 0 &&
        (at = strstr(text, "TCP:")) != NULL && (at = strstr(at, " mem ")) != NULL)
        out->tcp_memory_bytes = strtoull(at + 5, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
    if (read_file("/proc/meminfo", text, sizeof(text)) == 0)
        out->slab_bytes = kb_line(text, "Slab:");
}

static bool ends_with(struct str s, struct str end)
{
    return s.n >= end.n && str_equal(str_skip(s, s.n - end.n), end);
}

void sample_prometheus(struct str text, struct sample *out)
{
    struct str line;

    while (text.n > 0 && str_cut(&text, '\n', &line)) {
        size_t n = 0, space;
        struct str name;
        char number[64];
        double v;

        while (n < line.n && line.p[n] != '{' && line.p[n] != ' ')
            n++;
        name = (struct str){line.p, n};
        space = line.n;
        while (space > 0 && line.p[space - 1] != ' ')
            space--;
        if (n == 0 || line.p[0] == '#' ||
            str_copy(str_skip(line, space), number, sizeof(number)) == -1)
            continue;
        v = strtod(number, NULL);
        if (!(v >= 0 && v < 1e18)) /* NaN, Inf, or nonsense */
            continue;
        if (ends_with(name, STR_LIT("process_cpu_seconds_total"))) {
            out->cpu_seconds += v;
            out->processes++;
        } else if (ends_with(name, STR_LIT("process_resident_memory_bytes"))) {
            out->rss_bytes += (uint64_t)v;
        }
    }
}

static int add_metrics(const struct options *o, struct sample *out, char *err, size_t errcap)
{
    struct buf page = {0};
    int rc = scrape(o->metrics, o->i_own_the_target, &page, err, errcap);

    if (rc == 0)
        sample_prometheus(buf_view(&page), out);
    buf_fini(&page);
    return rc;
}

void sample_take(const struct options *o, bool slow, struct sample *out)
{
    struct str pids = str_from(o->pid), pid;
    char unused[256]; /* a server under load may miss one */
    uint64_t n;

    *out = (struct sample){0};
    begin_family();
    while (pids.n > 0 && str_cut(&pids, '\n', &pid))
        if (str_to_u64(pid, &n) == 0)
            add_family((int)n, out);
    keep_what_ended_used(out);
    if (o->metrics[0] != '\0' && add_metrics(o, out, unused, sizeof(unused)) == -1)
        *out = (struct sample){0};
    out->at_ns = clock_precise_ns();
    add_kernel(out);
    if (slow)
        add_private(out);
}

int sample_check(const struct options *o, char *err, size_t errcap)
{
    struct str pids = str_from(o->pid), pid;
    struct sample s = {0};
    struct watched unused;
    char why[256];
    uint64_t n;

    if (o->pid[0] != '\0' && o->metrics[0] != '\0') {
        snprintf(err, errcap, "--pid and --metrics: one of them, or the server counts twice");
        return -1;
    }
    while (pids.n > 0 && str_cut(&pids, '\n', &pid)) {
        if (str_to_u64(pid, &n) == -1 || n <= 1 || n > INT32_MAX ||
            read_watched((int)n, &unused) == -1) {
            snprintf(err, errcap, "--pid %.*s: no such process", (int)MIN(pid.n, (size_t)60),
                     pid.p);
            return -1;
        }
    }
    if (o->metrics[0] == '\0')
        return 0;
    if (add_metrics(o, &s, why, sizeof(why)) == -1) {
        snprintf(err, errcap, "--metrics %.80s: %.170s", o->metrics, why);
        return -1;
    }
    if (s.processes > 0)
        return 0;
    snprintf(err, errcap,
             "--metrics %.100s: neither process_cpu_seconds_total nor "
             "process_resident_memory_bytes is on that page",
             o->metrics);
    return -1;
}
