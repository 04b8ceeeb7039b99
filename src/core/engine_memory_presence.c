/* core/engine_memory_presence.c - the memory engine's calls about members: engine_members.c has them. */
#include "engine_memory_internal.h"

#include <assert.h>

static void tell(struct engine *e, enum record_kind kind, const struct record *r)
{
    struct record out = *r;

    out.kind = (uint8_t)kind;
    out.flags = 0;
    e->events->member(e->hub, &out);
}

static enum engine_status set(struct members *t, struct engine *e,
                              const struct engine_presence *ask)
{
    if (members_set(t, ask) == NULL)
        return ENGINE_UNAVAILABLE;
    if ((ask->r->flags & PRESENCE_TELL) && !(ask->r->flags & PRESENCE_AGAIN))
        tell(e, RECORD_JOIN, ask->r);
    return ENGINE_OK;
}

static void clear(struct members *t, struct engine *e, const struct engine_presence *ask)
{
    struct member *m = members_find(t, ask->r->name, ask->who.client);

    if (m != NULL && m->owner == ask->owner)
        member_remove(t, m);
    if (ask->r->flags & PRESENCE_TELL)
        tell(e, RECORD_LEAVE, ask->r);
}

struct listing {
    struct engine *engine;
    uint64_t token;
};

static void show(void *arg, struct str fields)
{
    const struct listing *l = arg;

    l->engine->events->listed(l->engine->hub, l->token, fields);
}

static void forget(struct members *t, struct engine *e, const struct engine_presence *ask)
{
    struct member *m;

    for (uint32_t n = 0;; n++) {
        m = members_old(t, ask->owner, ask->mark);
        ask->cursor->ended = m == NULL;
        if (m == NULL || n == ask->limit)
            return;
        if (m->tell)
            tell(e, RECORD_LEAVE,
                 &(struct record){.source = ENGINE_OWNERS_MAX,
                                  .name = members_channel_name(m->channel),
                                  .fields = member_fields(m)});
        member_remove(t, m);
    }
}

void presence_call(struct members *t, struct engine *e, const struct engine_presence *ask,
                   uint64_t token)
{
    enum engine_status status = ENGINE_OK;
    struct members_channel *c;

    assert(ask->owner < ENGINE_OWNERS_MAX);
    switch (ask->op) {
    case PRESENCE_SET:
        status = set(t, e, ask);
        break;
    case PRESENCE_CLEAR:
        clear(t, e, ask);
        break;
    case PRESENCE_LIST:
        members_list(t, ask, show, &(struct listing){.engine = e, .token = token});
        break;
    case PRESENCE_STATS:
        c = members_channel(t, ask->channel);
        e->events->counted(e->hub, token, c != NULL ? c->clients : 0, c != NULL ? c->users : 0);
        break;
    case PRESENCE_FORGET:
        forget(t, e, ask);
        break;
    }
    e->events->done(e->hub, token, status, (struct position){0});
}
