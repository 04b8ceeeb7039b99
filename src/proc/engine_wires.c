/* proc/engine_wires.c - happy path of a wire:
 *   1. open(): a name is looked up (net/resolve.h), each time anew
 *   2. net connects to its addresses, one a moment after the other, until one answers: that one it is
 *   3. TLS if the address says so                           4. opened()
 *   5. received(), send()                                   6. closed()
 * can fail: no descriptor or memory (open() says NULL), the name, nobody there in engine_connect_timeout. */
#include "proc/engine_wires.h"

#include <arpa/inet.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "core/engine_nats.h"
#include "core/engine_redis.h"
#include "core/engine_wire.h"
#include "engine_wires_internal.h"
#include "net/connect.h"
#include "net/reactor.h"
#include "net/resolve.h"
#include "net/tls.h"
#include "proc/nodes.h"

#define NEXT_TRY_S 0.25 /* RFC 8305 §5 */

enum wire_state { WIRE_CONNECTING = 0, WIRE_OPEN, WIRE_SECURING /* by secure() */ };

struct engine_wire {
    struct conn *c;                  /* borrowed; the one that answered; NULL: none yet */
    struct conn *tries[RESOLVE_MAX]; /* borrowed; asked, by place in found; NULL: not, or over */
    struct resolve *resolve;         /* owned; NULL: no name is being looked up */
    struct resolved found;
    unsigned next;     /* address to try */
    ev_timer next_try; /* or the end, when there is none left */
    enum wire_state state;
    bool heard; /* bytes have come */
    bool tls, tls_later;
    const struct engine_wire_events *events;
    void *peer;
    char certified[ENGINE_HOST_MAX]; /* whom its certificate has to be for */
};

static bool heard; /* since engine_wires_heard() */

static struct engine_wire *wire_of(struct conn *c)
{
    return *(struct engine_wire **)conn_session(c);
}

/* Whatever happens on its connections from now on is not its own. */
static void leave(struct conn **c)
{
    if (*c == NULL)
        return;
    *(struct engine_wire **)conn_session(*c) = NULL;
    conn_kill(*c, CLOSE_PEER_GONE);
    *c = NULL;
}

static void wire_free(struct engine_wire *w)
{
    if (w->resolve != NULL)
        resolve_cancel(w->resolve);
    ev_timer_stop(reactor->loop, &w->next_try);
    for (unsigned i = 0; i < RESOLVE_MAX; i++)
        leave(&w->tries[i]);
    leave(&w->c);
    free(w);
}

static void wire_closed(struct engine_wire *w, const char *why)
{
    const struct engine_wire_events *events = w->events;
    void *peer = w->peer;

    wire_free(w);
    events->closed(peer, why);
}

static void on_ready(struct conn *c)
{
    struct engine_wire *w = wire_of(c);
    bool secured = w != NULL && w->state == WIRE_SECURING;

    conn_arm(c, 0);
    if (w == NULL)
        return;
    w->state = WIRE_OPEN;
    if (secured)
        w->events->secured(w->peer);
    else
        w->events->opened(w->peer);
}

/* The first one that answers; with TLS, keys are agreed on next. */
static void on_connected(struct conn *c)
{
    struct engine_wire *w = wire_of(c);

    if (w == NULL)
        return;
    for (unsigned i = 0; i < RESOLVE_MAX; i++)
        if (w->tries[i] == c)
            w->tries[i] = NULL;
        else
            leave(&w->tries[i]);
    ev_timer_stop(reactor->loop, &w->next_try);
    w->c = c;
    if (!conn_opening(c))
        on_ready(c);
}

static void on_input(struct conn *c, struct str in)
{
    struct engine_wire *w = wire_of(c);

    heard = true;
    if (w == NULL)
        return;
    w->heard = true;
    w->events->received(w->peer, in);
}

static void on_deadline(struct conn *c)
{
    conn_kill(c, CLOSE_PEER_GONE);
}

static const char *why(const struct engine_wire *w)
{
    if (w->state != WIRE_OPEN && w->c->flags & CONN_NOT_TCP && tls_began_ns(w->c) != 0)
        return tls_failure()[0] != '\0' ? tls_failure() : "no agreement on keys in time";
    if (w->state == WIRE_CONNECTING)
        return "nobody answers there";
    return w->heard ? "the connection has ended" : "it ended the connection without a word";
}

