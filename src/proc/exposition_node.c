/* proc/exposition_node.c - the metrics of tbl/node_metrics.def: what is read from shared memory,
 * the settings and /proc when somebody asks. */
#include <limits.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/config.h"
#include "core/engine_shards.h"
#include "proc/drain.h"
#include "proc/exposition.h"
#include "proc/node.h"
#include "proc/shm.h"
#include "proc/supervisor.h"
#include "proc/usage.h"
#include "proc/version.h"
#include "proc/worker.h"

enum process_metric { /* of processes, then of workers */
#define PROCESS(NAME, type, name, help) PROCESS_##NAME,
#include "tbl/node_metrics.def"
#define WORKER(NAME, type, name, help) WORKER_##NAME,
#include "tbl/node_metrics.def"
                      PROCESS_METRIC_NR
};

enum listener_metric {
#define LISTENER(NAME, type, name, help) LISTENER_##NAME,
#include "tbl/node_metrics.def"
    LISTENER_METRIC_NR
};

enum shard_metric {
#define ENGINE_SHARD(NAME, type, name, help) SHARD_##NAME##_SHOWN,
#include "tbl/node_metrics.def"
    SHARD_METRIC_NR
};

enum node_metric {
#define NODE(NAME, type, name, help) NODE_##NAME,
#include "tbl/node_metrics.def"
    NODE_METRIC_NR
};

static const struct node_metric_row rows[] = {
#define PROCESS(NAME, type, name, help) {METRIC_##type, name, help, "process", SHM_MASTER},
#include "tbl/node_metrics.def"
#define WORKER(NAME, type, name, help) {METRIC_##type, name, help, "process", SHM_WORKER},
#include "tbl/node_metrics.def"
#define LISTENER(NAME, type, name, help) {METRIC_##type, name, help, "listener", SHM_MASTER},
#include "tbl/node_metrics.def"
#define ENGINE_SHARD(NAME, type, name, help) {METRIC_##type, name, help, "shard", SHM_MASTER},
#include "tbl/node_metrics.def"
#define NODE(NAME, type, name, help) {METRIC_##type, name, help, "", SHM_MASTER},
#include "tbl/node_metrics.def"
};

_Static_assert(ARRAY_LEN(rows) == (int)PROCESS_METRIC_NR + (int)LISTENER_METRIC_NR +
                                      (int)SHARD_METRIC_NR + (int)NODE_METRIC_NR,
               "each metric has its row");

size_t node_metric_row_count(void)
{
    return ARRAY_LEN(rows);
}

const struct node_metric_row *node_metric_row(size_t i)
{
    return &rows[i];
}

static double process_value(enum process_metric m, unsigned slot, const struct process_usage *u,
                            uint64_t max_fds)
{
    const struct shm_slot *s = &shm->slots[slot];

    switch (m) {
    case PROCESS_CPU:
        return u->cpu_seconds;
    case PROCESS_RESIDENT:
        return (double)u->rss_bytes;
    case PROCESS_OPEN_FDS:
        return (double)atomic_load(&s->open_fds);
    case PROCESS_MAX_FDS:
        return (double)max_fds;
    case PROCESS_STARTED:
        return (double)atomic_load(&s->started_ns) / 1e9;
    case PROCESS_RESTARTS:
        return (double)atomic_load(&s->restarts);
    case PROCESS_HEARTBEAT:
        return (double)shm_heartbeat_age_ns(slot) / 1e9;
    case PROCESS_UP:
        return atomic_load(&s->pid) != 0 && atomic_load(&s->phase) == SHM_READY && shm_moves(slot);
    case WORKER_CONNECTIONS:
        return (double)atomic_load(&s->client_connections);
    case PROCESS_METRIC_NR:
        break;
    }
    return 0;
}

static int put_process_metric(enum process_metric m, const struct process_usage *usage,
                              enum exposition_format f, struct buf *out)
{
    const struct node_metric_row *row = &rows[m];
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
        limit.rlim_cur = 0;
    if (exposition_put_family(row->name, row->kind, row->help, f, out) == -1)
        return -1;
    for (unsigned i = row->first_slot; i < SHM_WORKER + shm->workers; i++) {
        char name[32];

        if (!shm_slot_used(i))
            continue;
        if (buf_printf(out, "%s%s{process=\"%s\"} %.15g\n", row->name,
                       exposition_counter_suffix(row->kind), shm_slot_name(i, name, sizeof(name)),
                       process_value(m, i, &usage[i], limit.rlim_cur)) == -1)
            return -1;
    }
    return 0;
}

