/* core/broker_control.c - what workers say to each other, by way of the hub. */
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

void control_receive(struct broker *b, const struct record *r)
{
    /* A hub that died between sending it and saying so sends it again. */
    if (r->source < HUB_WORKERS_MAX) {
        if (r->position < b->seen_control[r->source])
            return;
        b->seen_control[r->source] = r->position + 1;
    }
    for (unsigned i = 0; i < b->cfg.nsinks; i++) {
        if (b->cfg.sinks[i] != NULL && b->cfg.sinks[i]->control != NULL)
            b->cfg.sinks[i]->control(r->source, r->data);
    }
}
