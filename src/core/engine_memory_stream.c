/* core/engine_memory_stream.c - the publications that are kept of a channel.
 *
 * A stream is a circle of pointers, so that a place is found by its offset and a million short
 * histories cost little more than what they hold. It begins when somebody first publishes in the
 * channel, subscribes to it or asks for its history. */
#include "engine_memory_internal.h"

#include "base/clock.h"
#include "base/metrics.h"
#include "core/epoch.h"

#define MALLOC_OVERHEAD 16 /* what a piece of memory costs beside itself, about */

/* --- what it costs --- */

static size_t kept_cost(const struct kept *k)
{
    return sizeof(*k) + k->data_len + k->fields_len + MALLOC_OVERHEAD;
}

static size_t circle_cost(uint32_t cap)
{
    return cap > 1 ? cap * sizeof(struct kept *) + MALLOC_OVERHEAD : 0;
}

static void account(struct streams *s, struct space *space, size_t more, size_t less)
{
    space->bytes += more - less;
    s->bytes += more - less;
    METRIC_ADD(history_bytes, (int64_t)more - (int64_t)less);
}

/* --- namespaces --- */

/* NULL: no memory. */
static struct space *space_of(struct streams *s, const struct channel_options *o)
{
    struct str name = str_from(o->name);
    struct space *space;

    for (struct list *l = s->spaces.next; l != &s->spaces; l = l->next) {
        space = LIST_ENTRY(l, struct space, link);
        if (space->name_len == name.n + (name.n > 0) && memcmp(space->name, name.p, name.n) == 0)
            return space;
    }
    space = malloc(sizeof(*space) + name.n + 1);
    if (space == NULL)
        return NULL;
    *space = (struct space){.name_len = (uint16_t)name.n};
    memcpy(space->name, name.p, name.n);
    if (name.n > 0)
        space->name[space->name_len++] = CHANNEL_NAMESPACE;
    list_init(&space->full);
    list_init(&space->bare);
    list_append(&s->spaces, &space->link);
    return space;
}

void space_put(struct space *space)
{
    if (space->streams > 0)
        return;
    list_remove(&space->link);
    free(space);
}

/* --- the circle --- */

static struct kept **place(struct stream *st, uint32_t i)
{
    return st->cap == 1 ? &st->one : &st->many[(st->first + i) & (st->cap - 1)];
}

const struct kept *stream_kept(const struct stream *st, uint32_t i)
{
    return st->cap == 1 ? st->one : st->many[(st->first + i) & (st->cap - 1)];
}

/* Twice as many places. */
static int grow(struct streams *s, struct stream *st)
{
    uint32_t cap = st->cap * 2;
    struct kept **grown = malloc(cap * sizeof(struct kept *));

    if (grown == NULL)
        return -1;
    for (uint32_t i = 0; i < st->n; i++)
        grown[i] = *place(st, i);
    if (st->cap > 1)
        free(st->many);
    account(s, st->space, circle_cost(cap), circle_cost(st->cap));
    st->many = grown;
    st->cap = cap;
    st->first = 0;
    return 0;
}

/* An empty one needs no circle. */
static void give_circle_back(struct streams *s, struct stream *st)
{
    account(s, st->space, 0, circle_cost(st->cap));
    if (st->cap > 1)
        free(st->many);
    st->one = NULL;
    st->cap = 1;
    st->first = 0;
}

/* Onto the list where it belongs, as the last one used. */
static void enlist(struct stream *st)
{
    list_remove(&st->link);
    if (st->n > 0)
        list_append(&st->space->full, &st->link);
    else if (!st->subscribed)
        list_append(&st->space->bare, &st->link);
}

void stream_shorten(struct streams *s, struct stream *st, uint32_t n)
{
    size_t freed = 0;

    if (st->n <= n)
        return;
    METRIC_ADD(history_publications, -(int64_t)(st->n - n));
    for (; st->n > n; st->n--) {
        struct kept *oldest = *place(st, 0);

        freed += kept_cost(oldest);
        free(oldest);
        st->first = (st->first + 1) & (st->cap - 1);
    }
    account(s, st->space, 0, freed);
    if (st->n > 0)
        return;
    give_circle_back(s, st);
    enlist(st);
}

/* --- life --- */

void streams_init(struct streams *s)
{
    list_init(&s->spaces);
    list_init(&s->key_order);
}

static size_t stream_cost(const struct stream *st)
{
    return sizeof(*st) + st->name_len + sizeof(struct htab_node *) + MALLOC_OVERHEAD;
}

static bool name_equal(const struct htab_node *node, const void *key)
{
    const struct stream *st = CONTAINER_OF(node, struct stream, node);

    return str_equal((struct str){.p = st->name, .n = st->name_len}, *(const struct str *)key);
}

