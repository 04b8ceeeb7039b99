/* net/reactor_drain.c - closing all connections, spread over a time, so that a fleet does not
 * reconnect all at once.
 *
 *   SPREAD  as many have been asked to finish as the elapsed share of the time says, in slices
 *   WAIT    all have been asked; they have config.close_timeout
 *   KILL    what is left is killed, in slices
 *
 * done() when the last is gone. Admin connections are asked and waited for as the others, but only
 * until KILL: they may be new, as their listener answers during a drain, and there may always be
 * more. */
#include "base/clock.h"
#include "base/config.h"
#include "net_internal.h"

#define DRAIN_SLICE  256  /* connections asked to finish per turn */
#define DRAIN_PLACES 4096 /* places of the array looked at per turn */
#define DRAIN_NAP_NS (UINT64_C(10) * 1000 * 1000)

enum drain_phase { DRAIN_OFF = 0, DRAIN_SPREAD, DRAIN_WAIT, DRAIN_KILL };

static struct {
    enum drain_phase phase;
    size_t cursor, total, visited;
    uint64_t started_ns, time_ns, grace_end_ns;
    void (*done)(void);
} drain;

static void drain_ask(struct conn *c, void *arg UNUSED)
{
    drain.visited++;
    if (conn_ops(c)->drain && !conn_finished(c))
        conn_ops(c)->drain(c);
    else
        conn_finish(c, CLOSE_DRAIN);
}

static void drain_kill(struct conn *c, void *arg UNUSED)
{
    if (!(c->flags & CONN_ADMIN))
        conn_kill(c, CLOSE_DRAIN);
}

static bool drain_over(void)
{
    if (drain.phase == DRAIN_KILL)
        return reactor->client_connections + reactor->refused == 0;
    return reactor->connections == 0;
}

/* How many should have been asked by now. */
static size_t drain_due(void)
{
    uint64_t elapsed = clock_ns() - drain.started_ns;

    if (elapsed >= drain.time_ns)
        return SIZE_MAX;
    return (size_t)((double)drain.total * ((double)elapsed / (double)drain.time_ns));
}

static void drain_spread(void)
{
    size_t due = drain_due(), start = drain.visited, places = DRAIN_PLACES;

    while (drain.visited < due && drain.visited - start < DRAIN_SLICE && places-- > 0)
        if (!reactor_scan(&drain.cursor, 1, drain_ask, NULL)) {
            drain.phase = DRAIN_WAIT;
            drain.grace_end_ns = clock_ns() + (uint64_t)config.close_timeout;
            return;
        }
    reactor_wake_within(drain.visited < due ? 0 : DRAIN_NAP_NS);
}

static void drain_wait(void)
{
    if (clock_ns() < drain.grace_end_ns) {
        reactor_wake_within(DRAIN_NAP_NS);
        return;
    }
    drain.phase = DRAIN_KILL;
    drain.cursor = 0;
}

static void drain_finish(void)
{
    void (*done)(void) = drain.done;

    drain_reset();
    if (done)
        done();
}

void drain_step(void)
{
    if (drain.phase != DRAIN_OFF && drain_over()) {
        drain_finish();
        return;
    }
    switch (drain.phase) {
    case DRAIN_OFF:
        break;
    case DRAIN_SPREAD:
        drain_spread();
        break;
    case DRAIN_WAIT:
        drain_wait();
        break;
    case DRAIN_KILL:
        /* Anew while somebody is left: no connection is safe because the cursor has passed it. */
        if (!reactor_scan(&drain.cursor, DRAIN_PLACES, drain_kill, NULL))
            drain.cursor = 0;
        reactor_wake_within(0);
        break;
    }
}

void drain_reset(void)
{
    drain.phase = DRAIN_OFF;
}

void reactor_drain(uint64_t time_ns, void (*done)(void))
{
    drain.phase = DRAIN_SPREAD;
    drain.cursor = drain.visited = 0;
    drain.total = reactor->connections;
    drain.started_ns = clock_ns();
    drain.time_ns = time_ns;
    drain.done = done;
    reactor->draining = true;
    reactor_wake_within(0);
}
