/* tests/unit/base/test_metrics.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/metrics.c"

static void gauges_are_reset_counters_stay(void **state UNUSED)
{
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

static void slots_add_up(void **state UNUSED)
{
    static struct metrics a, b;

    a.accepts = 2;
    a.subscriptions = -1;
    a.closes[CLOSE_DRAIN] = 1;
    a.ring_records[METRIC_RECORD_KINDS - 1] = 3;
    hist_record(&a.batch_size, 4);
    metrics_add(&b, &a);
    metrics_add(&b, &a);
    assert_int_equal(b.accepts, 4);
    assert_int_equal(b.subscriptions, -2);
    assert_int_equal(b.closes[CLOSE_DRAIN], 2);
    assert_int_equal(b.ring_records[METRIC_RECORD_KINDS - 1], 6);
    assert_int_equal(b.batch_size.sum, 8);
}

/* One name is one family: rows together, of one kind, help in the first alone, other labels. */
static void families_are_sound(void **state UNUSED)
{
    for (size_t i = 0; i < metric_row_count(); i++) {
        const struct metric_row *row = metric_row(i);
        bool first = i == 0 || strcmp(metric_row(i - 1)->name, row->name) != 0;

        assert_true(strncmp(row->name, "roost_", 6) == 0);
        assert_int_equal(row->help[0] != '\0', first);
        for (size_t k = 0; k < i; k++) {
            if (first)
                assert_string_not_equal(metric_row(k)->name, row->name);
            assert_true(metric_row(k)->offset != row->offset);
            if (strcmp(metric_row(k)->name, row->name) == 0) {
                assert_int_equal(metric_row(k)->kind, row->kind);
                assert_string_not_equal(metric_row(k)->labels, row->labels);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(families_are_sound),
                                       cmocka_unit_test(gauges_are_reset_counters_stay),
                                       cmocka_unit_test(slots_add_up)};
    return cmocka_run_group_tests_name("base/metrics", tests, NULL, NULL);
}
