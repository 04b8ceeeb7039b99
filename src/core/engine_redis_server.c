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

#define ASK_AGAIN_NS          (100 * NS_PER_MS)
#define SENTINEL_RETRY_MAX_NS (200 * NS_PER_MS)

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
    list_init(&s->wanted);
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
    redis_sentinels_free(s->sentinels);
    engine_shard_give(s->shard);
    buf_fini(&s->in);
    buf_fini(&s->out);
    for (unsigned i = 0; i < e->nservers; i++)
        if (e->servers[i] == s)
            e->servers[i] = e->servers[--e->nservers];
    free(s);
}

bool redis_server_wants(const struct redis_server *s)
{
    return s->nwaiting < s->engine->s.window && s->waiting_bytes < s->engine->s.queue_bytes;
}

bool redis_server_given_up(const struct redis_server *s)
{
    return s->state != REDIS_UP && clock_ns() - s->down_since_ns > s->engine->s.patience_ns;
}

/* --- the connection --- */

static void on_opened(void *peer);
static void on_received(void *peer, struct str bytes);
static void on_closed(void *peer, const char *why);
static const struct engine_wire_events wire_events = {
    .opened = on_opened, .received = on_received, .closed = on_closed};

static void plan_retry(struct redis_server *s, bool was_up)
{
    uint64_t most = s->engine->s.reconnect_max_ns;

    /* What a Sentinel says changes from one moment to the next; it is asked, and bears it. */
    if (s->sentinels != NULL)
        most = MIN(most, SENTINEL_RETRY_MAX_NS);
    s->retry_ns = clock_ns() + engine_retry_delay_ns(s->attempts++, most);
    if (!was_up && s->sentinels != NULL)
        redis_sentinels_mistaken(s->sentinels);
}

/* why: NULL: as the ending's row says. */
static void down(struct redis_server *s, enum engine_ending ending, const char *why)
{
    bool was_up = s->state == REDIS_UP;

    s->wire = NULL;
    buf_clear(&s->in);
    buf_clear(&s->out);
    s->scan = (struct resp_scan){0};
    s->loading = 0;
    s->listens = NULL;
    redis_log_ended(s);
    if (was_up) {
        s->down_since_ns = clock_ns();
        if (s->down_since_ns - s->up_ns >= ENGINE_STEADY_NS)
            s->attempts = 0;
    }
    set_state(s, REDIS_DOWN);
    s->degraded = false;
    why = why != NULL ? why : engine_ending_why(ending);
    engine_shard_set(s->shard, SHARD_DOWN, why);
    engine_count_ending(ending);
    plan_retry(s, was_up);
    engine_log_gone(&s->address, was_up || s->attempts == 1, why);
    redis_calls_give_up(s);
    redis_calls_take_back(s);
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
    if (s->sentinels != NULL && !redis_sentinels_master(s->sentinels, &s->address)) {
        s->retry_ns = clock_ns() + ASK_AGAIN_NS; /* or when the answer comes */
        return;
    }
    set_state(s, REDIS_CONNECTING);
    s->connections++;
    s->ending = ENDING_PROTOCOL;
    s->heard_ns = clock_ns();
    s->wire = s->engine->wires->open(s->engine->arg, &s->address, &wire_events, s);
    if (s->wire == NULL) {
        set_state(s, REDIS_DOWN);
        plan_retry(s, false);
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
    s->loading += kind == REDIS_LOAD;
    s->setup += s->state == REDIS_SETTING_UP;
    redis_call_send(c);
    return 0;
}

static int load(struct redis_server *s)
{
    for (unsigned i = 0; i < REDIS_SCRIPT_NR; i++)
        if (setup_call(s, REDIS_LOAD, i) == -1)
            return -1;
    return 0;
}

static const struct redis_partition *first_partition(const struct redis_server *s)
{
    const struct redis_cluster *k = s->engine->cluster;

    for (unsigned i = 0; i < k->n; i++)
        if (k->partitions[i].server == s && k->partitions[i].served)
            return &k->partitions[i];
    return NULL;
}

int redis_server_catch_up(struct redis_server *s)
{
    s->caught_up = false;
    return setup_call(s, REDIS_CAUGHT_UP, 0);
}

static int listen_to(struct redis_server *s)
{
    if (s->engine->cluster != NULL) {
        s->listens = first_partition(s);
        if (s->listens == NULL)
            return 0;
    }
    engine_probe_begin(&s->probe);
    if (setup_call(s, REDIS_LISTEN, 0) == -1)
        return -1;
    return redis_is_home(s) ? redis_server_catch_up(s) : 0;
}

void redis_server_listen(struct redis_server *s)
{
    if (s->state != REDIS_UP)
        s->listens = NULL; /* setting up comes to it */
    else if (listen_to(s) == -1)
        redis_server_restart(s, ENDING_MEMORY);
}

void redis_server_listen_anew(struct redis_server *s)
{
    if (s->listens != first_partition(s))
        redis_server_listen(s);
}

bool redis_server_listens(const struct redis_server *s)
{
    return s->state == REDIS_UP && (s->engine->cluster == NULL || s->listens != NULL);
}

void redis_server_load(struct redis_server *s)
{
    if (s->loading == 0 && load(s) == -1)
        redis_server_restart(s, ENDING_MEMORY);
}

static int setup(struct redis_server *s)
{
    s->setup = 0;
    if (setup_call(s, REDIS_HELLO, 0) == -1 || setup_call(s, REDIS_INFO, 0) == -1 ||
        (s->address.database > 0 && setup_call(s, REDIS_SELECT, 0) == -1) || load(s) == -1)
        return -1;
    if (s->engine->cluster == NULL)
        return listen_to(s);
    return setup_call(s, REDIS_STATE, 0) == -1 ? -1 : setup_call(s, REDIS_SLOTS, 0);
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
    if (s->setup == 1 && s->engine->cluster != NULL && s->listens == NULL && listen_to(s) == -1) {
        redis_server_restart(s, ENDING_MEMORY);
        return;
    }
    if (s->setup == 0 || --s->setup > 0)
        return;
    set_state(s, REDIS_UP);
    redis_subs_up(s);
    s->ending = ENDING_PROTOCOL;
    s->role_ns = clock_ns();
    redis_presence_wake(s->engine);
    engine_log_connected(&s->address, s->down_since_ns);
}

/* --- what comes --- */

static void note_time(const struct redis_call *c)
{
    struct hist *h = &metrics->engine_call_other;

    if (redis_call_is_publication(c))
        h = &metrics->engine_call_publish;
    else if (c->kind == REDIS_HISTORY || c->kind == REDIS_REMOVE)
        h = &metrics->engine_call_history;
    else if (c->kind == REDIS_SUBSCRIBE || c->kind == REDIS_SYNC)
        h = &metrics->engine_call_subscribe;
    else if (c->kind == REDIS_CONTROL)
        h = &metrics->engine_call_control;
    hist_record(h, clock_ns() - c->since_ns);
}

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
        if (c->asking) { /* this answers ASKING */
            c->asking = false;
            return true;
        }
        note_time(c);
        c->replied = true;
        s->nsent--;
        s->sent_bytes -= c->body.len;
        s->answered_ns = s->heard_ns;
        return redis_call_reply(c, value);
    }
    return false;
}

