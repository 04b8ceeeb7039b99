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

static uint64_t mean(uint64_t a, unsigned na, uint64_t b, unsigned nb)
{
    return (uint64_t)(((double)a * na + (double)b * nb) / (na + nb) + 0.5);
}

/* a, of na seconds, and b, of the nb that follow. */
static struct second merge(const struct second *a, unsigned na, const struct second *b, unsigned nb)
{
    struct second s = *b;

    s.connects = mean(a->connects, na, b->connects, nb);
    s.failures = mean(a->failures, na, b->failures, nb);
    s.messages_in = mean(a->messages_in, na, b->messages_in, nb);
    s.messages_out = mean(a->messages_out, na, b->messages_out, nb);
    s.bytes_in = mean(a->bytes_in, na, b->bytes_in, nb);
    s.cpu = (a->cpu * na + b->cpu * nb) / (na + nb);
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
        r->seconds[i / 2] =
            merge(&r->seconds[i], r->row_seconds, &r->seconds[i + 1], r->row_seconds);
    r->nseconds /= 2;
    r->row_seconds *= 2;
}

void series_add(struct results *r, const struct second *s)
{
    r->now = *s;
    if (in_row > 0 && in_row < r->row_seconds) {
        r->seconds[r->nseconds - 1] = merge(&r->seconds[r->nseconds - 1], in_row, s, 1);
        in_row++;
        return;
    }
    if (r->nseconds == SERIES_MAX)
        halve(r);
    r->seconds[r->nseconds++] = *s;
    in_row = 1;
}
