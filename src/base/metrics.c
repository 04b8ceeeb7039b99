/* base/metrics.c - counters of this process. */
#include "base/metrics.h"

#include <stddef.h>

static struct metrics own; /* until proc points `metrics` into shared memory */
struct metrics *metrics = &own;

#define ROW(kind_, member, name_, labels_, scale_, use_, help_)                                    \
    {.kind = (kind_),                                                                              \
     .name = (name_),                                                                              \
     .labels = (labels_),                                                                          \
     .help = (help_),                                                                              \
     .scale = (scale_),                                                                            \
     .use = (use_),                                                                                \
     .offset = offsetof(struct metrics, member)},

static const struct metric_row rows[] = {
#define COUNTER(member, name, help)            ROW(METRIC_COUNTER, member, name, "", 1, 0, help)
#define COUNTER_OF(member, name, labels, help) ROW(METRIC_COUNTER, member, name, labels, 1, 0, help)
#define COUNTER_BY_REASON(member, name, use, help)                                                 \
    ROW(METRIC_COUNTER_BY_REASON, member, name, "", 1, use, help)
#define COUNTER_BY_KIND(member, name, help)                                                        \
    ROW(METRIC_COUNTER_BY_KIND, member, name, "", 1, 0, help)
#define GAUGE(member, name, help)            ROW(METRIC_GAUGE, member, name, "", 1, 0, help)
#define GAUGE_OF(member, name, labels, help) ROW(METRIC_GAUGE, member, name, labels, 1, 0, help)
#define HISTOGRAM(member, name, scale, help) ROW(METRIC_HISTOGRAM, member, name, "", scale, 0, help)
#define HISTOGRAM_OF(member, name, labels, scale, help)                                            \
    ROW(METRIC_HISTOGRAM, member, name, labels, scale, 0, help)
#include "tbl/metrics.def"
};

size_t metric_row_count(void)
{
    return ARRAY_LEN(rows);
}

const struct metric_row *metric_row(size_t i)
{
    return &rows[i];
}

void metrics_reset_gauges(struct metrics *m)
{
#define GAUGE(member, name, help) m->member = 0;
#include "tbl/metrics.def"
}

void metrics_add(struct metrics *dst, const struct metrics *src)
{
#define COUNTER(member, name, help)          dst->member += src->member;
#define GAUGE(member, name, help)            dst->member += src->member;
#define HISTOGRAM(member, name, scale, help) hist_add(&dst->member, &src->member);
#define COUNTER_BY_REASON(member, name, use, help)                                                 \
    for (size_t i = 0; i < CLOSE_NR; i++)                                                          \
        dst->member[i] += src->member[i];
#define COUNTER_BY_KIND(member, name, help)                                                        \
    for (size_t i = 0; i < METRIC_RECORD_KINDS; i++)                                               \
        dst->member[i] += src->member[i];
#include "tbl/metrics.def"
}
