/* core/broker_presence.c - the worker's members of channels: what it says of them to the hub, what
 * the hub says of others'.
 *
 * A record about a member that finds no room waits in a queue; nobody publishes meanwhile, so the
 * queue is no longer than what the worker's subscribers do without publishing. To a new hub members
 * are announced again: a channel that has had one is put on a list, and its subscribers are asked,
 * from the last to the first, because whoever leaves meanwhile moves others only to places that are
 * still to come, or that were asked before. */
#include "broker_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

#define FLUSH_MAX 1024 /* members that one turn announces, and records that it makes up for */

/* Makes the record's field of what is known of the member. -1: no memory, or it is too long. */
static int fill(struct broker *b, struct record *r, struct str info)
{
    buf_clear(&b->fields);
    if (record_add_field(&b->fields, FIELD_INFO, info) == -1)
        return -1;
    r->fields = buf_view(&b->fields);
    return record_bytes(r) <= ring_max_record(&b->out) ? 0 : -1;
}

/* In its order. -1: no memory. */
static int put_or_queue(struct broker *b, struct record *r)
{
    if (b->behind.first == NULL && broker_put(b, r) == 0)
        return 0;
    return queue_push(&b->behind, r) != NULL ? 0 : -1;
}

int broker_presence_add(struct broker *b, const struct sub *s, struct str info, uint8_t flags)
{
    struct record r = {.kind = RECORD_PRESENCE_ADD,
                       .flags = flags,
                       .count = b->round,
                       .time_ns = clock_ns(),
                       .name = chan_name(s->chan)};

    if (fill(b, &r, info) == -1 || put_or_queue(b, &r) == -1)
        return -1;
    s->chan->members = true;
    return 0;
}

void broker_presence_remove(struct broker *b, const struct sub *s, struct str info, uint8_t flags)
{
    struct record r = {.kind = RECORD_PRESENCE_REMOVE,
                       .flags = flags,
                       .time_ns = clock_ns(),
                       .name = chan_name(s->chan)};

    if (info.n > 0 && fill(b, &r, info) == 0 && put_or_queue(b, &r) == 0)
        return;
    LOG(LOG_WARN, "no memory to say that a member has gone, all are announced again");
    broker_announce(b); /* it is not among them */
}

int broker_presence(struct broker *b, struct asker asker, struct str channel)
{
    struct record r = {
        .kind = RECORD_PRESENCE, .asker = asker.kind, .token = asker.token, .name = channel};

    return channel.n <= CHANNEL_NAME_MAX ? broker_put(b, &r) : -1;
}

int broker_presence_stats(struct broker *b, struct asker asker, struct str channel)
{
    struct record r = {
        .kind = RECORD_PRESENCE_STATS, .asker = asker.kind, .token = asker.token, .name = channel};

    return channel.n <= CHANNEL_NAME_MAX ? broker_put(b, &r) : -1;
}

/* --- what waits --- */

/* -1: no room. */
static int write_behind(struct broker *b, unsigned *budget)
{
    while (b->behind.first != NULL && *budget > 0) {
        if (broker_put(b, &b->behind.first->rec) == -1)
            return -1;
        free(queue_pop(&b->behind));
        (*budget)--;
    }
    return 0;
}

/* Too long for any record: sessions see to it that nobody is, and whoever is must not keep the worker from
 * announcing the others for ever. */
static bool is_too_long(const struct broker *b, const struct record *r, struct str info)
{
    return info.n > RECORD_FIELDS_MAX - RECORD_FIELD_OVERHEAD ||
           record_bytes(r) + RECORD_FIELD_OVERHEAD + info.n > ring_max_record(&b->out);
}

/* -1: no room, or no memory: it is asked again. */
static int announce_member(struct broker *b, struct sub *s)
{
    const struct sink_ops *ops = broker_sink(b, s);
    struct record r = {.kind = RECORD_PRESENCE_ADD,
                       .flags = PRESENCE_AGAIN,
                       .count = b->round,
                       .name = chan_name(s->chan)};
    bool tell = false;

    if (ops->presence == NULL)
        return 0;
    buf_clear(&b->info);
    if (ops->presence(s, &b->info, &tell) == -1)
        return -1;
    if (b->info.len == 0)
        return 0;
    if (UNLIKELY(is_too_long(b, &r, buf_view(&b->info)))) {
        METRIC_INC(presence_lost);
        return 0;
    }
    r.flags |= tell ? PRESENCE_TELL : 0;
    return fill(b, &r, buf_view(&b->info)) == 0 ? broker_put(b, &r) : -1;
}

/* The channel whose members come next; NULL: none. */
static struct chan *next_scan(struct broker *b)
{
    struct chan *c;

    if (b->scan != NULL || list_empty(&b->members))
        return b->scan;
    c = LIST_ENTRY(b->members.next, struct chan, owed);
    c->members_due = false;
    broker_owe(b, c);
    b->scan = c;
    b->scan_index = c->count;
    return c;
}

void members_flush(struct broker *b)
{
    unsigned budget = FLUSH_MAX;
    struct chan *c;

    if (write_behind(b, &budget) == -1)
        return;
    while (budget > 0 && (c = next_scan(b)) != NULL) {
        b->scan_index = MIN(b->scan_index, c->count);
        if (b->scan_index == 0) {
            b->scan = NULL;
            continue;
        }
        if (announce_member(b, c->subs[b->scan_index - 1]) == -1)
            return;
        b->scan_index--;
        budget--;
    }
}

/* --- from the hub --- */

void members_receive(struct broker *b, const struct record *r)
{
    struct chan *c = broker_chan_by_id(b, r->chan);

    /* As with publications. Who has left with a worker that died is told without a source. */
    if (r->source < HUB_WORKERS_MAX) {
        if (repeats_has_member(b, r))
            return;
        b->seen_members[r->source] = MAX(b->seen_members[r->source], r->position + 1);
    }
    if (c != NULL && c->state == CHAN_LIVE && c->count > 0 && c->joins)
        fanout_member(b, c, r);
}
