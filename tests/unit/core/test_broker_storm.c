/* A hundred thousand subscribers of one channel recover at once: what the hub is asked does not grow
 * with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/broker_recover.c"

#define LOG_MAX 256 /* of each */
#include "recover_world.h"

#define CROWD  (100 * 1000)
#define MISSED 20

static void the_hub_is_asked_once(void **state)
{
    struct client *crowd = calloc(CROWD, sizeof(*crowd));
    unsigned steps = 0;

    (void)state;
    assert_non_null(crowd);
    for (unsigned i = 0; i < MISSED; i++)
        next_publication();
    turns();
    for (unsigned i = 0; i < CROWD; i++)
        join_recovering(&crowd[i], stream.epoch, stream.top - MISSED);
    do {
        play_hub();
        (void)broker_receive(broker, UINT32_MAX);
        steps++;
    } while (task_run(&tasks, 0));
    assert_int_equal(stream.requests, 1);
    assert_true(steps >= CROWD / SLICE);
    for (unsigned i = 0; i < CROWD; i++) {
        assert_string_equal(crowd[i].log, "SR<p11 p12 p13 p14 p15 p16 p17 p18 p19 p20 p21 p22 p23 "
                                          "p24 p25 p26 p27 p28 p29 p30 @30>");
        leave(&crowd[i]);
    }
    free(crowd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_hub_is_asked_once, setup, teardown),
    };

    return cmocka_run_group_tests_name("core/broker, storm", tests, NULL, NULL);
}
