/* core/engine_redis_presence_write.c - calls about members as commands of the server. */
#include <inttypes.h>

#include "engine_redis_presence_internal.h"

#define VALUE_VERSION '1'
#define VALUE_HEAD    32 /* up to the user */
#define SWEEP_STEP    "100"
/* The keys of a channel are renewed every five minutes; those of nodes as often, and are wanted
 * when all nodes have been away, so that what they left can be found. */
#define CHANNEL_TTL_MS "900000"
#define NODE_TTL_MS    "86400000"

static struct str name_of(const struct redis_call *c)
{
    return (struct str){.p = c->name, .n = c->name_len};
}

static int arg_node(struct buf *out, uint64_t node)
{
    char text[20];

    snprintf(text, sizeof(text), "%016" PRIx64, node);
    return resp_arg(out, str_from(text));
}

static int arg_text(struct buf *out, const char *text)
{
    return resp_arg(out, str_from(text));
}

/* The name of the call's place: keys are where it is. */
static struct str place_name(const struct redis_call *c)
{
    struct redis *e = c->server->engine;

    return str_from(e->presence->places[redis_place_of(e, name_of(c))].name);
}

static int arg_owners(struct redis_call *c, struct buf *out)
{
    return redis_arg_name(c->server, out, "po:", place_name(c));
}

static int arg_index(struct redis_call *c, struct buf *out, uint64_t node)
{
    char kind[24];

    snprintf(kind, sizeof(kind), "pi:%016" PRIx64 ":", node);
    return redis_arg_name(c->server, out, kind, place_name(c));
}

static int arg_members(struct redis_call *c, struct buf *out)
{
    return redis_arg_name(c->server, out, "p:", name_of(c));
}

static int channel_keys(struct redis_call *c, struct buf *out)
{
    return arg_members(c, out) || redis_arg_name(c->server, out, "pu:", name_of(c)) ? -1 : 0;
}

/* --- changes --- */

static int arg_value(struct redis_call *c, struct buf *out, const struct envelope *env,
                     struct str user)
{
    struct redis *e = c->server->engine;
    struct buf *value = &e->scratch;

    buf_clear(value);
    if (env->r.kind != RECORD_JOIN)
        return resp_arg(out, STR_NULL);
    return buf_printf(value, "%016" PRIx64 "%08" PRIx32 "%02x%c%c%04x", e->s.node,
                      e->presence->places[redis_place_of(e, name_of(c))].gen, env->r.asker,
                      env->r.flags & REDIS_MEMBER_TELLS ? '1' : '0', VALUE_VERSION,
                      (unsigned)user.n) ||
                   buf_append(value, user) || buf_append(value, env->r.fields) ||
                   resp_arg(out, buf_view(value))
               ? -1
               : 0;
}

static const char *told(const struct redis_call *c, const struct envelope *env)
{
    if (!(env->r.flags & PRESENCE_TELL))
        return "n";
    return c->repeat || (env->r.flags & REDIS_MEMBER_IF_NEW) ? "0" : "1";
}

static const char *change_of(const struct envelope *env)
{
    if (env->r.kind == RECORD_JOIN)
        return "s";
    return env->r.flags & REDIS_MEMBER_KEEP ? "n" : "c";
}

static int write_change(struct redis_call *c, struct buf *out, const struct envelope *env,
                        struct str message)
{
    struct client_info who = {0};
    const char *tell = told(c, env);
    struct str info;

    if (!record_field(env->r.fields, FIELD_INFO, &info) || client_info_read(info, &who) == -1)
        return -1; /* checked by the hub */
    return arg_text(out, change_of(env)) || resp_arg(out, who.client) || resp_arg(out, who.user) ||
                   arg_value(c, out, env, who.user) || arg_text(out, tell) ||
                   resp_arg(out, *tell != 'n' ? message : STR_NULL)
               ? -1
               : 0;
}

static int write_members(struct redis_call *c, struct buf *out)
{
    struct str rest = buf_view(&c->body), before = rest;
    uint64_t node = c->server->engine->s.node;
    char index[2] = {c->index, '\0'};
    struct envelope env;
    int rc = 0;

    if (redis_script(c, out, REDIS_SCRIPT_MEMBERS, 4, 6u + 6u * c->n) || channel_keys(c, out) ||
        arg_index(c, out, node) || arg_owners(c, out) || arg_node(out, node) ||
        resp_arg(out, name_of(c)) || redis_arg_channel(c->server, out, "c:", name_of(c)) ||
        arg_text(out, index) || arg_text(out, CHANNEL_TTL_MS) || arg_text(out, NODE_TTL_MS))
        return -1;
    for (; rc == 0 && envelope_next(&rest, &env) > 0; before = rest)
        rc = write_change(c, out, &env, (struct str){.p = before.p, .n = before.n - rest.n});
    return rc;
}

