/* cmd/roostctl/doctor_read.c - limits of a process and of the machine, from proc and sys. */
#include <limits.h>

#include "base/cgroup.h"
#include "base/str.h"
#include "doctor.h"

static const struct {
    const char *file;
    int n;
    size_t offset;
} facts[] = {
#define FACT(name, file, n) {file, n, offsetof(struct machine, name)},
#include "doctor.def"
#undef FACT
};

/* Bytes read, 0 when it cannot be. */
static size_t read_file(const char *root, const char *file, char *out, size_t cap)
{
    char path[PATH_MAX];
    size_t n;
    FILE *f;

    snprintf(path, sizeof(path), "%s%s", root, file);
    f = fopen(path, "re");
    if (f == NULL)
        return 0;
    n = fread(out, 1, cap - 1, f);
    fclose(f);
    out[n] = '\0';
    return n;
}

/* The n-th of the numbers that a text begins with; -1: there are fewer. */
static int64_t number(const char *text, int n)
{
    for (;; n--) {
        char *end;
        long long v = strtoll(text, &end, 10); /* what is over the range becomes its end */

        if (end == text)
            return -1;
        if (n == 0)
            return v;
        text = end;
    }
}

static int64_t fact(const char *root, const char *file, int n)
{
    char text[256];

    return read_file(root, file, text, sizeof(text)) > 0 ? number(text, n) : -1;
}

/* What stands behind a word at the beginning of a line; NULL: no line begins so. */
static const char *behind(const char *text, const char *word)
{
    size_t n = strlen(word);

    for (; text != NULL; text = strchr(text, '\n'), text += text != NULL)
        if (strncmp(text, word, n) == 0)
            return text + n;
    return NULL;
}

/* "Max open files   1024   524288   files", or "unlimited". */
static int read_limits(struct machine *m, const char *text)
{
    char soft[32], hard[32];
    const char *at = behind(text, "Max open files");

    if (at == NULL || sscanf(at, "%31s %31s", soft, hard) != 2)
        return -1;
    m->nofile_soft = number(soft, 0);
    m->nofile_hard = number(hard, 0);
    if (m->nofile_soft == -1)
        m->nofile_soft = INT64_MAX;
    if (m->nofile_hard == -1)
        m->nofile_hard = INT64_MAX;
    return 0;
}

/* "ff,ffffffff": bits that are set. */
static unsigned count_bits(const char *mask)
{
    unsigned n = 0;

    for (; *mask != '\0' && *mask != '\n'; mask++) {
        char digit[2] = {*mask, '\0'};

        n += (unsigned)__builtin_popcountl(strtoul(digit, NULL, 16));
    }
    return n;
}

static void read_memory(struct machine *m, const char *root)
{
    char text[4096];
    const char *at;

    m->memory_total = m->memory_available = -1;
    if (read_file(root, "/proc/meminfo", text, sizeof(text)) == 0)
        return;
    if ((at = behind(text, "MemTotal:")) != NULL)
        m->memory_total = number(at, 0) * 1024;
    if ((at = behind(text, "MemAvailable:")) != NULL)
        m->memory_available = number(at, 0) * 1024;
}

int machine_read(struct machine *m, const char *root, const char *process)
{
    char path[64], text[8192];
    const char *at;

    for (size_t i = 0; i < ARRAY_LEN(facts); i++) {
        int64_t v = fact(root, facts[i].file, facts[i].n);

        memcpy((char *)m + facts[i].offset, &v, sizeof(v));
    }
    read_memory(m, root);
    m->group_cores = cgroup_cores(root, process);
    m->group_memory = cgroup_memory(root, process);
    m->group_tasks = cgroup_tasks(root, process);
    m->cores = 1;
    snprintf(path, sizeof(path), "/proc/%.20s/status", process);
    if (read_file(root, path, text, sizeof(text)) > 0 &&
        (at = behind(text, "Cpus_allowed:")) != NULL)
        m->cores = MAX(count_bits(at), 1u);
    if (m->group_cores != 0)
        m->cores = MIN(m->cores, m->group_cores);
    snprintf(path, sizeof(path), "/proc/%.20s/limits", process);
    return read_file(root, path, text, sizeof(text)) > 0 ? read_limits(m, text) : -1;
}
