/* tests/unit/codec/test_ws_rx_memory.c - slots: who holds one when, what they cost, how long views
 * live, and what happens when there is no memory. */
#define wslay_frame_context_init test_context_init
#include "test_ws_script.h"

#include "codec/ws_rx.c"
#include "codec/ws_slot.c"
#undef wslay_frame_context_init
#include "fault.h"

/* wslay allocates behind the linker's back: its failure is made here. */
int real_context_init(wslay_frame_context_ptr *ctx, const struct wslay_frame_callbacks *callbacks,
                      void *user_data) __asm__("wslay_frame_context_init");

static bool no_context;

int test_context_init(wslay_frame_context_ptr *ctx, const struct wslay_frame_callbacks *callbacks,
                      void *user_data)
{
    return no_context ? -1 : real_context_init(ctx, callbacks, user_data);
}

static const struct ws_rx_limits limits = {.frame = 1 << 20, .message = 1 << 20};

/* One connection: its stream so far is fed by piece(). */
struct peer {
    struct ws_rx rx;
    struct ws_rx_pool *pool; /* borrowed */
    struct script script;
    struct ws_item item;
    enum close_reason why;
    struct str in;
};

static struct peer peer_new(struct ws_rx_pool *pool)
{
    return (struct peer){.pool = pool, .script = script_new(pool->role)};
}

static void peer_fini(struct peer *p)
{
    ws_rx_fini(&p->rx, p->pool);
    ws_rx_fini(&p->rx, p->pool); /* may be repeated */
    buf_fini(&p->script.in);
}

/* Feeds what has been put; the next put() begins a new piece. */
static int peer_next(struct peer *p)
{
    if (p->in.n == 0) {
        p->in = buf_view(&p->script.in);
        buf_clear(&p->script.in);
    }
    return ws_rx_next(&p->rx, p->pool, &limits, &p->in, &p->item, &p->why);
}

static void assert_pool(const struct ws_rx_pool *pool, size_t in_use, size_t allocated)
{
    assert_int_equal(ws_rx_pool_slots_in_use(pool), in_use);
    assert_int_equal(ws_rx_pool_slots_allocated(pool), allocated);
    if (in_use == 0)
        assert_int_equal(pool->bytes, 0);
    else
        assert_true(pool->bytes >= in_use * SLOT_BYTES);
}

static void assert_item(const struct peer *p, enum ws_item_kind kind, const char *text)
{
    assert_int_equal(p->item.kind, kind);
    assert_int_equal(p->item.data.n, strlen(text));
    assert_memory_equal(p->item.data.p, text, p->item.data.n);
}

/* --- who holds a slot --- */

static void whole_frames_need_no_slot(void **state UNUSED)
{
    struct ws_rx_pool *pool = ws_rx_pool_new(WS_SERVER, 0); /* may hold nothing */
    struct peer p = peer_new(pool);

    put_text(&p.script, FIN | WS_OP_TEXT, "one");
    put_text(&p.script, FIN | WS_OP_PING, "two");
    put_text(&p.script, FIN | WS_OP_CLOSE, "");
    assert_int_equal(peer_next(&p), 1);
    assert_item(&p, WS_ITEM_TEXT, "one");
    assert_int_equal(peer_next(&p), 1);
    assert_item(&p, WS_ITEM_PING, "two");
    assert_int_equal(peer_next(&p), 1);
    assert_int_equal(p.item.kind, WS_ITEM_CLOSE);
    assert_int_equal(peer_next(&p), 0);
    assert_false(ws_rx_partial(&p.rx));
    assert_pool(pool, 0, 0);
    peer_fini(&p);
    ws_rx_pool_free(pool);
}

/* A whole frame is handed out where it lies, a control frame also inside a fragmented message. */
static void whole_frame_is_not_copied(void **state UNUSED)
{
    struct ws_rx_pool *pool = ws_rx_pool_new(WS_SERVER, UINT64_MAX);
    struct peer p = peer_new(pool);

    put_text(&p.script, FIN | WS_OP_TEXT, "here");
    assert_int_equal(peer_next(&p), 1);
    assert_ptr_equal(p.item.data.p, p.script.in.p + 6);
    put_text(&p.script, MORE | WS_OP_TEXT, "a");
    put_text(&p.script, FIN | WS_OP_PONG, "here");
    assert_int_equal(peer_next(&p), 1);
    assert_ptr_equal(p.item.data.p, p.script.in.p + 7 + 6);
    peer_fini(&p);
    ws_rx_pool_free(pool);
}

