/* proc/exposition.c - metrics as text. Names and units follow Prometheus' conventions; the
 * OpenMetrics form differs in the names of counter families (no _total), the end mark, and the
 * content type. */
#include "proc/exposition.h"

#include <sys/resource.h>
#include <unistd.h>

#include "base/config.h"
#include "codec/http.h"
#include "proc/shm.h"
#include "proc/version.h"

enum exposition_format exposition_negotiate(struct str accept)
{
    struct str element;

    while (http_list_next(&accept, &element)) {
        struct str type = str_trim((struct str){element.p, str_find(element, ';')});

        if (str_equal_nocase(type, STR_LIT("application/openmetrics-text")))
            return EXPOSITION_OPENMETRICS;
    }
    return EXPOSITION_PROMETHEUS;
}

const char *exposition_content_type(enum exposition_format f)
{
    return f == EXPOSITION_OPENMETRICS
               ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
               : "text/plain; version=0.0.4; charset=utf-8";
}

/* HELP and TYPE. A counter's family is called name_total in the Prometheus form and name in
 * OpenMetrics. */
static int put_family(const char *name, const char *type, const char *help,
                      enum exposition_format f, struct buf *out)
{
    const char *suffix =
        f == EXPOSITION_PROMETHEUS && str_equal(str_from(type), STR_LIT("counter")) ? "_total" : "";

    return buf_printf(out, "# HELP %s%s %s\n# TYPE %s%s %s\n", name, suffix, help, name, suffix,
                      type);
}

static int put_counter(const char *name, const char *help, uint64_t v, enum exposition_format f,
                       struct buf *out)
{
    int rc = put_family(name, "counter", help, f, out);

    return rc | buf_printf(out, "%s_total %llu\n", name, (unsigned long long)v);
}

static int put_gauge(const char *name, const char *help, int64_t v, enum exposition_format f,
                     struct buf *out)
{
    int rc = put_family(name, "gauge", help, f, out);

    return rc | buf_printf(out, "%s %lld\n", name, (long long)v);
}

static int put_reasons(const char *name, const char *help, const uint64_t *v,
                       enum exposition_format f, struct buf *out)
{
    int rc = put_family(name, "counter", help, f, out);

    for (size_t i = 1; i < CLOSE_NR; i++) /* 0 is CLOSE_NONE */
        rc |= buf_printf(out, "%s_total{reason=\"%s\"} %llu\n", name,
                         close_row((enum close_reason)i)->label, (unsigned long long)v[i]);
    return rc;
}

/* One bucket per 1, 2, 5 of each decade; seconds from 1 us to 50 s, counts from 1 to 5 * 10^6. */
static bool bound_is_shown(size_t i, double scale)
{
    size_t digit = i % 9 + 1, decade = i / 9;

    if (digit != 1 && digit != 2 && digit != 5)
        return false;
    return scale < 1 ? decade >= 3 && decade <= 10 : decade <= 6;
}

static int put_histogram(const char *name, const char *help, double scale, const struct hist *h,
                         enum exposition_format f, struct buf *out)
{
    int rc = put_family(name, "histogram", help, f, out);
    uint64_t sum = 0;

    for (size_t i = 0; i < HIST_BUCKETS; i++) {
        sum += h->bucket[i];
        if (i == HIST_BUCKETS - 1 || !bound_is_shown(i, scale))
            continue;
        rc |=
            buf_printf(out, "%s_bucket{le=\"%.12g%s\"} %llu\n", name, (double)hist_bound(i) * scale,
                       scale < 1 ? "" : ".0", (unsigned long long)sum);
    }
    /* The count is the buckets' sum, so that a scrape during an update is consistent in itself. */
    return rc | buf_printf(out, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.12g\n%s_count %llu\n", name,
                           (unsigned long long)sum, name, (double)h->sum * scale, name,
                           (unsigned long long)sum);
}

int exposition_write_metrics(const struct metrics *sum, enum exposition_format f, struct buf *out)
{
    int rc = 0;

#define COUNTER(member, name, help) rc |= put_counter(name, help, sum->member, f, out);
#define GAUGE(member, name, help)   rc |= put_gauge(name, help, sum->member, f, out);
#define HISTOGRAM(member, name, scale, help)                                                       \
    rc |= put_histogram(name, help, scale, &sum->member, f, out);
#define COUNTER_BY_REASON(member, name, help) rc |= put_reasons(name, help, sum->member, f, out);
#include "tbl/metrics.def"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
#undef COUNTER_BY_REASON
    return rc == 0 ? 0 : -1;
}

