/* core/hub_channel.c - channels, and which workers are interested in them.
 *
 * A channel is made by the first SUBSCRIBE and goes with the last interest, or after it has
 * lingered: then whoever comes back in time finds the same epoch. */
#include "hub_internal.h"

#include "base/clock.h"
#include "base/metrics.h"

_Static_assert(sizeof(struct interest) == 16, "a publication walks these");

static bool name_equal(const struct htab_node *node, const void *key)
{
    const struct hub_channel *c = CONTAINER_OF(node, struct hub_channel, node);

    return str_equal((struct str){.p = c->name, .n = c->name_len}, *(const struct str *)key);
}

struct hub_channel *hub_find(struct hub *h, struct str name)
{
    struct htab_node *node = htab_find(&h->channels, hash_str(name), name_equal, &name);

    return node != NULL ? CONTAINER_OF(node, struct hub_channel, node) : NULL;
}

struct hub_channel *hub_channel_new(struct hub *h, struct str name)
{
    struct hub_channel *c = calloc(1, sizeof(*c) + name.n);

    if (c == NULL)
        return NULL;
    c->cap = 1;
    c->name_len = (uint8_t)name.n;
    memcpy(c->name, name.p, name.n);
    c->node.hash = hash_str(name);
    if (htab_insert(&h->channels, &c->node) == -1) {
        free(c);
        return NULL;
    }
    METRIC_ADD(hub_channels, 1);
    return c;
}

struct str hub_channel_name(const struct hub_channel *c)
{
    return (struct str){.p = c->name, .n = c->name_len};
}

void hub_channel_free(struct hub *h, struct hub_channel *c)
{
    if (c->subscribed != HUB_NOT_SUBSCRIBED)
        h->engine->ops->unsubscribe(h->engine, &c->engine, hub_channel_name(c));
    if (c->lingering != NULL) {
        list_remove(&c->lingering->link);
        free(c->lingering);
    }
    htab_remove(&h->channels, &c->node);
    METRIC_ADD(hub_channels, -1);
    if (c->cap > 1)
        free(c->many);
    free(c);
}

/* Keeps the channel, with its place in the engine's order. -1: it is not to be kept, or
 * no memory. */
static int linger(struct hub *h, struct hub_channel *c)
{
    if (h->limits.linger_ns == 0 || c->subscribed != HUB_SUBSCRIBED)
        return -1;
    c->lingering = malloc(sizeof(*c->lingering));
    if (c->lingering == NULL)
        return -1;
    c->lingering->channel = c;
    c->lingering->until_ns = clock_ns() + h->limits.linger_ns;
    list_append(&h->lingering, &c->lingering->link);
    return 0;
}

void hub_channel_prune(struct hub *h, struct hub_channel *c)
{
    if (c->n == 0 && c->lingering == NULL && linger(h, c) == -1)
        hub_channel_free(h, c);
}

bool hub_linger_run(struct hub *h, size_t *budget)
{
    uint64_t now = clock_ns();

    for (; !list_empty(&h->lingering); (*budget)--) {
        struct lingering *l = LIST_ENTRY(h->lingering.next, struct lingering, link);

        /* A reload may have shortened the time: what waits behind a longer one waits with it. */
        if (now < l->until_ns)
            return false;
        if (*budget == 0)
            return true;
        hub_channel_free(h, l->channel);
    }
    return false;
}

struct interest *hub_interest_find(struct hub *h, struct hub_channel *c, unsigned worker)
{
    struct interest *list = hub_interests(c);

    for (unsigned i = 0; i < c->n; i++) {
        if (list[i].worker == worker && !hub_interest_stale(h, &list[i]))
            return &list[i];
    }
    return NULL;
}

/* Removes the old incarnations' entries, so that there are never more than workers. */
void hub_interest_drop_stale(struct hub *h, struct hub_channel *c)
{
    for (unsigned i = 0; i < c->n;) {
        if (hub_interest_stale(h, &hub_interests(c)[i]))
            hub_interest_remove(h, c, i);
        else
            i++;
    }
}

static int grow_interests(struct hub_channel *c)
{
    unsigned cap = c->cap * 2u;
    struct interest *grown = realloc(c->cap == 1 ? NULL : c->many, cap * sizeof(*grown));

    if (grown == NULL)
        return -1;
    if (c->cap == 1)
        grown[0] = c->one;
    c->many = grown;
    c->cap = (uint16_t)cap;
    return 0;
}

struct interest *hub_interest_add(struct hub *h, struct hub_channel *c, unsigned worker)
{
    struct interest *added;

    hub_interest_drop_stale(h, c);
    if (c->n == c->cap && grow_interests(c) == -1)
        return NULL;
    if (c->lingering != NULL) {
        list_remove(&c->lingering->link);
        free(c->lingering);
        c->lingering = NULL;
    }
    added = &hub_interests(c)[c->n++];
    *added = (struct interest){.worker = (uint16_t)worker, .life = h->worker[worker].life};
    return added;
}

void hub_interest_remove(struct hub *h, struct hub_channel *c, unsigned i)
{
    struct interest *list = hub_interests(c), *gone = &list[i];

    if (gone->lost && !hub_interest_stale(h, gone)) {
        h->worker[gone->worker].owed--;
        hub_mark_behind(h, gone->worker);
    }
    *gone = list[--c->n];
}
