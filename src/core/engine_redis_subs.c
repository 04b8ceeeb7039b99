/* core/engine_redis_subs.c - the channels this node subscribes to.
 *
 * Happy path:
 *   1. SUBSCRIBE, and behind it SYNC, which asks where a kept channel stands
 *   2. what is pushed before the reply to SYNC is covered by it; what comes after is live
 *   3. each publication follows the one before it, else SYNC fetches what is between.
 * A new connection does the same for all channels, a bounded number at a time: what was missed is
 * fetched if it is kept and not too much; else lost() tells whoever was subscribed, and what can be shown to lie
 * behind that comes all the same. A channel without
 * history has no position that could be compared: what was published while the connection was
 * away is gone, as with any channel whose publications are not kept.
 * Can fail: the server is away: subscribed() comes when it is back, and whoever waits for it may give
 * up before. */
#include "engine_redis_internal.h"

#include "base/clock.h"
#include "base/metrics.h"
#include "core/channel_options.h"
#include "core/epoch.h"

#define LINGER_NS   (10 * NS_PER_SEC)
#define NAMES_MAX   512 /* of one SUBSCRIBE */
#define PAUSE_NS    (100 * NS_PER_MS)
#define GIVE_UP_MAX 4096 /* who are told of it in one round */

static struct str name_of(const struct redis_sub *sub)
{
    return (struct str){.p = sub->name, .n = sub->name_len};
}

static bool equal(const struct htab_node *node, const void *key)
{
    return str_equal(name_of(CONTAINER_OF(node, struct redis_sub, node)), *(const struct str *)key);
}

struct redis_sub *redis_sub_find(struct redis *e, struct str name)
{
    struct htab_node *n = htab_find(&e->subs, hash_str(name), equal, &name);

    return n != NULL ? CONTAINER_OF(n, struct redis_sub, node) : NULL;
}

bool redis_sub_asked(const struct redis_sub *sub)
{
    return sub->connection == sub->server->connections && sub->server->state == REDIS_UP;
}

bool redis_is_kept(struct str name)
{
    const struct channel_options *o = channel_options_of(name);

    return o != NULL && channel_has_history(o);
}

static struct redis_sub *sub_new(struct redis *e, struct str name)
{
    struct redis_sub *sub = calloc(1, sizeof(*sub) + name.n);

    if (sub == NULL)
        return NULL;
    sub->node.hash = hash_str(name);
    sub->name_len = (uint8_t)name.n;
    memcpy(sub->name, name.p, name.n);
    if (htab_insert(&e->subs, &sub->node) == -1) {
        free(sub);
        return NULL;
    }
    sub->server = redis_server_of(e, name);
    list_init(&sub->link);
    list_init(&sub->linger);
    list_init(&sub->in_partition);
    if (e->cluster != NULL) {
        sub->partition = redis_partition_of(e, redis_same_hash(name));
        list_prepend(&sub->partition->subs, &sub->in_partition);
    }
    METRIC_ADD(engine_subscriptions, 1);
    return sub;
}

static void sub_free(struct redis *e, struct redis_sub *sub)
{
    list_remove(&sub->link);
    list_remove(&sub->linger);
    list_remove(&sub->in_partition);
    htab_remove(&e->subs, &sub->node);
    METRIC_ADD(engine_subscriptions, -1);
    free(sub);
}

static void free_visit(struct htab_node *node, void *arg)
{
    sub_free(arg, CONTAINER_OF(node, struct redis_sub, node));
}

void redis_subs_fini(struct redis *e)
{
    size_t cursor = 0;

    while (htab_scan(&e->subs, &cursor, 64, free_visit, e))
        ;
    htab_fini(&e->subs);
}

/* --- becoming live --- */

/* The hub's view of it. */
static void show(struct redis_sub *sub)
{
    if (sub->c == NULL)
        return;
    sub->c->at = sub->at;
    sub->c->stream = sub->kept ? (struct stream *)(void *)sub : NULL;
}

