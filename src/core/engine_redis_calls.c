/* core/engine_redis_calls.c - calls in the queues of their server, and what becomes of them when its connection
 * ends. */
#include "engine_redis_internal.h"

#include "base/clock.h"

/* The slot of the call that something of the channel's may join. */
static struct redis_call **slot_of(struct redis_server *s, struct str name)
{
    return &s->open[hash_str(name) % REDIS_OPEN_SLOTS];
}

static struct str name_of(const struct redis_call *c)
{
    return (struct str){.p = c->name, .n = c->name_len};
}

/* Nothing of the channel's joins a call that another one of it will stand behind. */
static void close_before(struct redis_server *s, struct str name)
{
    struct redis_call **slot = slot_of(s, name);

    if (*slot != NULL && str_equal(name_of(*slot), name))
        *slot = NULL;
}

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
    list_init(&c->link);
    s->nwaiting++;
    if (redis_call_has_place(c->kind)) {
        close_before(s, name);
        if (s->engine->cluster != NULL)
            c->partition = redis_partition_of(s->engine, redis_same_hash(name));
        if (s->engine->lanes.count > 0 && redis_lane_take(c))
            return c;
    }
    list_append(&s->waiting, &c->link);
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

/* Nothing is added to it any more. */
static void close_call(struct redis_call *c)
{
    struct redis_call **slot = slot_of(c->server, name_of(c));

    if (*slot == c)
        *slot = NULL;
}

void redis_call_move(struct redis_call *c, struct redis_server *to)
{
    close_call(c);
    leave_waiting(c);
    if (c->kind == REDIS_SUBSCRIBE) {
        c->server->asking--;
        to->asking++;
    }
    c->server = to;
    to->nwaiting++;
    redis_call_grew(c, c->body.len);
}

void redis_call_free(struct redis_call *c)
{
    struct redis_server *s = c->server;

    close_call(c);
    redis_lane_left(c);
    list_remove(&c->link);
    if (!c->sent)
        leave_waiting(c);
    s->asking -= c->kind == REDIS_SUBSCRIBE;
    if (c->kind == REDIS_PROBE)
        s->probe.unanswered = false;
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
    c->overtaken |= c->refused;
    c->refused = false; /* that was another time */
    s->nsent++;
    s->sent_bytes += c->body.len;
    c->since_ns = clock_ns();
    redis_lane_sent(c);
}

void redis_call_send(struct redis_call *c)
{
    if (redis_call_write(c) == -1)
        redis_call_fail(c, ENGINE_UNAVAILABLE);
    else
        call_sent(c->server, c);
}

/* --- a connection has ended --- */

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
        one->overtaken = c->overtaken;
        one->pubs[0].token = c->pubs[i].token;
        one->n = 1;
        redis_call_grew(one, one->body.len);
        list_remove(&one->link);
        list_append(to, &one->link);
    }
    redis_call_free(c);
}

/* What was sent is tried again where that does no harm, before all that waits. */
void redis_calls_take_back(struct redis_server *s)
{
    struct list sent, again, *n;

    list_init(&again);
    list_take(&sent, &s->sent);
    s->nsent = 0;
    s->sent_bytes = 0;
    while ((n = list_pop(&sent)) != NULL) {
        struct redis_call *c = LIST_ENTRY(n, struct redis_call, link);

        redis_lane_left(c);
        c->asking = false;
        if (c->kind == REDIS_KEEP && !c->refused) {
            split(s, c, &again);
            continue;
        }
        c->repeat |= !c->refused;
        c->overtaken |= c->refused;
        c->refused = false;
        list_append(&again, n);
        c->sent = false;
        s->nwaiting++;
        redis_call_grew(c, c->body.len);
    }
    redis_lanes_down(s->engine, &again);
    list_prepend_all(&s->waiting, &again);
}

/* The rest ends, in its order. */
void redis_calls_give_up(struct redis_server *s)
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
