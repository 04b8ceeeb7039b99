/* core/engine_redis_write.c - calls as commands of the server. */
#include <inttypes.h>

#include "engine_redis_presence_internal.h"

#include "base/clock.h"
#include "core/channel_options.h"
#include "core/epoch.h"

#define KEY_TTL_MS "300000" /* of an idempotency key, as in the memory engine */

static struct str name_of(const struct redis_call *c)
{
    return (struct str){.p = c->name, .n = c->name_len};
}

struct str redis_word(const struct redis *e, const char *sharded)
{
    return str_from(e->cluster != NULL ? sharded : sharded + 1);
}

/* Begins a name in scratch: prefix:kind, and the tag of its partition. */
static int begin_name(struct redis *e, const char *kind, const struct redis_partition *p)
{
    buf_clear(&e->scratch);
    if (buf_printf(&e->scratch, "%s:%s", e->s.prefix, kind) != 0)
        return -1;
    return p != NULL ? buf_printf(&e->scratch, "{%" PRIu32 "}", p->tag) : 0;
}

/* The same of what is published. To that all databases of a server are one, to Roost each is a world of its own. */
static int begin_channel(struct redis_server *s, const char *kind, const struct redis_partition *p)
{
    char name[48];

    if (s->address.database == 0)
        return begin_name(s->engine, kind, p);
    snprintf(name, sizeof(name), REDIS_DATABASE_FORMAT "%s", s->address.database, kind);
    return begin_name(s->engine, name, p);
}

static const struct redis_partition *place_of(struct redis *e, struct str channel)
{
    return e->cluster != NULL ? redis_partition_of(e, redis_same_hash(channel)) : NULL;
}

int redis_arg_name(struct redis_server *s, struct buf *out, const char *kind, struct str channel)
{
    struct redis *e = s->engine;

    if (begin_name(e, kind, place_of(e, channel)) == -1 || buf_append(&e->scratch, channel) == -1)
        return -1;
    return resp_arg(out, buf_view(&e->scratch));
}

int redis_arg_channel(struct redis_server *s, struct buf *out, const char *kind, struct str channel)
{
    struct redis *e = s->engine;

    if (begin_channel(s, kind, place_of(e, channel)) == -1 ||
        buf_append(&e->scratch, channel) == -1)
        return -1;
    return resp_arg(out, buf_view(&e->scratch));
}

/* What is said over each server: in a cluster in a slot of its own. */
static int arg_here(struct redis_server *s, struct buf *out, const char *kind)
{
    if (begin_channel(s, kind, s->listens) == -1)
        return -1;
    return resp_arg(out, buf_view(&s->engine->scratch));
}

static int arg_probe(struct redis_server *s, struct buf *out)
{
    char kind[32];

    snprintf(kind, sizeof(kind), "probe:%016" PRIx64, s->engine->s.node);
    return arg_here(s, out, kind);
}

/* The result of an idempotency key: the channel's length keeps "a" with "b:c" from "a:b" with "c". */
static int arg_result(struct redis_server *s, struct buf *out, const struct redis_call *c)
{
    struct buf *name = &s->engine->scratch;

    if ((begin_name(s->engine, "i:", c->partition) || buf_printf(name, "%u:", c->name_len) ||
         buf_append(name, name_of(c)) || buf_append_char(name, ':') ||
         buf_append(name, (struct str){.p = c->text, .n = c->key_len})) != 0)
        return -1;
    return resp_arg(out, buf_view(name));
}

int redis_script(struct redis_call *c, struct buf *out, enum redis_script which, unsigned keys,
                 unsigned args)
{
    return resp_command(out, 3 + keys + args) || resp_arg(out, STR_LIT("EVALSHA")) ||
                   resp_arg(out, str_from(c->server->sha[which])) || resp_arg_u64(out, keys)
               ? -1
               : 0;
}

/* KEYS 1, 2 and ARGV 1 to 3 of what META begins. */
static int meta_keys(struct redis_call *c, struct buf *out)
{
    return redis_arg_name(c->server, out, "m:", name_of(c)) ||
                   redis_arg_name(c->server, out, "s:", name_of(c))
               ? -1
               : 0;
}

static int meta_args(struct redis_call *c, struct buf *out)
{
    const struct channel_options *o = channel_options_of(name_of(c));
    int64_t ttl = o != NULL ? channel_meta_ttl(o) : config.history_meta_ttl;

    return resp_arg(out, str_from(c->server->run_id)) || resp_arg_u64(out, epoch_new()) ||
                   resp_arg_u64(out, (uint64_t)MAX(ttl, (int64_t)NS_PER_SEC) / NS_PER_MS)
               ? -1
               : 0;
}

