/* core/engine_redis_lanes.c - calls that a server has turned away: MOVED, ASK, TRYAGAIN, NOSCRIPT.
 *
 * Happy path of a channel whose call has been turned away:
 *   1. it gets a lane: what comes for it waits there, other channels' calls flow
 *   2. those under way are answered, or turned away as well: they queue up in the order in which they
 *      were sent
 *   3. they are sent again one by one, each when the one before it is done: to the server that has the
 *      slot, or behind ASKING to the one that is taking it over
 *   4. what waited goes where it belongs; the lane ends.
 * Can fail: nobody takes them for `patience_ns`: they are UNAVAILABLE, for they have certainly not been
 * done; no memory for a lane: the same at once. */
#include "engine_redis_internal.h"

#include "base/clock.h"
#include "base/metrics.h"

struct redis_lane {
    struct htab_node node;
    struct list link;         /* in redis.lane_list */
    struct list again;        /* turned away, as they were sent */
    struct list held;         /* those that came since */
    struct redis_server *ask; /* it is taking the slot over, or NULL */
    uint64_t retry_ns;        /* of the first of `again` */
    uint64_t since_ns;        /* when one was done, or it began */
    unsigned under_way;
    bool draining; /* those under way were sent before it began */
    uint8_t name_len;
    char name[];
};

static struct str name_of(const struct redis_lane *l)
{
    return (struct str){.p = l->name, .n = l->name_len};
}

static bool equal(const struct htab_node *node, const void *key)
{
    return str_equal(name_of(CONTAINER_OF(node, struct redis_lane, node)),
                     *(const struct str *)key);
}

static struct redis_lane *find(struct redis *e, struct str name)
{
    struct htab_node *n =
        e->lanes.count > 0 ? htab_find(&e->lanes, hash_str(name), equal, &name) : NULL;

    return n != NULL ? CONTAINER_OF(n, struct redis_lane, node) : NULL;
}

static bool is_of(const struct redis_call *c, const struct redis_lane *l)
{
    return redis_call_has_place(c->kind) &&
           str_equal((struct str){.p = c->name, .n = c->name_len}, name_of(l));
}

/* Of the server's calls those of its channel become its own. */
static void gather(struct redis_lane *l, struct redis_server *s)
{
    struct list *n, *next;

    for (n = s->sent.next; n != &s->sent; n = n->next) {
        struct redis_call *c = LIST_ENTRY(n, struct redis_call, link);

        if (c->replied || !is_of(c, l))
            continue;
        c->lane = l;
        l->under_way++;
    }
    for (n = s->waiting.next; n != &s->waiting; n = next) {
        struct redis_call *c = LIST_ENTRY(n, struct redis_call, link);

        next = n->next;
        if (!is_of(c, l))
            continue;
        c->lane = l;
        list_remove(n);
        list_append(&l->held, n);
    }
}

static struct redis_lane *lane_new(struct redis_server *s, struct str name)
{
    struct redis *e = s->engine;
    struct redis_lane *l = calloc(1, sizeof(*l) + name.n);

    if (l == NULL)
        return NULL;
    l->node.hash = hash_str(name);
    l->name_len = (uint8_t)name.n;
    memcpy(l->name, name.p, name.n);
    if (htab_insert(&e->lanes, &l->node) == -1) {
        free(l);
        return NULL;
    }
    list_init(&l->again);
    list_init(&l->held);
    list_init(&l->link);
    list_append(&e->lane_list, &l->link);
    l->since_ns = clock_ns();
    l->draining = true;
    gather(l, s);
    return l;
}

static void lane_free(struct redis *e, struct redis_lane *l)
{
    list_remove(&l->link);
    htab_remove(&e->lanes, &l->node);
    free(l);
}

bool redis_lane_take(struct redis_call *c)
{
    struct redis_lane *l = find(c->server->engine, (struct str){.p = c->name, .n = c->name_len});

    if (l == NULL)
        return false;
    c->lane = l;
    list_append(&l->held, &c->link);
    return true;
}

