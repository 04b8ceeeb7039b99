/* tests/unit/roostload/test_failif.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cmd/roostload/failif.c"
#include "cmd/roostload/hdr.c"

static struct load_metrics m;

static double recovery_s = -1;

static int check(const char *e, enum scenario s)
{
    char err[256];
    struct failif c;

    return failif_check(str_from(e), s, &m, recovery_s, &c, err, sizeof(err)) == -1 ? -1 : c.fails;
}

static void expressions(void **state UNUSED)
{
    for (uint64_t i = 1; i <= 100; i++)
        hdr_record(&m.delivery, i * 1000000);
    hdr_record(&m.ready, 2000000000);
    m.gaps = 2;
    m.connection_lost = 1;
    assert_int_equal(check("p99>50ms", SCENARIO_BROADCAST), 1);
    assert_int_equal(check("p50 > 60ms", SCENARIO_BROADCAST), 0);
    assert_int_equal(check("max>=100ms", SCENARIO_CHAT), 1);
    assert_int_equal(check("max>99.5 ms", SCENARIO_CHAT), 1);
    assert_int_equal(check("max>0.1s", SCENARIO_CHAT), 0);
    assert_int_equal(check("p99>1s", SCENARIO_HOLD), 1); /* of ready there */
    assert_int_equal(check("ready.p99.9<1s", SCENARIO_BROADCAST), 0);
    assert_int_equal(check("delivery.count<101", SCENARIO_HOLD), 1);
    assert_int_equal(check("lost>0", SCENARIO_HOLD), 1);
    assert_int_equal(check("lost>3", SCENARIO_HOLD), 0);
    assert_int_equal(check("lost>=3", SCENARIO_HOLD), 1);
    m.server_closed = 4;
    assert_int_equal(check("lost>=7", SCENARIO_HOLD), 1);
    assert_int_equal(check("gaps<=2", SCENARIO_HOLD), 1);
    assert_int_equal(check("duplicates>0", SCENARIO_HOLD), 0);
    assert_int_equal(check("pong.p99>1s", SCENARIO_HOLD), 1); /* nothing was measured */
    assert_int_equal(check("pong.max<1s", SCENARIO_HOLD), 1);
    assert_int_equal(check("pong.count>0", SCENARIO_HOLD), 0);
}

static void recovery_from_a_storm(void **state UNUSED)
{
    recovery_s = 1.5;
    assert_int_equal(check("storm_recovery>1s", SCENARIO_STORM), 1);
    assert_int_equal(check("storm_recovery > 1500ms", SCENARIO_HOLD), 0);
    assert_int_equal(check("storm_recovery<=1.5s", SCENARIO_STORM), 1);
    recovery_s = 0;
    assert_int_equal(check("storm_recovery>1s", SCENARIO_STORM), 0);
    recovery_s = -1; /* never fails, whichever way it is asked */
    assert_int_equal(check("storm_recovery>1s", SCENARIO_STORM), 1);
    assert_int_equal(check("storm_recovery<1s", SCENARIO_STORM), 1);
    assert_int_equal(check("storm_recovery>1", SCENARIO_STORM), -1);
    assert_int_equal(check("storm_recovery.max>1s", SCENARIO_STORM), -1);
}

static void nonsense(void **state UNUSED)
{
    static const char *const bad[] = {
        "",         ">",       "p99",       "p99>",           "p99>fast",      "p101>1ms",
        "p0>1ms",   "px>1ms",  "nothing>1", "delivery.x>1ms", "delivery.>1ms", "delivery>1ms",
        "p99=1ms",  "p99>50",  "lost>1ms",  "lost>nan",       "lost>",         "lost>-1",
        "pnan>1ms", "p0x1>1ms"};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (check(bad[i], SCENARIO_BROADCAST) != -1)
            fail_msg("%s", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(expressions),
                                       cmocka_unit_test(recovery_from_a_storm),
                                       cmocka_unit_test(nonsense)};
    return cmocka_run_group_tests_name("roostload/failif", tests, NULL, NULL);
}
