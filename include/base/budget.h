/* base/budget.h - memory that many holders share, each within its share, and who has to go when it
 * is spent.
 *
 * A holder is whoever keeps incomplete input; it belongs to a key (the address of its peer). Three
 * bounds: what one holder may hold, what all of a key may, what all may. When one is exceeded,
 * budget_excess() names who goes: of those within the bound the one with most bytes times age, so
 * that neither a large message that gets on nor a small old one pays for those that take and wait.
 *
 * Holders stand in lists by size class, so a choice looks at one holder per class: within a class
 * sizes differ by less than four, and the first has stood there longest. */
#ifndef ROOST_BASE_BUDGET_H
#define ROOST_BASE_BUDGET_H

#include "base/hash.h"
#include "base/list.h"
#include "base/pool.h"

#define BUDGET_KEY_SIZE 16
#define BUDGET_CLASSES  10 /* below 256 bytes, below 1 KiB, ... from 16 MiB */

struct budget_share { /* what is held together, and by whom */
    struct list of[BUDGET_CLASSES];
    uint64_t bytes;
};

struct budget {
    uint64_t max, key_max, holder_max;
    struct budget_share all;
    struct htab keys;
    struct pool key_pool;
};

struct budget_key;
struct holder {                 /* embedded in what holds; zeroed = holds nothing */
    struct budget *budget;      /* borrowed while something is held, else NULL */
    struct budget_key *key;     /* shared */
    struct list in_all, in_key; /* by size class */
    void *owner;                /* the caller's */
    uint64_t bytes, since_ns;   /* since something is held */
    uint8_t size_class;
    bool pinned; /* is not to go: counts, and stands in no list */
};

void budget_init(struct budget *b, const char *name);
/* Holders must have left. */
void budget_fini(struct budget *b);
/* per_key: may a key have less than all? largest: what a single holder must be able to hold if max
 * allows it at all. */
void budget_set(struct budget *b, uint64_t max, uint64_t largest, bool per_key);
/* h holds so many bytes now. -1: no memory to keep the account; h holds nothing for it. */
int budget_hold(struct budget *b, struct holder *h, const uint8_t key[BUDGET_KEY_SIZE],
                uint64_t bytes) MUST_CHECK;
/* h is not to go from now on, until it has left. */
void budget_pin(struct holder *h);
/* h holds so many bytes, which are no more than before, from now on, and may go again. */
void budget_renew(struct holder *h, uint64_t bytes);
/* Nothing is held any more. Safe on a zeroed holder and to repeat. */
void budget_leave(struct holder *h);
/* Of all that may go, who would have to; NULL: nobody holds anything. */
struct holder *budget_worst(struct budget *b);
/* NULL: last, which was the last to change, exceeds nothing. Else who is to leave, and in *bound
 * the name of what is exceeded ("connection", "address", "all"); last itself when nobody else can.
 */
struct holder *budget_excess(struct budget *b, struct holder *last, const char **bound) MUST_CHECK;

#endif
