/* net/session.c - what sessions ask of their connection. */
#include "net/session.h"

void session_deliver(struct conn *c, const struct batch *b, unsigned variant, uint32_t first,
                     uint32_t end)
{
    uint32_t offset, last, last_end, unused;

    batch_range(b, variant, first, &offset, &unused);
    batch_range(b, variant, end - 1, &last, &last_end);
    conn_deliver(c, b->variant[variant], offset, last_end, last, end - first);
}

int session_send(struct conn *c, struct str data, bool binary)
{
    return conn_ops(c)->send != NULL ? conn_ops(c)->send(c, data, binary) : -1;
}

void session_end(struct conn *c, enum close_reason why)
{
    if (conn_ops(c)->end != NULL)
        conn_ops(c)->end(c, why);
}
