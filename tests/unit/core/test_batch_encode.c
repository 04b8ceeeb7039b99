/* Variants: made once, in steps of bounded size, and from where memory ran out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/ws_tx.h"
#include "core/batch_encode.c"
#include "fault.h"

#define ALL   SIZE_MAX
#define THREE "\x81\x07<0>one;\x81\x04<1>;\x81\x09<2>three;" /* batch three() */

static unsigned encoded; /* items */
static size_t bytes;     /* read and written */
static uint32_t refused; /* item that there is never memory for */

/* "<index>payload;", in pieces; the framing puts a WebSocket header in front. */
static int encode(const struct batch *b, uint32_t item, struct batch_part *part, size_t max,
                  struct buf *out)
{
    struct str payload = batch_payload(b, item), piece = str_skip(payload, part->done);
    size_t before = out->len;

    if (part->done == 0)
        assert_true(part->start < before && part->phase == 0);
    assert_int_equal(part->phase, part->done > 0);
    piece.n = MIN(piece.n, max);
    if (item == refused || (part->done == 0 && buf_printf(out, "<%u>", item) == -1) ||
        buf_append(out, piece) == -1 ||
        (part->done + piece.n == payload.n && buf_append_char(out, ';') == -1)) {
        out->len = before;
        return -1;
    }
    part->done += piece.n;
    part->phase = 1;
    bytes += piece.n + out->len - before;
    if (part->done == payload.n) { /* the framing's part */
        encoded++;
        bytes += 10;
    }
    return part->done < payload.n;
}

static int setup(void **state UNUSED)
{
    batch_register(ENCODING_PLAIN_ENVELOPE, encode);
    encoded = 0;
    bytes = 0;
    refused = UINT32_MAX;
    return 0;
}

static void append(struct batch *b, const char *data, size_t n)
{
    struct record r = {.kind = RECORD_PUBLICATION, .data = {.p = data, .n = n}};

    assert_int_equal(batch_append(b, &r), 0);
}

static struct batch *three(void)
{
    struct batch *b = batch_new(STR_LIT("lobby"));

    assert_non_null(b);
    append(b, "one", 3);
    append(b, "", 0);
    append(b, "three", 5);
    batch_seal(b);
    return b;
}

static bool encode_all(struct batch *b, unsigned variant)
{
    size_t budget = ALL;

    return batch_encode(b, variant, &budget);
}

static void a_variant_is_encoded_once(void **state UNUSED)
{
    struct batch *b = three();
    struct blob *v, *kept;
    uint32_t offset, end;

    assert_null(batch_variant(b, BATCH_PLAIN_ENVELOPE));
    assert_true(encode_all(b, BATCH_PLAIN_ENVELOPE));
    v = batch_variant(b, BATCH_PLAIN_ENVELOPE);
    assert_non_null(v);
    assert_int_equal(v->len, sizeof(THREE) - 1);
    assert_memory_equal(v->data, THREE, v->len);
    assert_true(encode_all(b, BATCH_PLAIN_ENVELOPE));
    assert_ptr_equal(batch_variant(b, BATCH_PLAIN_ENVELOPE), v);
    assert_int_equal(encoded, 3);
    batch_range(b, BATCH_PLAIN_ENVELOPE, 0, &offset, &end);
    assert_true(offset == 0 && end == 9);
    batch_range(b, BATCH_PLAIN_ENVELOPE, 2, &offset, &end);
    assert_true(offset == 15 && end == v->len);
    kept = blob_get(v);
    batch_free(b); /* who holds a reference may still send it */
    assert_memory_equal(kept->data, "\x81\x07<0>", 5);
    blob_put(&kept);
    assert_int_equal(blob_bytes(), 0);
}

static void the_raw_variant_is_there(void **state UNUSED)
{
    struct batch *b = three();
    uint32_t offset, end;

    assert_true(encode_all(b, BATCH_RAW));
    assert_non_null(batch_variant(b, BATCH_RAW));
    batch_range(b, BATCH_RAW, 1, &offset, &end);
    assert_true(offset == 5 && end == 7);
    assert_int_equal(encoded, 0);
    batch_free(b);
}

