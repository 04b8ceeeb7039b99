/* base/trace_probe.c - the probes roost:<event>, from tbl/trace.def.
 *
 * All have the same arguments: arg0 the connection's id, arg1 the text, ended by a zero, arg2 to arg5 the numbers:
 * bpftrace has six on x86-64. A probe stands here and not where it is called, so that it costs nothing there but the gate, which is
 * its semaphore. */
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>

#include "base/trace.h"

/* In the file, as tools that look there demand. */
#define X(name, ...) union trace_gate roost_##name##_semaphore __attribute__((section(".probes")));
#include "tbl/trace.def"

void trace_probe(enum trace_event e, uint64_t conn, struct str text,
                 const uint64_t field[TRACE_FIELDS])
{
    static char ended[TRACE_TEXT_MAX + 1];
    size_t n = MIN(text.n, sizeof(ended) - 1);

    if (n > 0)
        memcpy(ended, text.p, n);
    ended[n] = '\0';
    switch (e) {
#define X(name, ...)                                                                               \
    case TRACE_##name:                                                                             \
        STAP_PROBE6(roost, name, conn, ended, field[0], field[1], field[2], field[3]);             \
        return;
#include "tbl/trace.def"
    case TRACE_EVENT_NR:
        return;
    }
}
