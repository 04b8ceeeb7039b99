/* core/hub_history.c - requests for what is kept of a channel, answered in pieces.
 *
 * Happy path:
 *   1. a HISTORY becomes a struct asking at the end of a list
 *   2. each in turn, while its worker takes what it is sent, has the engine say a few publications,
 *      which are written as HISTORY_PARTs, and goes to the end again
 *   3. when there is no more, or enough, the last one has the status and the position.
 * Can fail: too many of one worker, no memory, an engine that cannot, a publication that is larger than a
 * ring holds (all told by the last part);
 * whoever does not take its answers is passed over, and given up when its time is over. */
#include "hub_internal.h"

#include "base/clock.h"
#include "base/metrics.h"

/* What the engine is asked for at a time: so many publications, or so many bytes and one more. */
#define PIECE       64
#define PIECE_BYTES (64 * 1024)

struct asking {
    struct pending call; /* first: the engine's token; in none of the workers' lists */
    struct list link;    /* in hub.histories */
    uint64_t until_ns;   /* then nobody waits for the answer any more */
    struct position since;
    uint64_t end;   /* the newest one when this began; 0: it has not */
    uint32_t left;  /* publications that are still wanted */
    uint32_t told;  /* so many were */
    uint32_t piece; /* asked for */
    uint32_t came;  /* of them */
    size_t bytes;   /* of the piece */
    uint32_t chan;
    bool reverse;
    bool waits; /* for the engine */
    bool full;  /* the piece has enough bytes */
    bool given_up;
    bool too_big; /* for that reason: no ring holds the next one */
    uint8_t name_len;
    char name[];
};

static void answer_last(struct hub *h, const struct record *to, enum engine_status status,
                        struct position at, uint32_t count)
{
    struct record r = {
        .kind = RECORD_HISTORY_PART,
        .flags = RECORD_LAST,
        .asker = to->asker,
        .status = (uint16_t)status,
        .chan = to->chan,
        .count = count,
        .token = to->token,
        .epoch = at.epoch,
        .offset = at.offset,
    };

    if (hub_answer(h, to->source, &r) == -1)
        return; /* the asker's time runs out */
}

/* The last part of somebody's answer. */
static void finish(struct hub *h, struct asking *a, enum engine_status status, struct position at)
{
    const struct record to = {
        .asker = a->call.asker, .source = a->call.worker, .chan = a->chan, .token = a->call.token};

    if (a->call.life == h->worker[a->call.worker].life)
        answer_last(h, &to, status, at, a->told);
}

static void asking_free(struct hub *h, struct asking *a)
{
    h->worker[a->call.worker].histories--;
    list_remove(&a->link);
    free(a);
}

void hub_history_start(struct hub *h, const struct record *r)
{
    struct hub_worker *w = &h->worker[r->source];
    struct asking *a = w->histories < HUB_HISTORIES_MAX ? calloc(1, sizeof(*a) + r->name.n) : NULL;

    if (a == NULL) {
        answer_last(h, r, ENGINE_UNAVAILABLE, (struct position){0}, 0);
        return;
    }
    a->call = (struct pending){.token = r->token,
                               .life = w->life,
                               .worker = r->source,
                               .kind = RECORD_HISTORY,
                               .asker = r->asker};
    a->until_ns = clock_ns() + h->limits.answer_ns;
    a->since = (struct position){.epoch = r->epoch, .offset = r->offset};
    a->left = r->count;
    a->chan = r->chan;
    a->reverse = r->flags & RECORD_REVERSE;
    a->name_len = (uint8_t)r->name.n;
    if (r->name.n > 0)
        memcpy(a->name, r->name.p, r->name.n);
    w->histories++;
    list_append(&h->histories, &a->link);
}

bool hub_history_kept(void *hub, uint64_t token, const struct record *r)
{
    struct asking *a = (struct asking *)(uintptr_t)token;
    struct record part = *r;
    struct hub *h = hub;

    a->came++;
    a->bytes += r->data.n + r->fields.n;
    a->since.offset = r->offset;
    if (a->given_up || a->call.life != h->worker[a->call.worker].life)
        return false;
    part.kind = RECORD_HISTORY_PART;
    part.asker = a->call.asker;
    part.token = a->call.token;
    part.chan = a->chan;
    /* Without memory for a part the rest is of no use. */
    if (hub_answer(h, a->call.worker, &part) == -1) {
        a->given_up = true;
        a->too_big = hub_fits_no_ring(h, &part);
    } else {
        a->told++;
    }
    a->full = a->bytes >= PIECE_BYTES;
    return !a->full && !a->given_up;
}

