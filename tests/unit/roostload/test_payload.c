/* tests/unit/roostload/test_payload.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cmd/roostload/payload.c"
#include "codec/deflate.h"
#include "fault.h"

static void round_trip(void **state UNUSED)
{
    static const struct payload p = {0xdeadbeef, 1, 0xffffffff, 7, UINT64_MAX, 123456789};
    struct payload q;
    char text[100];

    for (size_t n = PAYLOAD_MIN; n <= sizeof(text); n++) {
        payload_write(&p, text, n);
        assert_int_equal(payload_read((struct str){text, n}, &q), 0);
        assert_memory_equal(&p, &q, sizeof(p));
        for (size_t i = 0; i < n; i++) /* safe inside JSON and text frames */
            assert_true(text[i] > ' ' && text[i] < 0x7f && text[i] != '"' && text[i] != '\\');
    }
}

static void words_and_numbers(void **state UNUSED)
{
    static const struct payload p = {.sequence = 7};
    struct payload q;
    struct buf out = {0};
    char text[2000], other[2000];

    for (size_t n = PAYLOAD_MIN; n <= sizeof(text); n++) {
        memset(text, '\0', sizeof(text));
        payload_write(&p, text, n);
        payload_fill(text + PAYLOAD_MIN, n - PAYLOAD_MIN, 7);
        assert_int_equal(payload_read((struct str){text, n}, &q), 0);
        for (size_t i = 0; i < sizeof(text); i++)
            assert_true(i < n ? text[i] > ' ' && text[i] < 0x7f && text[i] != '"' && text[i] != '\\'
                              : text[i] == '\0');
    }
    payload_fill(text, sizeof(text), 7);
    payload_fill(other, sizeof(other), 8);
    assert_memory_not_equal(text, other, 100);
    assert_int_equal(deflate_message(DEFLATE_32K, 1, (struct str){text, sizeof(text)}, &out), 0);
    assert_in_range(out.len, sizeof(text) / 4, sizeof(text) / 2);
    buf_fini(&out);
}

static void anything_else_is_refused(void **state UNUSED)
{
    struct payload p = {0};
    char text[PAYLOAD_MIN];

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

/* The counts after the sequences up to a 0, beginning with `last`; until the next call. */
static const struct load_metrics *after(uint32_t last, const uint32_t *sequences)
{
    static struct load_metrics m; /* large: a stack would not hold one for every case */
    struct seen s = {.last = last};

    memset(&m, 0, sizeof(m));
    for (; *sequences != 0; sequences++)
        assert_true(seen_add(&s, *sequences, &m) >= 0);
    seen_fini(&s);
    return &m;
}

#define ASSERT_SEEN(last, lost, twice, late, ...)                                                  \
    do {                                                                                           \
        const struct load_metrics *m = after(last, (const uint32_t[]){__VA_ARGS__, 0});            \
        assert_int_equal(m->gaps, lost);                                                           \
        assert_int_equal(m->duplicates, twice);                                                    \
        assert_int_equal(m->reordered, late);                                                      \
    } while (0)

static void sequences(void **state UNUSED)
{
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
    ASSERT_SEEN(1, 32, 0, 1, 35, 2);
    ASSERT_SEEN(1, 97, 0, 0, 99);
    ASSERT_SEEN(1, 96, 0, 1, 99, 98);
    ASSERT_SEEN(1, 96, 1, 1, 99, 2, 2); /* and twice, that far back */
    ASSERT_SEEN(1, 284, 2, 2, 288, 3, 2, 3, 2);
    ASSERT_SEEN(1, 285, 0, 2, 289, 3, 2);
    /* beyond it: as many as are missing there are late ones, more are duplicates */
    ASSERT_SEEN(1, 997, 0, 1, 1000, 2);
    ASSERT_SEEN(0, 0, 1, 0, 1, 2, 3, 2);
    ASSERT_SEEN(0, 4294967293, 0, 0, UINT32_MAX - 1);
    ASSERT_SEEN(0, 4294967292, 0, 1, UINT32_MAX - 1, 1);
}

/* Every sequence up to n, the k-th held back by `late`: none is lost or a duplicate. */
static void held_back(void **state UNUSED)
{
    for (uint32_t late = 1; late < 600; late += 7) {
        static struct load_metrics m;
        struct seen s = {0};
        const uint32_t n = 3000, k = 100;

        memset(&m, 0, sizeof(m));
        for (uint32_t i = 1; i <= n; i++) {
            if (i % k != 0)
                assert_int_equal(seen_add(&s, i, &m), 1);
            if (i > late && (i - late) % k == 0)
                assert_int_equal(seen_add(&s, i - late, &m), 1);
        }
        assert_int_equal(m.gaps, (late + k - 1) / k - 1); /* the last one is no gap yet */
        assert_int_equal(m.duplicates, 0);
        assert_int_equal(m.reordered, n / k - (late + k - 1) / k);
        seen_fini(&s);
    }
}

static void no_memory_is_said(void **state UNUSED)
{
    struct load_metrics m = {0};
    struct seen s = {0};

    fault_fail_at(1);
    assert_int_equal(seen_add(&s, 1, &m), 1); /* needs none */
    assert_int_equal(seen_add(&s, 100, &m), -1);
    fault_reset();
    seen_fini(&s);
    assert_true(sizeof(struct seen) <= 16); /* many subscribers of many publishers */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(round_trip),
                                       cmocka_unit_test(words_and_numbers),
                                       cmocka_unit_test(anything_else_is_refused),
                                       cmocka_unit_test(sequences),
                                       cmocka_unit_test(held_back),
                                       cmocka_unit_test(no_memory_is_said)};
    return cmocka_run_group_tests_name("roostload/payload", tests, NULL, NULL);
}
