/* failif.h - thresholds of --fail-if: NAME[.pQ|.max|.count] OP VALUE[unit].
 *
 * NAME is a counter or a latency of load_metrics.def, or "lost" (= gaps + connection_lost), or
 * nothing before .p/max: then the scenario's main latency is meant. OP: > >= < <=. */
#ifndef ROOSTLOAD_FAILIF_H
#define ROOSTLOAD_FAILIF_H

#include "shared.h"

/* Main latency of a scenario, by load_metrics.def's name. */
const char *failif_main_latency(enum scenario s);
const struct hdr *failif_latency(const struct load_metrics *m, struct str name);
/* 1 when true, 0 when false, -1 with a sentence when it cannot be understood. value: what was
 * compared. */
int failif_check(struct str expression, enum scenario s, const struct load_metrics *m,
                 double *value, char *err, size_t errcap) MUST_CHECK;

#endif
