/* net/ws.h - the WebSocket half of a connection: frames in and out, control frames, close
 * handshake, pings. It knows the session that is spoken on it by its struct session_ops only.
 *
 * WS_CONN_OPS fills in a struct conn_ops but for name, kind, session and release, which ends with
 * ws_release().
 *
 * States. OPEN: messages go to session_ops.message. An end that the peer's input caused (its close
 * frame, or a violation) first goes to SETTLING: reading stops, session_ops.closing() is asked
 * whether everything this connection published has come back to it; when it has (or after
 * SETTLE_MAX_NS), the close frame is sent behind those deliveries; nothing more is awaited from the
 * peer (its close frame has come, or its input cannot be parsed any more, RFC 6455 §7.1.7). An end
 * of our own making (drain, no pong) goes straight to CLOSING, where the peer's close frame is
 * awaited for config.close_timeout. Either way the socket is then shut down in order (conn_finish,
 * states FLUSHING and LINGERING; the server closes first, RFC 6455 §7.1.1).
 *
 * Pings. One lazy deadline: when it fires, it looks at c->heard and goes on for the rest, so that
 * messages never re-arm it. A message that is incomplete for config.message_timeout ends the
 * connection, however its bytes trickle. */
#ifndef ROOST_NET_WS_H
#define ROOST_NET_WS_H

#include "codec/ws_tx.h"
#include "net/session.h"

#define SETTLE_MAX_NS (UINT64_C(1000) * 1000 * 1000)

/* After the 101 response has been queued: state OPEN, first ping deadline. */
void ws_open(struct conn *c);
/* Starts an end of our own making: close frame with the reason's code and text, then CLOSING.
 * Harmless when closing already. */
void ws_close(struct conn *c, enum close_reason why);
/* The same with another code and text than the reason's own (session_end_as()). */
void ws_end(struct conn *c, enum close_reason why, uint16_t code, struct str text);
/* Sends a message of the session (session_send()). What one input is answered with goes out
 * together, also with its pongs. */
int ws_send(struct conn *c, struct str data, bool binary) MUST_CHECK;

void ws_input(struct conn *c, struct str in);
void ws_eof(struct conn *c);
void ws_deadline(struct conn *c);
size_t ws_may_read(struct conn *c, size_t want);
void ws_slow(struct conn *c, enum close_reason why);
void ws_partial_over(struct conn *c, enum close_reason why);
void ws_drain(struct conn *c);
/* Gives everything back, the session too. */
void ws_release(struct conn *c);

#define WS_CONN_OPS                                                                                \
    .input = ws_input, .eof = ws_eof, .deadline = ws_deadline, .may_read = ws_may_read,            \
    .slow = ws_slow, .partial_over = ws_partial_over, .drain = ws_drain, .send = ws_send,          \
    .end = ws_end

#endif
