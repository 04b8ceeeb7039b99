/* net/listener_turn.c - who accepts from a socket that all workers accept from.
 *
 * The kernel wakes all of them; whoever is first takes what is there. So one that has more than its
 * share of the socket's connections stands back for a moment, in which those that have less take
 * what comes. When it is still there afterwards, and none of them has taken anything, they do not
 * move, whatever it looks like: then it takes one, and stands back again. */
#include <poll.h>

#include "base/clock.h"
#include "net_internal.h"

#define TURN_NS (5 * NS_PER_MS)
/* Over the mean by an eighth and this much is still a fair share: nobody stands back for a few. */
#define SHARE_SLACK 4

static bool over_share(uint64_t own, const struct listener_others *o)
{
    uint64_t mean = (o->serving_connections + own) / (o->serving + 1);

    return o->serving > 0 && own > mean + mean / 8 + SHARE_SLACK;
}

bool listener_stands_back(struct listener *l, const struct listener_others *o)
{
    bool waited = l->waits;

    l->waits = false;
    if (!over_share(
            atomic_load_explicit(&reactor->counts[l->index].connections, memory_order_relaxed),
            o) ||
        (waited && o->accepts == l->seen_accepts))
        return false;
    l->waits = true;
    l->seen_accepts = o->accepts;
    l->resume_ns = clock_ns() + TURN_NS;
    ev_io_stop(reactor->loop, &l->io);
    list_append(&reactor->paused, &l->link);
    return true;
}

void listener_turn_comes(struct listener *l)
{
    struct pollfd p = {.fd = l->io.fd, .events = POLLIN};

    l->waits = poll(&p, 1, 0) == 1;
}
