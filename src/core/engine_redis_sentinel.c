/* core/engine_redis_sentinel.c - where the master is, as Redis Sentinels say.
 *
 * Happy path: 1. the server wants to connect and has no answer of its own: wanted · 2. one Sentinel is asked
 * (GET-MASTER-ADDR-BY-NAME) · 3. the answer: the server connects there and looks whether that is a master · 4. the
 * connection to the Sentinel stays: it is asked again every few seconds, and at once when it announces another master
 * (+switch-master); a server that is connected elsewhere then leaves, whether that answers or not.
 * can fail: a Sentinel that is away, silent, refuses or does not know the master: the next one is asked. All of them:
 * calls wait and are given up as for a server that is away. One that is cut off from the others goes on naming a server
 * that is dead or no master any more: when what it names could not be used for some times, the next one is asked, too. */
#include "engine_redis_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

#define POLL_NS   (5 * NS_PER_SEC)
#define RETRY_NS  (100 * NS_PER_MS) /* between two Sentinels that are of no use, and two questions */
#define AWAY_NS   NS_PER_SEC /* at the most, between two when none is of use: all nodes ask */
#define VALUE_MAX ((size_t)64 * 1024) /* bytes that one of them may say at once */
#define WAIT_NS   NS_PER_SEC          /* for one of them to answer, if engine_timeout is not less */
#define MISTAKES  3 /* of one of them; while a failover is under way, all make some */

struct redis_sentinels {
    struct redis_server *server; /* borrowed: whose they are */
    struct engine_address *at;   /* owned; n of them */
    unsigned n, current, failed; /* failed: since one has answered */
    unsigned mistakes;           /* of the current one, since a server that it names was up */
    char name[sizeof(((struct engine_address *)0)->master)]; /* of the master */
    struct engine_wire *wire;                                /* owned; NULL: none */
    bool opened, greeted;
    bool wanted; /* the server waits for an answer */
    bool fresh;  /* there is one that it has not used */
    struct engine_address master;
    struct buf in;
    struct resp_scan scan;
    uint64_t began_ns, asked_ns, retry_ns, poll_ns; /* asked_ns 0: nothing is asked */
};

struct redis_sentinels *redis_sentinels_new(struct redis_server *s,
                                            const struct engine_address *all, unsigned n)
{
    struct redis_sentinels *t = calloc(1, sizeof(*t));

    if (t == NULL || (t->at = calloc(n, sizeof(*t->at))) == NULL) {
        free(t);
        return NULL;
    }
    t->server = s;
    memcpy(t->name, s->address.master, sizeof(t->name));
    for (unsigned i = 0; i < n; i++)
        if (engine_address_same_master(&all[i], &s->address))
            t->at[t->n++] = all[i];
    t->current = t->n - 1; /* the first one is next */
    return t;
}

void redis_sentinels_free(struct redis_sentinels *t)
{
    if (t == NULL)
        return;
    if (t->wire != NULL)
        t->server->engine->wires->close(t->wire);
    buf_fini(&t->in);
    free(t->at);
    free(t);
}

/* Sooner while some have not been asked. */
static uint64_t pause_ns(const struct redis_sentinels *t)
{
    uint64_t most = MIN(AWAY_NS, t->server->engine->s.reconnect_max_ns);

    return MAX(RETRY_NS, engine_retry_delay_ns(t->failed / t->n, most));
}

/* Whoever looks why there is no server sees it; in the log each of them stands once between two
 * answers. */
static void tell(const struct redis_sentinels *t, const char *why)
{
    char name[ENGINE_ADDRESS_TEXT], text[ENGINE_ADDRESS_TEXT + 160];

    engine_address_format(&t->at[t->current], name, sizeof(name));
    if (t->failed < t->n)
        LOG(t->wanted ? LOG_WARN : LOG_INFO, "a Sentinel is of no use, the next one is asked",
            KV_S("sentinel", name), KV_S("why", why));
    if (!t->wanted || t->server->state != REDIS_DOWN)
        return;
    snprintf(text, sizeof(text), "no Sentinel says where it is; %s: %s", name, why);
    engine_shard_set(t->server->shard, SHARD_DOWN, text);
}

