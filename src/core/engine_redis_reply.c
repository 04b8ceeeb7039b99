/* core/engine_redis_reply.c - what the server's replies mean, and how calls end. */
#include "engine_redis_presence_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

#define AGAIN_NS       (50 * NS_PER_MS) /* to what nobody could take */
#define TAKEOVER_BYTES ((size_t)16)     /* of a replication id */

/* --- ends --- */

void redis_call_fail(struct redis_call *c, enum engine_status status)
{
    struct redis *e = c->server->engine;

    engine_count_call(status);
    if (c->kind == REDIS_MEMBERS) {
        redis_members_failed(c);
        return;
    }
    if (c->kind == REDIS_LIST || c->kind == REDIS_COUNT) {
        redis_list_failed(c);
        return;
    }
    if (c->kind >= REDIS_OWNERS && c->kind <= REDIS_DISOWN) {
        redis_tidy_failed(c);
        return;
    }
    if (redis_call_is_publication(c)) {
        for (unsigned i = 0; i < c->n; i++)
            redis_done(e, c->pubs[i].token, status, (struct position){0});
    } else if (c->kind == REDIS_HISTORY || c->kind == REDIS_REMOVE || c->kind == REDIS_USER) {
        redis_done(e, c->token, status, (struct position){0});
    } else if (c->kind == REDIS_CONTROL) {
        engine_nodes_control_done(e->engine.nodes, c->token, status);
    }
    redis_call_free(c);
}

void redis_call_settle(struct redis_call *c, bool now)
{
    struct redis *e = c->server->engine;

    if (!c->replied || (c->echoes > 0 && !now))
        return;
    engine_count_call(ENGINE_OK);
    for (unsigned i = 0; i < c->n; i++)
        if (!c->pubs[i].quiet)
            redis_done(e, c->pubs[i].token, ENGINE_OK, c->pubs[i].at);
    redis_call_free(c);
}

/* The n-th publication of the call is the one from that place? */
static bool is_the_one(const struct redis_call *c, unsigned n, const struct envelope *e)
{
    struct str rest = buf_view(&c->body);
    struct envelope own;

    for (unsigned i = 0; envelope_next(&rest, &own) > 0; i++)
        if (i == n)
            return own.r.position == e->r.position && own.r.source == e->r.source;
    return false;
}

void redis_call_echo(struct redis_server *s, const struct envelope *e, struct position at)
{
    for (struct list *l = s->sent.next; l != &s->sent; l = l->next) {
        struct redis_call *c = LIST_ENTRY(l, struct redis_call, link);

        if (c->id != e->call) /* what was tried again keeps its number */
            continue;
        if (c->kind == REDIS_MEMBERS) {
            redis_members_echo(c);
            return;
        }
        for (unsigned i = 0; i < c->n; i++) {
            if (!c->pubs[i].echo || !is_the_one(c, i, e))
                continue;
            c->pubs[i].echo = false;
            c->pubs[i].at = at;
            c->echoes--;
            redis_call_settle(c, false);
            return;
        }
    }
}

/* --- replies --- */

enum verdict { NOT_DONE, START_ANEW };

static enum verdict start_anew(struct redis_server *s, const char *text)
{
    s->ending = ENDING_REFUSED;
    snprintf(s->refusal, sizeof(s->refusal), "%s", text);
    return START_ANEW;
}

/* Before Redis 7, what a script stumbles over stands inside the error of the script. */
static bool says_read_only(struct str error)
{
    return memmem(error.p, error.n, "-READONLY ", 10) != NULL;
}

/* What an error of the server means for the call and the connection. */
static enum verdict judge(struct redis_call *c, struct str error)
{
    static const char *const anew[] = {"READONLY",    "LOADING",   "BUSY ",  "MASTERDOWN",
                                       "CLUSTERDOWN", "UNBLOCKED", "NOAUTH", "WRONGPASS"};
    struct redis_server *s = c->server;
    char text[sizeof(s->refusal)];

