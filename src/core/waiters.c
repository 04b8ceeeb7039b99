/* core/waiters.c - asking those who wait for room in the ring, a bounded number per turn. */
#include "core/waiters.h"

#define ASKED_PER_TURN 64
#define REFUSALS       8 /* then the ring is full for everybody, more or less */
#define GONE_PER_TURN  4096

void waiters_init(struct waiters *ws)
{
    list_init(&ws->light);
    list_init(&ws->bulk);
}

void waiter_init(struct waiter *w, enum waiter_answer (*ask)(struct waiter *w))
{
    list_init(&w->link);
    w->ask = ask;
}

void waiters_add(struct waiters *ws, struct waiter *w, bool bulk)
{
    if (waiter_waits(w))
        return;
    w->bulk = bulk;
    list_append(bulk ? &ws->bulk : &ws->light, &w->link);
}

void waiter_remove(struct waiter *w)
{
    list_remove(&w->link);
}

bool waiters_empty(const struct waiters *ws)
{
    return list_empty(&ws->light) && list_empty(&ws->bulk);
}

/* True when more of the list could go on at once. */
static bool list_turn(struct list *list, bool (*over)(void))
{
    struct list waiting, refused = LIST_INIT(refused);
    size_t asked = 0, refusals = 0, gone = 0;
    bool more = false;

    list_take(&waiting, list); /* who comes meanwhile waits for the next turn */
    while (!more && !list_empty(&waiting)) {
        struct waiter *w = LIST_ENTRY(list_pop(&waiting), struct waiter, link);
        enum waiter_answer answer = w->ask(w);

        /* It may be freed, or wait again, unless there was no room. */
        if (answer == WAITER_NO_ROOM)
            list_append(&refused, &w->link);
        gone += answer == WAITER_GONE;
        asked += answer != WAITER_GONE;
        refusals += answer == WAITER_NO_ROOM;
        if (refusals == REFUSALS)
            break;
        more =
            gone == GONE_PER_TURN || asked == ASKED_PER_TURN || (answer != WAITER_GONE && over());
    }
    more |= refusals == REFUSALS && refusals < asked;
    /* Those that were not asked stand in front of who has come meanwhile, who was
     * refused behind. */
    list_prepend_all(list, &waiting);
    while (!list_empty(&refused))
        list_append(list, list_pop(&refused));
    return more;
}

bool waiters_turn(struct waiters *ws, bool (*over)(void))
{
    bool more = !list_empty(&ws->light) && list_turn(&ws->light, over);

    if (list_empty(&ws->light) && !list_empty(&ws->bulk))
        more |= list_turn(&ws->bulk, over);
    return more;
}