/* The next one is asked after a moment. */
static void part(struct redis_sentinels *t)
{
    struct engine_wire *w = t->wire;

    t->wire = NULL;
    t->opened = t->greeted = false;
    t->asked_ns = 0;
    t->mistakes = 0;
    buf_clear(&t->in);
    t->scan = (struct resp_scan){0};
    t->retry_ns = clock_ns() + pause_ns(t);
    if (w != NULL)
        t->server->engine->wires->close(w);
}

/* This one is of no use. */
static void leave(struct redis_sentinels *t, const char *why)
{
    tell(t, why);
    t->failed++;
    part(t);
}

void redis_sentinels_mistaken(struct redis_sentinels *t)
{
    char name[ENGINE_ADDRESS_TEXT];

    if (t->n == 1 || t->wire == NULL || t->fresh || ++t->mistakes < MISTAKES)
        return;
    engine_address_format(&t->at[t->current], name, sizeof(name));
    if (t->server->attempts <= t->n * MISTAKES + 1) /* each once */
        LOG(LOG_INFO, "what a Sentinel names cannot be used, the next one is asked",
            KV_S("sentinel", name));
    part(t);
}

/* --- questions --- */

static int write_greeting(const struct redis_sentinels *t, struct buf *out)
{
    const struct engine_settings *s = &t->server->engine->s;
    bool named = s->sentinel_user[0] != '\0', auth = named || s->sentinel_password[0] != '\0';
    const char *user = named ? s->sentinel_user : "default";

    if (!auth && resp_write(out, 2, "HELLO", "3") == -1)
        return -1;
    if (auth && resp_write(out, 5, "HELLO", "3", "AUTH", user, s->sentinel_password) == -1)
        return -1;
    return resp_write(out, 2, "SUBSCRIBE", "+switch-master");
}

static void send_out(struct redis_sentinels *t, struct buf *out, bool good)
{
    if (!good || t->server->engine->wires->send(t->wire, buf_view(out)) == -1)
        leave(t, "no memory, or the connection has ended");
    buf_fini(out);
}

