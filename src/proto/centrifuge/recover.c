/* proto/centrifuge/recover.c - what a subscription has missed, in its answer.
 *
 * A subscription that the client asks for is answered as soon as the broker has what it missed. One
 * of a connect is answered with all the others; what comes until then is missed by then, and kept. */
#include "client.h"
#include "encode.h"

static int add_items(struct client_sub *cs, const struct batch *b, uint32_t first)
{
    struct client_start *start = cs->start;
    bool delta = (cs->sub.flags & CLIENT_SUB_DELTA) != 0;

    for (uint32_t i = first; i < b->nitems; i++) {
        if (!client_sub_wants(cs, b, i)) {
            start->chained = false;
            continue;
        }
        if (!start->any)
            cf_items_begin(&start->items, client_of(cs->conn)->encoding, &start->missed);
        /* Behind one that it has been given each may be a difference to the one before it. */
        if (encode_add(&start->items, b, i, delta, start->chained) == -1)
            return -1;
        start->any = start->chained = true;
    }
    return 0;
}

static void gain_base(struct client_sub *cs)
{
    if (!(cs->sub.flags & CLIENT_SUB_DELTA) || !cs->start->chained)
        return;
    cs->sub.flags &= (uint16_t)~CLIENT_SUB_BASELESS;
    cs->sub.variant = client_variant(client_of(cs->conn), AS_DIFFERENCE);
}

/* What was missed follows a push as publications do. */
static void follow(struct client_sub *cs, const struct recovery *r)
{
    unsigned variant = cs->sub.variant;

    sub_arrived(cs);
    if (!r->recovered || r->batch == NULL)
        return;
    if (batch_variant(r->batch, variant) == NULL)
        client_end(client_of(cs->conn), CLOSE_NO_MEMORY);
    else
        deliver_some(cs, r->batch, variant, r->first);
}

void centrifuge_recovered(struct sub *s, const struct recovery *r)
{
    struct client_sub *cs = client_sub_of(s);
    struct client_start *start = cs->start;

    cs->at = start->at = r->at;
    start->recovered = r->recovered;
    if (r->recovered)
        start->at.offset = start->since.since.offset; /* the client counts on from there */
    if (start->by_push) {
        follow(cs, r);
        return;
    }
    if (r->batch != NULL && add_items(cs, r->batch, r->first) == -1) {
        client_end(client_of(cs->conn), CLOSE_NO_MEMORY);
        return;
    }
    sub_arrived(cs);
}

void starting_lost(struct client_sub *cs, struct position to)
{
    struct client_start *start = cs->start;

    if (cs->sub.recovering) /* its answer will say */
        return;
    cs->at = start->at = to;
    start->recovered = start->any = start->chained = false;
    buf_clear(&start->missed);
}

void starting_keep(struct client_sub *cs, const struct batch *b, uint32_t first)
{
    struct client_start *start = cs->start;

    if (!start->recovered) { /* it begins later than it might */
        if (cs->sub.flags & CLIENT_SUB_STREAM)
            start->at = cs->at;
        return;
    }
    if (add_items(cs, b, first) == -1)
        client_end(client_of(cs->conn), CLOSE_NO_MEMORY);
}

int starting_end(struct client_sub *cs)
{
    if (!cs->start->any)
        return 0;
    gain_base(cs);
    return cf_items_end(&cs->start->items);
}
