/* core/engine_redis_presence.c - who comes to channels of all nodes and who goes.
 *
 * Happy path:
 *   1. SET: the member is this node's (engine_members.c), and a change of its channel's call of this round
 *   2. the script writes it, and publishes its JOIN to every node with a subscriber, this one included
 *   3. the reply, and what has come back: done().
 * Can fail: the server is away. The member is this node's all the same, and is written, and its JOIN told, when the
 * server is back (engine_redis_presence_tidy.c); who went meanwhile is removed then. So the call is
 * complete. */
#include "engine_redis_presence_internal.h"

#include <assert.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "core/epoch.h"

/* --- places --- */

static unsigned count_places(const struct redis *e)
{
    return e->cluster != NULL ? e->cluster->n : e->nservers;
}

struct redis_server *redis_place_server(struct redis *e, unsigned place)
{
    return e->cluster != NULL ? e->cluster->partitions[place].server : e->servers[place];
}

unsigned redis_place_of(struct redis *e, struct str channel)
{
    const struct redis_server *s = redis_server_of(e, channel);
    unsigned i = 0;

    if (e->cluster != NULL)
        return (unsigned)(redis_partition_of(e, redis_same_hash(channel)) - e->cluster->partitions);
    while (e->servers[i] != s)
        i++;
    return i;
}

struct redis_call *redis_place_call(struct redis *e, unsigned place, enum redis_call_kind kind)
{
    struct redis_call *c = redis_call_new(redis_place_server(e, place), kind,
                                          str_from(e->presence->places[place].name));

    if (c != NULL)
        c->place = (uint16_t)place;
    return c;
}

/* Names for all: numbers fall anywhere, so some thousands do. */
static void name_places(struct redis *e)
{
    struct redis_presence *p = e->presence;
    unsigned named = 0;

    for (unsigned i = 0; named < p->nplaces; i++) {
        struct redis_place *place;
        char name[sizeof(place->name)];

        snprintf(name, sizeof(name), "%u", i);
        place = &p->places[redis_place_of(e, str_from(name))];
        if (place->name[0] != '\0')
            continue;
        memcpy(place->name, name, sizeof(name));
        named++;
    }
}

int redis_presence_init(struct redis *e)
{
    struct redis_presence *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return -1;
    e->presence = p;
    members_init(&p->members);
    list_init(&p->listings);
    list_init(&p->sweeps);
    p->places = calloc(count_places(e), sizeof(*p->places));
    if (p->places == NULL)
        return -1;
    p->nplaces = count_places(e);
    name_places(e);
    /* What the hub before this one has set is this node's. */
    for (unsigned i = 0; i < p->nplaces; i++) {
        p->places[i].gen = (uint32_t)epoch_new();
        p->places[i].sweep = e->s.restarted;
    }
    for (unsigned i = 0; i < ENGINE_OWNERS_MAX; i++)
        p->heard[i] = !e->s.restarted;
    return 0;
}

void redis_presence_fini(struct redis *e)
{
    if (e->presence == NULL)
        return;
    redis_listings_fini(e);
    redis_sweeps_fini(e);
    members_fini(&e->presence->members);
    free(e->presence->places);
    free(e->presence);
}

bool redis_node_alive(const struct redis *e, uint64_t node)
{
    return engine_nodes_alive(e->engine.nodes, node);
}

bool redis_node_tidies(const struct redis *e)
{
    return engine_nodes_lowest(e->engine.nodes);
}

uint64_t redis_run(const struct redis_server *s)
{
    uint64_t hash = hash_str(str_from(s->run_id));

    return hash != 0 ? hash : 1;
}

/* --- changes --- */

int redis_member_change(struct redis *e, const struct record *r, uint8_t flags, uint32_t owner,
                        bool quiet, uint64_t token)
{
    struct redis_server *s = redis_server_of(e, r->name);
    struct redis_call *c =
        redis_server_given_up(s) ? NULL : redis_call_growing(s, REDIS_MEMBERS, r->name);
    struct envelope env = {.node = e->s.node, .wall_ms = clock_wall_ns() / NS_PER_MS, .r = *r};
    size_t before;

    if (c == NULL)
        return -1;
    before = c->body.len;
    env.call = c->id;
    env.r.flags = flags;
    env.r.asker = (uint8_t)owner;
    env.r.data = STR_NULL;
    if (envelope_write(&c->body, &env) == -1) {
        if (c->n == 0)
            redis_call_free(c);
        return -1;
    }
    c->pubs[c->n++] = (struct redis_publication){.token = token, .quiet = quiet};
    redis_call_grew(c, c->body.len - before);
    if (members_channel(&e->presence->members, r->name) == NULL)
        c->index = '-';
    else if (r->kind == RECORD_JOIN && (flags & REDIS_MEMBER_FIRST))
        c->index = '+';
    c->repeat |= !quiet && redis_may_repeat(e);
    return 0;
}

