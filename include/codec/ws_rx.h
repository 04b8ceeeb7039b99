/* codec/ws_rx.h - WebSocket receive side (RFC 6455 §5, RFC 7692), wslay's frame layer underneath.
 *
 * Turns bytes into items. Keeps nothing for a connection that is between messages: a slot (state of
 * the frame, fragment buffer, UTF-8 state) is borrowed from the pool while a frame or a
 * fragmented message is incomplete and handed back after. A complete, unfragmented frame in the
 * input is unmasked in place by wide words without touching wslay (both paths agree: differential
 * test). Knows nothing of sockets, time, or what a message means. */
#ifndef ROOST_CODEC_WS_RX_H
#define ROOST_CODEC_WS_RX_H

#include "base/budget.h"
#include "base/buf.h"
#include "base/close.h"
#include "base/str.h"

enum ws_opcode {
    WS_OP_CONTINUATION = 0x0,
    WS_OP_TEXT = 0x1,
    WS_OP_BINARY = 0x2,
    WS_OP_CLOSE = 0x8,
    WS_OP_PING = 0x9,
    WS_OP_PONG = 0xa,
    WS_OP_DEFLATED = 0x40 /* beside TEXT or BINARY: the message is compressed (RFC 7692 §6) */
};
enum ws_role {
    WS_SERVER = 0,
    WS_CLIENT
}; /* who we are: a server requires masked frames, a client refuses them */

struct ws_slot;
struct ws_rx_pool;        /* one per process */
struct ws_rx {            /* embedded in a connection; zeroed = between messages */
    struct ws_slot *slot; /* borrowed from the pool, or NULL */
};

enum ws_item_kind { WS_ITEM_TEXT = 0, WS_ITEM_BINARY, WS_ITEM_PING, WS_ITEM_PONG, WS_ITEM_CLOSE };
struct ws_item {
    enum ws_item_kind kind;
    /* Payload; close: the reason. Borrowed until the next ws_rx call on the pool. */
    struct str data;
    uint16_t close_code; /* of a close frame; 1005 when it had no payload */
};

struct ws_rx_limits {
    uint64_t frame;   /* bytes of one frame's payload */
    uint64_t message; /* bytes of one message, as sent and as decompressed */
    uint64_t ratio;   /* of a compressed message, see struct inflate_limits */
    bool deflate;     /* permessage-deflate has been agreed on: messages may be compressed */
};

/* partial_max: bytes that all attached slots may cost together, each with its buffer
 * (CLOSE_NO_MEMORY beyond); UINT64_MAX where ws_rx_holder() serves. Exits when out of memory
 * (start-up). */
struct ws_rx_pool *ws_rx_pool_new(enum ws_role role, uint64_t partial_max);
void ws_rx_pool_free(struct ws_rx_pool *p);
size_t ws_rx_pool_slots_in_use(const struct ws_rx_pool *p);
size_t ws_rx_pool_slots_allocated(const struct ws_rx_pool *p);
/* The item last handed out as it has come, if it was compressed; else STR_NULL. Valid as long as its
 * data. */
struct str ws_rx_compressed(const struct ws_rx_pool *p);
/* Of those below, the ones that are legal and that nobody needs many of: pings and pongs, empty
 * messages, fragments of less than WS_TINY bytes. */
#define WS_TINY 16
uint64_t ws_rx_pool_odd(const struct ws_rx_pool *p);
/* Frames completed so far by all connections, each fragment one. */
uint64_t ws_rx_pool_frames(const struct ws_rx_pool *p);

/* Consumes from *in (which it may unmask in place: the bytes must be writable) and yields at most
 * one item.
 *   >0  *out is valid, call again
 *    0  all input consumed, nothing complete
 *   <0  violation; *why is CLOSE_FRAME_*, CLOSE_BAD_UTF8, CLOSE_*_TOO_BIG, CLOSE_CLOSE_PAYLOAD,
 *       CLOSE_BAD_DEFLATE, CLOSE_INFLATE_RATIO or CLOSE_NO_MEMORY. The slot has been returned;
 *       nothing more may be fed.
 *
 * Fails fast: bad UTF-8 and a bad header are reported as soon as the byte that proves it has
 * arrived, also in the middle of a frame (RFC 6455 §8.1), a length as soon as all of it has. A
 * compressed message is kept as it comes, and decompressed when it is complete. */
int ws_rx_next(struct ws_rx *rx, struct ws_rx_pool *pool, const struct ws_rx_limits *limits,
               struct str *in, struct ws_item *out, enum close_reason *why) MUST_CHECK;

/* True while a frame or fragmented message is incomplete (a deadline should guard it). */
bool ws_rx_partial(const struct ws_rx *rx);
/* Payload bytes held for the incomplete message. */
size_t ws_rx_held(const struct ws_rx *rx);
/* Memory held for the incomplete message, and the place for its account: whoever bounds it keeps it
 * there. It leaves its budget with the slot. NULL: nothing is held. */
uint64_t ws_rx_cost(const struct ws_rx *rx);
struct holder *ws_rx_holder(struct ws_rx *rx);
/* A message that cannot be taken now, the item last handed out, and the input behind it: both are
 * kept (copied) until ws_rx_resume(), before which nothing more may be fed. -1: CLOSE_NO_MEMORY. */
int ws_rx_set_aside(struct ws_rx *rx, struct ws_rx_pool *pool, const struct ws_item *item,
                    struct str rest) MUST_CHECK;
bool ws_rx_aside(const struct ws_rx *rx);
/* Bytes of the message that is aside, decompressed. */
size_t ws_rx_aside_size(const struct ws_rx *rx);
/* Hands that message out again, and what stood behind it: the caller owns *rest and feeds it. As
 * ws_rx_next(), but never 0. */
int ws_rx_resume(struct ws_rx *rx, struct ws_rx_pool *pool, const struct ws_rx_limits *limits,
                 struct buf *rest, struct ws_item *out, enum close_reason *why) MUST_CHECK;
/* Returns the slot. Safe on a zeroed struct and to repeat. */
void ws_rx_fini(struct ws_rx *rx, struct ws_rx_pool *pool);

#endif