    error = engine_error_text(error);
    snprintf(text, sizeof(text), "%.*s", STR_ARG(error));
    if (c->kind >= REDIS_PUBLISH && redis_is_full(error)) {
        redis_degraded(s, text);
        return NOT_DONE;
    }
    LOG(LOG_WARN, "the engine's server refuses a call", KV_U("kind", c->kind), KV_S("error", text));
    for (size_t i = 0; i < ARRAY_LEN(anew); i++)
        if (str_starts_with(error, str_from(anew[i])))
            return start_anew(s, text);
    if (says_read_only(error))
        return start_anew(s, text);
    /* NOPERM among them: another connection may do no more than this one. */
    return c->kind < REDIS_PUBLISH || redis_call_is_listening(c) ? start_anew(s, text) : NOT_DONE;
}

/* The value of "name:value". */
static bool info_line(struct str info, struct str name, struct str *out)
{
    struct str line;

    while (str_cut(&info, '\n', &line)) {
        line = str_trim(line);
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        if (!str_starts_with(line, name))
            continue;
        *out = str_skip(line, name.n);
        return true;
    }
    return false;
}

/* One that took over from another one names it as its second replication id. */
static bool is_original(struct str info)
{
    struct str role, id;

    if (!info_line(info, STR_LIT("role:"), &role) || !str_equal(role, STR_LIT("master")) ||
        !info_line(info, STR_LIT("master_replid2:"), &id) || id.n == 0)
        return false;
    while (id.n > 0 && id.p[0] == '0')
        id = str_skip(id, 1);
    return id.n == 0;
}

/* A process that was a replica for a while has what its master had: as master it is another one than before. So its
 * replication id, which is new then, stands behind the run id. When there was no replica for an hour
 * (repl-backlog-ttl), that one is replaced and the second one forgotten: the run id alone stands for all of them. */
static int add_takeover(struct redis_server *s, struct str info)
{
    size_t n = strlen(s->run_id);
    struct str id;

    if (s->engine->s.guard != ENGINE_GUARD_RUN_ID || s->original ||
        !info_line(info, STR_LIT("master_replid2:"), &id) ||
        !info_line(info, STR_LIT("master_replid:"), &id))
        return 0;
    id.n = MIN(id.n, TAKEOVER_BYTES);
    s->run_id[n] = ':';
    return str_copy(id, s->run_id + n + 1, sizeof(s->run_id) - n - 1);
}

/* Who it is, and that it is a master; a cluster says itself who is. A server that does not tell its role is taken for one. */
static bool take_info(struct redis_server *s, struct str info)
{
    enum engine_guard guard = s->engine->s.guard;
    struct str run_id = STR_LIT("any"), role, time;
    uint64_t us;

    if ((guard == ENGINE_GUARD_RUN_ID && !info_line(info, STR_LIT("run_id:"), &run_id)) ||
        (guard == ENGINE_GUARD_REPLID && !info_line(info, STR_LIT("master_replid:"), &run_id)) ||
        run_id.n == 0 || run_id.n >= sizeof(s->run_id) - TAKEOVER_BYTES - 1 ||
        str_copy(run_id, s->run_id, sizeof(s->run_id)) == -1)
        return false;
    s->original = is_original(info);
    if (add_takeover(s, info) == -1)
        return false;
    s->time_ms = 0;
    if (info_line(info, STR_LIT("server_time_usec:"), &time) && str_to_u64(time, &us) == 0)
        s->time_ms = us / 1000;
    if (s->engine->cluster != NULL || !info_line(info, STR_LIT("role:"), &role) ||
        str_equal(role, STR_LIT("master")))
        return true;
    (void)start_anew(s, "it is a replica, and no master (any more)");
    return false;
}

static bool setup_reply(struct redis_call *c, struct str value)
{
    struct redis_server *s = c->server;
    struct str text;
    bool good = true;

    switch ((enum redis_call_kind)c->kind) {
    case REDIS_INFO:
        good = resp_next_text(&value, &text) && take_info(s, text);
        break;
    case REDIS_STATE:
        good = resp_next_text(&value, &text) && redis_cluster_is_well(text);
        if (!good)
            (void)start_anew(s, "the cluster is down");
        break;
    case REDIS_SLOTS:
        good = redis_cluster_slots(s, value);
        break;
    case REDIS_LOAD:
        s->loading--;
        good = resp_next_text(&value, &text) &&
               str_copy(text, s->sha[c->script], sizeof(s->sha[0])) == 0;
        break;
    case REDIS_CAUGHT_UP:
        good = redis_log_reply(s, value);
        break;
    default:
        break;
    }
    if (!good)
        return false;
    redis_call_free(c);
    redis_setup_step(s);
    return true;
}

