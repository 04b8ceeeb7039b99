/* tests/unit/roostload/test_series.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cmd/roostload/hdr.c"
#include "cmd/roostload/series.c"
#include "cmd/roostload/shared.c"

static struct results r;

static void run(unsigned seconds)
{
    assert_int_equal(series_init(&r), 0);
    for (unsigned i = 1; i <= seconds; i++) {
        struct second s = {.at_s = i, .ready = i, .length_s = 1, .cpu = i, .max = i % 100};

        s.counts.messages_in = i;
        s.counts.gaps = i % 2 ? 1 : -1;
        series_add(&r, &s);
        assert_true(r.now.at_s == i);
        assert_true(r.nseconds <= SERIES_MAX);
    }
}

static void every_second_has_its_row(void **state UNUSED)
{
    run(SERIES_MAX);
    assert_int_equal(r.nseconds, SERIES_MAX);
    assert_int_equal(r.row_seconds, 1);
    for (unsigned i = 0; i < r.nseconds; i++)
        assert_int_equal(r.seconds[i].counts.messages_in, i + 1);
    free(r.seconds);
}

/* The rows cover all of the time without a hole, and the mean over them is that of the seconds. */
static void long_runs_have_longer_rows(void **state UNUSED)
{
    static const unsigned lengths[] = {SERIES_MAX + 1, SERIES_MAX + 2, 2 * SERIES_MAX,
                                       2 * SERIES_MAX + 1, 5 * SERIES_MAX + 7};

    for (size_t k = 0; k < ARRAY_LEN(lengths); k++) {
        double sum = 0, before = 0;
        int64_t messages = 0, gaps = 0;

        run(lengths[k]);
        for (size_t i = 0; i < r.nseconds; i++) {
            const struct second *s = &r.seconds[i];
            double length = s->at_s - before;

            assert_true(length == r.row_seconds || i == r.nseconds - 1);
            assert_true(s->ready == (uint64_t)s->at_s);
            assert_true(s->length_s == length);
            sum += s->cpu * length;
            messages += s->counts.messages_in;
            gaps += s->counts.gaps;
            before = s->at_s;
        }
        assert_true(before == lengths[k]);
        assert_true(sum == (double)lengths[k] * (lengths[k] + 1) / 2);
        assert_int_equal(messages, (int64_t)lengths[k] * (lengths[k] + 1) / 2);
        assert_int_equal(gaps, lengths[k] % 2);
        assert_int_equal(r.row_seconds, k < 3 ? 2 : k == 3 ? 4 : 8);
        assert_int_equal(r.seconds[r.row_seconds == 8 ? 12 : 0].max,
                         r.row_seconds == 8 ? 99 : r.row_seconds); /* seconds 97 to 104 */
        free(r.seconds);
    }
}

/* What a message waited before it was sent does not lengthen the wait for the last ones. */
static void what_the_grace_waits_for(void **state UNUSED)
{
    static struct load_metrics m;

    assert_int_equal(grace_quiet_ns(&m), 0);
    m.messages_out = 1;
    assert_int_equal(grace_quiet_ns(&m), GRACE_QUIET_NS);
    m.delivery.max = m.echo.max = 60 * NS_PER_SEC;
    assert_int_equal(grace_quiet_ns(&m), GRACE_QUIET_NS);
    m.delivery_uncorrected.max = NS_PER_SEC;
    assert_int_equal(grace_quiet_ns(&m), 2 * NS_PER_SEC);
    m.echo_uncorrected.max = 2 * NS_PER_SEC;
    assert_int_equal(grace_quiet_ns(&m), 4 * NS_PER_SEC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_second_has_its_row),
                                       cmocka_unit_test(long_runs_have_longer_rows),
                                       cmocka_unit_test(what_the_grace_waits_for)};
    return cmocka_run_group_tests_name("roostload/series", tests, NULL, NULL);
}
