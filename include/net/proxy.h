/* net/proxy.h - connections in state PROXY: a header of the PROXY protocol comes first. */
#ifndef ROOST_NET_PROXY_H
#define ROOST_NET_PROXY_H

#include "net/conn.h"

/* c has been accepted, in state PROXY; its ops wait until the header has come. May kill
 * (PROXY_UNTRUSTED). */
void proxy_begin(struct conn *c);
/* c is readable. Takes the header, not a byte more, and gives c the address that it says. 1: done,
 * 0: later, -1: there is none (c may be killed already, with the reason). */
int proxy_receive(struct conn *c) MUST_CHECK;

#endif
