/* tests/unit/codec/test_ws_head.c - what each byte of a header shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/ws_head.c"

static const struct ws_rx_limits wide = {.frame = UINT64_MAX, .message = UINT64_MAX};

static struct ws_rules rules(enum ws_role role, bool open)
{
    return (struct ws_rules){.role = role, .open = open, .limits = &wide};
}

/* Decodes every prefix of a header of n bytes whose length is complete after `known` of them. */
static struct ws_head decode(const uint8_t *p, size_t n, size_t known)
{
    struct ws_rules r = rules((p[1] & 0x80) != 0 ? WS_SERVER : WS_CLIENT, false);
    enum close_reason why;
    struct ws_head h;

    for (size_t i = 0; i <= n; i++) {
        enum ws_head_progress want = i == n       ? WS_HEAD_COMPLETE
                                     : i >= known ? WS_HEAD_LENGTH
                                                  : WS_HEAD_PART;

        assert_int_equal(ws_head_decode(&h, p, i, &r, &why), want);
        assert_int_equal(h.size, i < 2 ? 2 : n);
    }
    return h;
}

static void every_form_is_decoded(void **state UNUSED)
{
    static const uint8_t small[] = {0x81, 0x05};
    static const uint8_t masked[] = {0x02, 0xfd, 1, 2, 3, 4};
    static const uint8_t medium[] = {0x82, 0xfe, 0x12, 0x34, 1, 2, 3, 4};
    static const uint8_t large[] = {0x82, 0x7f, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};
    static const uint8_t huge[] = {0x82, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 9, 8, 7, 6};
    struct ws_head h;

    h = decode(small, sizeof(small), 2);
    assert_true(h.fin && !h.masked && h.op == WS_OP_TEXT && h.len == 5);
    h = decode(masked, sizeof(masked), 2);
    assert_true(!h.fin && h.masked && h.op == WS_OP_BINARY && h.len == 125);
    assert_memory_equal(h.key, masked + 2, 4);
    h = decode(medium, sizeof(medium), 4);
    assert_int_equal(h.len, 0x1234);
    assert_memory_equal(h.key, medium + 4, 4);
    h = decode(large, sizeof(large), 10);
    assert_true(h.len == UINT64_C(0x0123456789abcdef));
    h = decode(huge, sizeof(huge), 10);
    assert_true(h.len == INT64_MAX && ws_head_minimal(&h));
    assert_memory_equal(h.key, huge + 10, 4);
}

/* The first byte alone: all 256 values, with and without an open message. */
static void every_first_byte_is_judged(void **state UNUSED)
{
    for (unsigned b = 0; b < 256; b++)
        for (int open = 0; open < 2; open++) {
            struct ws_rules r = rules(WS_SERVER, open != 0);
            uint8_t byte = (uint8_t)b;
            bool fin = (b & 0x80) != 0, control = (b & 8) != 0, rsv = (b & 0x70) != 0;
            unsigned op = b & 0xf;
            bool good = !rsv && (control ? fin && op <= 10 : open ? op == 0 : op == 1 || op == 2);
            enum close_reason why = CLOSE_NR;
            struct ws_head h;

            assert_int_equal(ws_head_decode(&h, &byte, 1, &r, &why),
                             good ? WS_HEAD_PART : WS_HEAD_BAD);
            assert_true(good ? why == CLOSE_NONE : close_row(why)->code == 1002);
        }
}

static void every_second_byte_is_judged(void **state UNUSED)
{
    static const uint8_t firsts[] = {0x81, 0x02, 0x88, 0x89, 0x8a};

    for (size_t f = 0; f < ARRAY_LEN(firsts); f++)
        for (unsigned b = 0; b < 256; b++)
            for (int role = WS_SERVER; role <= WS_CLIENT; role++) {
                struct ws_rules r = rules((enum ws_role)role, false);
                uint8_t bytes[2] = {firsts[f], (uint8_t)b};
                bool masked = (b & 0x80) != 0, control = (firsts[f] & 8) != 0;
                bool close = (firsts[f] & 0xf) == WS_OP_CLOSE;
                bool good = masked == (role == WS_SERVER) && !(control && (b & 0x7f) > 125) &&
                            !(close && (b & 0x7f) == 1);
                enum close_reason why;
                struct ws_head h;

                assert_int_equal(ws_head_decode(&h, bytes, 2, &r, &why) != WS_HEAD_BAD, good);
            }
}

static void minimal_lengths(void **state UNUSED)
{
    static const struct {
        uint8_t extended;
        uint64_t len;
        bool minimal;
    } rows[] = {{0, 0, true},          {0, 125, true},
                {2, 125, false},       {2, 126, true},
                {2, 65535, true},      {8, 0, false},
                {8, 65535, false},     {8, 65536, true},
                {8, INT64_MAX, true},  {8, (uint64_t)INT64_MAX + 1, false},
                {8, UINT64_MAX, false}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ws_head h = {.size = (uint8_t)(2 + rows[i].extended), .len = rows[i].len};

        assert_int_equal(ws_head_minimal(&h), rows[i].minimal);
        h.masked = true;
        h.size = (uint8_t)(h.size + 4);
        assert_int_equal(ws_head_minimal(&h), rows[i].minimal);
    }
}

static void limits_are_compared_without_overflow(void **state UNUSED)
{
    static const struct {
        uint64_t frame, message, held, len;
        enum close_reason why;
    } rows[] = {
        {10, 20, 0, 10, CLOSE_NONE},
        {10, 20, 0, 11, CLOSE_FRAME_TOO_BIG},
        {10, 20, 10, 10, CLOSE_NONE},
        {10, 20, 11, 10, CLOSE_MESSAGE_TOO_BIG},
        {10, 20, 21, 0, CLOSE_MESSAGE_TOO_BIG},
        {10, 5, 0, 11, CLOSE_FRAME_TOO_BIG},
        {UINT64_MAX, UINT64_MAX, INT64_MAX, INT64_MAX, CLOSE_NONE},
        {UINT64_MAX, INT64_MAX, 1, INT64_MAX, CLOSE_MESSAGE_TOO_BIG},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ws_rx_limits limits = {.frame = rows[i].frame, .message = rows[i].message};
        struct ws_rules r = {.limits = &limits, .held = rows[i].held};
        struct ws_head h = {.op = WS_OP_BINARY, .len = rows[i].len};
        enum close_reason why = CLOSE_NONE;

        assert_int_equal(ws_head_check_limits(&h, &r, &why), rows[i].why == CLOSE_NONE ? 0 : -1);
        assert_int_equal(why, rows[i].why);
        h.op = WS_OP_PING;
        assert_int_equal(ws_head_check_limits(&h, &r, &why), 0);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_is_decoded),
        cmocka_unit_test(every_first_byte_is_judged),
        cmocka_unit_test(every_second_byte_is_judged),
        cmocka_unit_test(minimal_lengths),
        cmocka_unit_test(limits_are_compared_without_overflow),
    };

    return cmocka_run_group_tests_name("codec/ws_head", tests, NULL, NULL);
}
