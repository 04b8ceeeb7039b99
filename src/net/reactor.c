#include "net/reactor.h"

#include <assert.h>
#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/hash.h"
#include "base/metrics.h"
#include "net/outq.h"
#include "net/partial.h"
#include "net/refusal.h"
#include "net_internal.h"
#include "tcp.h"

/* Descriptors that are no connections: listeners, eventfds. */
#define FD_OWN          64
#define REFUSED_MAX     64 /* refused connections being answered */
#define CONNS_MIN       1024
#define CONNS_FIRST_MAX (1024 * 1024)

static struct reactor own; /* of a process that has one */
struct reactor *reactor = &own;

/* What is kept for everything else. */
static uint64_t fd_reserve(void)
{
    return FD_OWN + REFUSED_MAX + (uint64_t)config.max_admin_connections;
}

uint64_t reactor_connection_limit(uint64_t nofile)
{
    uint64_t n = MIN(nofile, UINT64_C(1) << CONN_ID_FD_BITS);

    return n > 2 * fd_reserve() ? n - fd_reserve() : n / 2;
}

/* Each kind of connection has its own places, so that none takes another's. */
static void set_connection_limits(void)
{
    size_t third;
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) == -1)
        r.rlim_cur = RLIM_INFINITY;
    r.rlim_cur -= MIN(r.rlim_cur, reactor->cfg.inherited_fds);
    reactor->connection_max = (size_t)reactor_connection_limit(r.rlim_cur);
    reactor->admin_max = (size_t)config.max_admin_connections;
    reactor->refused_max = REFUSED_MAX;
    if (r.rlim_cur > 2 * fd_reserve())
        return;
    third = MAX((size_t)r.rlim_cur / 6, 1u); /* few: half for clients, the rest in three */
    reactor->admin_max = MIN(reactor->admin_max, third);
    reactor->refused_max = MIN(reactor->refused_max, third);
}

/* Somewhere else for each incarnation, so that an id is not another connection's after a restart, nor in
 * another process. The upper half of its room is left to count on. */
static uint64_t first_serial(void)
{
    uint8_t key[16];
    uint64_t n;

    hash_random_key(key);
    memcpy(&n, key, sizeof(n));
    return n >> (CONN_ID_SERIAL_BITS + 1);
}

void reactor_init(const struct reactor_config *cfg)
{
    memset(reactor, 0, sizeof(*reactor));
    reactor->cfg = *cfg;
    reactor->rings = cfg->rings;
    reactor->counts = cfg->listener_counts != NULL ? cfg->listener_counts : reactor->own_counts;
    clock_refresh();
    reactor->tick = reactor_tick_now();
    reactor->turn = 1;
    reactor->next_serial = first_serial();
    wheel_init(&reactor->wheel, reactor_ns());
    task_queue_init(&reactor->tasks);
    pool_init(&reactor->conn_pool, "conn", sizeof(struct conn) + CONN_SESSION_SIZE, 0);
    pool_init(&reactor->other_pool, "conn_other",
              sizeof(struct conn) + CONN_SESSION_SIZE + TRANSPORT_STATE_SIZE, 0);
    list_init(&reactor->dirty);
    list_init(&reactor->stalled);
    list_init(&reactor->over);
    list_init(&reactor->condemned);
    list_init(&reactor->paused);
    conn_trace_init();
    held_init();
    settle_init();
    input_init();
    set_connection_limits();
    reactor->rx_pool = ws_rx_pool_new(WS_SERVER, UINT64_MAX); /* net/partial.h bounds it */
    partial_init();
    reactor->scratch = malloc(SCRATCH_SIZE);
    reactor->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (reactor->scratch == NULL || reactor->loop == NULL) {
        fprintf(stderr, "roost: cannot set up the event loop: %s\n", strerror(errno));
        exit(1);
    }
    turn_init();
}

/* Each has its place for good, the same in every reactor of the process. */
static struct reactor_part *parts[REACTOR_PARTS];
static unsigned parts_count;
static size_t parts_end;
_Static_assert(REACTOR_PARTS <= 32, "reactor.parts has a bit for each");

