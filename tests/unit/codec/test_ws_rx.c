/* tests/unit/codec/test_ws_rx.c - RFC 6455 §5 to §8, clause by clause. Every stream is fed whole,
 * byte by byte and at every split. */
#include "test_ws_script.h"

#include "codec/ws_rx.c"

/* --- §5.1 Overview --- */

static void s5_1_server_refuses_unmasked(void **state UNUSED)
{
    struct script s = script_new(WS_SERVER);

    put_bytes(&s, BYTES(0x81, 0x05));
    expect_at_last_byte(&s, "frame_unmasked");
    put_bytes(&s, BYTES(0x89, 0x00));
    expect_at_last_byte(&s, "frame_unmasked");
    put_bytes(&s, BYTES(0x82, 126, 0x01, 0x00));
    expect(&s, "! frame_unmasked\n");
}

static void s5_1_client_refuses_masked(void **state UNUSED)
{
    struct script s = script_new(WS_CLIENT);

    put_bytes(&s, BYTES(0x81, 0x85));
    expect_at_last_byte(&s, "frame_masked");
    put_bytes(&s, BYTES(0x8a, 0x80));
    expect_at_last_byte(&s, "frame_masked");
}

/* --- §5.2 Base framing protocol --- */

static void s5_2_reserved_bits(void **state UNUSED)
{
    static const uint8_t ops[] = {0x0, 0x1, 0x2, 0x8, 0x9, 0xa};

    for (size_t i = 0; i < ARRAY_LEN(ops); i++)
        for (int rsv = 0x10; rsv <= 0x70; rsv += 0x10) {
            struct script s = script_new(WS_SERVER);
            struct script c = script_new(WS_CLIENT);

            put_bytes(&s, BYTES((uint8_t)(FIN | rsv | ops[i])));
            expect_at_last_byte(&s, "frame_rsv");
            put_bytes(&c, BYTES((uint8_t)(rsv | ops[i])));
            expect_at_last_byte(&c, "frame_rsv");
        }
}

static void s5_2_reserved_bits_after_good_frames(void **state UNUSED)
{
    struct script s = script_new(WS_SERVER);

    put_text(&s, FIN | WS_OP_TEXT, "good");
    put_text(&s, MORE | WS_OP_TEXT, "half");
    put_text(&s, FIN | 0x40 | WS_OP_CONTINUATION, "bad");
    put_text(&s, FIN | WS_OP_TEXT, "never seen");
    expect(&s, "text good\n! frame_rsv\n");
}

static void s5_2_reserved_opcodes(void **state UNUSED)
{
    for (int op = 0; op < 16; op++) {
        bool defined = op <= WS_OP_BINARY || (op >= WS_OP_CLOSE && op <= WS_OP_PONG);
        struct script s = script_new(WS_SERVER);

        if (defined)
            continue;
        put_bytes(&s, BYTES((uint8_t)(FIN | op)));
        expect_at_last_byte(&s, "frame_opcode");
        put_bytes(&s, BYTES((uint8_t)op));
        expect_at_last_byte(&s, "frame_opcode");
        put_text(&s, MORE | WS_OP_TEXT, "a");
        put_bytes(&s, BYTES((uint8_t)(FIN | op)));
        expect_at_last_byte(&s, "frame_opcode");
    }
}

static void expect_length(enum ws_role role, size_t n)
{
    struct script s = script_new(role);
    struct buf want = {0};
    char *data = malloc(n + 1);

    assert_non_null(data);
    for (size_t i = 0; i < n; i++)
        data[i] = (char)(1 + i * 131 % 255); /* no NUL: expect() takes text */
    put(&s, FIN | WS_OP_BINARY, (struct str){data, n});
    put_text(&s, FIN | WS_OP_TEXT, "next");
    log_item(&want, &(struct ws_item){.kind = WS_ITEM_BINARY, .data = {data, n}});
    assert_int_equal(buf_append(&want, STR_LIT("text next\n\0")), 0);
    expect(&s, want.p);
    buf_fini(&want);
    free(data);
}

