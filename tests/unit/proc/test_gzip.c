/* tests/unit/proc/test_gzip.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fault.h"
#include "proc/gzip.c"

static void check(struct str plain)
{
    z_stream z = {0};
    struct buf packed = {0};
    char *back = malloc(plain.n + 1);

    assert_int_equal(buf_append_lit(&packed, "before"), 0);
    assert_int_equal(gzip_append(plain, &packed), 0);
    assert_int_equal(inflateInit2(&z, 15 + FORMAT_GZIP), Z_OK);
    z.next_in = (Bytef *)packed.p + 6;
    z.avail_in = (uInt)packed.len - 6;
    z.next_out = (Bytef *)back;
    z.avail_out = (uInt)plain.n + 1;
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.avail_in, 0);
    assert_int_equal(z.total_out, plain.n);
    if (plain.n > 0)
        assert_memory_equal(back, plain.p, plain.n);
    inflateEnd(&z);
    buf_fini(&packed);
    free(back);
}

static void what_is_packed_comes_back(void **state UNUSED)
{
    static char text[300000];
    uint32_t x = 1;

    check(STR_LIT(""));
    check(STR_LIT("a"));
    check((struct str){text, sizeof(text)});
    for (size_t i = 0; i < sizeof(text); i++) {
        x = x * 1103515245 + 12345;
        text[i] = (char)(x >> 16);
    }
    check((struct str){text, sizeof(text)});
}

static void no_memory(void **state UNUSED)
{
    struct buf packed = {0};

    fault_fail_at(1);
    assert_int_equal(gzip_append(STR_LIT("text"), &packed), -1);
    fault_reset();
    buf_fini(&packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_packed_comes_back),
                                       cmocka_unit_test(no_memory)};

    return cmocka_run_group_tests_name("proc/gzip", tests, NULL, NULL);
}