static void on_release(struct conn *c)
{
    struct engine_wire *w = wire_of(c);

    if (w == NULL)
        return;
    if (w->c == c) {
        const char *reason = why(w);

        w->c = NULL;
        wire_closed(w, reason);
        return;
    }
    for (unsigned i = 0; i < RESOLVE_MAX; i++)
        if (w->tries[i] == c)
            w->tries[i] = NULL;
    /* The next one at once, but not from here: its place is not free yet. */
    ev_timer_stop(reactor->loop, &w->next_try);
    ev_timer_set(&w->next_try, 0., 0.);
    ev_timer_start(reactor->loop, &w->next_try);
}

static const struct conn_ops wire_conn_ops = {
    .name = "engine",
    .connected = on_connected,
    .secured = on_ready,
    .input = on_input,
    .deadline = on_deadline,
    .release = on_release,
};

/* False: it cannot be asked. */
static bool try_one(struct engine_wire *w, const struct sockaddr *address, unsigned place)
{
    const struct outgoing out = {.peer = address,
                                 .host = w->certified,
                                 .tls = w->tls ? engine_tls() : NULL,
                                 .tls_later = w->tls_later};
    struct conn *c = !w->tls || out.tls != NULL ? reactor_connect(&out, &wire_conn_ops) : NULL;

    if (c == NULL)
        return false;
    w->tries[place] = c;
    *(struct engine_wire **)conn_session(c) = w;
    conn_arm(c, (uint64_t)config.engine_connect_timeout);
    return true;
}

static bool some_under_way(const struct engine_wire *w)
{
    for (unsigned i = 0; i < RESOLVE_MAX; i++)
        if (w->tries[i] != NULL)
            return true;
    return false;
}

/* The next address that can be asked, and a look at the one behind it a moment later. False: none is left, and none
 * is under way. */
static bool try_next(struct engine_wire *w)
{
    bool asked = false;

    while (!asked && w->next < w->found.n) {
        asked = try_one(w, &w->found.address[w->next].sa, w->next);
        w->next++;
    }
    if (asked && w->next < w->found.n) {
        ev_timer_stop(reactor->loop, &w->next_try);
        ev_timer_set(&w->next_try, NEXT_TRY_S, 0.);
        ev_timer_start(reactor->loop, &w->next_try);
    }
    return asked || some_under_way(w);
}

static void on_next_try(struct ev_loop *loop UNUSED, ev_timer *t, int events UNUSED)
{
    struct engine_wire *w = t->data;

    if (!try_next(w))
        wire_closed(w, "nobody answers there");
}

static void on_resolved(void *arg, const struct resolved *found, const char *why)
{
    struct engine_wire *w = arg;
    char reason[160];

    w->resolve = NULL;
    w->found = *found;
    snprintf(reason, sizeof(reason), "the name of the host cannot be looked up: %s", why);
    if (found->n == 0)
        wire_closed(w, reason);
    else if (!try_next(w))
        wire_closed(w, "nobody answers there");
}