static void want_frame(struct buf *want, unsigned i, const char *text, int n)
{
    char index[16];
    int k = snprintf(index, sizeof(index), "<%u>", i);
    uint8_t header[WS_HEADER_MAX];
    size_t head = ws_tx_header(WS_OP_TEXT, (uint64_t)(k + n + 1), header);

    assert_int_equal(buf_append(want, (struct str){(const char *)header, head}), 0);
    assert_int_equal(buf_printf(want, "%s%.*s;", index, n, text), 0);
}

/* One item may be much longer than a budget, and many much shorter. */
static void a_call_spends_its_budget(void **state UNUSED)
{
    static char text[300000];
    static const size_t budgets[] = {1, 1000, 40000, 100000, ALL};
    struct buf want = {0};

    memset(text, 'x', sizeof(text));
    want_frame(&want, 0, text, sizeof(text));
    for (unsigned i = 1; i < 1000; i++)
        want_frame(&want, i, text, 50);
    for (size_t i = 0; i < ARRAY_LEN(budgets); i++) {
        struct batch *b = batch_new(STR_LIT("lobby"));
        bool done = false;
        struct blob *v;

        append(b, text, sizeof(text));
        for (unsigned k = 1; k < 1000; k++)
            append(b, text, 50);
        batch_seal(b);
        while (!done) {
            size_t budget = budgets[i];

            assert_null(batch_variant(b, BATCH_PLAIN_ENVELOPE));
            bytes = 0;
            done = batch_encode(b, BATCH_PLAIN_ENVELOPE, &budget);
            assert_true(done || budget == 0);
            assert_true(done || bytes >= budgets[i]);
            assert_true(bytes - MIN(bytes, budgets[i]) <= 2 * BATCH_PIECE + 25);
        }
        v = batch_variant(b, BATCH_PLAIN_ENVELOPE);
        assert_int_equal(v->len, want.len);
        assert_memory_equal(v->data, want.p, v->len);
        batch_free(b);
    }
    buf_fini(&want);
}

static void given_up_half_way(void **state UNUSED)
{
    static char text[100000];
    struct batch *b = batch_new(STR_LIT("lobby"));
    size_t budget = 1000;

    append(b, text, sizeof(text));
    batch_seal(b);
    assert_false(batch_encode(b, BATCH_PLAIN_ENVELOPE, &budget));
    batch_free(b);
    assert_int_equal(blob_bytes(), 0);
}

static void an_item_that_fails(void **state UNUSED)
{
    struct batch *b = three();

    refused = 1;
    assert_true(encode_all(b, BATCH_PLAIN_ENVELOPE));
    assert_true(encode_all(b, BATCH_PLAIN_ENVELOPE));
    assert_null(batch_variant(b, BATCH_PLAIN_ENVELOPE));
    assert_int_equal(encoded, 1); /* the first one stays */
    refused = UINT32_MAX;
    assert_true(encode_all(b, BATCH_PLAIN_ENVELOPE));
    assert_int_equal(encoded, 3);
    assert_memory_equal(batch_variant(b, BATCH_PLAIN_ENVELOPE)->data, THREE, sizeof(THREE) - 1);
    batch_free(b);
}

static void at_every_failure(void **state UNUSED)
{
    static char text[200];
    size_t k;

    memset(text, 'x', sizeof(text));
    for (k = 1;; k++) {
        struct batch *b = batch_new(STR_LIT("lobby"));
        bool failed;

        for (int i = 0; i < 5; i++)
            append(b, text, sizeof(text));
        batch_seal(b);
        fault_fail_at(k);
        assert_true(encode_all(b, BATCH_PLAIN_ENVELOPE));
        failed = batch_variant(b, BATCH_PLAIN_ENVELOPE) == NULL;
        fault_reset();
        assert_true(encode_all(b, BATCH_PLAIN_ENVELOPE));
        assert_int_equal(batch_variant(b, BATCH_PLAIN_ENVELOPE)->len, 5 * (sizeof(text) + 4 + 4));
        batch_free(b);
        assert_int_equal(blob_bytes(), 0);
        if (!failed)
            break;
        assert_true(k < 20);
    }
    assert_true(k > 2);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, setup)
    const struct CMUnitTest tests[] = {
        T(a_variant_is_encoded_once), T(the_raw_variant_is_there), T(a_call_spends_its_budget),
        T(given_up_half_way),         T(an_item_that_fails),       T(at_every_failure),
    };

    return cmocka_run_group_tests_name("core/batch_encode", tests, NULL, NULL);
}
