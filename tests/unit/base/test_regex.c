/* base/regex: what matches, and that no text makes it expensive. */
#include "base/regex.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/lib/fault.h"

static bool matches(const char *pattern, struct str text)
{
    char err[160];
    struct regex *re = regex_new(str_from(pattern), err, sizeof(err));
    bool yes;

    if (re == NULL)
        fail_msg("%s: %s", pattern, err);
    yes = regex_match(re, text);
    regex_free(re);
    return yes;
}

static void anywhere_unless_anchored(void **state UNUSED)
{
    assert_true(matches("b", STR_LIT("abc")));
    assert_false(matches("^b", STR_LIT("abc")));
    assert_true(matches("^[a-z]+$", STR_LIT("abc")));
    assert_false(matches("^[a-z]+$", STR_LIT("abc\n"))); /* $ is the very end */
    assert_true(matches("", STR_NULL));
    assert_true(matches("^.$", STR_LIT("\xc3\xa9"))); /* a character, not two bytes */
    assert_false(matches(".", STR_LIT("\xff")));
    assert_false(matches("a", STR_LIT("a\xc3")));
}

/* Nested repetition: without limits this takes longer than the universe has. */
static void a_costly_match_is_none(void **state UNUSED)
{
    char text[200];

    memset(text, 'a', sizeof(text));
    text[sizeof(text) - 1] = '!';
    assert_false(matches("^(a+)+$", (struct str){text, sizeof(text)}));
    assert_false(matches("^(a|aa)*b", (struct str){text, sizeof(text)}));
}

static void refused(void **state UNUSED)
{
    char err[160] = "";

    assert_null(regex_new(STR_LIT("a[b"), err, sizeof(err)));
    assert_string_equal(err, "missing terminating ] for character class, at its byte 4");
    assert_null(regex_new(STR_LIT("\\C"), err, sizeof(err)));
    assert_null(regex_new(STR_LIT("\xff"), err, sizeof(err)));
    regex_free(NULL);
}

static void no_memory(void **state UNUSED)
{
    char err[160];

    for (unsigned k = 1; k < 10; k++) {
        struct regex *re;

        fault_fail_at(k);
        re = regex_new(STR_LIT("^a+$"), err, sizeof(err));
        fault_reset();
        regex_free(re);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(anywhere_unless_anchored),
        cmocka_unit_test(a_costly_match_is_none),
        cmocka_unit_test(refused),
        cmocka_unit_test(no_memory),
    };

    return cmocka_run_group_tests_name("base/regex", tests, NULL, NULL);
}
