/* core/broker_tail.c - the last publications of a channel, kept by a worker to answer from.
 *
 * A tail begins when somebody first recovers in the channel, and grows with what is delivered. What
 * is older comes from the hub, asked for once, however many wait for it:
 *
 *   1. HISTORY from the oldest one held backwards, as soon as the ring has room
 *   2. HISTORY_PARTs, the newest first, each put in front
 *   3. the last one: there is no more.
 * Can fail: the hub cannot say (those who wait are not recovered), does not answer in time (the
 * same), or is another one (the channel is in another epoch then, or is announced again and asked
 * for again); a gap, told as lost: the tail is emptied and fetched anew.
 *
 * It goes with the channel's last subscriber, when nobody has recovered for a while, and when all
 * tails take too much. */
#include "broker_tail_internal.h"

#include "base/clock.h"
#include "base/config.h"
#include "base/metrics.h"
#include "core/channel_options.h"

#define TAIL_BYTES_MAX  (1024 * 1024)              /* of one, unless somebody waits for more */
#define TAILS_BYTES_MAX ((size_t)64 * 1024 * 1024) /* of all, unless people wait for more */
#define TAIL_KEEP_NS    (60 * NS_PER_SEC)          /* after the last recovery */

static size_t cost(const struct held *e)
{
    return sizeof(*e) + e->data_len + e->fields_len + 3 * sizeof(void *);
}

static void account(struct tail *t, size_t more, size_t less)
{
    t->bytes += more - less;
    t->broker->tail_bytes += more - less;
    METRIC_ADD(tail_bytes, (int64_t)more - (int64_t)less);
}

/* --- the circle --- */

static struct held **place(const struct tail *t, uint32_t i)
{
    return &t->held[(t->first + i) & (t->cap - 1)];
}

const struct held *tail_held(const struct tail *t, uint32_t i)
{
    return *place(t, i);
}

static int reserve(struct tail *t)
{
    uint32_t cap = t->cap == 0 ? 8 : t->cap * 2;
    struct held **grown;

    if (t->n < t->cap)
        return 0;
    grown = malloc(cap * sizeof(struct held *));
    if (grown == NULL)
        return -1;
    for (uint32_t i = 0; i < t->n; i++)
        grown[i] = *place(t, i);
    account(t, cap * sizeof(struct held *), t->cap * sizeof(struct held *));
    free(t->held);
    t->held = grown;
    t->cap = cap;
    t->first = 0;
    return 0;
}

static struct held *held_new(const struct record *r, uint64_t time_ns)
{
    struct held *e = malloc(sizeof(*e) + r->data.n + r->fields.n);

    if (e == NULL)
        return NULL;
    e->time_ns = time_ns;
    e->data_len = (uint32_t)r->data.n;
    e->fields_len = (uint16_t)r->fields.n;
    e->flags = r->flags;
    if (r->data.n > 0)
        memcpy(e->bytes, r->data.p, r->data.n);
    if (r->fields.n > 0)
        memcpy(e->bytes + r->data.n, r->fields.p, r->fields.n);
    return e;
}

/* Forgets the oldest ones until at most n are left. */
static void shorten(struct tail *t, uint32_t n)
{
    for (; t->n > n; t->n--) {
        struct held *oldest = *place(t, 0);

        account(t, 0, cost(oldest));
        free(oldest);
        t->first = (t->first + 1) & (t->cap - 1);
    }
    if (t->n > 0)
        return;
    account(t, 0, t->cap * sizeof(struct held *));
    free(t->held);
    t->held = NULL;
    t->cap = t->first = 0;
}

/* --- life --- */

static bool keeps(const struct tail *t)
{
    return list_linked(&t->link);
}

static void forget_fetch(struct tail *t)
{
    list_remove(&t->fetch_link);
    t->fetch = TAIL_FETCH_NONE;
    t->serial++;
}

static void reset(struct tail *t)
{
    forget_fetch(t);
    shorten(t, 0);
    t->complete = false;
    t->at = t->chan->position;
    recover_drop_snapshot(t);
    recover_fetched(t, false);
}

