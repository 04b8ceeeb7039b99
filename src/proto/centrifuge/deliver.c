/* proto/centrifuge/deliver.c - what comes from a channel.
 *
 * The form is the subscription's variant of the batch, shared by all who want it. Left to each
 * subscriber is whether it stands where the batch begins; anything else is the long way: what it
 * has already, what it does not want, what does not fit what it has. */
#include "base/hash.h"
#include "base/metrics.h"
#include "base/trace.h"
#include "client.h"
#include "core/tags.h"

/* ---- beginning ---- */

void centrifuge_subscribed(struct sub *s, struct position at)
{
    struct client_sub *cs = client_sub_of(s);

    if (cs->start == NULL || client_of(cs->conn)->state == CLIENT_REFUSED)
        return; /* it has been refused, and is being ended */
    TRACE(subscribed, cs->conn->id, chan_name(s->chan), at.offset);
    cs->at = cs->start->at = at;
    if (!cs->start->recover)
        sub_arrived(cs);
    else if (broker_recover(reactor->broker, s, &cs->start->since) == -1)
        client_end(client_of(cs->conn), CLOSE_NO_MEMORY);
}

/* ---- delivering ---- */

/* It has missed something, and stands at `to` now. */
static void lose(struct client_sub *cs, struct position to)
{
    if (!(cs->sub.flags & CLIENT_SUB_STREAM))
        return; /* it was not promised everything */
    if (cs->sub.flags & CLIENT_SUB_STARTING)
        starting_lost(cs, to);
    else
        sub_lose(cs, false);
}

/* The first item that is new to it; nitems: none. Its position moves behind the last. Something
 * that it should have had is missing: nitems, and it is lost. */
static uint32_t advance(struct client_sub *cs, const struct batch *b)
{
    const struct position end = {b->epoch, b->items[b->nitems - 1].offset};
    uint32_t i = 0;

    if (cs->at.epoch == 0)
        cs->at.epoch = b->epoch;
    if (cs->at.epoch != b->epoch) {
        lose(cs, end);
        return b->nitems;
    }
    while (i < b->nitems &&
           (b->items[i].flags & RECORD_SKIP_HISTORY ? b->items[i].offset < cs->at.offset
                                                    : b->items[i].offset <= cs->at.offset))
        i++;
    if (i == b->nitems)
        return i;
    if (b->items[i].offset > cs->at.offset + 1) {
        lose(cs, end);
        return b->nitems;
    }
    cs->at.offset = end.offset;
    return i;
}

static inline bool follows(const struct client_sub *cs, const struct batch *b)
{
    return b->items[0].offset == cs->at.offset + 1 && b->epoch == cs->at.epoch;
}

/* The whole batch. Most have one item; the rest stands apart, so that these save no registers. */
static __attribute__((noinline)) void deliver_many(struct client_sub *cs, const struct batch *b)
{
    session_deliver(cs->conn, b, cs->sub.variant, 0, b->nitems);
}

static inline void deliver_all(struct client_sub *cs, const struct batch *b)
{
    struct blob *form = b->variant[cs->sub.variant];

    if (UNLIKELY(b->nitems > 1))
        deliver_many(cs, b);
    else
        conn_deliver(cs->conn, form, 0, form->len, 0, 1);
}

/* Who goes through the items of a batch one by one: what comes next is delivered in runs. */
struct runs {
    struct client_sub *cs;
    const struct batch *b;
    unsigned variant;
    uint32_t first, end; /* not delivered yet */
};

/* The tags of an item; valid until the next call. */
static const struct tags *tags_of(const struct batch *b, uint32_t i)
{
    static struct tags tags; /* list: owned; kept */
    struct str rest, name, value;

    tags.n = 0;
    if (!record_field(batch_fields(b, i), FIELD_TAGS, &rest))
        return &tags;
    while (tags_next(&rest, &name, &value)) {
        if (tags.n == tags.cap) {
            size_t cap = tags.cap == 0 ? 16 : 2 * tags.cap;
            struct tag *more = realloc(tags.list, cap * sizeof(*more));

            if (more == NULL)
                break;
            tags.list = more;
            tags.cap = cap;
        }
        tags.list[tags.n++] = (struct tag){.key = name, .value = value};
    }
    return &tags;
}

