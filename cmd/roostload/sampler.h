/* sampler.h - takes samples beside the coordinator, in its one thread.
 *
 * A page that answers late and the page tables of a big server take longer than the clock of the
 * phases, the view and a signal can wait. One sample is taken at a time; what is asked for
 * meanwhile comes next. Only the coordinator calls these. */
#ifndef ROOSTLOAD_SAMPLER_H
#define ROOSTLOAD_SAMPLER_H

#include "sample.h"

enum sampler_kind { /* in the order in which they are taken when several wait */
                    SAMPLER_RAMPED = 0,
                    SAMPLER_END,
                    SAMPLER_SECOND, /* without private memory */
                    SAMPLER_NR
};

/* Starts the thread, after the fork of the load processes. o: borrowed until the program ends.
 * -1 with errno. */
int sampler_start(const struct options *o) MUST_CHECK;
/* One that waits already is that one. */
void sampler_ask(enum sampler_kind kind);
/* Asked for and not there yet? */
bool sampler_pending(enum sampler_kind kind);
/* True: *out is one that has not been fetched before. */
bool sampler_fetch(enum sampler_kind kind, struct sample *out);

#endif