bool redis_member_read(struct str value, struct redis_member *out)
{
    char node[17], user_len[5], *end;
    unsigned long user;

    if (value.n < VALUE_HEAD || value.p[27] != VALUE_VERSION ||
        str_copy((struct str){.p = value.p, .n = 16}, node, sizeof(node)) == -1 ||
        str_copy((struct str){.p = value.p + 28, .n = 4}, user_len, sizeof(user_len)) == -1)
        return false;
    out->node = strtoull(node, &end, 16);
    if (end != node + 16)
        return false;
    user = strtoul(user_len, &end, 16);
    if (end != user_len + 4 || user > value.n - VALUE_HEAD)
        return false;
    out->fields = str_skip(value, VALUE_HEAD + user);
    return redis_member_sound(out->fields);
}

bool redis_member_sound(struct str fields)
{
    struct client_info who;
    struct str info;

    return fields.n <= RECORD_FIELDS_MAX && record_field(fields, FIELD_INFO, &info) &&
           client_info_read(info, &who) == 0 && who.client.n > 0;
}

/* --- the rest --- */

/* "00,01,": those of this node that have said all they have. */
static int arg_heard(struct redis_call *c, struct buf *out)
{
    const struct redis_presence *p = c->server->engine->presence;
    char text[3 * ENGINE_OWNERS_MAX + 1] = "";
    size_t n = 0;

    for (unsigned i = 0; i < ENGINE_OWNERS_MAX; i++)
        if (p->heard[i])
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%02x,", i);
    return resp_arg(out, (struct str){.p = text, .n = n});
}

static int write_sweep(struct redis_call *c, struct buf *out)
{
    const struct redis *e = c->server->engine;
    const struct redis_sweep *sweep = c->task;
    bool own = sweep->node == e->s.node,
         all = !own || members_channel(&e->presence->members, name_of(c)) == NULL;
    char gen[12] = "";

    if (sweep->run != redis_run(c->server))
        return -1; /* another server's cursor */
    if (own)
        snprintf(gen, sizeof(gen), "%08" PRIx32, e->presence->places[sweep->place].gen);
    return redis_script(c, out, REDIS_SCRIPT_SWEEP, 3, 8) || channel_keys(c, out) ||
                   arg_index(c, out, sweep->node) || arg_node(out, sweep->node) ||
                   arg_text(out, gen) || arg_heard(c, out) || arg_text(out, c->text) ||
                   arg_text(out, SWEEP_STEP) || resp_arg(out, name_of(c)) ||
                   redis_arg_channel(c->server, out, "c:", name_of(c)) ||
                   arg_text(out, all ? "1" : "0")
               ? -1
               : 0;
}

static int write_index(struct redis_call *c, struct buf *out)
{
    const struct redis_sweep *sweep = c->task;

    if (sweep->run != redis_run(c->server))
        return -1;
    return resp_command(out, 5) || arg_text(out, "SSCAN") || arg_index(c, out, sweep->node) ||
                   arg_text(out, sweep->cursor) || arg_text(out, "COUNT") || arg_text(out, "64")
               ? -1
               : 0;
}

static int write_disown(struct redis_call *c, struct buf *out)
{
    const struct redis_sweep *sweep = c->task;

    return redis_script(c, out, REDIS_SCRIPT_DISOWN, 2, 2) || arg_index(c, out, sweep->node) ||
                   arg_owners(c, out) || arg_node(out, sweep->node) ||
                   arg_text(out, c->drop ? "1" : "0")
               ? -1
               : 0;
}

int redis_presence_write(struct redis_call *c, struct buf *out)
{
    switch ((enum redis_call_kind)c->kind) {
    case REDIS_MEMBERS:
        return write_members(c, out);
    case REDIS_LIST:
        return redis_list_write(c, out);
    case REDIS_COUNT:
        return redis_script(c, out, REDIS_SCRIPT_COUNT, 2, 0) || channel_keys(c, out) ? -1 : 0;
    case REDIS_OWNERS:
        return resp_command(out, 2) || arg_text(out, "SMEMBERS") || arg_owners(c, out) ? -1 : 0;
    case REDIS_INDEX:
        return write_index(c, out);
    case REDIS_SWEEP:
        return write_sweep(c, out);
    case REDIS_DISOWN:
        return write_disown(c, out);
    default:
        return -1;
    }
}