static void s5_2_every_length_encoding(void **state UNUSED)
{
    static const size_t lengths[] = {0, 1, 7, 8, 124, 125, 126, 127, 255, 256, 4095, 4096, 4097};

    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        expect_length(WS_SERVER, lengths[i]);
        expect_length(WS_CLIENT, lengths[i]);
    }
    expect_length(WS_SERVER, 65535);
    expect_length(WS_SERVER, 65536);
    expect_length(WS_CLIENT, 65536);
}

static void s5_2_length_not_minimal(void **state UNUSED)
{
    static const struct {
        int form;
        uint64_t len;
    } bad[] = {{2, 0}, {2, 1}, {2, 125}, {8, 0}, {8, 125}, {8, 126}, {8, 65535}};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct script s = script_new(WS_SERVER);
        struct script c = script_new(WS_CLIENT);

        put_header(&s, FIN | WS_OP_BINARY, bad[i].form, bad[i].len);
        s.in.len -= 4; /* known before the mask key has come */
        expect_at_last_byte(&s, "frame_length");
        put_header(&c, FIN | WS_OP_TEXT, bad[i].form, bad[i].len);
        expect_at_last_byte(&c, "frame_length");
    }
}

static void s5_2_length_top_bit(void **state UNUSED)
{
    static const uint64_t bad[] = {UINT64_C(1) << 63, UINT64_MAX, (UINT64_C(1) << 63) + 5};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct script s = script_new(WS_SERVER);

        s.limits = (struct ws_rx_limits){.frame = UINT64_MAX, .message = UINT64_MAX};
        put_header(&s, FIN | WS_OP_BINARY, 8, bad[i]);
        expect(&s, "! frame_length\n");
    }
}

/* The length's rule comes before the limit's: 1002 and not 1009. */
static void s5_2_length_top_bit_beyond_limit(void **state UNUSED)
{
    struct script s = script_new(WS_SERVER);

    put_header(&s, FIN | WS_OP_BINARY, 8, UINT64_C(1) << 63);
    expect(&s, "! frame_length\n");
    s.limits = (struct ws_rx_limits){.frame = 10, .message = 10};
    put_header(&s, FIN | WS_OP_BINARY, 2, 50);
    expect(&s, "! frame_length\n");
}

static void s5_2_incomplete_header_waits(void **state UNUSED)
{
    struct script s = script_new(WS_SERVER);

    put_header(&s, FIN | WS_OP_BINARY, 8, 1 << 18);
    s.in.len--;
    expect(&s, "... 0\n");
    put_bytes(&s, BYTES(0x81));
    expect(&s, "... 0\n");
    put_header(&s, FIN | WS_OP_TEXT, 0, 3);
    put_payload(&s, STR_LIT("ab"));
    expect(&s, "... 2\n");
}

/* --- §5.3 Client-to-server masking --- */

static void s5_3_every_key_byte_counts(void **state UNUSED)
{
    struct script s = script_new(WS_SERVER);

    put_bytes(&s, BYTES(0x82, 0x89, 1, 2, 3, 4, 'a' ^ 1, 'b' ^ 2, 'c' ^ 3, 'd' ^ 4, 'e' ^ 1,
                        'f' ^ 2, 'g' ^ 3, 'h' ^ 4, 'i' ^ 1));
    expect(&s, "binary abcdefghi\n");
}

static void s5_3_zero_key(void **state UNUSED)
{
    struct script s = script_new(WS_SERVER);

    put_bytes(&s, BYTES(0x81, 0x83, 0, 0, 0, 0, 'a', 'b', 'c'));
    expect(&s, "text abc\n");
}

static void s5_3_key_begins_anew_in_each_fragment(void **state UNUSED)
{
    struct script s = script_new(WS_SERVER);

    put_bytes(&s, BYTES(0x02, 0x83, 1, 2, 3, 4, 'a' ^ 1, 'b' ^ 2, 'c' ^ 3));
    put_bytes(&s, BYTES(0x80, 0x82, 9, 8, 7, 6, 'd' ^ 9, 'e' ^ 8));
    expect(&s, "binary abcde\n");
}

/* --- §5.4 Fragmentation --- */