/* ARGV 4 to 6 of KEEP. */
static int keep_args(struct redis_call *c, struct buf *out)
{
    const struct channel_options *o = channel_options_of(name_of(c));
    uint64_t size = o != NULL ? (uint64_t)o->history_size : 0,
             ttl = o != NULL ? (uint64_t)o->history_ttl : 0;

    return resp_arg_u64(out, size) || resp_arg_u64(out, MAX(ttl, NS_PER_SEC) / NS_PER_MS) ||
                   resp_arg_u64(out, clock_wall_ns() / NS_PER_MS)
               ? -1
               : 0;
}

/* Each publication apart. */
static int items(const struct redis_call *c, struct buf *out)
{
    struct str rest = buf_view(&c->body), before;
    struct envelope e;
    int rc = 0;

    for (before = rest; envelope_next(&rest, &e) > 0; before = rest)
        rc |= resp_arg(out, (struct str){.p = before.p, .n = before.n - rest.n});
    return rc;
}

static int write_publish(struct redis_call *c, struct buf *out)
{
    char head[64];
    int n = snprintf(head, sizeof(head), "%" PRIu64 ":%" PRIu64 ":", c->since.epoch,
                     c->since.offset); /* RELAY; else 0:0 */

    return resp_command(out, 3) || resp_arg(out, redis_word(c->server->engine, "SPUBLISH")) ||
                   redis_arg_channel(c->server, out, "c:", name_of(c)) ||
                   buf_printf(out, "$%zu\r\n%s", c->body.len + (size_t)n, head) ||
                   buf_append(out, buf_view(&c->body)) || buf_append_lit(out, "\r\n")
               ? -1
               : 0;
}

static int write_keep(struct redis_call *c, struct buf *out)
{
    return redis_script(c, out, REDIS_SCRIPT_PUBLISH, 2, 7u + c->n) || meta_keys(c, out) ||
                   meta_args(c, out) || keep_args(c, out) ||
                   redis_arg_channel(c->server, out, "c:", name_of(c)) || items(c, out)
               ? -1
               : 0;
}

bool redis_call_is_kept(const struct redis_call *c)
{
    struct str rest = buf_view(&c->body);
    struct envelope e;

    return envelope_next(&rest, &e) > 0 && (e.r.flags & RECORD_IN_STREAM) != 0;
}

static int write_publish_if(struct redis_call *c, struct buf *out)
{
    struct str epoch = {.p = c->text, .n = c->version_epoch_len};

    if (c->text != NULL)
        epoch.p += c->key_len;
    /* No key that is not needed: while a slot moves, calls wait for those that are missing. */
    return redis_script(c, out, REDIS_SCRIPT_PUBLISH_IF, c->key_len > 0 ? 3 : 2, 13) ||
                   meta_keys(c, out) || (c->key_len > 0 ? arg_result(c->server, out, c) : 0) ||
                   meta_args(c, out) || keep_args(c, out) ||
                   redis_arg_channel(c->server, out, "c:", name_of(c)) ||
                   resp_arg(out, buf_view(&c->body)) || resp_arg_u64(out, redis_call_is_kept(c)) ||
                   resp_arg_u64(out, !c->repeat     ? 0
                                     : c->overtaken ? 2
                                                    : 1) ||
                   resp_arg(out, c->key_len > 0 ? STR_LIT(KEY_TTL_MS) : STR_LIT("0")) ||
                   resp_arg_u64(out, c->version) || resp_arg(out, epoch)
               ? -1
               : 0;
}

static int write_history(struct redis_call *c, struct buf *out)
{
    char first[32] = "-", last[32] = "+";

    if (c->reverse && c->since.offset > 0)
        snprintf(last, sizeof(last), "(%" PRIu64 "-0", c->since.offset);
    else if (!c->reverse)
        snprintf(first, sizeof(first), "(%" PRIu64 "-0", c->since.offset);
    return redis_script(c, out, REDIS_SCRIPT_HISTORY, 2, 7) || meta_keys(c, out) ||
                   meta_args(c, out) || resp_arg_u64(out, c->limit) ||
                   resp_arg_u64(out, c->reverse) || resp_arg(out, str_from(first)) ||
                   resp_arg(out, str_from(last))
               ? -1
               : 0;
}