struct tail *tail_get(struct broker *b, struct chan *c)
{
    struct tail *t = c->tail;

    if (t != NULL)
        return t;
    t = calloc(1, sizeof(*t));
    if (t == NULL)
        return NULL;
    list_init(&t->link);
    list_init(&t->fetch_link);
    recover_init(t);
    t->broker = b;
    t->chan = c;
    t->at = c->position;
    t->walked = fanout_before(c);
    return c->tail = t;
}

void tail_free(struct chan *c)
{
    struct tail *t = c->tail;

    if (t == NULL)
        return;
    recover_fini(t);
    forget_fetch(t);
    shorten(t, 0);
    blob_put(&t->previous);
    list_remove(&t->link);
    free(t);
    c->tail = NULL;
}

/* Gives up those that nobody has used for long, and the least lately used ones when all take too
 * much; a few at a time. */
static void limit_tails(struct broker *b)
{
    for (unsigned i = 0; i < 4 && !list_empty(&b->tails); i++) {
        struct tail *t = LIST_ENTRY(b->tails.next, struct tail, link);

        if (recover_busy(t) ||
            (b->tail_bytes <= TAILS_BYTES_MAX && clock_ns() - t->used_ns <= TAIL_KEEP_NS))
            return;
        if (t->wants_previous) {
            reset(t);
            list_remove(&t->link);
        } else {
            tail_free(t->chan);
        }
    }
}

void tail_use(struct tail *t, uint32_t depth)
{
    if (!keeps(t))
        reset(t);
    if (depth > t->depth) {
        t->depth = depth;
        t->complete = false;
    }
    t->used_ns = clock_ns();
    list_remove(&t->link);
    list_append(&t->broker->tails, &t->link);
}

void tail_settle(struct tail *t)
{
    while (t->bytes > TAIL_BYTES_MAX && t->n > 0) {
        shorten(t, t->n - 1);
        t->complete = false;
    }
}

static bool same(struct position a, struct position b)
{
    return a.epoch == b.epoch && a.offset == b.offset;
}

void tail_check(struct tail *t)
{
    const struct channel_options *o = channel_options_of(chan_name(t->chan));
    uint64_t ttl = o != NULL ? (uint64_t)o->history_ttl : 0;

    if (!same(t->at, t->chan->position))
        reset(t);
    if (t->n == 0 || clock_ns() - tail_held(t, t->n - 1)->time_ns <= ttl)
        return;
    shorten(t, 0);
    t->complete = true;
    recover_drop_snapshot(t);
}

/* --- what is delivered --- */

void tail_append(struct chan *c, const struct record *r)
{
    struct broker *b = c->tail->broker;
    struct tail *t = c->tail;
    struct held *e;

    if (!keeps(t) || !(r->flags & RECORD_IN_STREAM))
        return;
    if (same(t->at, record_before(r)))
        t->at = c->position;
    else
        reset(t);
    e = held_new(r, clock_ns());
    if (e == NULL || reserve(t) == -1) {
        free(e);
        reset(t);
        return;
    }
    account(t, cost(e), 0);
    *place(t, t->n++) = e;
    if (t->n > t->depth)
        shorten(t, t->depth);
    if (!recover_busy(t))
        tail_settle(t);
    limit_tails(b);
}

void tail_trimmed(struct chan *c, const struct record *r)
{
    struct tail *t = c->tail;

    if (t == NULL || !keeps(t) || r->epoch != t->at.epoch)
        return;
    shorten(t, r->offset < t->at.offset ? (uint32_t)MIN(t->n, t->at.offset - r->offset) : 0);
    recover_drop_snapshot(t);
}

/* The payload of the publication that stands before the first one of the batch, and its flags. */
static struct blob *payload_before(struct tail *t, const struct batch *batch, uint8_t *flags)
{
    const struct batch_item *first = &batch->items[0];
    uint64_t offset = first->offset - !(first->flags & RECORD_SKIP_HISTORY);
    const struct held *e;

