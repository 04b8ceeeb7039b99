/* tests/unit/codec/test_ws_rx_deflate.c - compressed messages (RFC 7692 §6): whole, in fragments, cut
 * anywhere; where the bit may stand; what waits. */
#include "test_ws_script.h"

#include "codec/deflate.h"
#include "codec/ws_rx.c"

#define RSV1  0x40
#define HELLO STR_LIT("\xf2\x48\xcd\xc9\xc9\x07\0")

static struct script deflate_script(enum ws_role role)
{
    struct script s = script_new(role);

    s.limits.deflate = true;
    return s;
}

static void both_roles_and_kinds(void **state UNUSED)
{
    for (int role = WS_SERVER; role <= WS_CLIENT; role++) {
        struct script s = deflate_script((enum ws_role)role);

        put(&s, FIN | RSV1 | WS_OP_TEXT, HELLO);
        put(&s, FIN | RSV1 | WS_OP_BINARY, HELLO);
        put_text(&s, FIN | WS_OP_TEXT, "as it is");
        put(&s, FIN | RSV1 | WS_OP_TEXT, STR_LIT("\0"));
        put(&s, FIN | RSV1 | WS_OP_TEXT, STR_NULL);
        put(&s, FIN | RSV1 | WS_OP_TEXT, STR_LIT("\xf3\x48\xcd\xc9\xc9\x07\0\0"));
        expect(&s, "text Hello\nbinary Hello\ntext as it is\ntext \ntext \ntext Hello\n");
    }
}

/* §7.2.3.1: the same in two frames, control frames between them. */
static void fragments(void **state UNUSED)
{
    struct script s = deflate_script(WS_SERVER);

    put(&s, MORE | RSV1 | WS_OP_TEXT, STR_LIT("\xf2\x48\xcd"));
    put_text(&s, FIN | WS_OP_PING, "p");
    put(&s, MORE | WS_OP_CONTINUATION, STR_NULL);
    put(&s, FIN | WS_OP_CONTINUATION, STR_LIT("\xc9\xc9\x07\0"));
    put(&s, MORE | RSV1 | WS_OP_BINARY, STR_NULL);
    put(&s, FIN | WS_OP_CONTINUATION, HELLO);
    put_close(&s, 1000, STR_NULL);
    expect(&s, "ping p\ntext Hello\nbinary Hello\nclose 1000 \n");
}

static void expect_refusal(struct script *s, enum close_reason why)
{
    char text[64];

    snprintf(text, sizeof(text), "! %s\n", close_row(why)->label);
    expect(s, text);
}

static void where_the_bit_may_stand(void **state UNUSED)
{
    static const int first[] = {
        FIN | RSV1 | WS_OP_PING,  FIN | RSV1 | WS_OP_CLOSE,  FIN | RSV1 | WS_OP_PONG,
        FIN | RSV1 | 0x3,         FIN | 0x20 | WS_OP_TEXT,   FIN | 0x10 | WS_OP_TEXT,
        FIN | 0x60 | WS_OP_TEXT,  FIN | 0x70 | WS_OP_BINARY, FIN | RSV1 | WS_OP_CONTINUATION,
        MORE | 0x30 | WS_OP_TEXT,
    };
    struct script s;

    for (size_t i = 0; i < ARRAY_LEN(first); i++) {
        s = deflate_script(WS_SERVER);
        put(&s, first[i], HELLO);
        expect_refusal(&s, CLOSE_FRAME_RSV);
    }
    s = script_new(WS_SERVER); /* not agreed on */
    put(&s, FIN | RSV1 | WS_OP_TEXT, HELLO);
    expect_refusal(&s, CLOSE_FRAME_RSV);
    s = deflate_script(WS_SERVER);
    put(&s, MORE | RSV1 | WS_OP_TEXT, STR_LIT("\xf2"));
    put(&s, FIN | RSV1 | WS_OP_TEXT, HELLO);
    expect_refusal(&s, CLOSE_FRAME_CONTINUATION);
    s = deflate_script(WS_SERVER);
    put(&s, MORE | WS_OP_TEXT, STR_LIT("x"));
    put(&s, FIN | RSV1 | WS_OP_CONTINUATION, STR_LIT("x"));
    expect_refusal(&s, CLOSE_FRAME_RSV);
}

