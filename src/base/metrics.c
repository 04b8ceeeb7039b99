/* base/metrics.c - counters of this process. */
#include "base/metrics.h"

static struct metrics own; /* until proc points `metrics` into shared memory */
struct metrics *metrics = &own;

void metrics_reset_gauges(struct metrics *m)
{
#define COUNTER(member, name, help)
#define GAUGE(member, name, help) m->member = 0;
#define HISTOGRAM(member, name, scale, help)
#define COUNTER_BY_REASON(member, name, help)
#include "tbl/metrics.def"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
#undef COUNTER_BY_REASON
}

void metrics_add(struct metrics *dst, const struct metrics *src)
{
#define COUNTER(member, name, help)          dst->member += src->member;
#define GAUGE(member, name, help)            dst->member += src->member;
#define HISTOGRAM(member, name, scale, help) hist_add(&dst->member, &src->member);
#define COUNTER_BY_REASON(member, name, help)                                                      \
    for (size_t i = 0; i < CLOSE_NR; i++)                                                          \
        dst->member[i] += src->member[i];
#include "tbl/metrics.def"
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
#undef COUNTER_BY_REASON
}
