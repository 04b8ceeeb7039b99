/* core/engine_memory.c - the engine of a single node: a counter per channel.
 *
 * A channel's life is its subscription: it begins with a new epoch at offset 0 and is forgotten at
 * the end. Every call completes inside the call. */
#include "core/engine.h"

#include "base/clock.h"

struct memory {
    struct engine engine; /* first */
    uint64_t next_epoch;
};

static const char *const status_names[ENGINE_STATUS_NR] = {
#define STATUS(name, label) [ENGINE_##name] = label,
#define CAPABILITY(name, label)
#include "tbl/engine.def"
#undef STATUS
#undef CAPABILITY
};

const char *engine_status_name(enum engine_status s)
{
    return status_names[s];
}

static void done(struct engine *e, uint64_t token, enum engine_status status, struct position at)
{
    e->events->done(e->hub, token, status, at);
}

static void refuse(struct engine *e, uint64_t token)
{
    done(e, token, ENGINE_REFUSED, (struct position){0});
}

static void publish(struct engine *e, struct engine_channel *c, const struct record *r,
                    struct str idempotency_key, uint64_t token)
{
    struct position at = {0};

    if (idempotency_key.n > 0) {
        refuse(e, token);
        return;
    }
    if (c != NULL) { /* else nobody will ever know that it was there */
        c->at.offset++;
        at = c->at;
        e->events->message(e->hub, c, r);
    }
    done(e, token, ENGINE_OK, at);
}

static void subscribe(struct engine *e, struct engine_channel *c, struct str name UNUSED)
{
    struct memory *m = CONTAINER_OF(e, struct memory, engine);

    c->at = (struct position){.epoch = m->next_epoch++};
    e->events->subscribed(e->hub, c, ENGINE_OK);
}

static void unsubscribe(struct engine *e UNUSED, struct engine_channel *c UNUSED,
                        struct str name UNUSED)
{
}

static void history(struct engine *e, struct str name UNUSED, struct position since UNUSED,
                    uint32_t limit UNUSED, bool reverse UNUSED, uint64_t token)
{
    refuse(e, token);
}

static void remove_history(struct engine *e, struct str name UNUSED, uint64_t token)
{
    refuse(e, token);
}

static void presence(struct engine *e, const struct engine_presence *p UNUSED, uint64_t token)
{
    refuse(e, token);
}

static void control(struct engine *e, struct str node UNUSED, const struct record *r UNUSED,
                    bool must_arrive UNUSED, uint64_t token)
{
    refuse(e, token);
}

static void memory_free(struct engine *e)
{
    free(CONTAINER_OF(e, struct memory, engine));
}

static const struct engine_ops memory_ops = {
    .name = "memory",
    .capabilities = ENGINE_CAN_ORDER,
    .publish = publish,
    .subscribe = subscribe,
    .unsubscribe = unsubscribe,
    .history = history,
    .remove_history = remove_history,
    .presence = presence,
    .control = control,
    .free = memory_free,
};

struct engine *engine_memory_new(void)
{
    struct memory *m = calloc(1, sizeof(*m));

    if (m == NULL)
        return NULL;
    m->engine.ops = &memory_ops;
    /* Channels come at less than one a nanosecond, so no incarnation repeats another's epochs. */
    m->next_epoch = clock_wall_ns() + 1;
    return &m->engine;
}
