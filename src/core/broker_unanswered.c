/* core/broker_unanswered.c - what was asked, and will never be answered.
 *
 * A hub that dies takes with it what it had taken from the ring and set aside, and a hub whose queue
 * for this worker is full drops answers. So after each change of the hub, and from time to time,
 * happy path: 1. a FENCE of the broker's own goes behind all that was asked 2. FENCED comes behind
 * the answers 3. the sinks are told its position. can fail: no room in the ring (it stays owed), that
 * hub dies, too (the next one is asked). */
#include "broker_internal.h"

void unanswered_owe(struct broker *b)
{
    b->fence_owed = true;
}

bool unanswered_flush(struct broker *b)
{
    if (b->fence_owed && !b->announcing)
        b->fence_owed = broker_fence(b, (struct asker){0}) == -1;
    return b->fence_owed;
}

void unanswered_receive(struct broker *b, const struct record *r)
{
    for (unsigned i = 0; i < b->cfg.nsinks; i++) {
        if (b->cfg.sinks[i] != NULL && b->cfg.sinks[i]->unanswered != NULL)
            b->cfg.sinks[i]->unanswered(r->position);
    }
}