static int write_hello(struct redis_server *s, struct buf *out)
{
    const struct engine_address *a = &s->address;
    /* A user that needs no password is given an empty one. */
    bool auth = a->password[0] != '\0' || a->user[0] != '\0';

    return resp_command(out, auth ? 7 : 4) || resp_arg(out, STR_LIT("HELLO")) ||
                   resp_arg(out, STR_LIT("3")) ||
                   (auth ? resp_arg(out, STR_LIT("AUTH")) ||
                               resp_arg(out, a->user[0] != '\0' ? str_from(a->user)
                                                                : STR_LIT("default")) ||
                               resp_arg(out, str_from(a->password))
                         : 0) ||
                   resp_arg(out, STR_LIT("SETNAME")) || resp_arg(out, STR_LIT("roost"))
               ? -1
               : 0;
}

/* The channel of what is said to that node alone. */
static int arg_node(struct redis_server *s, struct buf *out, uint64_t node)
{
    char name[32];

    snprintf(name, sizeof(name), "node:%016" PRIx64, node);
    return arg_here(s, out, name);
}

static int write_listen(struct redis_server *s, struct buf *out)
{
    struct str word = redis_word(s->engine, "SSUBSCRIBE");

    if (resp_command(out, 4) || resp_arg(out, word) || arg_probe(s, out) ||
        arg_here(s, out, "nodes") || arg_node(s, out, s->engine->s.node))
        return -1;
    if (redis_is_home(s) && (resp_command(out, 2) || resp_arg(out, word) ||
                             redis_arg_channel(s, out, "control", STR_NULL)) != 0)
        return -1;
    return resp_write(out, 1, "PING");
}

static int write_probe(struct redis_server *s, struct buf *out)
{
    return resp_command(out, 3) || resp_arg(out, redis_word(s->engine, "SPUBLISH")) ||
                   arg_probe(s, out) || resp_arg(out, STR_LIT("probe"))
               ? -1
               : 0;
}

static int write_say(struct redis_call *c, struct buf *out)
{
    return resp_command(out, 3) || resp_arg(out, redis_word(c->server->engine, "SPUBLISH")) ||
                   (c->token == 0 ? arg_here(c->server, out, "nodes")
                                  : arg_node(c->server, out, c->token)) ||
                   resp_arg(out, buf_view(&c->body))
               ? -1
               : 0;
}

/* In a cluster PUBLISH would go to every server of it. */
static int write_load(struct redis_call *c, struct buf *out)
{
    struct buf *text = &c->server->engine->scratch;
    const char *rest = redis_scripts[c->script], *at;

    buf_clear(text);
    while (c->server->engine->cluster != NULL && (at = strstr(rest, "'PUBLISH'")) != NULL) {
        if (buf_append(text, (struct str){.p = rest, .n = (size_t)(at - rest)}) ||
            buf_append_lit(text, "'S"))
            return -1;
        rest = at + 1;
    }
    return buf_append_lit(text, rest) || resp_command(out, 3) || resp_arg(out, STR_LIT("SCRIPT")) ||
                   resp_arg(out, STR_LIT("LOAD")) || resp_arg(out, buf_view(text))
               ? -1
               : 0;
}

static int write_kind(struct redis_call *c, struct buf *out)
{
    struct redis_server *s = c->server;

    switch ((enum redis_call_kind)c->kind) {
    case REDIS_HELLO:
        return write_hello(s, out);
    case REDIS_INFO:
        return resp_write(out, 1, "INFO"); /* two of its sections */
    case REDIS_SELECT:
        return resp_command(out, 2) || resp_arg(out, STR_LIT("SELECT")) ||
                       resp_arg_u64(out, s->address.database)
                   ? -1
                   : 0;
    case REDIS_STATE:
        return resp_write(out, 2, "CLUSTER", "INFO");
    case REDIS_SLOTS:
        return resp_write(out, 2, "CLUSTER", "SLOTS");
    case REDIS_LOAD:
        return write_load(c, out);
    case REDIS_LISTEN:
        return write_listen(s, out);
    case REDIS_CAUGHT_UP:
        return redis_log_write(s, out);
    case REDIS_PUBLISH:
    case REDIS_RELAY:
        return write_publish(c, out);
    case REDIS_KEEP:
        return write_keep(c, out);
    case REDIS_PUBLISH_IF:
        return write_publish_if(c, out);
    case REDIS_CHECK:
        return resp_command(out, 4) || resp_arg(out, STR_LIT("HMGET")) ||
                       redis_arg_name(s, out, "m:", name_of(c)) || resp_arg(out, STR_LIT("e")) ||
                       resp_arg(out, STR_LIT("o"))
                   ? -1
                   : 0;
    case REDIS_SYNC:
    case REDIS_HISTORY:
        return write_history(c, out);
    case REDIS_REMOVE:
        return redis_script(c, out, REDIS_SCRIPT_REMOVE, 2, 3) || meta_keys(c, out) ||
                       meta_args(c, out)
                   ? -1
                   : 0;
    case REDIS_USER:
        return redis_user_write(c, out);
    case REDIS_CONTROL:
        return redis_script(c, out, REDIS_SCRIPT_CONTROL, 1, 2) ||
                       redis_arg_name(s, out, "log", STR_NULL) ||
                       redis_arg_channel(s, out, "control", STR_NULL) ||
                       resp_arg(out, buf_view(&c->body))
                   ? -1
                   : 0;
    case REDIS_SAY:
        return write_say(c, out);
    case REDIS_PROBE:
        return write_probe(s, out);
    case REDIS_MEMBERS:
    case REDIS_LIST:
    case REDIS_COUNT:
    case REDIS_OWNERS:
    case REDIS_INDEX:
    case REDIS_SWEEP:
    case REDIS_DISOWN:
        return redis_presence_write(c, out);
    case REDIS_SUBSCRIBE:
    case REDIS_UNSUBSCRIBE:
        return buf_append(out, buf_view(&c->body)) || resp_write(out, 1, "PING") ? -1 : 0;
    }
    return -1;
}

