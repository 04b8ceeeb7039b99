/* tests/unit/base/test_list.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"

static void order_and_removal(void **state UNUSED)
{
    struct list l = LIST_INIT(l), a, b, c, other;

    list_init(&a);
    list_init(&b);
    list_init(&c);
    assert_null(list_pop(&l));
    list_append(&l, &a);
    list_append(&l, &b);
    list_prepend(&l, &c);
    list_remove(&a);
    list_remove(&a); /* repeating is harmless */
    list_take(&other, &l);
    assert_true(list_empty(&l));
    assert_ptr_equal(list_pop(&other), &c);
    assert_ptr_equal(list_pop(&other), &b);
    assert_null(list_pop(&other));
    list_take(&other, &l);
    assert_true(list_empty(&other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(order_and_removal)};
    return cmocka_run_group_tests_name("base/list", tests, NULL, NULL);
}
