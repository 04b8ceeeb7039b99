/* tests/unit/codec/test_ws_rx_message.c - what messages may hold and how large they may be (RFC
 * 6455 §5.6, §7.4, §8.1, §10.4), and that it does not matter how a stream is cut. */
#include "test_ws_script.h"

#include "codec/ws_rx.c"

/* --- §5.6 Data frames --- */

static void s5_6_binary_is_any_bytes(void **state UNUSED)
{
    struct script s = script_new(WS_SERVER);

    put(&s, FIN | WS_OP_BINARY, STR_LIT("\xff\xfe\xc0"));
    put(&s, MORE | WS_OP_BINARY, STR_LIT("\xed\xa0"));
    put(&s, FIN | WS_OP_CONTINUATION, STR_LIT("\x80"));
    expect(&s, "binary \xff\xfe\xc0\nbinary \xed\xa0\x80\n");
}

static void s5_6_text_is_utf8(void **state UNUSED)
{
    struct script s = script_new(WS_SERVER);

    put_text(&s, FIN | WS_OP_TEXT, "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5");
    put_text(&s, FIN | WS_OP_TEXT, "\xf0\x9f\x90\x93 \xf4\x8f\xbf\xbf \xef\xbf\xbf");
    put_text(&s, FIN | WS_OP_TEXT, "\xc2\x80\xe0\xa0\x80\xf0\x90\x80\x80");
    expect(&s, "text \xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\n"
               "text \xf0\x9f\x90\x93 \xf4\x8f\xbf\xbf \xef\xbf\xbf\n"
               "text \xc2\x80\xe0\xa0\x80\xf0\x90\x80\x80\n");
}

static void s5_6_character_across_fragments(void **state UNUSED)
{
    struct script s = script_new(WS_SERVER);

    put_text(&s, MORE | WS_OP_TEXT, "\xf0");
    put_text(&s, MORE | WS_OP_CONTINUATION, "\x9f");
    put_text(&s, FIN | WS_OP_PING, "\x80"); /* is no part of the text */
    put_text(&s, MORE | WS_OP_CONTINUATION, "");
    put_text(&s, MORE | WS_OP_CONTINUATION, "\x90");
    put_text(&s, FIN | WS_OP_CONTINUATION, "\x93");
    expect(&s, "ping \x80\ntext \xf0\x9f\x90\x93\n");
}

/* Sequences of which the last byte is the first that no character allows. */
static const char *const not_utf8[] = {
    "\x80", /* continuation alone */
    "\xbf",
    "\xc0", /* overlong */
    "\xc1",
    "\xf5", /* beyond U+10FFFF */
    "\xff",
    "\xfe",
    "ok\xc3(",        /* not continued */
    "ok\xc3\xbc\xbc", /* continued too far */
    "\xe0\x80",       /* overlong */
    "\xe0\x9f",
    "\xed\xa0", /* surrogate */
    "\xed\xbf",
    "\xe2\x82 ",        /* cut short */
    "\xf0\x8f",         /* overlong */
    "\xf4\x90",         /* beyond U+10FFFF */
    "\xf1\x80\x80\xc0", /* not continued */
};

/* --- §8.1 Handling of errors in UTF-8-encoded data --- */

static void s8_1_text_not_utf8(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(not_utf8); i++) {
        struct script s = script_new(WS_SERVER);

        put_text(&s, FIN | WS_OP_TEXT, not_utf8[i]);
        expect_at_last_byte(&s, "bad_utf8");
    }
}

static void s8_1_known_before_the_frame_ends(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(not_utf8); i++) {
        struct script s = script_new(WS_SERVER);

        put_header(&s, FIN | WS_OP_TEXT, 2, 1000);
        put_payload(&s, str_from(not_utf8[i]));
        expect_at_last_byte(&s, "bad_utf8");
    }
}

static void s8_1_known_before_the_message_ends(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(not_utf8); i++) {
        struct script s = script_new(WS_SERVER);

        put_text(&s, MORE | WS_OP_TEXT, "good");
        put_text(&s, MORE | WS_OP_CONTINUATION, not_utf8[i]);
        expect_at_last_byte(&s, "bad_utf8");
    }
}

static void s8_1_text_ends_inside_a_character(void **state UNUSED)
{
    static const char *const cut[] = {"\xc3", "a\xe2\x82", "\xf0\x9f\x90", "\xf4"};

    for (size_t i = 0; i < ARRAY_LEN(cut); i++) {
        struct script s = script_new(WS_SERVER);

        put_text(&s, FIN | WS_OP_TEXT, cut[i]);
        expect_at_last_byte(&s, "bad_utf8");
        put_text(&s, MORE | WS_OP_TEXT, cut[i]);
        put_header(&s, FIN | WS_OP_CONTINUATION, 0, 0);
        expect_at_last_byte(&s, "bad_utf8");
    }
}

static void s8_1_state_is_fresh_in_each_message(void **state UNUSED)
{
    struct script s = script_new(WS_SERVER);

    put_text(&s, MORE | WS_OP_TEXT, "\xe2");
    put_text(&s, FIN | WS_OP_CONTINUATION, "\x82\xac");
    put_text(&s, FIN | WS_OP_TEXT, "\xac");
    expect(&s, "text \xe2\x82\xac\n! bad_utf8\n");
}

