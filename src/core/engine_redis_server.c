/* core/engine_redis_server.c - one server: its connection, the calls to it, when it is given up.
 *
 * DOWN · CONNECTING · SETTING_UP (HELLO, INFO for the run id, the scripts, control messages missed) ·
 * UP. Calls wait in a queue until it is UP and the window has room, are sent with one write per
 * round, and are answered in the order in which they were sent. A connection that says nothing
 * for `timeout_ns` while something is due, or does not bring back what this node publishes to itself
 * (the probe), is replaced: to be connected is not to be heard. */
#include "engine_redis_internal.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

static void set_state(struct redis_server *s, enum redis_state state)
{
    bool other = (s->state == REDIS_UP) != (state == REDIS_UP);

    if (other && state == REDIS_UP) {
        s->restored = false;
        engine_shard_set(s->shard, SHARD_RESTORING, NULL);
    }
    s->state = state;
    if (other)
        redis_nodes_up(s->engine);
}

struct redis_server *redis_server_new(struct redis *e, const struct engine_address *address)
{
    struct redis_server *s = e->nservers < REDIS_SERVERS_MAX ? calloc(1, sizeof(*s)) : NULL;
    char text[ENGINE_ADDRESS_TEXT];

    if (s == NULL)
        return NULL;
    s->engine = e;
    s->address = *address;
    engine_address_format(address, text, sizeof(text));
    s->shard = engine_shard_take(text);
    s->down_since_ns = clock_ns();
    list_init(&s->waiting);
    list_init(&s->sent);
    list_init(&s->subs);
    list_init(&s->resubscribe);
    e->servers[e->nservers++] = s;
    return s;
}

void redis_server_free(struct redis_server *s)
{
    struct redis *e = s->engine;
    struct list *n;

    while ((n = list_pop(&s->sent)) != NULL || (n = list_pop(&s->waiting)) != NULL) {
        struct redis_call *c = LIST_ENTRY(n, struct redis_call, link);

        buf_fini(&c->body);
        free(c->text);
        pool_put(&e->calls, c);
    }
    if (s->wire != NULL)
        e->wires->close(s->wire);
    set_state(s, REDIS_DOWN);
    engine_shard_give(s->shard);
    buf_fini(&s->in);
    buf_fini(&s->out);
    for (unsigned i = 0; i < e->nservers; i++)
        if (e->servers[i] == s)
            e->servers[i] = e->servers[--e->nservers];
    free(s);
}

/* --- calls --- */

struct redis_call *redis_call_new(struct redis_server *s, enum redis_call_kind kind,
                                  struct str name)
{
    struct redis_call *c = pool_get(&s->engine->calls);

    if (c == NULL)
        return NULL;
    c->server = s;
    c->kind = (uint8_t)kind;
    c->id = ++s->engine->next_id;
    c->since_ns = clock_ns();
    c->name_len = (uint8_t)name.n;
    memcpy(c->name, name.p != NULL ? name.p : "", name.n);
    list_append(&s->waiting, &c->link);
    s->nwaiting++;
    return c;
}

void redis_call_grew(struct redis_call *c, size_t bytes)
{
    c->server->waiting_bytes += bytes;
}

static void leave_waiting(struct redis_call *c)
{
    c->server->nwaiting--;
    c->server->waiting_bytes -= c->body.len;
}

void redis_call_free(struct redis_call *c)
{
    struct redis_server *s = c->server;
    struct redis_call **slot =
        &s->open[hash_str((struct str){.p = c->name, .n = c->name_len}) % REDIS_OPEN_SLOTS];

    if (*slot == c)
        *slot = NULL;
    list_remove(&c->link);
    if (!c->sent)
        leave_waiting(c);
    buf_fini(&c->body);
    free(c->text);
    pool_put(&s->engine->calls, c);
}

/* From the queue of those that wait into that of those under way. */
static void call_sent(struct redis_server *s, struct redis_call *c)
{
    list_remove(&c->link);
    list_append(&s->sent, &c->link);
    leave_waiting(c);
    c->sent = true;
    s->nsent++;
    s->sent_bytes += c->body.len;
    c->since_ns = clock_ns();
}

bool redis_server_wants(const struct redis_server *s)
{
    return s->nwaiting < s->engine->s.window && s->waiting_bytes < s->engine->s.queue_bytes;
}

bool redis_server_given_up(const struct redis_server *s)
{
    return s->state != REDIS_UP && clock_ns() - s->down_since_ns > s->engine->s.patience_ns;
}

void redis_call_send(struct redis_call *c)
{
    if (redis_call_write(c) == -1)
        redis_call_fail(c, ENGINE_UNAVAILABLE);
    else
        call_sent(c->server, c);
}

