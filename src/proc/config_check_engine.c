/* proc/config_check_engine.c - the engine's settings: where its servers are, and what it can do. */
#include "config_internal.h"
#include "core/engine_address.h"
#include "core/engine_redis.h"

static int refuse(struct buf *errors, const char *where, const char *text)
{
    config_report(errors, where, text);
    return 1;
}

static int check_address(const struct engine_address *a, struct buf *errors)
{
    if (a->scheme != ENGINE_SCHEME_REDIS && a->scheme != ENGINE_SCHEME_CLUSTER)
        return refuse(
            errors, "engine_address",
            "engine: redis speaks with single servers (redis://, rediss://, unix:/path) and "
            "with a Redis Cluster (redis+cluster://)");
    if (a->password[0] != '\0')
        return refuse(errors, "engine_address",
                      "a password in an address would be shown with it; move it to "
                      "engine_password_file or engine_password");
    return 0;
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
        bad += check_address(&a[i], errors);
        clusters += a[i].scheme == ENGINE_SCHEME_CLUSTER;
    }
    if (clusters > 0 && clusters < n)
        bad += refuse(errors, "engine_address",
                      "a Redis Cluster stands alone: all addresses are servers of it, or none is");
    if (clusters > 0 && strpbrk(c->engine_prefix, "{}") != NULL)
        bad += refuse(errors, "engine_prefix",
                      "braces in it would choose the slot of all keys in a Redis Cluster");
    if (n == 0)
        return refuse(errors, "engine_address",
                      "engine: redis needs one, such as redis://127.0.0.1:6379");
    if (n > ENGINE_SERVERS_MAX)
        bad += refuse(errors, "engine_address", "there may be 16 of them");
    return bad;
}

int config_check_engine(const struct config *c, struct buf *errors)
{
    int bad = 0;

    if (c->engine == ENGINE_IS_MEMORY)
        return 0;
    if (c->node_ttl < 3 * c->node_heartbeat)
        bad += refuse(errors, "node_ttl",
                      "it is less than three times node_heartbeat: a message that is lost would "
                      "bury a node");
    bad += check_addresses(c, errors);
    if ((c->engine_tls_cert[0] == '\0') != (c->engine_tls_key[0] == '\0'))
        bad += refuse(errors, "engine_tls_cert",
                      "a certificate and its key go together: set "
                      "engine_tls_cert and engine_tls_key, or neither");
    return bad;
}