bool redis_call_is_publication(const struct redis_call *c)
{
    return c->kind == REDIS_PUBLISH || c->kind == REDIS_KEEP || c->kind == REDIS_PUBLISH_IF;
}

bool redis_call_has_place(uint8_t kind)
{
    return kind >= REDIS_PUBLISH && kind < REDIS_RELAY;
}

bool redis_call_repeatable(const struct redis_call *c)
{
    switch ((enum redis_call_kind)c->kind) {
    case REDIS_HELLO:
    case REDIS_INFO:
    case REDIS_SELECT:
    case REDIS_STATE:
    case REDIS_LOAD:
    case REDIS_SLOTS:
    case REDIS_LISTEN:
    case REDIS_CAUGHT_UP:
    case REDIS_RELAY:
    case REDIS_PROBE:
    case REDIS_SAY:    /* heartbeats come again, and nobody waits for the rest for long */
    case REDIS_OWNERS: /* begun again, as a cursor is one server's */
    case REDIS_INDEX:
    case REDIS_SWEEP:
    case REDIS_DISOWN:
    case REDIS_SUBSCRIBE: /* each connection makes its own, as SYNC */
    case REDIS_UNSUBSCRIBE:
    case REDIS_CHECK:
    case REDIS_SYNC:
        return false;
    case REDIS_PUBLISH:
        return c->refused;
    case REDIS_KEEP: /* the script finds them, by their origin */
    case REDIS_HISTORY:
    case REDIS_REMOVE:
    case REDIS_USER:
    case REDIS_MEMBERS: /* the script knows who is there */
    case REDIS_COUNT:
    case REDIS_CONTROL: /* whoever hears it twice knows it by its origin */
        return true;
    case REDIS_LIST:
        return redis_list_repeatable(c);
    case REDIS_PUBLISH_IF: /* the script finds it, by its key or its origin */
        return c->refused || c->key_len > 0 || redis_call_is_kept(c);
    }
    return false;
}

bool redis_call_is_listening(const struct redis_call *c)
{
    return c->kind == REDIS_LISTEN || c->kind == REDIS_SUBSCRIBE || c->kind == REDIS_UNSUBSCRIBE;
}

static void expect_echoes(struct redis_call *c)
{
    const struct redis_sub *sub = redis_sub_find(c->server->engine, name_of(c));
    bool echo = sub != NULL && redis_sub_asked(sub);

    for (unsigned i = 0; i < c->n; i++) {
        c->pubs[i].echo = echo;
        c->pubs[i].at = (struct position){0};
    }
    c->echoes = echo && c->kind != REDIS_MEMBERS ? c->n : 0;
    c->back = 0;
    c->echoed = echo;
}

int redis_call_write(struct redis_call *c)
{
    struct buf *out = &c->server->out;
    size_t before = out->len;

    c->asked = c->asking;
    if (redis_call_is_publication(c) || c->kind == REDIS_MEMBERS)
        expect_echoes(c);
    if ((c->asking ? resp_write(out, 1, "ASKING") : 0) == 0 && write_kind(c, out) == 0)
        return 0;
    out->len = before;
    return -1;
}