static void ask(struct redis_sentinels *t)
{
    struct buf out = {0};
    bool good = resp_write(&out, 3, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", t->name) == 0;

    t->asked_ns = clock_ns();
    t->poll_ns = t->asked_ns + POLL_NS;
    send_out(t, &out, good);
}

bool redis_sentinels_master(struct redis_sentinels *t, struct engine_address *out)
{
    if (!t->fresh) {
        t->wanted = true;
        return false;
    }
    t->fresh = false;
    *out = t->master;
    return true;
}

/* --- answers --- */

static void answered(struct redis_sentinels *t, struct str host, uint16_t port)
{
    struct redis_server *s = t->server;
    struct engine_address to = t->at[t->current];
    char text[ENGINE_ADDRESS_TEXT];

    to.scheme = ENGINE_SCHEME_REDIS;
    to.port = port;
    if (host.n == 0 || str_copy(host, to.host, sizeof(to.host)) == -1) {
        leave(t, "the name of the master is too long");
        return;
    }
    t->master = to;
    t->failed = 0;
    if (s->state == REDIS_DOWN) {
        t->fresh = t->wanted;
        t->wanted = false;
        if (t->fresh)
            s->retry_ns = clock_ns();
        return;
    }
    if (strcmp(to.host, s->address.host) == 0 && to.port == s->address.port) {
        if (s->state == REDIS_UP)
            t->mistakes = 0;
        return;
    }
    engine_address_format(&to, text, sizeof(text));
    LOG(LOG_WARN, "Sentinel names another master", KV_S("name", t->name), KV_S("server", text));
    METRIC_INC(engine_failovers);
    t->fresh = true;
    redis_server_restart(s, ENDING_MOVED);
    s->retry_ns = clock_ns();
}

static void take_reply(struct redis_sentinels *t, struct str value)
{
    struct resp_node node;
    struct str rest = value, host, port;
    uint64_t number;
    char text[120];

    if (!resp_next(&rest, &node)) {
        leave(t, "it does not speak as expected");
    } else if (node.type == RESP_ERROR || node.type == RESP_BULK_ERROR) {
        rest = engine_error_text(node.text);
        snprintf(text, sizeof(text), "%.*s", STR_ARG(rest));
        leave(t, text);
    } else if (!t->greeted) {
        t->greeted = true;
    } else if (node.type == RESP_ARRAY && node.n == 2 && resp_next_text(&rest, &host) &&
               resp_next_text(&rest, &port) && str_to_u64(port, &number) == 0 && number > 0 &&
               number <= UINT16_MAX) {
        t->asked_ns = 0;
        answered(t, host, (uint16_t)number);
    } else {
        leave(t, "it does not know a master of that name");
    }
}

/* "message", "+switch-master", "NAME OLD-HOST OLD-PORT NEW-HOST NEW-PORT" */
static void take_push(struct redis_sentinels *t, struct str value)
{
    struct resp_node node;
    struct str kind, channel, text, name;

    if (!resp_next(&value, &node) || node.n != 3 || !resp_next_text(&value, &kind) ||
        !str_equal(kind, STR_LIT("message")) || !resp_next_text(&value, &channel) ||
        !resp_next_text(&value, &text) || !str_cut(&text, ' ', &name) ||
        !str_equal(name, str_from(t->name)))
        return;
    t->wanted |= t->server->state == REDIS_DOWN;
    t->poll_ns = 0; /* what it says now counts, not what it said */
    if (t->asked_ns == 0)
        ask(t);
}

static void on_opened(void *peer)
{
    struct redis_sentinels *t = peer;
    struct buf out = {0};
    bool good = write_greeting(t, &out) == 0;

    t->opened = true;
    send_out(t, &out, good);
    if (t->wire != NULL)
        ask(t);
}

static void on_closed(void *peer, const char *why)
{
    struct redis_sentinels *t = peer;

    t->wire = NULL;
    leave(t, why);
}

static void on_received(void *peer, struct str bytes)
{
    struct redis_sentinels *t = peer;
    size_t at = 0;

    if (buf_append(&t->in, bytes) == -1) {
        leave(t, "no memory");
        return;
    }
    while (at < t->in.len) {
        struct str value = str_skip(buf_view(&t->in), at);
        ssize_t n = resp_scan(&t->scan, value);

        if (n == 0 && resp_scan_bytes(&t->scan) <= VALUE_MAX)
            break;
        value.n = n > 0 ? (size_t)n : 0;
        if (n <= 0)
            leave(t, "it does not speak as expected");
        else if (value.p[0] == RESP_PUSH)
            take_push(t, value);
        else
            take_reply(t, value);
        if (t->wire == NULL)
            return;
        at += value.n;
    }
    buf_drop(&t->in, at);
}

static const struct engine_wire_events sentinel_events = {
    .opened = on_opened, .received = on_received, .closed = on_closed};

/* --- as time passes --- */

static void connect_next(struct redis_sentinels *t, uint64_t now_ns)
{
    struct redis *e = t->server->engine;

    t->current = (t->current + 1) % t->n;
    t->began_ns = now_ns;
    t->wire = e->wires->open(e->arg, &t->at[t->current], &sentinel_events, t);
    if (t->wire == NULL)
        t->retry_ns = now_ns + RETRY_NS;
}

uint64_t redis_sentinels_tick(struct redis_sentinels *t, uint64_t now_ns)
{
    uint64_t wait = MIN(t->server->engine->s.timeout_ns, WAIT_NS);

    if (t->wire == NULL) {
        if (now_ns >= t->retry_ns)
            connect_next(t, now_ns);
    } else if ((!t->opened && now_ns - t->began_ns > wait) ||
               (t->asked_ns != 0 && now_ns - t->asked_ns > wait)) {
        leave(t, "it does not answer in time");
    } else if (t->opened && t->asked_ns == 0 && (t->wanted || now_ns >= t->poll_ns)) {
        ask(t);
    }
    if (t->wire == NULL)
        return MAX(t->retry_ns, now_ns);
    return MIN(t->opened ? t->poll_ns : UINT64_MAX, now_ns + wait / 4);
}