/* --- §7.4 Status codes --- */

static bool code_allowed(unsigned code)
{
    static const unsigned registered[] = {1000, 1001, 1002, 1003, 1007, 1008,
                                          1009, 1010, 1011, 1012, 1013, 1014};

    for (size_t i = 0; i < ARRAY_LEN(registered); i++)
        if (code == registered[i])
            return true;
    return code >= 3000 && code < 5000;
}

static void s7_4_every_code(void **state UNUSED)
{
    for (unsigned code = 0; code <= UINT16_MAX; code++)
        assert_int_equal(ws_close_code_valid((uint16_t)code), code_allowed(code));
}

static void s7_4_codes_on_the_wire(void **state UNUSED)
{
    static const uint16_t codes[] = {0,    1,    125,  999,  1000, 1003, 1004,  1005, 1006,
                                     1007, 1011, 1012, 1013, 1014, 1015, 1016,  1100, 2000,
                                     2999, 3000, 3999, 4000, 4999, 5000, 32768, 65535};
    char want[64];

    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        struct script s = script_new(WS_SERVER);

        put_close(&s, codes[i], STR_LIT("why"));
        if (code_allowed(codes[i]))
            assert_true(snprintf(want, sizeof(want), "close %u why\n", codes[i]) > 0);
        else
            assert_true(snprintf(want, sizeof(want), "! close_payload\n") > 0);
        expect(&s, want);
    }
}

/* --- §10.4 Implementation-specific limits --- */

static void s10_4_frame_limit(void **state UNUSED)
{
    struct script s = script_new(WS_SERVER);

    s.limits = (struct ws_rx_limits){.frame = 10, .message = 1000};
    put_text(&s, FIN | WS_OP_TEXT, "0123456789");
    put_text(&s, FIN | WS_OP_PING, "a ping has its own limit"); /* §5.5 */
    put_header(&s, FIN | WS_OP_TEXT, 0, 11);
    s.in.len -= 4; /* the key need not come */
    expect(&s, "text 0123456789\nping a ping has its own limit\n! frame_too_big\n");
}

static void s10_4_frame_limit_of_every_encoding(void **state UNUSED)
{
    static const struct {
        int form;
        uint64_t len;
    } big[] = {{0, 101}, {2, 126}, {2, 65535}, {8, 65536}, {8, INT64_MAX}};

    for (size_t i = 0; i < ARRAY_LEN(big); i++) {
        struct script s = script_new(WS_SERVER);

        s.limits = (struct ws_rx_limits){.frame = 100, .message = 100};
        put_header(&s, MORE | WS_OP_BINARY, big[i].form, big[i].len);
        s.in.len -= 4;
        expect_at_last_byte(&s, "frame_too_big");
    }
}

static void s10_4_message_limit_counts_all_fragments(void **state UNUSED)
{
    struct script s = script_new(WS_SERVER);

    s.limits = (struct ws_rx_limits){.frame = 10, .message = 20};
    put_text(&s, MORE | WS_OP_TEXT, "0123456789");
    put_text(&s, MORE | WS_OP_CONTINUATION, "0123456");
    put_text(&s, FIN | WS_OP_PING, "0123456789");
    put_text(&s, FIN | WS_OP_CONTINUATION, "789");
    put_text(&s, MORE | WS_OP_TEXT, "0123456789");
    put_text(&s, MORE | WS_OP_CONTINUATION, "012345678");
    put_header(&s, FIN | WS_OP_CONTINUATION, 0, 2);
    s.in.len -= 4;
    expect(&s, "ping 0123456789\ntext 01234567890123456789\n! message_too_big\n");
}

static void s10_4_message_limit_of_one_frame(void **state UNUSED)
{
    struct script s = script_new(WS_SERVER);

    s.limits = (struct ws_rx_limits){.frame = 100, .message = 20};
    put_header(&s, FIN | WS_OP_BINARY, 0, 21);
    s.in.len -= 4;
    expect_at_last_byte(&s, "message_too_big");
}

static void s10_4_limits_of_nothing(void **state UNUSED)
{
    struct script s = script_new(WS_SERVER);

    s.limits = (struct ws_rx_limits){.frame = 0, .message = 0};
    put_text(&s, FIN | WS_OP_TEXT, "");
    put_text(&s, MORE | WS_OP_TEXT, "");
    put_text(&s, FIN | WS_OP_CONTINUATION, "");
    put_text(&s, FIN | WS_OP_TEXT, "a");
    expect(&s, "text \ntext \n! frame_too_big\n");
}

