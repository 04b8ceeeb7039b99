/* proto/ws_upgrade.h - from a handshake in good order to an open WebSocket session, for every
 * protocol.
 *
 * Happy path: 1 the protocol's HTTP handler has checked the request (proto/upgrade.h, and what is
 * its own) · 2 ws_upgrade_take(): state SUBSCRIBING, not read · 3 the session sets up its area and
 * subscribes · 4 each confirmation is told by ws_upgrade_subscribed() · 5 behind the last, in a
 * task: 101, state OPEN · 6 what came behind the request head is fed. So whoever sees the 101
 * misses nothing published after it. can fail: ws_upgrade_refuse(), no memory, the hub's silence
 * (HUB_TIMEOUT), a drain; then the answer is a refusal and the end. */
#ifndef ROOST_PROTO_WS_UPGRADE_H
#define ROOST_PROTO_WS_UPGRADE_H

#include "net/session.h"
#include "proto/http.h"
#include "proto/upgrade.h"

struct ws_upgrade; /* pooled; private */
/* What the area of every WebSocket session begins with. */
struct ws_session {
    struct ws_upgrade *upgrade; /* owned; NULL when there is nothing more to do */
};

/* Inside handle(): takes the connection over for a session of that kind, whose area is zeroed. The
 * 101 is sent when `subscriptions` have been confirmed; at once (in a task) if that is 0. NULL: it
 * has been refused or killed. */
struct conn *ws_upgrade_take(struct http_exchange *x, const struct upgrade *checked,
                             enum session_kind kind, unsigned subscriptions) MUST_CHECK;
/* The hub has confirmed one more; also before ws_upgrade_take()'s caller is done. */
void ws_upgrade_subscribed(struct conn *c);
/* One of them cannot be had now: the handshake is refused, in a task. */
void ws_upgrade_refused(struct conn *c);
/* Before the 101: gives the session back and answers with a refusal. Not from within a broker
 * upcall. */
void ws_upgrade_refuse(struct conn *c, enum close_reason why);

/* For the tables of proto/session.h. */
void ws_upgrade_input(struct conn *c, struct str in);
void ws_upgrade_deadline(struct conn *c);
void ws_upgrade_drain(struct conn *c);
/* Gives back the upgrade, the session, and what net/ws.h has, in this state and later. */
void ws_upgrade_release(struct conn *c);

#define WS_UPGRADE_CONN_OPS                                                                        \
    .input = ws_upgrade_input, .deadline = ws_upgrade_deadline, .drain = ws_upgrade_drain

#endif
