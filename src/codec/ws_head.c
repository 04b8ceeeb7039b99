/* codec/ws_head.c - frame headers: decoding and the rules of RFC 6455 §5.2 to §5.5. */
#include "ws_head.h"

#include "codec/ws_tx.h"

/* §5.2: a reserved bit is set. RFC 7692 §6: the first one, of a message's first frame, is that of
 * permessage-deflate. */
static enum close_reason head_reserved(struct ws_head *h, uint8_t b, const struct ws_rules *rules)
{
    bool first = h->op == WS_OP_TEXT || h->op == WS_OP_BINARY;

    if (!rules->limits->deflate || !first || (b & 0x30) != 0)
        return CLOSE_FRAME_RSV;
    h->op |= WS_OP_DEFLATED;
    return rules->open ? CLOSE_FRAME_CONTINUATION : CLOSE_NONE;
}

/* Returns CLOSE_NONE, or the rule that the first byte breaks. */
static enum close_reason head_first(struct ws_head *h, uint8_t b, const struct ws_rules *rules)
{
    h->fin = (b & 0x80) != 0;
    h->op = b & 0x0f;
    if (UNLIKELY((b & 0x70) != 0))
        return head_reserved(h, b, rules);
    switch (h->op) {
    case WS_OP_CONTINUATION: /* §5.4 */
        return rules->open ? CLOSE_NONE : CLOSE_FRAME_CONTINUATION;
    case WS_OP_TEXT:
    case WS_OP_BINARY: /* §5.4: fragments of two messages must not be interleaved */
        return rules->open ? CLOSE_FRAME_CONTINUATION : CLOSE_NONE;
    case WS_OP_CLOSE:
    case WS_OP_PING:
    case WS_OP_PONG: /* §5.5: must not be fragmented */
        return h->fin ? CLOSE_NONE : CLOSE_FRAME_CONTROL;
    default:
        return CLOSE_FRAME_OPCODE;
    }
}

static enum close_reason head_second(struct ws_head *h, uint8_t b, const struct ws_rules *rules)
{
    uint8_t len = b & 0x7f;

    h->masked = (b & 0x80) != 0;
    if (rules->role == WS_SERVER && !h->masked) /* §5.1 */
        return CLOSE_FRAME_UNMASKED;
    if (rules->role == WS_CLIENT && h->masked)
        return CLOSE_FRAME_MASKED;
    if (ws_head_control(h) && len > WS_CONTROL_MAX) /* §5.5 */
        return CLOSE_FRAME_CONTROL;
    if (h->op == WS_OP_CLOSE && len == 1) /* §5.5.1: a body begins with a two-byte code */
        return CLOSE_CLOSE_PAYLOAD;
    return CLOSE_NONE;
}

/* Bytes of the length after the second one. */
static size_t head_extended(uint8_t second)
{
    uint8_t len = second & 0x7f;

    return len < 126 ? 0 : len == 126 ? 2 : 8;
}

static uint64_t head_length(const uint8_t *p, size_t extended)
{
    uint64_t len = 0;

    if (extended == 0)
        return p[1] & 0x7f;
    for (size_t i = 0; i < extended; i++) /* §5.2: network byte order */
        len = len << 8 | p[2 + i];
    return len;
}

enum ws_head_progress ws_head_decode(struct ws_head *h, const uint8_t *p, size_t n,
                                     const struct ws_rules *rules, enum close_reason *why)
{
    size_t extended;

    h->size = 2;
    if (n < 1)
        return WS_HEAD_PART;
    *why = head_first(h, p[0], rules);
    if (*why != CLOSE_NONE)
        return WS_HEAD_BAD;
    if (n < 2)
        return WS_HEAD_PART;
    *why = head_second(h, p[1], rules);
    if (*why != CLOSE_NONE)
        return WS_HEAD_BAD;
    extended = head_extended(p[1]);
    h->size = (uint8_t)(2 + extended + (h->masked ? sizeof(h->key) : 0));
    if (n < 2 + extended)
        return WS_HEAD_PART;
    h->len = head_length(p, extended);
    if (n < h->size)
        return WS_HEAD_LENGTH;
    if (h->masked)
        memcpy(h->key, p + 2 + extended, sizeof(h->key));
    return WS_HEAD_COMPLETE;
}

bool ws_head_minimal(const struct ws_head *h)
{
    size_t extended = h->size - 2u - (h->masked ? sizeof(h->key) : 0);

    if (extended == 0)
        return true;
    return extended == 2 ? h->len >= 126 : h->len > UINT16_MAX && h->len <= INT64_MAX;
}

int ws_head_check_limits(const struct ws_head *h, const struct ws_rules *rules,
                         enum close_reason *why)
{
    const struct ws_rx_limits *limits = rules->limits;

    if (ws_head_control(h)) /* has its own limit, and is no part of a message */
        return 0;
    if (h->len > limits->frame) {
        *why = CLOSE_FRAME_TOO_BIG;
        return -1;
    }
    /* The limit may have been lowered below what is held, so compare before subtracting. */
    if (rules->held > limits->message || h->len > limits->message - rules->held) {
        *why = CLOSE_MESSAGE_TOO_BIG;
        return -1;
    }
    return 0;
}

bool ws_close_code_valid(uint16_t code)
{
    /* §7.4.1: 1004 is reserved; 1005, 1006 and 1015 must not be sent. §7.4.2: 3000 to 4999 belong
     * to libraries and applications. 1012 to 1014 came to the registry later. */
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}
