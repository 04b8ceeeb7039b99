#include "net/outq.h"

#include "codec/ws_tx.h"

#define CHUNK_ENTRIES 10
/* So many publications with tags may wait before the first pass over them, and then twice as many, or
 * as much, as it has left: so a pass costs each of them a constant. */
#define CONFLATE_FIRST 64

struct entry {
    struct blob *blob;    /* shared (refs) */
    uint32_t begin;       /* where its first frame begins, if it is publications; <= offset */
    uint32_t offset, end; /* bytes still to send; offset < end */
    uint32_t items;       /* publications in [begin, end); 0: something else */
    uint64_t tag;         /* the newest of these suffices; 0: none does for another */
};

/* Every chunk but the tail is filled to the end; every chunk but the head starts at 0. */
struct outq_chunk {
    struct outq_chunk *next;
    uint32_t first, last;
    struct entry entries[CHUNK_ENTRIES];
};

static void outq_pools_init(struct outq_pools *pools)
{
    pool_init(&pools->queues, "outq", sizeof(struct outq), 0);
    pool_init(&pools->chunks, "outq_chunk", sizeof(struct outq_chunk), 0);
}

void outq_pools_fini(struct outq_pools *pools)
{
    if (pools->queues.size == 0)
        return;
    pool_fini(&pools->queues);
    pool_fini(&pools->chunks);
    pools->queues.size = 0;
}

struct outq *outq_new(struct outq_pools *pools, void *owner, uint64_t now_ns)
{
    struct outq *q;

    if (pools->queues.size == 0)
        outq_pools_init(pools);
    q = pool_get(&pools->queues);
    if (q == NULL)
        return NULL;
    list_init(&q->link);
    q->pools = pools;
    q->owner = owner;
    q->since = now_ns;
    return q;
}

static void entry_fini(struct outq *q, struct entry *e)
{
    q->bytes -= e->end - e->offset;
    q->pools->bytes -= e->end - e->offset;
    q->items -= e->items;
    q->entries--;
    blob_put(&e->blob);
}

/* The head chunk has nothing left. */
static void outq_drop_head(struct outq *q)
{
    struct outq_chunk *k = q->head;

    q->head = k->next;
    if (q->head == NULL)
        q->tail = NULL;
    pool_put(&q->pools->chunks, k);
}

void outq_free(struct outq **qp)
{
    struct outq *q = *qp;

    if (q == NULL)
        return;
    while (q->head != NULL) {
        while (q->head->first < q->head->last)
            entry_fini(q, &q->head->entries[q->head->first++]);
        outq_drop_head(q);
    }
    list_remove(&q->link);
    if (q->over_since != 0)
        list_remove(&q->over);
    pool_put(&q->pools->queues, q);
    *qp = NULL;
}

/* The tail chunk with room for one more, or NULL. */
static struct outq_chunk *outq_room(struct outq *q)
{
    struct outq_chunk *k = q->tail;

    if (k != NULL && k->last < CHUNK_ENTRIES)
        return k;
    k = pool_get(&q->pools->chunks);
    if (k == NULL)
        return NULL;
    if (q->tail != NULL)
        q->tail->next = k;
    else
        q->head = k;
    q->tail = k;
    return k;
}

static int append_tagged(struct outq *q, struct blob *b, uint32_t offset, uint32_t end,
                         uint32_t items, uint64_t tag)
{
    struct outq_chunk *k;

    if (offset == end)
        return 0;
    k = outq_room(q);
    if (k == NULL)
        return -1;
    k->entries[k->last++] = (struct entry){.blob = blob_get(b),
                                           .begin = offset,
                                           .offset = offset,
                                           .end = end,
                                           .items = items,
                                           .tag = tag};
    q->bytes += end - offset;
    q->pools->bytes += end - offset;
    q->items += items;
    q->entries++;
    return 0;
}

int outq_append(struct outq *q, struct blob *b, uint32_t offset, uint32_t end, uint32_t items)
{
    return append_tagged(q, b, offset, end, items, 0);
}

int outq_append_newest(struct outq *q, struct blob *b, uint32_t offset, uint32_t end, uint64_t tag)
{
    if (append_tagged(q, b, offset, end, 1, tag) == -1)
        return -1;
    q->tagged++;
    return 0;
}

bool outq_has_tagged(const struct outq *q)
{
    return q->tagged > 0;
}

bool outq_wants_conflating(const struct outq *q, size_t least)
{
    return q->tagged >= MAX(q->conflate_at, CONFLATE_FIRST) ||
           (q->tagged > 0 && outq_cost(q) >= MAX(q->conflate_cost, least));
}

void outq_begun(struct outq *q, uint32_t begin)
{
    q->head->entries[q->head->first].begin = begin;
}

int outq_iovec(const struct outq *q, struct iovec *iov, int max)
{
    struct outq_chunk *k;
    uint32_t i;
    int n = 0;

    for (k = q->head; k != NULL; k = k->next)
        for (i = k->first; i < k->last; i++) {
            struct entry *e = &k->entries[i];

            if (n == max)
                return n;
            iov[n].iov_base = e->blob->data + e->offset;
            iov[n].iov_len = e->end - e->offset;
            n++;
        }
    return n;
}

void outq_sent(struct outq *q, size_t n, uint64_t now_ns)
{
    if (n == 0)
        return;
    q->since = now_ns;
    while (n > 0) {
        struct entry *e = &q->head->entries[q->head->first];
        size_t left = e->end - e->offset;

        if (n < left) {
            e->offset += (uint32_t)n;
            q->bytes -= n;
            q->pools->bytes -= n;
            return;
        }
        n -= left;
        entry_fini(q, e);
        if (++q->head->first == q->head->last)
            outq_drop_head(q);
    }
}

