/* base/hist.c - log-linear histogram. Bucket 9*d + m - 1 has the bound m * 10^d, m = 1..9. */
#include "base/hist.h"

static const uint64_t powers[HIST_DECADES] = {
    UINT64_C(1),         UINT64_C(10),         UINT64_C(100),         UINT64_C(1000),
    UINT64_C(10000),     UINT64_C(100000),     UINT64_C(1000000),     UINT64_C(10000000),
    UINT64_C(100000000), UINT64_C(1000000000), UINT64_C(10000000000), UINT64_C(100000000000),
};

static size_t bucket_of(uint64_t v)
{
    size_t d = 0;
    uint64_t m;

    if (v <= 1)
        return 0;
    if (v > powers[HIST_DECADES - 1] * 9)
        return HIST_BUCKETS - 1;
    while (v > powers[d] * 9)
        d++;
    m = (v + powers[d] - 1) / powers[d];
    return d * 9 + (size_t)m - 1;
}

void hist_record(struct hist *h, uint64_t value)
{
    hist_record_n(h, value, 1);
}

void hist_record_n(struct hist *h, uint64_t value, uint64_t n)
{
    h->bucket[bucket_of(value)] += n;
    h->sum += value * n;
    h->count += n;
}

void hist_add(struct hist *dst, const struct hist *src)
{
    dst->count += src->count;
    dst->sum += src->sum;
    for (size_t i = 0; i < HIST_BUCKETS; i++)
        dst->bucket[i] += src->bucket[i];
}

uint64_t hist_bound(size_t i)
{
    return i >= HIST_BUCKETS - 1 ? UINT64_MAX : powers[i / 9] * (i % 9 + 1);
}

uint64_t hist_quantile(const struct hist *h, double q)
{
    uint64_t total = 0, seen = 0, rank;

    for (size_t i = 0; i < HIST_BUCKETS; i++)
        total += h->bucket[i]; /* not h->count: a reader may see it one ahead */
    if (total == 0)
        return 0;
    rank = (uint64_t)(q * (double)(total - 1)) + 1;
    for (size_t i = 0; i < HIST_BUCKETS; i++) {
        seen += h->bucket[i];
        if (seen >= rank)
            return hist_bound(i);
    }
    return UINT64_MAX;
}
