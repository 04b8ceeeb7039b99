/* core/waiters.h - who waits for room in the ring to the hub.
 *
 * Whatever cannot go on because the ring is full (a connection whose input may be publications, an
 * API call, input that came behind a request) waits here and is asked again, oldest first, in step
 * 3 of the turn. Those that bring little are asked before those that bring much, which get no room
 * while one of them waits: a publication does not wait for a flood. */
#ifndef ROOST_CORE_WAITERS_H
#define ROOST_CORE_WAITERS_H

#include "base/list.h"

enum waiter_answer {
    WAITER_GONE = 0, /* it does not wait any more, and did not ask for room */
    WAITER_SERVED,   /* it could go on; it may have been added again */
    WAITER_NO_ROOM   /* it waits on: asked again after all others */
};

struct waiter { /* embedded in what waits; zeroed + waiter_init() */
    struct list link;
    /* It has been taken out before this is called. */
    enum waiter_answer (*ask)(struct waiter *w);
    bool bulk; /* it brings much */
};

struct waiters {
    struct list light, bulk;
};

void waiters_init(struct waiters *ws);
void waiter_init(struct waiter *w, enum waiter_answer (*ask)(struct waiter *w));
/* To the end of those that wait; keeps its place when it waits already. */
void waiters_add(struct waiters *ws, struct waiter *w, bool bulk);
/* Safe when it does not wait. */
void waiter_remove(struct waiter *w);
static inline bool waiter_waits(const struct waiter *w)
{
    return list_linked(&w->link);
}
/* Asks a bounded number of them, each once; over() is asked after each that was served and ends the
 * turn. True when more could go on at once. */
bool waiters_turn(struct waiters *ws, bool (*over)(void));
bool waiters_empty(const struct waiters *ws);

#endif
