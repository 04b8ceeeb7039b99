/* due.h - who is due when: a heap of users by time, in which each stands at most once.
 *
 * All operations but dues_init() are O(log n) or better and never fail. Users are numbers below
 * the one given to dues_init(). */
#ifndef ROOSTLOAD_DUE_H
#define ROOSTLOAD_DUE_H

#include "base/common.h"

struct due {
    uint64_t ns; /* CLOCK_MONOTONIC */
    uint32_t user;
};

struct dues {
    struct due *heap; /* owned; the earliest first */
    uint32_t *place;  /* owned; by user: its index in heap + 1, 0: not there */
    uint32_t n;
};

/* -1: no memory. Only what is used of the arrays is ever touched. */
int dues_init(struct dues *d, uint64_t users) MUST_CHECK;
void dues_fini(struct dues *d);
/* Adds the user, or gives it another time. */
void dues_set(struct dues *d, uint32_t user, uint64_t ns);
/* No effect when it is not there. */
void dues_remove(struct dues *d, uint32_t user);
/* UINT64_MAX: it is not there. */
uint64_t dues_of(const struct dues *d, uint32_t user);

/* The earliest time; UINT64_MAX: there is nobody. */
static inline uint64_t dues_next(const struct dues *d)
{
    return d->n > 0 ? d->heap[0].ns : UINT64_MAX;
}

/* Whose time that is; there must be somebody. */
static inline uint32_t dues_first(const struct dues *d)
{
    return d->heap[0].user;
}

#endif
