/* core/engine_nats_subs.c - the channels this node subscribes to.
 *
 * Happy path: 1. SUB, and a PING behind what a round has brought · 2. its PONG: subscribed() · 3. each publication
 * takes the channel's next offset, which is this node's own. A new connection does 1 for all of them, a bounded
 * number at a time and so many a second as engine_resubscribe_rate says, those first that somebody waits for;
 * whoever is subscribed gets what comes from the moment the server has heard of it.
 * Can fail: the server does not permit the subject, or no more of them: subscribed() says UNAVAILABLE; not any more: lost(),
 * and it is asked again every REFUSED_NS. It is away: for longer than patience lasts, and whoever waits is told so; subscribed()
 * comes when it is back. */
#include "engine_nats_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "core/epoch.h"

#define LINGER_NS     (10 * NS_PER_SEC)
#define REFUSED_NS    (30 * NS_PER_SEC) /* until those that are refused are asked for again */
#define LINGER_MAX    512               /* that end in one round */
#define GIVE_UP_MAX   4096              /* who are told of it in one round */
#define ASK_BYTES_MAX ((size_t)64 * 1024)
#define FLIGHTS_MAX   4 /* rounds of them without an answer */

static struct str name_of(const struct nats_sub *sub)
{
    return (struct str){.p = sub->name, .n = sub->name_len};
}

static struct nats_sub *sub_of(struct list *n)
{
    return LIST_ENTRY(n, struct nats_sub, link);
}

static bool equal(const struct htab_node *node, const void *key)
{
    return str_equal(name_of(CONTAINER_OF(node, struct nats_sub, node)), *(const struct str *)key);
}

struct nats_sub *nats_sub_find(struct nats *e, struct str name)
{
    struct htab_node *n = htab_find(&e->subs, hash_str(name), equal, &name);

    return n != NULL ? CONTAINER_OF(n, struct nats_sub, node) : NULL;
}

static struct nats_sub *sub_new(struct nats *e, struct str name)
{
    struct nats_sub *sub = calloc(1, sizeof(*sub) + name.n);

    if (sub == NULL)
        return NULL;
    sub->node.hash = hash_str(name);
    sub->name_len = (uint8_t)name.n;
    memcpy(sub->name, name.p, name.n);
    if (htab_insert(&e->subs, &sub->node) == -1) {
        free(sub);
        return NULL;
    }
    sub->sid = ++e->next_sid;
    list_init(&sub->link);
    list_init(&sub->linger);
    METRIC_ADD(engine_subscriptions, 1);
    return sub;
}

static void sub_free(struct nats *e, struct nats_sub *sub)
{
    list_remove(&sub->link);
    list_remove(&sub->linger);
    htab_remove(&e->subs, &sub->node);
    nats_publishers_fini(&sub->publishers);
    METRIC_ADD(engine_subscriptions, -1);
    free(sub);
}

static void put(struct nats_sub *sub, struct list *where, enum nats_sub_state state)
{
    list_remove(&sub->link);
    list_append(where, &sub->link);
    sub->state = (uint8_t)state;
}

static void free_visit(struct htab_node *node, void *arg)
{
    sub_free(arg, CONTAINER_OF(node, struct nats_sub, node));
}

void nats_subs_fini(struct nats *e)
{
    size_t cursor = 0;

    while (htab_scan(&e->subs, &cursor, 64, free_visit, e))
        ;
    htab_fini(&e->subs);
}

/* --- the hub asks --- */

/* It has a life of its own from now on. */
static void tell(struct nats *e, struct nats_sub *sub)
{
    if (sub->c == NULL || sub->told)
        return;
    sub->told = true;
    sub->waits = false;
    sub->at = sub->c->at = (struct position){.epoch = epoch_new()};
    e->engine.events->subscribed(e->engine.hub, sub->c, ENGINE_OK);
}

/* Whoever waits is told that it cannot be now; it is tried again all the same. Channels may go on within this
 * node. */
static void give_up(struct nats *e, struct nats_sub *sub)
{
    put(sub, &e->subscribe, NATS_SUB_WAITING);
    if (e->s.local_fallback) {
        tell(e, sub);
        return;
    }
    sub->waits = false;
    e->engine.events->subscribed(e->engine.hub, sub->c, ENGINE_UNAVAILABLE);
}

bool nats_subs_give_up(struct nats *e)
{
    for (unsigned i = 0; i < GIVE_UP_MAX && !list_empty(&e->wanted); i++)
        give_up(e, sub_of(e->wanted.next));
    return !list_empty(&e->wanted);
}

