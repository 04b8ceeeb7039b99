#include "core/engine_common.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/metrics.h"

#define RETRY_MIN_NS (50 * NS_PER_MS)
#define SPREAD_NS    (2 * NS_PER_SEC) /* over which nodes that lost the same server begin, at most */
#define SOON_NS      (10 * NS_PER_MS) /* what takes no longer is begun at once */
#define RATE_NS      NS_PER_MS        /* between two looks at the rate */
#define PROBE_MISSES 2                /* intervals in which none comes back */

void engine_count_call(enum engine_status status)
{
    switch (status) {
    case ENGINE_OK:
        METRIC_INC(engine_calls_ok);
        break;
    case ENGINE_DUPLICATE:
        METRIC_INC(engine_calls_duplicate);
        break;
    case ENGINE_SUPPRESSED:
        METRIC_INC(engine_calls_suppressed);
        break;
    case ENGINE_UNAVAILABLE:
        METRIC_INC(engine_calls_unavailable);
        break;
    case ENGINE_UNKNOWN:
        METRIC_INC(engine_calls_unknown);
        break;
    case ENGINE_TOO_BIG:
        METRIC_INC(engine_calls_too_big);
        break;
    case ENGINE_REFUSED:
    case ENGINE_STATUS_NR:
        METRIC_INC(engine_calls_refused);
        break;
    }
}

uint64_t engine_chance(uint64_t max)
{
    static uint64_t n;
    uint64_t key[2] = {clock_precise_ns(), ++n};

    return hash_str((struct str){.p = (const char *)key, .n = sizeof(key)}) % (max + 1);
}

uint64_t engine_retry_delay_ns(unsigned attempts, uint64_t max_ns)
{
    uint64_t most = RETRY_MIN_NS << MIN(attempts, 20u);

    return RETRY_MIN_NS / 2 + engine_chance(MIN(most, max_ns));
}

void engine_probe_begin(struct engine_probe *p)
{
    p->heard_ns = clock_ns();
    p->sent_ns = p->before_ns = p->waits_ns = 0;
}

enum engine_probe_step engine_probe_step(struct engine_probe *p, uint64_t answered_ns,
                                         uint64_t interval_ns, uint64_t now_ns)
{
    uint64_t since_ns;

    if (p->unanswered && p->heard_ns >= p->before_ns && now_ns > p->sent_ns &&
        now_ns - p->sent_ns >= interval_ns)
        p->waits_ns = MAX(p->waits_ns, answered_ns);
    since_ns = MAX(p->heard_ns, p->waits_ns);
    if (p->sent_ns != 0 && now_ns > since_ns && now_ns - since_ns > PROBE_MISSES * interval_ns) {
        METRIC_INC(engine_probes_missed);
        return PROBE_MISSED;
    }
    if (p->unanswered)
        return PROBE_WAIT;
    if (p->sent_ns == 0) /* the first one of a connection: at once */
        return PROBE_SEND;
    return now_ns >= MAX(p->sent_ns, since_ns) + interval_ns ? PROBE_SEND : PROBE_WAIT;
}

void engine_probe_sent(struct engine_probe *p, uint64_t now_ns)
{
    p->before_ns = p->sent_ns;
    p->sent_ns = now_ns;
    p->unanswered = true;
}

uint64_t engine_time_ns(uint64_t wall_ms)
{
    uint64_t now_ms = clock_wall_ns() / NS_PER_MS, age_ns;

    age_ns = now_ms > wall_ms ? (now_ms - wall_ms) * NS_PER_MS : 0;
    return clock_ns() > age_ns ? clock_ns() - age_ns : 1;
}

void engine_localise(struct envelope *env, uint64_t node)
{
    env->r.time_ns = engine_time_ns(env->wall_ms);
    if (env->r.kind == RECORD_PUBLICATION)
        hist_record(&metrics->engine_delivery_lag,
                    clock_ns() > env->r.time_ns ? clock_ns() - env->r.time_ns : 0);
    if (env->node == node)
        return;
    env->r.source = RECORD_SOURCE_REMOTE;
    env->r.asker = 0;
    env->r.token = 0;
    env->r.position = 0;
}

void engine_log_gone(const struct engine_address *server, bool news, const char *why)
{
    char text[ENGINE_ADDRESS_TEXT];

    engine_address_format(server, text, sizeof(text));
    if (news)
        LOG(LOG_WARN,
            "the engine's server is gone; clients stay, publications wait for engine_patience",
            KV_S("server", text), KV_S("why", why));
    else
        LOG(LOG_DEBUG, "the engine's server cannot be reached", KV_S("server", text),
            KV_S("why", why));
}

void engine_log_connected(const struct engine_address *server, uint64_t down_since_ns)
{
    char text[ENGINE_ADDRESS_TEXT];

    engine_address_format(server, text, sizeof(text));
    LOG(LOG_INFO, "connected to the engine's server", KV_S("server", text),
        KV_U("ms", (clock_ns() - down_since_ns) / NS_PER_MS));
}

void engine_pace_begin(struct engine_pace *p, uint64_t rate, uint64_t channels)
{
    uint64_t takes = rate > 0 ? channels * NS_PER_SEC / rate : 0;

    p->names_ns = p->next_ns = clock_ns();
    p->names = takes <= SOON_NS ? channels : 0;
    if (takes > SOON_NS)
        p->next_ns += engine_chance(MIN(takes, SPREAD_NS));
}

uint64_t engine_pace_now(struct engine_pace *p, uint64_t rate)
{
    uint64_t now = clock_ns(), more;

    if (now < p->next_ns)
        return 0;
    if (rate == 0)
        return ENGINE_PACE_NAMES;
    more = MIN(now - p->names_ns, NS_PER_SEC) * rate / NS_PER_SEC;
    if (more > 0) {
        p->names = MIN(p->names + more, MAX(ENGINE_PACE_NAMES, rate * RATE_NS / NS_PER_SEC));
        p->names_ns = now;
    }
    if (p->names == 0)
        p->next_ns = now + MAX(RATE_NS, NS_PER_SEC / rate);
    return MIN(p->names, ENGINE_PACE_NAMES);
}

struct str engine_error_text(struct str error)
{
    static const char args[] = "with args";
    const char *at = error.n > 0 ? memmem(error.p, error.n, args, sizeof(args) - 1) : NULL;

    if (at == NULL)
        return error;
    error.n = (size_t)(at - error.p);
    while (error.n > 0 && (error.p[error.n - 1] == ' ' || error.p[error.n - 1] == ','))
        error.n--;
    return error;
}
