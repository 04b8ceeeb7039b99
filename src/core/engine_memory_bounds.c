/* core/engine_memory_bounds.c - what goes when its time is up, or memory is.
 *
 * A channel's publications expire together, history_ttl after the last one; its position
 * history_meta_ttl after its last use, when it holds none and has no subscriber. Both are looked for
 * at the front of a namespace's lists, which are in the order of last use, so nobody walks the
 * channels; what is asked for is looked at then and there.
 *
 * When the histories of a namespace hold more than its history_memory, or all together more than the
 * node's, then goes, in this order: what has expired; what belongs to the channel least recently
 * published in: its oldest publication, or its position, when it holds no publication and has no
 * subscriber. Among namespaces the one goes first whose channel is that. */
#include "engine_memory_internal.h"

#include "base/clock.h"
#include "base/metrics.h"

#define TICK_NS (100 * NS_PER_MS) /* how often what has expired is looked for */
#define BUDGET  1024              /* channels or publications removed at a time */

static uint64_t age(uint64_t since_ns)
{
    uint64_t now = clock_ns();

    return now > since_ns ? now - since_ns : 0;
}

bool stream_outdated(const struct stream *st, const struct channel_options *o)
{
    return st->n > 0 && age(st->used_ns) > (uint64_t)o->history_ttl;
}

bool stream_forgotten(const struct stream *st, const struct channel_options *o)
{
    return !st->subscribed && (st->n == 0 || stream_outdated(st, o)) &&
           age(st->used_ns) > (uint64_t)channel_meta_ttl(o);
}

static struct stream *first_of(struct list *l)
{
    return list_empty(l) ? NULL : LIST_ENTRY(l->next, struct stream, link);
}

/* Takes from the front what has expired. o is NULL: the namespace is gone, or has no history. */
/* The space stays: somebody is in it. */
static void expire(struct streams *s, struct space *space, const struct channel_options *o,
                   unsigned *budget)
{
    struct stream *st;

    for (; *budget > 0; --*budget) {
        st = first_of(&space->full);
        if (st == NULL || (o != NULL && !stream_outdated(st, o)))
            break;
        METRIC_ADD(history_expired, st->n);
        stream_shorten(s, st, 0);
    }
    for (; *budget > 0; --*budget) {
        st = first_of(&space->bare);
        if (st == NULL || (o != NULL && !stream_forgotten(st, o)))
            break;
        METRIC_INC(history_positions_expired);
        stream_free(s, st);
    }
}

/* Of two, of which either may be NULL, the one used longer ago. */
static struct stream *older(struct stream *a, struct stream *b)
{
    if (a == NULL || b == NULL)
        return a != NULL ? a : b;
    return b->used_ns < a->used_ns ? b : a;
}

static struct stream *oldest_of(struct space *space)
{
    return older(first_of(&space->full), first_of(&space->bare));
}

static void evict(struct streams *s, struct stream *st)
{
    if (st->n > 0) {
        METRIC_INC(history_evicted);
        stream_shorten(s, st, st->n - 1);
    } else {
        METRIC_INC(history_positions_evicted);
        stream_free(s, st);
    }
}

/* Takes away what belongs to that stream, but not the one that is in use. False: nothing went. */
static bool evict_from(struct streams *s, struct stream *st, const struct stream *in_use)
{
    if (st == NULL || (st == in_use && st->n == 0))
        return false;
    evict(s, st);
    return true;
}

static struct stream *oldest_of_all(const struct streams *s)
{
    struct stream *st = NULL;

    for (struct list *l = s->spaces.next; l != &s->spaces; l = l->next)
        st = older(st, oldest_of(LIST_ENTRY(l, struct space, link)));
    return st;
}

static bool over(size_t bytes, int64_t limit)
{
    return limit > 0 && bytes > (size_t)limit;
}

static bool node_over(const struct streams *s)
{
    return over(s->bytes + s->key_bytes, config.history_memory);
}

void streams_bound(struct streams *s, const struct stream *st, const struct channel_options *o)
{
    struct space *space = st->space; /* stays: st is in it */
    unsigned budget = BUDGET;

    if (LIKELY(!over(space->bytes, o->history_memory) && !node_over(s)))
        return;
    expire(s, space, o, &budget);
    while (budget > 0 && over(space->bytes, o->history_memory) &&
           evict_from(s, oldest_of(space), st))
        budget--;
    while (budget > 0 && node_over(s) && evict_from(s, oldest_of_all(s), st))
        budget--;
}

/* The options of the namespace; NULL: there is none of that name any more, or it has no history. */
static const struct channel_options *options_of(const struct space *space)
{
    const struct channel_options *o =
        channel_options_of((struct str){.p = space->name, .n = space->name_len});

    return o != NULL && channel_has_history(o) ? o : NULL;
}

/* What a reload has made too much goes here. */
static void tend(struct streams *s, struct space *space, unsigned *budget)
{
    const struct channel_options *o = options_of(space);

    space->streams++; /* so that it stays until the end */
    expire(s, space, o, budget);
    for (; *budget > 0 && o != NULL && over(space->bytes, o->history_memory); --*budget) {
        if (!evict_from(s, oldest_of(space), NULL))
            break;
    }
    space->streams--;
    space_put(space);
}

bool streams_tick(struct streams *s)
{
    unsigned budget = BUDGET;
    struct list *l, *next;

    if (clock_ns() < s->look_ns)
        return false;
    for (l = s->spaces.next; l != &s->spaces; l = next) {
        next = l->next;
        tend(s, LIST_ENTRY(l, struct space, link), &budget);
    }
    for (; budget > 0 && node_over(s); budget--) {
        if (!evict_from(s, oldest_of_all(s), NULL))
            break;
    }
    if (keys_expire(s, BUDGET) || budget == 0)
        return true;
    s->look_ns = clock_ns() + TICK_NS;
    return false;
}
