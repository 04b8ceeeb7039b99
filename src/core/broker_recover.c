/* core/broker_recover.c - what subscribers have missed, answered from their channel's tail.
 *
 * Happy path:
 *   1. broker_recover() puts the subscriber on the channel's list; nothing is delivered to it
 *   2. the task looks at a slice of them per step. Where the tail does not reach back far enough it
 *      is fetched, once, and they are parked until it has come
 *   3. what they have missed becomes a batch (the snapshot), made once and encoded in steps for all
 *      of them
 *   4. sink_ops.recovered(); from then on it is delivered to.
 * A snapshot serves as long as no walk has begun with later publications, which may have passed
 * those who wait: what they are answered must reach at least as far. A walk that overtakes one that
 * is still being encoded makes the next one be encoded in one go.
 * Can fail: no memory, or the hub cannot say: not recovered. */
#include "broker_tail_internal.h"

#include "base/clock.h"
#include "base/metrics.h"
#include "base/trace.h"
#include "core/channel_options.h"

#define SLICE  64           /* answers per step */
#define BYTES  (512 * 1024) /* and bytes of publications in them */
#define ENCODE (128 * 1024) /* bytes that a step encodes, as the fan-out's */

struct recoverer {         /* from broker.recoverers */
    struct htab_node node; /* by its sub */
    struct list link;      /* in tail.waiting or tail.parked */
    struct sub *sub;       /* borrowed */
    struct recover want;
};

struct step { /* what is left of one */
    unsigned slice;
    size_t bytes, encode;
};

static enum task_result recover_step(struct task *task);

void recover_open(struct broker *b)
{
    pool_init(&b->recoverers, "recoverer", sizeof(struct recoverer), 0);
}

void recover_close(struct broker *b)
{
    htab_fini(&b->recovering);
    pool_fini(&b->recoverers);
}

void recover_init(struct tail *t)
{
    list_init(&t->waiting);
    list_init(&t->parked);
    task_init(&t->task, "recover", recover_step);
    t->lowest = UINT64_MAX;
}

/* --- who waits --- */

static uint64_t hash_of(const struct sub *s)
{
    return (uint64_t)((uintptr_t)s >> 3) * UINT64_C(0x9e3779b97f4a7c15) >> 16;
}

static bool is_of(const struct htab_node *node, const void *sub)
{
    return CONTAINER_OF(node, struct recoverer, node)->sub == sub;
}

static void drop(struct broker *b, struct recoverer *r)
{
    r->sub->recovering = false;
    list_remove(&r->link);
    htab_remove(&b->recovering, &r->node);
    pool_put(&b->recoverers, r);
}

static void drop_all(struct broker *b, struct list *l)
{
    while (!list_empty(l))
        drop(b, LIST_ENTRY(l->next, struct recoverer, link));
}

void recover_fini(struct tail *t)
{
    drop_all(t->broker, &t->waiting);
    drop_all(t->broker, &t->parked);
    recover_drop_snapshot(t);
    task_remove(&t->task);
}

bool recover_busy(const struct tail *t)
{
    return !list_empty(&t->waiting) || !list_empty(&t->parked);
}

/* How far back the tail has to reach for all of them. */
static void note_lowest(struct tail *t, const struct recover *want)
{
    uint64_t known = want->since.offset;

    if (want->latest && t->at.offset > 0)
        known = t->at.offset - 1;
    if (known <= t->at.offset && t->at.offset - known <= want->limit)
        t->lowest = MIN(t->lowest, known);
}

int broker_recover(struct broker *b, struct sub *s, const struct recover *want)
{
    const struct channel_options *o = channel_options_of(chan_name(s->chan));
    struct recoverer *r = pool_get(&b->recoverers);
    struct tail *t = r != NULL ? tail_get(b, s->chan) : NULL;

    if (t == NULL)
        goto err;
    r->sub = s;
    r->want = *want;
    r->node.hash = hash_of(s);
    if (htab_insert(&b->recovering, &r->node) == -1)
        goto err;
    tail_use(t, o != NULL ? (uint32_t)MIN((int64_t)want->limit, o->history_size) : 0);
    note_lowest(t, want);
    s->live = false;
    s->recovering = true;
    list_append(&t->waiting, &r->link);
    task_add(b->cfg.tasks, &t->task);
    return 0;

err:
    pool_put(&b->recoverers, r);
    return -1;
}

