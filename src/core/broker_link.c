/* core/broker_link.c - the worker's end of the link: what it owes the hub, what the hub sends.
 *
 * Publications go straight into the ring. Records about interest are owed by channels, on two
 * intrusive lists, and written at the end of the turn as far as there is room: one record per
 * channel and turn, and none is ever without a place to wait. */
#include "broker_internal.h"

#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/trace.h"

#define FLUSH_MAX        4096 /* records owed that one turn writes: about a millisecond */
#define ANNOUNCE_BUCKETS 1024 /* of the channel table per step */

static enum task_result announce_step(struct task *t);

/* --- writing --- */

static int put(struct broker *b, struct record *r)
{
    void *p = ring_reserve(&b->out, record_bytes(r));

    if (p == NULL)
        return -1;
    r->generation = b->cfg.generation;
    r->source = (uint16_t)b->cfg.worker;
    record_encode(r, p);
    /* Nobody waits for a COUNT: it is read with whatever comes next. Each one waking the hub cost a
     * connection two system calls. */
    b->urgent |= r->kind != RECORD_COUNT;
    return 0;
}

/* HELLO comes before everything else of this incarnation, also when the old one left a
 * full ring. */
int broker_put(struct broker *b, struct record *r)
{
    struct record hello = {.kind = RECORD_HELLO};

    if (b->hello_owed) {
        if (put(b, &hello) == -1)
            return -1;
        b->hello_owed = false;
    }
    return put(b, r);
}

void broker_link_init(struct broker *b)
{
    struct record hello = {.kind = RECORD_HELLO};

    ring_attach_producer(&b->out, b->cfg.to_hub, b->cfg.ring_capacity);
    ring_attach_consumer(&b->in, b->cfg.from_hub, b->cfg.ring_capacity);
    task_init(&b->announce, "announce", announce_step);
    b->hello_owed = put(b, &hello) == -1;
    b->urgent = false;
    ring_commit(&b->out);
    b->committed = b->out.position;
}

bool broker_can_publish(struct broker *b, size_t bytes, size_t messages)
{
    return broker_can_publish_to(b, CHANNEL_NAME_MAX, bytes, messages);
}

bool broker_can_publish_to(struct broker *b, size_t name_max, size_t bytes, size_t messages)
{
    size_t each = record_size(name_max, 0);

    /* What is owed goes first, or publishers could keep it waiting for ever. */
    if (b->announcing || b->starved || b->hello_owed || messages > SIZE_MAX / 2 / each ||
        bytes > SIZE_MAX / 2)
        return false;
    if (ring_has_room(&b->out, bytes + messages * each, messages, bytes + each))
        return true;
    b->urgent = true; /* what takes the room may be COUNTs that nobody has waited for */
    return false;
}

/* As ring_has_room() promises. */
size_t broker_publication_max(const struct broker *b)
{
    return (size_t)b->out.capacity / 2 - 16 - record_size(CHANNEL_NAME_MAX, 0);
}

int broker_publish(struct broker *b, const struct broker_publication *p)
{
    struct record r = {
        .kind = RECORD_PUBLISH,
        .flags = p->flags,
        .asker = p->origin.kind,
        .token = p->origin.token,
        .time_ns = clock_ns(),
        .name = p->channel,
        .data = p->data,
        .fields = p->fields,
    };

    if (broker_put(b, &r) == -1)
        return -1;
    TRACE(publish, trace_conn_of(p->origin.kind, p->origin.token), p->channel,
          TRACE_PUBLICATION(b->cfg.worker, ring_last(&b->out, record_bytes(&r))), p->data.n);
    METRIC_INC(publications_in);
    return 0;
}

int broker_fence(struct broker *b, struct asker asker)
{
    struct record r = {.kind = RECORD_FENCE, .asker = asker.kind, .token = asker.token};

    return broker_put(b, &r);
}

uint64_t broker_written(const struct broker *b)
{
    return b->out.position;
}

uint64_t broker_taken(const struct broker *b)
{
    return ring_taken(&b->out);
}

