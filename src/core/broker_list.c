/* core/broker_list.c - the hub is asked which channels there are. */
#include "broker_internal.h"

static int list(struct broker *b, struct asker asker, struct str pattern, uint32_t max,
                const struct str *after, unsigned flags)
{
    struct record r = {
        .kind = RECORD_LIST,
        .flags = (uint8_t)flags,
        .asker = asker.kind,
        .token = asker.token,
        .count = max,
        .name = pattern,
        .data = after != NULL ? *after : STR_NULL,
    };

    return pattern.n <= CHANNEL_NAME_MAX ? broker_put(b, &r) : -1;
}

int broker_list(struct broker *b, struct asker asker, struct str pattern, uint32_t max,
                const struct str *after)
{
    return list(b, asker, pattern, max, after, after != NULL ? RECORD_PAGE : 0);
}

int broker_list_here(struct broker *b, struct asker asker, struct str pattern, uint32_t max,
                     const struct str *after)
{
    return list(b, asker, pattern, max, after,
                RECORD_PAGE | RECORD_HERE | (after == NULL ? RECORD_TOP : 0u));
}
