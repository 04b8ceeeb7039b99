/* tests/unit/roostload/test_hdr.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "cmd/roostload/hdr.c"

static struct hdr h, other;

static int set_up(void **state UNUSED)
{
    memset(&h, 0, sizeof(h));
    memset(&other, 0, sizeof(other));
    return 0;
}

static void near(uint64_t got, double want)
{
    if (fabs((double)got - want) > want * 0.008 + 1)
        fail_msg("%llu is not near %.0f", (unsigned long long)got, want);
}

static void bounds_are_exact(void **state UNUSED)
{
    for (uint64_t v = 0; v < (UINT64_C(1) << 41); v = v < 1000 ? v + 1 : v + v / 97) {
        size_t b = bucket_of(v);

        assert_true(b < HDR_BUCKETS);
        assert_true(v <= hdr_bound(b));
        assert_true(b == 0 || v > hdr_bound(b - 1));
        assert_true((double)(hdr_bound(b) - v) <= (double)v * 0.008);
    }
    assert_int_equal(bucket_of(UINT64_MAX), HDR_BUCKETS - 1);
}

static void uniform_distribution(void **state UNUSED)
{
    assert_int_equal(hdr_quantile(&h, 0.5), 0);
    for (uint64_t v = 1; v <= 100000; v++)
        hdr_record(&h, v * 1000);
    near(hdr_quantile(&h, 0.5), 50e6);
    near(hdr_quantile(&h, 0.9), 90e6);
    near(hdr_quantile(&h, 0.999), 99.9e6);
    assert_int_equal(hdr_quantile(&h, 1), 100000000);
    near(hdr_quantile(&h, 0), 1000);
}

static void exponential_distribution(void **state UNUSED)
{
    for (int i = 0; i < 200000; i++)
        hdr_record(&h, (uint64_t)(-log(1 - (i + 0.5) / 200000) * 1e6));
    near(hdr_quantile(&h, 0.5), log(2) * 1e6);
    near(hdr_quantile(&h, 0.99), log(100) * 1e6);
    near(h.sum / h.count, 1e6);
}

static void constant_and_huge(void **state UNUSED)
{
    for (int i = 0; i < 10; i++)
        hdr_record(&h, 123456789);
    assert_int_equal(hdr_quantile(&h, 0.01), 123456789); /* never above the true maximum */
    hdr_record(&h, UINT64_MAX / 4);
    assert_true(hdr_quantile(&h, 1) == UINT64_MAX / 4);
}

static void sums_and_intervals(void **state UNUSED)
{
    static struct hdr later;

    hdr_record(&h, 100);
    later = h;
    hdr_record(&later, 5000);
    hdr_record(&later, 7000);
    hdr_diff(&other, &later, &h);
    assert_int_equal(other.count, 2);
    near(other.max, 7000);
    near(hdr_quantile(&other, 0.5), 5000);
    hdr_add(&other, &h);
    assert_int_equal(other.count, 3);
    near(hdr_quantile(&other, 0), 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(bounds_are_exact, set_up),
        cmocka_unit_test_setup(uniform_distribution, set_up),
        cmocka_unit_test_setup(exponential_distribution, set_up),
        cmocka_unit_test_setup(constant_and_huge, set_up),
        cmocka_unit_test_setup(sums_and_intervals, set_up),
    };
    return cmocka_run_group_tests_name("roostload/hdr", tests, NULL, NULL);
}
