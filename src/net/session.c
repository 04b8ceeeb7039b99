/* net/session.c - what sessions ask of their connection. */
#include "net/session.h"

#include "base/clock.h"
#include "base/metrics.h"
#include "net_internal.h"

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

void session_end_as(struct conn *c, enum close_reason why, uint16_t code, struct str text)
{
    if (conn_ops(c)->end != NULL)
        conn_ops(c)->end(c, why, code, text);
}

void session_end(struct conn *c, enum close_reason why)
{
    const struct close_row *row = close_row(why);

    session_end_as(c, why, row->code, str_from(row->text));
}

void session_wake(struct conn *c, uint64_t ns)
{
    uint64_t due = reactor_ns() / WHEEL_TICK_NS + ns / WHEEL_TICK_NS + 1;

    if (!wheel_armed(&c->deadline) || (int32_t)(c->deadline.tick - (uint32_t)due) > 0)
        conn_arm(c, MAX(ns, 1)); /* 0 would disarm */
}

void session_slow(struct conn *c, enum close_reason why)
{
    const struct session_ops *session = conn_ops(c)->session;

    METRIC_ADD(drops_disconnect, conn_drop_publications(c));
    if (c->out != NULL)
        conn_restart_age(c);
    session_end(c, session->reason != NULL ? session->reason(why) : why);
}

void session_release(struct conn *c)
{
    if (conn_ops(c)->session->release != NULL)
        conn_ops(c)->session->release(c);
}