/* Judged when the message is complete: bytes that are no characters may stand for some. */
static void what_comes_out_is_judged(void **state UNUSED)
{
    struct script s = deflate_script(WS_SERVER);
    struct buf bad = {0};

    assert_int_equal(deflate_message(DEFLATE_32K, 1, STR_LIT("\xff\xfe"), &bad), 0);
    put(&s, FIN | RSV1 | WS_OP_BINARY, buf_view(&bad));
    put(&s, FIN | RSV1 | WS_OP_TEXT, buf_view(&bad));
    expect(&s, "binary \xff\xfe\n! bad_utf8\n");
    s = deflate_script(WS_SERVER);
    put(&s, FIN | RSV1 | WS_OP_TEXT, STR_LIT("Hello"));
    expect_refusal(&s, CLOSE_BAD_DEFLATE);
    s = deflate_script(WS_SERVER);
    put(&s, MORE | RSV1 | WS_OP_BINARY, STR_LIT("\xf2\x48"));
    put(&s, FIN | WS_OP_CONTINUATION, STR_LIT("\xcd"));
    expect_refusal(&s, CLOSE_BAD_DEFLATE);
    buf_fini(&bad);
}

static struct buf compressed_run(size_t n)
{
    struct buf data = {0}, out = {0};

    assert_int_equal(buf_reserve(&data, n), 0);
    memset(data.p, 'x', n);
    data.len = n;
    assert_int_equal(deflate_message(DEFLATE_32K, 9, buf_view(&data), &out), 0);
    buf_fini(&data);
    return out;
}

static void limits(void **state UNUSED)
{
    struct buf run = compressed_run(100001), bomb = compressed_run(2 << 20);
    struct script s = deflate_script(WS_SERVER);

    s.limits.message = 100000;
    put(&s, FIN | RSV1 | WS_OP_TEXT, buf_view(&run));
    expect_refusal(&s, CLOSE_MESSAGE_TOO_BIG);
    s = deflate_script(WS_SERVER);
    s.limits.ratio = 256;
    s.limits.message = 4 << 20;
    put(&s, FIN | RSV1 | WS_OP_TEXT, buf_view(&bomb));
    expect_refusal(&s, CLOSE_INFLATE_RATIO);
    s = deflate_script(WS_SERVER);
    s.limits.frame = run.len - 1;
    put(&s, FIN | RSV1 | WS_OP_TEXT, buf_view(&run));
    expect_refusal(&s, CLOSE_FRAME_TOO_BIG);
    buf_fini(&bomb);
    buf_fini(&run);
}

/* --- messages that wait --- */

static struct ws_rx rx;
static struct ws_rx_pool *pool;
static const struct ws_rx_limits agreed = {.frame = 1 << 20, .message = 1 << 20, .deflate = true};

/* A message that is refused leaves nothing to the next one, which may be another connection's. */
static void a_refused_message_leaves_nothing(void **state UNUSED)
{
    static const struct str refused[] = {
        {.p = "\xff\xfe", .n = 2}, {.p = "half \xf0\x9f", .n = 7}, {.p = "", .n = 0}};

    pool = ws_rx_pool_new(WS_SERVER, UINT64_MAX);
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct script bad = script_new(WS_SERVER), good = script_new(WS_SERVER);
        struct buf text = {0};
        struct ws_item item;
        struct ws_rx other = {0};
        enum close_reason why;
        struct str in;

        assert_int_equal(deflate_message(DEFLATE_32K, 1, refused[i], &text), 0);
        if (text.len < 3) /* what is no deflate */
            assert_int_equal(buf_append_lit(&text, "\xff\xff\xff"), 0);
        put(&bad, FIN | RSV1 | WS_OP_TEXT, buf_view(&text));
        put(&good, FIN | RSV1 | WS_OP_BINARY, HELLO);
        in = buf_view(&bad.in);
        assert_int_equal(ws_rx_next(&rx, pool, &agreed, &in, &item, &why), -1);
        in = buf_view(&good.in);
        assert_int_equal(ws_rx_next(&other, pool, &agreed, &in, &item, &why), 1);
        assert_true(str_equal(item.data, STR_LIT("Hello")));
        buf_fini(&text);
        buf_fini(&good.in);
        buf_fini(&bad.in);
    }
    ws_rx_pool_free(pool);
}