int broker_history(struct broker *b, struct asker asker, struct str channel, struct position since,
                   uint32_t limit, bool reverse)
{
    struct record r = {
        .kind = RECORD_HISTORY,
        .flags = reverse ? RECORD_REVERSE : 0,
        .asker = asker.kind,
        .token = asker.token,
        .count = limit,
        .epoch = since.epoch,
        .offset = since.offset,
        .name = channel,
    };

    return broker_put(b, &r);
}

int broker_history_remove(struct broker *b, struct asker asker, struct str channel)
{
    struct record r = {
        .kind = RECORD_HISTORY_REMOVE, .asker = asker.kind, .token = asker.token, .name = channel};

    return broker_put(b, &r);
}

/* --- what is owed --- */

void broker_owe(struct broker *b, struct chan *c)
{
    enum chan_owes owes = CHAN_OWES_NOTHING;

    if (c->count > 0 && c->ask)
        owes = CHAN_OWES_SUBSCRIBE;
    else if (c->count > 0 && c->members_due)
        owes = CHAN_OWES_MEMBERS; /* before a COUNT, or ANNOUNCED could come before them */
    else if (c->state != CHAN_NEW && c->count != c->told)
        owes = CHAN_OWES_COUNT;
    if (owes == c->owes) /* keeps its place */
        return;
    c->owes = (uint8_t)owes;
    list_remove(&c->owed);
    if (owes == CHAN_OWES_MEMBERS)
        list_append(&b->members, &c->owed);
    else if (owes != CHAN_OWES_NOTHING)
        list_append(owes == CHAN_OWES_SUBSCRIBE ? &b->asks : &b->owed, &c->owed);
}

/* Writes what the channel owes; may free it. -1: no room. */
static int write_owed(struct broker *b, struct chan *c)
{
    struct record r = {.chan = c->id, .count = c->count, .name = chan_name(c)};

    if (c->count == 0)
        r.kind = RECORD_UNSUBSCRIBE;
    else
        r.kind = c->ask ? RECORD_SUBSCRIBE : RECORD_COUNT;
    if (broker_put(b, &r) == -1)
        return -1;
    if (c->count == 0) {
        broker_chan_free(b, c);
        return 0;
    }
    if (c->ask) {
        c->ask = false;
        c->refused = false;
        c->asked_ms = (uint32_t)(clock_ns() / NS_PER_MS);
        c->asked_hub = b->hub_generation;
        if (c->state == CHAN_NEW)
            c->state = CHAN_ASKING;
    }
    c->told = c->count;
    broker_owe(b, c);
    return 0;
}

static void write_owed_list(struct broker *b, struct list *list, unsigned *budget)
{
    while (!list_empty(list) && *budget > 0) {
        if (write_owed(b, LIST_ENTRY(list->next, struct chan, owed)) == -1)
            return;
        (*budget)--;
    }
}

static void finish_announcing(struct broker *b)
{
    struct record r = {.kind = RECORD_ANNOUNCED, .count = b->hub_generation, .chan = b->round};

    if (b->announcing && !b->scanning && list_empty(&b->asks) && !members_owed(b) &&
        !users_owed(b) && broker_put(b, &r) == 0)
        b->announcing = false;
}

bool broker_flush(struct broker *b, bool *more)
{
    unsigned budget = FLUSH_MAX;

    write_owed_list(b, &b->asks, &budget);
    if (UNLIKELY(members_owed(b)))
        members_flush(b);
    if (UNLIKELY(users_owed(b)))
        users_flush(b, &budget);
    finish_announcing(b);
    write_owed_list(b, &b->owed, &budget);
    b->starved = unanswered_flush(b) || !tails_flush(b) || !list_empty(&b->asks) ||
                 !list_empty(&b->owed) || members_owed(b) || users_owed(b);
    *more = b->starved || (b->announcing && !b->scanning);
    if (b->out.position == b->committed && !b->urgent)
        return false;
    ring_commit(&b->out);
    b->committed = b->out.position;
    if (!b->urgent && ring_used(&b->out) < b->out.capacity / 4)
        return false;
    b->urgent = false;
    return ring_wake_needed(&b->out);
}