void hub_history_done(struct hub *h, struct pending *p, enum engine_status status,
                      struct position at)
{
    struct asking *a = (struct asking *)p;
    bool more;

    if (a->end == 0)
        a->end = at.offset;
    more = status == ENGINE_OK && (a->came == a->piece || a->full) && a->left > a->came &&
           (a->reverse ? a->since.offset > 1 : a->since.offset < a->end);
    a->waits = false;
    if (!more || a->given_up) {
        if (a->given_up)
            status = a->too_big ? ENGINE_TOO_BIG : ENGINE_UNAVAILABLE;
        finish(h, a, status, at);
        asking_free(h, a);
        return;
    }
    a->left -= a->came;
}

/* Ends a request that is of no use any more: its asker has gone, or has waited for too long. */
static bool ended(struct hub *h, struct asking *a)
{
    if (a->call.life == h->worker[a->call.worker].life && clock_ns() < a->until_ns)
        return false;
    if (a->waits) { /* the engine has its token */
        a->given_up = true;
        return true;
    }
    finish(h, a, ENGINE_UNAVAILABLE, (struct position){0});
    asking_free(h, a);
    return true;
}

/* Its next piece. It may be gone when this returns. */
static void ask(struct hub *h, struct asking *a)
{
    list_remove(&a->link);
    list_append(&h->histories, &a->link);
    a->waits = true;
    a->came = 0;
    a->bytes = 0;
    a->full = false;
    a->piece = MIN(PIECE, a->left);
    if (a->end != 0 && !a->reverse) /* hub_history_done() has seen that it is further on */
        a->piece = (uint32_t)MIN(a->piece, a->end - a->since.offset);
    h->engine->ops->history(h->engine, (struct str){.p = a->name, .n = a->name_len}, a->since,
                            a->piece, a->reverse, (uint64_t)(uintptr_t)a);
}

bool hub_history_run(struct hub *h, size_t *budget)
{
    bool some;

    do { /* once round the list */
        struct list *last = h->histories.prev, *l = h->histories.next, *next;

        some = false;
        for (bool end = list_empty(&h->histories); !end; l = next) {
            struct asking *a = LIST_ENTRY(l, struct asking, link);

            end = l == last;
            next = l->next;
            if (ended(h, a) || a->waits || h->worker[a->call.worker].out.first != NULL)
                continue;
            if (*budget == 0)
                return true;
            (*budget)--;
            some = true;
            ask(h, a);
        }
    } while (some);
    return false;
}

void hub_history_fini(struct hub *h)
{
    while (!list_empty(&h->histories))
        asking_free(h, LIST_ENTRY(h->histories.next, struct asking, link));
}

/* --- removing --- */

void hub_remove(struct hub *h, const struct record *r)
{
    char *name = malloc(r->name.n + 1);
    struct pending *p = name != NULL ? hub_pending_new(h, r) : NULL;

    if (p == NULL) {
        free(name);
        return; /* the asker's time runs out */
    }
    memcpy(name, r->name.p, r->name.n);
    p->name = name;
    p->name_len = (uint8_t)r->name.n;
    h->engine->ops->remove_history(h->engine, r->name, (uint64_t)(uintptr_t)p);
}

/* The workers keep none of it either. */
static void trim(struct hub *h, struct hub_channel *c, struct position to)
{
    for (unsigned i = 0; i < c->n; i++) {
        struct interest *it = &hub_interests(c)[i];
        struct record r = {
            .kind = RECORD_TRIMMED, .chan = it->chan, .epoch = to.epoch, .offset = to.offset};

        if (!hub_interest_stale(h, it) && hub_answer(h, it->worker, &r) == -1)
            hub_mark_lost(h, it);
    }
}

void hub_removed(struct hub *h, struct pending *p, enum engine_status status, struct position at)
{
    struct hub_channel *c = hub_find(h, (struct str){.p = p->name, .n = p->name_len});

    free(p->name);
    p->name = NULL;
    if (status == ENGINE_OK && c != NULL)
        trim(h, c, at);
    hub_pending_done(h, p, status);
}
