/* Batches: frames are contiguous, variants are made once, failures change nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/batch.c"
#include "fault.h"

static unsigned encoded;

/* "<index>payload;" */
static int encode(const struct batch *b, uint32_t item, struct str payload, struct buf *out)
{
    encoded++;
    assert_true(str_equal(payload, batch_payload(b, item)));
    return buf_printf(out, "<%u>%.*s;", item, STR_ARG(payload));
}

static int refuse(const struct batch *b, uint32_t item, struct str payload, struct buf *out)
{
    (void)b;
    (void)payload;
    return item == 1 ? -1 : buf_append_lit(out, "x");
}

static int setup(void **state)
{
    (void)state;
    batch_register(1, encode);
    batch_register(2, refuse);
    encoded = 0;
    return 0;
}

static int append(struct batch *b, const char *data, uint8_t flags, uint64_t token)
{
    return batch_append(b, &(struct record){.kind = RECORD_PUBLICATION,
                                            .flags = flags,
                                            .source = 2,
                                            .token = token,
                                            .time_ns = 100 - token,
                                            .data = str_from(data)});
}

static struct batch *three(void)
{
    struct batch *b = batch_new(STR_LIT("lobby"));

    assert_non_null(b);
    assert_int_equal(append(b, "one", 0, 1), 0);
    assert_int_equal(append(b, "", RECORD_BINARY, 2), 0);
    assert_int_equal(append(b, "three", RECORD_JSON, 3), 0);
    return b;
}

static void frames(void **state)
{
    static const char want[] = "\x81\x03one\x82\x00\x81\x05three";
    struct batch *b = three();
    struct blob *raw;
    uint32_t offset, end;

    (void)state;
    assert_int_equal(b->nitems, 3);
    assert_int_equal(batch_bytes(b), sizeof(want) - 1);
    assert_true(str_equal(batch_payload(b, 2), STR_LIT("three")));
    batch_seal(b);
    raw = batch_variant(b, BATCH_RAW);
    assert_int_equal(raw->len, sizeof(want) - 1);
    assert_int_equal(batch_bytes(b), raw->len);
    assert_memory_equal(raw->data, want, raw->len);
    assert_true(str_equal(batch_payload(b, 0), STR_LIT("one")));
    assert_int_equal(batch_payload(b, 1).n, 0);
    batch_range(b, BATCH_RAW, 1, &offset, &end);
    assert_int_equal(offset, 5);
    assert_int_equal(end, 7);
    assert_int_equal(b->items[2].flags, RECORD_JSON);
    assert_int_equal(b->published_ns, 97); /* the oldest */
    assert_true(str_equal(b->channel, STR_LIT("lobby")));
    batch_free(b);
    batch_free(NULL);
    assert_int_equal(blob_bytes(), 0);
}

static void long_headers(void **state)
{
    static char data[70000];
    static const size_t sizes[] = {125, 126, 65535, 65536, 70000};
    struct batch *b = batch_new(STR_LIT("a"));

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct record r = {.data = {.p = data, .n = sizes[i]}};

        assert_int_equal(batch_append(b, &r), 0);
        assert_int_equal(b->items[i].header, sizes[i] < 126 ? 2 : sizes[i] < 65536 ? 4 : 10);
        assert_int_equal(batch_payload(b, (uint32_t)i).n, sizes[i]);
    }
    batch_free(b);
}

static void a_variant_is_encoded_once(void **state)
{
    struct batch *b = three();
    struct blob *v, *kept;
    uint32_t offset, end;

    (void)state;
    batch_seal(b);
    v = batch_variant(b, 1);
    assert_non_null(v);
    assert_memory_equal(v->data, "<0>one;<1>;<2>three;", v->len);
    assert_ptr_equal(batch_variant(b, 1), v);
    assert_int_equal(encoded, 3);
    batch_range(b, 1, 0, &offset, &end);
    assert_true(offset == 0 && end == 7);
    batch_range(b, 1, 2, &offset, &end);
    assert_true(offset == 11 && end == v->len);
    kept = blob_get(v);
    batch_free(b); /* who holds a reference may still send it */
    assert_memory_equal(kept->data, "<0>", 3);
    blob_put(&kept);
    assert_int_equal(blob_bytes(), 0);
}

static void an_encoder_that_fails(void **state)
{
    struct batch *b = three();

    (void)state;
    batch_seal(b);
    assert_null(batch_variant(b, 2));
    assert_null(batch_variant(b, 2));
    assert_non_null(batch_variant(b, 1));
    batch_free(b);
}

static void origins(void **state)
{
    struct batch *b = three();

    (void)state;
    assert_true(batch_has_origin(b, 2, 1));
    assert_true(batch_has_origin(b, 2, 3));
    assert_false(batch_has_origin(b, 2, 4));
    assert_false(batch_has_origin(b, 1, 1)); /* another worker's connection */
    batch_free(b);
}

static void more_than_a_blob_can_hold(void **state)
{
    struct batch *b = three();
    struct record r = {.data = {.p = "", .n = VARIANT_MAX}};
    size_t before = batch_bytes(b);

    (void)state;
    assert_int_equal(batch_append(b, &r), -1);
    r.data.n = VARIANT_MAX - before - 1;
    assert_int_equal(batch_append(b, &r), -1);
    r.data.n = SIZE_MAX - 4;
    assert_int_equal(batch_append(b, &r), -1);
    assert_int_equal(batch_bytes(b), before);
    assert_int_equal(b->nitems, 3);
    batch_free(b);
}

static void append_at_every_failure(void **state)
{
    static char data[1000];
    struct record r = {.data = {.p = data, .n = sizeof(data)}};

    (void)state;
    fault_fail_at(1);
    assert_null(batch_new(STR_LIT("a")));
    fault_reset();
    for (size_t k = 1;; k++) {
        struct batch *b = three();
        size_t bytes = batch_bytes(b);
        uint32_t n = b->nitems;
        int rc = 0;

        fault_fail_at(k);
        for (int i = 0; i < 5 && rc == 0; i++) {
            rc = batch_append(b, &r);
            if (rc == 0) {
                bytes += 4 + sizeof(data);
                n++;
            }
        }
        fault_reset();
        assert_int_equal(batch_bytes(b), bytes);
        assert_int_equal(b->nitems, n);
        batch_seal(b);
        batch_free(b);
        if (rc == 0)
            break;
        assert_true(k < 20);
    }
}

static void seal_and_variant_at_every_failure(void **state)
{
    struct batch *b = three();
    size_t k;

    (void)state;
    fault_fail_at(1);
    batch_seal(b); /* needs no memory */
    fault_reset();
    assert_true(str_equal(batch_payload(b, 2), STR_LIT("three")));
    for (k = 1;; k++) {
        struct blob *v;

        fault_fail_at(k);
        v = batch_variant(b, 1);
        fault_reset();
        if (v != NULL)
            break;
        assert_true(k < 20);
    }
    assert_true(k > 2);
    batch_free(b);
    assert_int_equal(blob_bytes(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames),
        cmocka_unit_test(long_headers),
        cmocka_unit_test(a_variant_is_encoded_once),
        cmocka_unit_test(an_encoder_that_fails),
        cmocka_unit_test(origins),
        cmocka_unit_test(more_than_a_blob_can_hold),
        cmocka_unit_test(append_at_every_failure),
        cmocka_unit_test(seal_and_variant_at_every_failure),
    };

    return cmocka_run_group_tests_name("core/batch", tests, setup, NULL);
}