static bool read_u64(struct str *rest, uint64_t *out)
{
    int64_t n;

    if (!resp_next_number(rest, &n) || n < 0)
        return false;
    *out = (uint64_t)n;
    return true;
}

/* Array, then epoch and offset. */
static bool read_position(struct str *rest, struct position *out)
{
    struct resp_node node;

    return resp_next(rest, &node) && node.type == RESP_ARRAY && node.n >= 2 &&
           read_u64(rest, &out->epoch) && read_u64(rest, &out->offset);
}

static bool keep_reply(struct redis_call *c, struct str value)
{
    struct position first;

    if (!read_position(&value, &first))
        return false;
    redis_written(c->server);
    for (unsigned i = 0; i < c->n; i++)
        c->pubs[i].at = (struct position){.epoch = first.epoch, .offset = first.offset + i};
    redis_call_relay(c, first);
    redis_call_settle(c, false);
    return true;
}

static bool publish_if_reply(struct redis_call *c, struct str value)
{
    struct redis *e = c->server->engine;
    enum engine_status status = ENGINE_OK;
    struct resp_node node;
    struct position at;
    struct str what;

    if (!resp_next(&value, &node) || node.type != RESP_ARRAY || !resp_next_text(&value, &what) ||
        !read_u64(&value, &at.epoch) || !read_u64(&value, &at.offset))
        return false;
    if (redis_call_is_kept(c))
        redis_written(c->server);
    if (str_equal(what, STR_LIT("duplicate")))
        status = ENGINE_DUPLICATE;
    else if (str_equal(what, STR_LIT("suppressed")))
        status = ENGINE_SUPPRESSED;
    if (status == ENGINE_OK) {
        if (at.epoch != 0 || c->pubs[0].at.epoch == 0)
            c->pubs[0].at = at;
        if (!str_equal(what, STR_LIT("known")))
            redis_call_relay(c, at);
        redis_call_settle(c, str_equal(what, STR_LIT("known"))); /* pushed before */
        return true;
    }
    engine_count_call(status);
    redis_done(e, c->pubs[0].token, status, at);
    redis_call_free(c);
    return true;
}

static void tell_history(const struct redis_call *c, struct position top, struct str rest,
                         uint32_t n)
{
    struct redis *e = c->server->engine;
    struct envelope env;
    struct str item;
    uint64_t id[2];

    for (uint32_t i = 0; i < n && redis_next_entry(&rest, id, &item); i++) {
        if (envelope_next(&item, &env) <= 0)
            continue; /* another version's */
        env.r.epoch = top.epoch;
        env.r.offset = id[0];
        env.r.flags |= RECORD_IN_STREAM;
        env.r.time_ns = engine_time_ns(env.wall_ms);
        if (!e->engine.events->kept(e->engine.hub, c->token, &env.r))
            return;
    }
}

static bool history_reply(struct redis_call *c, struct str value)
{
    struct position top, before = {0};
    struct resp_node list = {0};
    struct str rest;

    if (!read_position(&value, &top))
        return false;
    if (c->kind != REDIS_REMOVE && (!resp_next(&value, &list) || list.type != RESP_ARRAY))
        return false;
    if (c->kind == REDIS_SYNC) {
        rest = value;
        resp_skip(&rest, list.n);
        if (!read_u64(&rest, &before.epoch) || !read_u64(&rest, &before.offset))
            return false;
        redis_synced(c, top, before, value, list.n);
    } else {
        tell_history(c, top, value, list.n);
        redis_done(c->server->engine, c->token, ENGINE_OK, top);
    }
    engine_count_call(ENGINE_OK);
    redis_call_free(c);
    return true;
}