/* Publications of one tag supersede each other: by the value of the tag `key`, in this channel. */
static uint64_t newest_tag(const struct client_sub *cs, const struct batch *b, uint32_t i)
{
    const struct tags *tags = tags_of(b, i);
    struct str key = STR_NULL;

    for (size_t t = 0; t < tags->n; t++)
        if (str_equal(tags->list[t].key, STR_LIT("key")))
            key = tags->list[t].value;
    return (hash_str(key) ^ hash_str(chan_name(cs->sub.chan))) | 1;
}

static void deliver_newest(const struct runs *r)
{
    struct blob *form = batch_variant(r->b, r->variant);
    uint32_t start, end;

    for (uint32_t i = r->first; i < r->end; i++) {
        batch_range(r->b, r->variant, i, &start, &end);
        conn_deliver_newest(r->cs->conn, form, start, end, newest_tag(r->cs, r->b, i));
    }
}

static void runs_flush(struct runs *r)
{
    if (r->end > r->first && (r->cs->sub.flags & CLIENT_SUB_CONFLATE))
        deliver_newest(r);
    else if (r->end > r->first)
        session_deliver(r->cs->conn, r->b, r->variant, r->first, r->end);
    r->first = r->end;
}

static void runs_add(struct runs *r, uint32_t i)
{
    if (r->end != i) {
        runs_flush(r);
        r->first = i;
    }
    r->end = i + 1;
}

/* Is it the one whom the server API leaves out? Of what is recovered, its own as well: there the fields
 * alone say whose it is. */
static bool left_out(const struct client_sub *cs, const struct batch *b, uint32_t i)
{
    char id[CLIENT_ID_TEXT];
    struct client_info by;
    struct str named;

    if (!record_field(batch_fields(b, i), FIELD_EXCLUDE, &named)) {
        if (!record_field(batch_fields(b, i), FIELD_INFO, &named) ||
            client_info_read(named, &by) == -1)
            return false;
        named = by.client;
    }
    client_id_text(client_of(cs->conn), id);
    return str_equal(named, (struct str){id, sizeof(id)});
}

/* Its own that are not to come back to it, and what is for all but it. */
static bool excluded(const struct client_sub *cs, const struct batch *b, uint32_t i)
{
    const struct batch_item *item = &b->items[i];

    if ((item->flags & RECORD_EXCLUDE_ORIGIN) == 0)
        return false;
    if (item->asker != SESSION_CENTRIFUGE)
        return left_out(cs, b, i);
    return item->token == cs->conn->id && item->source == reactor->cfg.worker;
}

bool client_sub_wants(const struct client_sub *cs, const struct batch *b, uint32_t i)
{
    if (excluded(cs, b, i))
        return false;
    return !(cs->sub.flags & CLIENT_SUB_FILTER) ||
           tags_filter_match(cs->more->filter, tags_of(b, i));
}

/* The form in which each item stands for itself. Made here for the few who need it out of turn. */
static bool plain_form(struct client_sub *cs, struct batch *b, unsigned *variant)
{
    size_t budget = SIZE_MAX;

    *variant = client_variant(client_of(cs->conn), AS_BASE);
    while (!batch_encode(b, *variant, &budget))
        continue;
    return batch_variant(b, *variant) != NULL;
}

