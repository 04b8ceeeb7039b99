/* send.c - a user's frames, with --compression its messages compressed. */
#include "codec/ws_tx.h"
#include "engine.h"

#define DEFLATE_MIN   512 /* bytes worth it, as in the daemon's compression_min_size */
#define DEFLATE_LEVEL 1

/* Compressed in place of *payload, when that makes it shorter. */
static bool compress(const struct conn *c, struct str *payload)
{
    static struct buf out; /* owned; kept */

    if (conn_deflate(c) == 0 || payload->n < DEFLATE_MIN)
        return false;
    buf_clear(&out);
    if (deflate_message(DEFLATE_32K, DEFLATE_LEVEL, *payload, &out) == -1 || out.len >= payload->n)
        return false;
    *payload = buf_view(&out);
    return true;
}

static int send_frame(struct conn *c, enum ws_opcode op, struct str payload, bool deflated)
{
    uint32_t key = (uint32_t)engine_random();

    buf_clear(&engine.frame);
    if (ws_tx_masked(op, payload, (const uint8_t *)&key, &engine.frame) == -1) {
        conn_kill(c, CLOSE_NO_MEMORY);
        return -1;
    }
    if (deflated)
        ws_tx_deflated((uint8_t *)engine.frame.p);
    return conn_send(c, buf_view(&engine.frame));
}

int user_send(struct conn *c, enum ws_opcode op, struct str payload)
{
    return send_frame(c, op, payload, false);
}

int user_send_data(struct conn *c, struct str payload)
{
    bool deflated = compress(c, &payload);

    return send_frame(c, engine.adapter->binary ? WS_OP_BINARY : WS_OP_TEXT, payload, deflated);
}
