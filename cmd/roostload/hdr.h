/* hdr.h - high-dynamic-range histogram: 128 linear steps per power of two, so no value is off by
 * 0.8 %.
 *
 * Nanoseconds up to 2^42 (73 minutes); larger values land in the last bucket, max is exact. One
 * writer; a reader may see a count one ahead of its bucket. */
#ifndef ROOSTLOAD_HDR_H
#define ROOSTLOAD_HDR_H

#include "base/common.h"

#define HDR_SUB_BITS 7
#define HDR_MAX_BITS 42
#define HDR_BUCKETS  ((HDR_MAX_BITS - HDR_SUB_BITS + 1) << HDR_SUB_BITS)

struct hdr {
    uint64_t count, sum, max;
    uint64_t bucket[HDR_BUCKETS];
};

void hdr_record(struct hdr *h, uint64_t ns);
void hdr_add(struct hdr *dst, const struct hdr *src);
/* dst = now - before, for one interval; max is the highest non-empty bucket's bound. */
void hdr_diff(struct hdr *dst, const struct hdr *now, const struct hdr *before);
/* Highest value of bucket i. */
uint64_t hdr_bound(size_t i);
/* Value at quantile q (0..1): the bound of its bucket, never above max. 0 when empty. */
uint64_t hdr_quantile(const struct hdr *h, double q);

#endif
