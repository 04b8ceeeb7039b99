/* sample.c - see sample.h. */
#include "sample.h"

#include <dirent.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "codec/http.h"

#define PAGE_MAX ((size_t)4 * 1024 * 1024)
#define PIDS_MAX 2048

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
        if (ends_with(name, STR_LIT("process_cpu_seconds_total"))) {
            out->cpu_seconds += v;
            out->processes++;
        } else if (ends_with(name, STR_LIT("process_resident_memory_bytes"))) {
            out->rss_bytes += (uint64_t)v;
        }
    }
}

static int connect_to(struct str host, struct str port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    struct timeval limit = {.tv_sec = 1};
    char h[256], p[16];
    int fd;

    if (str_copy(host, h, sizeof(h)) == -1 || str_copy(port, p, sizeof(p)) == -1 ||
        getaddrinfo(h, p, &hints, &found) != 0)
        return -1;
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd != -1 && (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == -1 ||
                     setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) == -1 ||
                     connect(fd, found->ai_addr, found->ai_addrlen) == -1)) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

static void add_metrics(struct str url, struct sample *out)
{
    static char page[PAGE_MAX];
    struct str rest, authority, path;
    char request[1024];
    size_t colon, n = 0;
    ssize_t got;
    int fd, len;

    if (!str_starts_with(url, STR_LIT("http://")))
        return;
    rest = str_skip(url, 7);
    authority = (struct str){rest.p, str_find(rest, '/')};
    path = authority.n < rest.n ? str_skip(rest, authority.n) : STR_LIT("/metrics");
    colon = str_find(authority, ':');
    fd = connect_to((struct str){authority.p, colon},
                    colon < authority.n ? str_skip(authority, colon + 1) : STR_LIT("80"));
    if (fd == -1)
        return;
    len = snprintf(request, sizeof(request),
                   "GET %.*s HTTP/1.1\r\nHost: %.*s\r\nConnection: close\r\n\r\n", STR_ARG(path),
                   STR_ARG(authority));
    if (len > 0 && (size_t)len < sizeof(request) &&
        send(fd, request, (size_t)len, MSG_NOSIGNAL) == len)
        while (n < sizeof(page) && (got = recv(fd, page + n, sizeof(page) - n, 0)) > 0)
            n += (size_t)got;
    close(fd);
    sample_prometheus((struct str){page, n}, out);
}

void sample_take(const struct options *o, bool slow, struct sample *out)
{
    struct str pids = str_from(o->pid), pid;
    uint64_t n;

    *out = (struct sample){0};
    while (pids.n > 0 && str_cut(&pids, '\n', &pid))
        if (str_to_u64(pid, &n) == 0 && n > 1 && n < INT32_MAX)
            add_family((int)n, slow, out);
    if (o->metrics[0] != '\0' && o->pid[0] == '\0')
        add_metrics(str_from(o->metrics), out);
    add_kernel(out);
}
