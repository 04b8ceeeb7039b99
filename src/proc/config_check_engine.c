/* proc/config_check_engine.c - the engine's settings: where its servers are, and what it can do. */
#include "config_internal.h"
#include "core/channel_options.h"
#include "core/engine_address.h"
#include "core/engine_redis.h"

static int refuse(struct buf *errors, const char *where, const char *text)
{
    config_report(errors, where, text);
    return 1;
}

/* By enum engine_kind. */
static const struct kind {
    const char *schemes, *example;
} kinds[] = {
    [ENGINE_IS_REDIS] = {"engine: redis speaks with single servers (redis://, rediss://, "
                         "unix:/path), by Sentinel (redis+sentinel://) and with a Redis Cluster "
                         "(redis+cluster://)",
                         "engine: redis needs one, such as redis://127.0.0.1:6379"},
    [ENGINE_IS_NATS] = {"engine: nats speaks with NATS servers: nats://, or tls:// with TLS",
                        "engine: nats needs one, such as nats://127.0.0.1:4222"},
};

static int check_address(const struct config *c, const struct engine_address *a, struct buf *errors)
{
    if ((a->scheme == ENGINE_SCHEME_NATS) != (c->engine == ENGINE_IS_NATS))
        return refuse(errors, "engine_address", kinds[c->engine].schemes);
    if (a->password[0] != '\0')
        return refuse(errors, "engine_address",
                      "a password in an address would be shown with it; move it to "
                      "engine_password_file or engine_password");
    return 0;
}

/* Sentinels of one master name one server. */
static unsigned count_servers(const struct engine_address *a, unsigned n)
{
    unsigned servers = 0;

    for (unsigned i = 0; i < n; i++) {
        bool same = false;

        for (unsigned k = 0; k < i && !same; k++)
            same = engine_address_same_master(&a[i], &a[k]);
        servers += !same;
    }
    return servers;
}

static int check_addresses(const struct config *c, struct buf *errors)
{
    struct engine_address a[ENGINE_ADDRESSES_MAX];
    unsigned n = 0, clusters = 0;
    char err[256];
    int bad = 0;

    if (engine_addresses_parse(str_from(c->engine_address), a, &n, err, sizeof(err)) == -1)
        return refuse(errors, "engine_address", err);
    for (unsigned i = 0; i < n; i++) {
        bad += check_address(c, &a[i], errors);
        clusters += a[i].scheme == ENGINE_SCHEME_CLUSTER;
    }
    if (clusters > 0 && clusters < n)
        bad += refuse(errors, "engine_address",
                      "a Redis Cluster stands alone: all addresses are servers of it, or none is");
    if (clusters > 0 && strpbrk(c->engine_prefix, "{}") != NULL)
        bad += refuse(errors, "engine_prefix",
                      "braces in it would choose the slot of all keys in a Redis Cluster");
    if (n == 0)
        return refuse(errors, "engine_address", kinds[c->engine].example);
    if (clusters == 0 && count_servers(a, n) > ENGINE_SERVERS_MAX)
        bad += refuse(errors, "engine_address", "there may be 16 servers");
    return bad;
}

/* What of it NATS cannot do; NULL: nothing. */
static const char *beyond_nats(const struct channel_options *o)
{
    if (channel_has_history(o))
        return "history_size and history_ttl (with what needs them: recovery, positioning)";
    if (o->presence)
        return "presence";
    return o->join_leave || o->force_push_join_leave ? "join_leave or force_push_join_leave" : NULL;
}

/* A namespace that needs more than NATS has. */
static int check_options(const struct channel_options *o, const char *name, struct buf *errors)
{
    const char *what = beyond_nats(o);
    char text[300];

    if (what == NULL)
        return 0;
    snprintf(text, sizeof(text),
             "%s has %s, which engine: nats cannot do: it keeps nothing; switch that off there, or "
             "use engine: redis or memory",
             name, what);
    return refuse(errors, "engine", text);
}

int config_check_engine(const struct config *c, struct buf *errors)
{
    int bad = 0;

    if (c->engine == ENGINE_IS_MEMORY)
        return 0;
    if (c->engine != ENGINE_IS_REDIS && c->user_connection_limit_scope == USER_LIMIT_OF_ALL_NODES)
        bad += refuse(errors, "user_connection_limit_scope",
                      "all_nodes needs an engine that counts users; use engine: redis, or node");
    if (c->node_ttl < 3 * c->node_heartbeat)
        bad += refuse(errors, "node_ttl",
                      "it is less than three times node_heartbeat: a message that is lost would "
                      "bury a node");
    bad += check_addresses(c, errors);
    if ((c->engine_tls_cert[0] == '\0') != (c->engine_tls_key[0] == '\0'))
        bad += refuse(errors, "engine_tls_cert",
                      "a certificate and its key go together: set "
                      "engine_tls_cert and engine_tls_key, or neither");
    if (c->engine != ENGINE_IS_NATS)
        return bad;
    bad += check_options(&c->channel_without_namespace, "channel_without_namespace", errors);
    for (size_t i = 0; i < c->namespaces.n; i++)
        bad += check_options(&c->namespaces.items[i], c->namespaces.items[i].name, errors);
    return bad;
}