void recover_cancel(struct broker *b, struct sub *s)
{
    struct htab_node *node = htab_find(&b->recovering, hash_of(s), is_of, s);

    drop(b, CONTAINER_OF(node, struct recoverer, node));
    task_add(b->cfg.tasks, &s->chan->tail->task); /* it may have been the last */
}

/* --- answers --- */

static void answer(struct tail *t, struct recoverer *r, const struct recovery *what)
{
    uint64_t deliveries = metrics->deliveries, bytes = metrics->delivery_bytes;
    struct broker *b = t->broker;
    struct sub *s = r->sub;

    if (what->recovered)
        METRIC_INC(recovered);
    else
        METRIC_INC(not_recovered);
    drop(b, r);
    s->live = true;
    broker_sink(b, s)->recovered(s, what);
    if (TRACE_WANTED(deliver))
        fanout_trace(b, s, deliveries, bytes);
}

/* What it needs cannot be had now. */
static void answer_refused(struct tail *t, struct recoverer *r)
{
    const struct recovery what = {.at = t->at};
    struct broker *b = t->broker;
    struct sub *s = r->sub;

    if (!t->failed || broker_sink(b, s)->refused == NULL) {
        answer(t, r, &what);
        return;
    }
    METRIC_INC(not_recovered);
    drop(b, r);
    if (!broker_sink(b, s)->refused(s, ENGINE_UNAVAILABLE)) {
        s->live = true;
        broker_sink(b, s)->recovered(s, &what);
    }
}

static void answer_without(struct tail *t, struct recoverer *r, bool recovered)
{
    const struct recovery what = {.recovered = recovered, .at = t->at};

    answer(t, r, &what);
}

void recover_fetched(struct tail *t, bool failed)
{
    t->failed = failed;
    list_prepend_all(&t->waiting, &t->parked);
    if (!list_empty(&t->waiting))
        task_add(t->broker->cfg.tasks, &t->task);
}

/* --- the snapshot --- */

void recover_drop_snapshot(struct tail *t)
{
    batch_free(t->snapshot);
    t->snapshot = NULL;
}

static bool snapshot_serves(const struct tail *t)
{
    return t->snapshot != NULL && t->snapshot_at.epoch == t->at.epoch &&
           (t->walked.epoch != t->snapshot_at.epoch || t->walked.offset <= t->snapshot_at.offset);
}

/* Of the last n publications. NULL: no memory. */
static struct batch *make_batch(const struct tail *t, uint32_t n)
{
    struct batch *batch = batch_new(chan_name(t->chan));

    for (uint32_t i = t->n - n; batch != NULL && i < t->n; i++) {
        const struct held *e = tail_held(t, i);
        const struct record r = {
            .kind = RECORD_PUBLICATION,
            .flags = e->flags,
            .epoch = t->at.epoch,
            .offset = t->at.offset - (t->n - 1 - i),
            .time_ns = e->time_ns,
            .data = {.p = e->bytes, .n = e->data_len},
            .fields = {.p = e->bytes + e->data_len, .n = e->fields_len},
        };

        if (batch_append(batch, &r) == -1) {
            batch_free(batch);
            return NULL;
        }
    }
    if (batch != NULL)
        batch_seal(batch);
    return batch;
}

/* One that has at least the last `missed` publications. -1: no memory. */
static int make_snapshot(struct tail *t, uint64_t missed)
{
    uint64_t all = t->at.offset > t->lowest ? t->at.offset - t->lowest : 0;

    if (t->snapshot != NULL && !t->snapshot_used)
        t->overtaken++;
    recover_drop_snapshot(t);
    missed = MIN(MAX(missed, all), t->n);
    t->snapshot = make_batch(t, (uint32_t)missed);
    if (t->snapshot == NULL)
        return -1;
    t->snapshot_first = t->at.offset - missed + 1;
    t->snapshot_at = t->at;
    t->snapshot_used = false;
    return 0;
}

