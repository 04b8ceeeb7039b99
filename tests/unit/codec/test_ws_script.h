/* tests/unit/codec/test_ws_script.h - streams of frames and what comes of them.
 *
 * A test writes a stream with put() and says with expect() what must come of it, as text: one line
 * for each item, for the violation, and for what is incomplete at the end. expect() feeds the
 * stream whole, byte by byte and at every split. Every piece is fed from memory of exactly its
 * size. */
#ifndef ROOST_TESTS_WS_SCRIPT_H
#define ROOST_TESTS_WS_SCRIPT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/ws_rx.h"
#include "codec/ws_tx.h"

#define FIN  0x80
#define MORE 0x00
#define BYTES(...)                                                                                 \
    ((struct str){(const char *)(const uint8_t[]){__VA_ARGS__},                                    \
                  sizeof((const uint8_t[]){__VA_ARGS__})})

static const uint8_t script_key[4] = {0x37, 0xfa, 0x21, 0x3d}; /* of RFC 6455 §5.7 */

struct script {
    struct ws_rx_limits limits;
    enum ws_role role;
    struct buf in; /* the stream; owned, released by expect() */
};

static UNUSED struct script script_new(enum ws_role role)
{
    return (struct script){.role = role, .limits = {.frame = 1 << 20, .message = 1 << 20}};
}

static void put_bytes(struct script *s, struct str bytes)
{
    assert_int_equal(buf_append(&s->in, bytes), 0);
}

/* A header with `form` bytes of length after the second one, masked as the role wants it. */
static void put_header(struct script *s, int first, int form, uint64_t len)
{
    uint8_t mask = s->role == WS_SERVER ? 0x80 : 0;
    uint8_t h[WS_HEADER_MAX] = {(uint8_t)first};
    size_t n = 2;

    h[1] = (uint8_t)(mask | (form == 0 ? len : form == 2 ? 126 : 127));
    for (int i = form - 1; i >= 0; i--)
        h[n++] = (uint8_t)(len >> (8 * i));
    put_bytes(s, (struct str){(const char *)h, n});
    if (mask != 0)
        put_bytes(s, (struct str){(const char *)script_key, 4});
}

/* Payload of the frame begun by put_header(). */
static void put_payload(struct script *s, struct str payload)
{
    for (size_t i = 0; i < payload.n; i++) {
        uint8_t k = s->role == WS_SERVER ? script_key[i & 3] : 0;

        assert_int_equal(buf_append_char(&s->in, (char)(payload.p[i] ^ k)), 0);
    }
}

static void put(struct script *s, int first, struct str payload)
{
    put_header(s, first, payload.n < 126 ? 0 : payload.n <= 0xffff ? 2 : 8, payload.n);
    put_payload(s, payload);
}

static UNUSED void put_text(struct script *s, int first, const char *text)
{
    put(s, first, str_from(text));
}

static UNUSED void put_close(struct script *s, uint16_t code, struct str reason)
{
    char payload[WS_CONTROL_MAX];

    payload[0] = (char)(code >> 8);
    payload[1] = (char)code;
    assert_true(reason.n <= sizeof(payload) - 2);
    if (reason.n > 0)
        memcpy(payload + 2, reason.p, reason.n);
    put(s, FIN | WS_OP_CLOSE, (struct str){payload, reason.n + 2});
}

/* --- feeding --- */

static void log_data(struct buf *log, struct str data)
{
    uint64_t hash = UINT64_C(14695981039346656037);

    if (data.n <= 32) {
        assert_int_equal(buf_append(log, data), 0);
        return;
    }
    for (size_t i = 0; i < data.n; i++)
        hash = (hash ^ (uint8_t)data.p[i]) * UINT64_C(1099511628211);
    assert_int_equal(buf_printf(log, "[%zu bytes, %016llx]", data.n, (unsigned long long)hash), 0);
}

static void log_item(struct buf *log, const struct ws_item *item)
{
    static const char *const names[] = {"text ", "binary ", "ping ", "pong ", "close "};

    assert_int_equal(buf_append_lit(log, names[item->kind]), 0);
    if (item->kind == WS_ITEM_CLOSE)
        assert_int_equal(buf_printf(log, "%u ", item->close_code), 0);
    log_data(log, item->data);
    assert_int_equal(buf_append_char(log, '\n'), 0);
}