static void s5_4_fragments_make_a_message(void **state UNUSED)
{
    struct script s = script_new(WS_SERVER);
    struct script c = script_new(WS_CLIENT);

    put_text(&s, MORE | WS_OP_TEXT, "Hel");
    put_text(&s, FIN | WS_OP_CONTINUATION, "lo");
    put_text(&s, MORE | WS_OP_BINARY, "a");
    put_text(&s, MORE | WS_OP_CONTINUATION, "b");
    put_text(&s, MORE | WS_OP_CONTINUATION, "c");
    put_text(&s, FIN | WS_OP_CONTINUATION, "d");
    put_text(&s, FIN | WS_OP_TEXT, "alone");
    expect(&s, "text Hello\nbinary abcd\ntext alone\n");
    put_text(&c, MORE | WS_OP_TEXT, "Hel");
    put_text(&c, FIN | WS_OP_CONTINUATION, "lo");
    expect(&c, "text Hello\n");
}

static void s5_4_empty_fragments(void **state UNUSED)
{
    struct script s = script_new(WS_SERVER);

    put_text(&s, MORE | WS_OP_TEXT, "");
    put_text(&s, FIN | WS_OP_CONTINUATION, "");
    put_text(&s, MORE | WS_OP_TEXT, "");
    put_text(&s, MORE | WS_OP_CONTINUATION, "middle");
    put_text(&s, FIN | WS_OP_CONTINUATION, "");
    put_text(&s, FIN | WS_OP_BINARY, "");
    expect(&s, "text \ntext middle\nbinary \n");
}

static void s5_4_control_frames_between_fragments(void **state UNUSED)
{
    struct script s = script_new(WS_SERVER);

    put_text(&s, MORE | WS_OP_TEXT, "Hel");
    put_text(&s, FIN | WS_OP_PING, "one");
    put_text(&s, FIN | WS_OP_PING, "");
    put_text(&s, MORE | WS_OP_CONTINUATION, "l");
    put_text(&s, FIN | WS_OP_PONG, "two");
    put_text(&s, FIN | WS_OP_CONTINUATION, "o");
    put_text(&s, FIN | WS_OP_PING, "three");
    expect(&s, "ping one\nping \npong two\ntext Hello\nping three\n");
}

static void s5_4_close_between_fragments(void **state UNUSED)
{
    struct script s = script_new(WS_SERVER);

    put_text(&s, MORE | WS_OP_TEXT, "Hel");
    put_close(&s, 1001, STR_LIT("bye"));
    expect(&s, "close 1001 bye\n... 3\n");
}

static void s5_4_unfinished_message_waits(void **state UNUSED)
{
    struct script s = script_new(WS_SERVER);

    put_text(&s, MORE | WS_OP_TEXT, "Hel");
    expect(&s, "... 3\n");
    put_text(&s, MORE | WS_OP_BINARY, "");
    expect(&s, "... 0\n");
    put_text(&s, MORE | WS_OP_TEXT, "Hel");
    put_text(&s, MORE | WS_OP_CONTINUATION, "lo");
    expect(&s, "... 5\n");
}

static void s5_4_nothing_to_continue(void **state UNUSED)
{
    struct script s = script_new(WS_SERVER);

    put_bytes(&s, BYTES(0x80));
    expect_at_last_byte(&s, "frame_continuation");
    put_bytes(&s, BYTES(0x00));
    expect_at_last_byte(&s, "frame_continuation");
    put_text(&s, FIN | WS_OP_TEXT, "whole");
    put_text(&s, FIN | WS_OP_CONTINUATION, "more");
    expect(&s, "text whole\n! frame_continuation\n");
    put_text(&s, MORE | WS_OP_TEXT, "a");
    put_text(&s, FIN | WS_OP_CONTINUATION, "b");
    put_text(&s, FIN | WS_OP_CONTINUATION, "c");
    expect(&s, "text ab\n! frame_continuation\n");
    put_text(&s, FIN | WS_OP_PING, "a");
    put_text(&s, FIN | WS_OP_CONTINUATION, "b");
    expect(&s, "ping a\n! frame_continuation\n");
}