/* A dead incarnation's CPU seconds are gone: Prometheus sees a counter reset, as with any restarted
 * process. */
static int put_processes(enum exposition_format f, struct buf *out)
{
    static struct process_usage usage[SHM_WORKER + HUB_WORKERS_MAX];

    for (unsigned i = 0; i < SHM_WORKER + shm->workers; i++)
        process_usage_read(i, &usage[i]);
    for (unsigned m = 0; m < PROCESS_METRIC_NR; m++)
        if (put_process_metric((enum process_metric)m, usage, f, out) == -1)
            return -1;
    return 0;
}

/* Read from the rings themselves, so that it is true of a process that does not move. */
static uint64_t rings_used(struct ring_shared *const *rings)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < shm->workers; i++)
        sum += ring_shared_used(rings[i]);
    return sum;
}

static double node_value(enum node_metric m)
{
    const char *why;

    switch (m) {
    case NODE_READY:
        return worker_ready(&why) ? 1 : 0;
    case NODE_DRAINING:
        return atomic_load(&shm->draining) != 0 ? 1 : 0;
    case NODE_DRAIN_DEADLINE:
        return (double)atomic_load(&shm->drain_deadline_s);
    case NODE_DRAIN_STATE:
        return (double)atomic_load(&shm->drain.state);
    case NODE_DRAIN_TARGET:
        return (double)drain_target();
    case NODE_DRAIN_LEFT:
        return (double)drain_left();
    case NODE_LISTEN_OVERFLOWS:
        return (double)atomic_load(&shm->listen_overflows);
    case NODE_LIMIT_CONNECTIONS:
        return (double)config.max_connections;
    case NODE_LIMIT_MESSAGE:
        return (double)config.max_message_size;
    case NODE_LIMIT_OUTPUT:
        return (double)config.output_limit;
    case NODE_RING_TO_HUB:
        return (double)rings_used(shm->to_hub);
    case NODE_RING_TO_WORKER:
        return (double)rings_used(shm->to_worker);
    case NODE_RING_CAPACITY:
        return (double)shm->ring_capacity;
    case NODE_WORKERS:
        return (double)shm->workers;
    case NODE_NODE_INFO:
    case NODE_BUILD_INFO:
        return 1;
    case NODE_CERTIFICATE_EXPIRES: /* put_certificates() */
    case NODE_METRIC_NR:
        break;
    }
    return 0;
}

/* A label's value: backslash, quote and line end are escaped in both formats. */
static int put_escaped(const char *s, struct buf *out)
{
    for (; *s != '\0'; s++) {
        if ((*s == '"' || *s == '\\') && buf_append_char(out, '\\') == -1)
            return -1;
        if (buf_append_char(out, *s) == -1)
            return -1;
    }
    return 0;
}

static int put_listener_metric(enum listener_metric m, enum exposition_format f, struct buf *out)
{
    const struct node_metric_row *row = &rows[PROCESS_METRIC_NR + m];

    if (exposition_put_family(row->name, row->kind, row->help, f, out) == -1)
        return -1;
    for (unsigned k = 0; k < supervisor_listeners.n; k++) {
        struct listener_others all = {0};

        shm_listener_others(k, UINT_MAX, &all);
        if (buf_printf(out, "%s%s{listener=\"", row->name, exposition_counter_suffix(row->kind)) ==
                -1 ||
            put_escaped(listener_label(&config.listener[k]), out) == -1 ||
            buf_printf(
                out, "\"} %llu\n",
                (unsigned long long)(m == LISTENER_ACCEPTS ? all.accepts : all.connections)) == -1)
            return -1;
    }
    return 0;
}

static uint64_t since(uint64_t ns)
{
    return clock_ns() > ns ? clock_ns() - ns : 0;
}

static double shard_value(enum shard_metric m, const struct engine_shard *s)
{
    switch (m) {
    case SHARD_UP_SHOWN:
        return s->state != SHARD_DOWN;
    case SHARD_STATE_SECONDS_SHOWN:
        return (double)since(s->since_ns) / 1e9;
    case SHARD_PROBE_AGE_SHOWN:
        return (double)since(s->heard_ns) / 1e9;
    case SHARD_METRIC_NR:
        break;
    }
    return 0;
}