void process_usage_read(int pid, struct process_usage *out)
{
    char path[64], text[1024];
    unsigned long long utime, stime;
    long long rss;
    const char *at;
    FILE *f;

    *out = (struct process_usage){0};
    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    f = fopen(path, "re");
    if (f == NULL)
        return;
    text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
    fclose(f);
    at = strrchr(text, ')'); /* the name may hold anything, also parentheses */
    if (at == NULL || sscanf(at + 2,
                             "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d "
                             "%*d %*d %*d %*u %*u %lld",
                             &utime, &stime, &rss) != 3)
        return;
    out->cpu_seconds = (double)(utime + stime) / (double)sysconf(_SC_CLK_TCK);
    out->rss_bytes = rss > 0 ? (uint64_t)rss * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

enum process_metric {
    CPU = 0,
    RESIDENT,
    OPEN_FDS,
    MAX_FDS,
    STARTED,
    RESTARTS,
    UP,
    PROCESS_METRIC_NR
};
static const struct {
    const char *name, *type, *help;
} process_metrics[PROCESS_METRIC_NR] = {
    {"roost_process_cpu_seconds", "counter", "CPU time of the process, user and system."},
    {"roost_process_resident_memory_bytes", "gauge", "Resident memory of the process."},
    {"roost_process_open_fds", "gauge", "Open file descriptors."},
    {"roost_process_max_fds", "gauge", "Most file descriptors the process may have."},
    {"roost_process_start_time_seconds", "gauge", "Start of this incarnation, Unix time."},
    {"roost_process_restarts", "counter", "Times the process was started again."},
    {"roost_process_up", "gauge", "1 while the process is ready."},
};

static double process_value(enum process_metric m, const struct shm_slot *s,
                            const struct process_usage *u, uint64_t max_fds)
{
    switch (m) {
    case CPU:
        return u->cpu_seconds;
    case RESIDENT:
        return (double)u->rss_bytes;
    case OPEN_FDS:
        return (double)atomic_load(&s->open_fds);
    case MAX_FDS:
        return (double)max_fds;
    case STARTED:
        return (double)atomic_load(&s->started_ns) / 1e9;
    case RESTARTS:
        return (double)atomic_load(&s->restarts);
    case UP:
        return atomic_load(&s->pid) != 0 && atomic_load(&s->phase) == SHM_READY ? 1 : 0;
    case PROCESS_METRIC_NR:
        break;
    }
    return 0;
}

static int put_process_metric(enum process_metric m, const struct process_usage *usage,
                              enum exposition_format f, struct buf *out)
{
    bool counter = str_equal(str_from(process_metrics[m].type), STR_LIT("counter"));
    int rc = put_family(process_metrics[m].name, process_metrics[m].type, process_metrics[m].help,
                        f, out);
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
        limit.rlim_cur = 0;
    for (unsigned i = 0; i < SHM_WORKER + shm->workers; i++) {
        char name[32];

        rc |= buf_printf(out, "%s%s{process=\"%s\"} %.15g\n", process_metrics[m].name,
                         counter ? "_total" : "", shm_slot_name(i, name, sizeof(name)),
                         process_value(m, &shm->slots[i], &usage[i], limit.rlim_cur));
    }
    return rc;
}

/* A dead incarnation's CPU seconds are gone: Prometheus sees a counter reset, as with any restarted
 * process. */
static int put_processes(enum exposition_format f, struct buf *out)
{
    static struct process_usage usage[SHM_WORKER + HUB_WORKERS_MAX];
    int rc = 0;

    for (unsigned i = 0; i < SHM_WORKER + shm->workers; i++) {
        int pid = atomic_load(&shm->slots[i].pid);

        usage[i] = (struct process_usage){0};
        if (pid > 0)
            process_usage_read(pid, &usage[i]);
    }
    for (unsigned m = 0; m < PROCESS_METRIC_NR; m++)
        rc |= put_process_metric((enum process_metric)m, usage, f, out);
    return rc;
}

int exposition_write_processes(enum exposition_format f, struct buf *out)
{
    int rc = put_processes(f, out);

    rc |= put_gauge("roost_limit_connections", "Client connections the node may hold.",
                    config.max_connections, f, out);
    rc |= put_gauge("roost_limit_message_size_bytes", "Largest message a client may send.",
                    config.max_message_size, f, out);
    rc |= put_gauge("roost_limit_output_queue_bytes", "Bytes one client's output queue may hold.",
                    config.output_limit, f, out);
    rc |= put_gauge("roost_ring_capacity_bytes", "Size of each ring between a worker and the hub.",
                    (int64_t)shm->ring_capacity, f, out);
    rc |= put_gauge("roost_workers", "Worker processes.", (int64_t)shm->workers, f, out);
    rc |= put_family("roost_build_info", "gauge", "What is running; always 1.", f, out);
    rc |= buf_printf(out, "roost_build_info{version=\"%s\",revision=\"%s\"} 1\n", version_string(),
                     version_revision());
    return rc == 0 ? 0 : -1;
}

int exposition_write_end(enum exposition_format f, struct buf *out)
{
    return f == EXPOSITION_OPENMETRICS ? buf_append_lit(out, "# EOF\n") : 0;
}
