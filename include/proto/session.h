/* proto/session.h - the kinds of sessions, and how broker and connections reach each.
 *
 * A new WebSocket protocol is a row of tbl/protocols.def and a folder of src/proto with its
 * <name>_session_ops and <name>_init(), which registers the paths it is asked for on; their handler
 * opens sessions by proto/ws_upgrade.h. src/proto/echo is the smallest one
 * (echo/echo.c: what it offers is declared here, from its row). */
#ifndef ROOST_PROTO_SESSION_H
#define ROOST_PROTO_SESSION_H

#include "net/session.h"

#define SESSION(NAME, name, label) extern const struct session_ops name##_session_ops;
#include "tbl/protocols.def"

/* At start, after reactor_init() and before listening: paths, encoders, pools. */
#define WS_SESSION(NAME, name, label) void name##_init(void);
#include "tbl/protocols.def"
/* All of them. */
void sessions_init(void);

/* For broker_config.sinks: SESSION_KIND_NR of them. */
extern const struct sink_ops *const session_sinks[SESSION_KIND_NR];

/* Of connections of a kind, before the 101 and after it. */
extern const struct conn_ops session_waiting_ops[SESSION_KIND_NR];
extern const struct conn_ops session_open_ops[SESSION_KIND_NR];

#endif
