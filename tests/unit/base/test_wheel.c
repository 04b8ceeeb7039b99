/* tests/unit/base/test_wheel.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/wheel.c"

#define MS UINT64_C(1000000)

struct timer {
    struct wheel_entry e;
    uint64_t due, fired;
};

static uint64_t now;
static struct wheel w;

static void fire(struct wheel_entry *e, void *arg)
{
    struct timer *t = CONTAINER_OF(e, struct timer, e);

    (void)arg;
    assert_false(wheel_armed(e));
    t->fired = now;
}

static void start(uint64_t at)
{
    now = at;
    wheel_init(&w, now);
}

static void never_early_and_at_most_a_tick_late(void **state)
{
    static struct timer t[400];
    unsigned seed = 7;

    (void)state;
    start(123456789);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        uint64_t delay;

        seed = seed * 1103515245 + 12345;
        delay =
            (seed >> 4) % (200 * UINT64_C(1000)) * MS; /* up to 200 s: several rotations of 51 s */
        wheel_entry_init(&t[i].e);
        t[i].due = now + delay;
        wheel_arm(&w, &t[i].e, now, delay);
    }
    while (w.armed > 0) {
        now += 10 * MS;
        assert_false(wheel_advance(&w, now, SIZE_MAX, fire, NULL));
    }
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        assert_true(t[i].fired >= t[i].due);
        assert_true(t[i].fired - t[i].due <= WHEEL_TICK_NS * 2 + 10 * MS);
    }
}

static void a_jump_of_hours_fires_everything_due(void **state)
{
    static struct timer t[1000];
    bool more = true;
    size_t calls = 0;

    (void)state;
    start(5);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        wheel_entry_init(&t[i].e);
        wheel_arm(&w, &t[i].e, now, i * 200 * MS);
    }
    now += 3 * 3600 * UINT64_C(1000) * MS;
    for (; more; calls++)
        more = wheel_advance(&w, now, 64, fire, NULL);
    assert_int_equal(w.armed, 0);
    assert_true(calls >= 1000 / 64);
}

static void disarm_and_rearm(void **state)
{
    struct timer t = {.fired = 0};

    (void)state;
    start(1000 * MS);
    wheel_entry_init(&t.e);
    wheel_disarm(&w, &t.e); /* harmless */
    wheel_arm(&w, &t.e, now, 500 * MS);
    wheel_arm(&w, &t.e, now, 5000 * MS);
    assert_int_equal(w.armed, 1);
    now += 2000 * MS;
    wheel_advance(&w, now, 10, fire, NULL);
    assert_int_equal(t.fired, 0);
    wheel_disarm(&w, &t.e);
    now += 10000 * MS;
    wheel_advance(&w, now, 10, fire, NULL);
    assert_int_equal(t.fired, 0);
    assert_int_equal(w.armed, 0);
}

static void next_is_when_there_is_something_to_look_at(void **state)
{
    struct timer t = {.fired = 0};

    (void)state;
    start(0);
    assert_int_equal(wheel_next_ns(&w, now, 5000 * MS), 5000 * MS);
    wheel_entry_init(&t.e);
    wheel_arm(&w, &t.e, now, 1000 * MS);
    assert_int_equal(wheel_next_ns(&w, now, 5000 * MS), 1000 * MS);
    assert_int_equal(wheel_next_ns(&w, now, 1001 * MS), 1000 * MS);
    assert_int_equal(wheel_next_ns(&w, now, 999 * MS), 999 * MS);
    assert_int_equal(wheel_next_ns(&w, now, 0), 0);
    assert_int_equal(wheel_next_ns(&w, now, 1000 * 1000 * MS), 1000 * MS); /* beyond a rotation */
    now = 1500 * MS;
    assert_int_equal(wheel_next_ns(&w, now, 5000 * MS), 0);
    wheel_arm(&w, &t.e, now, UINT64_MAX); /* for ever: far, but legal */
    assert_true(wheel_armed(&t.e));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(never_early_and_at_most_a_tick_late),
        cmocka_unit_test(a_jump_of_hours_fires_everything_due),
        cmocka_unit_test(disarm_and_rearm),
        cmocka_unit_test(next_is_when_there_is_something_to_look_at),
    };
    return cmocka_run_group_tests_name("base/wheel", tests, NULL, NULL);
}
