/* proc/master_wait.h - an HTTP exchange that waits until the master has done what its worker wishes. A worker numbers
 * its wishes and leaves them in its slot of shared memory; the master writes the number of the last one it has done.
 * One exchange waits at a time. */
#ifndef ROOST_PROC_MASTER_WAIT_H
#define ROOST_PROC_MASTER_WAIT_H

#include <stdatomic.h>

#include "proto/http.h"

struct master_wait {
    uint64_t exchange; /* that waits, or 0 */
    uint32_t wish;     /* the last one that was left */
};

/* Puts off the answer of x until the wish is done. abandoned (the client has gone) and overdue (it took too long; has
 * to answer) call master_wait_end. */
void master_wait_begin(struct master_wait *m, struct http_exchange *x, uint32_t wish,
                       void (*abandoned)(struct http_exchange *x),
                       void (*overdue)(struct http_exchange *x));

static inline void master_wait_end(struct master_wait *m)
{
    m->exchange = 0;
}

/* Ends the wait: the exchange, or NULL, when it has ended before. */
struct http_exchange *master_wait_take(struct master_wait *m);
/* In each turn, taken: the last wish that the master has done. The exchange that is to be answered now, or NULL. */
static inline struct http_exchange *master_wait_done(struct master_wait *m,
                                                     const _Atomic uint32_t *taken)
{
    return LIKELY(m->exchange == 0) || atomic_load(taken) != m->wish ? NULL : master_wait_take(m);
}

#endif
