/* net/ws_internal.h - what the files ws_*.c share with ws.c. */
#ifndef ROOST_NET_WS_INTERNAL_H
#define ROOST_NET_WS_INTERNAL_H

#include "net/ws.h"

static inline const struct session_ops *ws_session(const struct conn *c)
{
    return conn_ops(c)->session;
}

/* -1: killed. */
int ws_send_control(struct conn *c, enum ws_opcode op, const void *payload, size_t n) MUST_CHECK;

/* ws_deflate.c: connections with permessage-deflate. */
/* Is there room for what the session may publish of a message of so many bytes? */
bool ws_deflate_has_room(struct conn *c, size_t bytes);
/* The same for an item that has come, which it counts. */
bool ws_deflate_takes(struct conn *c, const struct ws_item *item);
/* Keeps the item and what is behind it until there is room; the connection is held. -1: *why. */
int ws_set_aside(struct conn *c, const struct ws_item *item, struct str rest,
                 enum close_reason *why) MUST_CHECK;
/* A message to be sent: compressed in place of *data, which is borrowed until the next call then,
 * if that makes it shorter. False: it stays as it is. */
bool ws_deflate(const struct conn *c, struct str *data);

#endif
