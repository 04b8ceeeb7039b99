/* net/ids.c - a queue of connections' ids: whoever ends meanwhile stays in it until its turn comes,
 * so that a connection needs no place of its own in any queue. */
#include "net_internal.h"

#define IDS_MIN 64

/* Doubles the queue and makes it start at 0. */
static int ids_grow(struct ids *h)
{
    size_t cap = MAX(h->cap * 2, (size_t)IDS_MIN);
    uint64_t *ids = malloc(cap * sizeof(*ids));

    if (ids == NULL)
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
