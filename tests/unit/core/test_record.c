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
    .data = {.p = "hello, all", .n = 10},
};

static size_t encode(const struct record *r, char *out)
{
    record_encode(r, out);
    return record_size(r->name.n, r->data.n);
}

static void round_trip(void **state)
{
    char raw[200];
    struct record r;
    size_t n = encode(&full, raw);

    (void)state;
    assert_int_equal(n, RECORD_OVERHEAD + 15);
    assert_int_equal(record_decode((struct str){.p = raw, .n = n}, &r), 0);
    assert_int_equal(r.kind, full.kind);
    assert_int_equal(r.flags, full.flags);
    assert_int_equal(r.source, full.source);
    assert_int_equal(r.generation, full.generation);
    assert_int_equal(r.chan, full.chan);
    assert_int_equal(r.count, full.count);
    assert_true(r.token == full.token && r.epoch == full.epoch && r.offset == full.offset);
    assert_true(r.position == full.position && r.time_ns == full.time_ns);
    assert_true(str_equal(r.name, full.name) && str_equal(r.data, full.data));
}

static void empty_strings(void **state)
{
    char raw[RECORD_OVERHEAD];
    struct record in = {.kind = RECORD_HELLO}, r;

    (void)state;
    assert_int_equal(encode(&in, raw), RECORD_OVERHEAD);
    assert_int_equal(record_decode((struct str){.p = raw, .n = sizeof(raw)}, &r), 0);
    assert_int_equal(r.name.n, 0);
    assert_int_equal(r.data.n, 0);
}

static void every_other_length_is_refused(void **state)
{
    char raw[200] = {0};
    struct record r;
    size_t n = encode(&full, raw);

    (void)state;
    for (size_t len = 0; len <= sizeof(raw); len++) {
        if (len != n)
            assert_int_equal(record_decode((struct str){.p = raw, .n = len}, &r), -1);
    }
}

static void hostile_lengths(void **state)
{
    static const uint32_t bad[][2] = {
        {UINT32_MAX, 0}, {0, UINT32_MAX},  {UINT32_MAX, 16}, {16, UINT32_MAX}, {256, 0},
        {0, 0},          {5, 9},           {5, 11},          {15, 1},          {UINT32_MAX - 4, 20},
        {0, 14},         {0x80000000, 15},
    };
    char raw[400];
    struct record r;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        size_t n = encode(&full, raw);

        memcpy(raw + offsetof(struct wire, name_len), &bad[i][0], 4);
        memcpy(raw + offsetof(struct wire, data_len), &bad[i][1], 4);
        assert_int_equal(record_decode((struct str){.p = raw, .n = n}, &r), -1);
    }
}

static void longest_name(void **state)
{
    char raw[RECORD_OVERHEAD + 300], name[300];
    struct record in = {.kind = RECORD_SUBSCRIBE, .name = {.p = name, .n = 255}}, r;

    (void)state;
    memset(name, 'n', sizeof(name));
    size_t n = encode(&in, raw);
    assert_int_equal(record_decode((struct str){.p = raw, .n = n}, &r), 0);
    assert_int_equal(r.name.n, 255);
    in.name.n = 256;
    n = encode(&in, raw);
    assert_int_equal(record_decode((struct str){.p = raw, .n = n}, &r), -1);
}

static void kinds(void **state)
{
    char raw[RECORD_OVERHEAD];
    struct record in = {.kind = RECORD_HELLO}, r;

    (void)state;
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
        cmocka_unit_test(round_trip),      cmocka_unit_test(empty_strings),
        cmocka_unit_test(hostile_lengths), cmocka_unit_test(every_other_length_is_refused),
        cmocka_unit_test(longest_name),    cmocka_unit_test(kinds),
    };

    return cmocka_run_group_tests_name("core/record", tests, NULL, NULL);
}
