/* due.c - see due.h. */
#include "due.h"

int dues_init(struct dues *d, uint64_t users)
{
    *d = (struct dues){.heap = calloc((size_t)users, sizeof(*d->heap)),
                       .place = calloc((size_t)users, sizeof(*d->place))};
    if (d->heap != NULL && d->place != NULL)
        return 0;
    dues_fini(d);
    return -1;
}

void dues_fini(struct dues *d)
{
    free(d->heap);
    free(d->place);
    *d = (struct dues){0};
}

static void put(struct dues *d, uint32_t at, struct due e)
{
    d->heap[at] = e;
    d->place[e.user] = at + 1;
}

/* Finds the place of e, for which the one at `at` is free. */
static void settle(struct dues *d, uint32_t at, struct due e)
{
    while (at > 0 && e.ns < d->heap[(at - 1) / 2].ns) {
        put(d, at, d->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (uint32_t child; (child = 2 * at + 1) < d->n; at = child) {
        if (child + 1 < d->n && d->heap[child + 1].ns < d->heap[child].ns)
            child++;
        if (e.ns <= d->heap[child].ns)
            break;
        put(d, at, d->heap[child]);
    }
    put(d, at, e);
}

void dues_set(struct dues *d, uint32_t user, uint64_t ns)
{
    uint32_t at = d->place[user] != 0 ? d->place[user] - 1 : d->n++;

    settle(d, at, (struct due){.ns = ns, .user = user});
}

void dues_remove(struct dues *d, uint32_t user)
{
    uint32_t at = d->place[user];

    if (at == 0)
        return;
    d->place[user] = 0;
    d->n--;
    if (--at < d->n)
        settle(d, at, d->heap[d->n]);
}

uint64_t dues_of(const struct dues *d, uint32_t user)
{
    return d->place[user] != 0 ? d->heap[d->place[user] - 1].ns : UINT64_MAX;
}
