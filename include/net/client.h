/* net/client.h - on whose behalf a peer speaks: a trusted proxy (config.trusted) says who its client
 * is, and the connection goes by that one's address from then on, in limits, logs and /debug. */
#ifndef ROOST_NET_CLIENT_H
#define ROOST_NET_CLIENT_H

#include "net/conn.h"

/* Is it the address of a trusted proxy? Zeros stand for the peer of a UNIX socket. */
bool client_is_proxy(const uint8_t address[16]);
/* c's peer has named its client, who is counted instead of whoever was before. CLOSE_NONE, or what
 * the client is refused for. */
enum close_reason client_named(struct conn *c, const uint8_t address[16], uint16_t port);
/* c's peer speaks for itself again, from its own address. */
void client_gone(struct conn *c, const uint8_t address[16], uint16_t port);

#endif
