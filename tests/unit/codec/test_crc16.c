/* codec/crc16: known values, among them the one of Redis Cluster's specification. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/crc16.c"

static void known_values(void **state)
{
    (void)state;
    assert_int_equal(crc16(STR_NULL), 0);
    assert_int_equal(crc16(STR_LIT("123456789")), 0x31c3);
    assert_int_equal(crc16(STR_LIT("foo")) % 16384, 12182);
    assert_int_equal(crc16(STR_LIT("\xff")), 0x1ef0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(known_values)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
