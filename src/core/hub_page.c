/* core/hub_page.c - the first channels of a listing, in the order of their names or of their clients. */
#include "hub_internal.h"

static struct str name_of(const struct page_item *item)
{
    return (struct str){.p = item->name, .n = item->len};
}

struct hub_page *hub_page_new(uint32_t max, bool top)
{
    struct hub_page *p = malloc(sizeof(*p) + max * sizeof(p->items[0]));

    if (p == NULL)
        return NULL;
    p->n = 0;
    p->max = max;
    p->top = top;
    return p;
}

void hub_page_free(struct hub_page *p)
{
    if (p == NULL)
        return;
    for (uint32_t i = 0; i < p->n; i++)
        free(p->items[i]);
    free(p);
}

int hub_name_compare(struct str a, struct str b)
{
    int rc = a.n > 0 && b.n > 0 ? memcmp(a.p, b.p, MIN(a.n, b.n)) : 0;

    return rc != 0 ? rc : (a.n > b.n) - (a.n < b.n);
}

/* Where item stands to what is added. */
static int compare(const struct hub_page *p, const struct page_item *item, struct str name,
                   uint64_t clients)
{
    if (p->top && item->clients != clients)
        return item->clients > clients ? -1 : 1;
    return hub_name_compare(name_of(item), name);
}

int hub_page_add(struct hub_page *p, struct str name, uint64_t clients)
{
    struct page_item *item;
    uint32_t low = 0, high = p->n;
    bool full = p->n == p->max;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (compare(p, p->items[middle], name, clients) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (!p->top && low < p->n && str_equal(name_of(p->items[low]), name)) {
        p->items[low]->clients += clients;
        return 0;
    }
    if (low == p->max)
        return 1;
    item = malloc(sizeof(*item) + name.n);
    if (item == NULL)
        return -1;
    item->clients = clients;
    item->len = (uint8_t)name.n;
    memcpy(item->name, name.p, name.n);
    if (full)
        free(p->items[--p->n]);
    memmove(&p->items[low + 1], &p->items[low], (p->n - low) * sizeof(p->items[0]));
    p->items[low] = item;
    p->n++;
    return full ? 1 : 0;
}

struct str hub_page_last(const struct hub_page *p)
{
    return p->n > 0 ? name_of(p->items[p->n - 1]) : STR_NULL;
}
