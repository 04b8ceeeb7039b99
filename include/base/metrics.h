/* base/metrics.h - this process's counters, from tbl/metrics.def.
 *
 * `metrics` points at the process's slot in shared memory (a private one until proc sets it, so
 * that units run alone). One writer, plain stores; readers sum slots. Counters survive a respawn
 * because the new incarnation continues in the same slot; gauges are zeroed by it. */
#ifndef ROOST_BASE_METRICS_H
#define ROOST_BASE_METRICS_H

#include "base/close.h"
#include "base/hist.h"

struct metrics {
#define COUNTER(member, name, help)           uint64_t member;
#define GAUGE(member, name, help)             int64_t member;
#define HISTOGRAM(member, name, scale, help)  struct hist member;
#define COUNTER_BY_REASON(member, name, help) uint64_t member[CLOSE_NR];
#include "tbl/metrics.def"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
#undef COUNTER_BY_REASON
};

extern struct metrics *metrics;

#define METRIC_INC(member)    (metrics->member++)
#define METRIC_ADD(member, n) (metrics->member += (n))

/* Zeroes the gauges only. */
void metrics_reset_gauges(struct metrics *m);
/* dst += src, every row. */
void metrics_add(struct metrics *dst, const struct metrics *src);

#endif
