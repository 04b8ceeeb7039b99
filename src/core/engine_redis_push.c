/* core/engine_redis_push.c - what the server says without being asked: publications,
 * confirmations; engine_redis_log.c has control messages. */
#include "engine_redis_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

void redis_deliver(struct redis_sub *sub, struct envelope *env, struct position at)
{
    struct redis *e = sub->server->engine;

    sub->at = at;
    if (sub->c == NULL)
        return;
    sub->c->at = at;
    engine_localise(env, e->s.node);
    env->r.name = (struct str){.p = sub->name, .n = sub->name_len};
    e->engine.events->message(e->engine.hub, sub->c, &env->r);
}

/* A kept one: only the next one is delivered. */
static void deliver_kept(struct redis_sub *sub, struct envelope *env, struct position at)
{
    if (at.epoch == sub->at.epoch && at.offset <= sub->at.offset)
        return;
    if (at.epoch == sub->at.epoch && at.offset == sub->at.offset + 1)
        redis_deliver(sub, env, at);
    else
        redis_sub_heal(sub);
}

static void take_publication(struct redis_server *s, struct redis_sub *sub, struct envelope *env,
                             struct position at)
{
    struct redis *e = s->engine;
    bool own = env->node == e->s.node;
    struct envelope mine = *env;

    if (env->r.kind == RECORD_JOIN || env->r.kind == RECORD_LEAVE) {
        if (sub != NULL) {
            env->r.name = (struct str){.p = sub->name, .n = sub->name_len};
            redis_member_told(e, sub, env);
        }
        if (own)
            redis_call_echo(s, &mine, (struct position){0});
        return;
    }
    if (at.epoch == 0 && sub != NULL) {
        at = sub->at;
        at.offset += !sub->kept;
        /* It is in no stream: SYNC, while that is under way, would not bring it. */
        if (redis_sub_asked(sub) && (sub->state == REDIS_SUB_LIVE || (sub->told && sub->confirmed)))
            redis_deliver(sub, env, at);
    } else if (sub != NULL && redis_sub_asked(sub)) {
        env->r.flags |= RECORD_IN_STREAM;
        if (sub->state == REDIS_SUB_LIVE)
            deliver_kept(sub, env, at);
        else
            sub->heard = MAX(sub->heard, at.offset);
    }
    if (own)
        redis_call_echo(s, &mine, at);
}

/* "epoch:offset:" in front of publications. */
static bool take_head(struct str *payload, struct position *at)
{
    struct str text;

    return str_cut(payload, ':', &text) && str_to_u64(text, &at->epoch) == 0 &&
           payload->p != NULL && str_cut(payload, ':', &text) &&
           str_to_u64(text, &at->offset) == 0 && payload->p != NULL;
}

/* This node's subscription there. */
static struct redis_sub *sub_at(struct redis_server *s, struct str channel)
{
    struct redis_sub *sub = redis_sub_find(s->engine, channel);

    return sub != NULL && sub->server == s ? sub : NULL;
}

static void take_message(struct redis_server *s, struct str channel, struct str payload)
{
    struct redis_sub *sub = sub_at(s, channel);
    struct envelope env;
    struct position at;
    int rc;

    if (str_starts_with(payload, STR_LIT("gone:"))) {
        redis_member_gone(s->engine, sub, str_skip(payload, 5));
        return;
    }
    if (!take_head(&payload, &at)) {
        METRIC_INC(engine_malformed);
        return;
    }
    while ((rc = envelope_next(&payload, &env)) > 0) {
        take_publication(s, sub, &env, at);
        at.offset += at.epoch != 0;
    }
    if (rc < 0)
        METRIC_INC(engine_malformed);
}

/* One entry: [id, ["d", envelope]]. */
bool redis_next_entry(struct str *rest, uint64_t id[2], struct str *item)
{
    struct resp_node node;
    struct str text, first, field;

    if (!resp_next(rest, &node) || node.type != RESP_ARRAY || node.n != 2 ||
        !resp_next_text(rest, &text) || !resp_next(rest, &node) || node.type != RESP_ARRAY ||
        node.n < 2 || !resp_next_text(rest, &field) || !resp_next_text(rest, item))
        return false;
    resp_skip(rest, node.n - 2);
    return str_cut(&text, '-', &first) && str_to_u64(first, &id[0]) == 0 && text.p != NULL &&
           str_to_u64(text, &id[1]) == 0;
}

/* --- pushes --- */

static bool strip_prefix(const struct redis_server *s, struct str *name)
{
    struct str prefix = str_from(s->engine->s.prefix);
    char database[16];

    if (!str_starts_with(*name, prefix) || name->n <= prefix.n || name->p[prefix.n] != ':')
        return false;
    *name = str_skip(*name, prefix.n + 1);
    if (s->address.database == 0)
        return true;
    snprintf(database, sizeof(database), REDIS_DATABASE_FORMAT, s->address.database);
    if (!str_starts_with(*name, str_from(database)))
        return false;
    *name = str_skip(*name, strlen(database));
    return true;
}

/* "c:channel", in a cluster "c:{tag}channel". */
static bool take_channel(const struct redis *e, struct str *name)
{
    struct str channel = *name, tag;

    if (!str_starts_with(*name, STR_LIT("c:")))
        return false;
    channel = str_skip(channel, 2);
    if (e->cluster != NULL && (!str_cut(&channel, '}', &tag) || channel.p == NULL))
        return false;
    *name = channel;
    return true;
}

static void take_confirmation(struct redis_server *s, struct str channel)
{
    struct redis_sub *sub = sub_at(s, channel);

    if (sub != NULL && redis_sub_asked(sub))
        redis_confirmed(sub);
}

/* Its slot has moved, unless this node has unsubscribed. channel: n == 0: of the probe, of control. */
static void take_end(struct redis_server *s, struct str channel)
{
    struct redis_sub *sub = channel.n > 0 ? sub_at(s, channel) : NULL;

    if (channel.n > 0 && (sub == NULL || !redis_sub_asked(sub) || !sub->confirmed))
        return;
    redis_cluster_ask_soon(s->engine);
    if (sub != NULL)
        redis_sub_ended(sub);
}

void redis_pushed(struct redis_server *s, struct str value)
{
    const struct redis *e = s->engine;
    struct str kind, name, payload;
    struct resp_node node;
    bool channel;

    if (!resp_next(&value, &node) || !resp_next_text(&value, &kind) ||
        !resp_next_text(&value, &name) || !strip_prefix(s, &name))
        return;
    channel = take_channel(e, &name);
    if (str_equal(kind, redis_word(e, "ssubscribe"))) {
        if (channel)
            take_confirmation(s, name);
    } else if (e->cluster != NULL && str_equal(kind, STR_LIT("sunsubscribe"))) {
        take_end(s, channel ? name : STR_NULL);
    } else if (str_equal(kind, redis_word(e, "smessage")) && resp_next_text(&value, &payload)) {
        if (channel)
            take_message(s, name, payload);
        else if (str_starts_with(name, STR_LIT("control")))
            redis_control_said(s, payload);
        else if (str_starts_with(name, STR_LIT("node")))
            engine_nodes_received(s->engine->engine.nodes, payload);
        else if (str_starts_with(name, STR_LIT("probe:")))
            redis_server_heard_itself(s);
    }
}
