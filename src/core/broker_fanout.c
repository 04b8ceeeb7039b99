/* core/broker_fanout.c - delivering to a channel's subscribers, a slice at a time.
 *
 * Happy path:
 *   1. a publication is appended to walk->next, the task becomes runnable
 *   2. its first step seals the batch and sets the zones
 *   3. each step visits FANOUT_SLICE subscribers; one that wants a variant which is not there yet
 *      is not passed before it is, so a step may end in front of it when its share of encoding is
 *      done
 *   4. the last step frees the batch and goes on with what has been collected meanwhile, or frees
 *      the walk.
 * Can fail: no memory for a batch (its publications are reported as lost), no memory for a walk
 * (everybody is told in one go), no memory for a variant (the session finds none). */
#include "broker_internal.h"

#include "base/clock.h"
#include "base/metrics.h"
#include "base/trace.h"

#define FANOUT_SLICE    64           /* subscribers per step: about half a millisecond of sends */
#define FANOUT_BYTES    (512 * 1024) /* and bytes, where the batch is long */
#define FANOUT_PREFETCH 8            /* how far ahead: more sends than a memory access takes */
/* Bytes that a step reads and writes to encode a variant: as long as a slice where touching new
 * memory is slow, a tenth of it elsewhere. */
#define FANOUT_ENCODE (128 * 1024)

static enum task_result walk_step(struct task *t);

static struct walk *walk_get(struct broker *b, struct chan *c)
{
    struct walk *w = c->walk;

    if (w != NULL)
        return w;
    w = pool_get(&b->walks);
    if (w == NULL)
        return NULL;
    task_init(&w->task, "fanout", walk_step);
    w->broker = b;
    w->chan = c;
    c->walk = w;
    task_add(b->cfg.tasks, &w->task);
    return w;
}

static void batch_drop(struct broker *b, struct batch **batch)
{
    struct batch *old = *batch;

    if (old == NULL)
        return;
    b->backlog -= batch_bytes(old);
    *batch = NULL;
    batch_free(old);
}

/* The first of the waiting batches, taken out; NULL: none. */
static struct batch *take_next(struct walk *w)
{
    struct batch *batch = w->next;

    if (batch == NULL)
        return NULL;
    w->next = batch->next;
    if (w->next == NULL)
        w->last = NULL;
    return batch;
}

void fanout_drop(struct broker *b, struct chan *c)
{
    struct walk *w = c->walk;
    struct batch *batch;

    if (w == NULL)
        return;
    batch_drop(b, &w->batch);
    while ((batch = take_next(w)) != NULL)
        batch_drop(b, &batch);
    task_remove(&w->task);
    c->walk = NULL;
    pool_put(&b->walks, w);
}

/* Not yet told that it is subscribed, or waiting for what it has missed. False: it gets nothing. */
static __attribute__((noinline)) bool begin(struct broker *b, struct sub *s, struct position before)
{
    if (s->recovering)
        return false;
    s->live = true;
    broker_sink(b, s)->subscribed(s, before);
    return s->live; /* it may recover */
}

static __attribute__((noinline)) void notify(struct broker *b, struct sub *s, unsigned notice,
                                             struct position before)
{
    const struct sink_ops *ops = broker_sink(b, s);

    if (notice & NOTICE_LOST)
        ops->lost(s, before);
    if (notice & NOTICE_RESTARTED && ops->restarted != NULL)
        ops->restarted(s, before);
}

/* One subscriber: what it has to know, in this order. */
static void visit(struct broker *b, struct sub *s, struct batch *batch, unsigned notice,
                  struct position before)
{
    if (!s->live) {
        if (!begin(b, s, before))
            return;
    } else if (notice != 0) {
        notify(b, s, notice, before);
    }
    if (batch != NULL)
        broker_sink(b, s)->deliver(s, batch);
}

/* Without memory for a walk: in one go. */
static void visit_all(struct broker *b, struct chan *c, unsigned notice)
{
    for (uint32_t i = 0; i < c->count; i++)
        visit(b, c->subs[i], NULL, notice, c->position);
}

void fanout_subscribed(struct broker *b, struct chan *c)
{
    struct walk *w;

    if (c->count == 0)
        return;
    w = walk_get(b, c);
    if (w != NULL)
        w->next_round = true;
    else
        visit_all(b, c, 0);
}

void fanout_refused(struct broker *b, struct chan *c, uint16_t status)
{
    for (uint32_t i = 0; i < c->count; i++) {
        struct sub *s = c->subs[i];

        if (!s->live && !s->recovering && broker_sink(b, s)->refused != NULL)
            (void)broker_sink(b, s)->refused(s, status);
    }
}

/* A new batch behind those that wait. NULL: no memory. */
static struct batch *add_batch(struct walk *w)
{
    struct batch *batch = batch_new(chan_name(w->chan));

    if (batch == NULL)
        return NULL;
    if (w->last != NULL)
        w->last->next = batch;
    else
        w->next = batch;
    w->last = batch;
    return batch;
}

