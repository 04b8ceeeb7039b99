/* core/broker_repeats.c - what a hub sends again that the one before it has sent.
 *
 * A hub that dies between sending a publication and giving its record back leaves it to the next
 * one. Its place in the publisher's ring tells; an engine's server keeps offsets through that, which
 * tell more. While no hub dies nothing comes twice, and channels overtake one another: places need
 * not rise. */
#include "broker_internal.h"

#include "base/config.h"

void repeats_begin(struct broker *b)
{
    memcpy(b->repeats, b->seen, sizeof(b->repeats));
    memcpy(b->repeats_members, b->seen_members, sizeof(b->repeats_members));
}

bool repeats_has(const struct broker *b, const struct chan *c, const struct record *r)
{
    if (r->source == RECORD_SOURCE_REMOTE || r->position >= b->repeats[r->source])
        return false;
    return config.engine == ENGINE_IS_MEMORY || !(r->flags & RECORD_IN_STREAM) || c == NULL ||
           (r->epoch == c->position.epoch && r->offset <= c->position.offset);
}
