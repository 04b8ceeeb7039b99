/* tests/unit/base/test_str.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.c"

static void equality(void **state UNUSED)
{
    assert_true(str_equal(STR_LIT("ab"), STR_LIT("ab")));
    assert_true(str_equal(STR_NULL, STR_LIT("")));
    assert_false(str_equal(STR_LIT("ab"), STR_LIT("aB")));
    assert_false(str_equal(STR_LIT("ab"), STR_LIT("abc")));
    assert_true(str_equal_nocase(STR_LIT("Upgrade"), STR_LIT("uPGRADE")));
    assert_false(str_equal_nocase(STR_LIT("["), STR_LIT("{"))); /* differ by the case bit only */
    assert_false(str_equal_nocase(STR_LIT("\xc0"), STR_LIT("\xe0")));
    assert_true(str_starts_with(STR_LIT("abc"), STR_LIT("")));
    assert_false(str_starts_with(STR_LIT("ab"), STR_LIT("abc")));
    assert_int_equal(str_from(NULL).n, 0);
}

static void trimming_takes_blanks_and_tabs_only(void **state UNUSED)
{
    assert_true(str_equal(str_trim(STR_LIT(" \t a b\t ")), STR_LIT("a b")));
    assert_true(str_equal(str_trim(STR_LIT("\r\n")), STR_LIT("\r\n")));
    assert_int_equal(str_trim(STR_LIT(" \t ")).n, 0);
    assert_int_equal(str_trim(STR_NULL).n, 0);
}

static void one_line_end_is_taken_off(void **state UNUSED)
{
    static const char *const texts[] = {"a", "a\n", "a\r\n", "a\r"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_true(str_equal(str_trim_line_end(str_from(texts[i])), STR_LIT("a")));
    assert_true(str_equal(str_trim_line_end(STR_LIT("a\n\n")), STR_LIT("a\n")));
    assert_true(str_equal(str_trim_line_end(STR_LIT("a\n\r")), STR_LIT("a\n")));
    assert_int_equal(str_trim_line_end(STR_LIT("\r\n")).n, 0);
    assert_int_equal(str_trim_line_end(STR_NULL).n, 0);
}

static void cutting(void **state UNUSED)
{
    struct str rest = STR_LIT("a,,b,"), part;
    const char *want[] = {"a", "", "b", ""};

    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        assert_true(str_cut(&rest, ',', &part));
        assert_true(str_equal(part, str_from(want[i])));
    }
    assert_false(str_cut(&rest, ',', &part));
    rest = STR_LIT("");
    assert_true(str_cut(&rest, ',', &part));
    assert_int_equal(part.n, 0);
    assert_false(str_cut(&rest, ',', &part));
}

static void numbers_are_strict(void **state UNUSED)
{
    static const char *const bad[] = {"",
                                      " 1",
                                      "1 ",
                                      "+1",
                                      "-1",
                                      "0x1",
                                      "1.0",
                                      "a",
                                      "18446744073709551616",
                                      "99999999999999999999"};
    uint64_t v = 7;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(str_to_u64(str_from(bad[i]), &v), -1);
    assert_int_equal(v, 7);
    assert_int_equal(str_to_u64(STR_LIT("18446744073709551615"), &v), 0);
    assert_true(v == UINT64_MAX);
    assert_int_equal(str_to_u64(STR_LIT("007"), &v), 0);
    assert_int_equal(v, 7);
}

static void numbers_with_a_point(void **state UNUSED)
{
    static const char *const bad[] = {"",
                                      ".",
                                      "-1",
                                      "+1",
                                      "nan",
                                      "inf",
                                      " 1",
                                      "e1",
                                      "1.2.3",
                                      "..",
                                      "111111111111111111111111111111111111"};
    struct str s = STR_LIT("1.5ms");
    double v = 0;

    assert_int_equal(str_take_number(&s, &v), 0);
    assert_true(v == 1.5 && str_equal(s, STR_LIT("ms")));
    s = STR_LIT("0x10");
    assert_int_equal(str_take_number(&s, &v), 0);
    assert_true(v == 0 && str_equal(s, STR_LIT("x10")));
    s = STR_LIT(".25");
    assert_int_equal(str_take_number(&s, &v), 0);
    assert_true(v == 0.25 && s.n == 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        s = str_from(bad[i]);
        if (str_take_number(&s, &v) != -1)
            fail_msg("%s", bad[i]);
    }
}

static void globs(void **state UNUSED)
{
    static const struct {
        const char *pattern, *text;
        bool match;
    } rows[] = {{"", "", true},           {"*", "", true},
                {"?", "", false},         {"a*c", "abbbc", true},
                {"a*c", "abbbcd", false}, {"*.b.c", "a.b.b.c", true},
                {"a?c", "abc", true},     {"a?c", "ac", false},
                {"**a**", "bab", true},   {"a*b*c", "aXbXbXc", true},
                {"a*b*c", "acb", false},  {"[a]", "a", false}};
    static char many[4000];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(str_glob(str_from(rows[i].pattern), str_from(rows[i].text)),
                         rows[i].match);
    memset(many, 'a', sizeof(many)); /* exponential in a naive matcher */
    assert_false(str_glob(STR_LIT("a*a*a*a*a*a*a*a*a*a*b"), (struct str){many, sizeof(many)}));
}

static void copies_never_overflow(void **state UNUSED)
{
    char out[4] = "xyz";

    assert_int_equal(str_copy(STR_LIT("abc"), out, sizeof(out)), 0);
    assert_string_equal(out, "abc");
    assert_int_equal(str_copy(STR_LIT("abcd"), out, sizeof(out)), -1);
    assert_string_equal(out, "");
    assert_int_equal(str_copy(STR_NULL, out, 0), -1);
    assert_int_equal(str_copy(STR_NULL, out, 1), 0);
}

/* clang's sanitizer objects to NULL + 0; the empty view of a buffer without memory is such. */
static void nothing_is_skipped_of_nothing(void **state UNUSED)
{
    struct str s = str_skip(STR_NULL, 0);

    assert_null(s.p);
    assert_int_equal(s.n, 0);
    s = str_skip(STR_LIT("ab"), 2);
    assert_non_null(s.p);
    assert_int_equal(s.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equality),
        cmocka_unit_test(trimming_takes_blanks_and_tabs_only),
        cmocka_unit_test(one_line_end_is_taken_off),
        cmocka_unit_test(cutting),
        cmocka_unit_test(numbers_are_strict),
        cmocka_unit_test(numbers_with_a_point),
        cmocka_unit_test(globs),
        cmocka_unit_test(copies_never_overflow),
        cmocka_unit_test(nothing_is_skipped_of_nothing),
    };
    return cmocka_run_group_tests_name("base/str", tests, NULL, NULL);
}
