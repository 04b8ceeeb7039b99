/* tests/lib/sim.h - a node in one process: workers (each a reactor, a broker, metrics of its own),
 * a hub, the rings between them, and clients that speak HTTP and WebSocket over a transport in
 * memory, under virtual time. What happens next is drawn from a seed.
 *
 * Happy path: 1 sim_new() · 2 sim_steps() · 3 sim_settle(): no more faults, everybody reads to the
 * end, and what was published has been seen by all who should · 4 sim_free(): nothing is left over.
 *
 * Checked at every step: a client sees the publications of its channel in the hub's order, without
 * a gap, none twice, from its 101 on; nothing after a close frame; its own publications before the
 * answer to its close frame; queues within their limits. What does not hold ends the process with a
 * sentence that names seed and step. */
#ifndef ROOST_TESTS_SIM_H
#define ROOST_TESTS_SIM_H

#include "base/common.h"
#include "memory.h"

struct sim_plan {
    uint64_t seed;
    unsigned workers, channels, clients;
    uint64_t ring_size; /* 64 KiB at least, as a node's */
    uint64_t queue_max;
    unsigned long_each;       /* one publication in so many is long; 0: one in fifty */
    uint64_t output_limit;    /* bytes of a connection's queue */
    unsigned worker_dies;     /* one step in so many; 0: never */
    unsigned hub_dies;        /* one step of the hub in so many */
    unsigned client_resets;   /* one step of a client in so many */
    unsigned client_stalls;   /* so, it does not read for a while */
    uint64_t longest_tick_ns; /* time between two steps */
    struct memory_plan way; /* of the bytes between clients and workers; a seed for each is drawn */
    unsigned history;       /* publications that are kept of each channel */
    bool strangers;         /* what is published is not only its own clients' */
};

struct sim_counts {
    uint64_t steps, published, seen, opened, closed, refused, lost, resets, deaths, hub_deaths;
    uint64_t api_calls;
    uint64_t proxied; /* opened by a client that a proxy has named */
};

struct sim;

struct sim *sim_new(const struct sim_plan *plan);
void sim_steps(struct sim *s, uint64_t n);
/* Everybody once, and a millisecond: n times. True when something has moved in the last one. */
bool sim_rounds(struct sim *s, unsigned n);
void sim_settle(struct sim *s);
/* A connection of a worker that is up, to be spoken on by the caller, who closes the end that is
 * returned. NULL: there is none. */
struct memory_end *sim_connect(struct sim *s, unsigned worker, bool admin);
/* The same for a client, by a listener that wants a header of the PROXY protocol first. */
struct memory_end *sim_connect_proxied(struct sim *s, unsigned worker);
void sim_free(struct sim *s);
const struct sim_counts *sim_counts(const struct sim *s);

#endif