/* The channel's, maybe a new one. NULL: no memory. */
static struct redis_lane *lane_of(struct redis_server *s, struct str name)
{
    struct redis_lane *l = find(s->engine, name);

    return l != NULL ? l : lane_new(s, name);
}

int redis_lane_begin(struct redis_call *c)
{
    struct redis_lane *l = c->lane;

    if (l == NULL)
        l = lane_of(c->server, (struct str){.p = c->name, .n = c->name_len});
    if (l == NULL)
        return -1;
    if (c->lane == NULL) { /* the lane is older than that it was sent */
        c->lane = l;
        l->under_way++;
    }
    return 0;
}

/* --- what becomes of those under way --- */

void redis_lane_sent(struct redis_call *c)
{
    if (c->lane != NULL)
        c->lane->under_way++;
}

void redis_lane_left(struct redis_call *c)
{
    if (c->lane == NULL)
        return;
    if (c->sent && !c->replied)
        c->lane->under_way--;
    c->lane = NULL;
}

void redis_lane_answered(struct redis_call *c)
{
    if (c->lane == NULL)
        return;
    c->lane->under_way--;
    c->lane->since_ns = clock_ns();
    c->lane = NULL;
}

/* Not sent any more, into `again`. */
static void come_back(struct redis_lane *l, struct redis_call *c)
{
    c->lane = l;
    list_remove(&c->link);
    if (l->draining)
        list_append(&l->again, &c->link);
    else
        list_prepend(&l->again, &c->link);
}

void redis_lanes_down(struct redis *e, struct list *calls)
{
    struct list *n, *other;

    if (e->lanes.count == 0)
        return;
    for (n = calls->next; n != calls; n = other) { /* in their order */
        struct redis_call *c = LIST_ENTRY(n, struct redis_call, link);
        struct redis_lane *l = find(e, (struct str){.p = c->name, .n = c->name_len});

        other = n->next;
        if (l != NULL && l->draining && is_of(c, l))
            come_back(l, c);
    }
    for (n = calls->prev; n != calls; n = other) { /* each before the one that followed it */
        struct redis_call *c = LIST_ENTRY(n, struct redis_call, link);
        struct redis_lane *l = find(e, (struct str){.p = c->name, .n = c->name_len});

        other = n->prev;
        if (l != NULL && is_of(c, l))
            come_back(l, c);
    }
}

void redis_lane_turned_away(struct redis_call *c, struct redis_server *ask, uint64_t delay_ns)
{
    struct redis_server *s = c->server;
    struct redis_lane *l = c->lane;

    if (l != NULL) {
        l->under_way--;
    } else {
        c->replied = true; /* it is none of those under way */
        l = lane_of(s, (struct str){.p = c->name, .n = c->name_len});
    }
    c->lane = NULL;
    c->refused = true;
    if (l == NULL) {
        redis_call_fail(c, ENGINE_UNAVAILABLE);
        return;
    }
    c->replied = c->sent = false;
    s->nwaiting++;
    redis_call_grew(c, c->body.len);
    come_back(l, c);
    l->ask = ask;
    l->retry_ns = clock_ns() + delay_ns;
}

void redis_lanes_forget(struct redis *e, const struct redis_server *s)
{
    for (struct list *n = e->lane_list.next; n != &e->lane_list; n = n->next) {
        struct redis_lane *l = LIST_ENTRY(n, struct redis_lane, link);

        if (l->ask == s)
            l->ask = NULL;
    }
}

/* --- as time passes --- */

static void give_up(struct redis_call *c)
{
    if (c->kind == REDIS_SYNC)
        redis_sync_failed(c);
    redis_call_fail(c, c->repeat ? ENGINE_UNKNOWN : ENGINE_UNAVAILABLE);
}