/* What could not be written is written later. */
static void owe(struct redis *e, const struct record *r, uint8_t flags, struct str client)
{
    struct redis_place *place = &e->presence->places[redis_place_of(e, r->name)];
    struct member *m;

    place->rewrite = true;
    if (r->kind == RECORD_LEAVE) {
        place->sweep = true;
        return;
    }
    m = members_find(&e->presence->members, r->name, client);
    if (m != NULL && (flags & PRESENCE_TELL))
        m->owed = true;
}

static enum engine_status set(struct redis *e, const struct engine_presence *ask, uint64_t token)
{
    struct members *t = &e->presence->members;
    bool first = members_channel(t, ask->r->name) == NULL;
    struct member *m = members_set(t, ask);
    struct record r = *ask->r;
    uint8_t flags = 0;

    if (m == NULL)
        return ENGINE_UNAVAILABLE;
    r.kind = RECORD_JOIN;
    if (m->tell)
        flags |= REDIS_MEMBER_TELLS;
    if (m->tell && !(ask->r->flags & PRESENCE_AGAIN))
        flags |= PRESENCE_TELL;
    if (first)
        flags |= REDIS_MEMBER_FIRST;
    if (redis_member_change(e, &r, flags, ask->owner, false, token) == 0)
        return ENGINE_STATUS_NR;
    owe(e, &r, flags, ask->who.client);
    return ENGINE_OK;
}

static enum engine_status clear(struct redis *e, const struct engine_presence *ask, uint64_t token)
{
    struct members *t = &e->presence->members;
    struct member *m = members_find(t, ask->r->name, ask->who.client);
    struct record r = *ask->r;
    uint8_t flags = ask->r->flags & PRESENCE_TELL;

    r.kind = RECORD_LEAVE;
    if (m != NULL && m->owner != ask->owner)
        flags |= REDIS_MEMBER_KEEP; /* it has come again with another one */
    else if (m != NULL)
        member_remove(t, m);
    if (redis_member_change(e, &r, flags, ask->owner, false, token) == 0)
        return ENGINE_STATUS_NR;
    owe(e, &r, flags, ask->who.client);
    return ENGINE_OK;
}

/* Others have less to do at once when the servers have much. */
static bool busy(const struct redis *e)
{
    for (unsigned i = 0; i < e->nservers; i++)
        if (!redis_server_wants(e->servers[i]))
            return true;
    return false;
}

/* Frees it, and writes that it has gone. -1: no memory, it is as before. */
static int forget_one(struct redis *e, struct member *m)
{
    struct record r = {.kind = RECORD_LEAVE, .source = RECORD_SOURCE_REMOTE};
    uint8_t flags = m->tell ? PRESENCE_TELL : 0, owner = m->owner;
    struct str name = members_channel_name(m->channel), fields = member_fields(m);
    struct buf own = {0};

    if (buf_append(&own, name) == -1 || buf_append(&own, fields) == -1) {
        buf_fini(&own);
        return -1;
    }
    member_remove(&e->presence->members, m);
    r.name = (struct str){.p = own.p, .n = name.n};
    r.fields = (struct str){.p = own.p + name.n, .n = fields.n};
    if (redis_member_change(e, &r, flags, owner, true, 0) == -1)
        owe(e, &r, flags, STR_NULL);
    buf_fini(&own);
    return 0;
}

static enum engine_status forget(struct redis *e, const struct engine_presence *ask)
{
    struct redis_presence *p = e->presence;
    struct member *m = members_old(&p->members, ask->owner, ask->mark);

    ask->cursor->ended = false;
    for (uint32_t n = 0; m != NULL && n < ask->limit; n++) {
        if (busy(e) || forget_one(e, m) == -1)
            return ENGINE_UNAVAILABLE;
        m = members_old(&p->members, ask->owner, ask->mark);
    }
    ask->cursor->ended = m == NULL;
    if (m == NULL && !p->heard[ask->owner]) {
        p->heard[ask->owner] = true;
        for (unsigned i = 0; i < p->nplaces; i++)
            p->places[i].sweep = true;
    }
    return ENGINE_OK;
}

void redis_presence(struct redis *e, const struct engine_presence *ask, uint64_t token)
{
    enum engine_status status = ENGINE_STATUS_NR;

    assert(ask->owner < ENGINE_OWNERS_MAX);
    switch (ask->op) {
    case PRESENCE_SET:
        status = set(e, ask, token);
        break;
    case PRESENCE_CLEAR:
        status = clear(e, ask, token);
        break;
    case PRESENCE_LIST:
        redis_members_list(e, ask, token);
        break;
    case PRESENCE_STATS:
        redis_members_stats(e, ask, token);
        break;
    case PRESENCE_FORGET:
        status = forget(e, ask);
        break;
    }
    if (status != ENGINE_STATUS_NR)
        redis_done(e, token, status, (struct position){0});
}

