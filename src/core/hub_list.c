/* core/hub_list.c - listings of channels: a resumable walk of the channel table, answered in parts.
 *
 * One listing runs at a time, and only while its asker takes the answers, so it holds one part of
 * memory. */
#include "hub_internal.h"

#include "base/metrics.h"

#define PART_SIZE  8192
#define MEMBER_MAX (CHANNEL_NAME_MAX + sizeof(",\"\":{\"num_clients\":18446744073709551615}"))

struct listing {
    struct list link; /* in hub.listings */
    unsigned worker;
    uint32_t life; /* of the asker */
    uint8_t asker;
    uint64_t token;
    uint32_t max, listed, matches;
    uint32_t serial; /* 0: not begun */
    size_t cursor;
    size_t pattern_len, part_len;
    char pattern[CHANNEL_NAME_MAX];
    char part[PART_SIZE];
    struct hub *hub; /* borrowed */
};

void hub_list_start(struct hub *h, unsigned worker, const struct record *r)
{
    struct listing *l = calloc(1, sizeof(*l));

    if (l == NULL)
        return; /* the asker's time runs out */
    l->hub = h;
    l->worker = worker;
    l->life = h->worker[worker].life;
    l->asker = r->asker;
    l->token = r->token;
    l->max = r->count;
    l->pattern_len = r->name.n;
    if (r->name.n > 0)
        memcpy(l->pattern, r->name.p, r->name.n);
    h->worker[worker].listings++;
    list_append(&h->listings, &l->link);
}

static void listing_free(struct listing *l)
{
    list_remove(&l->link);
    l->hub->worker[l->worker].listings--;
    free(l);
}

void hub_list_fini(struct hub *h)
{
    while (!list_empty(&h->listings))
        listing_free(LIST_ENTRY(h->listings.next, struct listing, link));
}

static void send_part(struct listing *l, bool last)
{
    struct record r = {
        .kind = RECORD_LISTED,
        .flags = last ? RECORD_LAST : 0,
        .asker = l->asker,
        .token = l->token,
        .count = l->matches,
        .data = {.p = l->part, .n = l->part_len},
    };

    /* A part that finds no memory leaves the asker without its last one: its time runs out. */
    if (hub_answer(l->hub, l->worker, &r) == -1)
        l->life--;
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

static void visit(struct htab_node *node, void *arg)
{
    struct listing *l = arg;
    struct hub_channel *c = CONTAINER_OF(node, struct hub_channel, node);
    uint64_t clients;
    int n;

    if (c->listed == l->serial) /* the table grew under the walk */
        return;
    c->listed = l->serial;
    clients = count_clients(l->hub, c);
    if (clients == 0 || !str_glob((struct str){.p = l->pattern, .n = l->pattern_len},
                                  (struct str){.p = c->name, .n = c->name_len}))
        return;
    l->matches++;
    if (l->listed == l->max)
        return;
    if (l->part_len > PART_SIZE - MEMBER_MAX)
        send_part(l, false);
    n = snprintf(l->part + l->part_len, PART_SIZE - l->part_len,
                 "%s\"%.*s\":{\"num_clients\":%llu}", l->listed > 0 ? "," : "", (int)c->name_len,
                 c->name, (unsigned long long)clients);
    l->part_len += (size_t)n;
    l->listed++;
}

/* Can the first listing go on? */
static bool ready(const struct hub *h)
{
    const struct listing *l;

    if (list_empty(&h->listings))
        return false;
    l = LIST_ENTRY(h->listings.next, struct listing, link);
    return l->life != h->worker[l->worker].life || h->worker[l->worker].out.first == NULL;
}

bool hub_list_run(struct hub *h, size_t *budget)
{
    while (*budget > 0 && ready(h)) {
        struct listing *l = LIST_ENTRY(h->listings.next, struct listing, link);

        (*budget)--;
        if (l->life != h->worker[l->worker].life) {
            listing_free(l);
            continue;
        }
        if (l->serial == 0) {
            h->listing_serial += h->listing_serial == UINT32_MAX ? 2 : 1;
            l->serial = h->listing_serial;
        }
        if (htab_scan(&h->channels, &l->cursor, 1, visit, l))
            continue;
        send_part(l, true);
        listing_free(l);
    }
    return ready(h);
}
