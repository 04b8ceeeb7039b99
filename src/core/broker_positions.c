/* core/broker_positions.c - are the channels with a history where the hub says they are?
 *
 * Whatever is lost on the way is told when it is lost; this finds what nobody has noticed. Happy
 * path: 1. every config.channel_position_check_delay the channels are gone through, a few at a time
 * 2. each is asked for (POSITION) 3. the answer comes among the channel's publications, so it has
 * to be the position of the last of them. can fail: it is another, and the subscribers are told as
 * of a loss; no room in the ring (it is gone on with later). */
#include "broker_internal.h"

#include "base/config.h"
#include "base/metrics.h"

int broker_position(struct broker *b, struct asker asker, const struct sub *s)
{
    struct record r = {
        .kind = RECORD_POSITION,
        .asker = asker.kind,
        .token = asker.token,
        .chan = s->chan->id,
        .name = chan_name(s->chan),
    };

    return broker_put(b, &r);
}

/* Of the table of channels in one call, in so many portions. */
#define BUCKETS  16
#define PORTIONS 64

static void ask(struct htab_node *node, void *arg)
{
    struct broker *b = arg;
    struct chan *c = CONTAINER_OF(node, struct chan, by_name);
    struct record r = {.kind = RECORD_POSITION, .chan = c->id, .name = chan_name(c)};

    if (c->state == CHAN_LIVE && c->in_stream && c->count > 0)
        (void)!broker_put(b, &r); /* no room, in a bucket of many: the next round */
}

void broker_check_positions(struct broker *b, uint64_t now_ns)
{
    if (now_ns < b->positions_ns || b->announcing)
        return;
    if (b->positions_ns == 0) { /* the first round comes after a whole interval */
        b->positions_ns = now_ns + (uint64_t)config.channel_position_check_delay;
        return;
    }
    for (unsigned i = 0; i < PORTIONS; i++) {
        if (!broker_can_publish(b, 0, BUCKETS))
            return; /* others come first */
        if (!htab_scan(&b->by_name, &b->positions_cursor, BUCKETS, ask, b))
            break;
        if (i + 1 == PORTIONS)
            return;
    }
    b->positions_cursor = 0;
    unanswered_owe(b);
    b->positions_ns = now_ns + (uint64_t)config.channel_position_check_delay;
}

void positions_receive(struct broker *b, const struct record *r)
{
    struct chan *c = broker_chan_by_id(b, r->chan);

    if (c == NULL || c->state != CHAN_LIVE || r->epoch == 0 ||
        (r->epoch == c->position.epoch && r->offset == c->position.offset))
        return;
    METRIC_INC(positions_missed);
    fanout_lost(b, c);
    c->position = (struct position){.epoch = r->epoch, .offset = r->offset};
}