static void tell(struct redis_sub *sub)
{
    struct redis *e = sub->server->engine;

    if (sub->c == NULL || sub->told)
        return;
    sub->told = true;
    sub->waits = false;
    e->engine.events->subscribed(e->engine.hub, sub->c, ENGINE_OK);
}

static void live(struct redis_sub *sub)
{
    sub->state = REDIS_SUB_LIVE;
    sub->live_on = sub->server->connections;
    sub->moved_to = 0;
    show(sub);
    tell(sub);
}

int redis_sub_sync(struct redis_sub *sub)
{
    struct redis_call *c = redis_call_new(sub->server, REDIS_SYNC, name_of(sub));

    if (c == NULL)
        return -1;
    c->since = sub->at;
    c->limit = sub->at.epoch != 0 ? REDIS_HEAL_MAX : 0;
    sub->state = REDIS_SUB_ASKED;
    sub->heard = 0;
    sub->sync_id = c->id;
    return 0;
}

void redis_sub_heal(struct redis_sub *sub)
{
    if (redis_sub_sync(sub) == -1)
        redis_server_restart(sub->server, ENDING_MEMORY);
}

void redis_confirmed(struct redis_sub *sub)
{
    sub->confirmed = true;
    if (sub->kept || sub->state == REDIS_SUB_LIVE)
        return;
    if (sub->at.epoch == 0)
        sub->at.epoch = epoch_new();
    live(sub);
}

static void lost(struct redis_sub *sub)
{
    struct redis *e = sub->server->engine;

    METRIC_INC(engine_gaps_lost);
    show(sub);
    if (sub->c != NULL && sub->told)
        e->engine.events->lost(e->engine.hub, sub->c);
}

/* Whoever waits is told that it cannot be now; it is tried again all the same. */
static void refuse(struct redis_sub *sub)
{
    struct redis *e = sub->server->engine;

    if (!sub->waits)
        return;
    sub->waits = false;
    e->engine.events->subscribed(e->engine.hub, sub->c, ENGINE_UNAVAILABLE);
}

/* It is to be asked for. */
static void enqueue(struct redis_sub *sub)
{
    list_remove(&sub->link);
    list_append(sub->waits ? &sub->server->wanted : &sub->server->resubscribe, &sub->link);
}

/* What follows sub->at without a gap is delivered, up to there. */
static void close_gap(struct redis_sub *sub, struct position to, struct str entries, uint32_t n)
{
    struct envelope env;
    struct str item;
    uint64_t id[2];
    bool some = false;

    for (uint32_t i = 0; i < n && redis_next_entry(&entries, id, &item); i++) {
        struct position at = {.epoch = to.epoch, .offset = id[0]};

        if (at.offset > to.offset || at.offset != sub->at.offset + 1 ||
            envelope_next(&item, &env) <= 0)
            break;
        some = true;
        redis_deliver(sub, &env, at);
    }
    if (some)
        METRIC_INC(engine_gaps_healed);
}

/* Is the server it is live on still the same, and has been all the time? */
static bool is_there(const struct redis_sub *sub)
{
    return sub->live_on != 0 && sub->live_on == sub->server->connections &&
           sub->server->state == REDIS_UP;
}

/* In the epoch that began behind what it had of the one before, nothing but what follows is missing, if its
 * slot goes from one living master to another. A copy that took over, a server that was away: both may begin
 * behind what the old one has acknowledged, and what this node had got of that says nothing. */
static bool goes_on(const struct redis_sub *sub, const struct redis_call *c, struct position top,
                    struct position before)
{
    bool alive =
        c->asked ? is_there(sub) : sub->moved_to != 0 && sub->moved_to == c->server->connections;

    if (sub->at.epoch == top.epoch)
        return true;
    return alive && c->server->original && sub->at.epoch == before.epoch &&
           sub->at.offset <= before.offset;
}

/* Another epoch begins, and what the one before it has acknowledged may be lost: subscribers are told. What
 * is known of that one is still theirs; and if the other is the very next, all of it follows, as none has
 * come yet: SYNC once more fetches it. */
