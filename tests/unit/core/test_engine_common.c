/* core/engine_common: attempts come later and later and by chance, what another node says is made this
 * node's, how calls ended is counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/engine_common.c"

static void attempts_are_spread_and_bounded(void **state)
{
    const uint64_t max = 5 * NS_PER_SEC;

    (void)state;
    for (unsigned attempts = 0; attempts < 200; attempts++) {
        uint64_t most = MIN(RETRY_MIN_NS << MIN(attempts, 20u), max);
        uint64_t delay = engine_retry_delay_ns(attempts, max);

        assert_in_range(delay, RETRY_MIN_NS / 2, RETRY_MIN_NS / 2 + most);
    }
    assert_int_equal(engine_chance(0), 0);
}

static void another_nodes_connections_mean_nothing(void **state)
{
    const struct envelope sent = {
        .node = 7, .r = {.source = 3, .asker = 2, .token = 9, .position = 77, .generation = 1}};
    struct envelope own = sent, others = sent;

    (void)state;
    clock_set_virtual(100 * NS_PER_SEC);
    own.wall_ms = others.wall_ms = clock_wall_ns() / NS_PER_MS - 5;
    engine_localise(&own, 7);
    engine_localise(&others, 8);
    assert_true(own.r.source == 3 && own.r.token == 9 && own.r.position == 77);
    assert_int_equal(others.r.source, RECORD_SOURCE_REMOTE);
    assert_true(others.r.token == 0 && others.r.position == 0 && others.r.asker == 0);
    assert_in_range(others.r.time_ns, clock_ns() - 6 * NS_PER_MS, clock_ns() - 5 * NS_PER_MS);
}

static void a_time_is_never_nothing(void **state)
{
    (void)state;
    clock_set_virtual(NS_PER_SEC);
    assert_int_equal(engine_time_ns(0), 1);
    assert_int_equal(engine_time_ns(UINT64_MAX), clock_ns());
}

static void ends_are_counted(void **state)
{
    (void)state;
    memset(metrics, 0, sizeof(*metrics));
    for (int i = 0; i < ENGINE_STATUS_NR; i++)
        engine_count_call((enum engine_status)i);
    assert_true(metrics->engine_calls_ok == 1 && metrics->engine_calls_duplicate == 1);
    assert_true(metrics->engine_calls_suppressed == 1 && metrics->engine_calls_unavailable == 1);
    assert_true(metrics->engine_calls_unknown == 1 && metrics->engine_calls_too_big == 1);
    assert_int_equal(metrics->engine_calls_refused, 1);
}

static enum engine_probe_step look(struct engine_probe *p, uint64_t answered_s, uint64_t now_s)
{
    return engine_probe_step(p, answered_s * NS_PER_SEC, 5 * NS_PER_SEC, now_s * NS_PER_SEC);
}

static void a_probe_is_missed_when_only_it_is_late(void **state)
{
    struct engine_probe p = {0};

    (void)state;
    memset(metrics, 0, sizeof(*metrics));
    clock_set_virtual(100 * NS_PER_SEC);
    engine_probe_begin(&p);
    assert_int_equal(look(&p, 100, 100), PROBE_SEND);
    engine_probe_sent(&p, 100 * NS_PER_SEC);
    assert_int_equal(look(&p, 104, 104), PROBE_WAIT); /* others are answered */
    assert_int_equal(look(&p, 113, 114), PROBE_WAIT);
    assert_int_equal(look(&p, 113, 123), PROBE_WAIT);
    assert_int_equal(look(&p, 123, 124), PROBE_WAIT);
    p.unanswered = false; /* it is there: now it must come back */
    assert_int_equal(look(&p, 124, 129), PROBE_SEND);
    engine_probe_sent(&p, 129 * NS_PER_SEC);
    p.unanswered = false;
    assert_int_equal(look(&p, 133, 133), PROBE_WAIT);
    assert_int_equal(look(&p, 134, 134), PROBE_MISSED);
    engine_probe_begin(&p);
    engine_probe_sent(&p, 100 * NS_PER_SEC);
    assert_int_equal(look(&p, 100, 110), PROBE_WAIT);
    assert_int_equal(look(&p, 100, 111), PROBE_MISSED); /* nothing is answered */
    assert_int_equal(metrics->engine_probes_missed, 2);
}

/* Each is answered later than the next one would be due, and none comes back. */
static void who_is_deaf_and_slow_is_found_out(void **state)
{
    struct engine_probe p = {0};
    uint64_t sent_s = 0, end_s = 0;

    (void)state;
    memset(metrics, 0, sizeof(*metrics));
    clock_set_virtual(100 * NS_PER_SEC);
    engine_probe_begin(&p);
    for (uint64_t s = 100; s < 200 && end_s == 0; s++) {
        if (p.unanswered && s >= sent_s + 6)
            p.unanswered = false;
        switch (look(&p, s, s)) {
        case PROBE_SEND:
            engine_probe_sent(&p, s * NS_PER_SEC);
            sent_s = s;
            break;
        case PROBE_MISSED:
            end_s = s;
            break;
        case PROBE_WAIT:
            break;
        }
    }
    assert_in_range(end_s, 110, 140);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attempts_are_spread_and_bounded),
        cmocka_unit_test(another_nodes_connections_mean_nothing),
        cmocka_unit_test(a_time_is_never_nothing),
        cmocka_unit_test(ends_are_counted),
        cmocka_unit_test(a_probe_is_missed_when_only_it_is_late),
        cmocka_unit_test(who_is_deaf_and_slow_is_found_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