void nats_subscribe(struct nats *e, struct engine_channel *c, struct str name)
{
    struct nats_sub *sub = nats_sub_find(e, name);

    c->at = (struct position){0};
    c->stream = NULL;
    if (sub == NULL && (sub = sub_new(e, name)) == NULL) {
        e->engine.events->subscribed(e->engine.hub, c, ENGINE_UNAVAILABLE);
        return;
    }
    list_remove(&sub->linger);
    sub->c = c;
    sub->told = false;
    if (sub->state == NATS_SUB_LIVE) {
        tell(e, sub);
        return;
    }
    sub->waits = true;
    if (nats_given_up(e))
        give_up(e, sub);
    else if (sub->state != NATS_SUB_ASKED)
        put(sub, &e->wanted, NATS_SUB_WAITING);
}

void nats_unsubscribe(struct nats *e, struct str name)
{
    struct nats_sub *sub = nats_sub_find(e, name);

    if (sub == NULL)
        return;
    sub->c = NULL;
    sub->told = sub->waits = false;
    if (sub->state == NATS_SUB_WAITING)
        put(sub, &e->subscribe, NATS_SUB_WAITING);
    sub->until_ns = clock_ns() + LINGER_NS;
    list_remove(&sub->linger);
    list_append(&e->lingering, &sub->linger);
}

static void end(struct nats *e, struct nats_sub *sub)
{
    if (sub->state == NATS_SUB_ASKED || sub->state == NATS_SUB_LIVE) {
        if (nats_write_unsub(&e->out, sub->sid) == -1)
            return; /* what comes of it is nobody's; the next connection does not have it */
        e->unanswered = true;
    }
}

void nats_subs_linger(struct nats *e, uint64_t now_ns)
{
    unsigned budget = LINGER_MAX;

    while (!list_empty(&e->lingering) && budget-- > 0) {
        struct nats_sub *sub = LIST_ENTRY(e->lingering.next, struct nats_sub, linger);

        if (now_ns < sub->until_ns)
            break;
        end(e, sub);
        sub_free(e, sub);
    }
}

/* --- connections come and go --- */

static void ask_again(struct nats *e, struct list *subs)
{
    for (struct list *n = subs->next, *next; n != subs; n = next) {
        struct nats_sub *sub = sub_of(n);

        next = n->next;
        sub->state = NATS_SUB_WAITING;
        if (sub->waits)
            put(sub, &e->wanted, NATS_SUB_WAITING);
    }
    list_prepend_all(&e->subscribe, subs);
}

void nats_subs_down(struct nats *e)
{
    ask_again(e, &e->refused);
    ask_again(e, &e->live);
    ask_again(e, &e->asked);
}

static int ask(struct nats *e, struct nats_sub *sub)
{
    struct str subject = nats_subject(e, "c", name_of(sub));

    if (subject.n == 0 || nats_write_sub(&e->out, subject, sub->sid) == -1)
        return -1;
    sub->flight = e->pings + 1;
    e->unanswered = true;
    put(sub, &e->asked, NATS_SUB_ASKED);
    return 0;
}

/* Rounds of SUB that are under way. */
static uint64_t flights(const struct nats *e)
{
    return list_empty(&e->asked) ? 0 : e->pings + 1 - sub_of(e->asked.next)->flight;
}

void nats_subs_up(struct nats *e)
{
    e->up_ns = clock_ns();
    engine_pace_begin(&e->pace, e->s.resubscribe_rate, e->subs.count);
}

bool nats_subs_restored(const struct nats *e)
{
    return list_empty(&e->wanted) && list_empty(&e->subscribe) && list_empty(&e->asked);
}

/* So many of these at the most. How many; -1: the connection has ended. */
static int ask_some(struct nats *e, struct list *subs, uint64_t most, size_t out_max)
{
    uint64_t names = 0;

    for (; names < most && !list_empty(subs); names++) {
        struct nats_sub *sub = sub_of(subs->next);

        if (e->out.len >= out_max || flights(e) >= FLIGHTS_MAX)
            break;
        if (sub->c == NULL) { /* nobody has come back to it */
            sub_free(e, sub);
        } else if (ask(e, sub) == -1) {
            nats_restart(e, ENDING_MEMORY, NULL);
            return -1;
        }
    }
    return (int)names;
}

/* Before what is published in the same round, which would not come back else: who waits, at once; the others as
 * the rate says. */
