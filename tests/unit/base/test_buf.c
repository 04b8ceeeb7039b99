/* tests/unit/base/test_buf.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.c"

#include "fault.h"

static void grows_and_keeps_content(void **state UNUSED)
{
    struct buf b = {0};

    for (int i = 0; i < 1000; i++)
        assert_int_equal(buf_printf(&b, "%03d,", i), 0);
    assert_int_equal(b.len, 4000);
    assert_memory_equal(b.p + 3996, "999,", 4);
    buf_drop(&b, 3996);
    assert_true(str_equal(buf_view(&b), STR_LIT("999,")));
    buf_drop(&b, 0);
    buf_clear(&b);
    assert_int_equal(b.len, 0);
    assert_int_equal(buf_append_char(&b, 'x'), 0);
    buf_fini(&b);
    buf_fini(&b);
    assert_null(b.p);
}

static void appends_of_nothing_take_no_memory(void **state UNUSED)
{
    struct buf b = {0};

    assert_int_equal(buf_append(&b, STR_NULL), 0);
    assert_int_equal(buf_append_lit(&b, ""), 0);
    assert_null(b.p);
    assert_int_equal(buf_printf(&b, "%s", ""), 0);
    buf_fini(&b);
}

static void impossible_sizes_are_refused(void **state UNUSED)
{
    struct buf b = {0};

    assert_int_equal(buf_reserve(&b, SIZE_MAX), -1);
    assert_int_equal(buf_append_lit(&b, "a"), 0);
    assert_int_equal(buf_reserve(&b, SIZE_MAX - 1), -1);
    assert_int_equal(buf_reserve(&b, SIZE_MAX / 2), -1);
    assert_true(str_equal(buf_view(&b), STR_LIT("a")));
    buf_fini(&b);
}

static void without_memory_nothing_changes(void **state UNUSED)
{
    struct buf b = {0};

    assert_int_equal(buf_append_lit(&b, "kept"), 0);
    fault_fail_at(1);
    assert_int_equal(buf_printf(&b, "%0500d", 1), -1);
    fault_reset();
    assert_true(str_equal(buf_view(&b), STR_LIT("kept")));
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_keeps_content),
        cmocka_unit_test(appends_of_nothing_take_no_memory),
        cmocka_unit_test(impossible_sizes_are_refused),
        cmocka_unit_test(without_memory_nothing_changes),
    };
    return cmocka_run_group_tests_name("base/buf", tests, NULL, NULL);
}