static void slot_goes_back_when_the_frame_ends(void **state UNUSED)
{
    struct ws_rx_pool *pool = ws_rx_pool_new(WS_SERVER, UINT64_MAX);
    struct peer p = peer_new(pool);

    for (int round = 0; round < 3; round++) {
        put_header(&p.script, FIN | WS_OP_TEXT, 0, 4);
        put_payload(&p.script, STR_LIT("ab"));
        assert_int_equal(peer_next(&p), 0);
        assert_true(ws_rx_partial(&p.rx));
        assert_int_equal(ws_rx_held(&p.rx), 2);
        assert_pool(pool, 1, 1);
        put_bytes(&p.script, BYTES('c' ^ 0x21, 'd' ^ 0x3d));
        assert_int_equal(peer_next(&p), 1);
        assert_item(&p, WS_ITEM_TEXT, "abcd");
        assert_false(ws_rx_partial(&p.rx));
        assert_int_equal(ws_rx_held(&p.rx), 0);
        assert_pool(pool, 0, 1); /* one context serves every round */
    }
    peer_fini(&p);
    ws_rx_pool_free(pool);
}

static void slot_stays_while_a_message_is_open(void **state UNUSED)
{
    struct ws_rx_pool *pool = ws_rx_pool_new(WS_SERVER, UINT64_MAX);
    struct peer p = peer_new(pool);

    put_text(&p.script, MORE | WS_OP_TEXT, "ab");
    put_text(&p.script, FIN | WS_OP_PING, "whole");
    assert_int_equal(peer_next(&p), 1);
    assert_item(&p, WS_ITEM_PING, "whole");
    assert_pool(pool, 1, 1);
    put_text(&p.script, FIN | WS_OP_CONTINUATION, "cd");
    assert_int_equal(peer_next(&p), 1);
    assert_item(&p, WS_ITEM_TEXT, "abcd");
    assert_pool(pool, 0, 1);
    peer_fini(&p);
    ws_rx_pool_free(pool);
}

static void slot_goes_back_after_a_partial_control_frame(void **state UNUSED)
{
    struct ws_rx_pool *pool = ws_rx_pool_new(WS_SERVER, UINT64_MAX);
    struct peer p = peer_new(pool);

    put_bytes(&p.script, BYTES(0x89));
    assert_int_equal(peer_next(&p), 0);
    assert_pool(pool, 1, 1);
    put_bytes(&p.script, BYTES(0x81, 0, 0, 0, 0, 'x'));
    assert_int_equal(peer_next(&p), 1);
    assert_item(&p, WS_ITEM_PING, "x");
    assert_pool(pool, 0, 1);
    peer_fini(&p);
    ws_rx_pool_free(pool);
}

/* wslay has no reset: its context was left inside a frame and must not serve the next one. */
static void slot_left_inside_a_frame_is_reused_empty(void **state UNUSED)
{
    static const uint8_t frame[] = {0x81, 0xfe, 0x01, 0x00, 1, 2, 3, 4, 'a', 'b'};

    for (size_t n = 1; n <= sizeof(frame); n++) {
        struct ws_rx_pool *pool = ws_rx_pool_new(WS_SERVER, UINT64_MAX);
        struct peer gone = peer_new(pool), next = peer_new(pool);

        put_bytes(&gone.script, (struct str){(const char *)frame, n});
        assert_int_equal(peer_next(&gone), 0);
        peer_fini(&gone);
        assert_pool(pool, 0, 1);
        put_text(&next.script, MORE | WS_OP_TEXT, "a");
        put_text(&next.script, FIN | WS_OP_CONTINUATION, "b");
        assert_int_equal(peer_next(&next), 1);
        assert_item(&next, WS_ITEM_TEXT, "ab");
        peer_fini(&next);
        ws_rx_pool_free(pool);
    }
}

