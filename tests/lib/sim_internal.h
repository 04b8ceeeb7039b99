/* tests/lib/sim_internal.h - what the files of the simulator share.
 *
 * sim.c is the node: workers, hub, rings, time · sim_client.c is who speaks with it, and the
 * checks. */
#ifndef ROOST_TESTS_SIM_INTERNAL_H
#define ROOST_TESTS_SIM_INTERNAL_H

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/metrics.h"
#include "core/hub.h"
#include "core/ring.h"
#include "net/reactor.h"
#include "sim.h"

#define SIM_WORKERS_MAX  8
#define SIM_CHANNELS_MAX 16
#define SIM_FILL_MAX     5000 /* of a publication, bytes */
#define SIM_NOT_YET      UINT32_MAX

struct sim_pub {
    uint32_t place; /* in its channel's order; SIM_NOT_YET: no hub has taken it */
    unsigned channel;
    uint32_t fill; /* bytes behind its number */
};

struct sim_channel {
    uint32_t *latest; /* owned; by place: the greatest number up to there */
    uint32_t n, cap;
};

struct sim_worker {
    struct reactor reactor;
    struct metrics metrics;
    struct ring_shared *to_hub, *from_hub; /* owned; they outlive the worker */
    struct ring hub_in, hub_out;           /* the hub's ends */
    uint64_t given_back;
    uint32_t generation;
    bool up;
};

enum sim_phase {
    SIM_AWAY = 0, /* no connection */
    SIM_SHAKING,  /* the 101 has not come */
    SIM_OPEN,
    SIM_CLOSING, /* its close frame has been said */
    SIM_CLOSED,  /* the server's close frame has been seen */
    SIM_API      /* keep-alive HTTP on the admin listener */
};

struct sim_client {
    enum sim_phase phase;
    struct memory_end *end; /* owned; NULL: no connection */
    unsigned worker, channel;
    bool proxied;        /* it came with a header of the PROXY protocol */
    bool asked;          /* API: an answer is awaited */
    uint64_t stalled_to; /* clock_ns() */
    struct buf out, in;  /* owned; what it still has to say, and what it has not parsed */
    size_t said;         /* bytes of out that are gone */
    uint32_t told_at;    /* publications there were at its 101 */
    uint32_t last;       /* place of the last one seen; SIM_NOT_YET: none */
    uint32_t *own;       /* owned; numbers of its publications that it has not seen back */
    uint32_t nown, own_cap;
    uint32_t pings, pongs;
};

struct sim {
    struct sim_plan plan;
    struct sim_counts counts;
    uint64_t random;
    bool calm; /* no faults any more */
    struct sim_worker *workers;
    struct sim_client *clients;
    struct sim_pub *pubs; /* owned */
    uint32_t npubs, pubs_cap;
    struct sim_channel channels[SIM_CHANNELS_MAX];
    struct hub *hub; /* NULL: between two incarnations */
    struct metrics hub_metrics;
    uint32_t hub_generation;
    unsigned in_work;       /* ring + 1 */
    unsigned sends_to_live; /* the hub dies in this many; 0: it does not */
    jmp_buf death;
};

_Noreturn void sim_fail(const struct sim *s, const char *file, int line, const char *what);
#define SIM_REQUIRE(s, condition)                                                                  \
    do {                                                                                           \
        if (!(condition))                                                                          \
            sim_fail(s, __FILE__, __LINE__, #condition);                                           \
    } while (0)

/* 0 to n - 1. */
unsigned sim_dice(struct sim *s, unsigned n);
/* Room for one more of size bytes behind n; cap grows. */
void *sim_grow(void *p, uint32_t n, size_t size, uint32_t *cap);

/* sim.c */
/* What is called next acts on this worker. */
void sim_enter(struct sim *s, unsigned worker);

/* sim_client.c */
/* The number of the publication that data is; what it holds is what was published. */
uint32_t sim_pub_of(const struct sim *s, struct str data);
void sim_client_act(struct sim *s, struct sim_client *c);
/* Reads and says what is left; true when there was something. */
bool sim_client_finish(struct sim *s, struct sim_client *c);
/* Has seen all that it should. */
void sim_client_check_complete(struct sim *s, struct sim_client *c);
void sim_client_end(struct sim *s, struct sim_client *c);

#endif
