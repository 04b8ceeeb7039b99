/* base/wheel.c - hashed timer wheel. Slot = tick modulo WHEEL_SLOTS. */
#include "base/wheel.h"

static uint32_t tick_of(uint64_t ns)
{
    return (uint32_t)(ns / WHEEL_TICK_NS);
}

void wheel_init(struct wheel *w, uint64_t now_ns)
{
    for (size_t i = 0; i < WHEEL_SLOTS; i++)
        list_init(&w->slots[i]);
    w->now = tick_of(now_ns);
    w->armed = 0;
}

void wheel_entry_init(struct wheel_entry *e)
{
    list_init(&e->link);
    e->tick = 0;
}

bool wheel_armed(const struct wheel_entry *e)
{
    return e->link.next != &e->link;
}

void wheel_disarm(struct wheel *w, struct wheel_entry *e)
{
    if (!wheel_armed(e))
        return;
    list_remove(&e->link);
    w->armed--;
}

void wheel_arm(struct wheel *w, struct wheel_entry *e, uint64_t now_ns, uint64_t delay_ns)
{
    uint64_t due = now_ns + delay_ns;
    uint32_t tick;

    if (due < now_ns)
        due = UINT64_MAX - WHEEL_TICK_NS;
    tick = tick_of(due + WHEEL_TICK_NS - 1); /* rounded up: never early */
    /* A tick that has been handled would be looked at only after a whole rotation. */
    if ((int32_t)(tick - w->now) <= 0)
        tick = w->now + 1;
    if (wheel_armed(e))
        list_remove(&e->link);
    else
        w->armed++;
    e->tick = tick;
    list_append(&w->slots[tick % WHEEL_SLOTS], &e->link);
}

/* Fires what is due in one slot, at most *max entries. What is not due goes back in its order. */
static bool fire_slot(struct wheel *w, struct list *slot, uint32_t upto, size_t *max,
                      void (*fire)(struct wheel_entry *e, void *arg), void *arg)
{
    struct list todo, *n;

    list_init(&todo);
    list_take(&todo, slot);
    while (!list_empty(&todo)) {
        struct wheel_entry *e = LIST_ENTRY(todo.next, struct wheel_entry, link);

        if ((int32_t)(upto - e->tick) < 0) {
            n = list_pop(&todo);
            list_append(slot, n);
            continue;
        }
        if (*max == 0) {
            while ((n = list_pop(&todo)) != NULL)
                list_append(slot, n);
            return true;
        }
        (*max)--;
        wheel_disarm(w, e);
        fire(e, arg);
    }
    return false;
}

bool wheel_advance(struct wheel *w, uint64_t now_ns, size_t max,
                   void (*fire)(struct wheel_entry *e, void *arg), void *arg)
{
    uint32_t target = tick_of(now_ns);

    if (w->armed == 0 && (int32_t)(target - w->now) > 0)
        w->now = target;
    /* After a long sleep one rotation visits every slot, whatever the distance. */
    if ((int32_t)(target - w->now) > WHEEL_SLOTS)
        w->now = target - WHEEL_SLOTS;
    while ((int32_t)(target - w->now) > 0) {
        uint32_t tick = w->now + 1;

        if (fire_slot(w, &w->slots[tick % WHEEL_SLOTS], target, &max, fire, arg))
            return true;
        w->now = tick;
    }
    return false;
}

uint64_t wheel_next_ns(const struct wheel *w, uint64_t now_ns, uint64_t most_ns)
{
    uint64_t due = ((uint64_t)w->now + 1) * WHEEL_TICK_NS, end = now_ns + most_ns;

    if (w->armed == 0)
        return most_ns;
    for (uint32_t i = 1; i <= WHEEL_SLOTS && due < end; i++, due += WHEEL_TICK_NS)
        if (!list_empty(&w->slots[(w->now + i) % WHEEL_SLOTS]))
            return due > now_ns ? due - now_ns : 0;
    return most_ns;
}