static void interleaved_frames_have_one_context(void **state UNUSED)
{
    enum { PEERS = 3, SIZE = 70000, PIECE = 7000 };
    struct ws_rx_pool *pool = ws_rx_pool_new(WS_SERVER, UINT64_MAX);
    struct peer p[PEERS];
    struct buf data = {0}, wire[PEERS];

    for (int i = 0; i < SIZE; i++)
        assert_int_equal(buf_append_char(&data, (char)('a' + i % 26)), 0);
    for (size_t i = 0; i < PEERS; i++) {
        p[i] = peer_new(pool);
        put(&p[i].script, FIN | WS_OP_TEXT, buf_view(&data));
        wire[i] = p[i].script.in; /* as a whole, to be cut */
        p[i].script.in = (struct buf){0};
    }
    for (size_t at = 0; at < wire[0].len; at += PIECE)
        for (size_t i = 0; i < PEERS; i++) {
            struct str piece = {wire[i].p + at, MIN((size_t)PIECE, wire[i].len - at)};
            int rc = ws_rx_next(&p[i].rx, pool, &limits, &piece, &p[i].item, &p[i].why);

            assert_int_equal(rc, at + PIECE >= wire[i].len);
            if (rc == 1)
                assert_true(str_equal(p[i].item.data, buf_view(&data)));
        }
    assert_pool(pool, 0, PEERS);
    for (size_t i = 0; i < PEERS; i++) {
        buf_fini(&wire[i]);
        peer_fini(&p[i]);
    }
    buf_fini(&data);
    ws_rx_pool_free(pool);
}

/* wslay's 4 KB are not for each of them. */
static void a_begun_frame_costs_what_it_holds(void **state UNUSED)
{
    struct ws_rx_pool *pool = ws_rx_pool_new(WS_SERVER, UINT64_MAX);
    struct peer p = peer_new(pool);

    put_header(&p.script, FIN | WS_OP_BINARY, 8, 1 << 20);
    put_bytes(&p.script, BYTES('x'));
    assert_int_equal(peer_next(&p), 0);
    assert_int_equal(ws_rx_cost(&p.rx), pool->bytes);
    assert_in_range(ws_rx_cost(&p.rx), 1, 512);
    assert_non_null(ws_rx_holder(&p.rx));
    peer_fini(&p);
    assert_int_equal(ws_rx_cost(&p.rx), 0);
    assert_null(ws_rx_holder(&p.rx));
    ws_rx_pool_free(pool);
}

static void slot_left_between_frames_is_reused_empty(void **state UNUSED)
{
    struct ws_rx_pool *pool = ws_rx_pool_new(WS_SERVER, UINT64_MAX);
    struct peer gone = peer_new(pool), next = peer_new(pool);

    put_text(&gone.script, MORE | WS_OP_TEXT, "half\xe2");
    assert_int_equal(peer_next(&gone), 0);
    peer_fini(&gone);
    assert_pool(pool, 0, 1);
    put_bytes(&next.script, BYTES(0x80)); /* no message is open here */
    assert_int_equal(peer_next(&next), -1);
    assert_int_equal(next.why, CLOSE_FRAME_CONTINUATION);
    put_text(&next.script, MORE | WS_OP_TEXT, "a");
    put_text(&next.script, FIN | WS_OP_CONTINUATION, "b");
    next.in = STR_NULL;
    assert_int_equal(peer_next(&next), 1);
    assert_item(&next, WS_ITEM_TEXT, "ab");
    assert_pool(pool, 0, 1);
    peer_fini(&next);
    ws_rx_pool_free(pool);
}

static void violation_returns_the_slot(void **state UNUSED)
{
    struct ws_rx_pool *pool = ws_rx_pool_new(WS_SERVER, UINT64_MAX);
    struct peer p = peer_new(pool);

    put_bytes(&p.script, BYTES(0x82, 0xfe, 0x00)); /* will not be minimal */
    assert_int_equal(peer_next(&p), 0);
    assert_pool(pool, 1, 1);
    put_bytes(&p.script, BYTES(0x05));
    assert_int_equal(peer_next(&p), -1);
    assert_int_equal(p.why, CLOSE_FRAME_LENGTH);
    assert_false(ws_rx_partial(&p.rx));
    assert_pool(pool, 0, 1);
    peer_fini(&p);
    ws_rx_pool_free(pool);
}

static void spare_slots_are_bounded(void **state UNUSED)
{
    enum { BURST = SLOTS_SPARE + 50 };
    struct ws_rx_pool *pool = ws_rx_pool_new(WS_SERVER, UINT64_MAX);
    struct peer *peers = calloc(BURST, sizeof(*peers));

    assert_non_null(peers);
    for (size_t i = 0; i < BURST; i++) {
        peers[i] = peer_new(pool);
        put_text(&peers[i].script, MORE | WS_OP_TEXT, "a");
        assert_int_equal(peer_next(&peers[i]), 0);
    }
    assert_pool(pool, BURST, BURST);
    for (size_t i = 0; i < BURST; i++)
        peer_fini(&peers[i]);
    assert_pool(pool, 0, SLOTS_SPARE);
    free(peers);
    ws_rx_pool_free(pool);
    ws_rx_pool_free(NULL);
}

