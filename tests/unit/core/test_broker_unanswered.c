/* What was asked of a hub that is gone: a fence behind it says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "core/broker_unanswered.c"

#include "broker_harness.h"

static void fenced(uint64_t position)
{
    struct record r = {.kind = RECORD_FENCED, .generation = 1, .position = position};
    void *p = ring_reserve(&hub_out, record_bytes(&r));

    assert_non_null(p);
    record_encode(&r, p);
    ring_commit(&hub_out);
    turn();
}

static void begin(void)
{
    assert_int_equal(from_broker()->kind, RECORD_HELLO);
    nunanswered = 0;
    broker_hub_generation(broker, 1);
    turn();
    (void)expect_record(RECORD_ANNOUNCED, "");
    expect_nothing(); /* the first one: nobody has been asked before */
}

static void a_new_hub_is_asked_behind_the_announcement(void **state)
{
    const struct record *r;

    (void)state;
    begin();
    broker_hub_generation(broker, 2);
    turn();
    (void)expect_record(RECORD_ANNOUNCED, "");
    r = expect_record(RECORD_FENCE, "");
    assert_int_equal(r->asker, NOBODY);
    fenced(700);
    assert_int_equal(nunanswered, 1);
    assert_int_equal(unanswered_to, 700);
    fenced(700); /* a hub that was restarted says it again */
    assert_int_equal(nunanswered, 1);
}

static void a_full_ring_delays_it(void **state)
{
    (void)state;
    begin();
    while (broker_fence(broker, asker(1)) == 0) {
    }
    unanswered_owe(broker);
    flush();
    assert_true(broker->fence_owed);
    for (const struct record *r = from_broker(); r != NULL; r = from_broker())
        assert_int_equal(r->asker, ASKER);
    flush();
    assert_int_equal(expect_record(RECORD_FENCE, "")->asker, NOBODY);
    flush();
    expect_nothing();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_new_hub_is_asked_behind_the_announcement, broker_setup,
                                        broker_teardown),
        cmocka_unit_test_setup_teardown(a_full_ring_delays_it, broker_setup, broker_teardown),
    };

    return cmocka_run_group_tests_name("core/broker_unanswered", tests, NULL, NULL);
}