void reactor_part_init(struct reactor_part *part)
{
    size_t size = (part->size + sizeof(max_align_t) - 1) & ~(sizeof(max_align_t) - 1);

    if (part->nr == 0) {
        assert(parts_count < REACTOR_PARTS && size <= REACTOR_ROOM - parts_end);
        part->at = parts_end;
        parts_end += size;
        parts[parts_count++] = part;
        part->nr = parts_count;
    }
    reactor->parts |= UINT32_C(1) << (part->nr - 1);
    if (part->pool != NULL)
        pool_init((void *)(reactor->room + part->at), part->pool, part->object, 0);
    else if (part->init != NULL)
        part->init(reactor->room + part->at);
}

static void part_fini(struct reactor_part *part)
{
    if (part->pool != NULL)
        pool_fini((void *)(reactor->room + part->at));
    else if (part->fini != NULL)
        part->fini(reactor->room + part->at);
}

static void parts_fini(void)
{
    for (unsigned nr = parts_count; nr > 0; nr--)
        if (reactor->parts >> (nr - 1) & 1)
            part_fini(parts[nr - 1]);
}

void reactor_fini(void)
{
    for (size_t i = 0; i < reactor->conns_end; i++)
        if (reactor->conns[i] != NULL)
            conn_kill(reactor->conns[i], CLOSE_DRAIN);
    reactor_reap(SIZE_MAX);
    parts_fini();
    drain_reset();
    turn_fini();
    ev_loop_destroy(reactor->loop);
    ws_rx_pool_free(reactor->rx_pool);
    held_fini();
    free(reactor->admin.ids);
    settle_fini();
    input_fini();
    free(reactor->ready.ids);
    free(reactor->securing.ids);
    admission_fini();
    partial_fini();
    outq_pools_fini(&reactor->output);
    pool_fini(&reactor->conn_pool);
    pool_fini(&reactor->other_pool);
    free(reactor->conns);
    free(reactor->scratch);
    memset(reactor, 0, sizeof(*reactor));
}

void reactor_config_changed(void)
{
    set_connection_limits();
    partial_config_changed();
}

/* The first array is as long as RLIMIT_NOFILE allows, within reason: calloc maps so much memory
 * without touching it, so each connection costs its own eight bytes and the array is never copied.
 */
static size_t conns_first_cap(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
        return CONNS_MIN;
    return MIN(MAX((size_t)limit.rlim_cur, (size_t)CONNS_MIN), (size_t)CONNS_FIRST_MAX);
}

/* Room for fd in the array. -1: no memory, or the fd does not fit an id. */
static int conns_reserve(size_t fd)
{
    size_t cap = reactor->conns_cap > 0 ? reactor->conns_cap : conns_first_cap();
    struct conn **p;

    if (fd >= (size_t)1 << CONN_ID_FD_BITS)
        return -1; /* UNTESTED: needs RLIMIT_NOFILE above 16 million */
    if (fd < reactor->conns_cap)
        return 0;
    while (cap <= fd)
        cap *= 2;
    p = calloc(cap, sizeof(*p));
    if (p == NULL)
        return -1;
    if (reactor->conns_cap > 0)
        memcpy(p, reactor->conns, reactor->conns_cap * sizeof(*p));
    free(reactor->conns);
    reactor->conns = p;
    reactor->conns_cap = cap;
    return 0;
}

/* Which counter a connection belongs to, next to `connections`. */
static size_t *conn_counter(const struct conn *c)
{
    if (c->flags & CONN_REFUSED)
        return &reactor->refused;
    return c->flags & CONN_ADMIN ? &reactor->admin_connections : &reactor->client_connections;
}

static void conn_count(const struct conn *c, size_t delta)
{
    reactor->connections += delta;
    *conn_counter(c) += delta;
    if (!(c->flags & CONN_REFUSED))
        listener_count_add(&reactor->counts[conn_listener_index(c)].connections, delta);
}

void conn_set_refused(struct conn *c, enum close_reason why)
{
    refusal_say(c, why, "connection refused", NULL, 0);
    if (reactor->refused >= reactor->refused_max) {
        conn_kill(c, why);
        return;
    }
    shed_forget(c);
    conn_count(c, (size_t)-1);
    c->flags |= CONN_REFUSED;
    conn_count(c, 1);
}

static struct pool *conn_pool(unsigned flags)
{
    return flags & CONN_NOT_TCP ? &reactor->other_pool : &reactor->conn_pool;
}

