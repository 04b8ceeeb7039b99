/* Tags, written and read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/tags.c"
#include "fault.h"

static void pairs_in_their_order(void **state)
{
    struct str rest, name, value;
    struct buf b = {0};

    (void)state;
    assert_int_equal(tags_add(&b, STR_LIT("key"), STR_LIT("price")), 0);
    assert_int_equal(tags_add(&b, STR_NULL, STR_NULL), 0);
    assert_int_equal(tags_add(&b, STR_LIT("k\"2"), STR_LIT("\xc3\xa4")), 0);
    rest = buf_view(&b);
    assert_true(tags_next(&rest, &name, &value));
    assert_true(str_equal(name, STR_LIT("key")) && str_equal(value, STR_LIT("price")));
    assert_true(tags_next(&rest, &name, &value));
    assert_true(name.n == 0 && value.n == 0);
    assert_true(tags_next(&rest, &name, &value));
    assert_true(str_equal(name, STR_LIT("k\"2")) && str_equal(value, STR_LIT("\xc3\xa4")));
    assert_false(tags_next(&rest, &name, &value));
    buf_fini(&b);
}

static void nothing_is_read_beyond_the_end(void **state)
{
    struct str name, value;
    struct buf b = {0};

    (void)state;
    assert_int_equal(tags_add(&b, STR_LIT("key"), STR_LIT("price")), 0);
    for (size_t n = 0; n < b.len; n++) {
        struct str rest = {b.p, n};

        assert_false(tags_next(&rest, &name, &value));
    }
    buf_fini(&b);
}

static void bounds(void **state)
{
    static char big[UINT16_MAX + 1];
    struct buf b = {0};

    (void)state;
    assert_int_equal(tags_add(&b, (struct str){big, sizeof(big)}, STR_NULL), -1);
    assert_int_equal(tags_add(&b, STR_NULL, (struct str){big, sizeof(big)}), -1);
    fault_fail_at(1);
    assert_int_equal(tags_add(&b, STR_LIT("a"), STR_LIT("b")), -1);
    fault_reset();
    assert_int_equal(b.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_in_their_order),
        cmocka_unit_test(nothing_is_read_beyond_the_end),
        cmocka_unit_test(bounds),
    };

    return cmocka_run_group_tests_name("core/tags", tests, NULL, NULL);
}
