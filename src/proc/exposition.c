/* proc/exposition.c - metrics as text. Names and units follow Prometheus' conventions; the
 * OpenMetrics form differs in the names of counter families (no _total), the end mark, and the
 * content type. */
#include "proc/exposition.h"

#include "core/record.h"

_Static_assert(METRIC_RECORD_KINDS == (int)RECORD_KIND_NR, "a counter for each kind");

enum exposition_format exposition_negotiate(const struct http_request *r)
{
    unsigned openmetrics_precision, text_precision;
    unsigned openmetrics = http_accept_weight(r, STR_LIT("application/openmetrics-text"),
                                              STR_LIT("1.0.0"), &openmetrics_precision);
    unsigned text = http_accept_weight(r, STR_LIT("text/plain"), STR_LIT("0.0.4"), &text_precision);

    /* If as much, then only by its name. If neither, the client had better have one than none. */
    return openmetrics > text || (openmetrics == text && text > 0 && openmetrics_precision >= 3)
               ? EXPOSITION_OPENMETRICS
               : EXPOSITION_PROMETHEUS;
}

const char *exposition_content_type(enum exposition_format f)
{
    return f == EXPOSITION_OPENMETRICS
               ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
               : "text/plain; version=0.0.4; charset=utf-8";
}

const char *exposition_type_name(enum metric_kind kind)
{
    static const char *const names[METRIC_KIND_NR] = {
        [METRIC_COUNTER] = "counter",         [METRIC_GAUGE] = "gauge",
        [METRIC_HISTOGRAM] = "histogram",     [METRIC_COUNTER_BY_REASON] = "counter",
        [METRIC_COUNTER_BY_KIND] = "counter",
    };

    return names[kind];
}

const char *exposition_counter_suffix(enum metric_kind kind)
{
    return kind == METRIC_GAUGE || kind == METRIC_HISTOGRAM ? "" : "_total";
}

int exposition_put_family(const char *name, enum metric_kind kind, const char *help,
                          enum exposition_format f, struct buf *out)
{
    const char *suffix = f == EXPOSITION_PROMETHEUS ? exposition_counter_suffix(kind) : "";

    return buf_printf(out, "# HELP %s%s %s\n# TYPE %s%s %s\n", name, suffix, help, name, suffix,
                      exposition_type_name(kind));
}

/* A name with its labels, for a value to follow. more: labels beside the row's, or "". */
static int put_name(const struct metric_row *row, const char *suffix, const char *more,
                    struct buf *out)
{
    bool both = row->labels[0] != '\0' && more[0] != '\0';

    if (row->labels[0] == '\0' && more[0] == '\0')
        return buf_printf(out, "%s%s ", row->name, suffix);
    return buf_printf(out, "%s%s{%s%s%s} ", row->name, suffix, row->labels, both ? "," : "", more);
}

static int put_count(const struct metric_row *row, const char *suffix, const char *more, uint64_t v,
                     struct buf *out)
{
    if (put_name(row, suffix, more, out) == -1)
        return -1;
    return buf_printf(out, "%llu\n", (unsigned long long)v);
}

/* No series for what cannot occur; one that did all the same is not hidden. */
static int put_reasons(const struct metric_row *row, const uint64_t *v, struct buf *out)
{
    for (size_t i = 0; i < CLOSE_NR; i++) {
        const struct close_row *reason = close_row((enum close_reason)i);
        char label[64];

        if (!(reason->use & row->use) && v[i] == 0)
            continue;
        snprintf(label, sizeof(label), "reason=\"%s\"", reason->label);
        if (put_count(row, "_total", label, v[i], out) == -1)
            return -1;
    }
    return 0;
}

static int put_kinds(const struct metric_row *row, const uint64_t *v, struct buf *out)
{
    for (uint8_t i = RECORD_NONE + 1; i < RECORD_KIND_NR; i++) {
        char label[64];

        snprintf(label, sizeof(label), "kind=\"%s\"", record_kind_name(i));
        if (put_count(row, "_total", label, v[i], out) == -1)
            return -1;
    }
    return 0;
}

/* One bucket per 1, 2, 5 of each decade; seconds from 1 us to 50 s, counts from 1 to 5 * 10^6. */
static bool bound_is_shown(size_t i, double scale)
{
    size_t digit = i % 9 + 1, decade = i / 9;

    if (digit != 1 && digit != 2 && digit != 5)
        return false;
    return scale < 1 ? decade >= 3 && decade <= 10 : decade <= 6;
}

static int put_histogram(const struct metric_row *row, const struct hist *h, struct buf *out)
{
    uint64_t sum = 0;
    char le[64];

    for (size_t i = 0; i < HIST_BUCKETS; i++) {
        sum += h->bucket[i];
        if (i == HIST_BUCKETS - 1 || !bound_is_shown(i, row->scale))
            continue;
        snprintf(le, sizeof(le), "le=\"%.12g%s\"", (double)hist_bound(i) * row->scale,
                 row->scale < 1 ? "" : ".0");
        if (put_count(row, "_bucket", le, sum, out) == -1)
            return -1;
    }
    /* The count is the buckets' sum, so that a scrape during an update is consistent in itself. */
    if (put_count(row, "_bucket", "le=\"+Inf\"", sum, out) == -1 ||
        put_name(row, "_sum", "", out) == -1 ||
        buf_printf(out, "%.12g\n", (double)h->sum * row->scale) == -1)
        return -1;
    return put_count(row, "_count", "", sum, out);
}

static int put_row(const struct metric_row *row, const struct metrics *sum, struct buf *out)
{
    const void *member = (const char *)sum + row->offset;

    switch (row->kind) {
    case METRIC_COUNTER:
        return put_count(row, "_total", "", *(const uint64_t *)member, out);
    case METRIC_GAUGE:
        if (put_name(row, "", "", out) == -1)
            return -1;
        return buf_printf(out, "%lld\n", (long long)*(const int64_t *)member);
    case METRIC_HISTOGRAM:
        return put_histogram(row, member, out);
    case METRIC_COUNTER_BY_REASON:
        return put_reasons(row, member, out);
    case METRIC_COUNTER_BY_KIND:
        return put_kinds(row, member, out);
    case METRIC_KIND_NR:
        break;
    }
    return -1;
}

int exposition_write_metrics(const struct metrics *sum, enum exposition_format f, struct buf *out)
{
    const char *family = "";

    for (size_t i = 0; i < metric_row_count(); i++) {
        const struct metric_row *row = metric_row(i);

        if (!str_equal(str_from(family), str_from(row->name)) &&
            exposition_put_family(row->name, row->kind, row->help, f, out) == -1)
            return -1;
        family = row->name;
        if (put_row(row, sum, out) == -1)
            return -1;
    }
    return 0;
}

int exposition_write_end(enum exposition_format f, struct buf *out)
{
    return f == EXPOSITION_OPENMETRICS ? buf_append_lit(out, "# EOF\n") : 0;
}
