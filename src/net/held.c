/* net/held.c - connections that are not read because the ring has no room for what they may
 * publish.
 *
 * Each has a waiter from a pool while it is held, so that an idle connection pays nothing for it.
 * Whoever is killed or goes on for another reason is found not to be held when it is asked. */
#include "net_internal.h"

struct held {
    struct waiter waiter;
    uint64_t id; /* of the connection */
};

/* Asks one held connection again, and reads it if it may. */
static enum waiter_answer held_ask(struct waiter *w)
{
    struct held *h = CONTAINER_OF(w, struct held, waiter);
    struct conn *c = conn_find(h->id);
    bool held = c != NULL && (c->hold & CONN_HOLD_RING);
    size_t max = held && c->hold == CONN_HOLD_RING ? conn_may_read(c) : 0;

    if (held && c->hold == CONN_HOLD_RING && max == 0)
        return WAITER_NO_ROOM;
    pool_put(&reactor->held, h);
    if (!held)
        return WAITER_GONE;
    conn_release_hold(c, CONN_HOLD_RING);
    if (max > 0) /* else it is asked when its other reasons are gone */
        conn_read(c, max);
    return WAITER_SERVED;
}

int held_add(struct conn *c)
{
    struct held *h = pool_get(&reactor->held);

    if (h == NULL)
        return -1;
    h->id = c->id;
    waiter_init(&h->waiter, held_ask);
    waiters_add(&reactor->waiters, &h->waiter, c->flags & CONN_BULK);
    return 0;
}

void held_init(void)
{
    waiters_init(&reactor->waiters);
    pool_init(&reactor->held, "held", sizeof(struct held), 0);
}

void held_fini(void)
{
    pool_fini(&reactor->held);
}

static bool input_is_over(void)
{
    return reactor->input.over;
}

bool held_turn(void)
{
    return waiters_turn(&reactor->waiters, input_is_over);
}
