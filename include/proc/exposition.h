/* proc/exposition.h - all metrics as text: Prometheus 0.0.4 or OpenMetrics 1.0.0.
 *
 * Histograms show one bucket per 1, 2, 5 of each decade within the range that makes sense for them,
 * and +Inf. Process metrics (roost_process_cpu_seconds_total, roost_process_resident_memory_bytes,
 * roost_process_open_fds, roost_process_max_fds, roost_process_start_time_seconds,
 * roost_process_restarts_total, roost_process_up) carry process="worker0" and the like;
 * roost_build_info, roost_workers, roost_limit_... as gauges. */
#ifndef ROOST_PROC_EXPOSITION_H
#define ROOST_PROC_EXPOSITION_H

#include "base/buf.h"
#include "base/metrics.h"

enum exposition_format { EXPOSITION_PROMETHEUS = 0, EXPOSITION_OPENMETRICS };
/* Which one an Accept field asks for. */
enum exposition_format exposition_negotiate(struct str accept);
const char *exposition_content_type(enum exposition_format f);
/* The table's metrics from a sum of slots. */
int exposition_write_metrics(const struct metrics *sum, enum exposition_format f,
                             struct buf *out) MUST_CHECK;
/* Per-process and node metrics, read from shm and /proc; and the end mark of OpenMetrics. */
int exposition_write_processes(enum exposition_format f, struct buf *out) MUST_CHECK;
int exposition_write_end(enum exposition_format f, struct buf *out) MUST_CHECK;
/* Resident bytes and CPU seconds of a process from /proc. 0 when unreadable. */
struct process_usage {
    uint64_t rss_bytes;
    double cpu_seconds;
};
void process_usage_read(int pid, struct process_usage *out);

#endif
