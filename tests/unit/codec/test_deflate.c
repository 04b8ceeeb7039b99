/* codec/deflate: what is written is read back by zlib in any pieces, and keeps to its window. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/deflate.c"
#include "tests/lib/fault.h"

static uint64_t seed = 88172645463325252u;

static uint32_t random_below(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 32) % n;
}

/* Words, so that there is much to point back to, at all distances. */
static struct buf prose(size_t n)
{
    struct buf b = {0};

    while (b.len < n)
        assert_int_equal(buf_printf(&b, "{\"word%u\":%u},", random_below(60), random_below(9999)),
                         0);
    b.len = n;
    return b;
}

/* As a peer with a window of 2^bits bytes does it: out comes a byte at a time, so that zlib looks
 * into its window for all that is pointed to. */
static void inflate_and_compare(struct str compressed, int bits, struct str expected)
{
    z_stream z = {0};
    struct buf in = {0};
    size_t n = 0;
    Bytef byte;

    assert_int_equal(inflateInit2(&z, -bits), Z_OK);
    assert_int_equal(buf_append(&in, compressed), 0);
    assert_int_equal(buf_append(&in, (struct str){"\0\0\377\377", 4}), 0);
    z.next_in = (Bytef *)in.p;
    z.avail_in = (uInt)in.len;
    for (;;) {
        int rc;

        z.next_out = &byte;
        z.avail_out = 1;
        rc = inflate(&z, Z_SYNC_FLUSH);
        assert_true(rc == Z_OK || rc == Z_BUF_ERROR);
        if (z.avail_out == 1)
            break;
        assert_true(n < expected.n && (char)byte == expected.p[n]);
        n++;
    }
    assert_int_equal(n, expected.n);
    assert_int_equal(z.avail_in, 0);
    assert_int_equal(inflateEnd(&z), Z_OK);
    buf_fini(&in);
}

static const int bits_of[DEFLATE_WINDOW_NR] = {15, 12, 8};

/* In pieces of at most `piece` bytes; as long as in one go, or a little more. */
static void round_trip(enum deflate_window window, int level, struct str data, size_t piece)
{
    struct deflater *d = deflate_attach(window, level);
    struct buf out = {0};
    struct str rest = data;

    assert_non_null(d);
    do {
        struct str next = {rest.p, MIN(rest.n, piece)};

        rest = str_skip(rest, next.n);
        assert_int_equal(deflate_piece(d, next, rest.n == 0, &out), 0);
    } while (rest.n > 0);
    deflate_detach(&d);
    assert_null(d);
    inflate_and_compare(buf_view(&out), bits_of[window], data);
    buf_fini(&out);
}

static void all_windows_levels_and_sizes(void **state)
{
    static const size_t sizes[] = {0, 1, 2, 100, 250, 251, 512, 3834, 3835, 4096, 20000, 70000};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct buf data = prose(sizes[i]);

        for (int w = 0; w < DEFLATE_WINDOW_NR; w++)
            for (int level = 1; level <= 9; level += 4) {
                round_trip((enum deflate_window)w, level, buf_view(&data), SIZE_MAX);
                round_trip((enum deflate_window)w, level, buf_view(&data), 777);
            }
        buf_fini(&data);
    }
}

/* What does not compress needs room beyond its own size. */
static void noise(void **state)
{
    struct buf data = {0};

    (void)state;
    for (int i = 0; i < 50000; i++)
        assert_int_equal(buf_append_char(&data, (char)random_below(256)), 0);
    for (int w = 0; w < DEFLATE_WINDOW_NR; w++) {
        round_trip((enum deflate_window)w, 1, buf_view(&data), SIZE_MAX);
        round_trip((enum deflate_window)w, 1, buf_view(&data), 1000);
    }
    buf_fini(&data);
}

/* RFC 7692 §7.2.3.1 and §7.2.3.6, whose bytes an encoder need not write, but ours does. */
static void examples_of_the_rfc(void **state)
{
    struct buf out = {0};

    (void)state;
    assert_int_equal(deflate_message(DEFLATE_32K, 1, STR_LIT("Hello"), &out), 0);
    assert_true(str_equal(buf_view(&out), STR_LIT("\xf2\x48\xcd\xc9\xc9\x07\0")));
    buf_clear(&out);
    assert_int_equal(deflate_message(DEFLATE_32K, 1, STR_NULL, &out), 0);
    assert_true(str_equal(buf_view(&out), STR_LIT("\0")));
    buf_fini(&out);
}

