/* core/engine_redis_tick.c - what a server's connection does as time passes: calls that have waited too long
 * end, what waits is sent, a connection that is silent or delivers nothing is replaced. */
#include "engine_redis_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

#define OUT_MAX ((size_t)1 << 20) /* bytes handed to the connection in one round */
#define ROLE_NS (5 * NS_PER_SEC)

/* What has waited for longer than patience lasts. */
static void expire_waiting(struct redis_server *s, uint64_t now_ns)
{
    struct list *n, *next;

    if (s->state == REDIS_UP || now_ns - s->down_since_ns <= s->engine->s.patience_ns)
        return;
    for (n = s->waiting.next; n != &s->waiting; n = next) {
        struct redis_call *c = LIST_ENTRY(n, struct redis_call, link);

        next = n->next;
        if (now_ns - c->since_ns <= s->engine->s.patience_ns)
            continue;
        redis_call_fail(c, c->repeat ? ENGINE_UNKNOWN : ENGINE_UNAVAILABLE);
    }
}

static void send_waiting(struct redis_server *s)
{
    while (!list_empty(&s->waiting) && s->nsent < s->engine->s.window &&
           s->sent_bytes < s->engine->s.queue_bytes && s->out.len < OUT_MAX &&
           s->engine->wires->queued(s->wire) < s->engine->s.queue_bytes)
        redis_call_send(LIST_ENTRY(s->waiting.next, struct redis_call, link));
    memset(s->open, 0, sizeof(s->open));
}

void redis_server_heard_itself(struct redis_server *s)
{
    s->probe.heard_ns = clock_ns();
    engine_shard_heard(s->shard);
}

static void probe(struct redis_server *s, uint64_t now_ns)
{
    if (!redis_server_listens(s))
        return;
    switch (engine_probe_step(&s->probe, s->answered_ns, s->engine->s.probe_ns, now_ns)) {
    case PROBE_MISSED:
        redis_server_restart(s, ENDING_PROBE);
        break;
    case PROBE_SEND:
        if (redis_call_new(s, REDIS_PROBE, STR_NULL) != NULL)
            engine_probe_sent(&s->probe, now_ns);
        break;
    case PROBE_WAIT:
        break;
    }
}

/* Is it still a master? A demoted one that stays reachable delivers what is published to it, and nothing of what is
 * published to the others; so what this node publishes to itself would come back. A cluster says itself who is, but
 * by what a server is told from others is told here. */
static void ask_role(struct redis_server *s, uint64_t now_ns)
{
    if (now_ns - s->role_ns < ROLE_NS)
        return;
    s->role_ns = now_ns;
    if (redis_call_new(s, REDIS_INFO, STR_NULL) == NULL)
        s->role_ns = 0; /* no memory: in the next round */
}

/* It writes nothing now, as it is full, cannot save, or is without its replicas; scripts' errors have it
 * anywhere in them. */
bool redis_is_full(struct str error)
{
    static const char *const words[] = {"OOM command", "MISCONF ", "NOREPLICAS "};

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (memmem(error.p, error.n, words[i], strlen(words[i])) != NULL)
            return true;
    return false;
}

bool redis_is_inside_script(struct str error)
{
    return memmem(error.p, error.n, "user_script", 11) != NULL;
}

void redis_degraded(struct redis_server *s, const char *text)
{
    if (s->degraded)
        return;
    s->degraded = true;
    engine_shard_set(s->shard, SHARD_DEGRADED, text);
    LOG(LOG_WARN, "the engine's server takes no writes: what is kept is refused, the rest goes on",
        KV_S("why", text));
}

void redis_written(struct redis_server *s)
{
    if (LIKELY(!s->degraded))
        return;
    s->degraded = false;
    engine_shard_set(s->shard, s->restored ? SHARD_UP : SHARD_RESTORING, NULL);
    LOG(LOG_INFO, "the engine's server takes writes again");
}

/* It is subscribed to everything again. */
static void restored(struct redis_server *s)
{
    if (s->restored)
        return;
    s->restored = true;
    if (!s->degraded)
        engine_shard_set(s->shard, SHARD_UP, NULL);
    if (s->engine->subs.count > 0)
        hist_record(&metrics->engine_resubscribe, clock_ns() - s->up_ns);
}

/* The oldest call is overdue. Replies come in the order of the calls: while some come, it is not
 * forgotten, there is only much to do. Pushes do not count, for they come also when what this node
 * sends does not arrive; one that is missing behind a reply, the echo, is overdue whatever else comes. */
static bool is_overdue(const struct redis_server *s, uint64_t now_ns)
{
    const struct redis_call *c = LIST_ENTRY(s->sent.next, struct redis_call, link);
    uint64_t since_ns;

    if (list_empty(&s->sent))
        return false;
    since_ns = c->replied ? c->since_ns : MAX(c->since_ns, s->answered_ns);
    return since_ns < now_ns && now_ns - since_ns > s->engine->s.timeout_ns;
}

/* Of one that is DOWN: patience ends on time, too. */
static uint64_t sleep_until(const struct redis_server *s, uint64_t now_ns)
{
    uint64_t end = s->down_since_ns + s->engine->s.patience_ns + 1;

    return end > now_ns ? MIN(end, s->retry_ns) : s->retry_ns;
}

static uint64_t server_tick(struct redis_server *s, uint64_t now_ns)
{
    uint64_t timeout = s->engine->s.timeout_ns;

    expire_waiting(s, now_ns);
    if (redis_server_given_up(s) && redis_subs_give_up(s))
        return now_ns;
    if (s->state == REDIS_DOWN) {
        if (now_ns < s->retry_ns)
            return sleep_until(s, now_ns);
        redis_server_begin(s);
    } else if ((s->state != REDIS_UP && now_ns - s->heard_ns > timeout) || is_overdue(s, now_ns)) {
        redis_server_restart(s, ENDING_TIMEOUT);
    }
    if (s->state == REDIS_UP) {
        redis_resubscribe(s);
        if (redis_subs_restored(s))
            restored(s);
        ask_role(s, now_ns);
        probe(s, now_ns);
    }
    if (s->state == REDIS_UP)
        send_waiting(s);
    if (s->state >= REDIS_SETTING_UP)
        redis_server_flush(s);
    if (s->state == REDIS_DOWN)
        return sleep_until(s, now_ns);
    if (s->state == REDIS_UP && !redis_subs_restored(s) && s->pace.next_ns > now_ns)
        return s->pace.next_ns;
    return now_ns + MIN(timeout, s->engine->s.probe_ns) / 4;
}

uint64_t redis_server_tick(struct redis_server *s, uint64_t now_ns)
{
    uint64_t next = server_tick(s, now_ns), sentinels;

    if (s->sentinels == NULL)
        return next;
    sentinels = redis_sentinels_tick(s->sentinels, now_ns);
    return MIN(s->state == REDIS_DOWN ? s->retry_ns : next, sentinels);
}
