/* core/engine_redis_users.c - how many connections a user has at each node: a hash of each user's, node →
 * count and until when that is good. A node that is dead, or has not renewed its count, is not counted. */
#include <inttypes.h>

#include "engine_redis_internal.h"

#include "base/clock.h"

#define COUNT_TTL_MS UINT64_C(900000) /* hubs renew what they have told three times as often */

void redis_user(struct redis *e, struct str user, uint32_t count, uint32_t limit, uint64_t token)
{
    struct redis_call *c;

    if (user.n > CHANNEL_NAME_MAX) { /* this node's count alone decides */
        redis_done(e, token, ENGINE_OK, (struct position){0});
        return;
    }
    c = redis_ask(e, REDIS_USER, user, token);
    if (c == NULL)
        return;
    c->since.offset = count;
    c->limit = limit;
}

static int arg_node(struct buf *out, uint64_t node)
{
    char text[20];

    snprintf(text, sizeof(text), "%016" PRIx64, node);
    return resp_arg(out, str_from(text));
}

int redis_user_write(struct redis_call *c, struct buf *out)
{
    struct redis *e = c->server->engine;
    uint64_t ids[ENGINE_NODES_MAX];
    unsigned n = engine_nodes_ids(e->engine.nodes, ids, ENGINE_NODES_MAX);
    int rc = redis_script(c, out, REDIS_SCRIPT_USER, 1, 5 + n) ||
             redis_arg_name(c->server, out, "u:", (struct str){.p = c->name, .n = c->name_len}) ||
             arg_node(out, e->s.node) || resp_arg_u64(out, c->since.offset) ||
             resp_arg_u64(out, c->limit) || resp_arg_u64(out, clock_wall_ns() / NS_PER_MS) ||
             resp_arg_u64(out, COUNT_TTL_MS);

    for (unsigned i = 0; i < n; i++)
        rc |= arg_node(out, ids[i]);
    return rc != 0 ? -1 : 0;
}

bool redis_user_reply(struct redis_call *c, struct str value)
{
    enum engine_status status;
    struct str text;

    if (!resp_next_text(&value, &text))
        return false;
    status = str_equal(text, STR_LIT("ok")) ? ENGINE_OK : ENGINE_REFUSED;
    engine_count_call(status);
    redis_done(c->server->engine, c->token, status, (struct position){0});
    redis_call_free(c);
    return true;
}
