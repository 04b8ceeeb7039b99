/* tests/unit/base/test_metrics.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/metrics.c"

static void gauges_are_reset_counters_stay(void **state)
{
    (void)state;
    METRIC_INC(accepts);
    METRIC_ADD(closes[CLOSE_SLOW], 3);
    metrics->subscriptions = 5;
    hist_record(&metrics->turn_duration, 7);
    metrics_reset_gauges(metrics);
    assert_int_equal(metrics->accepts, 1);
    assert_int_equal(metrics->closes[CLOSE_SLOW], 3);
    assert_int_equal(metrics->subscriptions, 0);
    assert_int_equal(metrics->turn_duration.count, 1);
}

static void slots_add_up(void **state)
{
    static struct metrics a, b;

    (void)state;
    a.accepts = 2;
    a.subscriptions = -1;
    a.closes[CLOSE_DRAIN] = 1;
    hist_record(&a.batch_size, 4);
    metrics_add(&b, &a);
    metrics_add(&b, &a);
    assert_int_equal(b.accepts, 4);
    assert_int_equal(b.subscriptions, -2);
    assert_int_equal(b.closes[CLOSE_DRAIN], 2);
    assert_int_equal(b.batch_size.sum, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(gauges_are_reset_counters_stay),
                                       cmocka_unit_test(slots_add_up)};
    return cmocka_run_group_tests_name("base/metrics", tests, NULL, NULL);
}
