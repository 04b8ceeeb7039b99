/* proto/session.h - kinds of sessions, and how the broker reaches each.
 *
 * A session is what a connection or an exchange means to publish/subscribe: it subscribes, is
 * handed publications, and is told what the hub has answered. Each kind is a row of
 * tbl/protocols.def and a table of its own. */
#ifndef ROOST_PROTO_SESSION_H
#define ROOST_PROTO_SESSION_H

#include "core/broker.h"
#include "net/conn.h"

enum session_kind {
    SESSION_NONE = 0,
#define X(NAME, name, label) SESSION_##NAME,
#include "tbl/protocols.def"
#undef X
    SESSION_KIND_NR
};
_Static_assert(SESSION_KIND_NR <= 128, "struct sub has seven bits for it");

struct session_ops {      /* static tables; one per kind */
    struct sink_ops sink; /* the broker's upcalls */
    /* Appends JSON members (",\"mode\":...") for one line of /debug/connections. -1: no memory.
     * NULL: it has no connection of its own. */
    int (*describe)(struct conn *c, struct buf *out);
};

#define X(NAME, name, label) extern const struct session_ops name##_session_ops;
#include "tbl/protocols.def"
#undef X

/* For broker_config.sinks: SESSION_KIND_NR of them. */
extern const struct sink_ops *const session_sinks[SESSION_KIND_NR];

#endif
