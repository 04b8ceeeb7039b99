/* core/engine_redis_presence_tidy.c - what the servers have of members is kept true: this node's are written
 * again where they were lost, what has been left behind is removed.
 *
 * Four things, each in steps that leave the window room for what clients do:
 *   - the pass: all members of the places that need it are written again. A place does when a call has failed,
 *     when its server is another process than before, when it has lost a channel's keys, when this node is not among its
 *     nodes any more: another one has taken it for dead; then joins are told again, as leaves were
 *   - the sweep of this node's own earlier generation, after a pass that follows a leave the server was not told
 *     of, or when the hub was started again
 *   - the sweep of a dead node, by the living one with the lowest id
 *   - the renewal of keys that would expire.
 * A sweep: some channels of the node (SSCAN), some members of each (a script), until none is left.
 * Can fail: the server goes away meanwhile: what was not finished begins again. */
#include "engine_redis_presence_internal.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "core/epoch.h"

#define TICK_NS     (500 * NS_PER_MS)
#define TIDY_ASK_NS (2 * NS_PER_SEC) /* for a place's nodes, by who tidies up */
#define ASK_NS      (10 * NS_PER_SEC)
#define RENEW_NS    (300 * NS_PER_SEC)
#define SWEEPS_MAX  16
#define PASS_STEP   512 /* members of one turn */
#define ROUNDS_MAX  3   /* through a dead node's channels */

static bool is_up(struct redis *e, unsigned place)
{
    return redis_place_server(e, place)->state == REDIS_UP;
}

/* Is there room for what is not urgent? */
static bool has_room(const struct redis *e)
{
    for (unsigned i = 0; i < e->nservers; i++)
        if (e->servers[i]->nwaiting > e->s.window / 2)
            return false;
    return true;
}

/* --- the pass --- */

struct pass {
    struct redis *engine;
    unsigned n;
};

static void write_again(struct htab_node *node, void *arg)
{
    struct member *m = CONTAINER_OF(node, struct member, node);
    struct pass *pass = arg;
    struct redis *e = pass->engine;
    struct record r = {.kind = RECORD_JOIN,
                       .source = RECORD_SOURCE_REMOTE,
                       .name = members_channel_name(m->channel),
                       .fields = member_fields(m)};
    struct redis_place *place = &e->presence->places[redis_place_of(e, r.name)];
    uint8_t flags = REDIS_MEMBER_FIRST | REDIS_MEMBER_IF_NEW;

    if (!place->rewriting)
        return;
    pass->n++;
    METRIC_INC(presence_rewritten);
    if (m->tell)
        flags |= REDIS_MEMBER_TELLS;
    if (m->owed || (m->tell && place->telling))
        flags |= PRESENCE_TELL;
    if (redis_member_change(e, &r, flags, m->owner, true, 0) == 0)
        m->owed = false;
    else
        place->rewrite = true;
}

static bool is_swept(const struct redis *e, unsigned place, uint64_t node)
{
    const struct list *sweeps = &e->presence->sweeps;

    for (const struct list *l = sweeps->next; l != sweeps; l = l->next) {
        const struct redis_sweep *w = LIST_ENTRY(l, struct redis_sweep, link);

        if (w->place == place && w->node == node)
            return true;
    }
    return false;
}

static void pass_begin(struct redis *e)
{
    struct redis_presence *p = e->presence;

    for (unsigned i = 0; i < p->nplaces; i++) {
        struct redis_place *place = &p->places[i];

        if (!place->rewrite || !is_up(e, i))
            continue;
        if (place->sweep && is_swept(e, i, e->s.node))
            continue; /* it spares the present generation */
        place->rewriting = p->pass = true;
        place->telling = place->retell;
        place->rewrite = place->retell = place->written = false;
        if (place->sweep)
            place->gen = (uint32_t)epoch_new();
    }
    p->pass_cursor = 0;
}

static void pass_end(struct redis *e)
{
    struct redis_presence *p = e->presence;

    p->pass = false;
    for (unsigned i = 0; i < p->nplaces; i++)
        p->places[i].rewriting = p->places[i].telling = false;
}

/* True: there is more to do now. */
static bool pass_run(struct redis *e)
{
    struct redis_presence *p = e->presence;
    struct pass pass = {.engine = e};

    for (unsigned i = 0; p->pass && i < PASS_STEP && pass.n < PASS_STEP; i++) {
        if (!has_room(e))
            return false;
        if (!htab_scan(&p->members.members, &p->pass_cursor, 1, write_again, &pass))
            pass_end(e);
    }
    return p->pass;
}

/* --- sweeps --- */

static struct redis_call *sweep_call(struct redis_sweep *w, enum redis_call_kind kind,
                                     struct str channel)
{
    struct redis_server *s = redis_place_server(w->engine, w->place);
    struct redis_call *c = NULL;

