/* core/hub_run.c - the hub's work between records, in bounded steps. */
#include "hub_internal.h"

#include "base/clock.h"

/* Removes forgotten interest, writes LOST where it is owed and the ring has room again. */
static void sweep_visit(struct htab_node *node, void *arg)
{
    struct hub *h = arg;
    struct hub_channel *c = CONTAINER_OF(node, struct hub_channel, node);

    for (unsigned i = 0; i < c->n;) {
        if (hub_interest_stale(h, &hub_interests(c)[i])) {
            hub_interest_remove(h, c, i);
            continue;
        }
        if (hub_interests(c)[i].lost &&
            hub_report_lost(h, &hub_interests(c)[i], c->engine.at) == -1)
            return; /* stays owed; a later sweep finds it */
        i++;
    }
    hub_channel_prune(h, c);
}

/* A LOST that is owed can be written now. */
static bool sweep_useful(const struct hub *h)
{
    if (h->stale)
        return true;
    for (unsigned i = 0; i < h->workers; i++) {
        if (h->worker[i].owed > 0 && h->worker[i].out.first == NULL)
            return true;
    }
    return false;
}

static void sweep(struct hub *h, size_t *budget)
{
    if (!h->sweeping) {
        if (!sweep_useful(h))
            return;
        h->sweeping = true;
        h->stale = false;
        h->sweep_cursor = 0;
    }
    for (; h->sweeping && *budget > 0; (*budget)--)
        h->sweeping = htab_scan(&h->channels, &h->sweep_cursor, 1, sweep_visit, h);
}

/* True when the engine wants to go on at once. */
static bool tick(struct hub *h)
{
    uint64_t again;

    if (h->engine->ops->tick == NULL)
        return false;
    again = h->engine->ops->tick(h->engine, clock_ns());
    h->engine_due_ns = again;
    return again != 0 && again <= clock_ns();
}

uint64_t hub_engine_due_ns(const struct hub *h)
{
    return h->engine_due_ns;
}

bool hub_run(struct hub *h, size_t max_records)
{
    size_t budget = max_records;
    bool more;

    hub_gather_check(h);
    more = hub_queue_flush(h, &budget);
    if (h->state == HUB_REPLAYING)
        hub_replay(h, &budget);
    sweep(h, &budget);
    more |= hub_linger_run(h, &budget);
    more |= hub_list_run(h, &budget);
    more |= hub_survey_run(h, &budget);
    more |= hub_history_run(h, &budget);
    more |= hub_presence_run(h, &budget);
    more |= hub_members_run(h, &budget);
    more |= hub_users_run(h, &budget);
    hub_control_run(h);
    more |= tick(h);
    return more || h->state == HUB_REPLAYING || h->sweeping || sweep_useful(h);
}

bool hub_backlogged(const struct hub *h)
{
    for (unsigned i = 0; i < h->workers; i++) {
        if (h->worker[i].out.first != NULL || h->worker[i].owed > 0)
            return true;
    }
    return false;
}
