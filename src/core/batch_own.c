/* core/batch_own.c - which items of a batch came from a connection.
 *
 * A subscriber that does not want its own publications asks; most have none in the batch. Chains by
 * hash, made when the first one asks. A short batch, or one that finds no memory for them, is
 * searched from its beginning. */
#include "core/batch.h"

#include <assert.h>

#define SHORT 16 /* items that are searched as fast as a chain is found */

struct batch_index {
    unsigned bits;    /* of the hash */
    uint32_t *next;   /* per item, in the same allocation: the one behind it in its chain */
    uint32_t first[]; /* per hash; nitems ends a chain */
};

void batch_index_free(struct batch_index *x)
{
    free(x);
}

static size_t hash(const struct batch_index *x, uint16_t source, uint64_t token)
{
    return (size_t)((token ^ (uint64_t)source << 48) * UINT64_C(0x9e3779b97f4a7c15) >>
                    (64 - x->bits));
}

static struct batch_index *index_new(const struct batch *b)
{
    unsigned bits = 1;
    struct batch_index *x;
    size_t n;

    while (bits < 31 && (UINT32_C(1) << bits) < b->nitems)
        bits++;
    n = (size_t)1 << bits;
    x = malloc(sizeof(*x) + (n + b->nitems) * sizeof(x->first[0]));
    if (x == NULL)
        return NULL;
    x->bits = bits;
    x->next = x->first + n;
    for (size_t i = 0; i < n; i++)
        x->first[i] = b->nitems;
    for (uint32_t i = b->nitems; i-- > 0;) { /* backwards: a chain's items are in their order */
        size_t h = hash(x, b->items[i].source, b->items[i].token);

        x->next[i] = x->first[h];
        x->first[h] = i;
    }
    return x;
}

static bool is_from(const struct batch_item *item, uint16_t source, uint8_t asker, uint64_t token)
{
    return item->token == token && item->source == source && item->asker == asker;
}

/* The first one from i on: in i's chain, if there are chains. */
static uint32_t search(const struct batch *b, uint32_t i, uint16_t source, uint8_t asker,
                       uint64_t token)
{
    while (i < b->nitems && !is_from(&b->items[i], source, asker, token))
        i = b->index != NULL ? b->index->next[i] : i + 1;
    return i;
}

uint32_t batch_own_first(struct batch *b, uint16_t source, uint8_t asker, uint64_t token)
{
    assert(b->sealed);
    if (b->index == NULL && b->nitems > SHORT)
        b->index = index_new(b);
    return search(b, b->index != NULL ? b->index->first[hash(b->index, source, token)] : 0, source,
                  asker, token);
}

uint32_t batch_own_next(const struct batch *b, uint32_t i)
{
    return search(b, b->index != NULL ? b->index->next[i] : i + 1, b->items[i].source,
                  b->items[i].asker, b->items[i].token);
}
