/* base/cgroup.c - limits of control groups, by mountinfo and the folders it names. */
#include "base/cgroup.h"

#include <limits.h>

#include "base/str.h"

#define CORES_MAX  65536
#define NUMBER_MAX (1ULL << 60)

struct cgroup_mount { /* a line of mountinfo */
    bool v2;
    char root[PATH_MAX];  /* the folder of the hierarchy that is mounted */
    char point[PATH_MAX]; /* where */
};

struct controller {
    const char *name;
    uint64_t (*of_folder)(const char *root, const char *folder, bool v2); /* 0: none */
};

struct search {
    const char *root, *process;
    const struct controller *what;
};

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

static uint64_t round_up(long long quota, long long period)
{
    if (quota <= 0 || period <= 0)
        return 0;
    return MIN(((uint64_t)quota + (uint64_t)period - 1) / (uint64_t)period, (uint64_t)CORES_MAX);
}

static uint64_t folder_cores(const char *root, const char *folder, bool v2)
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

static uint64_t fewer(uint64_t a, uint64_t b) /* 0 is "no limit" */
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* "max" is no number, and what v1 says for "no limit" is more than there is anywhere. */
static uint64_t folder_number(const char *root, const char *folder, const char *name)
{
    char text[64];
    unsigned long long n;

    if (!read_small(root, folder, name, text, sizeof(text)) || sscanf(text, "%llu", &n) != 1)
        return 0;
    return n < NUMBER_MAX ? n : 0;
}

/* Over memory.high the kernel slows a group down until it stands still. */
static uint64_t folder_memory(const char *root, const char *folder, bool v2)
{
    if (!v2)
        return folder_number(root, folder, "memory.limit_in_bytes");
    return fewer(folder_number(root, folder, "memory.max"),
                 folder_number(root, folder, "memory.high"));
}

static uint64_t folder_tasks(const char *root, const char *folder, bool v2 UNUSED)
{
    return folder_number(root, folder, "pids.max");
}

static const struct controller cpu = {"cpu", folder_cores};
static const struct controller memory = {"memory", folder_memory};
static const struct controller pids = {"pids", folder_tasks};

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
static bool own_folder(const struct search *s, bool v2, char *out, size_t cap)
{
    char text[16384], folder[PATH_MAX];
    struct str rest, line, id, controllers;

    snprintf(folder, sizeof(folder), "/proc/%s", s->process);
    if (!read_small(s->root, folder, "cgroup", text, sizeof(text)))
        return false;
    rest = str_from(text);
    while (rest.n > 0 && str_cut(&rest, '\n', &line)) {
        if (!str_cut(&line, ':', &id) || !str_cut(&line, ':', &controllers))
            continue;
        if (v2 ? controllers.n == 0 : comma_list_has(controllers, str_from(s->what->name)))
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
static bool parse_mount(struct str line, struct str controller, struct cgroup_mount *m)
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
    if (!m->v2 && !(str_equal(type, STR_LIT("cgroup")) && comma_list_has(line, controller)))
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

/* The limits from the process's folder up to the mount point all hold. */
static uint64_t mount_limit(const struct search *s, const struct cgroup_mount *m)
{
    char own[PATH_MAX], folder[2 * PATH_MAX];
    size_t top = strlen(m->point);
    uint64_t limit = 0;
    char *end;

    if (!own_folder(s, m->v2, own, sizeof(own)))
        return 0;
    snprintf(folder, sizeof(folder), "%s%s", m->point, below_mount(own, m->root));
    for (;;) {
        limit = fewer(limit, s->what->of_folder(s->root, folder, m->v2));
        end = strrchr(folder, '/');
        if (end == NULL || (size_t)(end - folder) < top)
            return limit;
        *end = '\0';
    }
}

static uint64_t limit_of(const char *root, const char *process, const struct controller *what)
{
    const struct search s = {root, process, what};
    char path[PATH_MAX], *line = NULL;
    struct cgroup_mount m;
    size_t cap = 0;
    uint64_t limit = 0;
    ssize_t n;
    FILE *f;

    snprintf(path, sizeof(path), "%s/proc/%s/mountinfo", root, process);
    f = fopen(path, "re");
    if (f == NULL)
        return 0;
    while ((n = getline(&line, &cap, f)) > 0) {
        struct str text = {line, (size_t)n - (line[n - 1] == '\n')};

        if (parse_mount(text, str_from(what->name), &m))
            limit = fewer(limit, mount_limit(&s, &m));
    }
    free(line);
    fclose(f);
    return limit;
}

unsigned cgroup_cores(const char *root, const char *process)
{
    return (unsigned)limit_of(root, process, &cpu);
}

uint64_t cgroup_memory(const char *root, const char *process)
{
    return limit_of(root, process, &memory);
}

uint64_t cgroup_tasks(const char *root, const char *process)
{
    return limit_of(root, process, &pids);
}