/* A message that fits a window comes out the same as with any larger one. */
static void reach(void **state)
{
    (void)state;
    assert_true(deflate_reaches(DEFLATE_256, 250) && !deflate_reaches(DEFLATE_256, 251));
    assert_true(deflate_reaches(DEFLATE_4K, 3834) && !deflate_reaches(DEFLATE_4K, 3835));
    assert_true(deflate_reaches(DEFLATE_32K, SIZE_MAX));
    assert_int_equal(deflate_window_of(8), DEFLATE_256);
    assert_int_equal(deflate_window_of(11), DEFLATE_256);
    assert_int_equal(deflate_window_of(12), DEFLATE_4K);
    assert_int_equal(deflate_window_of(14), DEFLATE_4K);
    assert_int_equal(deflate_window_of(15), DEFLATE_32K);
}

/* Nothing of a message that was given up, or of another level, is in the next one. */
static void given_back_in_the_middle(void **state)
{
    struct buf data = prose(30000), first = {0}, again = {0};
    struct deflater *d;

    (void)state;
    assert_int_equal(deflate_message(DEFLATE_4K, 1, buf_view(&data), &first), 0);
    d = deflate_attach(DEFLATE_4K, 1);
    assert_int_equal(deflate_piece(d, STR_LIT("what nobody reads"), false, &again), 0);
    deflate_detach(&d);
    buf_clear(&again);
    assert_int_equal(deflate_message(DEFLATE_4K, 1, buf_view(&data), &again), 0);
    assert_true(str_equal(buf_view(&first), buf_view(&again)));
    buf_clear(&again);
    assert_int_equal(deflate_message(DEFLATE_4K, 9, buf_view(&data), &again), 0);
    assert_true(again.len < first.len);
    buf_fini(&data);
    buf_fini(&first);
    buf_fini(&again);
}

/* Several at a time, as batches that take many steps do; few are kept. */
static void several_at_a_time(void **state)
{
    struct deflater *d[5];
    struct buf out[5] = {{0}};

    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        d[i] = deflate_attach(DEFLATE_256, 1);
        assert_int_equal(deflate_piece(d[i], STR_LIT("of "), false, &out[i]), 0);
    }
    for (unsigned i = 0; i < 5; i++) {
        char digit = (char)('0' + i);
        char whole[] = {'o', 'f', ' ', digit};

        assert_int_equal(deflate_piece(d[i], (struct str){&digit, 1}, true, &out[i]), 0);
        inflate_and_compare(buf_view(&out[i]), 8, (struct str){whole, 4});
        deflate_detach(&d[i]);
        buf_fini(&out[i]);
    }
    assert_int_equal(spare[DEFLATE_256].n, SPARE_MAX);
}

static void no_memory(void **state)
{
    struct buf data = prose(5000), out = {0};
    bool failed = true;

    (void)state;
    assert_int_equal(buf_append_lit(&out, "before"), 0);
    for (unsigned long k = 1; failed; k++) {
        while (spare[DEFLATE_4K].n > 0) {
            spare[DEFLATE_4K].n--;
            deflater_free(LIST_ENTRY(list_pop(&spare[DEFLATE_4K].list), struct deflater, link));
        }
        fault_fail_at(k);
        failed = deflate_message(DEFLATE_4K, 1, buf_view(&data), &out) == -1;
        fault_reset();
        if (failed)
            assert_true(str_equal(buf_view(&out), STR_LIT("before")));
    }
    inflate_and_compare(str_skip(buf_view(&out), 6), 12, buf_view(&data));
    assert_int_equal(deflate_piece(NULL, (struct str){"", DEFLATE_PIECE_MAX + 1}, true, &out), -1);
    buf_fini(&data);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_windows_levels_and_sizes),
        cmocka_unit_test(noise),
        cmocka_unit_test(examples_of_the_rfc),
        cmocka_unit_test(reach),
        cmocka_unit_test(given_back_in_the_middle),
        cmocka_unit_test(several_at_a_time),
        cmocka_unit_test(no_memory),
    };

    return cmocka_run_group_tests_name("codec/deflate", tests, NULL, NULL);
}
