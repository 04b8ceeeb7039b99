/* proto/session.c - the kinds of sessions, as the broker wants them. */
#include "proto/session.h"

const struct sink_ops *const session_sinks[SESSION_KIND_NR] = {
#define X(NAME, name, label) [SESSION_##NAME] = &name##_session_ops.sink,
#include "tbl/protocols.def"
#undef X
};
