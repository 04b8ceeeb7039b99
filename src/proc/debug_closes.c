/* proc/debug_closes.c - GET /debug/closes: the last connections of clients that have ended, over all workers,
 * the latest first. Each worker's are in its slot (net/closes.h). */
#include <stdlib.h>

#include "base/clock.h"
#include "base/config.h"
#include "codec/json.h"
#include "debug_internal.h"
#include "net/address.h"
#include "net/closes.h"
#include "proc/shm.h"

#define PAGE_DEFAULT 100
#define PAGE_MAX     1000

struct found {
    struct closed closed;
    unsigned worker;
};
struct found_list {
    struct found *items;
    size_t n;
    uint64_t total; /* ever */
};

static int latest_first(const void *a, const void *b)
{
    const struct found *x = a, *y = b;

    if (x->closed.wall_ns != y->closed.wall_ns)
        return x->closed.wall_ns > y->closed.wall_ns ? -1 : 1;
    return (x->worker > y->worker) - (x->worker < y->worker);
}

/* A worker's. reason -1: any. */
static void gather(unsigned worker, int reason, struct found_list *l)
{
    const struct closes *closes = &shm->slots[SHM_WORKER + worker].closes;
    uint64_t last = atomic_load_explicit(&closes->n, memory_order_acquire);
    struct found f = {.worker = worker};

    l->total += last;
    for (uint64_t i = 0; i < MIN(last, (uint64_t)CLOSES_KEPT); i++) {
        if (!closes_read(closes, last - i, &f.closed) || f.closed.reason >= CLOSE_NR ||
            (reason >= 0 && f.closed.reason != reason))
            continue;
        l->items[l->n++] = f;
    }
}

static int put_closed(const struct found *f, struct buf *out)
{
    const struct closed *c = &f->closed;
    const struct close_row *row = close_row((enum close_reason)c->reason);
    uint64_t now = clock_wall_ns();
    char address[CONN_ADDRESS_MAX];
    int rc;

    address_format_bytes(c->address, c->port, address, sizeof(address));
    rc = buf_printf(out,
                    "{\"time\":%.3f,\"ago\":%.1f,\"id\":\"%u:%llu\",\"worker\":%u,"
                    "\"address\":\"%s\",\"protocol\":",
                    (double)c->wall_ns / 1e9,
                    now > c->wall_ns ? (double)(now - c->wall_ns) / 1e9 : 0.0, f->worker,
                    (unsigned long long)c->id, f->worker, address);
    rc |= json_append_string(out, str_from(c->protocol));
    rc |= buf_append_lit(out, ",\"by\":");
    rc |= json_append_string(
        out, str_from(listener_label(&config.listener[c->listener % LISTENERS_MAX])));
    rc |= buf_printf(out, ",\"reason\":\"%s\",\"text\":", row->label);
    rc |= json_append_string(out, str_from(row->text));
    rc |= buf_printf(out,
                     ",\"code\":%u,\"age\":%.1f,\"queued\":%llu,\"frames_in\":%u,"
                     "\"frames_out\":%u}",
                     c->code, (double)c->age_ns / 1e9, (unsigned long long)c->queued, c->frames_in,
                     c->frames_out);
    return rc;
}

/* The reason of that label; -1: there is none such. */
static int reason_of(const char *label)
{
    for (int i = 0; i < CLOSE_NR; i++)
        if (strcmp(close_row((enum close_reason)i)->label, label) == 0)
            return i;
    return -1;
}

static void answer(struct http_exchange *x, struct found_list *l, size_t limit)
{
    struct buf out = {0};
    int rc = buf_append_lit(&out, "{\"closes\":[");

    qsort(l->items, l->n, sizeof(l->items[0]), latest_first);
    for (size_t i = 0; i < MIN(l->n, limit) && rc == 0; i++) {
        rc = buf_append_lit(&out, i == 0 ? "\n" : ",\n");
        rc |= put_closed(&l->items[i], &out);
    }
    rc |=
        buf_printf(&out, "],\"matched\":%zu,\"total\":%llu}\n", l->n, (unsigned long long)l->total);
    debug_answer(x, &out, rc);
}

static void handle_closes(struct http_exchange *x)
{
    struct found_list l = {0};
    uint64_t limit = PAGE_DEFAULT;
    char text[64];
    int given = debug_param(x, "reason", text, sizeof(text)), reason = reason_of(text);

    if (given == -1 || (given > 0 && reason == -1) || debug_number(x, "limit", &limit) == -1) {
        http_refuse(x, CLOSE_BAD_QUERY);
        return;
    }
    l.items = malloc(shm->workers * CLOSES_KEPT * sizeof(l.items[0]));
    if (l.items == NULL) {
        http_refuse(x, CLOSE_NO_MEMORY);
        return;
    }
    for (unsigned i = 0; i < shm->workers; i++)
        gather(i, given > 0 ? reason : -1, &l);
    answer(x, &l, (size_t)MIN(limit, (uint64_t)PAGE_MAX));
    free(l.items);
}

void debug_closes_init(void)
{
    static const struct http_resource table[] = {
        {.path = "/debug/closes",
         .where = HTTP_ON_ADMIN,
         .methods = 1u << HTTP_GET,
         .needs_key = true,
         .handle = handle_closes},
    };

    http_register(table, ARRAY_LEN(table));
}
