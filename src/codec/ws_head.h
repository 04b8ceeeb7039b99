/* codec/ws_head.h - frame headers (RFC 6455 §5.2) as both receive paths read them. Private to
 * codec/ws_rx.c. */
#ifndef ROOST_CODEC_WS_HEAD_H
#define ROOST_CODEC_WS_HEAD_H

#include "codec/ws_rx.h"

struct ws_head {
    bool fin;
    bool masked;
    uint8_t op;     /* enum ws_opcode, with WS_OP_DEFLATED; once the first byte is there */
    uint8_t size;   /* bytes of the header; 2 while the second byte is missing */
    uint8_t key[4]; /* of a masked frame, once complete */
    uint64_t len;   /* of the payload, once known */
};

/* What a header is judged by. */
struct ws_rules {
    enum ws_role role;
    bool open;                         /* a fragmented message is open */
    uint64_t held;                     /* bytes of its earlier fragments */
    const struct ws_rx_limits *limits; /* borrowed */
};

enum ws_head_progress {
    WS_HEAD_BAD = -1, /* *why says which rule is broken */
    WS_HEAD_PART = 0, /* bytes of the length are missing */
    WS_HEAD_LENGTH,   /* the length is known, bytes of the mask key are missing */
    WS_HEAD_COMPLETE
};

/* Reads the first n bytes of a frame, as many as there are, and checks the first two as soon as
 * they are there. Does not judge the length. */
enum ws_head_progress ws_head_decode(struct ws_head *h, const uint8_t *p, size_t n,
                                     const struct ws_rules *rules,
                                     enum close_reason *why) MUST_CHECK;

/* Is the length encoded in as few bytes as it can be, its top bit clear (RFC 6455 §5.2)? */
bool ws_head_minimal(const struct ws_head *h);

/* -1: the frame, or the message with it, is larger than the limit. */
int ws_head_check_limits(const struct ws_head *h, const struct ws_rules *rules,
                         enum close_reason *why) MUST_CHECK;

/* RFC 6455 §5.5: opcodes with the most significant bit set. */
static inline bool ws_head_control(const struct ws_head *h)
{
    return (h->op & 0x8) != 0;
}

/* May this code stand in a close frame (RFC 6455 §7.4, registry: 1000-1003,
 * 1007-1014, 3000-4999)? */
bool ws_close_code_valid(uint16_t code);

#endif
