/* core/hub_list.c - listings of channels: a resumable walk of the channel table, answered in parts.
 *
 * One listing runs at a time, and only while its asker takes the answers, so it holds one part of
 * memory. A page, which has the first names behind one in their order, is collected to the end of the
 * walk. Whoever does not read is passed over at first, and given up when it hangs in the middle
 * or has waited for too long: nobody else waits for it, and no ring is left unread for its sake.
 * Where there are several nodes, hub_survey.c asks for the listing of each: those are collected. */
#include "hub_internal.h"

#include "base/clock.h"
#include "base/metrics.h"

#define PART_SIZE 8192
#define COLLECTED UINT32_MAX /* no worker has asked */

struct listing {
    struct list link;  /* in hub.listings */
    unsigned worker;   /* COLLECTED: for a survey */
    uint32_t life;     /* of the asker */
    uint64_t until_ns; /* then nobody waits for the answer any more */
    uint8_t asker;
    uint64_t token;
    struct hub_collected collected;
    uint32_t max, listed, matches;
    uint32_t serial; /* marks the channels that it has seen */
    size_t cursor;
    size_t pattern_len, part_len;
    bool paged, top;
    struct hub_page *page; /* owned; NULL until it runs */
    size_t after_len;
    char after[CHANNEL_NAME_MAX]; /* a page has names behind this one */
    char pattern[CHANNEL_NAME_MAX];
    char part[PART_SIZE];
    struct hub *hub; /* borrowed */
};

/* The last part, of a listing that cannot be had. */
void hub_list_refuse(struct hub *h, unsigned worker, uint8_t asker, uint64_t token)
{
    struct record r = {
        .kind = RECORD_LISTED,
        .flags = RECORD_LAST,
        .asker = asker,
        .status = ENGINE_UNAVAILABLE,
        .token = token,
    };

    if (hub_answer(h, worker, &r) == -1)
        return; /* the asker's time runs out */
}

static struct listing *listing_new(struct hub *h, const struct hub_query *q, uint64_t until_ns)
{
    struct listing *l = calloc(1, sizeof(*l));

    if (l == NULL)
        return NULL;
    list_init(&l->link);
    l->hub = h;
    l->worker = COLLECTED;
    l->until_ns = until_ns;
    l->max = q->paged ? MIN(q->max, RECORD_PAGE_MAX) : q->max;
    l->paged = q->paged;
    l->top = q->top;
    l->pattern_len = MIN(q->pattern.n, sizeof(l->pattern));
    if (l->pattern_len > 0)
        memcpy(l->pattern, q->pattern.p, l->pattern_len);
    l->after_len = q->paged ? MIN(q->after.n, sizeof(l->after)) : 0;
    if (l->after_len > 0)
        memcpy(l->after, q->after.p, l->after_len);
    list_append(&h->listings, &l->link);
    return l;
}

void hub_list_start(struct hub *h, unsigned worker, const struct record *r)
{
    const struct hub_query q = {.pattern = r->name,
                                .after = r->data,
                                .max = r->count,
                                .paged = (r->flags & RECORD_PAGE) != 0,
                                .top = (r->flags & RECORD_TOP) != 0};
    uint64_t until_ns = clock_ns() + h->limits.answer_ns;
    struct listing *l = NULL;

    if (h->worker[worker].listings < HUB_LISTINGS_MAX) {
        if (hub_survey_wanted(h) && !(r->flags & RECORD_HERE)) {
            if (hub_survey_start(h, worker, r, &q) == 0)
                return;
        } else {
            l = listing_new(h, &q, until_ns);
        }
    }
    if (l == NULL) {
        hub_list_refuse(h, worker, r->asker, r->token);
        return;
    }
    l->worker = worker;
    l->life = h->worker[worker].life;
    l->asker = r->asker;
    l->token = r->token;
    h->worker[worker].listings++;
}

int hub_list_collect(struct hub *h, const struct hub_query *q, uint64_t node, uint64_t survey,
                     uint64_t until_ns)
{
    struct listing *l = listing_new(h, q, until_ns);

    if (l == NULL)
        return -1;
    l->collected.node = node;
    l->collected.survey = survey;
    return 0;
}

static void listing_free(struct listing *l)
{
    hub_page_free(l->page);
    buf_fini(&l->collected.names);
    if (l->hub->listing == l)
        l->hub->listing = NULL;
    list_remove(&l->link);
    if (l->worker != COLLECTED)
        l->hub->worker[l->worker].listings--;
    free(l);
}

void hub_list_fini(struct hub *h)
{
    if (h->listing != NULL)
        listing_free(h->listing);
    while (!list_empty(&h->listings))
        listing_free(LIST_ENTRY(h->listings.next, struct listing, link));
}

/* It cannot be had. */
static void give_up(struct listing *l)
{
    if (l->worker == COLLECTED) {
        l->collected.failed = true;
        hub_survey_collected(l->hub, &l->collected);
    } else {
        hub_list_refuse(l->hub, l->worker, l->asker, l->token);
    }
    listing_free(l);
}