/* Frees the chunks behind k. */
static void outq_cut(struct outq *q, struct outq_chunk *k)
{
    struct outq_chunk *next, *c;

    for (c = k->next; c != NULL; c = next) {
        next = c->next;
        pool_put(&q->pools->chunks, c);
    }
    k->next = NULL;
    q->tail = k;
}

/* Cuts the first entry behind the frames that have begun (not framed: behind its end, if it has
 * begun). Returns the number of publications
 * removed; *begun: there is such a frame, else it is dropped as the others are. */
static uint32_t outq_cut_first(struct outq *q, uint32_t ahead, bool framed, bool *begun)
{
    struct entry *e = &q->head->entries[q->head->first];
    uint32_t must = e->offset + MIN(e->end - e->offset, ahead);
    uint32_t at = e->begin, kept = 0, cut;

    *begun = e->items == 0;
    if (e->items == 0)
        return 0;
    if (!framed) {
        *begun = must > e->begin;
        return 0;
    }
    while (at < must) {
        at += (uint32_t)ws_tx_frame_size((struct str){e->blob->data + at, e->end - at});
        if (at > e->offset) {
            kept++;
        } else { /* it is sent */
            e->begin = at;
            e->items--;
            q->items--;
        }
    }
    if (kept == 0)
        return 0;
    *begun = true;
    cut = e->items - kept;
    q->bytes -= e->end - at;
    q->pools->bytes -= e->end - at;
    q->items -= cut;
    e->items = kept;
    e->end = at;
    return cut;
}

/* The newest entry of each tag. */
struct newest {
    struct slot {
        uint64_t tag; /* 0: free */
        const struct entry *entry;
    } * slots; /* owned */
    size_t mask;
};

static struct slot *newest_slot(const struct newest *t, uint64_t tag)
{
    size_t i = (size_t)tag & t->mask;

    while (t->slots[i].tag != 0 && t->slots[i].tag != tag)
        i = (i + 1) & t->mask;
    return &t->slots[i];
}

static int newest_init(struct newest *t, const struct outq *q)
{
    size_t slots = 4;

    while (slots < 2 * q->entries)
        slots *= 2;
    t->slots = calloc(slots, sizeof(*t->slots));
    if (t->slots == NULL)
        return -1;
    t->mask = slots - 1;
    for (const struct outq_chunk *k = q->head; k != NULL; k = k->next)
        for (uint32_t i = k->first; i < k->last; i++)
            if (k->entries[i].tag != 0)
                *newest_slot(t, k->entries[i].tag) =
                    (struct slot){k->entries[i].tag, &k->entries[i]};
    return 0;
}

/* Whether an entry goes; it is asked about each where it has stood before any moved. */
static bool is_superseded(const struct entry *e, const struct newest *t)
{
    return t == NULL ? e->items > 0 : e->tag != 0 && newest_slot(t, e->tag)->entry != e;
}

/* Kept entries move down in place: the writing end (to, at) never overtakes the reading end.
 * newest: what to ask about each; NULL: all publications go. keep: the first one stays. */
static uint32_t outq_remove(struct outq *q, const struct newest *newest, bool keep)
{
    struct outq_chunk *k, *to = q->head;
    uint32_t i, at = to->first, last, dropped = 0;

    for (k = q->head; k != NULL; k = k->next) {
        last = k->last;
        for (i = k->first; i < last; i++) {
            struct entry *e = &k->entries[i];

            if (!keep && is_superseded(e, newest)) {
                dropped += e->items;
                entry_fini(q, e);
                continue;
            }
            keep = false;
            if (at == CHUNK_ENTRIES) {
                to->last = at;
                to = to->next;
                at = 0;
            }
            to->entries[at++] = *e;
        }
    }
    to->last = at;
    outq_cut(q, to);
    if (at == to->first)
        outq_drop_head(q);
    return dropped;
}

uint32_t outq_drop_publications(struct outq *q, uint32_t ahead, bool framed)
{
    uint32_t dropped;
    bool keep;

    if (q->head == NULL)
        return 0;
    dropped = outq_cut_first(q, ahead, framed, &keep);
    return dropped + outq_remove(q, NULL, keep);
}

uint32_t outq_conflate(struct outq *q, uint32_t ahead)
{
    struct newest newest;
    const struct entry *first;
    uint32_t dropped;

    if (q->tagged == 0 || q->head == NULL || newest_init(&newest, q) == -1)
        return 0;
    first = &q->head->entries[q->head->first];
    dropped = outq_remove(q, &newest, ahead > 0 || first->offset > first->begin);
    free(newest.slots);
    q->tagged = 0;
    q->conflate_cost = 2 * outq_cost(q);
    q->conflate_at = 2 * (uint32_t)MIN(q->entries, (size_t)UINT32_MAX / 2);
    return dropped;
}

size_t outq_bytes(const struct outq *q)
{
    return q->bytes;
}

size_t outq_cost(const struct outq *q)
{
    return q->bytes + q->entries * OUTQ_ENTRY_COST;
}

bool outq_empty(const struct outq *q)
{
    return q->bytes == 0;
}

uint64_t outq_since(const struct outq *q)
{
    return q->since;
}

void outq_touch(struct outq *q, uint64_t now_ns)
{
    q->since = now_ns;
}

uint32_t outq_items(const struct outq *q)
{
    return q->items;
}
