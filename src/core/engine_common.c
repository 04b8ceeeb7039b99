#include "core/engine_common.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/metrics.h"

#define RETRY_MIN_NS (50 * NS_PER_MS)

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
