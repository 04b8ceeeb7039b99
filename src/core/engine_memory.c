/* core/engine_memory.c - the engine of a single node: an order and a history per channel.
 *
 * A channel of a namespace without history has a counter that lives as long as its subscription: it
 * begins with a new epoch at offset 0 and is forgotten at the end. The position of one with history
 * is its stream's, which outlives subscribers. Who is present: engine_memory_presence.c. All of it
 * ends with the process: the next hub begins with new epochs. Every call completes inside the
 * call. */
#include "engine_memory_internal.h"

#include "base/clock.h"
#include "base/metrics.h"
#include "core/epoch.h"

static void done(struct engine *e, uint64_t token, enum engine_status status, struct position at)
{
    e->events->done(e->hub, token, status, at);
}

static void refuse(struct engine *e, uint64_t token)
{
    done(e, token, ENGINE_REFUSED, (struct position){0});
}

static struct streams *streams_of(struct engine *e)
{
    return &CONTAINER_OF(e, struct memory, engine)->streams;
}

/* The channel's options, if it has a history. */
static const struct channel_options *history_of(struct str name)
{
    const struct channel_options *o = channel_options_of(name);

    return o != NULL && channel_has_history(o) ? o : NULL;
}

/* --- publications --- */

/* Without history. */
static inline enum engine_status publish_plain(struct engine *e, struct engine_channel *c,
                                               const struct record *r, struct position *at)
{
    if (c != NULL) { /* else nobody will ever know that it was there */
        c->at.offset++;
        *at = c->at;
        e->events->message(e->hub, c, r);
    }
    return ENGINE_OK;
}

/* Not to be kept, in a channel whose others are. */
static enum engine_status publish_by(struct engine *e, struct engine_channel *c,
                                     const struct record *r, struct position *at)
{
    struct record own = *r;

    own.flags &= (uint8_t)~RECORD_IN_STREAM;
    if (c != NULL) {
        *at = c->at;
        e->events->message(e->hub, c, &own);
    }
    return ENGINE_OK;
}

static enum engine_status publish_kept(struct engine *e, struct engine_channel *c,
                                       const struct record *r, const struct channel_options *o,
                                       const struct engine_condition *condition,
                                       struct position *at)
{
    bool versioned = condition != NULL && condition->version != 0;
    struct streams *s = streams_of(e);
    struct stream *st = stream_get(s, r->name, o);
    struct record own = *r;

    if (st == NULL || (versioned && stream_guard(s, st) == -1))
        return ENGINE_UNAVAILABLE;
    *at = st->at;
    if (versioned && stream_is_older(st, condition->version, condition->version_epoch))
        return ENGINE_SUPPRESSED;
    own.flags &= RECORD_BINARY | RECORD_JSON | RECORD_DELTA | RECORD_EXCLUDE_ORIGIN;
    own.flags |= RECORD_IN_STREAM | (o->delta_publish ? RECORD_DELTA : 0);
    if (stream_append(s, st, o, &own) == -1)
        return ENGINE_UNAVAILABLE;
    if (versioned)
        stream_set_version(st, condition->version, condition->version_epoch);
    *at = st->at;
    if (c != NULL) {
        c->at = st->at;
        e->events->message(e->hub, c, &own);
    }
    return ENGINE_OK;
}

/* A reload has given its namespace a history, or has taken it away: its counter begins anew. */
static int reconsider(struct engine *e, struct engine_channel *c, struct str name,
                      const struct channel_options *o)
{
    if (o == NULL) {
        stream_subscribe(c->stream, false);
        c->stream = NULL;
        c->at = (struct position){.epoch = epoch_new()};
        return 0;
    }
    c->stream = stream_get(streams_of(e), name, o);
    if (c->stream == NULL)
        return -1;
    stream_subscribe(c->stream, true);
    c->at = c->stream->at;
    return 0;
}

static enum engine_status publish_somehow(struct engine *e, struct engine_channel *c,
                                          const struct record *r,
                                          const struct engine_condition *condition,
                                          struct position *at)
{
    const struct channel_options *o = history_of(r->name);

    if (c != NULL && (o != NULL) != (c->stream != NULL) && reconsider(e, c, r->name, o) == -1)
        return ENGINE_UNAVAILABLE;
    if (o == NULL)
        return publish_plain(e, c, r, at);
    if (r->flags & RECORD_SKIP_HISTORY)
        return publish_by(e, c, r, at);
    return publish_kept(e, c, r, o, condition, at);
}

static enum engine_status publish_once(struct engine *e, struct engine_channel *c,
                                       const struct record *r,
                                       const struct engine_condition *condition,
                                       struct position *at)
{
    struct streams *s = streams_of(e);
    enum engine_status status;
    struct key *key;

    if (key_find(s, r->name, condition->idempotency_key, at))
        return ENGINE_DUPLICATE;
    key = key_new(s, r->name, condition->idempotency_key);
    if (key == NULL)
        return ENGINE_UNAVAILABLE;
    status = publish_somehow(e, c, r, condition, at);
    if (status == ENGINE_OK || status == ENGINE_SUPPRESSED)
        key_done(s, key, *at);
    else
        key_undo(s, key);
    return status;
}

