/* net/held.c - step 3 of the turn: connections that the ring's fullness keeps from being read are
 * asked again, oldest first.
 *
 * Those that say little (net/input.c) are asked before those that say much, which get no room while
 * one of them waits: a publication does not wait for a flood.
 *
 * The queues hold ids, so that an idle connection pays nothing for it. Whoever is killed or goes on
 * for another reason stays in it until its turn comes, and is then found not to be held. */
#include "net_internal.h"

#define HELD_PER_TURN 64
#define HELD_REFUSALS 8 /* then the ring is full for everybody, more or less */
#define GONE_PER_TURN 4096
#define IDS_MIN       64

/* Doubles the queue and makes it start at 0. */
static int ids_grow(struct ids *h)
{
    size_t cap = MAX(h->cap * 2, (size_t)IDS_MIN);
    uint64_t *ids = malloc(cap * sizeof(*ids));

    if (!ids)
        return -1;
    for (size_t i = 0; i < h->n; i++)
        ids[i] = h->ids[(h->head + i) & (h->cap - 1)];
    free(h->ids);
    h->ids = ids;
    h->cap = cap;
    h->head = 0;
    return 0;
}

int ids_push(struct ids *h, uint64_t id)
{
    if (h->n == h->cap && ids_grow(h) == -1)
        return -1;
    h->ids[(h->head + h->n++) & (h->cap - 1)] = id;
    return 0;
}

uint64_t ids_pop(struct ids *h)
{
    uint64_t id = h->ids[h->head];

    h->head = (h->head + 1) & (h->cap - 1);
    h->n--;
    return id;
}

/* Asks one held connection again, and reads it if it may. False: it stays held. */
static bool held_ask(struct ids *queue, struct conn *c)
{
    size_t max = c->hold == CONN_HOLD_RING ? conn_may_read(c) : 0;

    if (c->hold == CONN_HOLD_RING && max == 0) {
        (void)!ids_push(queue, c->id); /* there is room: it has just been popped */
        return false;
    }
    conn_release_hold(c, CONN_HOLD_RING);
    if (max > 0) /* else it is asked when its other reasons are gone */
        conn_read(c, max);
    return true;
}

struct ids *held_queue(const struct conn *c)
{
    return c->flags & CONN_BULK ? &reactor.held_bulk : &reactor.held;
}

/* True when more of the queue could go on at once. */
static bool queue_turn(struct ids *queue)
{
    size_t asked = 0, refusals = 0, gone = 0, waiting = queue->n; /* each is asked once */

    while (asked < HELD_PER_TURN && refusals < HELD_REFUSALS && gone < GONE_PER_TURN) {
        struct conn *c;

        if (waiting-- == 0)
            return false;
        c = conn_find(ids_pop(queue));
        if (!c || !(c->hold & CONN_HOLD_RING)) {
            gone++;
            continue;
        }
        asked++;
        if (!held_ask(queue, c))
            refusals++;
        if (reactor.input.over)
            return true;
    }
    return refusals < asked || gone == GONE_PER_TURN;
}

bool held_turn(void)
{
    bool more = queue_turn(&reactor.held);

    if (reactor.held.n == 0)
        more |= queue_turn(&reactor.held_bulk);
    return more;
}