/* --- views --- */

static void message_outlives_its_slot_until_the_next_call(void **state UNUSED)
{
    struct ws_rx_pool *pool = ws_rx_pool_new(WS_SERVER, UINT64_MAX);
    struct peer a = peer_new(pool), b = peer_new(pool);
    struct buf data = {0};

    for (int i = 0; i < 40000; i++)
        assert_int_equal(buf_append_char(&data, (char)('a' + i % 26)), 0);
    put(&a.script, MORE | WS_OP_TEXT, buf_view(&data));
    put_text(&a.script, FIN | WS_OP_CONTINUATION, "");
    assert_int_equal(peer_next(&a), 1);
    assert_pool(pool, 0, 1);
    assert_int_equal(a.item.data.n, data.len);
    assert_memory_equal(a.item.data.p, data.p, data.len);
    put_text(&b.script, MORE | WS_OP_TEXT, "other");
    assert_int_equal(peer_next(&b), 0);
    assert_pool(pool, 1, 1);
    assert_null(pool->done.p); /* an item's memory does not stay */
    buf_fini(&data);
    peer_fini(&a);
    peer_fini(&b);
    ws_rx_pool_free(pool);
}

static void control_payload_does_not_disturb_the_open_message(void **state UNUSED)
{
    struct ws_rx_pool *pool = ws_rx_pool_new(WS_SERVER, UINT64_MAX);
    struct peer p = peer_new(pool);

    put_text(&p.script, MORE | WS_OP_TEXT, "ab");
    put_header(&p.script, FIN | WS_OP_PING, 0, 2);
    put_payload(&p.script, STR_LIT("x"));
    assert_int_equal(peer_next(&p), 0);
    assert_int_equal(ws_rx_held(&p.rx), 2);
    put_bytes(&p.script, BYTES('y' ^ 0xfa));
    put_text(&p.script, FIN | WS_OP_CONTINUATION, "cd");
    assert_int_equal(peer_next(&p), 1);
    assert_item(&p, WS_ITEM_PING, "xy");
    assert_int_equal(peer_next(&p), 1);
    assert_item(&p, WS_ITEM_TEXT, "abcd");
    peer_fini(&p);
    ws_rx_pool_free(pool);
}

/* --- what is held --- */

static void buffer_grows_with_what_comes(void **state UNUSED)
{
    struct ws_rx_pool *pool = ws_rx_pool_new(WS_SERVER, UINT64_MAX);
    struct peer p = peer_new(pool);

    put_header(&p.script, FIN | WS_OP_BINARY, 8, 1 << 20);
    assert_int_equal(peer_next(&p), 0);
    assert_int_equal(pool->bytes, SLOT_BYTES);
    put_text(&p.script, FIN | WS_OP_TEXT, "any bytes, being payload");
    assert_int_equal(peer_next(&p), 0);
    assert_int_equal(ws_rx_held(&p.rx), 30);
    assert_true(pool->bytes <= SLOT_BYTES + 64);
    peer_fini(&p);
    assert_pool(pool, 0, 1);
    ws_rx_pool_free(pool);
}

/* The bound holds over all connections, also for those of which one byte has come. */
static void partial_max_bounds_slots(void **state UNUSED)
{
    struct ws_rx_pool *pool = ws_rx_pool_new(WS_SERVER, 2 * SLOT_BYTES);
    struct peer a = peer_new(pool), b = peer_new(pool), c = peer_new(pool);

    put_bytes(&a.script, BYTES(0x81));
    put_bytes(&b.script, BYTES(0x81));
    put_bytes(&c.script, BYTES(0x81));
    assert_int_equal(peer_next(&a), 0);
    assert_int_equal(peer_next(&b), 0);
    assert_int_equal(peer_next(&c), -1);
    assert_int_equal(c.why, CLOSE_NO_MEMORY);
    assert_pool(pool, 2, 2);
    peer_fini(&b);
    put_bytes(&c.script, BYTES(0x81));
    c.in = STR_NULL;
    assert_int_equal(peer_next(&c), 0); /* room again */
    peer_fini(&a);
    peer_fini(&c);
    assert_pool(pool, 0, 2);
    ws_rx_pool_free(pool);
}