struct conn *conn_new(int place, const struct conn_ops *ops, const struct sockaddr *peer,
                      unsigned flags, enum conn_state first)
{
    struct conn *c = NULL;

    if (conns_reserve((size_t)place) == 0)
        c = pool_get(conn_pool(flags));
    if (c == NULL)
        return NULL;
    assert(reactor->conns[place] == NULL);
    c->id = ++reactor->next_serial << CONN_ID_SERIAL_BITS |
            (uint64_t)(flags >> 16) << CONN_ID_FD_BITS | (uint64_t)place;
    conn_set_ops(c, ops);
    c->flags = (uint16_t)flags;
    c->since = c->heard = reactor->tick;
    c->sent_turn = (uint32_t)reactor->turn - 1;
    wheel_entry_init(&c->deadline);
    conn_set_peer(c, peer);
    conn_set_state(c, first);
    reactor->conns[place] = c;
    reactor->conns_end = MAX(reactor->conns_end, (size_t)place + 1);
    conn_count(c, 1);
    conn_arm(c, (uint64_t)config.header_timeout);
    return c;
}

struct conn *reactor_add(int fd, const struct conn_ops *ops, const struct sockaddr *peer,
                         unsigned flags)
{
    struct conn *c = conn_new(fd, ops, peer, flags, CONN_HTTP);

    if (c == NULL) {
        close(fd);
        return NULL;
    }
    tcp_watch(c);
    conn_update_events(c);
    return c;
}

/* Of those that got no further than HTTP nothing is kept: anybody can make as many as to leave no room for
 * the others. Counters and the log tell of refusals. */
static bool is_worth_noting(const struct conn *c)
{
    return !(c->flags & CONN_ADMIN) && conn_ops(c)->session != NULL && c->reason != CLOSE_HTTP_DONE;
}

static void conn_free(struct conn *c)
{
    if (conn_ops(c)->release != NULL)
        conn_ops(c)->release(c);
    METRIC_INC(closes[c->reason]);
    if (reactor->cfg.closes != NULL && is_worth_noting(c))
        closes_note(reactor->cfg.closes, c);
    refusal_say_end(c);
    shed_forget(c);
    conn_count(c, (size_t)-1);
    if (c->flags & CONN_COUNTED)
        admission_leave(c->address, conn_listener_index(c));
    reactor->conns[conn_fd(c)] = NULL;
    if (c->out != NULL) /* it is lost: a reset tells the peer so */
        transport_of(c)->linger(c, 0);
    transport_of(c)->close(c);
    outq_free(&c->out);
    conn_set_state(c, CONN_FREE);
    pool_put(conn_pool(c->flags), c);
}

size_t reactor_reap(size_t max)
{
    struct list *n;
    size_t done;

    for (done = 0; done < max && (n = list_pop(&reactor->condemned)) != NULL; done++)
        conn_free(LIST_ENTRY(n, struct conn, deadline.link));
    return done;
}

bool reactor_scan(size_t *cursor, size_t max, void (*visit)(struct conn *c, void *arg), void *arg)
{
    for (; max > 0 && *cursor < reactor->conns_end; max--) {
        struct conn *c = reactor->conns[(*cursor)++];

        if (c != NULL && !conn_dead(c))
            visit(c, arg);
    }
    return *cursor < reactor->conns_end;
}

void reactor_update_gauges(void)
{
    struct list *pools = pool_list(), *n;

    metrics->output_queues = (int64_t)reactor->output.queues.in_use;
    metrics->output_bytes = (int64_t)reactor->output.bytes;
    metrics->blob_bytes = (int64_t)blob_bytes();
    metrics->ws_slots = (int64_t)ws_rx_pool_slots_in_use(reactor->rx_pool);
    metrics->ws_slots_allocated = (int64_t)ws_rx_pool_slots_allocated(reactor->rx_pool);
    metrics->partial_bytes = (int64_t)(partial_bytes(false) + partial_bytes(true));
    metrics->pool_bytes = 0;
    metrics->pool_objects = 0;
    for (n = pools->next; n != pools; n = n->next) {
        const struct pool *p = LIST_ENTRY(n, struct pool, link);

        metrics->pool_bytes += (int64_t)pool_bytes(p);
        metrics->pool_objects += (int64_t)p->in_use;
    }
}
