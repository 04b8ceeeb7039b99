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

/* The counts after the sequences up to a 0, beginning with `last`. */
static struct load_metrics after(uint32_t last, const uint32_t *sequences)
{
    struct load_metrics m = {0};
    struct seen s = {.last = last};

    for (; *sequences != 0; sequences++)
        seen_add(&s, *sequences, &m);
    return m;
}

#define ASSERT_SEEN(last, lost, twice, late, ...)                                                  \
    do {                                                                                           \
        struct load_metrics m = after(last, (const uint32_t[]){__VA_ARGS__, 0});                   \
        assert_int_equal(m.gaps, lost);                                                            \
        assert_int_equal(m.duplicates, twice);                                                     \
        assert_int_equal(m.reordered, late);                                                       \
    } while (0)

static void sequences(void **state)
{
    (void)state;
    ASSERT_SEEN(0, 0, 0, 0, 1, 2, 3, 4);
    ASSERT_SEEN(0, 2, 0, 0, 1, 4);
    ASSERT_SEEN(0, 2, 0, 0, 3, 4);
    ASSERT_SEEN(0, 0, 1, 0, 1, 1, 2);
    ASSERT_SEEN(0, 0, 1, 0, 1, 2, 3, 1);    /* not twice in a row */
    ASSERT_SEEN(0, 0, 0, 1, 1, 3, 2, 4);    /* swapped */
    ASSERT_SEEN(0, 0, 1, 1, 1, 3, 2, 2, 4); /* and once more */
    ASSERT_SEEN(0, 0, 0, 3, 4, 3, 2, 1, 5);
    ASSERT_SEEN(SEQUENCE_ANY, 0, 0, 0, 100, 101);
    ASSERT_SEEN(SEQUENCE_ANY, 1, 0, 0, 100, 102);
    /* the edges of what is remembered */
    ASSERT_SEEN(1, 30, 0, 0, 32);
    ASSERT_SEEN(1, 29, 1, 1, 32, 2, 1);
    ASSERT_SEEN(1, 30, 1, 1, 33, 2, 1);
    ASSERT_SEEN(1, 31, 0, 1, 34, 2);
    ASSERT_SEEN(1, 33, 0, 1, 35, 2); /* too far back to be filled */
    ASSERT_SEEN(1, 97, 0, 0, 99);
    ASSERT_SEEN(1, 96, 0, 1, 99, 98);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trip),
                                       cmocka_unit_test(anything_else_is_refused),
                                       cmocka_unit_test(sequences)};
    return cmocka_run_group_tests_name("roostload/payload", tests, NULL, NULL);
}
