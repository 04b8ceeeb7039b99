/* tests/unit/base/test_suggest.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/suggest.c"

static const char *nearest(const char *word)
{
    static const char *const known[] = {"connections", "connect-timeout", "rate", "html"};
    struct suggest s;

    suggest_init(&s, str_from(word));
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        suggest_offer(&s, known[i]);
    return s.nearest != NULL ? s.nearest : "none";
}

static void misspelt_words(void **state UNUSED)
{
    assert_string_equal(nearest("conections"), "connections");
    assert_string_equal(nearest("connectionss"), "connections");
    assert_string_equal(nearest("connect_timeout"), "connect-timeout");
    assert_string_equal(nearest("rtae"), "rate");
    assert_string_equal(nearest("rate"), "rate");
}

static void a_word_cut_short(void **state UNUSED)
{
    assert_string_equal(nearest("connecti"), "connections");
    assert_string_equal(nearest("connect-"), "connect-timeout");
    assert_string_equal(nearest("ht"), "html");
}

static void what_is_not_near(void **state UNUSED)
{
    char long_word[100];

    memset(long_word, 'x', sizeof(long_word) - 1);
    long_word[sizeof(long_word) - 1] = '\0';
    assert_string_equal(nearest("zzzzzz"), "none");
    assert_string_equal(nearest(""), "none");
    assert_string_equal(nearest(long_word), "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(misspelt_words),
        cmocka_unit_test(a_word_cut_short),
        cmocka_unit_test(what_is_not_near),
    };
    return cmocka_run_group_tests_name("base/suggest", tests, NULL, NULL);
}
