/* core/hub_history.c - requests for what is kept of a channel. */
#include "hub_internal.h"

void hub_history(struct hub *h, const struct record *r)
{
    struct record answer = {
        .kind = r->kind == RECORD_HISTORY ? RECORD_HISTORY_PART : RECORD_HISTORY_REMOVED,
        .flags = RECORD_LAST,
        .asker = r->asker,
        .status = ENGINE_REFUSED,
        .token = r->token,
        .chan = r->chan,
        .position = r->position,
    };

    if (hub_answer(h, r->source, &answer) == -1)
        return; /* the asker's time runs out */
}
