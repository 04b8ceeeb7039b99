/* net/ws.h - the WebSocket protocol on a connection: frames in, control frames, close handshake,
 * pings.
 *
 * A session's struct conn_ops uses ws_input, ws_eof, ws_deadline, ws_may_read, ws_slow, ws_drain,
 * ws_release and points `upper` at its struct ws_ops.
 *
 * States. OPEN: messages go to ops->message. An end that the peer's input caused (its close frame,
 * or a violation) first goes to SETTLING: reading stops, ops->settle() is asked whether everything
 * this connection sent has come back to it; when it has (or after SETTLE_MAX_NS), the close frame
 * is sent behind those deliveries; nothing more is awaited from the peer (its close frame has come,
 * or its input cannot be parsed any more, RFC 6455 §7.1.7). An end of our own making (drain, no
 * pong) goes straight to CLOSING, where the peer's close frame is awaited for config.close_timeout.
 * Either way the socket is then shut down in order (conn_finish, states FLUSHING and LINGERING; the
 * server closes first, RFC 6455 §7.1.1).
 *
 * Pings. One lazy deadline: when it fires, it looks at c->heard and goes on for the rest, so that
 * messages never re-arm it. A message that is incomplete for config.message_timeout ends the
 * connection, however its bytes trickle. */
#ifndef ROOST_NET_WS_H
#define ROOST_NET_WS_H

#include "codec/ws_tx.h"
#include "net/conn.h"

#define SETTLE_MAX_NS (UINT64_C(1000) * 1000 * 1000)

struct ws_ops {
    /* A complete message, borrowed until return. May call ws_close() or conn_kill(); state is OPEN.
     */
    void (*message)(struct conn *c, enum ws_item_kind kind, struct str data);
    /* May `bytes` more of payload be read, in at most `messages` messages? NULL = yes. */
    bool (*may_read)(struct conn *c, size_t bytes, size_t messages);
    /* The input has ended. True: nothing of this connection's is still on its way. False:
     * ws_settled() will be called. NULL = true. */
    bool (*settle)(struct conn *c);
    /* The connection is about to be freed. May be NULL. */
    void (*release)(struct conn *c);
};

/* After the 101 response has been queued: state OPEN, first ping deadline. */
void ws_open(struct conn *c);
/* Starts an end of our own making: close frame with the reason's code and text, then CLOSING.
 * Harmless when closing already. */
void ws_close(struct conn *c, enum close_reason why);
/* What ws_ops.settle() waited for has happened. */
void ws_settled(struct conn *c);

void ws_input(struct conn *c, struct str in);
void ws_eof(struct conn *c);
void ws_deadline(struct conn *c);
size_t ws_may_read(struct conn *c, size_t want);
void ws_slow(struct conn *c);
void ws_partial_over(struct conn *c, enum close_reason why);
void ws_drain(struct conn *c);
void ws_release(struct conn *c);

#endif
