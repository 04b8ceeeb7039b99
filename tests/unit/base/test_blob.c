/* tests/unit/base/test_blob.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/blob.c"

#include "fault.h"

static void last_reference_frees(void **state UNUSED)
{
    size_t before = blob_bytes();
    struct blob *a = blob_from(STR_LIT("hello")), *b = blob_get(a), *none = NULL;

    assert_memory_equal(a->data, "hello", 5);
    assert_int_equal(blob_bytes() - before, sizeof(*a) + 5);
    blob_put(&a);
    assert_null(a);
    assert_memory_equal(b->data, "hello", 5);
    blob_put(&b);
    blob_put(&none);
    assert_int_equal(blob_bytes(), before);
}

static void too_long_or_no_memory(void **state UNUSED)
{
    assert_null(blob_new((size_t)UINT32_MAX));
    fault_fail_at(1);
    assert_null(blob_from(STR_LIT("x")));
    fault_reset();
    assert_int_equal(blob_bytes(), 0);
}

static void grows_and_shortens(void **state UNUSED)
{
    struct blob *b = blob_from(STR_LIT("hello"));

    fault_fail_at(1);
    assert_int_equal(blob_grow(&b, 10000), -1);
    fault_reset();
    assert_int_equal(b->len, 5);
    assert_int_equal(blob_grow(&b, (size_t)UINT32_MAX), -1);
    assert_int_equal(blob_grow(&b, 10000), 0);
    assert_int_equal(b->len, 10000);
    assert_memory_equal(b->data, "hello", 5);
    assert_int_equal(blob_bytes(), sizeof(*b) + 10000);
    memset(b->data + 5, 'x', 9995);
    fault_fail_at(1);
    blob_shorten(&b, 5000); /* without memory for a shorter copy it keeps the long one */
    fault_reset();
    assert_int_equal(b->len, 5000);
    blob_shorten(&b, 6);
    assert_memory_equal(b->data, "hellox", 6);
    assert_int_equal(blob_bytes(), sizeof(*b) + 6);
    blob_put(&b);
    assert_int_equal(blob_bytes(), 0);
}

static void from_a_buffer(void **state UNUSED)
{
    struct buf out = {0};
    struct blob *b;

    fault_fail_at(1);
    assert_int_equal(blob_begin(&out, 10), -1);
    fault_reset();
    assert_int_equal(blob_begin(&out, SIZE_MAX), -1);
    assert_int_equal(out.cap, 0);
    assert_int_equal(blob_begin(&out, 10), 0);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(buf_append_lit(&out, "0123456789"), 0);
    fault_fail_at(1); /* what is too much is kept then */
    b = blob_finish(&out);
    fault_reset();
    assert_true(out.p == NULL && out.len == 0 && out.cap == 0);
    assert_int_equal(b->refs, 1);
    assert_int_equal(b->len, 10000);
    assert_memory_equal(b->data, "01234567890", 11);
    assert_int_equal(blob_bytes(), sizeof(*b) + 10000);
    blob_put(&b);
    assert_int_equal(blob_begin(&out, 0), 0);
    b = blob_finish(&out);
    assert_int_equal(b->len, 0);
    assert_int_equal(blob_bytes(), sizeof(*b));
    blob_put(&b);
    assert_int_equal(blob_bytes(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(last_reference_frees), cmocka_unit_test(too_long_or_no_memory),
        cmocka_unit_test(grows_and_shortens), cmocka_unit_test(from_a_buffer)};
    return cmocka_run_group_tests_name("base/blob", tests, NULL, NULL);
}
