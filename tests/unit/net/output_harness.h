/* tests/unit/net/output_harness.h - open connections with small buffers. Include behind
 * net/conn_output.c. */
#ifndef TESTS_NET_OUTPUT_HARNESS_H
#define TESTS_NET_OUTPUT_HARNESS_H

#include "codec/ws_tx.h"
#include "net_harness.h"

#define SMALL_BUFFER 4608 /* the least a UNIX socket has */

static UNUSED struct conn *open_pair(int *peer, int send_buffer)
{
    struct conn *c = net_pair(peer, &seen_ops, send_buffer);

    conn_set_state(c, CONN_OPEN);
    conn_arm(c, 0);
    return c;
}

static UNUSED struct blob *pattern(size_t n, char first)
{
    struct blob *b = blob_new(n);

    assert_non_null(b);
    for (size_t i = 0; i < n; i++)
        b->data[i] = (char)(first + (char)(i % 23));
    return b;
}

static UNUSED void deliver_text(struct conn *c, const char *text)
{
    struct blob *b = blob_from(str_from(text));

    conn_deliver(c, b, 0, b->len, 0, 1);
    blob_put(&b);
}

/* n bytes that are so many frames. */
static UNUSED struct blob *frames(size_t n, uint32_t items)
{
    struct blob *b = pattern(n, 'A');
    uint8_t head[WS_HEADER_MAX];
    size_t at = 0;

    for (uint32_t i = 0; i < items; i++) {
        size_t size = i + 1 < items ? n / items : n - at;
        size_t len = size - (size < 128 ? 2 : size <= 65539 ? 4 : 10);

        assert_int_equal(ws_tx_header(WS_OP_TEXT, len, head) + len, size);
        memcpy(b->data + at, head, size - len);
        at += size;
    }
    return b;
}

/* Delivers more than the socket takes, so that something stays queued and the connection is
 * stalled. */
static UNUSED void stall(struct conn *c, size_t n, uint32_t items)
{
    struct blob *b = frames(n, items);

    conn_deliver(c, b, 0, b->len, 0, items);
    assert_int_equal(b->refs, 2);
    blob_put(&b);
    assert_true(c->flags & CONN_OUT_STALLED);
}

/* Reads until nothing more comes. */
static UNUSED size_t drain_peer(int peer, char *out, size_t cap)
{
    size_t len = 0, n;

    do {
        n = net_read(peer, out + len, cap - len, NULL);
        len += n;
        net_steps(1);
    } while (n > 0);
    return len;
}

#endif
