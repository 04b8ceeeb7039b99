/* base/wheel.h - hashed timer wheel: many deadlines, one timer.
 *
 * Coarse (WHEEL_TICK_NS), never early, late by at most one tick plus the turn. An entry with a
 * deadline beyond one rotation stays in its slot and is looked at once per rotation. */
#ifndef ROOST_BASE_WHEEL_H
#define ROOST_BASE_WHEEL_H

#include "base/list.h"

#define WHEEL_SLOTS   512
#define WHEEL_TICK_NS (UINT64_C(100) * 1000 * 1000)

struct wheel_entry {
    struct list link; /* unlinked = not armed */
    uint32_t tick;    /* absolute, wraps after 13 years */
};

struct wheel {
    struct list slots[WHEEL_SLOTS];
    uint32_t now; /* last tick handled */
    size_t armed; /* entries */
};

void wheel_init(struct wheel *w, uint64_t now_ns);
void wheel_entry_init(struct wheel_entry *e);
/* (Re)arms to fire at now + delay_ns, rounded up. */
void wheel_arm(struct wheel *w, struct wheel_entry *e, uint64_t now_ns, uint64_t delay_ns);
void wheel_disarm(struct wheel *w, struct wheel_entry *e);
bool wheel_armed(const struct wheel_entry *e);
/* Calls fire for every entry that is due, disarmed first; fire may arm or disarm any entry. At most
 * max entries are fired; returns true when due entries remain (call again next turn). */
bool wheel_advance(struct wheel *w, uint64_t now_ns, size_t max,
                   void (*fire)(struct wheel_entry *e, void *arg), void *arg);
/* Nanoseconds until the next armed slot must be looked at, at most most_ns: looks no further. */
uint64_t wheel_next_ns(const struct wheel *w, uint64_t now_ns, uint64_t most_ns);

#endif