/* Everybody is told in a batch of its own, which begins here. */
static void notice(struct broker *b, struct chan *c, enum batch_notice what)
{
    struct walk *w;

    if (c->count == 0)
        return;
    w = walk_get(b, c);
    if (w != NULL && (w->last == NULL || w->last->nitems > 0))
        (void)add_batch(w);
    /* Without memory it is told too early, before publications that came before. */
    if (w != NULL && w->last != NULL)
        w->last->notice |= (uint8_t)what;
    else
        visit_all(b, c, what);
}

void fanout_lost(struct broker *b, struct chan *c)
{
    notice(b, c, NOTICE_LOST);
}

void fanout_restarted(struct broker *b, struct chan *c)
{
    notice(b, c, NOTICE_RESTARTED);
}

/* The batch that a publication goes into. NULL: no memory. */
static struct batch *collecting(struct walk *w, const struct record *r)
{
    struct batch *fresh;

    if (w->last != NULL && batch_has_room(w->last, r))
        return w->last;
    fresh = add_batch(w);
    if (fresh == NULL && w->last != NULL && w->last->epoch == r->epoch &&
        w->last->class == batch_class_of(r))
        return w->last; /* rather one that is too long than a loss */
    return fresh;
}

void fanout_append(struct broker *b, struct chan *c, const struct record *r)
{
    struct walk *w;
    struct batch *batch;
    size_t before;

    METRIC_INC(publications_out);
    if (c->count == 0) { /* UNSUBSCRIBE is on its way */
        c->position = (struct position){.epoch = r->epoch, .offset = r->offset};
        return;
    }
    w = walk_get(b, c);
    batch = w != NULL ? collecting(w, r) : NULL;
    if (batch != NULL && batch->nitems == 0)
        batch->before = c->position;
    c->position = (struct position){.epoch = r->epoch, .offset = r->offset};
    if (UNLIKELY(c->tail != NULL))
        tail_append(c, r);
    if (batch == NULL) {
        fanout_lost(b, c);
        return;
    }
    before = batch_bytes(batch);
    if (batch_append(batch, r) == -1)
        fanout_lost(b, c);
    else
        b->backlog += batch_bytes(batch) - before;
}

void fanout_member(struct broker *b, struct chan *c, const struct record *r)
{
    struct walk *w = walk_get(b, c);
    struct batch *batch = w != NULL ? collecting(w, r) : NULL;
    size_t before;

    if (batch != NULL && batch->nitems == 0)
        batch->before = c->position;
    before = batch != NULL ? batch_bytes(batch) : 0;
    if (batch == NULL || batch_append(batch, r) == -1)
        METRIC_INC(presence_lost);
    else
        b->backlog += batch_bytes(batch) - before;
}

/* Where the channel stands for somebody who is given the batch, if there is one, and
 * what follows. */
static struct position stands_before(const struct chan *c, const struct batch *batch)
{
    if (batch == NULL || batch->nitems == 0)
        return c->position;
    return (struct position){.epoch = batch->epoch,
                             .offset = batch->items[0].offset -
                                       !(batch->items[0].flags & RECORD_SKIP_HISTORY)};
}

static void walk_begin(struct broker *b, struct walk *w)
{
    w->batch = take_next(w);
    w->before = stands_before(w->chan, w->batch);
    w->members = w->batch != NULL && w->batch->class != BATCH_PUBLICATIONS;
    w->notice = w->batch != NULL ? w->batch->notice : 0;
    w->next_round = false;
    w->under_way = true;
    w->cursor = w->visited = 0;
    w->limit = w->chan->count;
    w->started_ns = clock_latest_ns(); /* the end of the step before this one */
    if (w->batch == NULL)
        return;
    if (w->batch->nitems == 0)
        batch_drop(b, &w->batch); /* the notice alone */
    else
        batch_seal(w->batch);
    if (UNLIKELY(w->chan->tail != NULL) && w->batch != NULL)
        tail_walk_begins(w->chan, w->batch);
    if (TRACE_WANTED(fanout) && w->batch != NULL)
        TRACE(fanout, 0, chan_name(w->chan), w->batch->nitems, batch_bytes(w->batch), w->limit,
              trace_since(w->batch->published_ns));
}

/* The batch has reached its first subscriber: how long is it since its oldest publication was taken
 * from a client? */
static void count_first(const struct batch *batch)
{
    uint64_t now = clock_latest_ns();

    hist_record(&metrics->publish_to_write,
                now > batch->published_ns ? now - batch->published_ns : 0);
    hist_record(&metrics->batch_size, batch->nitems);
}

/* Is there what this subscriber wants, or no hope of it? The raw variant always is. */
static inline bool is_encoded(struct walk *w, const struct sub *s, size_t *budget)
{
    return LIKELY(s->variant == BATCH_RAW) || w->batch == NULL ||
           LIKELY(w->batch->variant[s->variant] != NULL) ||
           batch_encode(w->batch, s->variant, budget);
}

/* How many subscribers one step visits. */
static uint32_t slice_of(const struct walk *w)
{
    size_t bytes = w->batch != NULL ? batch_bytes(w->batch) : 0;

    if (LIKELY(bytes <= FANOUT_BYTES / FANOUT_SLICE))
        return FANOUT_SLICE;
    return bytes < FANOUT_BYTES ? (uint32_t)(FANOUT_BYTES / bytes) : 1;
}

