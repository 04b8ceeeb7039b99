/* proc/engine_wires.c - happy path of a wire:
 *   1. open(): the address is numeric, or its name is looked up
 *   2. net connects, with TLS if the address says so        3. opened()
 *   4. received(), send()                                   5. closed(), from the reaping step
 * can fail: no descriptor or memory (open() says NULL), nobody there in engine_timeout, the name. */
#include "proc/engine_wires.h"

#include <arpa/inet.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "core/engine_redis.h"
#include "core/engine_wire.h"
#include "engine_wires_internal.h"
#include "net/connect.h"
#include "net/reactor.h"
#include "net/tls.h"
#include "proc/nodes.h"

enum wire_state { WIRE_CONNECTING = 0, WIRE_OPEN, WIRE_SECURING /* by secure() */ };

struct engine_wire {
    struct conn *c; /* borrowed */
    enum wire_state state;
    bool heard; /* bytes have come */
    const struct engine_wire_events *events;
    void *peer;
};

union peer_address {
    struct sockaddr sa;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un un;
};

static bool heard; /* since engine_wires_heard() */

static struct engine_wire *wire_of(struct conn *c)
{
    return *(struct engine_wire **)conn_session(c);
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

/* There; with TLS, keys are agreed on next. */
static void on_connected(struct conn *c)
{
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
    w->events->closed(w->peer, why(w));
    free(w);
}

static const struct conn_ops wire_conn_ops = {
    .name = "engine",
    .connected = on_connected,
    .secured = on_ready,
    .input = on_input,
    .deadline = on_deadline,
    .release = on_release,
};

/* Numeric addresses, localhost, and paths. */
static bool address_of(const struct engine_address *a, union peer_address *out)
{
    const char *host = strcmp(a->host, "localhost") == 0 ? "127.0.0.1" : a->host;

    memset(out, 0, sizeof(*out));
    if (host[0] == '/') {
        out->un.sun_family = AF_UNIX;
        return str_copy(str_from(host), out->un.sun_path, sizeof(out->un.sun_path)) == 0;
    }
    if (inet_pton(AF_INET, host, &out->v4.sin_addr) == 1) {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons(a->port);
        return true;
    }
    out->v6.sin6_family = AF_INET6;
    out->v6.sin6_port = htons(a->port);
    return inet_pton(AF_INET6, host, &out->v6.sin6_addr) == 1;
}

static struct engine_wire *wire_open(void *arg UNUSED, const struct engine_address *to,
                                     const struct engine_wire_events *events, void *peer)
{
    struct engine_wire *w = calloc(1, sizeof(*w));
    union peer_address address;
    struct outgoing out = {.peer = &address.sa, .host = to->host};

    if (w == NULL || !address_of(to, &address))
        goto err_after_wire;
    out.tls = to->tls ? engine_tls() : NULL;
    out.tls_later = out.tls != NULL && to->scheme == ENGINE_SCHEME_NATS;
    w->events = events;
    w->peer = peer;
    w->c = reactor_connect(&out, &wire_conn_ops);
    if (w->c == NULL)
        goto err_after_wire;
    *(struct engine_wire **)conn_session(w->c) = w;
    conn_arm(w->c, (uint64_t)config.engine_connect_timeout);
    return w;
err_after_wire:
    free(w);
    return NULL;
}

static int wire_send(struct engine_wire *w, struct str bytes)
{
    return conn_send(w->c, bytes);
}

static int wire_secure(struct engine_wire *w)
{
    if (conn_queued(w->c) > 0)
        return -1;
    w->state = WIRE_SECURING;
    conn_arm(w->c, (uint64_t)config.engine_connect_timeout);
    return conn_secure(w->c);
}

static size_t wire_queued(const struct engine_wire *w)
{
    return conn_queued(w->c);
}

static void wire_close(struct engine_wire *w)
{
    *(struct engine_wire **)conn_session(w->c) = NULL;
    conn_kill(w->c, CLOSE_PEER_GONE);
    free(w);
}

static const struct engine_wire_ops wires = {.open = wire_open,
                                             .secure = wire_secure,
                                             .send = wire_send,
                                             .queued = wire_queued,
                                             .close = wire_close};

static struct engine *redis_engine(uint64_t node, bool restarted)
{
    struct engine_redis_settings s = {
        .node = node,
        .nodes = {.heartbeat_ns = (uint64_t)config.node_heartbeat,
                  .ttl_ns = (uint64_t)config.node_ttl,
                  .agreement = nodes_agreement(),
                  .self = nodes_self},
        .restarted = restarted,
        .timeout_ns = (uint64_t)config.engine_timeout,
        .patience_ns = (uint64_t)config.engine_patience,
        .reconnect_max_ns = (uint64_t)config.engine_reconnect_max,
        .probe_ns = (uint64_t)config.engine_probe_interval,
        .queue_bytes = (uint64_t)config.engine_queue,
        .window = (uint32_t)config.engine_window,
    };
    char err[256];

    if (str_copy(str_from(config.engine_prefix), s.prefix, sizeof(s.prefix)) == -1)
        return NULL; /* its row says 60 */
    if (engine_addresses_parse(str_from(config.engine_address), s.address, &s.addresses, err,
                               sizeof(err)) == -1) {
        LOG(LOG_ERROR, "engine_address cannot be read", KV_S("why", err));
        return NULL;
    }
    for (unsigned i = 0; i < s.addresses; i++) {
        struct engine_address *a = &s.address[i];

        if (a->user[0] == '\0' &&
            str_copy(str_from(config.engine_user), a->user, sizeof(a->user)) == -1)
            return NULL; /* its row says less */
        if (str_copy(str_from(config.engine_password), a->password, sizeof(a->password)) == -1)
            return NULL; /* likewise */
    }
    return engine_redis_new(&s, &wires, NULL);
}

struct engine *engine_of_settings(uint64_t node, bool restarted)
{
    if (engine_tls_begin() == -1)
        return NULL;
    switch (config.engine) {
    case ENGINE_IS_REDIS:
        return redis_engine(node, restarted);
    default:
        return engine_memory_new();
    }
}

bool engine_wires_heard(void)
{
    bool was = heard;

    heard = false;
    return was;
}
