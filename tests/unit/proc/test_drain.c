/* tests/unit/proc/test_drain.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proc/drain.c"

static void the_way_down(void **state UNUSED)
{
    const uint64_t s = NS_PER_SEC;

    assert_int_equal(drain_most(100, 20, 0, 8 * s), 100);
    assert_int_equal(drain_most(100, 20, s, 8 * s), 90);
    assert_int_equal(drain_most(100, 20, 8 * s - 1, 8 * s), 21);
    assert_int_equal(drain_most(100, 20, 8 * s, 8 * s), 20);
    assert_int_equal(drain_most(100, 20, 80 * s, 8 * s), 20);
    assert_int_equal(drain_most(100, 20, 0, 0), 20);
    assert_int_equal(drain_most(10, 20, 0, 8 * s), 20); /* nobody has to go */
    assert_int_equal(drain_most(UINT32_MAX, 0, s / 2, s), UINT32_MAX / 2 + 1);
    assert_int_equal(drain_most(5, 0, UINT64_MAX, UINT64_MAX), 0);
}

static void tell_nobody(uint64_t *told)
{
    for (unsigned i = 0; i < 4; i++)
        told[i] = UINT64_MAX;
}

/* In sum exactly what may stay, and nobody gets more than it has. */
static void each_has_its_part(void **state UNUSED)
{
    static const uint64_t have[][4] = {{10, 10, 10, 10},
                                       {1, 0, 0, 39},
                                       {3, 3, 3, 1},
                                       {0, 0, 0, 5},
                                       {UINT32_MAX, UINT32_MAX, UINT32_MAX, 1}};
    uint64_t told[4];

    for (size_t k = 0; k < ARRAY_LEN(have); k++) {
        uint64_t all = have[k][0] + have[k][1] + have[k][2] + have[k][3];

        for (uint64_t most = 0; most < MIN(all, UINT64_C(60)); most++) {
            uint64_t sum = 0;

            tell_nobody(told);
            drain_share(most, have[k], 4, told);
            for (unsigned i = 0; i < 4; i++) {
                assert_true(told[i] <= have[k][i]);
                sum += told[i];
            }
            assert_int_equal(sum, most);
        }
        tell_nobody(told);
        drain_share(all, have[k], 4, told);
        assert_true(told[0] == UINT64_MAX && told[3] == UINT64_MAX);
    }
    tell_nobody(told);
    drain_share(20, have[0], 4, told);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(told[i], 5);
}

/* One by one, as a slow drain goes: nobody is emptied before the others. */
static void the_shares_stay_even(void **state UNUSED)
{
    uint64_t have[4] = {1000, 1000, 2000, 0}, told[4];

    tell_nobody(told);
    for (uint64_t most = 4000; most >= 400; most--) {
        drain_share(most, have, 4, told);
        for (unsigned i = 0; i < 4; i++)
            have[i] = MIN(have[i], told[i]);
        assert_in_range(have[1] + 1, have[0], have[0] + 2);
        assert_true(have[2] + 1 >= have[0]);
        assert_int_equal(have[0] + have[1] + have[2] + have[3], most);
    }
}

/* Workers do what they are told when they have their turn, each at its own pace; some leave by
 * themselves. No order of this makes more go than have to. */
static void a_worker_that_is_late_costs_the_others_nothing(void **state UNUSED)
{
    for (unsigned seed = 1; seed <= 500; seed++) {
        uint64_t have[4] = {20, 20, 20, 3}, said[4] = {20, 20, 20, 3}, told[4], all = 0, left = 0;
        unsigned n = seed;

        tell_nobody(told);
        for (uint64_t most = 63; most >= 17; most--) {
            drain_share(most, said, 4, told);
            for (unsigned i = 0; i < 4; i++) {
                n = n * 1103515245 + 12345;
                if ((n >> 16) % 3 == 0)
                    have[i] = MIN(have[i], told[i]); /* has a turn */
                if ((n >> 20) % 3 == 0)
                    said[i] = have[i];
            }
        }
        if (seed % 2 == 0 && have[0] > 2) { /* at the very end two leave by themselves */
            have[0] -= 2;
            left = 2;
        }
        for (unsigned i = 0; i < 4; i++) {
            said[i] = have[i];
            drain_share(17, said, 4, told);
        }
        for (unsigned i = 0; i < 4; i++)
            all += MIN(have[i], told[i]);
        assert_in_range(all, 17 - left, 17);
    }
}

static bool good(const char *query, struct wish *w)
{
    return parse_wish(str_from(query), w) == 0;
}

static void what_is_asked_for(void **state UNUSED)
{
    struct wish w;

    config_defaults(&config);
    assert_int_equal(parse_wish((struct str){.p = NULL}, &w), 0);
    assert_true(w.leave == 0 && w.rate == 0 && !w.stop && !w.cancel);
    assert_int_equal(w.time_ns, config.drain_time);
    assert_true(good("leave=1000&rate=50&stop=1", &w));
    assert_true(w.leave == 1000 && w.rate == 50 && w.stop && !w.cancel);
    assert_true(good("time=1m30s&api_key=x", &w));
    assert_int_equal(w.time_ns, 90 * NS_PER_SEC);
    assert_true(good("cancel=1&stop=0", &w));
    assert_true(w.cancel && !w.stop);
    assert_true(good("leave=4294967295", &w));
    assert_false(good("leave=4294967296", &w));
    assert_false(good("leave=99999999999999999999999999", &w));
    assert_false(good("leave=+1", &w));
    assert_false(good("leave=1x", &w));
    assert_false(good("leave", &w));
    assert_false(good("rate=0", &w));
    assert_false(good("rate=1&time=1s", &w));
    assert_false(good("time=8d", &w));
    assert_false(good("time=169h", &w));
    assert_false(good("stop=2", &w));
    assert_false(good("speed=1", &w));
}

static void a_wish_that_nobody_waits_for(void **state UNUSED)
{
    static struct shm_slot slots[SHM_WORKER + 2];
    static struct shm area = {.workers = 2, .slots = slots, .master_wake_fd = -1};
    const struct wish w = {.leave = 3};
    struct shm_wish *mine = &slots[SHM_WORKER + 1].wish;
    struct shm *before = shm;

    shm = &area;
    d.worker = 1;
    d.wait.wish = leave_wish(&w);
    assert_int_equal(atomic_load(&mine->n), 1);
    assert_int_equal(atomic_load(&mine->withdrawn), 0);
    d.wait.exchange = 5;
    abandoned(NULL);
    assert_int_equal(d.wait.exchange, 0);
    assert_int_equal(atomic_load(&mine->withdrawn), 1);
    d.wait.wish = leave_wish(&w); /* a further one counts */
    assert_int_not_equal(atomic_load(&mine->withdrawn), atomic_load(&mine->n));
    assert_true(withdraw());
    d.wait.wish = leave_wish(&w);
    atomic_store(&area.drain.begun[1], 3); /* too late */
    assert_false(withdraw());
    shm = before;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_way_down),
        cmocka_unit_test(each_has_its_part),
        cmocka_unit_test(the_shares_stay_even),
        cmocka_unit_test(a_worker_that_is_late_costs_the_others_nothing),
        cmocka_unit_test(what_is_asked_for),
        cmocka_unit_test(a_wish_that_nobody_waits_for),
    };

    return cmocka_run_group_tests_name("proc/drain", tests, NULL, NULL);
}
