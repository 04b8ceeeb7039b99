/* core/broker_control.c - what workers say to each other, by way of the hub.
 *
 * A hub that died between sending a message and saying so sends it again; source and position tell. Those to one
 * worker come in their order, so behind the last one is what is new. Those to all go by way of the engine, where
 * they are overtaken by the others, and when a hub has died also by each other: each is remembered. Of those
 * that are so old that they are not any more, and of all before them, none is new. */
#include "broker_internal.h"

int broker_control_elsewhere(struct broker *b, struct asker asker, uint64_t node, uint32_t worker,
                             struct str data)
{
    struct record r = {.kind = RECORD_CONTROL,
                       .asker = asker.kind,
                       .token = asker.token,
                       .chan = worker,
                       .epoch = node,
                       .data = data};

    return broker_put(b, &r);
}

int broker_control(struct broker *b, struct asker asker, uint32_t worker, struct str data)
{
    return broker_control_elsewhere(b, asker, 0, worker, data);
}

static bool was_told(struct broker *b, const struct record *r)
{
    if (r->position < b->seen_told[r->source])
        return true;
    b->seen_told[r->source] = r->position + 1;
    return false;
}

static bool all_were_told(struct broker *b, const struct record *r)
{
    const uint64_t key = r->position * HUB_WORKERS_MAX + r->source + 1; /* 0: none */
    uint64_t *place = &b->seen_control[b->next_control % CONTROL_SEEN];

    if (r->position < b->forgotten_control[r->source])
        return true;
    for (unsigned i = 0; i < CONTROL_SEEN; i++)
        if (b->seen_control[i] == key)
            return true;
    if (*place != 0) {
        uint64_t *end = &b->forgotten_control[(*place - 1) % HUB_WORKERS_MAX];

        *end = MAX(*end, (*place - 1) / HUB_WORKERS_MAX + 1);
    }
    *place = key;
    b->next_control++;
    return false;
}

void control_receive(struct broker *b, const struct record *r)
{
    if (r->source < HUB_WORKERS_MAX &&
        (r->flags & RECORD_TO_ALL ? all_were_told(b, r) : was_told(b, r)))
        return;
    for (unsigned i = 0; i < b->cfg.nsinks; i++) {
        if (b->cfg.sinks[i] != NULL && b->cfg.sinks[i]->control != NULL)
            b->cfg.sinks[i]->control(r->source, r->data);
    }
}