/* --- announcing --- */

static void announce_chan(struct htab_node *node, void *arg)
{
    struct broker *b = arg;
    struct chan *c = CONTAINER_OF(node, struct chan, by_name);

    if (b->announce_lost && c->state == CHAN_LIVE)
        fanout_lost(b, c);
    c->members_due = c->members;
    broker_owe(b, c);
    if (c->count == 0 || (c->asked_hub == b->hub_generation && !b->announce_lost))
        return;
    c->ask = true;
    broker_owe(b, c);
}

static enum task_result announce_step(struct task *t)
{
    struct broker *b = CONTAINER_OF(t, struct broker, announce);

    if (!b->scanned)
        b->scanned =
            !htab_scan(&b->by_name, &b->announce_cursor, ANNOUNCE_BUCKETS, announce_chan, b);
    else
        b->scanning = users_announce(b, ANNOUNCE_BUCKETS);
    if (b->scanning)
        return TASK_MORE;
    b->announce_lost = false;
    return TASK_DONE;
}

void broker_announce(struct broker *b)
{
    b->announcing = b->scanning = true;
    b->scanned = false;
    b->announce_cursor = b->users_cursor = 0;
    b->round++;
    task_add(b->cfg.tasks, &b->announce);
}

void broker_hub_generation(struct broker *b, uint32_t hub_generation)
{
    if (hub_generation == 0 || hub_generation == b->hub_generation)
        return;
    if (b->hub_generation != 0)
        unanswered_owe(b);
    repeats_begin(b);
    b->hub_generation = hub_generation;
    broker_announce(b);
}

/* --- reading --- */

_Static_assert(RECORD_SOURCE_REMOTE == HUB_WORKERS_MAX, "no worker's number");

static void receive_subscribed(struct broker *b, const struct record *r)
{
    struct chan *c = broker_chan_by_id(b, r->chan);
    bool restarted;

    if (c == NULL || c->state == CHAN_NEW) /* left meanwhile */
        return;
    if (r->status != ENGINE_OK) {
        if (c->state == CHAN_ASKING) { /* whoever comes next asks again */
            c->refused = true;
            fanout_refused(b, c, r->status);
        }
        return;
    }
    restarted = c->state == CHAN_LIVE && c->in_stream && r->epoch != c->position.epoch;
    c->in_stream = (r->flags & RECORD_IN_STREAM) != 0;
    c->position = (struct position){.epoch = r->epoch, .offset = r->offset};
    if (c->state == CHAN_LIVE) { /* announced again */
        if (restarted)
            fanout_restarted(b, c);
        if (c->tail != NULL)
            tail_announced(c);
        return;
    }
    c->state = CHAN_LIVE;
    fanout_subscribed(b, c);
}

static void receive_publication(struct broker *b, const struct record *r)
{
    struct chan *c;

    if (r->source > RECORD_SOURCE_REMOTE) {
        METRIC_INC(ring_bad_records);
        return;
    }
    c = broker_chan_by_id(b, r->chan);
    if (repeats_has(b, c, r)) {
        METRIC_INC(duplicates);
        if (c != NULL && c->state == CHAN_LIVE) /* delivered, at another position */
            c->position = (struct position){.epoch = r->epoch, .offset = r->offset};
        return;
    }
    if (r->source != RECORD_SOURCE_REMOTE)
        b->seen[r->source] = MAX(b->seen[r->source], r->position + 1);
    if (c == NULL || c->state != CHAN_LIVE)
        return;
    if (r->flags & RECORD_IN_STREAM)
        c->in_stream = 1;
    TRACE_FOR(receive, trace_worker(r->source), trace_conn_of(r->asker, r->token), chan_name(c),
              TRACE_PUBLICATION(r->source, r->position), r->offset, r->data.n,
              trace_since(r->time_ns));
    fanout_append(b, c, r);
}

/* Has this answer come before? */
static bool repeated(struct broker *b, const struct record *r)
{
    uint64_t *seen = r->kind == RECORD_FENCED
                         ? &b->seen_fence
                         : &b->seen_own[turn_of(b->cfg.worker, r->asker, r->token)];

    if (r->position < *seen)
        return true;
    *seen = r->position + 1;
    return false;
}

