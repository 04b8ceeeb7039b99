/* core/engine_redis_sweep.c - do the channels still stand where this node believes?
 *
 * A server that has lost a subscription without a word leaves a channel silent for ever. So all that are kept
 * are asked for their position, some at a time, once within engine_position_sweep. Replies and pushes
 * stand in one stream: whatever was published before the server read the question has been pushed before its
 * answer, so a position that is another shows a loss; then it is fetched, or subscribers are told. */
#include "engine_redis_internal.h"

#include "base/clock.h"
#include "base/metrics.h"

#define BUCKETS_MAX 512 /* of the table, in one round */

static void ask(struct htab_node *node, void *arg UNUSED)
{
    struct redis_sub *sub = CONTAINER_OF(node, struct redis_sub, node);
    struct redis_server *s = sub->server;

    if (!sub->kept || sub->state != REDIS_SUB_LIVE || !redis_sub_asked(sub) ||
        s->nwaiting >= s->engine->s.window / 2)
        return;
    if (redis_call_new(s, REDIS_CHECK, (struct str){.p = sub->name, .n = sub->name_len}) == NULL)
        return; /* the next sweep asks */
}

void redis_sweep_run(struct redis *e, uint64_t now_ns)
{
    uint64_t interval = e->s.position_sweep_ns, buckets;

    if (interval == 0 || e->subs.count == 0) {
        e->sweep_ns = now_ns;
        return;
    }
    /* Whole buckets, so that what is left of the time counts in the next round. */
    buckets =
        (uint64_t)((double)(now_ns - e->sweep_ns) / (double)interval * (double)e->subs.nbuckets);
    if (buckets == 0)
        return;
    e->sweep_ns = now_ns;
    if (!htab_scan(&e->subs, &e->sweep_cursor, MIN(buckets, (uint64_t)BUCKETS_MAX), ask, NULL))
        e->sweep_cursor = 0;
}

void redis_checked(const struct redis_call *c, struct str value)
{
    struct redis_sub *sub =
        redis_sub_find(c->server->engine, (struct str){.p = c->name, .n = c->name_len});
    struct position at;
    struct resp_node node;
    struct str text;

    if (sub == NULL || sub->state != REDIS_SUB_LIVE || !redis_sub_asked(sub) ||
        sub->server != c->server)
        return;
    if (!resp_next(&value, &node) || node.type != RESP_ARRAY || node.n != 2 ||
        !resp_next_text(&value, &text) || str_to_u64(text, &at.epoch) == -1 ||
        !resp_next_text(&value, &text) || str_to_u64(text, &at.offset) == -1)
        return; /* nothing is kept any more */
    if (at.epoch == sub->at.epoch && at.offset == sub->at.offset)
        return;
    METRIC_INC(engine_positions_behind);
    redis_sub_heal(sub);
}