void fanout_trace(struct broker *b, struct sub *s, uint64_t deliveries, uint64_t bytes)
{
    const struct sink_ops *ops = broker_sink(b, s);
    size_t queued = 0;
    uint64_t conn;

    if (metrics->deliveries == deliveries || ops->conn == NULL)
        return;
    conn = ops->conn(s, &queued);
    TRACE(deliver, conn, chan_name(s->chan), metrics->delivery_bytes - bytes,
          metrics->deliveries - deliveries, queued);
}

static void visit_traced(struct broker *b, struct walk *w, struct sub *s)
{
    uint64_t deliveries = metrics->deliveries, bytes = metrics->delivery_bytes;

    visit(b, s, w->batch, w->notice, w->before);
    fanout_trace(b, s, deliveries, bytes);
}

static inline __attribute__((always_inline)) void visit_slice(struct broker *b, struct walk *w,
                                                              bool traced)
{
    struct sub **subs = w->chan->subs;
    uint32_t end = MIN(w->limit, w->cursor + slice_of(w));
    size_t budget = FANOUT_ENCODE;

    while (w->cursor < end) {
        if (w->cursor + FANOUT_PREFETCH < w->limit) {
            const char *ahead = (const char *)subs[w->cursor + FANOUT_PREFETCH];

            /* A sub lies in its session, right behind its connection. */
            __builtin_prefetch(ahead);
            __builtin_prefetch(ahead - CACHE_LINE);
        }
        if (!is_encoded(w, subs[w->cursor], &budget))
            return;
        if (traced)
            visit_traced(b, w, subs[w->cursor]);
        else
            visit(b, subs[w->cursor], w->batch, w->notice, w->before);
        w->cursor++;
        if (w->visited++ == 0 && w->batch != NULL)
            count_first(w->batch);
    }
}

static void walk_slice(struct broker *b, struct walk *w)
{
    visit_slice(b, w, false);
}

/* So that who is not told of pays nothing for each subscriber. */
static __attribute__((cold, noinline)) void walk_traced_slice(struct broker *b, struct walk *w)
{
    visit_slice(b, w, true);
}

/* The same of a batch that tells who comes and goes: for those that want it. */
static void walk_members_slice(struct broker *b, struct walk *w)
{
    uint32_t end = MIN(w->limit, w->cursor + slice_of(w));
    size_t budget = FANOUT_ENCODE;

    for (; w->cursor < end; w->cursor++) {
        struct sub *s = w->chan->subs[w->cursor];

        if (s->joins && !is_encoded(w, s, &budget))
            return;
        visit(b, s, s->joins ? w->batch : NULL, w->notice, w->before);
    }
}

static void walk_end(struct broker *b, struct walk *w)
{
    if (TRACE_WANTED(fanned) && w->batch != NULL)
        TRACE(fanned, 0, chan_name(w->chan), w->batch->nitems, w->visited,
              trace_since(w->started_ns));
    if (w->batch != NULL && !w->members) {
        hist_record(&metrics->fanout_size, w->visited);
        hist_record(&metrics->batch_duration, clock_precise_ns() - w->started_ns);
    }
    batch_drop(b, &w->batch);
    w->cursor = w->limit = 0;
    w->under_way = false;
}

static enum task_result walk_step(struct task *t)
{
    struct walk *w = CONTAINER_OF(t, struct walk, task);
    struct broker *b = w->broker;

    if (!w->under_way)
        walk_begin(b, w);
    if (UNLIKELY(w->members))
        walk_members_slice(b, w);
    else if (TRACE_WANTED(deliver))
        walk_traced_slice(b, w);
    else
        walk_slice(b, w);
    if (w->cursor < w->limit)
        return TASK_MORE;
    walk_end(b, w);
    if (w->next != NULL || w->next_round)
        return TASK_MORE;
    fanout_drop(b, w->chan);
    return TASK_DONE;
}

static void move_sub(struct chan *c, uint32_t from, uint32_t to)
{
    if (from == to) /* what lies there may be the leftover of an earlier move */
        return;
    c->subs[to] = c->subs[from];
    c->subs[to]->index = to;
}

void fanout_leave(struct chan *c, uint32_t index)
{
    struct walk *w = c->walk;
    uint32_t hole = index;

    if (w != NULL && hole < w->cursor) {
        move_sub(c, --w->cursor, hole);
        hole = w->cursor;
    }
    if (w != NULL && hole < w->limit) {
        move_sub(c, --w->limit, hole);
        hole = w->limit;
    }
    move_sub(c, --c->count, hole);
}

bool fanout_settled(const struct chan *c, uint32_t index)
{
    const struct walk *w = c->walk;

    if (w == NULL)
        return true;
    if (w->next != NULL)
        return false;
    return w->batch == NULL || index < w->cursor || index >= w->limit;
}

struct position fanout_before(const struct chan *c)
{
    return stands_before(c, c->walk != NULL ? c->walk->next : NULL);
}
