/* proc/exposition.h - all metrics as text: Prometheus 0.0.4 or OpenMetrics 1.0.0.
 *
 * The tables are tbl/metrics.def and tbl/node_metrics.def; deploy/METRICS.md is written from them.
 * Histograms show one bucket per 1, 2, 5 of each decade within the range that makes sense for them,
 * and +Inf.
 *
 * exposition.c writes the counters of all processes · exposition_node.c what is known of the node ·
 * exposition_reference.c the document. */
#ifndef ROOST_PROC_EXPOSITION_H
#define ROOST_PROC_EXPOSITION_H

#include "base/buf.h"
#include "base/metrics.h"
#include "codec/http.h"

enum exposition_format { EXPOSITION_PROMETHEUS = 0, EXPOSITION_OPENMETRICS };
/* Which one the Accept fields ask for. */
enum exposition_format exposition_negotiate(const struct http_request *r);
const char *exposition_content_type(enum exposition_format f);

/* The table's metrics from a sum of slots. */
int exposition_write_metrics(const struct metrics *sum, enum exposition_format f,
                             struct buf *out) MUST_CHECK;
/* Per-process and node metrics, read from shm and /proc; and the end mark of OpenMetrics. */
int exposition_write_node(enum exposition_format f, struct buf *out) MUST_CHECK;
int exposition_write_end(enum exposition_format f, struct buf *out) MUST_CHECK;

/* Markdown reference of all metrics (for deploy/METRICS.md; `make lint` compares). */
int exposition_reference(struct buf *out) MUST_CHECK;

/* HELP and TYPE. A counter's family is called name_total in the Prometheus form and name in
 * OpenMetrics. */
int exposition_put_family(const char *name, enum metric_kind kind, const char *help,
                          enum exposition_format f, struct buf *out) MUST_CHECK;
const char *exposition_type_name(enum metric_kind kind);
/* What a sample's name ends with: "_total", or "". */
const char *exposition_counter_suffix(enum metric_kind kind);

struct node_metric_row {   /* of tbl/node_metrics.def, in order */
    enum metric_kind kind; /* METRIC_COUNTER or METRIC_GAUGE */
    const char *name, *help;
    const char *label;   /* one series for each "process" or "listener"; "": one */
    unsigned first_slot; /* of the processes it is shown for */
};
size_t node_metric_row_count(void);
const struct node_metric_row *node_metric_row(size_t i);

#endif
