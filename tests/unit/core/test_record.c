/* Records: what is written is read, and nothing else is accepted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/record.c"

static const struct record full = {
    .kind = RECORD_PUBLICATION,
    .flags = RECORD_BINARY | RECORD_LAST,
    .source = 65535,
    .generation = 0xfffffffe,
    .chan = 7,
    .count = 9,
    .token = UINT64_MAX,
    .epoch = 1,
    .offset = UINT64_MAX - 1,
    .position = 88,
    .time_ns = 99,
    .name = {.p = "lobby", .n = 5},
    .asker = 200,
    .data = {.p = "hello, all", .n = 10},
    .fields = {.p = "\x01\0\x02\0{}\x09\0\0\0", .n = 10},
};

static size_t encode(const struct record *r, char *out)
{
    record_encode(r, out);
    return record_bytes(r);
}

static void round_trip(void **state UNUSED)
{
    char raw[200];
    struct record r;
    size_t n = encode(&full, raw);

    assert_int_equal(n, RECORD_OVERHEAD + 25);
    assert_int_equal(n, record_size(5, 10) + 10);
    assert_int_equal(record_decode((struct str){.p = raw, .n = n}, &r), 0);
    assert_int_equal(r.kind, full.kind);
    assert_int_equal(r.flags, full.flags);
    assert_int_equal(r.asker, full.asker);
    assert_int_equal(r.source, full.source);
    assert_int_equal(r.generation, full.generation);
    assert_int_equal(r.chan, full.chan);
    assert_int_equal(r.count, full.count);
    assert_true(r.token == full.token && r.epoch == full.epoch && r.offset == full.offset);
    assert_true(r.position == full.position && r.time_ns == full.time_ns);
    assert_true(str_equal(r.name, full.name) && str_equal(r.data, full.data));
    assert_true(str_equal(r.fields, full.fields));
}

static void empty_strings(void **state UNUSED)
{
    char raw[RECORD_OVERHEAD];
    struct record in = {.kind = RECORD_HELLO}, r;

    assert_int_equal(encode(&in, raw), RECORD_OVERHEAD);
    assert_int_equal(record_decode((struct str){.p = raw, .n = sizeof(raw)}, &r), 0);
    assert_int_equal(r.name.n, 0);
    assert_int_equal(r.data.n, 0);
}

static void every_other_length_is_refused(void **state UNUSED)
{
    char raw[200] = {0};
    struct record r;
    size_t n = encode(&full, raw);

    for (size_t len = 0; len <= sizeof(raw); len++) {
        if (len != n)
            assert_int_equal(record_decode((struct str){.p = raw, .n = len}, &r), -1);
    }
}

/* What the header says of the three parts does not add up to what is there. */
static void hostile_lengths(void **state UNUSED)
{
    static const struct {
        uint8_t name;
        uint16_t fields;
        uint32_t data;
    } bad[] = {
        {5, 10, UINT32_MAX}, {5, 10, 9},          {5, 10, 11},
        {5, 9, 10},          {5, 11, 10},         {255, 10, 10},
        {5, UINT16_MAX, 10}, {0, 0, 0},           {0, 0, 24},
        {5, 0, 10},          {15, 0, 0x80000000}, {255, UINT16_MAX, UINT32_MAX},
        {5, 10, 0x80000000}, {26, 0, UINT32_MAX},
    };
    char raw[400];
    struct record r;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        size_t n = encode(&full, raw);

        memcpy(raw + offsetof(struct wire, name_len), &bad[i].name, 1);
        memcpy(raw + offsetof(struct wire, fields_len), &bad[i].fields, 2);
        memcpy(raw + offsetof(struct wire, data_len), &bad[i].data, 4);
        assert_int_equal(record_decode((struct str){.p = raw, .n = n}, &r), -1);
    }
}