/* -1 at a violation, after which nothing more may be fed. */
static int feed(struct ws_rx *rx, struct ws_rx_pool *pool, const struct ws_rx_limits *limits,
                struct str piece, struct buf *log)
{
    char *copy = malloc(piece.n + (piece.n == 0));
    struct str in = {copy, piece.n};
    enum close_reason why = CLOSE_NONE;
    struct ws_item item;
    int rc;

    assert_non_null(copy);
    if (piece.n > 0)
        memcpy(copy, piece.p, piece.n);
    while ((rc = ws_rx_next(rx, pool, limits, &in, &item, &why)) > 0)
        log_item(log, &item);
    if (rc == 0)
        assert_int_equal(in.n, 0);
    else
        assert_int_equal(buf_printf(log, "! %s\n", close_row(why)->label), 0);
    free(copy);
    return rc;
}

/* Feeds the stream in pieces: next() says how long the next one is. Returns the log, owned. */
static struct buf script_run(const struct script *s, size_t (*next)(void *arg), void *arg)
{
    struct ws_rx_pool *pool = ws_rx_pool_new(s->role, UINT64_MAX);
    struct str rest = buf_view(&s->in);
    struct ws_rx rx = {0};
    struct buf log = {0};
    int rc = 0;

    while (rest.n > 0 && rc == 0) {
        size_t n = next(arg);
        struct str piece = {rest.p, MIN(n, rest.n)};

        rc = feed(&rx, pool, &s->limits, piece, &log);
        rest = str_skip(rest, piece.n);
    }
    if (ws_rx_partial(&rx))
        assert_int_equal(buf_printf(&log, "... %zu\n", ws_rx_held(&rx)), 0);
    if (rc < 0)
        assert_false(ws_rx_partial(&rx));
    assert_int_equal(ws_rx_pool_slots_in_use(pool), ws_rx_partial(&rx) ? 1 : 0);
    ws_rx_fini(&rx, pool);
    assert_int_equal(ws_rx_pool_slots_in_use(pool), 0);
    ws_rx_pool_free(pool);
    return log;
}

static size_t next_whole(void *arg UNUSED)
{
    return SIZE_MAX;
}

static size_t next_byte(void *arg UNUSED)
{
    return 1;
}

/* arg: where to split; then the rest. */
static size_t next_split(void *arg)
{
    size_t *at = arg, n = *at;

    *at = SIZE_MAX;
    return n;
}

static void check_log(struct buf log, struct str want, const char *how, size_t at)
{
    if (!str_equal(buf_view(&log), want))
        fail_msg("%s (%zu):\n%.*sexpected:\n%.*s", how, at, STR_ARG(buf_view(&log)), STR_ARG(want));
    buf_fini(&log);
}

/* Of long streams not every split: those near both ends, and one in `step` between. */
static void check_splits(const struct script *s, struct str want)
{
    size_t step = 1 + s->in.len / 512;

    for (size_t at = 1; at < s->in.len; at += at < 32 || at + 32 > s->in.len ? 1 : step) {
        size_t split = at;

        check_log(script_run(s, next_split, &split), want, "split", at);
    }
}

static UNUSED void expect(struct script *s, const char *want)
{
    check_log(script_run(s, next_whole, NULL), str_from(want), "whole", 0);
    check_log(script_run(s, next_byte, NULL), str_from(want), "byte by byte", 0);
    check_splits(s, str_from(want));
    buf_fini(&s->in);
}

/* The stream's last byte is the one that proves the violation: all before it are silent. */
static UNUSED void expect_at_last_byte(struct script *s, const char *reason)
{
    struct script before = *s;
    struct buf log;
    char want[64];

    before.in = (struct buf){0};
    put_bytes(&before, (struct str){s->in.p, s->in.len - 1});
    log = script_run(&before, next_byte, NULL);
    if (str_find(buf_view(&log), '!') != log.len)
        fail_msg("too early: %.*s", STR_ARG(buf_view(&log)));
    buf_fini(&log);
    buf_fini(&before.in);
    assert_true(snprintf(want, sizeof(want), "! %s\n", reason) < (int)sizeof(want));
    expect(s, want);
}

#endif
