/* net/overload.h - a worker that has too little of something: descriptors, or memory.
 *
 * It makes room for who comes by ending who waits without a request. At a high mark it accepts no
 * more clients, until it is below a low one: when all descriptors for clients are taken, those for
 * refused ones too, until half of the latter are free; at 7/8 of config.worker_memory, until 3/4.
 * Over config.worker_memory those go that take their output slowest, then those that hold most for
 * incomplete input. */
#ifndef ROOST_NET_OVERLOAD_H
#define ROOST_NET_OVERLOAD_H

#include "base/common.h"

struct overload {     /* a reactor's; zeroed at first */
    bool stopped;     /* accepts no clients */
    bool descriptors; /* for want of these, not of memory */
    size_t cursor;    /* of the search for who waits */
};

/* Bytes that this process holds for its clients: connections, queues, publications, incomplete
 * input. */
uint64_t overload_used(void);
/* Before each accept of a client: is it to be left where it is? */
bool overload_stops(void);
/* All places are taken, or those of a listener (LISTENERS_MAX: of any): ends a client that has been waiting with no request, or half of one, for a
 * second or more, if one is found; first those that never had an answer. True: there is room. */
bool overload_make_room(unsigned listener);
/* Step 4. True when there is more to do. */
bool overload_turn(void);

#endif