/* --- what becomes of them --- */

static struct str name_of(const struct redis_call *c)
{
    return (struct str){.p = c->name, .n = c->name_len};
}

/* Nobody here subscribes by the present connection, so it does not come back. */
static void tell_here(struct redis_call *c, unsigned n)
{
    struct redis *e = c->server->engine;
    struct str rest = buf_view(&c->body);
    struct envelope env;

    for (unsigned i = 0; envelope_next(&rest, &env) > 0; i++) {
        if (i != n)
            continue;
        env.r.name = name_of(c);
        redis_member_told(e, redis_sub_find(e, env.r.name), &env);
        return;
    }
}

/* Its slot is moving: what it has told is told where others are subscribed. Without memory they hear of it when
 * they ask who is there. */
static void relay(struct redis_call *c, struct str told)
{
    struct str rest = buf_view(&c->body), before = rest;
    struct buf some = {0};
    struct envelope env;
    int rc = 0;

    for (unsigned i = 0; rc == 0 && envelope_next(&rest, &env) > 0; i++, before = rest)
        if (told.p[i] == '1')
            rc = buf_append(&some, (struct str){.p = before.p, .n = before.n - rest.n});
    buf_fini(&c->body);
    c->body = some;
    if (rc == -1)
        c->echoes = 0;
    else if (some.len > 0)
        redis_call_relay(c, (struct position){0});
}

bool redis_members_reply(struct redis_call *c, struct str value)
{
    struct redis_place *place =
        &c->server->engine->presence->places[redis_place_of(c->server->engine, name_of(c))];
    struct resp_node node;
    struct str told;
    int64_t there;

    if (!resp_next(&value, &node) || node.type != RESP_ARRAY || !resp_next_text(&value, &told) ||
        told.n != c->n || !resp_next_number(&value, &there))
        return false;
    place->written |= c->index == '+';
    if (place->run == 0)
        place->run = redis_run(c->server);
    if (c->index == '+' && there == 0 && c->n == 0)
        place->rewrite = true; /* the server has lost it */
    for (unsigned i = 0; i < c->n; i++) {
        if (told.p[i] != '1')
            continue;
        if (c->echoed)
            c->echoes++;
        else
            tell_here(c, i);
    }
    c->echoes -= MIN(c->echoes, c->back);
    if (c->partition != NULL && c->partition->server != c->server)
        relay(c, told);
    redis_call_settle(c, false);
    return true;
}

void redis_members_echo(struct redis_call *c)
{
    if (!c->replied) {
        c->back++;
    } else if (c->echoes > 0) {
        c->echoes--;
        redis_call_settle(c, false);
    }
}

void redis_members_failed(struct redis_call *c)
{
    struct redis *e = c->server->engine;
    struct str rest = buf_view(&c->body), info;
    struct client_info who;
    struct envelope env;

    for (unsigned i = 0; envelope_next(&rest, &env) > 0; i++) {
        env.r.name = name_of(c);
        if (record_field(env.r.fields, FIELD_INFO, &info) && client_info_read(info, &who) == 0)
            owe(e, &env.r, env.r.flags, who.client);
        if (!c->pubs[i].quiet)
            redis_done(e, c->pubs[i].token, ENGINE_OK, (struct position){0});
    }
    redis_call_free(c);
}

static void tell(struct redis *e, const struct redis_sub *sub, struct record *r)
{
    if (sub != NULL && (sub->c == NULL || !sub->told))
        return; /* nobody has subscribed yet, or any more */
    e->engine.events->member(e->engine.hub, r);
}

void redis_member_told(struct redis *e, const struct redis_sub *sub, const struct envelope *env)
{
    struct envelope here = *env;

    if (!redis_member_sound(env->r.fields)) {
        METRIC_INC(engine_malformed);
        return;
    }
    engine_localise(&here, e->s.node);
    here.r.flags = 0;
    tell(e, sub, &here.r);
}

void redis_member_gone(struct redis *e, const struct redis_sub *sub, struct str value)
{
    struct redis_member m;
    struct record r = {.kind = RECORD_LEAVE, .source = RECORD_SOURCE_REMOTE};

    if (sub == NULL)
        return;
    if (!redis_member_read(value, &m)) {
        METRIC_INC(engine_malformed);
        return;
    }
    r.name = (struct str){.p = sub->name, .n = sub->name_len};
    r.fields = m.fields;
    tell(e, sub, &r);
}
