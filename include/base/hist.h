/* base/hist.h - log-linear histogram: nine linear buckets per decade, 1 to 10^12.
 *
 * Plain stores by one writer; any process may read (a reader may see a count one ahead of its
 * bucket). Bounds are whole numbers times powers of ten, so Prometheus' le values are exact. */
#ifndef ROOST_BASE_HIST_H
#define ROOST_BASE_HIST_H

#include "base/common.h"

#define HIST_DECADES 12
#define HIST_BUCKETS (HIST_DECADES * 9 + 1) /* the last holds everything larger */

struct hist {
    uint64_t count;
    uint64_t sum;
    uint64_t bucket[HIST_BUCKETS];
};

void hist_record(struct hist *h, uint64_t value);
/* Adds n observations of the same value. */
void hist_record_n(struct hist *h, uint64_t value, uint64_t n);
void hist_add(struct hist *dst, const struct hist *src);
/* Inclusive upper bound of bucket i; UINT64_MAX for the last. */
uint64_t hist_bound(size_t i);
/* Upper bound of the bucket in which the q-quantile (0..1) lies; 0 when empty. */
uint64_t hist_quantile(const struct hist *h, double q);

#endif
