/* The memory engine keeps the contract, and completes inside the call. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/engine_memory.c"
#include "fault.h"

#include "engine_contract.h"

static void completes_inside_the_call(void **state)
{
    struct engine_channel a;

    (void)state;
    contract_subscribe(&a, "a");
    contract_publish(&a, "a", "x", 0);
    assert_int_equal(calls[0].completed, 1);
    assert_true(calls[0].at.epoch == a.at.epoch && calls[0].at.offset == 1);
    contract_publish(NULL, "nobody", "x", 1);
    assert_int_equal(calls[1].completed, 1);
    assert_true(calls[1].at.epoch == 0 && calls[1].at.offset == 0);
}

static void no_memory(void **state)
{
    (void)state;
    fault_fail_at(1);
    assert_null(engine_memory_new());
    fault_reset();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONTRACT_TESTS,
        CONTRACT_TEST(completes_inside_the_call),
        cmocka_unit_test(no_memory),
    };

    contract.make = engine_memory_new;
    return cmocka_run_group_tests_name("core/engine_memory", tests, NULL, NULL);
}
