/* core/engine_nats.c - the hub's calls to the NATS engine: engine_nats.h. */
#include "engine_nats_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

static void give_up(struct nats *e, uint64_t token, enum engine_status status)
{
    engine_count_call(status);
    e->engine.events->done(e->engine.hub, token, status, (struct position){0});
}

static void hand_on(struct nats *e, enum nats_call_kind kind, const struct record *r,
                    uint64_t token)
{
    if (nats_given_up(e) || nats_call_new(e, kind, r, token) == -1)
        give_up(e, token, ENGINE_UNAVAILABLE);
}

/* engine_local_fallback: subscribers of this node alone have it, in this node's order. */
static void publish_here(struct nats *e, const struct record *r, uint64_t token)
{
    METRIC_INC(engine_local_publications);
    e->engine.events->done(e->engine.hub, token, ENGINE_OK, nats_deliver_here(e, r));
}

/* A version means nothing where nothing is kept. */
static void publish(struct engine *engine, struct engine_channel *ec UNUSED, const struct record *r,
                    const struct engine_condition *condition, uint64_t token)
{
    struct nats *e = nats_of(engine);
    uint64_t bytes = (uint64_t)ENVELOPE_HEADER + r->data.n + r->fields.n;
    struct record own = *r;

    own.flags &= RECORD_BINARY | RECORD_JSON | RECORD_DELTA | RECORD_EXCLUDE_ORIGIN;
    if (condition != NULL && condition->idempotency_key.n > 0)
        give_up(e, token, ENGINE_REFUSED);
    else if (bytes > NATS_PAYLOAD_MAX || (e->max_payload != 0 && bytes > e->max_payload))
        give_up(e, token, ENGINE_TOO_BIG);
    else if (UNLIKELY(e->s.local_fallback) && nats_given_up(e))
        publish_here(e, &own, token);
    else
        hand_on(e, NATS_PUBLISH, &own, token);
}

static void control(struct engine *engine, struct str node, const struct record *r,
                    bool must_arrive, uint64_t token)
{
    struct nats *e = nats_of(engine);

    if (must_arrive || node.n > 0) /* no log of them is kept */
        give_up(e, token, ENGINE_REFUSED);
    else
        hand_on(e, NATS_CONTROL, r, token);
}

static void refuse_history(struct engine *engine, struct str name UNUSED,
                           struct position since UNUSED, uint32_t limit UNUSED, bool reverse UNUSED,
                           uint64_t token)
{
    give_up(nats_of(engine), token, ENGINE_REFUSED);
}

static void refuse_removal(struct engine *engine, struct str name UNUSED, uint64_t token)
{
    give_up(nats_of(engine), token, ENGINE_REFUSED);
}

static void refuse_presence(struct engine *engine, const struct engine_presence *p UNUSED,
                            uint64_t token)
{
    give_up(nats_of(engine), token, ENGINE_REFUSED);
}

static void subscribe(struct engine *engine, struct engine_channel *c, struct str name)
{
    nats_subscribe(nats_of(engine), c, name);
}

static void unsubscribe(struct engine *engine, struct engine_channel *c UNUSED, struct str name)
{
    nats_unsubscribe(nats_of(engine), name);
}

static bool wants(const struct engine *engine)
{
    return nats_wants(nats_of(engine));
}

/* --- nodes --- */

static void say(struct engine *engine, uint64_t to, bool everywhere UNUSED, struct str bytes)
{
    struct nats *e = nats_of(engine);
    struct str subject =
        to == 0 ? nats_subject(e, "nodes", STR_NULL) : nats_node_subject(e, "node", to);

    /* The server ends the connection of whoever sends more than it takes; surveys are cut (engine_nodes_most()). */
    if (e->max_payload != 0 && bytes.n > e->max_payload) {
        LOG(LOG_WARN, "what this node says to others is more than the engine's server takes",
            KV_U("bytes", bytes.n), KV_U("max_payload", e->max_payload));
        return;
    }
    if (e->state != NATS_UP || subject.n == 0 || e->out.len > NATS_OUT_MAX ||
        nats_write_pub(&e->out, subject, bytes) == -1)
        return; /* it is lost */
    e->unanswered = true;
}

static const struct engine_nodes_ops nodes_ops = {.send = say};

static uint64_t tick(struct engine *engine, uint64_t now_ns)
{
    struct nats *e = nats_of(engine);
    uint64_t nodes = engine_nodes_tick(engine->nodes, now_ns), server;

    nats_subs_linger(e, now_ns);
    server = nats_server_tick(e, now_ns);
    metrics->engine_pending_calls = e->nwaiting + e->nsent;
    metrics->engine_queue_bytes = (int64_t)(e->waiting_bytes + e->sent_bytes);
    return MIN(nodes, server);
}

static void nats_free(struct engine *engine)
{
    struct nats *e = nats_of(engine);

    nats_calls_fini(e);
    nats_server_fini(e);
    nats_subs_fini(e);
    nats_counters_fini(&e->counters);
    engine_nodes_free(engine->nodes);
    buf_fini(&e->scratch);
    free(e);
}

static const struct engine_ops nats_ops = {
    .name = "nats",
    .publish = publish,
    .subscribe = subscribe,
    .unsubscribe = unsubscribe,
    .history = refuse_history,
    .remove_history = refuse_removal,
    .presence = refuse_presence,
    .control = control,
    .wants = wants,
    .tick = tick,
    .free = nats_free,
};

static int set_prefix(struct nats *e)
{
    struct buf token = {0};
    int rc = nats_escape(&token, str_from(e->s.prefix));

    if (rc == 0)
        rc = str_copy(buf_view(&token), e->prefix, sizeof(e->prefix));
    buf_fini(&token);
    return rc;
}

struct engine *engine_nats_new(const struct engine_settings *settings,
                               const struct engine_wire_ops *wires, void *arg)
{
    struct nats *e = calloc(1, sizeof(*e));

    if (e == NULL)
        return NULL;
    e->engine.ops = &nats_ops;
    e->s = *settings;
    e->s.nodes.id = settings->node;
    e->wires = wires;
    e->arg = arg;
    e->engine.nodes = engine_nodes_new(&e->s.nodes, &nodes_ops, &e->engine);
    if (e->engine.nodes == NULL || set_prefix(e) == -1) {
        engine_nodes_free(e->engine.nodes);
        free(e);
        return NULL;
    }
    nats_servers_init(e);
    nats_counters_init(&e->counters);
    list_init(&e->waiting);
    list_init(&e->sent);
    list_init(&e->wanted);
    list_init(&e->subscribe);
    list_init(&e->asked);
    list_init(&e->live);
    list_init(&e->refused);
    list_init(&e->lingering);
    pool_init(&e->calls, "nats_call", sizeof(struct nats_call), 0);
    e->down_since_ns = clock_ns();
    return &e->engine;
}