    if (!keeps(t) || batch->epoch != t->at.epoch || offset > t->at.offset ||
        t->at.offset - offset >= t->n)
        return NULL;
    e = tail_held(t, t->n - 1 - (uint32_t)(t->at.offset - offset));
    *flags = e->flags;
    return blob_from((struct str){.p = e->bytes, .n = e->data_len});
}

void tail_walk_begins(struct chan *c, struct batch *batch)
{
    struct tail *t = c->tail;
    uint32_t last = batch->nitems - 1;

    if (batch->class != BATCH_PUBLICATIONS)
        return;
    t->walked = (struct position){.epoch = batch->epoch, .offset = batch->items[last].offset};
    if (!t->wants_previous)
        return;
    batch->previous = t->previous;
    batch->previous_flags = t->previous_flags;
    if (batch->previous == NULL)
        batch->previous = payload_before(t, batch, &batch->previous_flags);
    t->previous = blob_from(batch_payload(batch, last));
    t->previous_flags = batch->items[last].flags;
}

int broker_want_previous(struct broker *b, const struct sub *s)
{
    struct tail *t = tail_get(b, s->chan);

    if (t == NULL)
        return -1;
    t->wants_previous = true;
    return 0;
}

/* --- what is older --- */

void tail_fetch(struct tail *t)
{
    if (t->fetch != TAIL_FETCH_NONE)
        return;
    t->fetch = TAIL_FETCH_OWED;
    list_append(&t->broker->fetches, &t->fetch_link);
}

void tail_announced(struct chan *c)
{
    struct tail *t = c->tail;

    if (!same(t->at, c->position))
        reset(t);
    if (t->fetch != TAIL_FETCH_ASKED)
        return;
    forget_fetch(t); /* the hub that was asked may be gone */
    tail_fetch(t);
}

void tails_overdue(struct broker *b)
{
    while (!list_empty(&b->fetching)) {
        struct tail *t = LIST_ENTRY(b->fetching.next, struct tail, fetch_link);

        if (clock_ns() - t->asked_ns <= (uint64_t)config.hub_timeout)
            break;
        forget_fetch(t);
        recover_fetched(t, true);
    }
}

bool tails_flush(struct broker *b)
{
    while (!list_empty(&b->fetches)) {
        struct tail *t = LIST_ENTRY(b->fetches.next, struct tail, fetch_link);
        struct record r = {
            .kind = RECORD_HISTORY,
            .flags = RECORD_REVERSE,
            .chan = t->chan->id,
            .count = t->depth - t->n,
            .token = t->serial,
            .epoch = t->at.epoch,
            .offset = t->at.offset - t->n + 1,
            .name = chan_name(t->chan),
        };

        if (broker_put(b, &r) == -1)
            return false;
        METRIC_INC(tail_fetches);
        t->fetch = TAIL_FETCH_ASKED;
        t->asked_ns = clock_ns();
        list_remove(&t->fetch_link);
        list_append(&b->fetching, &t->fetch_link);
    }
    return true;
}

/* In front of the others. -1: no memory. */
static int prepend(struct tail *t, const struct record *r)
{
    struct held *e = held_new(r, r->time_ns);

    if (e == NULL || reserve(t) == -1) {
        free(e);
        return -1;
    }
    account(t, cost(e), 0);
    t->first = (t->first - 1) & (t->cap - 1);
    t->n++;
    *place(t, 0) = e;
    return 0;
}

void tail_part(struct chan *c, const struct record *r)
{
    struct tail *t = c->tail;
    bool failed = false;

    if (t == NULL || t->fetch != TAIL_FETCH_ASKED || r->token != t->serial)
        return;
    if (!(r->flags & RECORD_LAST)) {
        if (r->epoch != t->at.epoch || t->n >= t->depth || r->offset != t->at.offset - t->n)
            return; /* it is in another epoch, or no longer of use */
        if (prepend(t, r) == 0)
            return;
        failed = true;
    } else if (r->status == ENGINE_OK || r->status == ENGINE_TOO_BIG) {
        t->complete = true; /* what lies behind one that is too big can never be had */
    } else {
        failed = true;
    }
    forget_fetch(t);
    recover_fetched(t, failed);
    limit_tails(t->broker);
}