/* To whoever asked. */
static void receive_answer(struct broker *b, const struct record *r)
{
    if (r->asker == 0 && r->kind == RECORD_FENCED)
        unanswered_receive(b, r);
    else if (r->asker >= b->cfg.nsinks || b->cfg.sinks[r->asker] == NULL)
        METRIC_INC(ring_bad_records);
    else
        b->cfg.sinks[r->asker]->answered(r);
}

static void receive_lost(struct broker *b, const struct record *r)
{
    struct chan *c = broker_chan_by_id(b, r->chan);

    if (c == NULL || c->state != CHAN_LIVE)
        return;
    if (!(r->flags & RECORD_GAP))
        fanout_lost(b, c);
    c->position = (struct position){.epoch = r->epoch, .offset = r->offset};
    if (r->flags & RECORD_GAP)
        fanout_restarted(b, c);
}

static void receive(struct broker *b, const struct record *r)
{
    struct chan *c;

    switch (r->kind) {
    case RECORD_SUBSCRIBED:
        receive_subscribed(b, r);
        break;
    case RECORD_PUBLICATION:
        receive_publication(b, r);
        break;
    case RECORD_JOIN:
    case RECORD_LEAVE:
        members_receive(b, r);
        break;
    case RECORD_CONTROL_MESSAGE:
        control_receive(b, r);
        break;
    case RECORD_PUBLISHED:
    case RECORD_FENCED:
    case RECORD_MEMBER_COUNT:
    case RECORD_CONTROLLED:
    case RECORD_USER_CONNECTED:
        if (!repeated(b, r))
            receive_answer(b, r);
        break;
    case RECORD_LISTED:
    case RECORD_MEMBERS:
        receive_answer(b, r);
        break;
    case RECORD_POSITIONED:
        if (r->asker == 0)
            positions_receive(b, r);
        else
            receive_answer(b, r);
        break;
    case RECORD_HISTORY_PART:
        if (r->chan == 0)
            receive_answer(b, r);
        else if ((c = broker_chan_by_id(b, r->chan)) != NULL)
            tail_part(c, r);
        break;
    case RECORD_HISTORY_REMOVED:
        if (!repeated(b, r))
            receive_answer(b, r);
        break;
    case RECORD_TRIMMED:
        if ((c = broker_chan_by_id(b, r->chan)) != NULL)
            tail_trimmed(c, r);
        break;
    case RECORD_LOST:
        receive_lost(b, r);
        break;
    default: /* not a kind that the hub sends; record_decode() has let it pass */
        METRIC_INC(ring_bad_records);
    }
}

/* Nothing in the ring can be trusted any more: start from what comes next. */
static void resynchronise(struct broker *b)
{
    LOG(LOG_ERROR, "the ring from the hub is corrupt, publications are lost");
    METRIC_INC(ring_bad_records);
    ring_discard(&b->in);
    b->announce_lost = true;
    broker_announce(b);
}

bool broker_receive(struct broker *b, size_t max_records)
{
    struct str raw;
    struct record r;
    int rc = 0;

    if (UNLIKELY(!list_empty(&b->fetching)))
        tails_overdue(b);
    while (max_records-- > 0 && b->backlog <= (size_t)config.publication_backlog &&
           (rc = ring_peek(&b->in, &raw)) > 0) {
        bool sound = record_decode(raw, &r) == 0;

        if (sound)
            METRIC_INC(ring_records[r.kind]);
        if (sound && r.generation == b->cfg.generation)
            receive(b, &r);
        else
            METRIC_INC(ring_bad_records);
        ring_next(&b->in);
    }
    ring_release(&b->in);
    if (rc < 0)
        resynchronise(b);
    return ring_used(&b->in) > 0;
}

bool broker_sleep(struct broker *b)
{
    return ring_sleep(&b->in);
}

void broker_awake(struct broker *b)
{
    ring_awake(&b->in);
}