    if (!redis_server_given_up(s))
        c = channel.n > 0 ? redis_call_new(s, kind, channel)
                          : redis_place_call(w->engine, w->place, kind);
    if (c == NULL) {
        w->failed = true;
        return NULL;
    }
    c->task = w;
    w->outstanding++;
    return c;
}

static void sweep_free(struct redis_sweep *w)
{
    list_remove(&w->link);
    w->engine->presence->nsweeps--;
    free(w);
}

void redis_sweeps_fini(struct redis *e)
{
    while (!list_empty(&e->presence->sweeps))
        sweep_free(LIST_ENTRY(e->presence->sweeps.next, struct redis_sweep, link));
}

static bool is_own(const struct redis_sweep *w)
{
    return w->node == w->engine->s.node;
}

static void sweep_channels(struct redis_sweep *w)
{
    (void)sweep_call(w, REDIS_INDEX, STR_NULL);
}

static void sweep_channel(struct redis_sweep *w, struct str channel, struct str cursor)
{
    struct redis_call *c;

    if (channel.n == 0 || channel.n > CHANNEL_NAME_MAX)
        return;
    c = sweep_call(w, REDIS_SWEEP, channel);
    if (c == NULL)
        return;
    c->text = malloc(cursor.n + 1);
    if (c->text == NULL) {
        w->outstanding--;
        w->failed = true;
        redis_call_free(c);
        return;
    }
    memcpy(c->text, cursor.p, cursor.n);
    c->text[cursor.n] = '\0';
}

static void disown(struct redis_sweep *w, bool drop)
{
    struct redis_call *c = sweep_call(w, REDIS_DISOWN, STR_NULL);

    if (c != NULL)
        c->drop = drop;
}

/* A step is complete: the next one, or the end. */
static void sweep_step(struct redis_sweep *w)
{
    struct redis_place *place = &w->engine->presence->places[w->place];

    if (w->outstanding > 0)
        return;
    if (!w->failed && !w->removed) {
        if (!is_own(w) && redis_node_alive(w->engine, w->node))
            disown(w, true); /* it is back, finds itself missing, and writes its members again */
        else if (strcmp(w->cursor, "0") != 0)
            sweep_channels(w);
        else if (!is_own(w))
            disown(w, ++w->rounds >= ROUNDS_MAX);
    }
    if (w->outstanding > 0)
        return;
    place->sweep |= w->failed && is_own(w);
    sweep_free(w);
}

/* False: not now. */
static bool sweep_begin(struct redis *e, unsigned place, uint64_t node)
{
    struct redis_presence *p = e->presence;
    struct redis_sweep *w;

    if (is_swept(e, place, node) || p->nsweeps >= SWEEPS_MAX)
        return false;
    w = calloc(1, sizeof(*w));
    if (w == NULL)
        return false;
    *w = (struct redis_sweep){.engine = e,
                              .node = node,
                              .place = place,
                              .run = redis_run(redis_place_server(e, place)),
                              .cursor = "0"};
    list_append(&p->sweeps, &w->link);
    p->nsweeps++;
    sweep_channels(w);
    sweep_step(w); /* if that has failed */
    return true;
}

static bool index_reply(struct redis_sweep *w, struct str value)
{
    struct str cursor, channel;
    struct resp_node node;

    if (!resp_next(&value, &node) || node.type != RESP_ARRAY || !resp_next_text(&value, &cursor) ||
        str_copy(cursor, w->cursor, sizeof(w->cursor)) == -1 || !resp_next(&value, &node))
        return false;
    for (uint32_t i = 0; i < node.n && resp_next_text(&value, &channel); i++)
        sweep_channel(w, channel, STR_LIT("0"));
    return true;
}

static bool sweep_reply(const struct redis_call *c, struct redis_sweep *w, struct str value)
{
    struct resp_node node;
    struct str cursor;
    int64_t removed;

    if (!resp_next(&value, &node) || node.type != RESP_ARRAY || !resp_next_text(&value, &cursor) ||
        !resp_next_number(&value, &removed))
        return false;
    METRIC_ADD(presence_tidied, (uint64_t)MAX(removed, 0));
    if (!str_equal(cursor, STR_LIT("0")))
        sweep_channel(w, (struct str){.p = c->name, .n = c->name_len}, cursor);
    return true;
}

/* --- the nodes of a place --- */

static bool owners_reply(struct redis *e, unsigned place, struct str value)
{
    struct redis_place *at = &e->presence->places[place];
    struct resp_node node;
    struct str text;
    bool found = false;

    at->asking = false;
    if (!resp_next(&value, &node) || (node.type != RESP_SET && node.type != RESP_ARRAY))
        return false;
    for (uint32_t i = 0; i < node.n && resp_next_text(&value, &text); i++) {
        char id[20], *end;
        uint64_t owner;

        if (str_copy(text, id, sizeof(id)) == -1)
            continue;
        owner = strtoull(id, &end, 16);
        found |= owner == e->s.node;
        if (*end != '\0' || redis_node_alive(e, owner) || !redis_node_tidies(e))
            continue;
        if (sweep_begin(e, place, owner))
            LOG(LOG_INFO, "removes the members that a dead node has left", KV_S("node", id));
    }
    if (!found && at->written && !at->rewrite && !at->rewriting) {
        LOG(LOG_WARN, "others have taken this node for dead: its members are told again");
        at->written = false;
        at->rewrite = at->retell = true;
    }
    return true;
}

