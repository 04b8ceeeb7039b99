/* net/partial.h - what connections hold for incomplete messages, request heads and bodies.
 *
 * Each listener has config.max_partial_bytes of its own. On the client listener an address may hold
 * half of it, a connection a quarter (or one largest message). Whoever holds most for longest ends
 * when a bound is exceeded: base/budget.h. */
#ifndef ROOST_NET_PARTIAL_H
#define ROOST_NET_PARTIAL_H

#include "base/budget.h"
#include "net/conn.h"

void partial_init(void);
void partial_fini(void);
/* After config has changed. */
void partial_config_changed(void);
/* c holds so many bytes now, in what h is embedded in. Others may end (ops->partial_over()).
 * CLOSE_NONE, or why c itself has to: CLOSE_PARTIAL or CLOSE_NO_MEMORY; its account is closed then.
 */
enum close_reason partial_hold(struct conn *c, struct holder *h, uint64_t bytes) MUST_CHECK;
/* Ends a client that holds most for longest. False: none does. */
bool partial_end_worst(void);
/* The incomplete bytes of the listener's connections. */
uint64_t partial_bytes(bool admin);

#endif