static void begin_anew(struct streams *s, struct stream *st)
{
    stream_shorten(s, st, 0);
    if (st->guard != NULL)
        account(s, st->space, 0, sizeof(struct guard) + MALLOC_OVERHEAD);
    free(st->guard);
    st->guard = NULL;
    st->at = (struct position){.epoch = epoch_new()};
}

static struct stream *stream_new(struct streams *s, struct str name,
                                 const struct channel_options *o)
{
    struct space *space = space_of(s, o);
    struct stream *st = space != NULL ? calloc(1, sizeof(*st) + name.n) : NULL;

    if (st == NULL)
        goto err;
    st->space = space;
    st->cap = 1;
    st->at.epoch = epoch_new();
    st->name_len = (uint8_t)name.n;
    memcpy(st->name, name.p, name.n);
    st->node.hash = hash_str(name);
    list_init(&st->link);
    if (htab_insert(&s->by_name, &st->node) == -1)
        goto err;
    space->streams++;
    account(s, space, stream_cost(st), 0);
    METRIC_ADD(history_channels, 1);
    return st;

err:
    free(st);
    if (space != NULL)
        space_put(space);
    return NULL;
}

void stream_free(struct streams *s, struct stream *st)
{
    begin_anew(s, st);
    account(s, st->space, 0, stream_cost(st));
    METRIC_ADD(history_channels, -1);
    list_remove(&st->link);
    htab_remove(&s->by_name, &st->node);
    st->space->streams--;
    space_put(st->space);
    free(st);
}

static void free_node(struct htab_node *node, void *arg)
{
    stream_free(arg, CONTAINER_OF(node, struct stream, node));
}

void streams_fini(struct streams *s)
{
    size_t cursor = 0;

    keys_fini(s);
    while (htab_scan(&s->by_name, &cursor, SIZE_MAX, free_node, s)) {
    }
    htab_fini(&s->by_name);
}

struct stream *stream_get(struct streams *s, struct str name, const struct channel_options *o)
{
    struct htab_node *node = htab_find(&s->by_name, hash_str(name), name_equal, &name);
    struct stream *st = node != NULL ? CONTAINER_OF(node, struct stream, node) : NULL;

    if (st == NULL) {
        st = stream_new(s, name, o);
        if (st == NULL)
            return NULL;
    } else if (stream_forgotten(st, o)) {
        METRIC_ADD(history_expired, st->n);
        METRIC_INC(history_positions_expired);
        begin_anew(s, st);
    } else if (stream_outdated(st, o)) {
        METRIC_ADD(history_expired, st->n);
        stream_shorten(s, st, 0);
    }
    if (st->n == 0) {
        st->used_ns = clock_ns();
        enlist(st);
        streams_bound(s, st, o);
    }
    return st;
}

void stream_subscribe(struct stream *st, bool subscribed)
{
    st->subscribed = subscribed;
    if (st->n > 0)
        return;
    st->used_ns = clock_ns();
    enlist(st);
}

/* --- publications --- */

static struct kept *kept_new(const struct record *r)
{
    struct kept *k = malloc(sizeof(*k) + r->data.n + r->fields.n);

    if (k == NULL)
        return NULL;
    k->time_ns = clock_ns();
    k->data_len = (uint32_t)r->data.n;
    k->fields_len = (uint16_t)r->fields.n;
    k->flags = r->flags;
    if (r->data.n > 0)
        memcpy(k->bytes, r->data.p, r->data.n);
    if (r->fields.n > 0)
        memcpy(k->bytes + r->data.n, r->fields.p, r->fields.n);
    return k;
}

int stream_append(struct streams *s, struct stream *st, const struct channel_options *o,
                  const struct record *r)
{
    struct kept *k = kept_new(r);

    if (k == NULL)
        return -1;
    if (st->n >= o->history_size) {
        stream_shorten(s, st, (uint32_t)o->history_size - 1);
    } else if (st->n == st->cap && grow(s, st) == -1) {
        free(k);
        return -1;
    }
    *place(st, st->n++) = k;
    account(s, st->space, kept_cost(k), 0);
    METRIC_ADD(history_publications, 1);
    st->at.offset++;
    st->used_ns = k->time_ns;
    enlist(st);
    streams_bound(s, st, o);
    return 0;
}

int stream_guard(struct streams *s, struct stream *st)
{
    if (st->guard != NULL)
        return 0;
    st->guard = calloc(1, sizeof(struct guard));
    if (st->guard == NULL)
        return -1;
    account(s, st->space, sizeof(struct guard) + MALLOC_OVERHEAD, 0);
    return 0;
}

static uint64_t hash_of(struct str epoch)
{
    return epoch.n > 0 ? hash_str(epoch) : 0;
}

bool stream_is_older(const struct stream *st, uint64_t version, struct str epoch)
{
    return (epoch.n == 0 || hash_of(epoch) == st->guard->epoch) && version <= st->guard->version;
}

void stream_set_version(struct stream *st, uint64_t version, struct str epoch)
{
    *st->guard = (struct guard){.version = version, .epoch = hash_of(epoch)};
}