static void ask_owners(struct redis *e, unsigned place, uint64_t now_ns)
{
    struct redis_place *at = &e->presence->places[place];
    bool tidies = redis_node_tidies(e);
    struct redis_call *c;

    if (at->asking || at->rewrite || at->rewriting || (!tidies && !at->written) ||
        (at->asked_ns != 0 && now_ns - at->asked_ns < (tidies ? TIDY_ASK_NS : ASK_NS)))
        return;
    c = redis_place_call(e, place, REDIS_OWNERS);
    if (c == NULL)
        return;
    at->asking = true;
    at->asked_ns = now_ns;
}

void redis_presence_wake(struct redis *e)
{
    struct redis_presence *p = e->presence;

    for (unsigned i = 0; i < p->nplaces; i++)
        p->places[i].asked_ns = 0;
    p->next_ns = 0;
}

/* --- renewal --- */

static void renew(struct htab_node *node, void *arg)
{
    struct redis *e = arg;
    struct str name = members_channel_name(CONTAINER_OF(node, struct members_channel, node));
    struct redis_server *s = redis_server_of(e, name);
    struct redis_call *c = s->state == REDIS_UP ? redis_call_new(s, REDIS_MEMBERS, name) : NULL;

    if (c != NULL)
        c->index = '+';
}

/* All channels in RENEW_NS, some of them now. */
static void renew_run(struct redis *e, uint64_t now_ns)
{
    struct redis_presence *p = e->presence;
    struct htab *channels = &p->members.channels;
    uint64_t passed = MIN(now_ns - p->renewed_ns, RENEW_NS);
    size_t some = (size_t)((double)channels->nbuckets * (double)passed / (double)RENEW_NS);

    if (p->renewed_ns == 0 || channels->count == 0) {
        p->renewed_ns = now_ns;
        return;
    }
    if (some == 0 || !has_room(e))
        return;
    p->renewed_ns = now_ns;
    if (!htab_scan(channels, &p->renew_cursor, some, renew, e))
        p->renew_cursor = 0;
}

/* --- the whole --- */

static void look_at(struct redis *e, unsigned place, uint64_t now_ns)
{
    struct redis_presence *p = e->presence;
    struct redis_place *at = &p->places[place];
    uint64_t run = redis_run(redis_place_server(e, place));
    bool heard = false;

    if (at->run != run && at->run != 0)
        at->rewrite = true; /* it may lack what was said to another one */
    at->run = run;
    for (unsigned i = 0; !heard && i < ENGINE_OWNERS_MAX; i++)
        heard = p->heard[i];
    if (at->sweep && heard && !at->rewrite && !at->rewriting && !is_swept(e, place, e->s.node)) {
        at->sweep = false;
        at->sweep = !sweep_begin(e, place, e->s.node) || at->sweep;
    }
    ask_owners(e, place, now_ns);
}

uint64_t redis_presence_tick(struct redis *e, uint64_t now_ns)
{
    struct redis_presence *p = e->presence;

    if (now_ns >= p->next_ns) {
        p->next_ns = now_ns + TICK_NS;
        for (unsigned i = 0; i < p->nplaces; i++)
            if (is_up(e, i))
                look_at(e, i, now_ns);
        renew_run(e, now_ns);
        if (!p->pass)
            pass_begin(e);
    }
    return p->pass && pass_run(e) ? now_ns : p->next_ns;
}

bool redis_tidy_reply(struct redis_call *c, struct str value)
{
    struct redis *e = c->server->engine;
    struct redis_sweep *w = c->task;
    int64_t number = 0;
    bool good = true;

    switch ((enum redis_call_kind)c->kind) {
    case REDIS_OWNERS:
        good = owners_reply(e, c->place, value);
        break;
    case REDIS_INDEX:
        good = index_reply(w, value);
        break;
    case REDIS_SWEEP:
        good = sweep_reply(c, w, value);
        break;
    default:
        good = resp_next_number(&value, &number);
        w->removed = number != 0;
        break;
    }
    if (!good) /* redis_tidy_failed() is next */
        return false;
    redis_call_free(c);
    if (w == NULL)
        return true;
    w->outstanding--;
    sweep_step(w);
    return true;
}

void redis_tidy_failed(struct redis_call *c)
{
    struct redis_sweep *w = c->task;

    if (w == NULL)
        c->server->engine->presence->places[c->place].asking = false;
    redis_call_free(c);
    if (w == NULL)
        return;
    w->outstanding--;
    w->failed = true;
    sweep_step(w);
}