/* Settings are reloaded while a message is open. */
static void s10_4_message_limit_lowered_below_what_is_held(void **state UNUSED)
{
    struct ws_rx_pool *pool = ws_rx_pool_new(WS_SERVER, UINT64_MAX);
    struct script s = script_new(WS_SERVER);
    struct ws_rx rx = {0};
    struct buf log = {0};

    put_text(&s, MORE | WS_OP_TEXT, "0123456789");
    assert_int_equal(feed(&rx, pool, &s.limits, buf_view(&s.in), &log), 0);
    s.limits.message = 5;
    buf_clear(&s.in);
    put_text(&s, FIN | WS_OP_CONTINUATION, "");
    assert_int_equal(feed(&rx, pool, &s.limits, buf_view(&s.in), &log), -1);
    check_log(log, STR_LIT("! message_too_big\n"), "lowered", 0);
    assert_false(ws_rx_partial(&rx));
    buf_fini(&s.in);
    ws_rx_pool_free(pool);
}

/* --- cutting --- */

static uint64_t random_state;

static uint32_t random_below(uint32_t n)
{
    uint64_t z = (random_state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ (z >> 31)) >> 32) % n;
}

static size_t next_random(void *arg)
{
    return 1 + random_below(*(uint32_t *)arg);
}

static void put_random_payload(struct script *s, int first)
{
    static const char *const letters[] = {
        "a", "z", " ", "\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x90\x93"};
    static const uint32_t longest[] = {1, 8, 70, 126, 300, 5000};
    uint32_t n = random_below(longest[random_below(ARRAY_LEN(longest))]);
    bool bad = random_below(60) == 0;
    struct buf text = {0};

    if ((first & 0x8) != 0)
        n = MIN(n, 31);
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(buf_append_lit(&text, letters[random_below(ARRAY_LEN(letters))]), 0);
    if (bad && text.len > 0)
        text.p[random_below((uint32_t)text.len)] = (char)random_below(256);
    put(s, first, buf_view(&text));
    buf_fini(&text);
}

/* A mostly valid stream: every kind of frame, some damage. */
static void put_random_stream(struct script *s)
{
    bool open = false;

    for (uint32_t frames = 1 + random_below(12); frames > 0; frames--) {
        uint32_t kind = random_below(10);
        bool fin = random_below(2) == 0;

        if (kind < 2)
            put_random_payload(s, FIN | (kind == 0 ? WS_OP_PING : WS_OP_PONG));
        else if (kind == 2 && random_below(4) == 0)
            put_close(s, (uint16_t)(990 + random_below(30)), STR_LIT("bye"));
        else {
            int op = open ? WS_OP_CONTINUATION : kind < 6 ? WS_OP_TEXT : WS_OP_BINARY;

            put_random_payload(s, (fin ? FIN : MORE) | op);
            open = !fin;
        }
    }
    if (random_below(4) == 0)
        s->in.p[random_below((uint32_t)s->in.len)] ^= (char)(1 << random_below(8));
    s->in.len -= random_below(5) == 0 ? random_below((uint32_t)s->in.len) : 0;
}

/* The path for whole frames against wslay's: the same events. */
static void whole_frames_and_wslay_agree(void **state UNUSED)
{
    size_t violations = 0;

    for (uint64_t seed = 1; seed <= 2000; seed++) {
        struct script s = script_new((seed & 7) == 0 ? WS_CLIENT : WS_SERVER);
        uint32_t longest = 1;
        struct buf want;

        random_state = seed;
        if (random_below(3) == 0)
            s.limits =
                (struct ws_rx_limits){.frame = random_below(2000), .message = random_below(4000)};
        put_random_stream(&s);
        want = script_run(&s, next_whole, NULL);
        violations += str_find(buf_view(&want), '!') != want.len;
        check_log(script_run(&s, next_byte, NULL), buf_view(&want), "byte by byte, seed", seed);
        for (longest = 2; longest < 10000; longest *= 4)
            check_log(script_run(&s, next_random, &longest), buf_view(&want), "random, seed", seed);
        buf_fini(&want);
        buf_fini(&s.in);
    }
    assert_in_range(violations, 200, 1800); /* the generator makes good and bad streams */
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(s5_6_binary_is_any_bytes),
        cmocka_unit_test(s5_6_text_is_utf8),
        cmocka_unit_test(s5_6_character_across_fragments),
        cmocka_unit_test(s8_1_text_not_utf8),
        cmocka_unit_test(s8_1_known_before_the_frame_ends),
        cmocka_unit_test(s8_1_known_before_the_message_ends),
        cmocka_unit_test(s8_1_text_ends_inside_a_character),
        cmocka_unit_test(s8_1_state_is_fresh_in_each_message),
        cmocka_unit_test(s7_4_every_code),
        cmocka_unit_test(s7_4_codes_on_the_wire),
        cmocka_unit_test(s10_4_frame_limit),
        cmocka_unit_test(s10_4_frame_limit_of_every_encoding),
        cmocka_unit_test(s10_4_message_limit_counts_all_fragments),
        cmocka_unit_test(s10_4_message_limit_of_one_frame),
        cmocka_unit_test(s10_4_limits_of_nothing),
        cmocka_unit_test(s10_4_message_limit_lowered_below_what_is_held),
        cmocka_unit_test(whole_frames_and_wslay_agree),
    };

    return cmocka_run_group_tests_name("codec/ws_rx messages", tests, NULL, NULL);
}
