/* coordinator.h - the parent: starts load processes, keeps the phases, samples once a second, shows
 * and writes results.
 *
 * coordinator.c keeps the phases · series.c the samples · view.c shows them · report.c, report_json.c
 * and report_page.c write. */
#ifndef ROOSTLOAD_COORDINATOR_H
#define ROOSTLOAD_COORDINATOR_H

#include "base/clock.h"
#include "sample.h"
#include "shared.h"

#define GRACE_QUIET_NS (NS_PER_SEC / 2) /* at least */

struct second {            /* one row of the time series; its rates are counts / length_s */
    enum load_phase phase; /* in which it ended: rows end where the run begins and ends */
    double at_s;           /* its end, since the start */
    double length_s;
    uint64_t ready, connecting;
    struct load_counts counts;
    uint64_t p50, p90, p99, p999, max; /* main latency, ns */
    double cpu;                        /* cores used by the watched server */
    uint64_t rss_bytes, tcp_memory_bytes;
    double sampled_s; /* when these three were sampled, since the start */
};

struct results {
    struct load_metrics total;
    uint64_t ready_max, ready_end, given_up;
    uint64_t ramped;         /* ready when the run began */
    double ramp_s, run_s;    /* lengths of the phases */
    double storm_recovery_s; /* storm: from the drop until all were back; < 0: not within the run */
    bool stormed;            /* somebody was dropped */
    double stormed_s;        /* when, since the start */
    uint64_t run_messages_in, run_messages_out, run_pings_in; /* during LOAD_RUN */
    struct second now;                                        /* the last second */
    struct second *seconds; /* owned; a row each, of row_seconds */
    size_t nseconds;
    unsigned row_seconds;
    struct sample server_start, server_ramped,
        server_end;        /* before the first connection, at full load, at the end */
    double ramp_stalled_s; /* > 0: so long nothing got better, and the run began without the rest */
    bool hopeless;         /* ended because every attempt had failed */
    bool tls_there;        /* nobody was answered, and the server speaks TLS */
    bool interrupted;
    int64_t started_at; /* wall clock, s */
    uint64_t start_ns;  /* the same on CLOCK_MONOTONIC */
};

/* series.c: a row for s, the second just over. When all rows are full, two and two become one: the
 * sum of the counts, the later gauges, the worse percentiles. -1: no memory for rows at the first
 * call. */
void series_add(struct results *r, const struct second *s);
int series_init(struct results *r) MUST_CHECK;

/* When a sample was taken, since the start; the first one is from before it. */
static inline double sampled_s(const struct results *r, const struct sample *p)
{
    return (double)(int64_t)(p->at_ns - r->start_ns) / 1e9;
}

/* How long nothing must have come for the grace to be over: longer than twice what any message took
 * on its way; what it waited before it was sent (corrected latency) says nothing about that. 0:
 * nothing is under way. */
static inline uint64_t grace_quiet_ns(const struct load_metrics *m)
{
    return m->messages_out == 0
               ? 0
               : MAX(GRACE_QUIET_NS, 2 * MAX(m->delivery_uncorrected.max, m->echo_uncorrected.max));
}

/* A count of that second (or row) as a rate. */
static inline double per_second(const struct second *s, int64_t count)
{
    return s->length_s > 0 ? (double)count / s->length_s : 0;
}

struct server_figures {                               /* 0: not known */
    double private_bytes, resident_bytes, slab_bytes; /* per connection; slab: both ends */
    double run_cpu_s, run_cores, cpu_s_per_message;
};
/* report.c */
struct server_figures report_server(const struct results *r);

const char *phase_name(enum load_phase phase);
/* Runs the planned test; exit status 0, 1 or 3. */
int coordinator_run(void);

/* report_*.c: -1 with errno when the file cannot be written. */
void report_summary(FILE *f, const struct results *r);
int report_json(const char *path, const struct results *r) MUST_CHECK;
int report_html(const char *path, const struct results *r) MUST_CHECK;
/* The JSON document; also embedded in the page. */
int report_document(const struct results *r, struct buf *out) MUST_CHECK;
/* Evaluates every --fail-if; number that are true. Appends a line each to f. */
int report_thresholds(FILE *f, const struct results *r);
/* "not run", "failed" (a threshold was crossed), "passed", or "not judged": there was
 * no threshold. */
const char *report_verdict(const struct results *r);
/* No connection was ready, or there was no run. */
bool report_not_run(const struct results *r);
const char *report_latency(uint64_t ns, char *out, size_t cap);
const char *report_bytes(uint64_t bytes, char *out, size_t cap);

/* view.c */
/* f: where everything goes; live: it is a terminal and may be drawn on. */
void view_start(FILE *f, bool live);
void view_second(const struct results *r, const struct load_metrics *sum, const char *phase,
                 double eta_s);
void view_end(void);

#endif