/* Nobody has taken any of them for so long. */
static void expire(const struct redis *e, struct redis_lane *l, uint64_t now_ns)
{
    if (l->under_way > 0 || now_ns - l->since_ns <= e->s.patience_ns)
        return;
    while (!list_empty(&l->again))
        give_up(LIST_ENTRY(l->again.next, struct redis_call, link));
    while (!list_empty(&l->held))
        give_up(LIST_ENTRY(l->held.next, struct redis_call, link));
}

/* The first of `again`, to its server. A plain publication needs no key: the server that has the slot still
 * takes it, and everybody is subscribed there. */
static void send_first(struct redis *e, struct redis_lane *l)
{
    struct redis_call *c = LIST_ENTRY(l->again.next, struct redis_call, link);
    bool asking = l->ask != NULL && c->kind != REDIS_PUBLISH;
    struct redis_server *s = asking ? l->ask : redis_server_of(e, name_of(l));

    if (s->state != REDIS_UP || s->nsent >= e->s.window)
        return;
    redis_call_move(c, s);
    c->asking = asking;
    redis_call_send(c);
}

static void release(struct redis *e, struct redis_lane *l)
{
    struct redis_server *s = redis_server_of(e, name_of(l));
    struct list *n;

    while ((n = list_pop(&l->held)) != NULL) {
        struct redis_call *c = LIST_ENTRY(n, struct redis_call, link);

        c->lane = NULL;
        redis_call_move(c, s);
        list_append(&s->waiting, n);
    }
    lane_free(e, l);
}

uint64_t redis_lanes_run(struct redis *e, uint64_t now_ns)
{
    uint64_t next_ns = UINT64_MAX;
    struct list *n, *next;

    for (n = e->lane_list.next; n != &e->lane_list; n = next) {
        struct redis_lane *l = LIST_ENTRY(n, struct redis_lane, link);

        next = n->next;
        expire(e, l, now_ns);
        if (l->ask == redis_server_of(e, name_of(l)))
            l->ask = NULL; /* it has taken the slot over */
        if (l->under_way > 0)
            continue;
        l->draining = false;
        if (l->ask != NULL && list_empty(&l->again))
            list_take(&l->again, &l->held); /* where they belong they would be turned away */
        if (list_empty(&l->again)) {
            release(e, l);
            continue;
        }
        if (now_ns >= l->retry_ns)
            send_first(e, l);
        else
            next_ns = MIN(next_ns, l->retry_ns);
    }
    return next_ns;
}

/* --- what was done behind ASKING --- */

/* It was done by the server that takes the slot over, while others are subscribed at the one that has
 * it: they hear of it through this node, and it comes back from there. Where that fails they see the
 * gap, at the latest when the slot has moved. */
void redis_call_relay(struct redis_call *c, struct position first)
{
    struct redis_server *s = c->partition != NULL ? c->partition->server : c->server;
    struct redis_call *r;

    if (s == c->server)
        return;
    if (!c->asked) { /* the server that had the slot has done it and told everybody; it moved since */
        c->echoes = 0;
        return;
    }
    r = s->state != REDIS_UP
            ? NULL
            : redis_call_new(s, REDIS_RELAY, (struct str){.p = c->name, .n = c->name_len});
    if (r == NULL || buf_append(&r->body, buf_view(&c->body)) == -1) {
        if (r != NULL)
            redis_call_free(r);
        c->echoes = 0;
        return;
    }
    redis_call_grew(r, r->body.len);
    r->since = first;
    redis_call_send(r);
    c->server = s;
    c->since_ns = clock_ns();
    list_remove(&c->link);
    list_append(&s->sent, &c->link);
}

void redis_lanes_fini(struct redis *e)
{
    struct list *n;

    while ((n = e->lane_list.next) != &e->lane_list) {
        struct redis_lane *l = LIST_ENTRY(n, struct redis_lane, link);

        while (!list_empty(&l->again))
            redis_call_free(LIST_ENTRY(l->again.next, struct redis_call, link));
        while (!list_empty(&l->held))
            redis_call_free(LIST_ENTRY(l->held.next, struct redis_call, link));
        lane_free(e, l);
    }
    htab_fini(&e->lanes);
}