static void begin_anew(struct redis_sub *sub, struct position top, struct position before,
                       struct str entries, uint32_t n)
{
    if (sub->at.epoch == before.epoch && sub->was != top.epoch) {
        close_gap(sub, before, entries, n);
        top.offset = MIN(before.offset, top.offset);
    }
    sub->at = top;
    lost(sub);
}

/* A reply that was cut at its bytes: the rest is fetched as well. */
static bool goes_further(const struct redis_sub *sub, uint64_t from, uint64_t top)
{
    return sub->at.offset > from && sub->at.offset < top && top - from <= REDIS_HEAL_MAX;
}

void redis_synced(const struct redis_call *c, struct position top, struct position before,
                  struct str entries, uint32_t n)
{
    struct redis_sub *sub =
        redis_sub_find(c->server->engine, (struct str){.p = c->name, .n = c->name_len});
    bool fresh, on;
    uint64_t was, from;

    if (sub == NULL || sub->sync_id != c->id)
        return;
    sub->kept = true; /* also if it was not when it was subscribed to */
    was = sub->at.epoch;
    from = sub->at.offset;
    fresh = was == 0 || !sub->told; /* nobody counts from where it was */
    on = goes_on(sub, c, top, before);
    if (!fresh && on)
        close_gap(sub, top, entries, n);
    if (!fresh && sub->again && (!on || c->since.offset != top.offset))
        METRIC_INC(engine_positions_behind);
    sub->again = false;
    if (fresh) {
        sub->at = top;
    } else if (!on) {
        begin_anew(sub, top, before, entries, n);
    } else if (sub->at.offset == top.offset) {
        sub->at = top; /* maybe in another epoch */
    } else if (!goes_further(sub, from, top.offset)) {
        sub->at = top;
        lost(sub);
    }
    if (!fresh && was != top.epoch) {
        METRIC_INC(engine_epoch_changes);
        sub->was = was;
    }
    if (sub->heard > top.offset || sub->at.offset < top.offset)
        redis_sub_heal(sub); /* it came from another server, ahead of this reply */
    else
        live(sub);
}

/* SUBSCRIBE and SYNC, from the beginning. */
static void ask_again(struct redis_sub *sub)
{
    sub->connection = 0;
    sub->sync_id = 0;
    enqueue(sub);
    if (sub->partition != NULL) {
        list_remove(&sub->in_partition);
        list_prepend(&sub->partition->subs, &sub->in_partition);
    }
}

/* Who was turned away does not ask again at once. */
static void pause(struct redis_server *s)
{
    s->pace.next_ns = clock_ns() + PAUSE_NS;
}

void redis_sync_failed(const struct redis_call *c)
{
    struct redis_sub *sub =
        redis_sub_find(c->server->engine, (struct str){.p = c->name, .n = c->name_len});

    if (sub == NULL || sub->sync_id != c->id)
        return;
    refuse(sub);
    ask_again(sub);
    pause(sub->server);
}

void redis_sub_ended(struct redis_sub *sub)
{
    if (!sub->confirmed) /* this answers an UNSUBSCRIBE from before */
        return;
    ask_again(sub);
    pause(sub->server); /* for the slots */
}

void redis_subs_move(struct redis_partition *p)
{
    for (struct list *n = p->subs.next; n != &p->subs; n = n->next) {
        struct redis_sub *sub = LIST_ENTRY(n, struct redis_sub, in_partition);

        sub->moved_to = is_there(sub) && p->server->state == REDIS_UP ? p->server->connections : 0;
        sub->live_on = 0;
        sub->server = p->server;
        sub->connection = 0;
        sub->sync_id = 0;
        enqueue(sub);
    }
}

void redis_subs_again(struct redis_partition *p)
{
    struct list *n, *next, asked;

    list_take(&asked, &p->subs);
    for (n = asked.next; n != &asked; n = next) {
        struct redis_sub *sub = LIST_ENTRY(n, struct redis_sub, in_partition);

        next = n->next;
        list_remove(n);
        list_append(&p->subs, n);
        if (!sub->confirmed || sub->connection != sub->server->connections)
            ask_again(sub);
    }
    pause(p->server);
}

