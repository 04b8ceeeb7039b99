/* core/hub_list.c - listings of channels: a resumable walk of the channel table, answered in parts.
 *
 * One listing runs at a time, and only while its asker takes the answers, so it holds one part of
 * memory. A page, which has the first names behind one in their order, is collected to the end of the
 * walk. Whoever does not read is passed over at first, and given up when it hangs in the middle
 * or has waited for too long: nobody else waits for it, and no ring is left unread for its sake. */
#include "hub_internal.h"

#include "base/clock.h"
#include "base/metrics.h"

#define PART_SIZE  8192
#define MEMBER_MAX (CHANNEL_NAME_MAX + sizeof(",\"\":{\"num_clients\":18446744073709551615}"))

struct page_item { /* malloc'ed */
    uint64_t clients;
    uint8_t len;
    char name[];
};

struct page { /* malloc'ed, while its listing runs */
    uint32_t n, max;
    struct page_item *items[]; /* owned; in the order of their names */
};

struct listing {
    struct list link; /* in hub.listings */
    unsigned worker;
    uint32_t life;     /* of the asker */
    uint64_t until_ns; /* then nobody waits for the answer any more */
    uint8_t asker;
    uint64_t token;
    uint32_t max, listed, matches;
    uint32_t serial; /* marks the channels that it has seen */
    size_t cursor;
    size_t pattern_len, part_len;
    bool paged;
    struct page *page; /* owned; NULL until it runs */
    size_t after_len;
    char after[CHANNEL_NAME_MAX]; /* a page has names behind this one */
    char pattern[CHANNEL_NAME_MAX];
    char part[PART_SIZE];
    struct hub *hub; /* borrowed */
};

/* The last part, of a listing that cannot be had. */
static void refuse(struct hub *h, unsigned worker, uint8_t asker, uint64_t token)
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

void hub_list_start(struct hub *h, unsigned worker, const struct record *r)
{
    struct listing *l =
        h->worker[worker].listings < HUB_LISTINGS_MAX ? calloc(1, sizeof(*l)) : NULL;

    if (l == NULL) {
        refuse(h, worker, r->asker, r->token);
        return;
    }
    list_init(&l->link);
    l->hub = h;
    l->worker = worker;
    l->life = h->worker[worker].life;
    l->until_ns = clock_ns() + h->limits.answer_ns;
    l->asker = r->asker;
    l->token = r->token;
    l->max = r->count;
    l->pattern_len = r->name.n;
    if (r->name.n > 0)
        memcpy(l->pattern, r->name.p, r->name.n);
    l->paged = r->flags & RECORD_PAGE;
    if (l->paged) {
        l->max = MIN(l->max, RECORD_PAGE_MAX);
        l->after_len = MIN(r->data.n, sizeof(l->after));
        if (l->after_len > 0)
            memcpy(l->after, r->data.p, l->after_len);
    }
    h->worker[worker].listings++;
    list_append(&h->listings, &l->link);
}

static void page_free(struct page *p)
{
    if (p == NULL)
        return;
    for (uint32_t i = 0; i < p->n; i++)
        free(p->items[i]);
    free(p);
}

static void listing_free(struct listing *l)
{
    page_free(l->page);
    if (l->hub->listing == l)
        l->hub->listing = NULL;
    list_remove(&l->link);
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

static struct str item_name(const struct page_item *item)
{
    return (struct str){.p = item->name, .n = item->len};
}

static void send_part(struct listing *l, bool last)
{
    struct record r = {
        .kind = RECORD_LISTED,
        .flags = last ? RECORD_LAST : 0,
        .asker = l->asker,
        .token = l->token,
        .count = l->matches,
        .name = last && l->paged && l->page->n > 0 ? item_name(l->page->items[l->page->n - 1])
                                                   : STR_NULL,
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

static void put_member(struct listing *l, struct str name, uint64_t clients)
{
    int n;

    if (l->part_len > PART_SIZE - MEMBER_MAX)
        send_part(l, false);
    n = snprintf(l->part + l->part_len, PART_SIZE - l->part_len,
                 "%s\"%.*s\":{\"num_clients\":%llu}", l->listed > 0 ? "," : "", STR_ARG(name),
                 (unsigned long long)clients);
    l->part_len += (size_t)n;
    l->listed++;
}

/* By bytes. */
static int compare(struct str a, struct str b)
{
    int rc = a.n > 0 && b.n > 0 ? memcmp(a.p, b.p, MIN(a.n, b.n)) : 0;

    return rc != 0 ? rc : (a.n > b.n) - (a.n < b.n);
}

/* Its place among the first max names. -1: no memory. */
static int page_add(struct page *p, struct str name, uint64_t clients)
{
    struct page_item *item;
    uint32_t low = 0, high = p->n;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (compare(item_name(p->items[middle]), name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == p->max)
        return 0;
    item = malloc(sizeof(*item) + name.n);
    if (item == NULL)
        return -1;
    item->clients = clients;
    item->len = (uint8_t)name.n;
    memcpy(item->name, name.p, name.n);
    if (p->n == p->max)
        free(p->items[--p->n]);
    memmove(&p->items[low + 1], &p->items[low], (p->n - low) * sizeof(p->items[0]));
    p->items[low] = item;
    p->n++;
    return 0;
}

/* The page is complete. */
static void put_page(struct listing *l)
{
    for (uint32_t i = 0; i < l->page->n; i++)
        put_member(l, item_name(l->page->items[i]), l->page->items[i]->clients);
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
        (l->paged && compare(name, (struct str){.p = l->after, .n = l->after_len}) <= 0))
        return;
    l->matches++;
    if (l->paged && page_add(l->page, name, clients) == -1)
        l->until_ns = 0; /* it is refused */
    else if (!l->paged && l->listed < l->max)
        put_member(l, name, clients);
}

/* Ends a listing that is of no use any more: its asker has gone, or has waited for too long. True:
 * it has. */
static bool ended(struct listing *l)
{
    struct hub *h = l->hub;

    if (l->life == h->worker[l->worker].life) {
        if (clock_ns() < l->until_ns)
            return false;
        refuse(h, l->worker, l->asker, l->token);
    }
    listing_free(l);
    return true;
}

static bool reads(const struct listing *l)
{
    return l->hub->worker[l->worker].out.first == NULL;
}

/* Its worker leaves what is queued for it. */
static bool hangs(const struct listing *l)
{
    return hub_hangs(l->hub, l->worker);
}

/* -1: no memory, it stays among those that wait. */
static int page_begin(struct listing *l)
{
    if (!l->paged)
        return 0;
    l->page = malloc(sizeof(*l->page) + l->max * sizeof(l->page->items[0]));
    if (l->page == NULL)
        return -1;
    l->page->n = 0;
    l->page->max = l->max;
    return 0;
}

/* The listing that can go on now, or NULL. */
static struct listing *next_listing(struct hub *h)
{
    struct list *n, *next;

    if (h->listing != NULL && !ended(h->listing)) {
        if (!hangs(h->listing))
            return reads(h->listing) ? h->listing : NULL;
        refuse(h, h->listing->worker, h->listing->asker, h->listing->token);
        listing_free(h->listing);
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
            refuse(h, l->worker, l->asker, l->token);
            listing_free(l);
            continue;
        }
        send_part(l, true);
        listing_free(l);
    }
    return next_listing(h) != NULL;
}
