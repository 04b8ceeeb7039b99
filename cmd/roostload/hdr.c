/* hdr.c - see hdr.h. Values below 2^(SUB_BITS+1) have a bucket each; above, the top SUB_BITS+1 bits
 * select one. */
#include "hdr.h"

static size_t bucket_of(uint64_t v)
{
    unsigned shift;

    if (v < (UINT64_C(1) << (HDR_SUB_BITS + 1)))
        return (size_t)v;
    if (v >> HDR_MAX_BITS != 0)
        return HDR_BUCKETS - 1;
    shift = 63u - (unsigned)__builtin_clzll(v) - HDR_SUB_BITS;
    return ((size_t)shift << HDR_SUB_BITS) + (size_t)(v >> shift);
}

uint64_t hdr_bound(size_t i)
{
    size_t shift = (i >> HDR_SUB_BITS) == 0 ? 0 : (i >> HDR_SUB_BITS) - 1;
    uint64_t top = i - (shift << HDR_SUB_BITS);

    return ((top + 1) << shift) - 1;
}

void hdr_record(struct hdr *h, uint64_t ns)
{
    h->bucket[bucket_of(ns)]++;
    h->sum += ns;
    if (ns > h->max)
        h->max = ns;
    h->count++;
}

void hdr_add(struct hdr *dst, const struct hdr *src)
{
    dst->count += src->count;
    dst->sum += src->sum;
    dst->max = MAX(dst->max, src->max);
    for (size_t i = 0; i < HDR_BUCKETS; i++)
        dst->bucket[i] += src->bucket[i];
}

void hdr_diff(struct hdr *dst, const struct hdr *now, const struct hdr *before)
{
    dst->count = now->count - before->count;
    dst->sum = now->sum - before->sum;
    dst->max = 0;
    for (size_t i = 0; i < HDR_BUCKETS; i++) {
        dst->bucket[i] = now->bucket[i] - before->bucket[i];
        if (dst->bucket[i] > 0)
            dst->max = MIN(hdr_bound(i), now->max);
    }
}

uint64_t hdr_quantile(const struct hdr *h, double q)
{
    uint64_t total = 0, seen = 0, rank;

    for (size_t i = 0; i < HDR_BUCKETS; i++)
        total += h->bucket[i];
    if (total == 0)
        return 0;
    rank = (uint64_t)(q * (double)total + 0.5);
    rank = MAX(rank, UINT64_C(1));
    for (size_t i = 0; i < HDR_BUCKETS; i++) {
        seen += h->bucket[i];
        if (seen >= rank)
            return i == HDR_BUCKETS - 1 ? h->max : MIN(hdr_bound(i), h->max);
    }
    return h->max;
}
