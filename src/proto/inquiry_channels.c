/* proto/inquiry_channels.c - what the hub is asked: the channels of this node.
 *
 * Happy path: 1 the question goes into the ring, or waits for room there · 2 the answer comes in parts,
 * which are gathered · 3 the last one: done(). can fail: the hub refuses, or is silent (HUB_TIMEOUT). */
#include "core/channel_name.h"
#include "core/engine.h"
#include "inquiry_internal.h"
#include "net/reactor.h"

#define LISTED_MAX (1024 * 1024) /* bytes of an answer: RECORD_PAGE_MAX names, and more */

struct listing { /* malloc'ed; of an exchange that waits */
    struct http_exchange *x;
    struct waiter waiter; /* for room in the ring */
    void (*done)(struct http_exchange *x, struct str members, uint32_t matches);
    struct buf members;
    uint32_t max;
    bool has_after;
    uint16_t pattern_len, after_len;
    char pattern[CHANNEL_NAME_MAX], after[CHANNEL_NAME_MAX];
};

static void listing_free(struct listing *l)
{
    l->x->state = NULL;
    l->x->abandoned = NULL;
    waiter_remove(&l->waiter);
    buf_fini(&l->members);
    free(l);
}

static void abandoned(struct http_exchange *x)
{
    listing_free(x->state);
}

static enum waiter_answer ask(struct waiter *w)
{
    struct listing *l = CONTAINER_OF(w, struct listing, waiter);
    struct asker asker = {SESSION_INQUIRY, l->x->token};
    struct str after = {l->after, l->after_len};

    if (!broker_can_publish(reactor->broker, 0, 1) ||
        broker_list_here(reactor->broker, asker, (struct str){l->pattern, l->pattern_len}, l->max,
                         l->has_after ? &after : NULL) == -1)
        return WAITER_NO_ROOM;
    return WAITER_SERVED;
}

void inquiry_channels(struct http_exchange *x, struct str pattern, uint32_t max,
                      const struct str *after,
                      void (*done)(struct http_exchange *x, struct str members, uint32_t matches))
{
    struct listing *l = calloc(1, sizeof(*l));

    if (l == NULL) {
        http_refuse(x, CLOSE_NO_MEMORY);
        return;
    }
    l->x = x;
    l->done = done;
    l->max = max;
    l->pattern_len = (uint16_t)MIN(pattern.n, sizeof(l->pattern));
    if (l->pattern_len > 0)
        memcpy(l->pattern, pattern.p, l->pattern_len);
    l->has_after = after != NULL;
    l->after_len = (uint16_t)(after != NULL ? MIN(after->n, sizeof(l->after)) : 0);
    if (l->after_len > 0)
        memcpy(l->after, after->p, l->after_len);
    waiter_init(&l->waiter, ask);
    x->state = l;
    x->abandoned = abandoned;
    http_defer(x);
    if (ask(&l->waiter) == WAITER_NO_ROOM)
        waiters_add(&reactor->waiters, &l->waiter, false);
}

void inquiry_listed(const struct record *r)
{
    struct http_exchange *x = http_exchange_find(r->token);
    struct listing *l = x != NULL && x->abandoned == abandoned ? x->state : NULL;
    struct buf members;
    enum close_reason why = CLOSE_NONE;

    if (l == NULL)
        return; /* it has not waited for so long */
    if ((r->flags & RECORD_LAST) && r->status != ENGINE_OK)
        why = CLOSE_HUB_TIMEOUT;
    else if (r->data.n > LISTED_MAX - l->members.len ||
             (r->data.n > 0 && buf_append(&l->members, r->data) == -1))
        why = CLOSE_NO_MEMORY;
    else if (!(r->flags & RECORD_LAST))
        return;
    members = l->members;
    l->members = (struct buf){0};
    if (why == CLOSE_NONE) {
        void (*done)(struct http_exchange *, struct str, uint32_t) = l->done;

        listing_free(l);
        done(x, buf_view(&members), r->count);
    } else {
        listing_free(l);
        http_refuse(x, why);
    }
    buf_fini(&members);
}
