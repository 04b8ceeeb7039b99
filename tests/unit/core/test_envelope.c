/* core/envelope: what is written is read again, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/envelope.c"
#include "tests/lib/fault.h"

static void add(struct buf *out, const char *data, struct str fields, uint64_t call)
{
    const struct envelope e = {
        .node = 7,
        .call = call,
        .wall_ms = 1700000000000,
        .r = {.kind = RECORD_PUBLICATION,
              .flags = RECORD_JSON,
              .asker = 3,
              .source = 5,
              .generation = 2,
              .token = 11,
              .position = 4096,
              .data = str_from(data),
              .fields = fields},
    };

    assert_int_equal(envelope_write(out, &e), 0);
}

static void several_in_a_row(void **state)
{
    struct buf out = {0}, fields = {0};
    struct envelope e;
    struct str rest, value;

    (void)state;
    assert_int_equal(record_add_field(&fields, FIELD_EXCLUDE, STR_LIT("k")), 0);
    add(&out, "one", buf_view(&fields), 1);
    add(&out, "", STR_NULL, 2);
    rest = buf_view(&out);
    assert_int_equal(envelope_next(&rest, &e), 1);
    assert_true(e.node == 7 && e.call == 1 && e.wall_ms == 1700000000000);
    assert_true(e.r.kind == RECORD_PUBLICATION && e.r.flags == RECORD_JSON && e.r.asker == 3);
    assert_true(e.r.source == 5 && e.r.generation == 2 && e.r.token == 11 && e.r.position == 4096);
    assert_true(str_equal(e.r.data, STR_LIT("one")));
    assert_true(record_field(e.r.fields, FIELD_EXCLUDE, &value) && str_equal(value, STR_LIT("k")));
    assert_int_equal(envelope_next(&rest, &e), 1);
    assert_true(e.call == 2 && e.r.data.n == 0 && e.r.fields.n == 0);
    assert_int_equal(envelope_next(&rest, &e), 0);
    buf_fini(&out);
    buf_fini(&fields);
}

/* The script that looks for a publication that may have been made compares these bytes. */
static void the_origin_is_the_same_when_it_is_sent_again(void **state)
{
    struct buf a = {0}, b = {0};

    (void)state;
    add(&a, "x", STR_NULL, 1);
    add(&b, "x", STR_NULL, 2);
    assert_memory_equal(a.p + ENVELOPE_ORIGIN_AT, b.p + ENVELOPE_ORIGIN_AT, ENVELOPE_ORIGIN_BYTES);
    assert_memory_not_equal(a.p, b.p, ENVELOPE_HEADER);
    buf_fini(&a);
    buf_fini(&b);
}

static void what_is_malformed_is_refused(void **state)
{
    struct buf good = {0}, bad = {0}, fields = {0};
    struct envelope e;
    struct str rest;

    (void)state;
    assert_int_equal(record_add_field(&fields, FIELD_EXCLUDE, STR_LIT("k")), 0);
    add(&good, "data", buf_view(&fields), 1);
    for (size_t n = 1; n < good.len; n++) { /* cut */
        rest = (struct str){.p = good.p, .n = n};
        assert_int_equal(envelope_next(&rest, &e), -1);
    }
    for (size_t i = 0; i < 16; i++) { /* version and lengths */
        if (i >= 1 && i <= 3)
            continue;
        buf_clear(&bad);
        assert_int_equal(buf_append(&bad, buf_view(&good)), 0);
        bad.p[i] = (char)(bad.p[i] ^ 0x41);
        rest = buf_view(&bad);
        assert_int_equal(envelope_next(&rest, &e), -1);
    }
    good.p[good.len - 3] = 0x7f; /* the field is longer than there is */
    rest = buf_view(&good);
    assert_int_equal(envelope_next(&rest, &e), -1);
    buf_fini(&good);
    buf_fini(&bad);
    buf_fini(&fields);
}

static void without_memory_nothing_is_written(void **state)
{
    const struct envelope e = {.r = {.data = STR_LIT("x")}};
    struct buf out = {0};

    (void)state;
    fault_fail_at(1);
    assert_int_equal(envelope_write(&out, &e), -1);
    fault_reset();
    assert_int_equal(out.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(several_in_a_row),
        cmocka_unit_test(the_origin_is_the_same_when_it_is_sent_again),
        cmocka_unit_test(what_is_malformed_is_refused),
        cmocka_unit_test(without_memory_nothing_is_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
