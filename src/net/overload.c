#include "net/overload.h"

#include "base/config.h"
#include "base/log.h"
#include "base/metrics.h"
#include "net/outq.h"
#include "net/partial.h"
#include "net_internal.h"

#define ROOM_LOOK   512 /* places that are looked at for one who waits */
#define ROOM_AGE_NS NS_PER_SEC
#define SHED_LOOK   64 /* queues that are compared, of each of the two lists */
#define SHED_MAX    64 /* ended in a turn */

static struct log_site site_room = {.window_ns = 10 * NS_PER_SEC, .burst = 1};
static struct log_site site_shed = {.window_ns = 10 * NS_PER_SEC, .burst = 1};

/* --- what there is of it --- */

uint64_t overload_used(void)
{
    uint64_t n = blob_bytes() + partial_bytes(false) + partial_bytes(true);
    struct list *pools = pool_list(), *p;

    for (p = pools->next; p != pools; p = p->next) {
        const struct pool *pool = LIST_ENTRY(p, struct pool, link);

        n += (uint64_t)pool->in_use * pool->size;
    }
    return n;
}

static uint64_t memory_max(void)
{
    return config.worker_memory != 0 ? (uint64_t)config.worker_memory : UINT64_MAX;
}

/* Descriptors of clients, refused ones too. */
static size_t places_taken(void)
{
    return reactor->client_connections + reactor->refused;
}

/* --- accepting --- */

static void say_stopped(bool stopped)
{
    LOG(stopped ? LOG_WARN : LOG_INFO,
        stopped ? "no clients are accepted for now" : "clients are accepted again",
        KV_S("for_want_of", reactor->overload.descriptors ? "descriptors" : "memory"),
        KV_U("connections", reactor->client_connections), KV_U("max", reactor->connection_max),
        KV_U("bytes", overload_used()), KV_I("worker_memory", config.worker_memory));
}

static bool stop(bool descriptors)
{
    reactor->overload.stopped = true;
    reactor->overload.descriptors = descriptors;
    if (descriptors)
        METRIC_INC(accept_stops_descriptors);
    else
        METRIC_INC(accept_stops_memory);
    say_stopped(true);
    return true;
}

bool overload_stops(void)
{
    if (reactor->overload.stopped)
        return true;
    if (places_taken() >= reactor->connection_max + reactor->refused_max)
        return stop(true);
    if (config.worker_memory != 0 && overload_used() > memory_max() / 8 * 7)
        return stop(false);
    return false;
}

static void look_whether_to_go_on(void)
{
    if (places_taken() > reactor->connection_max + reactor->refused_max / 2 ||
        overload_used() > memory_max() / 4 * 3)
        return;
    say_stopped(false);
    reactor->overload.stopped = false;
}

/* --- room for who comes --- */

static bool waits(const struct conn *c)
{
    uint32_t since = c->flags & CONN_WELCOME ? c->heard : c->since;

    if (c->flags & (CONN_ADMIN | CONN_REFUSED) ||
        reactor->tick - since < ROOM_AGE_NS / WHEEL_TICK_NS)
        return false;
    if (c->state == CONN_HTTP || c->state == CONN_FLUSHING)
        return c->out != NULL ? (c->flags & CONN_OUT_STALLED) != 0 /* does not take its answer */
                              : c->state == CONN_HTTP && c->hold == 0;
    return c->state == CONN_PROXY || c->state == CONN_SECURING || c->state == CONN_LINGERING;
}

static bool waits_longer(const struct conn *a, const struct conn *b)
{
    if ((a->flags ^ b->flags) & CONN_WELCOME)
        return !(a->flags & CONN_WELCOME);
    return (int32_t)(b->since - a->since) > 0;
}

struct search {
    unsigned listener;
    struct conn *found;
};

static void compare(struct conn *c, void *arg)
{
    struct search *s = arg;

    if (s->listener != LISTENERS_MAX && s->listener != conn_listener_index(c))
        return;
    if (waits(c) && (s->found == NULL || waits_longer(c, s->found)))
        s->found = c;
}

bool overload_make_room(unsigned listener)
{
    struct search s = {.listener = listener};
    struct conn *c;
    char address[CONN_ADDRESS_MAX];

    if (!reactor_scan(&reactor->overload.cursor, ROOM_LOOK, compare, &s))
        reactor->overload.cursor = 0;
    c = s.found;
    if (c == NULL)
        return false;
    conn_format_address(c, address, sizeof(address));
    LOG_AT(&site_room, LOG_WARN, "full: who waits without a request makes room",
           KV_S("peer", address), KV_U("connections", reactor->client_connections),
           KV_NS("age", (uint64_t)(reactor->tick - c->since) * WHEEL_TICK_NS));
    conn_kill(c, CLOSE_CROWDED_OUT);
    return true;
}

/* --- memory --- */

/* Bytes times age: since it took something, or since it is too long. */
static double slowness(const struct outq *q)
{
    uint64_t since = outq_since(q);

    if (q->over_since != 0)
        since = MIN(since, q->over_since);
    return (double)outq_cost(q) * ((double)(reactor_ns() - since) + NS_PER_MS);
}

/* It waits for its peer, and can be ended still. */
static bool can_go(const struct conn *c)
{
    return (c->flags & CONN_OUT_STALLED) && !conn_finished(c) && c->state != CONN_CLOSING;
}

static void compare_queue(struct outq *q, struct conn **found)
{
    struct conn *c = q->owner;

    if (can_go(c) && (*found == NULL || slowness(q) > slowness((*found)->out)))
        *found = c;
}

static struct conn *slowest(void)
{
    struct conn *found = NULL;
    struct list *n;
    size_t left = SHED_LOOK;

    for (n = reactor->stalled.next; n != &reactor->stalled && left-- > 0; n = n->next)
        compare_queue(LIST_ENTRY(n, struct outq, link), &found);
    left = SHED_LOOK;
    for (n = reactor->over.next; n != &reactor->over && left-- > 0; n = n->next)
        compare_queue(LIST_ENTRY(n, struct outq, over), &found);
    return found;
}

static void say_shed(const struct conn *c, size_t queued)
{
    char address[CONN_ADDRESS_MAX];

    conn_format_address(c, address, sizeof(address));
    LOG_AT(&site_shed, LOG_WARN, "worker_memory is used up: the slowest clients are closed",
           KV_S("peer", address), KV_U("conn", c->id), KV_U("queued", queued),
           KV_U("bytes", overload_used()), KV_I("worker_memory", config.worker_memory),
           KV_S("fix", "raise worker_memory if the machine has more, or lower output_limit"));
}

/* True when there is more to do. */
static bool shed(void)
{
    struct conn *c = NULL;

    for (unsigned left = SHED_MAX; left > 0; left--) {
        if (overload_used() <= memory_max())
            return false;
        c = slowest();
        if (c == NULL) {
            if (!partial_end_worst())
                return false;
            continue;
        }
        say_shed(c, conn_queued(c));
        slow_end(c, 0, CLOSE_OVERLOAD);
        if (conn_dead(c)) /* what it holds is free when it has been reaped */
            return true;
    }
    return true;
}

bool overload_turn(void)
{
    bool more = shed();

    if (reactor->overload.stopped)
        look_whether_to_go_on();
    return more;
}