static void partial_max_bounds_payload(void **state UNUSED)
{
    struct ws_rx_pool *pool = ws_rx_pool_new(WS_SERVER, SLOT_BYTES + 1000);
    struct peer p = peer_new(pool);
    char data[600] = {0};

    put(&p.script, MORE | WS_OP_BINARY, (struct str){data, sizeof(data)});
    assert_int_equal(peer_next(&p), 0);
    put(&p.script, FIN | WS_OP_CONTINUATION, (struct str){data, sizeof(data)});
    assert_int_equal(peer_next(&p), -1);
    assert_int_equal(p.why, CLOSE_NO_MEMORY);
    assert_int_equal(pool->bytes, 0);
    peer_fini(&p);
    ws_rx_pool_free(pool);
    pool = ws_rx_pool_new(WS_SERVER, SLOT_BYTES + 2000);
    p = peer_new(pool);
    put(&p.script, MORE | WS_OP_BINARY, (struct str){data, sizeof(data)});
    put(&p.script, FIN | WS_OP_CONTINUATION, (struct str){data, sizeof(data)});
    p.in = STR_NULL;
    assert_int_equal(peer_next(&p), 1);
    assert_int_equal(p.item.data.n, 1200);
    peer_fini(&p);
    ws_rx_pool_free(pool);
}

/* --- no memory --- */

static void no_memory_for_a_context(void **state UNUSED)
{
    struct ws_rx_pool *pool = ws_rx_pool_new(WS_SERVER, UINT64_MAX);
    struct peer p = peer_new(pool);

    no_context = true;
    put_bytes(&p.script, BYTES(0x81, 0xfe, 0x01, 0x00, 1, 2, 3, 4, 'a'));
    assert_int_equal(peer_next(&p), -1);
    no_context = false;
    assert_int_equal(p.why, CLOSE_NO_MEMORY);
    assert_false(ws_rx_partial(&p.rx));
    assert_pool(pool, 0, 1);
    peer_fini(&p);
    ws_rx_pool_free(pool);
}

/* Every allocation of a stream with growth, fragments and control frames fails once; each time the
 * connection ends with NO_MEMORY, everything is returned, and the pool serves the next one. */
static void every_allocation_may_fail(void **state UNUSED)
{
    struct ws_rx_pool *pool = ws_rx_pool_new(WS_SERVER, UINT64_MAX);
    char data[300] = {0};
    size_t failures = 0;
    int rc;

    do {
        struct peer p = peer_new(pool);

        put(&p.script, MORE | WS_OP_BINARY, (struct str){data, 20});
        put(&p.script, MORE | WS_OP_CONTINUATION, (struct str){data, 100});
        put(&p.script, FIN | WS_OP_CONTINUATION, (struct str){data, 300});
        fault_fail_at(failures + 1);
        rc = peer_next(&p);
        fault_reset();
        if (rc < 0) {
            assert_int_equal(p.why, CLOSE_NO_MEMORY);
            failures++;
        } else {
            assert_int_equal(rc, 1);
            assert_int_equal(p.item.data.n, 420);
        }
        assert_int_equal(ws_rx_pool_slots_in_use(pool), 0);
        assert_int_equal(pool->bytes, 0);
        peer_fini(&p);
        ws_rx_pool_free(pool);
        pool = ws_rx_pool_new(WS_SERVER, UINT64_MAX);
    } while (rc < 0);
    assert_int_equal(failures, 4); /* the slot, and three sizes of the buffer */
    ws_rx_pool_free(pool);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_frames_need_no_slot),
        cmocka_unit_test(whole_frame_is_not_copied),
        cmocka_unit_test(slot_goes_back_when_the_frame_ends),
        cmocka_unit_test(slot_stays_while_a_message_is_open),
        cmocka_unit_test(slot_goes_back_after_a_partial_control_frame),
        cmocka_unit_test(slot_left_inside_a_frame_is_reused_empty),
        cmocka_unit_test(interleaved_frames_have_one_context),
        cmocka_unit_test(a_begun_frame_costs_what_it_holds),
        cmocka_unit_test(slot_left_between_frames_is_reused_empty),
        cmocka_unit_test(violation_returns_the_slot),
        cmocka_unit_test(spare_slots_are_bounded),
        cmocka_unit_test(message_outlives_its_slot_until_the_next_call),
        cmocka_unit_test(control_payload_does_not_disturb_the_open_message),
        cmocka_unit_test(buffer_grows_with_what_comes),
        cmocka_unit_test(partial_max_bounds_slots),
        cmocka_unit_test(partial_max_bounds_payload),
        cmocka_unit_test(no_memory_for_a_context),
        cmocka_unit_test(every_allocation_may_fail),
    };

    return cmocka_run_group_tests_name("codec/ws_rx memory", tests, NULL, NULL);
}