static void publish(struct engine *e, struct engine_channel *c, const struct record *r,
                    const struct engine_condition *condition, uint64_t token)
{
    struct position at = {0};
    enum engine_status status;

    if (LIKELY(condition == NULL && !channel_some_history && (c == NULL || c->stream == NULL)))
        status = publish_plain(e, c, r, &at);
    else if (condition != NULL && condition->idempotency_key.n > 0)
        status = publish_once(e, c, r, condition, &at);
    else
        status = publish_somehow(e, c, r, condition, &at);
    done(e, token, status, status == ENGINE_UNAVAILABLE ? (struct position){0} : at);
}

static void subscribe(struct engine *e, struct engine_channel *c, struct str name)
{
    const struct channel_options *o = history_of(name);
    enum engine_status status = ENGINE_OK;

    c->stream = NULL;
    c->at = (struct position){.epoch = epoch_new()};
    if (o != NULL && reconsider(e, c, name, o) == -1)
        status = ENGINE_UNAVAILABLE;
    e->events->subscribed(e->hub, c, status);
}

static void unsubscribe(struct engine *e UNUSED, struct engine_channel *c, struct str name UNUSED)
{
    if (c->stream != NULL)
        stream_subscribe(c->stream, false);
    c->stream = NULL;
}

/* --- what is kept --- */

static bool tell(struct engine *e, const struct stream *st, uint64_t offset, uint64_t token)
{
    const struct kept *k = stream_kept(st, (uint32_t)(offset - (st->at.offset - st->n + 1)));
    const struct record r = {
        .flags = k->flags,
        .epoch = st->at.epoch,
        .offset = offset,
        .time_ns = k->time_ns,
        .data = {.p = k->bytes, .n = k->data_len},
        .fields = {.p = k->bytes + k->data_len, .n = k->fields_len},
    };

    return e->events->kept(e->hub, token, &r);
}

static void tell_all(struct engine *e, const struct stream *st, uint64_t since, uint32_t limit,
                     bool reverse, uint64_t token)
{
    uint64_t oldest = st->at.offset - st->n + 1, offset;

    if (reverse) {
        offset = since == 0 || since > st->at.offset ? st->at.offset : since - 1;
        for (; limit > 0 && offset >= oldest && offset > 0; limit--) {
            if (!tell(e, st, offset--, token))
                return;
        }
        return;
    }
    if (since >= st->at.offset)
        return;
    for (offset = MAX(since + 1, oldest); limit > 0 && offset <= st->at.offset; limit--) {
        if (!tell(e, st, offset++, token))
            return;
    }
}

static void history(struct engine *e, struct str name, struct position since, uint32_t limit,
                    bool reverse, uint64_t token)
{
    const struct channel_options *o = history_of(name);
    struct stream *st = o != NULL ? stream_get(streams_of(e), name, o) : NULL;

    if (o == NULL) {
        refuse(e, token);
        return;
    }
    if (st == NULL) {
        done(e, token, ENGINE_UNAVAILABLE, (struct position){0});
        return;
    }
    stream_shorten(streams_of(e), st, (uint32_t)o->history_size); /* a reload */
    tell_all(e, st, since.offset, limit, reverse, token);
    done(e, token, ENGINE_OK, st->at);
}

static void remove_history(struct engine *e, struct str name, uint64_t token)
{
    const struct channel_options *o = history_of(name);
    struct stream *st = o != NULL ? stream_get(streams_of(e), name, o) : NULL;

    if (o == NULL) {
        refuse(e, token);
        return;
    }
    if (st == NULL) {
        done(e, token, ENGINE_UNAVAILABLE, (struct position){0});
        return;
    }
    stream_shorten(streams_of(e), st, 0);
    done(e, token, ENGINE_OK, st->at);
}

static uint64_t tick(struct engine *e, uint64_t now_ns)
{
    return streams_tick(streams_of(e)) ? now_ns : 0;
}

static void presence(struct engine *e, const struct engine_presence *p, uint64_t token)
{
    presence_call(&CONTAINER_OF(e, struct memory, engine)->members, e, p, token);
}

static void control(struct engine *e, struct str node, const struct record *r,
                    bool must_arrive UNUSED, uint64_t token)
{
    if (node.n > 0) { /* there is no other */
        refuse(e, token);
        return;
    }
    (void)e->events->control(e->hub, r); /* the hub counts those who do not get it */
    done(e, token, ENGINE_OK, (struct position){0});
}

static void memory_free(struct engine *e)
{
    struct memory *m = CONTAINER_OF(e, struct memory, engine);

    streams_fini(&m->streams);
    members_fini(&m->members);
    free(m);
}

static const struct engine_ops memory_ops = {
    .name = "memory",
    .capabilities = ENGINE_CAN_ORDER | ENGINE_CAN_HISTORY | ENGINE_CAN_IDEMPOTENCY |
                    ENGINE_CAN_PRESENCE | ENGINE_CAN_CONTROL_LOG,
    .publish = publish,
    .subscribe = subscribe,
    .unsubscribe = unsubscribe,
    .history = history,
    .remove_history = remove_history,
    .presence = presence,
    .control = control,
    .tick = tick,
    .free = memory_free,
};

struct engine *engine_memory_new(void)
{
    struct memory *m = calloc(1, sizeof(*m));

    if (m == NULL)
        return NULL;
    m->engine.ops = &memory_ops;
    streams_init(&m->streams);
    members_init(&m->members);
    return &m->engine;
}
