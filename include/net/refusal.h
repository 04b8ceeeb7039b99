/* net/refusal.h - refusals and ends that an operator can do something about, as warnings.
 *
 * One line per event with cause, fix, the value of the setting, and what the peer said; which
 * reasons have one stands in tbl/close.def (fix). At most three lines of a reason in ten seconds,
 * then their number (base/log.h). What is not worth a warning is a line at debug. */
#ifndef ROOST_NET_REFUSAL_H
#define ROOST_NET_REFUSAL_H

#include "base/log.h"
#include "net/conn.h"

/* A request on c was refused, or a handshake. more: further pairs, such as Origin and Host, whose
 * texts are shown cut. Remembers what was said: the connection's end for the same reason is not
 * said again. */
void refusal_say(struct conn *c, enum close_reason why, const char *what, const struct log_kv *more,
                 size_t nmore);
/* A connection that was never one of ours. */
void refusal_say_peer(const struct sockaddr *peer, enum close_reason why);
/* c has ended; at debug if its reason was said or is nothing to act on. */
void refusal_say_end(const struct conn *c);

#endif
