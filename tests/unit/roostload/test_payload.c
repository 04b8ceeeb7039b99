/* tests/unit/roostload/test_payload.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cmd/roostload/payload.c"

static void round_trip(void **state)
{
    static const struct payload p = {0xdeadbeef, 1, 0xffffffff, 7, UINT64_MAX, 123456789};
    struct payload q;
    char text[100];

    (void)state;
    for (size_t n = PAYLOAD_MIN; n <= sizeof(text); n++) {
        payload_write(&p, text, n);
        assert_int_equal(payload_read((struct str){text, n}, &q), 0);
        assert_memory_equal(&p, &q, sizeof(p));
        for (size_t i = 0; i < n; i++) /* safe inside JSON and text frames */
            assert_true(text[i] > ' ' && text[i] < 0x7f && text[i] != '"' && text[i] != '\\');
    }
}

static void anything_else_is_refused(void **state)
{
    struct payload p = {0};
    char text[PAYLOAD_MIN];

    (void)state;
    payload_write(&p, text, sizeof(text));
    for (size_t n = 0; n < sizeof(text); n++)
        assert_int_equal(payload_read((struct str){text, n}, &p), -1);
    for (size_t i = 0; i < sizeof(text); i++) {
        char was = text[i];

        text[i] = 'G';
        assert_int_equal(payload_read((struct str){text, sizeof(text)}, &p), -1);
        text[i] = was;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trip),
                                       cmocka_unit_test(anything_else_is_refused)};
    return cmocka_run_group_tests_name("roostload/payload", tests, NULL, NULL);
}
