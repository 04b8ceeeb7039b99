/* failif.h - thresholds of --fail-if: NAME[.pQ|.max|.count] OP VALUE[unit].
 *
 * NAME is a counter or a latency of load_metrics.def, or "lost" (= gaps + connection_lost +
 * server_closed + protocol_errors: messages, and connections that the server did not keep), or
 * "storm_recovery" (from the drop until all were back), or
 * nothing before .p/max: then the scenario's main latency is meant. OP: > >= < <=. Times need a
 * unit, counts have none. */
#ifndef ROOSTLOAD_FAILIF_H
#define ROOSTLOAD_FAILIF_H

#include "shared.h"

/* Main latency of a scenario, by load_metrics.def's name. */
const char *failif_main_latency(enum scenario s);
const struct hdr *failif_latency(const struct load_metrics *m, struct str name);

struct failif {      /* what came of an expression */
    bool fails;      /* it is true, or there was nothing to compare */
    bool time;       /* value is in ns */
    bool unmeasured; /* a latency without a sample, a storm from which not everybody came back */
    double value;    /* what was compared */
};
/* storm_recovery_s < 0: not everybody was back. -1: the expression cannot be understood; err is a
 * sentence. */
int failif_check(struct str expression, enum scenario s, const struct load_metrics *m,
                 double storm_recovery_s, struct failif *out, char *err, size_t errcap) MUST_CHECK;

#endif
