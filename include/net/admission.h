/* net/admission.h - a limit on connections being reached, and there being room again.
 *
 * Refusals at a full node are not lines of their own: one says that it has filled up, one a minute
 * how many were refused since while it stays so, one that there is room again. The node's limit is
 * watched by the master, from what each worker notes; a worker's own limit by itself. */
#ifndef ROOST_NET_ADMISSION_H
#define ROOST_NET_ADMISSION_H

#include <stdatomic.h>

#include "base/common.h"

struct admission_refused {    /* what one worker has refused for want of room */
    _Atomic uint64_t n;       /* ever */
    _Atomic uint64_t last_ns; /* clock_ns() of the last one */
};

struct admission_watch { /* zeroed: there is room */
    uint64_t since_ns;   /* 0: there is room */
    uint64_t said_ns;    /* the last line */
    uint64_t seen, seen_before,
        seen_said; /* refusals: at the last look, before since_ns, said_ns */
};

struct admission {                    /* a reactor's; zeroed at first */
    struct admission_refused refused; /* at this worker's own limit */
    struct admission_watch watch;     /* over it */
    uint32_t counted;                 /* listeners whose addresses are, for a limit: bits */
    bool recounting;                  /* those that were there before that: */
    size_t cursor;
};

struct admission_limit { /* what is watched */
    const char *of;      /* "node", "worker" */
    const char *fix;
    uint64_t connections, max;
};

/* About once a second: refused and last_ns tell of the refusals so far. */
void admission_look(struct admission_watch *w, const struct admission_limit *limit,
                    uint64_t refused, uint64_t last_ns);
/* In a worker, a few times a second: the same for its own limit (descriptors), and what a reload
 * has left to do. */
void admission_tick(void);

#endif
