/* base/cpus.c - affinity mask and cgroup quota. */
#include "base/cpus.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <unistd.h>

#include "base/str.h"

#define CPUS_MAX 65536 /* that a mask is tried for: the kernel wants room for all it could have */

struct cgroup_mount { /* a line of mountinfo */
    bool v2;
    char root[PATH_MAX];  /* the folder of the hierarchy that is mounted */
    char point[PATH_MAX]; /* where */
};

unsigned cpus_affinity(void)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);

    for (size_t n = CPU_SETSIZE; n <= CPUS_MAX; n *= 2) {
        size_t bytes = CPU_ALLOC_SIZE(n);
        cpu_set_t *set = CPU_ALLOC(n);
        int count = 0;

        if (set == NULL)
            break;
        if (sched_getaffinity(0, bytes, set) == 0)
            count = CPU_COUNT_S(bytes, set);
        CPU_FREE(set);
        if (count > 0)
            return (unsigned)count;
        if (errno != EINVAL) /* EINVAL: the kernel knows more processors than that */
            break;
    }
    return online > 0 ? (unsigned)online : 1;
}

/* The whole of a small file. False: it cannot be read. */
static bool read_small(const char *root, const char *folder, const char *name, char *out,
                       size_t cap)
{
    char path[2 * PATH_MAX + 64];
    FILE *f;
    size_t n;

    snprintf(path, sizeof(path), "%s%s/%s", root, folder, name);
    f = fopen(path, "re");
    if (f == NULL)
        return false;
    n = fread(out, 1, cap - 1, f);
    fclose(f);
    out[n] = '\0';
    return n > 0;
}

static unsigned round_up(long long quota, long long period)
{
    if (quota <= 0 || period <= 0)
        return 0;
    return (unsigned)MIN((quota + period - 1) / period, (long long)CPUS_MAX);
}

/* Of one folder; 0: none. */
static unsigned folder_quota(const char *root, const char *folder, bool v2)
{
    char text[64], period_text[64];
    long long quota, period;

    if (v2) { /* "max 100000", or quota and period; no such file in the topmost folder */
        if (!read_small(root, folder, "cpu.max", text, sizeof(text)) ||
            sscanf(text, "%lld %lld", &quota, &period) != 2)
            return 0;
        return round_up(quota, period);
    }
    if (!read_small(root, folder, "cpu.cfs_quota_us", text, sizeof(text)) ||
        !read_small(root, folder, "cpu.cfs_period_us", period_text, sizeof(period_text)) ||
        sscanf(text, "%lld", &quota) != 1 || sscanf(period_text, "%lld", &period) != 1)
        return 0;
    return round_up(quota, period); /* -1 is no quota */
}

static bool comma_list_has(struct str list, struct str word)
{
    struct str entry;

    while (list.n > 0 && str_cut(&list, ',', &entry))
        if (str_equal(entry, word))
            return true;
    return false;
}

/* The process's folder in the hierarchy, from /proc/self/cgroup: "0::/path" or
 * "4:cpu,cpuacct:/path". */
static bool own_folder(const char *root, bool v2, char *out, size_t cap)
{
    char text[16384];
    struct str rest, line, id, controllers;

    if (!read_small(root, "/proc/self", "cgroup", text, sizeof(text)))
        return false;
    rest = str_from(text);
    while (rest.n > 0 && str_cut(&rest, '\n', &line)) {
        if (!str_cut(&line, ':', &id) || !str_cut(&line, ':', &controllers))
            continue;
        if (v2 ? controllers.n == 0 : comma_list_has(controllers, STR_LIT("cpu")))
            return str_copy(line, out, cap) == 0;
    }
    return false;
}

static bool octal_digits(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] < '0' || p[i] > '7')
            return false;
    return true;
}

/* Blanks in mountinfo are written as \040. */
static int unescape(struct str s, char *out, size_t cap)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (c == '\\' && i + 3 < s.n && octal_digits(s.p + i + 1, 3)) {
            c = (char)((s.p[i + 1] - '0') << 6 | (s.p[i + 2] - '0') << 3 | (s.p[i + 3] - '0'));
            i += 3;
        }
        if (n + 1 >= cap)
            return -1;
        out[n++] = c;
    }
    out[n] = '\0';
    return 0;
}

/* "36 35 0:30 /root /point options [optional]... - type source super-options" */
static bool parse_mount(struct str line, struct cgroup_mount *m)
{
    struct str word, type, source;
    struct str root = STR_NULL, point = STR_NULL;

    for (int i = 0; str_cut(&line, ' ', &word) && !str_equal(word, STR_LIT("-")); i++) {
        if (i == 3)
            root = word;
        else if (i == 4)
            point = word;
    }
    if (!str_cut(&line, ' ', &type) || !str_cut(&line, ' ', &source))
        return false;
    m->v2 = str_equal(type, STR_LIT("cgroup2"));
    if (!m->v2 && !(str_equal(type, STR_LIT("cgroup")) && comma_list_has(line, STR_LIT("cpu"))))
        return false;
    return unescape(root, m->root, sizeof(m->root)) == 0 &&
           unescape(point, m->point, sizeof(m->point)) == 0;
}

/* The process's folder below the mount point: "" for the mount point itself, which is also the
 * answer where /proc shows a path from outside the container. */
static const char *below_mount(const char *own, const char *mounted)
{
    size_t n = strlen(mounted);

    if (n == 1) /* "/" */
        n = 0;
    if (strncmp(own, mounted, n) != 0 || (own[n] != '/' && own[n] != '\0') ||
        strstr(own, "/..") != NULL)
        return "";
    return strcmp(own + n, "/") == 0 ? "" : own + n;
}

static unsigned fewer(unsigned a, unsigned b) /* 0 is "no limit" */
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* The quotas from the process's folder up to the mount point all hold. */
static unsigned mount_quota(const char *root, const struct cgroup_mount *m)
{
    char own[PATH_MAX], folder[2 * PATH_MAX];
    size_t top = strlen(m->point);
    unsigned cores = 0;
    char *end;

    if (!own_folder(root, m->v2, own, sizeof(own)))
        return 0;
    snprintf(folder, sizeof(folder), "%s%s", m->point, below_mount(own, m->root));
    for (;;) {
        cores = fewer(cores, folder_quota(root, folder, m->v2));
        end = strrchr(folder, '/');
        if (end == NULL || (size_t)(end - folder) < top)
            return cores;
        *end = '\0';
    }
}

unsigned cpus_quota(const char *root)
{
    char path[PATH_MAX], *line = NULL;
    struct cgroup_mount m;
    size_t cap = 0;
    unsigned cores = 0;
    ssize_t n;
    FILE *f;

    snprintf(path, sizeof(path), "%s/proc/self/mountinfo", root);
    f = fopen(path, "re");
    if (f == NULL)
        return 0;
    while ((n = getline(&line, &cap, f)) > 0) {
        struct str text = {line, (size_t)n - (line[n - 1] == '\n')};

        if (parse_mount(text, &m))
            cores = fewer(cores, mount_quota(root, &m));
    }
    free(line);
    fclose(f);
    return cores;
}

unsigned cpus_usable(const char *root)
{
    return fewer(cpus_affinity(), cpus_quota(root));
}