/* Paths, and what stands for this machine. */
static bool begin_local(struct engine_wire *w, const struct engine_address *to)
{
    struct sockaddr_un path = {.sun_family = AF_UNIX};

    if (to->host[0] == '/')
        return str_copy(str_from(to->host), path.sun_path, sizeof(path.sun_path)) == 0 &&
               try_one(w, (const struct sockaddr *)&path, 0);
    w->found.n = 2;
    w->found.address[0].v4 = (struct sockaddr_in){.sin_family = AF_INET,
                                                  .sin_port = htons(to->port),
                                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    w->found.address[1].v6 = (struct sockaddr_in6){
        .sin6_family = AF_INET6, .sin6_port = htons(to->port), .sin6_addr = in6addr_loopback};
    return try_next(w);
}

static struct engine_wire *wire_open(void *arg UNUSED, const struct engine_address *to,
                                     const struct engine_wire_events *events, void *peer)
{
    struct engine_wire *w = calloc(1, sizeof(*w));
    bool begun;

    if (w == NULL)
        return NULL;
    w->tls = to->tls;
    w->tls_later = to->tls && to->scheme == ENGINE_SCHEME_NATS && !to->tls_first;
    w->events = events;
    w->peer = peer;
    memcpy(w->certified, to->by_alias ? to->alias : to->host, sizeof(w->certified));
    ev_timer_init(&w->next_try, on_next_try, 0., 0.);
    w->next_try.data = w;
    if (to->host[0] == '/' || strcmp(to->host, "localhost") == 0) {
        begun = begin_local(w, to);
    } else if (resolve_numeric(&w->found, to->host, to->port)) {
        begun = try_next(w);
    } else {
        w->resolve = resolve_begin(to->host, to->port, (uint64_t)config.engine_connect_timeout,
                                   on_resolved, w);
        begun = w->resolve != NULL;
    }
    if (begun)
        return w;
    wire_free(w);
    return NULL;
}

static int wire_send(struct engine_wire *w, struct str bytes)
{
    return w->c != NULL ? conn_send(w->c, bytes) : -1;
}

static int wire_secure(struct engine_wire *w)
{
    if (w->c == NULL || conn_queued(w->c) > 0)
        return -1;
    w->state = WIRE_SECURING;
    conn_arm(w->c, (uint64_t)config.engine_connect_timeout);
    return conn_secure(w->c);
}

static size_t wire_queued(const struct engine_wire *w)
{
    return w->c != NULL ? conn_queued(w->c) : 0;
}

static const struct engine_wire_ops wires = {.open = wire_open,
                                             .secure = wire_secure,
                                             .send = wire_send,
                                             .queued = wire_queued,
                                             .close = wire_free};

/* The settings' servers, with user and password. -1: they cannot be had. */
static int take_addresses(struct engine_address out[ENGINE_ADDRESSES_MAX], unsigned *n)
{
    char err[256];

    if (engine_addresses_parse(str_from(config.engine_address), out, n, err, sizeof(err)) == -1) {
        LOG(LOG_ERROR, "engine_address cannot be read", KV_S("why", err));
        return -1;
    }
    for (unsigned i = 0; i < *n; i++) {
        struct engine_address *a = &out[i];

        if (a->user[0] == '\0' &&
            str_copy(str_from(config.engine_user), a->user, sizeof(a->user)) == -1)
            return -1; /* its row says less */
        if (str_copy(str_from(config.engine_password), a->password, sizeof(a->password)) == -1)
            return -1; /* likewise */
    }
    return 0;
}

/* -1: their rows say less than there is room for. */
static int take_settings(struct engine_settings *s, uint64_t node, bool restarted)
{
    *s = (struct engine_settings){
        .node = node,
        .nodes = {.heartbeat_ns = (uint64_t)config.node_heartbeat,
                  .ttl_ns = (uint64_t)config.node_ttl,
                  .agreement = nodes_agreement(),
                  .self = nodes_self},
        .timeout_ns = (uint64_t)config.engine_timeout,
        .patience_ns = (uint64_t)config.engine_patience,
        .reconnect_max_ns = (uint64_t)config.engine_reconnect_max,
        .probe_ns = (uint64_t)config.engine_probe_interval,
        .queue_bytes = (uint64_t)config.engine_queue,
        .window = (uint32_t)config.engine_window,
        .resubscribe_rate = (uint32_t)config.engine_resubscribe_rate,
        .local_fallback = config.engine_local_fallback,
        .restarted = restarted,
        .marks = nodes_marks(),
        .position_sweep_ns = (uint64_t)config.engine_position_sweep,
        .guard = (enum engine_guard)config.engine_redis_epoch_guard,
    };
    if (str_copy(str_from(config.engine_prefix), s->prefix, sizeof(s->prefix)) == -1 ||
        str_copy(str_from(config.engine_sentinel_user), s->sentinel_user,
                 sizeof(s->sentinel_user)) == -1 ||
        str_copy(str_from(config.engine_sentinel_password), s->sentinel_password,
                 sizeof(s->sentinel_password)) == -1 ||
        take_addresses(s->address, &s->addresses) == -1)
        return -1;
    if (s->address[0].scheme == ENGINE_SCHEME_CLUSTER)
        s->partitions = (unsigned)config.engine_partitions;
    return 0;
}

struct engine *engine_of_settings(uint64_t node, bool restarted)
{
    struct engine_settings s;

    if (engine_tls_begin() == -1)
        return NULL;
    if (config.engine == ENGINE_IS_MEMORY)
        return engine_memory_new();
    if (take_settings(&s, node, restarted) == -1)
        return NULL;
    return config.engine == ENGINE_IS_REDIS ? engine_redis_new(&s, &wires, NULL)
                                            : engine_nats_new(&s, &wires, NULL);
}

bool engine_wires_heard(void)
{
    bool was = heard;

    heard = false;
    return was;
}
