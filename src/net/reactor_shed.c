/* net/reactor_shed.c - fewer clients, while the process stays: the order comes from above, again and
 * again, with a number that falls (proc/drain.h).
 *
 * Who has been asked is marked and not asked again; it counts as one that stays no more, though it
 * takes its time to end. */
#include "base/config.h"
#include "net_internal.h"

#define SHED_SLICE  256  /* connections asked to go per turn */
#define SHED_PLACES 4096 /* places of the array looked at per turn */

static void shed_ask(struct conn *c, void *arg)
{
    size_t *left = arg;

    if ((c->flags & (CONN_ADMIN | CONN_REFUSED | CONN_LEAVING)) || *left == 0)
        return;
    (*left)--;
    c->flags |= CONN_LEAVING;
    reactor->shed.leaving++;
    if (conn_finished(c))
        return;
    if (conn_ops(c)->drain != NULL)
        conn_ops(c)->drain(c);
    else
        conn_finish(c, CLOSE_DRAIN);
}

void shed_forget(struct conn *c)
{
    if (!(c->flags & CONN_LEAVING))
        return;
    c->flags &= (uint16_t)~CONN_LEAVING;
    reactor->shed.leaving--;
}

/* Behind the reaping, so that nobody is counted who is dead already. */
void shed_step(void)
{
    struct shed *s = &reactor->shed;
    size_t left, places = SHED_PLACES;

    if (reactor->draining || reactor_staying() <= s->most || !list_empty(&reactor->condemned))
        return;
    left = MIN(reactor_staying() - s->most, (size_t)SHED_SLICE);
    for (; left > 0 && places > 0; places--)
        if (!reactor_scan(&s->cursor, 1, shed_ask, &left))
            s->cursor = 0;
    if (reactor_staying() > s->most)
        reactor_wake_within(0);
}

void reactor_shed(bool on, size_t most)
{
    reactor->shed.on = on;
    reactor->shed.most = most;
    if (on && reactor_staying() > most)
        reactor_wake_within(0);
}