static void s5_4_messages_do_not_interleave(void **state UNUSED)
{
    static const int firsts[] = {FIN | WS_OP_TEXT, MORE | WS_OP_TEXT, FIN | WS_OP_BINARY,
                                 MORE | WS_OP_BINARY};

    for (size_t i = 0; i < ARRAY_LEN(firsts); i++) {
        struct script s = script_new(WS_SERVER);

        put_text(&s, MORE | WS_OP_TEXT, "a");
        put_bytes(&s, BYTES((uint8_t)firsts[i]));
        expect_at_last_byte(&s, "frame_continuation");
        put_text(&s, MORE | WS_OP_BINARY, "a");
        put_text(&s, FIN | WS_OP_PING, "");
        put_text(&s, firsts[i], "b");
        expect(&s, "ping \n! frame_continuation\n");
    }
}

/* --- §5.5 Control frames --- */

static void s5_5_fragmented_control(void **state UNUSED)
{
    for (int op = WS_OP_CLOSE; op <= WS_OP_PONG; op++) {
        struct script s = script_new(WS_SERVER);

        put_bytes(&s, BYTES((uint8_t)(MORE | op)));
        expect_at_last_byte(&s, "frame_control");
    }
}

static void s5_5_control_over_125_bytes(void **state UNUSED)
{
    for (int op = WS_OP_CLOSE; op <= WS_OP_PONG; op++)
        for (uint8_t len = 126; len <= 127; len++) {
            struct script s = script_new(WS_SERVER);
            struct script c = script_new(WS_CLIENT);

            put_bytes(&s, BYTES((uint8_t)(FIN | op), (uint8_t)(0x80 | len)));
            expect_at_last_byte(&s, "frame_control");
            put_bytes(&c, BYTES((uint8_t)(FIN | op), len));
            expect_at_last_byte(&c, "frame_control");
        }
}

static void s5_5_control_of_125_bytes(void **state UNUSED)
{
    char data[125];
    struct script s = script_new(WS_SERVER);
    struct buf want = {0};

    memset(data, 'x', sizeof(data));
    put(&s, FIN | WS_OP_PING, (struct str){data, sizeof(data)});
    put(&s, FIN | WS_OP_PONG, (struct str){data, sizeof(data)});
    log_item(&want, &(struct ws_item){.kind = WS_ITEM_PING, .data = {data, sizeof(data)}});
    log_item(&want, &(struct ws_item){.kind = WS_ITEM_PONG, .data = {data, sizeof(data)}});
    assert_int_equal(buf_append_char(&want, '\0'), 0);
    expect(&s, want.p);
    buf_fini(&want);
}

static void s5_5_1_close_without_payload(void **state UNUSED)
{
    struct script s = script_new(WS_SERVER);
    struct script c = script_new(WS_CLIENT);

    put_text(&s, FIN | WS_OP_CLOSE, "");
    expect(&s, "close 1005 \n");
    put_text(&c, FIN | WS_OP_CLOSE, "");
    expect(&c, "close 1005 \n");
}

static void s5_5_1_close_of_one_byte(void **state UNUSED)
{
    struct script s = script_new(WS_SERVER);

    put_bytes(&s, BYTES(0x88, 0x81));
    expect_at_last_byte(&s, "close_payload");
    put_text(&s, FIN | WS_OP_CLOSE, "\003");
    expect(&s, "! close_payload\n");
}

static void s5_5_1_close_with_reason(void **state UNUSED)
{
    static const char longest[] =
        "12345678901234567890123456789012345678901234567890123456789012345"
        "6789012345678901234567890123456789012345678901234567890123";
    struct script s = script_new(WS_SERVER);
    struct buf want = {0};

    put_close(&s, 1000, STR_NULL);
    expect(&s, "close 1000 \n");
    put_close(&s, 3999, STR_LIT("gr\xc3\xbc\xc3\x9f"));
    expect(&s, "close 3999 gr\xc3\xbc\xc3\x9f\n");
    put_close(&s, 1000, STR_LIT(longest));
    log_item(&want, &(struct ws_item){
                        .kind = WS_ITEM_CLOSE, .close_code = 1000, .data = STR_LIT(longest)});
    assert_int_equal(buf_append_char(&want, '\0'), 0);
    expect(&s, want.p);
    buf_fini(&want);
}

