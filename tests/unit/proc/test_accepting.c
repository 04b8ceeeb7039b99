/* tests/unit/proc/test_accepting.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "proc/accepting.c"

static int set_up(void **state UNUSED)
{
    char err[256];

    clock_set_virtual(100 * NS_PER_SEC);
    return shm_create(8, 65536, err, sizeof(err));
}

static int tear_down(void **state UNUSED)
{
    shm_destroy();
    clock_set_virtual(0);
    memset(&a, 0, sizeof(a));
    return 0;
}

/* All but the workers whose bits are set move on. */
static void absent(unsigned bits)
{
    clock_advance(2 * SHM_STILL_NS);
    for (unsigned i = 0; i < shm->workers; i++)
        if ((bits >> i & 1) == 0)
            shm_heartbeat(SHM_WORKER + i);
}

/* The workers that serve and accept for worker i. */
static unsigned stand_ins(unsigned i)
{
    unsigned bits = 0;

    for (a.worker = 0; a.worker < shm->workers; a.worker++)
        if (a.worker != i && shm_serves(SHM_WORKER + a.worker) && is_next(i))
            bits |= 1u << a.worker;
    return bits;
}

static void the_first_few_that_serve(void **state UNUSED)
{
    absent(1u << 2);
    assert_int_equal(stand_ins(2), 0x78);
    absent(1u << 2 | 1u << 4 |
           1u << 6); /* those that do not serve are passed over, round the end */
    assert_int_equal(stand_ins(2), 0xa9);
    assert_int_equal(stand_ins(6), 0x8b);
}

/* A worker without room is passed over, and others accept for it. */
static void who_has_no_room(void **state UNUSED)
{
    absent(0);
    atomic_store(&shm->slots[SHM_WORKER + 2].stopped, 1);
    atomic_store(&shm->slots[SHM_WORKER + 4].stopped, 1);
    assert_int_equal(stand_ins(2) & ~(1u << 4), 0xe8);
    assert_true(shm_serves(SHM_WORKER + 2));
    assert_false(shm_accepts(SHM_WORKER + 2));
}

static void somebody_always(void **state UNUSED)
{
    for (unsigned bits = 0; bits < 255; bits++) { /* 255: nobody is left */
        unsigned serving = 0;

        absent(bits);
        for (unsigned i = 0; i < 8; i++)
            serving += (bits >> i & 1) == 0;
        for (unsigned i = 0; i < 8; i++)
            if (bits >> i & 1)
                assert_int_equal(__builtin_popcount(stand_ins(i)), MIN(serving, STAND_INS));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_first_few_that_serve, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_has_no_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(somebody_always, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("proc/accepting", tests, NULL, NULL);
}
