/* core/broker_repeats.c - what a hub sends again that the one before it has sent.
 *
 * A hub that dies between sending a publication and giving its record back leaves it to the next
 * one. Its place in the publisher's ring tells; an engine's server keeps offsets through that, which
 * tell more. While no hub dies nothing comes twice. The memory engine takes each ring in its order, so places
 * only rise; with servers channels overtake one another. */
#include "broker_internal.h"

#include "base/config.h"

void repeats_begin(struct broker *b)
{
    memcpy(b->repeats, b->seen, sizeof(b->repeats));
    memcpy(b->repeats_members, b->seen_members, sizeof(b->repeats_members));
}

/* The memory engine's hub may have left some in the ring behind its death: all that was seen counts. */
bool repeats_has_member(const struct broker *b, const struct record *r)
{
    return r->position < (config.engine == ENGINE_IS_MEMORY ? b->seen_members[r->source]
                                                            : b->repeats_members[r->source]);
}

bool repeats_has(const struct broker *b, const struct chan *c, const struct record *r)
{
    if (r->source == RECORD_SOURCE_REMOTE)
        return false;
    if (config.engine == ENGINE_IS_MEMORY)
        return r->position < b->seen[r->source];
    return r->position < b->repeats[r->source] &&
           (!(r->flags & RECORD_IN_STREAM) || c == NULL ||
            (r->epoch == c->position.epoch && r->offset <= c->position.offset));
}
