/* net/glitch.h - odd but legal input, and who sends most of it.
 *
 * Pings and pongs, empty messages, tiny fragments, frames that come byte by byte: each is a point.
 * A tenth of config.glitch_limit is forgiven each second. While the worker is busy
 * (config.glitch_cpu), those over the limit are closed, the worst first.
 *
 * A table of a fixed size holds those that collect most; a connection costs nothing for it. */
#ifndef ROOST_NET_GLITCH_H
#define ROOST_NET_GLITCH_H

#include "net/conn.h"

/* c, which is open, has sent so much of it. */
void glitch_note(struct conn *c, uint32_t points);
/* What c has now. */
uint32_t glitch_points(const struct conn *c);
/* In a worker, a few times a second, from a turn. */
void glitch_tick(void);

#endif
