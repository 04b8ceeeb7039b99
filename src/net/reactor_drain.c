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

static void drain_ask(struct conn *c, void *arg UNUSED)
{
    reactor->drain.visited++;
    if (conn_ops(c)->drain != NULL && !conn_finished(c))
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
    if (reactor->drain.phase == DRAIN_KILL)
        return reactor->client_connections + reactor->refused == 0;
    return reactor->connections == 0;
}

/* How many should have been asked by now. */
static size_t drain_due(void)
{
    uint64_t elapsed = clock_ns() - reactor->drain.started_ns;

    if (elapsed >= reactor->drain.time_ns)
        return SIZE_MAX;
    return (size_t)((double)reactor->drain.total *
                    ((double)elapsed / (double)reactor->drain.time_ns));
}

static void drain_spread(void)
{
    size_t due = drain_due(), start = reactor->drain.visited, places = DRAIN_PLACES;

    while (reactor->drain.visited < due && reactor->drain.visited - start < DRAIN_SLICE &&
           places-- > 0)
        if (!reactor_scan(&reactor->drain.cursor, 1, drain_ask, NULL)) {
            reactor->drain.phase = DRAIN_WAIT;
            reactor->drain.grace_end_ns = clock_ns() + (uint64_t)config.close_timeout;
            return;
        }
    reactor_wake_within(reactor->drain.visited < due ? 0 : DRAIN_NAP_NS);
}

static void drain_wait(void)
{
    if (clock_ns() < reactor->drain.grace_end_ns) {
        reactor_wake_within(DRAIN_NAP_NS);
        return;
    }
    reactor->drain.phase = DRAIN_KILL;
    reactor->drain.cursor = 0;
}

static void drain_finish(void)
{
    void (*done)(void) = reactor->drain.done;

    drain_reset();
    if (done != NULL)
        done();
}

void drain_step(void)
{
    if (reactor->drain.phase != DRAIN_OFF && drain_over()) {
        drain_finish();
        return;
    }
    switch (reactor->drain.phase) {
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
        if (!reactor_scan(&reactor->drain.cursor, DRAIN_PLACES, drain_kill, NULL))
            reactor->drain.cursor = 0;
        reactor_wake_within(0);
        break;
    }
}

void drain_reset(void)
{
    reactor->drain.phase = DRAIN_OFF;
}

void reactor_drain(uint64_t time_ns, void (*done)(void))
{
    reactor->drain.phase = DRAIN_SPREAD;
    reactor->drain.cursor = reactor->drain.visited = 0;
    reactor->drain.total = reactor->connections;
    reactor->drain.started_ns = clock_ns();
    reactor->drain.time_ns = time_ns;
    reactor->drain.done = done;
    reactor->draining = true;
    reactor_wake_within(0);
}