static void send_part(struct listing *l, bool last)
{
    struct record r = {
        .kind = RECORD_LISTED,
        .flags = last ? RECORD_LAST : 0,
        .asker = l->asker,
        .token = l->token,
        .count = l->matches,
        .name = last && l->paged ? hub_page_last(l->page) : STR_NULL,
        .data = {.p = l->part, .n = l->part_len},
    };

    /* A part that finds no memory makes the rest of no use. */
    if (hub_answer(l->hub, l->worker, &r) == -1)
        l->until_ns = 0;
    l->part_len = 0;
}

static uint64_t count_clients(const struct hub *h, struct hub_channel *c)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < c->n; i++) {
        if (!hub_interest_stale(h, &hub_interests(c)[i]))
            sum += hub_interests(c)[i].count;
    }
    return sum;
}

size_t hub_list_put(char *out, size_t size, bool first, struct str name, uint64_t clients)
{
    return (size_t)snprintf(out, size, "%s\"%.*s\":{\"num_clients\":%llu}", first ? "" : ",",
                            STR_ARG(name), (unsigned long long)clients);
}

static void put_member(struct listing *l, struct str name, uint64_t clients)
{
    if (l->worker == COLLECTED) {
        if (hub_survey_put(&l->collected.names, name, clients) == -1)
            l->until_ns = 0;
    } else {
        if (l->part_len > PART_SIZE - HUB_LISTED_MAX)
            send_part(l, false);
        l->part_len += hub_list_put(l->part + l->part_len, PART_SIZE - l->part_len, l->listed == 0,
                                    name, clients);
    }
    l->listed++;
}

/* The page is complete. */
static void put_page(struct listing *l)
{
    for (uint32_t i = 0; i < l->page->n; i++)
        put_member(l, (struct str){.p = l->page->items[i]->name, .n = l->page->items[i]->len},
                   l->page->items[i]->clients);
}

static void visit(struct htab_node *node, void *arg)
{
    struct listing *l = arg;
    struct hub_channel *c = CONTAINER_OF(node, struct hub_channel, node);
    struct str name = hub_channel_name(c);
    uint64_t clients;

    if (c->listed == l->serial) /* the table grew under the walk */
        return;
    c->listed = l->serial;
    clients = count_clients(l->hub, c);
    if (clients == 0 || !str_glob((struct str){.p = l->pattern, .n = l->pattern_len}, name) ||
        (l->paged && hub_name_compare(name, (struct str){.p = l->after, .n = l->after_len}) <= 0))
        return;
    l->matches++;
    if (l->paged && hub_page_add(l->page, name, clients) == -1)
        l->until_ns = 0; /* it is refused */
    else if (!l->paged && l->listed < l->max)
        put_member(l, name, clients);
}

/* Ends a listing that is of no use any more: its asker has gone, or has waited for too long. True:
 * it has. */
static bool ended(struct listing *l)
{
    if (l->worker != COLLECTED && l->life != l->hub->worker[l->worker].life) {
        listing_free(l);
        return true;
    }
    if (clock_ns() < l->until_ns)
        return false;
    give_up(l);
    return true;
}

static bool reads(const struct listing *l)
{
    return l->worker == COLLECTED || l->hub->worker[l->worker].out.first == NULL;
}

/* Its worker leaves what is queued for it. */
static bool hangs(const struct listing *l)
{
    return l->worker != COLLECTED && hub_hangs(l->hub, l->worker);
}

/* -1: no memory, it stays among those that wait. */
static int page_begin(struct listing *l)
{
    if (!l->paged)
        return 0;
    l->page = hub_page_new(l->max, l->top);
    return l->page != NULL ? 0 : -1;
}

/* The listing that can go on now, or NULL. */
static struct listing *next_listing(struct hub *h)
{
    struct list *n, *next;

    if (h->listing != NULL && !ended(h->listing)) {
        if (!hangs(h->listing))
            return reads(h->listing) ? h->listing : NULL;
        give_up(h->listing);
    }
    for (n = h->listings.next; n != &h->listings; n = next) {
        struct listing *l = LIST_ENTRY(n, struct listing, link);

        next = n->next;
        if (!ended(l) && reads(l) && page_begin(l) == 0) {
            list_remove(&l->link);
            h->listing_serial += h->listing_serial == UINT32_MAX ? 2 : 1;
            l->serial = h->listing_serial;
            return h->listing = l;
        }
    }
    return NULL;
}

bool hub_list_run(struct hub *h, size_t *budget)
{
    struct listing *l;

    if (h->listing == NULL && list_empty(&h->listings))
        return false;
    while (*budget > 0 && (l = next_listing(h)) != NULL) {
        (*budget)--;
        if (htab_scan(&h->channels, &l->cursor, 1, visit, l))
            continue;
        if (l->paged && l->until_ns != 0)
            put_page(l);
        if (l->until_ns == 0) { /* something of it found no memory */
            give_up(l);
            continue;
        }
        if (l->worker == COLLECTED) {
            l->collected.matches = l->matches;
            hub_survey_collected(h, &l->collected);
        } else {
            send_part(l, true);
        }
        listing_free(l);
    }
    return next_listing(h) != NULL;
}