/* --- the connection --- */

static void on_opened(void *peer);
static void on_received(void *peer, struct str bytes);
static void on_closed(void *peer, const char *why);
static const struct engine_wire_events wire_events = {
    .opened = on_opened, .received = on_received, .closed = on_closed};

static void plan_retry(struct redis_server *s)
{
    s->retry_ns = clock_ns() + engine_retry_delay_ns(s->attempts++, s->engine->s.reconnect_max_ns);
}

/* One call for each of its publications, which the script looks for first. Those without memory end. */
static void split(struct redis_server *s, struct redis_call *c, struct list *to)
{
    struct str rest = buf_view(&c->body), before = rest;
    struct envelope env;

    for (unsigned i = 0; envelope_next(&rest, &env) > 0; i++, before = rest) {
        struct str name = {.p = c->name, .n = c->name_len};
        struct redis_call *one = redis_call_new(s, REDIS_PUBLISH_IF, name);

        if (one == NULL ||
            buf_append(&one->body, (struct str){.p = before.p, .n = before.n - rest.n}) == -1) {
            redis_done(s->engine, c->pubs[i].token, ENGINE_UNKNOWN, (struct position){0});
            if (one != NULL)
                redis_call_free(one);
            continue;
        }
        one->id = c->id;
        one->since_ns = c->since_ns;
        one->repeat = true;
        one->pubs[0].token = c->pubs[i].token;
        one->n = 1;
        redis_call_grew(one, one->body.len);
        list_remove(&one->link);
        list_append(to, &one->link);
    }
    redis_call_free(c);
}

/* What was sent is tried again where that does no harm, before all that waits. */
static void take_back(struct redis_server *s)
{
    struct list sent, again, *n;

    list_init(&again);
    list_take(&sent, &s->sent);
    s->nsent = 0;
    s->sent_bytes = 0;
    while ((n = list_pop(&sent)) != NULL) {
        struct redis_call *c = LIST_ENTRY(n, struct redis_call, link);

        if (c->kind == REDIS_KEEP && !c->refused) {
            split(s, c, &again);
            continue;
        }
        c->repeat |= !c->refused;
        c->refused = false;
        list_append(&again, n);
        c->sent = false;
        s->nwaiting++;
        redis_call_grew(c, c->body.len);
    }
    list_prepend_all(&s->waiting, &again);
}

/* The rest ends, in its order. */
static void give_up_sent(struct redis_server *s)
{
    struct list *n, *next;

    for (n = s->sent.next; n != &s->sent; n = next) {
        struct redis_call *c = LIST_ENTRY(n, struct redis_call, link);

        next = n->next;
        if (c->replied)
            redis_call_settle(c, true);
        else if (!redis_call_repeatable(c))
            redis_call_fail(c, ENGINE_UNKNOWN);
    }
}

/* why: NULL: as the ending's row says. */
static void down(struct redis_server *s, enum engine_ending ending, const char *why)
{
    char text[ENGINE_ADDRESS_TEXT];
    bool was_up = s->state == REDIS_UP;

    s->wire = NULL;
    buf_clear(&s->in);
    buf_clear(&s->out);
    s->scan = (struct resp_scan){0};
    if (was_up)
        s->down_since_ns = clock_ns();
    set_state(s, REDIS_DOWN);
    why = why != NULL ? why : engine_ending_why(ending);
    engine_shard_set(s->shard, SHARD_DOWN, why);
    engine_count_ending(ending);
    plan_retry(s);
    engine_address_format(&s->address, text, sizeof(text));
    if (was_up || s->attempts == 1)
        LOG(LOG_WARN,
            "the engine's server is gone; clients stay, publications wait for engine_patience",
            KV_S("server", text), KV_S("why", why));
    else
        LOG(LOG_DEBUG, "the engine's server cannot be reached", KV_S("server", text),
            KV_S("why", why));
    give_up_sent(s);
    take_back(s);
    redis_subs_down(s);
}

void redis_server_restart(struct redis_server *s, enum engine_ending ending)
{
    struct engine_wire *w = s->wire;

    if (w == NULL)
        return;
    down(s, ending, ending == ENDING_REFUSED ? s->refusal : NULL);
    s->engine->wires->close(w);
}

static void on_closed(void *peer, const char *why)
{
    down(peer, ENDING_CLOSED, why);
}

void redis_server_begin(struct redis_server *s)
{
    set_state(s, REDIS_CONNECTING);
    s->connections++;
    s->ending = ENDING_PROTOCOL;
    s->heard_ns = clock_ns();
    s->wire = s->engine->wires->open(s->engine->arg, &s->address, &wire_events, s);
    if (s->wire == NULL) {
        set_state(s, REDIS_DOWN);
        plan_retry(s);
    }
}

