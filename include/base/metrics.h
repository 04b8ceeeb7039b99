/* base/metrics.h - this process's counters, from tbl/metrics.def.
 *
 * `metrics` points at the process's slot in shared memory (a private one until proc sets it, so
 * that units run alone). One writer, plain stores; readers sum slots. Counters survive a respawn
 * because the new incarnation continues in the same slot; gauges are zeroed by it. */
#ifndef ROOST_BASE_METRICS_H
#define ROOST_BASE_METRICS_H

#include "base/close.h"
#include "base/hist.h"

/* Kinds of records; core/record.h has their names. */
enum {
    METRIC_RECORD_KINDS = 1
#define TO_HUB(name, label)    +1
#define TO_WORKER(name, label) +1
#include "tbl/records.def"
#undef TO_HUB
#undef TO_WORKER
};

struct metrics {
#define COUNTER(member, name, help)                uint64_t member;
#define GAUGE(member, name, help)                  int64_t member;
#define HISTOGRAM(member, name, scale, help)       struct hist member;
#define COUNTER_BY_REASON(member, name, use, help) uint64_t member[CLOSE_NR];
#define COUNTER_BY_KIND(member, name, help)        uint64_t member[METRIC_RECORD_KINDS];
#include "tbl/metrics.def"
};

enum metric_kind {
    METRIC_COUNTER = 0,
    METRIC_GAUGE,
    METRIC_HISTOGRAM,
    METRIC_COUNTER_BY_REASON,
    METRIC_COUNTER_BY_KIND,
    METRIC_KIND_NR
};

struct metric_row {
    enum metric_kind kind;
    const char *name;   /* of the family, without _total; rows of one family follow each other */
    const char *labels; /* name="value", or "" */
    const char *help;   /* "" in the later rows of a family */
    double scale;       /* METRIC_HISTOGRAM: of the values as they are shown */
    unsigned use;       /* METRIC_COUNTER_BY_REASON: enum close_use of its reasons */
    size_t offset;      /* of the member in struct metrics */
};

size_t metric_row_count(void);
const struct metric_row *metric_row(size_t i);

extern struct metrics *metrics;

#define METRIC_INC(member)    (metrics->member++)
#define METRIC_ADD(member, n) (metrics->member += (n))

/* Zeroes the gauges only. */
void metrics_reset_gauges(struct metrics *m);
/* dst += src, every row. */
void metrics_add(struct metrics *dst, const struct metrics *src);

#endif
