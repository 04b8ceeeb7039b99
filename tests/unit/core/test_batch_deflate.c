/* Compressed variants: each once, shared where they come out the same, in steps, and from the message
 * at which memory ran out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/ws_rx.h"
#include "core/batch_deflate.c"
#include "fault.h"

static struct metrics counters;

static int setup(void **state UNUSED)
{
    config_defaults(&config);
    counters = (struct metrics){0};
    metrics = &counters;
    return 0;
}

static int no_encoder(const struct batch *b UNUSED, uint32_t item UNUSED,
                      struct batch_part *part UNUSED, size_t max UNUSED, struct buf *out)
{
    return buf_append_lit(out, "short");
}

static struct buf texts;

static void append(struct batch *b, size_t n, unsigned seed, bool binary)
{
    struct buf data = {0};
    struct record r = {.kind = RECORD_PUBLICATION, .flags = binary ? RECORD_BINARY : 0};

    while (data.len < n)
        assert_int_equal(buf_printf(&data, "{\"number\":%u},", seed = seed * 7919 + 13), 0);
    r.data = (struct str){data.p, n};
    assert_int_equal(batch_append(b, &r), 0);
    assert_int_equal(buf_append(&texts, r.data), 0);
    buf_fini(&data);
}

static void append_noise(struct batch *b, size_t n)
{
    char data[4096];
    struct record r = {.kind = RECORD_PUBLICATION, .flags = RECORD_BINARY, .data = {data, n}};
    uint32_t random = 1;

    for (size_t i = 0; i < n; i++)
        data[i] = (char)((random = random * 1664525 + 1013904223) >> 24);
    assert_int_equal(batch_append(b, &r), 0);
    assert_int_equal(buf_append(&texts, r.data), 0);
}

static struct batch *batch_begin(void)
{
    buf_clear(&texts);
    return batch_new(STR_LIT("lobby"));
}

static bool encode_all(struct batch *b, unsigned variant)
{
    size_t budget = SIZE_MAX;

    return batch_encode(b, variant, &budget);
}

static void batch_end(struct batch *b)
{
    batch_free(b);
    buf_fini(&texts);
}

/* What a client reads of it is what was published; which messages were compressed, as bits. */
static unsigned assert_reads(const struct batch *b, unsigned variant)
{
    const struct ws_rx_limits limits = {.frame = 1 << 24, .message = 1 << 24, .deflate = true};
    struct ws_rx_pool *pool = ws_rx_pool_new(WS_CLIENT, UINT64_MAX);
    struct str expected = buf_view(&texts);
    struct blob *v = batch_variant(b, variant);
    unsigned compressed = 0;
    uint32_t behind = 0;

    assert_non_null(v);
    for (uint32_t i = 0; i < b->nitems; i++) {
        bool binary = b->items[i].flags & RECORD_BINARY;
        uint32_t start, end;
        struct ws_rx rx = {0};
        struct ws_item item;
        enum close_reason why;
        struct str in;

        batch_range(b, variant, i, &start, &end);
        assert_int_equal(start, behind);
        behind = end;
        in = (struct str){v->data + start, end - start};
        assert_int_equal(ws_rx_next(&rx, pool, &limits, &in, &item, &why), 1);
        assert_int_equal(in.n, 0);
        assert_int_equal(item.kind, binary ? WS_ITEM_BINARY : WS_ITEM_TEXT);
        assert_true(item.data.n <= expected.n);
        assert_memory_equal(item.data.p, expected.p, item.data.n);
        expected = str_skip(expected, item.data.n);
        if (ws_rx_compressed(pool).p != NULL)
            compressed |= 1u << i;
    }
    assert_int_equal(behind, v->len);
    assert_int_equal(expected.n, 0);
    ws_rx_pool_free(pool);
    return compressed;
}

#define W(window) batch_deflated(BATCH_RAW, (window) + 1u)

static void numbers_of_variants(void **state UNUSED)
{
    bool seen[BATCH_VARIANT_NR] = {false};

    for (unsigned form = 0; form < BATCH_FORM_NR; form++)
        for (unsigned deflate = 0; deflate <= DEFLATE_WINDOW_NR; deflate++) {
            unsigned v = batch_deflated(form, deflate);

            assert_true(v < BATCH_VARIANT_NR);
            assert_true(deflate == 0 || form >= BATCH_WS_NR || !seen[v]);
            seen[v] = true;
        }
    for (unsigned v = 0; v < BATCH_VARIANT_NR; v++)
        assert_true(seen[v]);
    assert_int_equal(batch_deflated(BATCH_CF_JSON_LINE, 1), BATCH_CF_JSON_LINE);
}

static void what_pays_is_compressed(void **state UNUSED)
{
    struct batch *b = batch_begin();

    append(b, 511, 1, false); /* too short */
    append(b, 512, 2, true);
    append_noise(b, 600); /* would be longer */
    append(b, 100000, 3, false);
    append(b, 5000, 4, false);
    batch_seal(b);
    for (unsigned w = 0; w < DEFLATE_WINDOW_NR; w++) {
        assert_null(batch_variant(b, W(w)));
        assert_true(encode_all(b, W(w)));
        assert_int_equal(assert_reads(b, W(w)), 0x1a);
        assert_true(batch_variant(b, W(w))->len < b->raw_len / 2);
        assert_int_equal(counters.deflated, 4 * (w + 1));
        assert_true(encode_all(b, W(w))); /* once */
        assert_int_equal(counters.deflated, 4 * (w + 1));
    }
    assert_int_equal(counters.deflated_from_bytes, 3 * (512 + 600 + 100000 + 5000));
    assert_true(counters.deflated_to_bytes < counters.deflated_from_bytes / 2);
    assert_int_equal(assert_reads(b, BATCH_RAW), 0);
    batch_end(b);
}

