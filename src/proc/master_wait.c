/* proc/master_wait.c - see master_wait.h. */
#include "proc/master_wait.h"

void master_wait_begin(struct master_wait *m, struct http_exchange *x, uint32_t wish,
                       void (*abandoned)(struct http_exchange *x),
                       void (*overdue)(struct http_exchange *x))
{
    m->wish = wish;
    x->abandoned = abandoned;
    x->overdue = overdue;
    m->exchange = http_defer(x);
}

struct http_exchange *master_wait_take(struct master_wait *m)
{
    struct http_exchange *x = http_exchange_find(m->exchange);

    m->exchange = 0;
    if (x == NULL)
        return NULL;
    x->abandoned = NULL;
    x->overdue = NULL;
    return x;
}
