/* proc/egress_internal.h - what egress.c and egress_fetch.c share. */
#ifndef ROOST_PROC_EGRESS_INTERNAL_H
#define ROOST_PROC_EGRESS_INTERNAL_H

#include <ev.h>

#include "base/buf.h"

/* One GET at a time: 200, within ten seconds, at most `max` bytes, without redirects; TLS is
 * verified. Zeroed: idle. */
struct fetch {
    void *easy; /* owned (CURL); NULL: idle */
    char detail[256];
    struct buf body; /* owned, of the last one */
    size_t max;
    bool too_large;
    /* From the loop. why: NULL when the body is there, else a sentence that is good until then. */
    void (*done)(struct fetch *f, const char *why);
};

/* Once, in the process that fetches. -1: no memory. */
int fetch_init(struct ev_loop *loop) MUST_CHECK;
/* ca: PEM of whom to trust; empty: the system's. f->done and f->max are set. -1: no memory, nothing has begun. */
int fetch_start(struct fetch *f, const char *url, struct str ca) MUST_CHECK;
void fetch_cancel(struct fetch *f);
static inline bool fetch_busy(const struct fetch *f)
{
    return f->easy != NULL;
}

#endif
