/* Batches: frames are contiguous, failures change nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/batch.c"
#include "fault.h"

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

static void frames(void **state UNUSED)
{
    static const char want[] = "\x81\x03one\x82\x00\x81\x05three";
    struct batch *b = three();
    struct blob *raw;
    uint32_t offset, end;

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

static void long_headers(void **state UNUSED)
{
    static char data[70000];
    static const size_t sizes[] = {125, 126, 65535, 65536, 70000};
    struct batch *b = batch_new(STR_LIT("a"));

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct record r = {.data = {.p = data, .n = sizes[i]}};

        assert_int_equal(batch_append(b, &r), 0);
        assert_int_equal(b->items[i].header, sizes[i] < 126 ? 2 : sizes[i] < 65536 ? 4 : 10);
        assert_int_equal(batch_payload(b, (uint32_t)i).n, sizes[i]);
    }
    batch_free(b);
}

static void room(void **state UNUSED)
{
    static char data[BATCH_BYTES_MAX];
    struct batch *b = batch_new(STR_LIT("a"));
    struct record r = {.data = {.p = data, .n = 1000}}, huge = {.data = {.p = data, .n = SIZE_MAX}};

    assert_true(batch_has_room(b, &huge)); /* for one that is too long for any */
    while (batch_has_room(b, &r))
        assert_int_equal(batch_append(b, &r), 0);
    assert_true(batch_bytes(b) > BATCH_BYTES_MAX - 1000 && batch_bytes(b) < BATCH_BYTES_MAX + 10);
    r.data.n = BATCH_BYTES_MAX - batch_bytes(b);
    assert_true(batch_has_room(b, &r));
    r.epoch = 1; /* of another life of the channel */
    assert_false(batch_has_room(b, &r));
    assert_false(batch_has_room(b, &huge));
    batch_free(b);
    b = batch_new(STR_LIT("a"));
    r.data.n = 0;
    while (batch_has_room(b, &r))
        assert_int_equal(batch_append(b, &r), 0);
    assert_int_equal(b->nitems, BATCH_ITEMS_MAX);
    batch_free(b);
}

/* What is known of a publication stays with it. */
static void positions_and_fields(void **state UNUSED)
{
    struct batch *b = batch_new(STR_LIT("a"));
    struct buf fields = {0};
    struct str v;

    assert_int_equal(record_add_field(&fields, FIELD_EXCLUDE, STR_LIT("price")), 0);
    for (uint64_t i = 1; i <= 3; i++) {
        struct record r = {.epoch = 7, .offset = 40 + i, .asker = 2, .data = STR_LIT("x")};

        if (i == 2)
            r.fields = buf_view(&fields);
        assert_int_equal(batch_append(b, &r), 0);
    }
    buf_fini(&fields);
    batch_seal(b);
    assert_true(b->epoch == 7);
    assert_true(b->items[0].offset == 41 && b->items[2].offset == 43);
    assert_int_equal(b->items[1].asker, 2);
    assert_int_equal(batch_fields(b, 0).n, 0);
    assert_int_equal(batch_fields(b, 2).n, 0);
    assert_true(record_field(batch_fields(b, 1), FIELD_EXCLUDE, &v));
    assert_true(str_equal(v, STR_LIT("price")));
    batch_free(b);
}

static void more_than_a_blob_can_hold(void **state UNUSED)
{
    struct batch *b = three();
    struct record r = {.data = {.p = "", .n = BLOB_MAX}};
    size_t before = batch_bytes(b);

    assert_int_equal(batch_append(b, &r), -1);
    r.data.n = BLOB_MAX - before - 1;
    assert_int_equal(batch_append(b, &r), -1);
    r.data.n = SIZE_MAX - 4;
    assert_int_equal(batch_append(b, &r), -1);
    assert_int_equal(batch_bytes(b), before);
    assert_int_equal(b->nitems, 3);
    batch_free(b);
}

static void append_at_every_failure(void **state UNUSED)
{
    static char data[1000];
    struct record r = {.data = {.p = data, .n = sizeof(data)}, .fields = {.p = data, .n = 100}};

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

static void sealing_needs_no_memory(void **state UNUSED)
{
    struct batch *b = three();

    fault_fail_at(1);
    batch_seal(b);
    fault_reset();
    assert_true(str_equal(batch_payload(b, 2), STR_LIT("three")));
    batch_free(b);
    assert_int_equal(blob_bytes(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames),
        cmocka_unit_test(long_headers),
        cmocka_unit_test(room),
        cmocka_unit_test(positions_and_fields),
        cmocka_unit_test(more_than_a_blob_can_hold),
        cmocka_unit_test(append_at_every_failure),
        cmocka_unit_test(sealing_needs_no_memory),
    };

    return cmocka_run_group_tests_name("core/batch", tests, NULL, NULL);
}
