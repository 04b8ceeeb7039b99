/* sample.h - watching the server while it is under load: /proc of its processes, its Prometheus
 * page, the kernel. */
#ifndef ROOSTLOAD_SAMPLE_H
#define ROOSTLOAD_SAMPLE_H

#include "options.h"

struct sample {                /* 0 where unknown */
    uint64_t at_ns;            /* CLOCK_MONOTONIC, when CPU and resident memory had been read */
    double cpu_seconds;        /* of all watched processes and those that ended; never goes down */
    uint64_t rss_bytes;        /* their resident memory */
    uint64_t private_bytes;    /* written and shared with nobody (smaps_rollup) */
    uint64_t tcp_memory_bytes; /* socket buffers of the whole machine (/proc/net/sockstat) */
    uint64_t slab_bytes;       /* kernel slab of the whole machine */
    unsigned processes;
};

/* Reads everything once. slow: private memory too (walks page tables). Blocks up to
 * SCRAPE_LIMIT_NS on --metrics. For one thread at a time; the clock too (clock_precise_ns). */
void sample_take(const struct options *o, bool slow, struct sample *out);
/* Is there what --pid and --metrics name? -1: err is a sentence. */
int sample_check(const struct options *o, char *err, size_t errcap) MUST_CHECK;
/* Adds cpu and resident memory of a Prometheus text to out. Exposed for tests. */
void sample_prometheus(struct str text, struct sample *out);

#endif