/* --- setting up --- */

/* In front of what waits. -1: no memory. */
static int setup_call(struct redis_server *s, enum redis_call_kind kind, unsigned script)
{
    struct redis_call *c = redis_call_new(s, kind, STR_NULL);

    if (c == NULL)
        return -1;
    c->script = (uint8_t)script;
    redis_call_send(c);
    s->setup++;
    return 0;
}

static int setup(struct redis_server *s)
{
    s->setup = 0;
    if (setup_call(s, REDIS_HELLO, 0) == -1 || setup_call(s, REDIS_INFO, 0) == -1 ||
        (s->address.database > 0 && setup_call(s, REDIS_SELECT, 0) == -1))
        return -1;
    for (unsigned i = 0; i < REDIS_SCRIPT_NR; i++)
        if (setup_call(s, REDIS_LOAD, i) == -1)
            return -1;
    if (setup_call(s, REDIS_LISTEN, 0) == -1)
        return -1;
    return redis_is_home(s) ? setup_call(s, REDIS_CAUGHT_UP, 0) : 0;
}

void redis_server_flush(struct redis_server *s)
{
    if (s->out.len == 0 || s->wire == NULL)
        return;
    if (s->engine->wires->send(s->wire, buf_view(&s->out)) == -1)
        redis_server_restart(s, ENDING_CLOSED);
    buf_clear(&s->out);
}

static void on_opened(void *peer)
{
    struct redis_server *s = peer;

    set_state(s, REDIS_SETTING_UP);
    s->heard_ns = clock_ns();
    if (setup(s) == -1)
        redis_server_restart(s, ENDING_MEMORY);
    else
        redis_server_flush(s);
}

void redis_setup_step(struct redis_server *s)
{
    char text[ENGINE_ADDRESS_TEXT];

    if (s->setup == 0 || --s->setup > 0)
        return;
    set_state(s, REDIS_UP);
    s->attempts = 0;
    s->ending = ENDING_PROTOCOL;
    s->probe_ns = clock_ns();
    s->probe_sent_ns = 0;
    redis_presence_wake(s->engine);
    engine_address_format(&s->address, text, sizeof(text));
    LOG(LOG_INFO, "connected to the engine's server", KV_S("server", text),
        KV_U("ms", (clock_ns() - s->down_since_ns) / NS_PER_MS));
}

/* --- what comes --- */

static bool take_value(struct redis_server *s, struct str value)
{
    struct redis_call *c;

    if (value.p[0] == RESP_PUSH) {
        redis_pushed(s, value);
        return true;
    }
    for (struct list *n = s->sent.next; n != &s->sent; n = n->next) {
        c = LIST_ENTRY(n, struct redis_call, link);
        if (c->replied) /* its echo is awaited */
            continue;
        if (value.p[0] == RESP_ERROR && redis_call_is_listening(c))
            return redis_subscribe_refused(c, value);
        c->replied = true;
        s->nsent--;
        s->sent_bytes -= c->body.len;
        return redis_call_reply(c, value);
    }
    return false;
}

/* Whole values from the front of what has come; where the rest begins. -1: to be ended. */
static ssize_t take_values(struct redis_server *s, struct str in)
{
    const struct engine_wire *wire = s->wire;
    size_t at = 0;

    while (at < in.n) {
        ssize_t n = resp_scan(&s->scan, str_skip(in, at));

        if (n == 0)
            break;
        if (n < 0 || !take_value(s, (struct str){.p = in.p + at, .n = (size_t)n}))
            return -1;
        if (s->wire != wire)
            return 0;
        at += (size_t)n;
    }
    return (ssize_t)at;
}

static void on_received(void *peer, struct str bytes)
{
    struct redis_server *s = peer;
    const struct engine_wire *wire = s->wire;
    bool whole = s->in.len == 0;
    ssize_t taken;

    s->heard_ns = clock_ns();
    if (!whole && buf_append(&s->in, bytes) == -1) {
        redis_server_restart(s, ENDING_MEMORY);
        return;
    }
    taken = take_values(s, whole ? bytes : buf_view(&s->in));
    if (s->wire != wire)
        return;
    if (taken < 0) {
        redis_server_restart(s, s->ending);
        return;
    }
    if (!whole)
        buf_drop(&s->in, (size_t)taken);
    else if (buf_append(&s->in, str_skip(bytes, (size_t)taken)) == -1)
        redis_server_restart(s, ENDING_MEMORY);
}