/* False: it cannot be read, or the connection is to end; c is left. */
static bool reply(struct redis_call *c, struct str value)
{
    switch ((enum redis_call_kind)c->kind) {
    case REDIS_PUBLISH:
        redis_call_settle(c, false);
        return true;
    case REDIS_KEEP:
        return keep_reply(c, value);
    case REDIS_PUBLISH_IF:
        return publish_if_reply(c, value);
    case REDIS_SYNC:
    case REDIS_HISTORY:
    case REDIS_REMOVE:
        return history_reply(c, value);
    case REDIS_USER:
        return redis_user_reply(c, value);
    case REDIS_CHECK:
        redis_checked(c, value);
        redis_call_free(c);
        return true;
    case REDIS_CONTROL:
        engine_count_call(ENGINE_OK);
        engine_nodes_control_done(c->server->engine->engine.nodes, c->token, ENGINE_OK);
        redis_call_free(c);
        return true;
    case REDIS_MEMBERS:
        return redis_members_reply(c, value);
    case REDIS_LIST:
        return redis_list_reply(c, value);
    case REDIS_COUNT:
        return redis_stats_reply(c, value);
    case REDIS_OWNERS:
    case REDIS_INDEX:
    case REDIS_SWEEP:
    case REDIS_DISOWN:
        return redis_tidy_reply(c, value);
    case REDIS_SAY:
    case REDIS_RELAY:
    case REDIS_PROBE:
    case REDIS_SUBSCRIBE:
    case REDIS_UNSUBSCRIBE:
        redis_call_free(c);
        return true;
    default:
        return setup_reply(c, value);
    }
}

bool redis_subscribe_refused(struct redis_call *c, struct str error)
{
    struct redis_partition *p = c->partition;
    struct redis_server *ask;
    struct resp_node node;

    if (!resp_next(&error, &node))
        return false;
    if (redis_redirected(c->server, node.text, &ask) == REDIS_NOT_REDIRECTED) {
        (void)judge(c, node.text);
        return false;
    }
    if (c->kind == REDIS_SUBSCRIBE && p != NULL && p->server == c->server)
        redis_subs_again(p); /* else they have moved along */
    return true;
}

/* An error of another server's being the right one, or nobody. */
static void turned_away(struct redis_call *c, enum redis_redirection how, struct redis_server *ask)
{
    struct redis_server *s = c->server;

    if (how == REDIS_AGAIN_LOADED)
        redis_server_load(s);
    if (c->kind < REDIS_PUBLISH) { /* CAUGHT_UP: home is elsewhere, and asked there */
        redis_call_free(c);
        redis_setup_step(s);
    } else if (!redis_call_has_place(c->kind)) {
        redis_call_free(c);
    } else if (c->kind == REDIS_SYNC && how == REDIS_AGAIN && ask == NULL) {
        redis_lane_answered(c);
        redis_sync_failed(c); /* with the subscription, unless that has moved along */
        redis_call_free(c);
    } else {
        redis_lane_turned_away(c, ask, how == REDIS_AGAIN_LATER ? AGAIN_NS : 0);
    }
}

bool redis_call_reply(struct redis_call *c, struct str value)
{
    enum redis_redirection how;
    struct redis_server *ask;
    struct str rest = value;
    struct resp_node node;

    if (!resp_next(&rest, &node))
        return false;
    if (node.type != RESP_ERROR && node.type != RESP_BULK_ERROR) {
        redis_lane_answered(c);
        if (reply(c, value))
            return true;
        redis_call_fail(c, ENGINE_UNKNOWN); /* the server may have done it */
        return false;
    }
    c->replied = false; /* as far as its channel's order goes: it may be among those that move */
    how = redis_redirected(c->server, node.text, &ask);
    if (how != REDIS_NOT_REDIRECTED) {
        turned_away(c, how, ask);
        return true;
    }
    c->replied = true;
    redis_lane_answered(c);
    switch (judge(c, node.text)) {
    case START_ANEW: /* it is in the list of what was sent: tried again on a new connection, or UNAVAILABLE */
        c->refused = !redis_is_inside_script(node.text);
        c->replied = false;
        return false;
    default:
        if (c->kind == REDIS_SYNC)
            redis_sync_failed(c);
        redis_call_fail(c, redis_is_inside_script(node.text) && !redis_is_full(node.text)
                               ? ENGINE_UNKNOWN
                               : ENGINE_UNAVAILABLE);
        return true;
    }
}