static int put_shard(enum shard_metric m, const char *family, const struct engine_shard *s,
                     struct buf *out)
{
    if (m == SHARD_PROBE_AGE_SHOWN && s->heard_ns == 0)
        return 0;
    if (buf_printf(out, "%s{shard=\"", family) == -1 || put_escaped(s->name, out) == -1)
        return -1;
    if (m == SHARD_STATE_SECONDS_SHOWN &&
        buf_printf(out, "\",state=\"%s", shard_state_name((enum shard_state)s->state)) == -1)
        return -1;
    return buf_printf(out, "\"} %.15g\n", shard_value(m, s));
}

static int put_shard_metric(enum shard_metric m, enum exposition_format f, struct buf *out)
{
    const struct node_metric_row *row = &rows[PROCESS_METRIC_NR + LISTENER_METRIC_NR + m];
    struct engine_shard s;

    if (exposition_put_family(row->name, row->kind, row->help, f, out) == -1)
        return -1;
    for (unsigned i = 0; engine_shard_next(&i, &s);)
        if (put_shard(m, row->name, &s, out) == -1)
            return -1;
    return 0;
}

static int put_node_labels(enum node_metric m, struct buf *out)
{
    if (m == NODE_NODE_INFO) {
        if (buf_append_lit(out, "{name=\"") == -1 || put_escaped(node_name(), out) == -1)
            return -1;
        return buf_printf(out, "\",uid=\"%s\"}", node_uid());
    }
    if (m == NODE_BUILD_INFO)
        return buf_printf(out, "{version=\"%s\",revision=\"%s\"}", version_string(),
                          version_revision());
    return 0;
}

static int put_certificate(const char *family, const struct listener_options *o, size_t i,
                           int64_t expires, struct buf *out)
{
    char path[LISTENER_FILES_MAX];

    if (buf_printf(out, "%s{listener=\"", family) == -1 ||
        put_escaped(listener_label(o), out) == -1 || buf_append_lit(out, "\",file=\"") == -1 ||
        put_escaped(tls_files_name(o->tls_certificate, i, path), out) == -1)
        return -1;
    return buf_printf(out, "\"} %lld\n", (long long)expires);
}

static int put_certificates(const struct node_metric_row *row, enum exposition_format f,
                            struct buf *out)
{
    const struct tls_files *files = tls_files_used(shm->tls);

    if (exposition_put_family(row->name, row->kind, row->help, f, out) == -1)
        return -1;
    for (size_t k = 0; k < config.listeners_count; k++)
        for (size_t i = 0; i < MIN(files->listener[k].npairs, (uint32_t)TLS_PAIRS_MAX); i++)
            if (put_certificate(row->name, &config.listener[k], i,
                                files->listener[k].pairs[i].expires, out) == -1)
                return -1;
    return 0;
}

static int put_node_metric(enum node_metric m, enum exposition_format f, struct buf *out)
{
    const struct node_metric_row *row =
        &rows[PROCESS_METRIC_NR + LISTENER_METRIC_NR + SHARD_METRIC_NR + m];

    if (m == NODE_CERTIFICATE_EXPIRES)
        return put_certificates(row, f, out);
    if (exposition_put_family(row->name, row->kind, row->help, f, out) == -1 ||
        buf_printf(out, "%s%s", row->name, exposition_counter_suffix(row->kind)) == -1 ||
        put_node_labels(m, out) == -1)
        return -1;
    return buf_printf(out, " %.15g\n", node_value(m));
}

int exposition_write_node(enum exposition_format f, struct buf *out)
{
    if (put_processes(f, out) == -1)
        return -1;
    for (unsigned m = 0; m < LISTENER_METRIC_NR; m++)
        if (put_listener_metric((enum listener_metric)m, f, out) == -1)
            return -1;
    for (unsigned m = 0; m < SHARD_METRIC_NR; m++)
        if (put_shard_metric((enum shard_metric)m, f, out) == -1)
            return -1;
    for (unsigned m = 0; m < NODE_METRIC_NR; m++)
        if (put_node_metric((enum node_metric)m, f, out) == -1)
            return -1;
    return 0;
}
