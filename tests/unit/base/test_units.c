/* tests/unit/base/test_units.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/units.c"

static void sizes(void **state UNUSED)
{
    static const char *const bad[] = {"",         "x",
                                      "1 KiB",    "-1",
                                      "0.1KiB",   "1MiB1",
                                      "1MiB1KiB", "1.",
                                      ".5MiB",    "9223372036854775807KiB",
                                      "KiB",      "1.0000000000",
                                      "1.5MiBx",  "1K"};
    int64_t v = 0;

    assert_int_equal(units_parse_size(STR_LIT("512"), &v), 0);
    assert_int_equal(v, 512);
    assert_int_equal(units_parse_size(STR_LIT("64kib"), &v), 0);
    assert_int_equal(v, 65536);
    assert_int_equal(units_parse_size(STR_LIT("2GiB"), &v), 0);
    assert_true(v == INT64_C(2) << 30);
    assert_int_equal(units_parse_size(STR_LIT("1.5MiB"), &v), 0);
    assert_int_equal(v, 1536 * 1024);
    assert_int_equal(units_parse_size(STR_LIT("1MB"), &v), 0);
    assert_int_equal(v, 1000000);
    assert_int_equal(units_parse_size(STR_LIT("2.5kB"), &v), 0);
    assert_int_equal(v, 2500);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(units_parse_size(str_from(bad[i]), &v), -1);
}

static void durations(void **state UNUSED)
{
    static const char *const bad[] = {
        "",      "5",    "fast",          "1d",    "1 s", "-1s",   "9999999999h", "1s2",
        "30s1m", "1s1s", "0.0000000001s", "0.5ns", "1.5", "1m 30s"};
    int64_t v = 1;

    assert_int_equal(units_parse_duration(STR_LIT("250ms"), &v), 0);
    assert_int_equal(v, 250000000);
    assert_int_equal(units_parse_duration(STR_LIT("5m"), &v), 0);
    assert_true(v == 300 * (int64_t)NS_PER_SEC);
    assert_int_equal(units_parse_duration(STR_LIT("0"), &v), 0);
    assert_int_equal(v, 0);
    assert_int_equal(units_parse_duration(STR_LIT("0.5s"), &v), 0);
    assert_int_equal(v, 500000000);
    assert_int_equal(units_parse_duration(STR_LIT("1m30s"), &v), 0);
    assert_true(v == 90 * (int64_t)NS_PER_SEC);
    assert_int_equal(units_parse_duration(STR_LIT("1h1m1.5s1ms"), &v), 0);
    assert_true(v == 3661501 * (int64_t)NS_PER_MS);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(units_parse_duration(str_from(bad[i]), &v), -1);
}

static void round_trip(void **state UNUSED)
{
    static const int64_t values[] = {0,     1,       999,           1000,    1023,       1024,
                                     65536, 1500000, 3600000000000, 1 << 30, 12345678901};
    char text[32];
    int64_t v;

    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        units_format_size(values[i], text, sizeof(text));
        assert_int_equal(units_parse_size(str_from(text), &v), 0);
        assert_true(v == values[i]);
        units_format_duration(values[i], text, sizeof(text));
        assert_int_equal(units_parse_duration(str_from(text), &v), 0);
        assert_true(v == values[i]);
    }
    units_format_duration(90 * (int64_t)NS_PER_SEC, text, sizeof(text));
    assert_string_equal(text, "90s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sizes), cmocka_unit_test(durations),
                                       cmocka_unit_test(round_trip)};
    return cmocka_run_group_tests_name("base/units", tests, NULL, NULL);
}
