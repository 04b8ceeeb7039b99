/* net/ws_settle.c - before the close frame, what a connection has published comes back to it.
 *
 * Happy path: 1 session_ops.closing() says that something is on its way · 2 a FENCE goes to the hub
 * behind it · 3 FENCED: all of it has been handed to the fan-out · 4 in a task, while walks are
 * under way: closing() is asked again · 5 ws_settled(). can fail: no room for the fence, no memory
 * (settled at once), the hub's silence (the deadline of SETTLE_MAX_NS).
 *
 * The queue holds ids: whoever ends meanwhile stays in it until its turn comes. */
#include "net/session.h"
#include "net_internal.h"

#define SETTLE_SLICE 16

int settle_begin(struct conn *c)
{
    return broker_fence(reactor->broker, (struct asker){(uint8_t)conn_ops(c)->kind, c->id});
}

static enum task_result settle_step(struct task *t UNUSED)
{
    for (size_t left = MIN(reactor->settling.n, (size_t)SETTLE_SLICE); left > 0; left--) {
        struct conn *c = conn_find(ids_pop(&reactor->settling));

        if (c == NULL || c->state != CONN_SETTLING)
            continue;
        if (conn_ops(c)->session->closing(c, true))
            ws_settled(c);
        else
            (void)!ids_push(&reactor->settling, c->id); /* there is room: it has just been popped */
    }
    return reactor->settling.n == 0 ? TASK_DONE : TASK_MORE;
}

/* A restarted hub may answer twice: then it is asked twice as often. */
void session_answered(const struct record *r)
{
    struct conn *c = r->kind == RECORD_FENCED ? conn_find(r->token) : NULL;

    if (c == NULL || c->state != CONN_SETTLING || conn_ops(c)->kind != r->asker)
        return;
    if (ids_push(&reactor->settling, c->id) == -1)
        ws_settled(c);
    else
        task_add(&reactor->tasks, &reactor->settle);
}

void settle_init(void)
{
    task_init(&reactor->settle, "settle", settle_step);
}

void settle_fini(void)
{
    task_remove(&reactor->settle);
    free(reactor->settling.ids);
}
