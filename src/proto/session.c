/* proto/session.c - tbl/protocols.def, as broker and connections want it. */
#include "proto/session.h"

#include "net/ws.h"
#include "proto/ws_upgrade.h"

const struct sink_ops *const session_sinks[SESSION_KIND_NR] = {
#define SESSION(NAME, name, label) [SESSION_##NAME] = &name##_session_ops.sink,
#include "tbl/protocols.def"
};

#define SESSION_OF(NAME, name_, label)                                                             \
    .name = label, .kind = SESSION_##NAME, .session = &name_##_session_ops,                        \
    .release = ws_upgrade_release

const struct conn_ops session_waiting_ops[SESSION_KIND_NR] = {
#define WS_SESSION(NAME, name, label)                                                              \
    [SESSION_##NAME] = {SESSION_OF(NAME, name, label), WS_UPGRADE_CONN_OPS},
#include "tbl/protocols.def"
};

const struct conn_ops session_open_ops[SESSION_KIND_NR] = {
#define WS_SESSION(NAME, name, label)                                                              \
    [SESSION_##NAME] = {SESSION_OF(NAME, name, label), WS_CONN_OPS},
#include "tbl/protocols.def"
};

void sessions_init(void)
{
#define WS_SESSION(NAME, name, label) name##_init();
#include "tbl/protocols.def"
}
