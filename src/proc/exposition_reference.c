/* proc/exposition_reference.c - deploy/METRICS.md, from the tables. */
#include "proc/exposition.h"

static bool same_family(size_t i, size_t k)
{
    return str_equal(str_from(metric_row(i)->name), str_from(metric_row(k)->name));
}

/* A family's label and its values, from rows i up to the next family's. */
static int put_labels(size_t i, struct buf *out)
{
    const struct metric_row *row = metric_row(i);
    const char *sep = "";

    if (row->kind == METRIC_COUNTER_BY_REASON)
        return buf_append_lit(out, "`reason`");
    if (row->kind == METRIC_COUNTER_BY_KIND)
        return buf_append_lit(out, "`kind`");
    if (row->labels[0] == '\0')
        return 0;
    for (size_t k = i; k < metric_row_count() && same_family(i, k); k++) {
        if (buf_printf(out, "%s`%s`", sep, metric_row(k)->labels) == -1)
            return -1;
        sep = ", ";
    }
    return 0;
}

static int put_tables(struct buf *out)
{
    for (size_t i = 0; i < metric_row_count(); i++) {
        const struct metric_row *row = metric_row(i);

        if (i > 0 && same_family(i - 1, i))
            continue;
        if (buf_printf(out, "| `%s%s` | %s | ", row->name, exposition_counter_suffix(row->kind),
                       exposition_type_name(row->kind)) == -1 ||
            put_labels(i, out) == -1 || buf_printf(out, " | %s |\n", row->help) == -1)
            return -1;
    }
    for (size_t i = 0; i < node_metric_row_count(); i++) {
        const struct node_metric_row *row = node_metric_row(i);

        if (buf_printf(out, "| `%s%s` | %s | %s%s%s | %s |\n", row->name,
                       exposition_counter_suffix(row->kind), exposition_type_name(row->kind),
                       row->label[0] != '\0' ? "`" : "", row->label,
                       row->label[0] != '\0' ? "`" : "", row->help) == -1)
            return -1;
    }
    return 0;
}

static int put_reasons(struct buf *out)
{
    for (size_t i = 0; i < CLOSE_NR; i++) {
        const struct close_row *row = close_row((enum close_reason)i);

        bool setting = row->setting[0] != '\0';

        if (row->use == CLOSE_IN_NOTHING)
            continue;
        if (buf_printf(out, "| `%s` | %s | %s | %s%s%s%s |\n", row->label, row->text,
                       row->use & CLOSE_IN_HANDSHAKE ? "both" : "closes", setting ? "`" : "",
                       row->setting, setting ? "`: " : "", row->fix) == -1)
            return -1;
    }
    return 0;
}

int exposition_reference(struct buf *out)
{
    if (buf_append_lit(
            out,
            "# Metrics\n\n"
            "`GET /metrics` on the admin listener. Any worker answers for the whole node: values "
            "are sums over its processes, and\ncounters survive the restart of a process. This "
            "page is written by `roostd --reference=metrics`.\n\n"
            "| metric | type | labels | |\n|---|---|---|---|\n") == -1 ||
        put_tables(out) == -1 ||
        buf_append_lit(out,
                       "\n## Reasons\n\nValues of the label `reason` of "
                       "`roost_closes_total` and, where it says both, of\n"
                       "`roost_handshake_failures_total`. One with something to do about it is a "
                       "warning in the log.\n\n"
                       "| reason | | counted in | what to do |\n|---|---|---|---|\n") == -1)
        return -1;
    return put_reasons(out);
}