static void s5_5_1_close_reason_not_utf8(void **state UNUSED)
{
    struct script s = script_new(WS_SERVER);

    put_close(&s, 1000, STR_LIT("ab\xff"));
    expect_at_last_byte(&s, "bad_utf8");
    put_header(&s, FIN | WS_OP_CLOSE, 0, 20); /* fails before the rest has come */
    put_payload(&s, STR_LIT("\x03\xe8"
                            "a\xed\xa0"));
    expect_at_last_byte(&s, "bad_utf8");
    put_close(&s, 1000, STR_LIT("ab\xe2\x82")); /* ends inside a character */
    expect_at_last_byte(&s, "bad_utf8");
}

static void s5_5_1_close_code_is_judged_before_reason(void **state UNUSED)
{
    struct script s = script_new(WS_SERVER);

    put_close(&s, 1005, STR_LIT("\xff"));
    expect(&s, "! close_payload\n");
    put_header(&s, FIN | WS_OP_CLOSE, 0, 20);
    put_payload(&s, STR_LIT("\x00\x01"));
    expect_at_last_byte(&s, "close_payload");
}

static void s5_5_2_ping_and_5_5_3_pong(void **state UNUSED)
{
    struct script s = script_new(WS_SERVER);
    struct script c = script_new(WS_CLIENT);

    put(&s, FIN | WS_OP_PING, STR_LIT("\x01\xff\xfe")); /* need not be text */
    put(&s, FIN | WS_OP_PONG, STR_LIT("unasked"));
    put(&s, FIN | WS_OP_PING, STR_NULL);
    expect(&s, "ping \x01\xff\xfe\npong unasked\nping \n");
    put(&c, FIN | WS_OP_PONG, STR_NULL);
    put(&c, FIN | WS_OP_PING, STR_LIT("x"));
    expect(&c, "pong \nping x\n");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(s5_1_server_refuses_unmasked),
        cmocka_unit_test(s5_1_client_refuses_masked),
        cmocka_unit_test(s5_2_reserved_bits),
        cmocka_unit_test(s5_2_reserved_bits_after_good_frames),
        cmocka_unit_test(s5_2_reserved_opcodes),
        cmocka_unit_test(s5_2_every_length_encoding),
        cmocka_unit_test(s5_2_length_not_minimal),
        cmocka_unit_test(s5_2_length_top_bit),
        cmocka_unit_test(s5_2_length_top_bit_beyond_limit),
        cmocka_unit_test(s5_2_incomplete_header_waits),
        cmocka_unit_test(s5_3_every_key_byte_counts),
        cmocka_unit_test(s5_3_zero_key),
        cmocka_unit_test(s5_3_key_begins_anew_in_each_fragment),
        cmocka_unit_test(s5_4_fragments_make_a_message),
        cmocka_unit_test(s5_4_empty_fragments),
        cmocka_unit_test(s5_4_control_frames_between_fragments),
        cmocka_unit_test(s5_4_close_between_fragments),
        cmocka_unit_test(s5_4_unfinished_message_waits),
        cmocka_unit_test(s5_4_nothing_to_continue),
        cmocka_unit_test(s5_4_messages_do_not_interleave),
        cmocka_unit_test(s5_5_fragmented_control),
        cmocka_unit_test(s5_5_control_over_125_bytes),
        cmocka_unit_test(s5_5_control_of_125_bytes),
        cmocka_unit_test(s5_5_1_close_without_payload),
        cmocka_unit_test(s5_5_1_close_of_one_byte),
        cmocka_unit_test(s5_5_1_close_with_reason),
        cmocka_unit_test(s5_5_1_close_reason_not_utf8),
        cmocka_unit_test(s5_5_1_close_code_is_judged_before_reason),
        cmocka_unit_test(s5_5_2_ping_and_5_5_3_pong),
    };

    return cmocka_run_group_tests_name("codec/ws_rx framing", tests, NULL, NULL);
}