/* Two frames, of which the first waits. */
static void set_aside(int first, struct str payload, enum ws_item_kind kind, struct str data)
{
    struct script s = script_new(WS_SERVER);
    struct ws_item item;
    enum close_reason why;
    struct buf rest = {0};
    struct str in;

    put(&s, first, payload);
    put_text(&s, FIN | WS_OP_TEXT, "next");
    in = buf_view(&s.in);
    assert_int_equal(ws_rx_next(&rx, pool, &agreed, &in, &item, &why), 1);
    assert_int_equal(ws_rx_set_aside(&rx, pool, &item, in), 0);
    memset(s.in.p, 0, s.in.len); /* all has been copied */
    assert_true(ws_rx_aside(&rx) && ws_rx_partial(&rx));
    assert_int_equal(ws_rx_aside_size(&rx), data.n);
    assert_true(ws_rx_cost(&rx) >= payload.n + in.n);
    assert_int_equal(ws_rx_resume(&rx, pool, &agreed, &rest, &item, &why), 1);
    assert_false(ws_rx_aside(&rx));
    assert_int_equal(item.kind, kind);
    assert_true(str_equal(item.data, data));
    in = buf_view(&rest);
    assert_int_equal(ws_rx_next(&rx, pool, &agreed, &in, &item, &why), 1);
    assert_true(str_equal(item.data, STR_LIT("next")) && in.n == 0);
    assert_int_equal(ws_rx_pool_slots_in_use(pool), 0);
    buf_fini(&rest);
    buf_fini(&s.in);
}

static void aside(void **state UNUSED)
{
    pool = ws_rx_pool_new(WS_SERVER, UINT64_MAX);
    set_aside(FIN | WS_OP_TEXT, STR_LIT("plain"), WS_ITEM_TEXT, STR_LIT("plain"));
    set_aside(FIN | WS_OP_BINARY, STR_LIT("plain"), WS_ITEM_BINARY, STR_LIT("plain"));
    set_aside(FIN | RSV1 | WS_OP_TEXT, HELLO, WS_ITEM_TEXT, STR_LIT("Hello"));
    set_aside(FIN | RSV1 | WS_OP_BINARY, HELLO, WS_ITEM_BINARY, STR_LIT("Hello"));
    set_aside(FIN | WS_OP_TEXT, STR_NULL, WS_ITEM_TEXT, STR_NULL);
    ws_rx_pool_free(pool);
}

/* What came through a slot, and what was never taken. */
static void aside_of_fragments_and_given_up(void **state UNUSED)
{
    struct script s = script_new(WS_SERVER);
    struct ws_item item;
    enum close_reason why;
    struct str in;

    pool = ws_rx_pool_new(WS_SERVER, UINT64_MAX);
    put(&s, MORE | RSV1 | WS_OP_TEXT, STR_LIT("\xf2\x48\xcd"));
    put(&s, FIN | WS_OP_CONTINUATION, STR_LIT("\xc9\xc9\x07\0"));
    in = buf_view(&s.in);
    assert_int_equal(ws_rx_next(&rx, pool, &agreed, &in, &item, &why), 1);
    assert_int_equal(ws_rx_set_aside(&rx, pool, &item, STR_LIT("rest")), 0);
    ws_rx_fini(&rx, pool);
    assert_int_equal(ws_rx_pool_slots_in_use(pool), 0);
    ws_rx_pool_free(pool);
    buf_fini(&s.in);
}

static void no_room_to_wait(void **state UNUSED)
{
    struct script s = script_new(WS_SERVER);
    struct ws_item item;
    enum close_reason why;
    struct str in;

    pool = ws_rx_pool_new(WS_SERVER, SLOT_BYTES + 1000);
    put(&s, FIN | RSV1 | WS_OP_TEXT, HELLO);
    in = buf_view(&s.in);
    assert_int_equal(ws_rx_next(&rx, pool, &agreed, &in, &item, &why), 1);
    assert_int_equal(ws_rx_set_aside(&rx, pool, &item, (struct str){s.in.p, 0}), 0);
    ws_rx_fini(&rx, pool);
    buf_fini(&s.in);
    put_header(&s, FIN | WS_OP_TEXT, 2, 2000);
    for (int i = 0; i < 2000; i++)
        put_payload(&s, STR_LIT("x"));
    for (size_t i = 8; i < s.in.len; i++)
        s.in.p[i] = (char)('x' ^ script_key[i & 3]);
    in = buf_view(&s.in);
    assert_int_equal(ws_rx_next(&rx, pool, &agreed, &in, &item, &why), 1);
    assert_int_equal(ws_rx_set_aside(&rx, pool, &item, STR_NULL), -1);
    assert_int_equal(ws_rx_pool_slots_in_use(pool), 0);
    ws_rx_pool_free(pool);
    buf_fini(&s.in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_roles_and_kinds),
        cmocka_unit_test(fragments),
        cmocka_unit_test(where_the_bit_may_stand),
        cmocka_unit_test(what_comes_out_is_judged),
        cmocka_unit_test(limits),
        cmocka_unit_test(a_refused_message_leaves_nothing),
        cmocka_unit_test(aside),
        cmocka_unit_test(aside_of_fragments_and_given_up),
        cmocka_unit_test(no_room_to_wait),
    };

    return cmocka_run_group_tests_name("codec/ws_rx deflate", tests, NULL, NULL);
}
