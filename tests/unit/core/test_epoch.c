/* Epochs: each has one text of eight letters, and each text one epoch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/epoch.c"

static void both_ways(void **state)
{
    static const uint64_t some[] = {1, 2, 26, 27, 52, 53, 12345678901, EPOCH_MAX - 1, EPOCH_MAX};
    char text[EPOCH_TEXT];
    uint64_t back;

    (void)state;
    for (unsigned i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
        epoch_write(some[i], text);
        assert_true(epoch_read((struct str){text, sizeof(text)}, &back));
        assert_true(back == some[i]);
    }
    epoch_write(1, text);
    assert_memory_equal(text, "AAAAAAAA", 8);
    epoch_write(EPOCH_MAX, text);
    assert_memory_equal(text, "zzzzzzzz", 8);
    assert_true(epoch_read(STR_LIT("AAAAAAAB"), &back) && back == 2);
}

static void other_texts_are_none(void **state)
{
    static const char *const bad[] = {"",         "AAAAAAA",  "AAAAAAAAA",
                                      "AAAAAAA1", "AAAA AAA", "AAAAAA\xc3\xa4"};
    uint64_t back;

    (void)state;
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(epoch_read(str_from(bad[i]), &back));
    assert_false(epoch_read(STR_NULL, &back));
}

static void new_ones_differ(void **state)
{
    uint64_t seen[1000];

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        seen[i] = epoch_new();
        assert_true(seen[i] >= 1 && seen[i] <= EPOCH_MAX);
        for (unsigned k = 0; k < i; k++)
            assert_true(seen[k] != seen[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways),
        cmocka_unit_test(other_texts_are_none),
        cmocka_unit_test(new_ones_differ),
    };

    return cmocka_run_group_tests_name("core/epoch", tests, NULL, NULL);
}
