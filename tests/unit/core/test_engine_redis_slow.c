/* A Redis engine whose line is slow: answers come late, and nothing is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/engine_redis_tick.c"

#include "redis_world.h"

static unsigned waiting(void)
{
    return redis_of(engine)->servers[0]->nwaiting;
}

/* Between two answers lies what one call is long. */
static void a_call_does_not_grow_for_ever(void **state UNUSED)
{
    static char big[60001];

    memset(big, 'x', sizeof(big) - 1);
    begin_subscribed();
    for (unsigned i = 0; i < 10; i++)
        publish_to("far", big, i);
    assert_int_equal(waiting(), 2); /* of five */
    end();
    begin_subscribed();
    for (unsigned i = 0; i < REDIS_BATCH_MAX + 1; i++)
        publish_to("far", "x", i % 10);
    assert_int_equal(waiting(), 2);
}

/* The probe stands behind others, which are answered one after the other. */
static void a_probe_that_waits_for_its_turn_is_not_missed(void **state UNUSED)
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};

    begin_subscribed();
    redis_of(engine)->s.window = 1;
    peer.mute = true;
    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        publish_to(names[i], "x", i);
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        pass(2 * NS_PER_SEC);
        peer.mute = false;
        turn();
        peer.mute = true;
    }
    assert_int_equal(metrics->engine_probes_missed, 0);
    assert_int_equal(peer.opens, 1);
    peer.mute = false;
    pass(NS_PER_SEC);
    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        completed(i, ENGINE_OK);
    pass(3 * settings.probe_ns);
    assert_int_equal(peer.opens, 1);
    peer.probes_lost = true;
    pass(3 * settings.probe_ns);
    assert_int_equal(metrics->engine_probes_missed, 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_call_does_not_grow_for_ever),
        T(a_probe_that_waits_for_its_turn_is_not_missed),
    };

    return cmocka_run_group_tests_name("core/engine_redis_slow", tests, NULL, NULL);
}