/* Are the variants there that it wants? */
static bool encoded(struct tail *t, const struct recover *want, struct step *step)
{
    size_t *budget = &step->encode;

    if (t->overtaken > 0)
        *budget = SIZE_MAX;
    for (unsigned i = 0; i < ARRAY_LEN(want->variant); i++) {
        if (want->variant[i] != BATCH_RAW && !batch_encode(t->snapshot, want->variant[i], budget))
            return false;
    }
    return true;
}

/* --- one after the other --- */

enum verdict { ANSWERED = 0, PARKED, UNDER_WAY };

/* With the snapshot, from the publication at `from` on. */
static enum verdict give(struct tail *t, struct recoverer *r, uint64_t from, struct step *step)
{
    struct recovery what = {.recovered = true, .at = t->snapshot_at, .batch = t->snapshot};
    struct batch *batch = t->snapshot;

    if (!encoded(t, &r->want, step))
        return UNDER_WAY;
    t->snapshot_used = true;
    t->overtaken = 0;
    what.first = (uint32_t)(from - t->snapshot_first);
    step->bytes -= MIN(step->bytes, (size_t)(batch_bytes(batch) - batch->items[what.first].start));
    answer(t, r, &what);
    return ANSWERED;
}

/* How many publications it has missed that it wants to have; -1: it cannot be recovered. */
static int64_t missed_by(const struct tail *t, const struct recover *want, struct position at)
{
    bool same_epoch = want->since.epoch == at.epoch;

    if (!t->chan->in_stream)
        return -1;
    if (want->latest) /* it is recovered when there is a latest one; whether, the caller sees */
        return same_epoch && want->since.offset == at.offset ? 0 : 1;
    if ((want->since.epoch != 0 && !same_epoch) || want->since.offset > at.offset ||
        at.offset - want->since.offset > want->limit)
        return -1;
    return (int64_t)(at.offset - want->since.offset);
}

/* Could a fetch bring more? */
static bool may_reach(const struct tail *t)
{
    return !t->complete && !t->failed && t->n < t->depth && t->at.offset > t->n;
}

/* From what there is, or a snapshot made for it. */
static enum verdict look(struct tail *t, struct recoverer *r, struct step *step)
{
    int64_t missed = missed_by(t, &r->want, t->at);
    uint64_t needed = (uint64_t)(r->want.latest ? 1 : missed); /* in cache mode, to be there */

    if (missed == -1) {
        answer_without(t, r, false);
    } else if (needed > t->n && may_reach(t)) {
        list_remove(&r->link);
        list_append(&t->parked, &r->link);
        tail_fetch(t);
        return PARKED;
    } else if (needed > t->n) {
        answer_refused(t, r);
    } else if (missed == 0) {
        answer_without(t, r, true);
    } else if (make_snapshot(t, (uint64_t)missed) == -1) {
        answer_without(t, r, false);
    } else {
        return give(t, r, t->at.offset - (uint64_t)missed + 1, step);
    }
    return ANSWERED;
}

static enum verdict serve(struct tail *t, struct recoverer *r, struct step *step)
{
    int64_t missed;

    if (!snapshot_serves(t))
        return look(t, r, step);
    missed = missed_by(t, &r->want, t->snapshot_at);
    if (missed <= 0 || (uint64_t)missed > t->snapshot->nitems)
        return look(t, r, step);
    return give(t, r, t->snapshot_at.offset - (uint64_t)missed + 1, step);
}

static enum task_result recover_step(struct task *task)
{
    struct tail *t = CONTAINER_OF(task, struct tail, task);
    struct step step = {.slice = SLICE, .bytes = BYTES, .encode = ENCODE};

    tail_check(t);
    while (!list_empty(&t->waiting)) {
        if (step.slice-- == 0 || step.bytes == 0 ||
            serve(t, LIST_ENTRY(t->waiting.next, struct recoverer, link), &step) == UNDER_WAY)
            return TASK_MORE;
    }
    if (list_empty(&t->parked)) {
        recover_drop_snapshot(t);
        t->lowest = UINT64_MAX;
        t->overtaken = 0;
        t->failed = false;
        tail_settle(t);
    }
    return TASK_DONE;
}