/* --- the hub asks --- */

/* Channels that are not kept may go on within this node. */
static void give_up(struct redis_sub *sub)
{
    if (sub->waits && sub->server->engine->s.local_fallback && !redis_is_kept(name_of(sub))) {
        if (sub->at.epoch == 0)
            sub->at.epoch = epoch_new();
        show(sub);
        tell(sub);
    }
    refuse(sub);
    enqueue(sub);
}

void redis_subscribe(struct redis *e, struct engine_channel *c, struct str name)
{
    struct redis_sub *sub = redis_sub_find(e, name);

    c->at = (struct position){0};
    c->stream = NULL;
    if (sub == NULL && (sub = sub_new(e, name)) == NULL) {
        e->engine.events->subscribed(e->engine.hub, c, ENGINE_UNAVAILABLE);
        return;
    }
    list_remove(&sub->linger);
    sub->c = c;
    sub->told = false;
    if (redis_sub_asked(sub) && sub->state == REDIS_SUB_LIVE && sub->kept == redis_is_kept(name)) {
        live(sub);
        return;
    }
    sub->waits = true;
    if (redis_sub_asked(sub) && sub->state == REDIS_SUB_LIVE) { /* the settings are others now */
        sub->at = (struct position){0};
        ask_again(sub);
    } else if (!list_linked(&sub->link) || !redis_sub_asked(sub)) { /* else it is being asked for */
        enqueue(sub);
    }
    if (redis_server_given_up(sub->server))
        give_up(sub);
}

bool redis_subs_give_up(struct redis_server *s)
{
    for (unsigned i = 0; i < GIVE_UP_MAX && !list_empty(&s->wanted); i++)
        give_up(LIST_ENTRY(s->wanted.next, struct redis_sub, link));
    return !list_empty(&s->wanted);
}

void redis_unsubscribe(struct redis *e, struct engine_channel *c, struct str name)
{
    struct redis_sub *sub = redis_sub_find(e, name);

    c->stream = NULL;
    if (sub == NULL)
        return;
    sub->c = NULL;
    sub->told = sub->waits = false;
    sub->until_ns = clock_ns() + LINGER_NS;
    list_remove(&sub->linger);
    list_append(&e->lingering, &sub->linger);
}

void redis_call_send_new(struct redis_call *c)
{
    if (c == NULL)
        return;
    redis_call_grew(c, c->body.len);
    redis_call_send(c);
}

/* Adds it to the call, or to a new one for another server. The call, or NULL. */
static struct redis_call *unsubscribe(struct redis_call *c, struct redis_sub *sub)
{
    struct redis_server *s = sub->server;

    if (!redis_sub_asked(sub))
        return c;
    if (c == NULL || c->server != s) {
        redis_call_send_new(c);
        c = redis_call_new(s, REDIS_UNSUBSCRIBE, STR_NULL);
    }
    if (c == NULL || resp_command(&c->body, 2) ||
        resp_arg(&c->body, redis_word(s->engine, "SUNSUBSCRIBE")) ||
        redis_arg_channel(s, &c->body, "c:", name_of(sub)) != 0) {
        if (c != NULL)
            redis_call_free(c);
        redis_server_restart(s, ENDING_MEMORY); /* a new connection is not subscribed */
        return NULL;
    }
    return c;
}

void redis_linger_run(struct redis *e, uint64_t now_ns)
{
    unsigned budget = NAMES_MAX;
    struct redis_call *c = NULL;

    while (!list_empty(&e->lingering) && budget-- > 0) {
        struct redis_sub *sub = LIST_ENTRY(e->lingering.next, struct redis_sub, linger);

        if (now_ns < sub->until_ns)
            break;
        c = unsubscribe(c, sub);
        sub_free(e, sub);
    }
    redis_call_send_new(c);
}
