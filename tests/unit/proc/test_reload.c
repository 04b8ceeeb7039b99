/* tests/unit/proc/test_reload.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proc/reload.c"

static struct shm_slot slots[SHM_WORKER + 1];
static struct shm area = {.workers = 1, .slots = slots};

static int setup(void **state UNUSED)
{
    memset(&area.reload, 0, sizeof(area.reload));
    memset(slots, 0, sizeof(slots));
    memset(&r, 0, sizeof(r));
    shm = &area;
    return 0;
}

/* As the master does. */
static void report(const char *text)
{
    uint32_t n = atomic_load(&area.reload.n) + 1, place = n % RELOAD_REPORTS;

    area.reload.texts[place].len = (uint32_t)strlen(text);
    memcpy(area.reload.texts[place].text, text, strlen(text));
    atomic_store(&area.reload.n, n);
}

static void is(uint32_t n, int rc, const char *text)
{
    struct buf out = {0};

    assert_int_equal(copy_report(n, &out), rc);
    if (rc == 0)
        assert_true(str_equal(buf_view(&out), str_from(text)));
    buf_fini(&out);
}

/* Others may have followed since the wish was done. */
static void each_finds_the_report_on_its_own(void **state UNUSED)
{
    is(0, 0, "{\"result\":\"none\"}\n");
    report("one");
    is(1, 0, "one");
    report("two");
    is(1, 0, "one");
    is(2, 0, "two");
    report("three");
    is(1, 0, "one");
    report("four"); /* the master may be writing the fifth now, in the place of the first */
    is(1, 1, NULL);
    is(2, 0, "two");
    is(4, 0, "four");
    for (unsigned i = 0; i < 10; i++)
        report("more");
    is(4, 1, NULL);
    area.reload.texts[14 % RELOAD_REPORTS].len = UINT32_MAX;
    assert_int_equal(atomic_load(&area.reload.n), 14);
    {
        struct buf out = {0};

        assert_int_equal(copy_report(14, &out), 0);
        assert_int_equal(out.len, RELOAD_REPORT_MAX);
        buf_fini(&out);
    }
}

/* An order to apply whose asker has gone is still an order. */
static void a_look_takes_the_place_of_no_order(void **state UNUSED)
{
    assert_false(applies_yet());
    r.wait.wish = leave_wish(RELOAD_LOOK);
    assert_false(applies_yet());
    r.wait.wish = leave_wish(RELOAD_APPLY);
    assert_true(applies_yet());
    atomic_store(&area.reload.taken[0], 1); /* the look */
    assert_true(applies_yet());
    atomic_store(&area.reload.taken[0], 2);
    assert_false(applies_yet());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(each_finds_the_report_on_its_own, setup),
        cmocka_unit_test_setup(a_look_takes_the_place_of_no_order, setup),
    };

    return cmocka_run_group_tests_name("proc/reload", tests, NULL, NULL);
}
