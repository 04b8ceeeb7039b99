/* tests/unit/roostload/test_zipf.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cmd/roostload/zipf.c"

#define SAMPLES 200000

static uint64_t state = 1;

static uint64_t next(void)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * UINT64_C(2685821657736338717);
}

static uint64_t extreme;

static uint64_t the_same(void)
{
    return extreme;
}

static void sums(void **unused)
{
    (void)unused;
    assert_true(fabs(zipf_sum(1) - 1) < 1e-12);
    assert_true(fabs(zipf_sum(4) - 25.0 / 12) < 1e-12);
    assert_true(fabs(zipf_sum(1000000) - 14.392726722865724) < 1e-9);
}

/* Each rank is within five standard deviations of its share. */
static void shares(void **unused)
{
    static const uint64_t sizes[] = {1, 2, 3, 10, 1000};
    static uint64_t count[1000];

    (void)unused;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        uint64_t n = sizes[i];
        double sum = zipf_sum(n);

        memset(count, 0, sizeof(count));
        for (int k = 0; k < SAMPLES; k++) {
            uint64_t r = zipf_pick(n, next);

            assert_true(r < n);
            count[r]++;
        }
        for (uint64_t r = 0; r < n; r++) {
            double share = 1 / (double)(r + 1) / sum, mean = share * SAMPLES;

            if (fabs((double)count[r] - mean) > 5 * sqrt(mean * (1 - share)) + 1)
                fail_msg("rank %d of %d: %d, expected %f", (int)r, (int)n, (int)count[r], mean);
        }
    }
}

static void many_ranks(void **unused)
{
    uint64_t n = 10000000, first = 0, upper = 0;
    double sum = zipf_sum(n), half = log(2); /* of ranks n/4 to n/2 */

    (void)unused;
    for (int k = 0; k < SAMPLES; k++) {
        uint64_t r = zipf_pick(n, next);

        assert_true(r < n);
        first += r == 0;
        upper += r >= n / 4 && r < n / 2;
    }
    assert_true(fabs((double)first - SAMPLES / sum) < 5 * sqrt(SAMPLES / sum));
    assert_true(fabs((double)upper - SAMPLES * half / sum) < 5 * sqrt(SAMPLES * half / sum));
}

static void edges(void **unused)
{
    (void)unused;
    extreme = 0;
    assert_int_equal(zipf_pick(1000, the_same), 999);
    extreme = UINT64_MAX;
    assert_int_equal(zipf_pick(1000, the_same), 0);
    assert_int_equal(zipf_pick(1, the_same), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sums), cmocka_unit_test(shares),
                                       cmocka_unit_test(many_ranks), cmocka_unit_test(edges)};
    return cmocka_run_group_tests_name("roostload/zipf", tests, NULL, NULL);
}