/* A subscription with differences: its form holds for the whole batch or not at all. */
static void deliver_delta(struct client_sub *cs, struct batch *b, uint32_t first, bool some)
{
    struct runs r = {.cs = cs, .b = b, .variant = cs->sub.variant};
    bool whole = !some && (first == 0 || !(cs->sub.flags & CLIENT_SUB_BASELESS));

    if (!whole && !plain_form(cs, b, &r.variant)) {
        client_end(client_of(cs->conn), CLOSE_NO_MEMORY);
        return;
    }
    for (uint32_t i = first; i < b->nitems; i++)
        if (client_sub_wants(cs, b, i))
            runs_add(&r, i);
    if (r.end == b->nitems) { /* it has the last one */
        cs->sub.flags &= (uint16_t)~CLIENT_SUB_BASELESS;
        cs->sub.variant = client_variant(client_of(cs->conn), AS_DIFFERENCE);
    } else {
        cs->sub.flags |= CLIENT_SUB_BASELESS;
        cs->sub.variant = client_variant(client_of(cs->conn), AS_FIRST);
    }
    runs_flush(&r);
}

void deliver_some(struct client_sub *cs, const struct batch *b, unsigned variant, uint32_t first)
{
    struct runs r = {.cs = cs, .b = b, .variant = variant};

    for (uint32_t i = first; i < b->nitems; i++)
        if (client_sub_wants(cs, b, i))
            runs_add(&r, i);
    runs_flush(&r);
}

/* Is something in it that its client is not to get? */
static bool has_excluded(const struct client_sub *cs, const struct batch *b)
{
    if ((b->any & RECORD_EXCLUDE_ORIGIN) == 0)
        return false;
    for (uint32_t i = 0; i < b->nitems; i++)
        if (excluded(cs, b, i))
            return true;
    return false;
}

/* Everything but the usual. */
static __attribute__((noinline)) void deliver_special(struct client_sub *cs, struct batch *b)
{
    uint32_t first = 0;
    bool some;

    if (cs->sub.flags & CLIENT_SUB_LOST)
        return;
    if (b->class != BATCH_PUBLICATIONS) {
        if (!(cs->sub.flags & CLIENT_SUB_STARTING) && batch_variant(b, cs->sub.variant) != NULL)
            deliver_all(cs, b);
        return;
    }
    if (batch_variant(b, cs->sub.variant) == NULL) {
        client_end(client_of(cs->conn), CLOSE_NO_MEMORY);
        return;
    }
    if (cs->sub.flags & CLIENT_SUB_STREAM)
        first = advance(cs, b);
    if (first == b->nitems)
        return;
    some = (cs->sub.flags & (CLIENT_SUB_FILTER | CLIENT_SUB_CONFLATE)) || has_excluded(cs, b);
    if (cs->sub.flags & CLIENT_SUB_STARTING)
        starting_keep(cs, b, first);
    else if (cs->sub.flags & CLIENT_SUB_DELTA)
        deliver_delta(cs, b, first, some);
    else if (some)
        deliver_some(cs, b, cs->sub.variant, first);
    else
        session_deliver(cs->conn, b, cs->sub.variant, first, b->nitems);
}

void centrifuge_deliver(struct sub *s, struct batch *b)
{
    struct client_sub *cs = client_sub_of(s);

    if (UNLIKELY((s->flags & CLIENT_SUB_SPECIAL) != 0 || b->class != BATCH_PUBLICATIONS ||
                 (b->any & RECORD_EXCLUDE_ORIGIN) || b->variant[s->variant] == NULL)) {
        deliver_special(cs, b);
        return;
    }
    if (s->flags & CLIENT_SUB_STREAM) {
        if (UNLIKELY(!follows(cs, b))) {
            deliver_special(cs, b);
            return;
        }
        cs->at.offset = b->items[b->nitems - 1].offset;
    }
    deliver_all(cs, b);
}

/* ---- losing ---- */

/* Who has recovered meanwhile may be told of what it has. */
static bool knows(const struct client_sub *cs, struct position p)
{
    return cs->at.epoch == p.epoch && cs->at.offset >= p.offset;
}

void centrifuge_lost(struct sub *s, struct position to)
{
    if (!knows(client_sub_of(s), to))
        lose(client_sub_of(s), to);
}

void centrifuge_restarted(struct sub *s, struct position at)
{
    if (!knows(client_sub_of(s), at))
        lose(client_sub_of(s), at);
}
