/* core/queue.c - records that wait in memory, first in, first out. */
#include "core/queue.h"

uint64_t queue_cost(const struct record *r)
{
    return sizeof(struct queued) + r->name.n + r->data.n + r->fields.n;
}

struct queued *queue_push(struct queue *q, const struct record *r)
{
    struct queued *e = malloc(queue_cost(r));

    if (e == NULL)
        return NULL;
    e->next = NULL;
    e->awaited = false;
    e->rec = *r;
    e->rec.name.p = e->bytes;
    e->rec.data.p = e->bytes + r->name.n;
    e->rec.fields.p = e->rec.data.p + r->data.n;
    if (r->name.n > 0)
        memcpy(e->bytes, r->name.p, r->name.n);
    if (r->data.n > 0)
        memcpy(e->bytes + r->name.n, r->data.p, r->data.n);
    if (r->fields.n > 0)
        memcpy(e->bytes + r->name.n + r->data.n, r->fields.p, r->fields.n);
    if (q->first == NULL)
        q->first = e;
    else
        *q->last = e;
    q->last = &e->next;
    q->bytes += queue_cost(r);
    return e;
}

struct queued *queue_pop(struct queue *q)
{
    struct queued *e = q->first;

    if (e == NULL)
        return NULL;
    q->first = e->next;
    q->bytes -= queue_cost(&e->rec);
    return e;
}

void queue_fini(struct queue *q)
{
    struct queued *e;

    while ((e = queue_pop(q)) != NULL)
        free(e);
}
