/* proto/control.h - orders of the server API, and of other clients, to Centrifuge clients, as they
 * travel by broker_control() to the workers that have them. tbl/control.def has what they say. */
#ifndef ROOST_PROTO_CONTROL_H
#define ROOST_PROTO_CONTROL_H

#include "base/buf.h"

enum control_order {
#define ORDER(NAME, label) CONTROL_##NAME,
#include "tbl/control.def"
    CONTROL_ORDER_NR
};

struct control {
    enum control_order order;
#define CONTROL_TEXT(name)   struct str name;
#define CONTROL_NUMBER(name) int64_t name;
#define MEMBER(name, KIND)   CONTROL_##KIND(name)
#include "tbl/control.def"
#undef CONTROL_TEXT
#undef CONTROL_NUMBER
};

/* uid: this node's, as clients get it in the answer to connect; borrowed. find: the id of another node that lives,
 * by its uid; 0: there is none. */
void centrifuge_nodes(const char *uid, uint64_t (*find)(struct str uid));

/* Appends it to out. -1: no memory (out is unchanged). */
int control_write(const struct control *c, struct buf *out) MUST_CHECK;
/* Views into data. -1: malformed. */
int control_read(struct str data, struct control *out) MUST_CHECK;

#endif
