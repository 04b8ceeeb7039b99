/* tests/fuzz/fuzz_ws_rx.c - WebSocket receive side: any bytes, in any pieces.
 *
 * Byte 0: bit 0 role, bits 1-2 limits, bit 3 compression. Byte 1: how the stream is cut. The rest is the stream. It is
 * fed whole (frames are taken where they lie), byte by byte (everything goes through wslay) and cut
 * by byte 1; the events must be the same, and nothing may stay accounted for, nor stand before the
 * message of the connection that comes next. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/ws_rx.h"
#include "tests/fuzz/fuzz.h"

struct input {
    enum ws_role role;
    struct ws_rx_limits limits;
    struct str stream;
};

static void log_item(struct buf *log, const struct ws_item *item)
{
    REQUIRE(buf_printf(log, "%d %u %zu ", (int)item->kind, item->close_code, item->data.n) == 0);
    REQUIRE(buf_append(log, item->data) == 0);
}

/* 0: fed all, 1: stopped at a violation. The piece is copied: it is unmasked in place. */
static int feed(struct ws_rx *rx, struct ws_rx_pool *pool, const struct input *input,
                struct str piece, struct buf *log)
{
    char *copy = malloc(piece.n);
    struct str in = {copy, piece.n};
    struct ws_item item;
    enum close_reason why;
    int rc;

    REQUIRE(copy != NULL);
    memcpy(copy, piece.p, piece.n);
    while ((rc = ws_rx_next(rx, pool, &input->limits, &in, &item, &why)) > 0)
        log_item(log, &item);
    if (rc == 0)
        REQUIRE(in.n == 0);
    else
        REQUIRE(why != CLOSE_NO_MEMORY && buf_printf(log, "! %s", close_row(why)->label) == 0);
    free(copy);
    return rc < 0;
}

/* Bytes of the next piece. Pattern 0 is whole, 1 byte by byte. */
static size_t cut(uint8_t pattern, uint32_t *random, size_t rest)
{
    size_t n;

    if (pattern == 0)
        return rest;
    if (pattern == 1)
        return 1;
    *random = *random * 1664525 + 1013904223;
    n = 1 + (*random >> 16) % pattern;
    return n < rest ? n : rest;
}

/* Another connection's first message, compressed: it has its own alone. */
static void come_next(struct ws_rx_pool *pool, const struct input *input)
{
    char masked[] = "\xc2\x87\0\0\0\0\xf2\x48\xcd\xc9\xc9\x07",
         bare[] = "\xc2\x07\xf2\x48\xcd\xc9\xc9\x07"; /* each with the 0 behind */
    struct str in = input->role == WS_SERVER ? (struct str){masked, sizeof(masked)}
                                             : (struct str){bare, sizeof(bare)};
    struct ws_rx rx = {0};
    struct ws_item item;
    enum close_reason why;

    REQUIRE(ws_rx_next(&rx, pool, &input->limits, &in, &item, &why) > 0 && in.n == 0);
    REQUIRE(item.kind == WS_ITEM_BINARY && str_equal(item.data, STR_LIT("Hello")));
}

static void run(const struct input *input, uint8_t pattern, struct buf *log)
{
    struct ws_rx_pool *pool = ws_rx_pool_new(input->role, UINT64_MAX);
    struct str rest = input->stream;
    struct ws_rx rx = {0};
    uint32_t random = pattern;
    bool dead = false;

    while (rest.n > 0 && !dead) {
        struct str piece = {rest.p, cut(pattern, &random, rest.n)};

        dead = feed(&rx, pool, input, piece, log);
        rest = str_skip(rest, piece.n);
        REQUIRE(ws_rx_pool_slots_in_use(pool) == (ws_rx_partial(&rx) ? 1 : 0));
        REQUIRE(ws_rx_held(&rx) <= input->stream.n && ws_rx_held(&rx) <= input->limits.message);
    }
    REQUIRE(!dead || !ws_rx_partial(&rx));
    REQUIRE(buf_printf(log, " partial %d held %zu", ws_rx_partial(&rx), ws_rx_held(&rx)) == 0);
    ws_rx_fini(&rx, pool);
    REQUIRE(ws_rx_pool_slots_in_use(pool) == 0);
    if (input->limits.deflate)
        come_next(pool, input);
    ws_rx_pool_free(pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct ws_rx_limits limits[] = {
        {.frame = 1 << 20, .message = 1 << 20, .ratio = 100},
        {.frame = 125, .message = 200},
        {.frame = 1000, .message = 300},
        /* What is not compressed has no limit: its own size is one. */
        {.frame = UINT64_MAX, .message = UINT64_MAX, .ratio = 8}};
    struct buf whole = {0}, bytes = {0}, pieces = {0};
    struct input input;

    if (size < 3)
        return 0;
    input.role = (data[0] & 1) != 0 ? WS_CLIENT : WS_SERVER;
    input.limits = limits[data[0] >> 1 & 3];
    input.limits.deflate = (data[0] & 8) != 0;
    input.stream = (struct str){(const char *)data + 2, size - 2};
    run(&input, 0, &whole);
    run(&input, 1, &bytes);
    run(&input, data[1], &pieces);
    REQUIRE(str_equal(buf_view(&whole), buf_view(&bytes)));
    REQUIRE(str_equal(buf_view(&whole), buf_view(&pieces)));
    buf_fini(&whole);
    buf_fini(&bytes);
    buf_fini(&pieces);
    return 0;
}
