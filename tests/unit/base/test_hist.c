/* tests/unit/base/test_hist.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hist.c"

static void every_value_lands_under_its_bound(void **state UNUSED)
{
    for (uint64_t v = 0; v < 100000; v += v < 2000 ? 1 : 97) {
        size_t b = bucket_of(v);

        assert_true(v <= hist_bound(b));
        assert_true(b == 0 || v > hist_bound(b - 1));
    }
    assert_int_equal(bucket_of(UINT64_MAX), HIST_BUCKETS - 1);
    assert_true(hist_bound(HIST_BUCKETS - 1) == UINT64_MAX);
    assert_int_equal(hist_bound(bucket_of(900000000000)), 900000000000);
}

static void quantiles(void **state UNUSED)
{
    static struct hist h, sum;

    assert_int_equal(hist_quantile(&h, 0.5), 0);
    for (uint64_t v = 1; v <= 1000; v++)
        hist_record(&h, v);
    assert_int_equal(hist_quantile(&h, 0), 1);
    assert_int_equal(hist_quantile(&h, 0.5), 500);
    assert_int_equal(hist_quantile(&h, 0.99), 1000);
    assert_int_equal(hist_quantile(&h, 1), 1000);
    hist_record_n(&sum, 7, 5);
    hist_add(&sum, &h);
    assert_int_equal(sum.count, 1005);
    assert_int_equal(sum.sum, 500500 + 35);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_value_lands_under_its_bound),
                                       cmocka_unit_test(quantiles)};
    return cmocka_run_group_tests_name("base/hist", tests, NULL, NULL);
}