/* Messages that a smaller window reaches all of are compressed with that, once for both. */
static void shared_among_windows(void **state UNUSED)
{
    struct batch *b = batch_begin();

    append(b, 3000, 1, false);
    append(b, 100, 2, false);
    batch_seal(b);
    assert_true(encode_all(b, W(DEFLATE_32K)));
    assert_true(encode_all(b, W(DEFLATE_4K)));
    assert_ptr_equal(batch_variant(b, W(DEFLATE_32K)), batch_variant(b, W(DEFLATE_4K)));
    assert_int_equal(counters.deflated, 1);
    assert_int_equal(assert_reads(b, W(DEFLATE_32K)), 1);
    assert_true(encode_all(b, W(DEFLATE_256)));
    assert_ptr_not_equal(batch_variant(b, W(DEFLATE_256)), batch_variant(b, W(DEFLATE_4K)));
    assert_int_equal(assert_reads(b, W(DEFLATE_256)), 1);
    batch_end(b);
}

/* Nothing is long enough: the form itself, raw or encoded. */
static void nothing_to_compress(void **state UNUSED)
{
    struct batch *b = batch_begin();
    unsigned envelope = batch_deflated(BATCH_PLAIN_ENVELOPE, 1);
    uint32_t start, end;

    batch_register(ENCODING_PLAIN_ENVELOPE, no_encoder);
    append(b, 100, 1, false);
    append(b, 0, 2, false);
    batch_seal(b);
    assert_true(encode_all(b, W(DEFLATE_32K)));
    assert_ptr_equal(batch_variant(b, W(DEFLATE_32K)), batch_variant(b, BATCH_RAW));
    assert_int_equal(assert_reads(b, W(DEFLATE_32K)), 0);
    assert_true(encode_all(b, envelope));
    assert_ptr_equal(batch_variant(b, envelope), batch_variant(b, BATCH_PLAIN_ENVELOPE));
    batch_range(b, envelope, 1, &start, &end);
    assert_int_equal(start, 7);
    assert_int_equal(end, 14);
    assert_int_equal(counters.deflated, 0);
    batch_end(b);
}

/* A step is about one piece, however small the budget is; other batches do theirs between. */
static void in_steps(void **state UNUSED)
{
    struct batch *b = batch_begin(), *other;
    unsigned steps = 0;
    size_t budget;

    append(b, 10 * BATCH_PIECE + 1, 1, false);
    append(b, 1000, 2, false);
    batch_seal(b);
    for (budget = 1; !batch_encode(b, W(DEFLATE_32K), &budget); budget = 1) {
        assert_int_equal(budget, 0);
        steps++;
        if (steps == 5) {
            struct buf kept = texts;

            texts = (struct buf){0};
            other = batch_begin();
            append(other, 2 * BATCH_PIECE, 9, false);
            batch_seal(other);
            assert_true(encode_all(other, W(DEFLATE_32K)));
            assert_int_equal(assert_reads(other, W(DEFLATE_32K)), 1);
            batch_end(other);
            texts = kept;
        }
    }
    assert_int_equal(steps, 11);
    assert_int_equal(assert_reads(b, W(DEFLATE_32K)), 3);
    batch_end(b);
}

static void dropped_in_the_middle(void **state UNUSED)
{
    struct batch *b = batch_begin();
    size_t budget = 1;

    append(b, 3 * BATCH_PIECE, 1, false);
    batch_seal(b);
    assert_false(batch_encode(b, W(DEFLATE_32K), &budget));
    batch_end(b); /* leaks nothing */
}

static void no_memory(void **state UNUSED)
{
    unsigned failures = 0;

    for (unsigned long k = 1;; k++) {
        struct batch *b = batch_begin();
        bool failed;

        append(b, 20000, 1, false);
        append_noise(b, 4000);
        append(b, 600, 2, false);
        batch_seal(b);
        config.compression_level = (int64_t)(1 + k % 9); /* or one that is spare would do */
        fault_fail_at(k);
        assert_true(encode_all(b, W(DEFLATE_32K)));
        fault_reset();
        failed = batch_variant(b, W(DEFLATE_32K)) == NULL;
        failures += failed;
        assert_true(encode_all(b, W(DEFLATE_32K)));
        assert_int_equal(assert_reads(b, W(DEFLATE_32K)), 5);
        batch_end(b);
        if (!failed)
            break;
    }
    assert_true(failures >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(numbers_of_variants, setup),
        cmocka_unit_test_setup(what_pays_is_compressed, setup),
        cmocka_unit_test_setup(shared_among_windows, setup),
        cmocka_unit_test_setup(nothing_to_compress, setup),
        cmocka_unit_test_setup(in_steps, setup),
        cmocka_unit_test_setup(dropped_in_the_middle, setup),
        cmocka_unit_test_setup(no_memory, setup),
    };

    return cmocka_run_group_tests_name("core/batch_deflate", tests, NULL, NULL);
}