bool nats_subs_ask(struct nats *e)
{
    size_t out_max = e->out.len + ASK_BYTES_MAX;
    int names;

    if (!list_empty(&e->refused) && clock_ns() >= e->refused_ns)
        ask_again(e, &e->refused);
    if (ask_some(e, &e->wanted, ENGINE_PACE_NAMES, out_max) == -1)
        return false;
    if (list_empty(&e->wanted) && !list_empty(&e->subscribe)) {
        names =
            ask_some(e, &e->subscribe, engine_pace_now(&e->pace, e->s.resubscribe_rate), out_max);
        if (names == -1)
            return false;
        engine_pace_asked(&e->pace, (uint64_t)names);
    }
    return flights(e) < FLIGHTS_MAX && (!list_empty(&e->wanted) || (!list_empty(&e->subscribe) &&
                                                                    e->pace.next_ns <= clock_ns()));
}

/* Its first publication says so, too, and may be one that this node has published behind SUB. */
static void confirmed(struct nats *e, struct nats_sub *sub)
{
    if (sub->state != NATS_SUB_ASKED)
        return;
    put(sub, &e->live, NATS_SUB_LIVE);
    tell(e, sub);
}

/* Somebody was told that he is subscribed: it is tried again, later, and he knows that he has missed something. */
static void taken_away(struct nats *e, struct nats_sub *sub)
{
    if (list_empty(&e->refused))
        e->refused_ns = clock_ns() + REFUSED_NS;
    put(sub, &e->refused, NATS_SUB_REFUSED);
    METRIC_INC(engine_gaps_lost);
    e->engine.events->lost(e->engine.hub, sub->c);
}

static void refused(struct nats *e, struct nats_sub *sub)
{
    struct engine_channel *c = sub->c;

    if (c != NULL && sub->told) {
        taken_away(e, sub);
        return;
    }
    sub_free(e, sub);
    if (c != NULL)
        e->engine.events->subscribed(e->engine.hub, c, ENGINE_UNAVAILABLE);
}

void nats_subs_refused(struct nats *e, struct str name)
{
    struct nats_sub *sub = nats_sub_find(e, name);

    if (sub != NULL && (sub->state == NATS_SUB_ASKED || sub->state == NATS_SUB_LIVE))
        refused(e, sub);
}

/* Of the SUBs in front of a PING those that are too many are the last ones: UNSUBs stand in front of them. */
int nats_subs_answered(struct nats *e, uint64_t flight)
{
    unsigned too_many = e->too_many, n = 0;
    int rc;

    e->too_many = 0;
    for (struct list *l = e->asked.next; l != &e->asked && sub_of(l)->flight <= flight; l = l->next)
        n++;
    if (n > 0)
        hist_record(&metrics->engine_call_subscribe,
                    clock_ns() - e->ping_ns[flight % NATS_PINGS_MAX]);
    rc = too_many > n ? -1 : 0;
    for (; n > 0 && !list_empty(&e->asked); n--)
        if (n > too_many)
            confirmed(e, sub_of(e->asked.next));
        else
            refused(e, sub_of(e->asked.next));
    return rc;
}

/* --- what comes --- */

static void hand_over(struct nats *e, struct nats_sub *sub, struct envelope *env)
{
    sub->c->at.offset++;
    sub->at = sub->c->at;
    engine_localise(env, e->s.node);
    env->r.name = name_of(sub);
    e->engine.events->message(e->engine.hub, sub->c, &env->r);
}

struct position nats_deliver_here(struct nats *e, const struct record *r)
{
    struct nats_sub *sub = nats_sub_find(e, r->name);
    struct envelope env = {.node = e->s.node, .wall_ms = clock_wall_ns() / NS_PER_MS, .r = *r};

    if (sub == NULL || !sub->told)
        return (struct position){0};
    env.r.kind = RECORD_PUBLICATION;
    hand_over(e, sub, &env);
    return sub->at;
}

void nats_deliver(struct nats *e, struct nats_sub *sub, uint64_t sid, struct envelope *env)
{
    struct engine_channel *c = sub->c;
    uint64_t missing;

    if (sid != sub->sid)
        return; /* of a subscription that was given up */
    confirmed(e, sub);
    if (!nats_publishers_take(&sub->publishers, env, clock_ns(), &missing)) {
        METRIC_INC(engine_repetitions);
        return;
    }
    if (c == NULL || !sub->told)
        return;
    if (UNLIKELY(missing > 0)) {
        METRIC_INC(engine_gaps_lost);
        METRIC_ADD(engine_missing, missing);
        c->at.offset += missing;
        e->engine.events->lost(e->engine.hub, c);
    }
    hand_over(e, sub, env);
}
