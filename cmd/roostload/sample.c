/* sample.c - see sample.h. */
#include "sample.h"

#include <dirent.h>
#include <unistd.h>

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

/* Time of all threads on a CPU, from the scheduler: the clock ticks of /proc/PID/stat are too
 * coarse for short runs. */
static double cpu_seconds(int pid)
{
    char path[64], file[384], text[128];
    struct dirent *e;
    double sum = 0;
    DIR *d;

    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    d = opendir(path);
    if (d == NULL)
        return 0;
    while ((e = readdir(d)) != NULL) {
        snprintf(file, sizeof(file), "%s/%s/schedstat", path, e->d_name);
        if (e->d_name[0] != '.' && read_file(file, text, sizeof(text)) == 0)
            sum += (double)strtoull(text, NULL, 10) / 1e9;
    }
    closedir(d);
    return sum;
}

static void add_process(int pid, bool slow, struct sample *out)
{
    char path[64], text[4096];
    unsigned long long rss;

    snprintf(path, sizeof(path), "/proc/%d/statm", pid);
    if (read_file(path, text, sizeof(text)) == -1 || sscanf(text, "%*u %llu", &rss) != 1)
        return;
    out->processes++;
    out->cpu_seconds += cpu_seconds(pid);
    out->rss_bytes += rss * (uint64_t)sysconf(_SC_PAGESIZE);
    if (!slow)
        return;
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
    if (read_file(path, text, sizeof(text)) == 0)
        out->private_bytes += kb_line(text, "Private_Clean:") + kb_line(text, "Private_Dirty:");
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
static void add_family(int root, bool slow, struct sample *out)
{
    DIR *d = opendir("/proc");
    struct dirent *e;

    add_process(root, slow, out);
    if (d == NULL)
        return;
    while ((e = readdir(d)) != NULL) {
        int pid = (int)strtol(e->d_name, NULL, 10), up = pid;

        for (int depth = 0; up > 1 && depth < 8; depth++) {
            up = parent_of(up);
            if (up == root) {
                add_process(pid, slow, out);
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
    while (pids.n > 0 && str_cut(&pids, '\n', &pid))
        if (str_to_u64(pid, &n) == 0)
            add_family((int)n, slow, out);
    if (o->metrics[0] != '\0' && add_metrics(o, out, unused, sizeof(unused)) == -1)
        *out = (struct sample){0};
    add_kernel(out);
}

int sample_check(const struct options *o, char *err, size_t errcap)
{
    struct str pids = str_from(o->pid), pid;
    struct sample s = {0};
    char why[256];
    uint64_t n;

    if (o->pid[0] != '\0' && o->metrics[0] != '\0') {
        snprintf(err, errcap, "--pid and --metrics: one of them, or the server counts twice");
        return -1;
    }
    while (pids.n > 0 && str_cut(&pids, '\n', &pid)) {
        if (str_to_u64(pid, &n) == 0 && n > 1 && n <= INT32_MAX)
            add_process((int)n, false, &s);
        if (s.processes == 0) {
            snprintf(err, errcap, "--pid %.*s: no such process", (int)MIN(pid.n, (size_t)60),
                     pid.p);
            return -1;
        }
        s = (struct sample){0};
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