/* Replies come in the order of the calls: the next one's behind n. NULL: nobody's. */
static struct redis_call *next_to_answer(struct redis_server *s, struct list *n)
{
    for (n = n->next; n != &s->sent; n = n->next)
        if (!LIST_ENTRY(n, struct redis_call, link)->replied)
            return LIST_ENTRY(n, struct redis_call, link);
    return NULL;
}

/* The next reply, behind pushes. False: it is not there. */
static bool next_reply(struct redis_server *s, struct str *rest, struct str *value)
{
    ssize_t bytes;

    while ((bytes = resp_scan(&s->scan, *rest)) > 0) {
        *value = (struct str){.p = rest->p, .n = (size_t)bytes};
        *rest = str_skip(*rest, value->n);
        if (value->p[0] != RESP_PUSH)
            return true;
    }
    return false;
}

/* The connection ends because of a call's error. Those behind it that were refused as well have surely not been done. */
static void take_refusals(struct redis_server *s, struct str rest)
{
    struct redis_call *c = next_to_answer(s, &s->sent);
    struct str value;

    while (c != NULL && !redis_call_is_listening(c)) { /* that has several answers, as has ASKING */
        c = next_to_answer(s, &c->link);
        if (c == NULL || c->asking || !next_reply(s, &rest, &value) || value.p[0] != RESP_ERROR)
            return;
        c->refused = !redis_is_inside_script(value);
    }
}

/* Whole values from the front of what has come; where the rest begins. -1: to be ended. */
static ssize_t take_values(struct redis_server *s, struct str in)
{
    const struct engine_wire *wire = s->wire;
    size_t at = 0;

    while (at < in.n) {
        ssize_t n = resp_scan(&s->scan, str_skip(in, at));

        if (n == 0 && resp_scan_bytes(&s->scan) > s->engine->value_max)
            return -1; /* before it is here */
        if (n == 0)
            break;
        if (n < 0)
            return -1;
        if (!take_value(s, (struct str){.p = in.p + at, .n = (size_t)n})) {
            if (s->wire == wire && in.p[at] == RESP_ERROR)
                take_refusals(s, str_skip(in, at + (size_t)n));
            return -1;
        }
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