static void fields_are_found_by_type(void **state UNUSED)
{
    struct buf b = {0};
    struct str v;

    assert_int_equal(record_add_field(&b, FIELD_TAGS, STR_LIT("{\"a\":\"b\"}")), 0);
    assert_int_equal(record_add_field(&b, (enum record_field)99, STR_LIT("of a later version")), 0);
    assert_int_equal(record_add_field(&b, FIELD_EXCLUDE, STR_NULL), 0);
    assert_int_equal(record_add_field(&b, FIELD_EXCLUDE, STR_LIT("second")), 0);
    assert_true(record_field(buf_view(&b), FIELD_TAGS, &v));
    assert_true(str_equal(v, STR_LIT("{\"a\":\"b\"}")));
    assert_true(record_field(buf_view(&b), FIELD_EXCLUDE, &v));
    assert_int_equal(v.n, 0);
    assert_false(record_field(buf_view(&b), FIELD_INFO, &v));
    assert_false(record_field(STR_NULL, FIELD_INFO, &v));
    buf_fini(&b);
}

static void fields_are_bounded(void **state UNUSED)
{
    struct buf b = {0};
    char *big = calloc(1, RECORD_FIELDS_MAX);
    struct str v = {.p = big, .n = RECORD_FIELDS_MAX - 2 * sizeof(struct field) - 1};

    assert_int_equal(record_add_field(&b, FIELD_INFO, (struct str){.p = big, .n = v.n + 6}), -1);
    assert_int_equal(record_add_field(&b, FIELD_INFO, v), 0);
    assert_int_equal(record_add_field(&b, FIELD_EXCLUDE, STR_LIT("ab")), -1);
    assert_int_equal(record_add_field(&b, FIELD_EXCLUDE, STR_LIT("a")), 0);
    assert_int_equal(b.len, RECORD_FIELDS_MAX);
    assert_int_equal(record_add_field(&b, FIELD_EXCLUDE, STR_NULL), -1);
    buf_fini(&b);
    free(big);
}

/* Every header byte of the fields, and every cut, changed: refused, or a value within
 * the record. */
static void hostile_fields(void **state UNUSED)
{
    char raw[200];
    struct record r;
    struct str v;
    size_t n = encode(&full, raw), at = n - full.fields.n;

    for (size_t i = at; i < n; i++) {
        for (int byte = 0; byte < 256; byte++) {
            encode(&full, raw);
            raw[i] = (char)byte;
            if (record_decode((struct str){.p = raw, .n = n}, &r) == -1)
                continue;
            for (int type = 0; type < 256; type++) {
                if (record_field(r.fields, (enum record_field)type, &v))
                    assert_true(v.p >= raw + at && v.p + v.n <= raw + n);
            }
        }
    }
    encode(&full, raw);
    assert_int_equal(record_decode((struct str){.p = raw, .n = n}, &r), 0);
    raw[at + 2] = 100; /* behind the check */
    assert_false(record_field(r.fields, FIELD_INFO, &v));
}

static void longest_name(void **state UNUSED)
{
    char raw[RECORD_OVERHEAD + 300], name[300];
    struct record in = {.kind = RECORD_SUBSCRIBE, .name = {.p = name, .n = 255}}, r;

    memset(name, 'n', sizeof(name));
    size_t n = encode(&in, raw);
    assert_int_equal(record_decode((struct str){.p = raw, .n = n}, &r), 0);
    assert_int_equal(r.name.n, 255);
    in.name.n = 256;
    n = encode(&in, raw);
    assert_int_equal(record_decode((struct str){.p = raw, .n = n}, &r), -1);
}

static void kinds(void **state UNUSED)
{
    char raw[RECORD_OVERHEAD];
    struct record in = {.kind = RECORD_HELLO}, r;

    for (int kind = 0; kind < 256; kind++) {
        int want = kind >= RECORD_HELLO && kind < RECORD_KIND_NR ? 0 : -1;

        in.kind = (uint8_t)kind;
        size_t n = encode(&in, raw);
        assert_int_equal(record_decode((struct str){.p = raw, .n = n}, &r), want);
        assert_int_equal(strcmp(record_kind_name((uint8_t)kind), "unknown") != 0, want == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(empty_strings),
        cmocka_unit_test(hostile_lengths),
        cmocka_unit_test(every_other_length_is_refused),
        cmocka_unit_test(longest_name),
        cmocka_unit_test(kinds),
        cmocka_unit_test(fields_are_found_by_type),
        cmocka_unit_test(fields_are_bounded),
        cmocka_unit_test(hostile_fields),
    };

    return cmocka_run_group_tests_name("core/record", tests, NULL, NULL);
}
