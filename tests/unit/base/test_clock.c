/* tests/unit/base/test_clock.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.c"

static void virtual_time_stands_still(void **state UNUSED)
{
    clock_set_virtual(42);
    clock_refresh();
    assert_int_equal(clock_ns(), 42);
    assert_int_equal(clock_wall_ns(), 42);
    clock_advance(8);
    assert_int_equal(clock_precise_ns(), 50);
    clock_set_virtual(0);
    clock_refresh();
    assert_true(clock_ns() > 50);
    assert_true(clock_wall_ns() > UINT64_C(1600000000) * NS_PER_SEC);
    assert_true(clock_precise_ns() >= clock_ns());
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(virtual_time_stands_still)};
    return cmocka_run_group_tests_name("base/clock", tests, NULL, NULL);
}
