/* codec/ws_slot.h - what the receive side borrows while a frame or a message is incomplete, and the
 * pool it comes from. Private to codec/ws_rx.c. */
#ifndef ROOST_CODEC_WS_SLOT_H
#define ROOST_CODEC_WS_SLOT_H

#include <wslay/wslay.h>

#include "base/budget.h"
#include "base/list.h"
#include "codec/ws_tx.h"
#include "ws_head.h"

/* What an attached slot costs before it holds payload: itself, with the allocator's share. Counted,
 * so that many frames of which one byte has come are bounded too. */
#define SLOT_BYTES (sizeof(struct ws_slot) + 16)
/* Slots kept for reuse; what a burst needed beyond is freed. */
#define SLOTS_SPARE 128

enum slot_phase {
    SLOT_HEAD = 0, /* the header is incomplete; with no byte of it, between frames */
    SLOT_PAYLOAD,
    SLOT_ASIDE /* payload is a whole message, which waits, and rest what came behind it */
};

struct ws_slot {
    struct list link;     /* in ws_rx_pool.spare while not attached */
    struct holder holder; /* the account of whoever bounds it (net) */
    struct ws_head head;  /* of the open frame */
    uint8_t phase;        /* enum slot_phase */
    uint8_t raw_len;
    uint8_t raw[WS_HEADER_MAX]; /* the open frame's header so far */
    uint8_t op;                 /* of the open message as in head, WS_OP_CONTINUATION if none */
    uint8_t control_len;
    char control[WS_CONTROL_MAX]; /* payload of the open control frame */
    uint32_t utf8;                /* of the open text message */
    uint64_t got;                 /* payload bytes of the open frame */
    uint64_t charged;             /* share in ws_rx_pool.bytes */
    struct buf payload;           /* owned; of the open message */
    struct buf rest;              /* owned; input behind a message that is aside */
    size_t aside;                 /* bytes of that, decompressed */
};

struct ws_rx_pool {
    enum ws_role role;
    uint64_t partial_max;
    uint64_t bytes;  /* all attached slots' shares */
    uint64_t frames; /* complete ones, fragments too; counts */
    uint64_t odd;    /* of those, as ws_rx_pool_odd() says; counts */
    size_t in_use;
    size_t allocated;
    size_t spare_count;
    struct list spare; /* owned; slots that hold nothing */
    /* wslay's frame context; a frame's 4 KB are not for each connection that has begun one, so it
     * follows one frame at a time. user_data is this pool. */
    wslay_frame_context_ptr wslay;   /* owned; NULL: none yet, or out of memory */
    const struct ws_slot *following; /* whose open frame that is; NULL: nobody's */
    bool inside;                     /* it is in the middle of a frame */
    struct str feed;                 /* what wslay may take; borrowed until the call ends */
    struct buf done;              /* owned; the item last handed out, if it came through a slot */
    struct buf inflated;          /* owned; the same, if it was compressed */
    struct str compressed;        /* borrowed; what that was made of */
    char control[WS_CONTROL_MAX]; /* the same for a control frame */
};

/* A slot that is between frames; so is a connection without one. */
bool ws_slot_is_clean(const struct ws_slot *s);
/* -1: no memory, or partial_max would be exceeded. */
int ws_slot_attach(struct ws_rx_pool *p, struct ws_slot **slot) MUST_CHECK;
/* Nulls *slot. */
void ws_slot_detach(struct ws_rx_pool *p, struct ws_slot **slot);
/* Makes the context follow the open frame of s, of which `missing` payload bytes are to come. -1:
 * no memory. */
int ws_slot_follow(struct ws_rx_pool *p, const struct ws_slot *s, uint64_t missing) MUST_CHECK;
/* The slot costs so many bytes now. */
void ws_slot_charge(struct ws_rx_pool *p, struct ws_slot *s, uint64_t bytes);

#endif
