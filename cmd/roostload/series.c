/* series.c - the time series: at most SERIES_MAX rows, however long the test. */
#include "coordinator.h"

#define SERIES_MAX 7200 /* even; two hours of seconds, the charts draw no more */

static unsigned in_row; /* seconds in the last row so far */

int series_init(struct results *r)
{
    r->seconds = calloc(SERIES_MAX, sizeof(*r->seconds));
    r->nseconds = 0;
    r->row_seconds = 1;
    in_row = 0;
    return r->seconds != NULL ? 0 : -1;
}

/* b follows a. */
static struct second merge(const struct second *a, const struct second *b)
{
    struct second s = *b;

    s.length_s += a->length_s;
    load_counts_add(&s.counts, &a->counts);
    s.cpu = (a->cpu * a->length_s + b->cpu * b->length_s) / s.length_s;
    s.p50 = MAX(a->p50, b->p50);
    s.p90 = MAX(a->p90, b->p90);
    s.p99 = MAX(a->p99, b->p99);
    s.p999 = MAX(a->p999, b->p999);
    s.max = MAX(a->max, b->max);
    return s;
}

static void halve(struct results *r)
{
    for (size_t i = 0; i + 1 < r->nseconds; i += 2)
        r->seconds[i / 2] = merge(&r->seconds[i], &r->seconds[i + 1]);
    r->nseconds /= 2;
    r->row_seconds *= 2;
}

void series_add(struct results *r, const struct second *s)
{
    r->now = *s;
    if (in_row > 0 && in_row < r->row_seconds) {
        r->seconds[r->nseconds - 1] = merge(&r->seconds[r->nseconds - 1], s);
        in_row++;
        return;
    }
    if (r->nseconds == SERIES_MAX)
        halve(r);
    r->seconds[r->nseconds++] = *s;
    in_row = 1;
}
