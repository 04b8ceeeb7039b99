/* net/reactor.h - the loop of workers and hub: libev underneath, one schedule function on top.
 *
 * A process has one, a test process may have many. reactor_run() alternates between ev_run (one
 * poll) and reactor_turn(), whose order is ARCHITECTURE's: 1 clock · 2 inbound ring · 3 what waits
 * to be read, and held connections · 4 tasks and deadlines within the turn budget · 5 flush dirty
 * connections · 6 free the condemned · 7 announce sleep, look again. It polls without blocking
 * while any list still has work. */
#ifndef ROOST_NET_REACTOR_H
#define ROOST_NET_REACTOR_H

#include <ev.h>

#include "base/budget.h"
#include "base/clock.h"
#include "base/pool.h"
#include "base/task.h"
#include "base/wheel.h"
#include "core/broker.h"
#include "core/waiters.h"
#include "net/addresses.h"
#include "net/admission.h"
#include "net/closes.h"
#include "net/conn.h"
#include "net/listener.h"
#include "net/outq.h"
#include "net/overload.h"

/* What stands behind a process's rings, a worker's broker or the hub: its part of a turn. */
struct reactor_rings {
    bool (*receive)(void); /* step 2: a bounded number of records; true: there is more to do */
    void (*flush)(void); /* step 7: what was written is told to whoever sleeps on it; may be NULL */
    bool (*sleep)(void); /* announces sleep, looks once more; false: something has come */
    void (*awake)(void); /* behind every sleep() */
};

struct reactor_config {
    unsigned worker;                   /* index */
    const struct reactor_rings *rings; /* NULL: those of reactor_set_broker(), if any */
    int wake_fd;              /* eventfd that is written to wake this process; -1: none (tests) */
    int hub_wake_fd;          /* eventfd of the hub; -1: none */
    unsigned inherited_fds;   /* descriptors held for other workers' sake */
    uint64_t node_started_ns; /* clock_ns(), for config.slow_start; 0: long ago */
    uint64_t (*hub_generation)(void); /* of the running hub, looked at once per turn; may be NULL */
    /* All workers' client connections; NULL: this worker's own. */
    uint64_t (*node_connections)(void);
    /* Refusals at config.max_connections are noted here; may be NULL. */
    struct admission_refused *node_full;
    struct addresses *addresses;            /* borrowed; NULL: there are no limits per address */
    struct listener_count *listener_counts; /* borrowed, of LISTENERS_MAX; NULL: its own */
    /* What the other workers have of a listener, added to zeros; NULL: nothing. */
    void (*listener_others)(unsigned index, struct listener_others *out);
    struct closes *closes; /* borrowed; how clients' connections have ended; NULL: nowhere */
    bool tell_refusals;    /* as warnings (net/refusal.h) */
    /* REACTOR_STANDSTILL_NS; 0: never (tests, whose clock jumps). */
    uint64_t standstill_ns;
    void (*each_turn)(
        void); /* for proc: control messages, heartbeat; at least twice a second; may be NULL */
};

/* A process that was not run for longer than that (it was stopped, the machine was paused or has much
 * else to do) has heard nobody meanwhile: the time does not count against its peers. */
#define REACTOR_STANDSTILL_NS (UINT64_C(1000) * 1000 * 1000)

struct ids {             /* a queue of connections' ids, of which some may be gone */
    uint64_t *ids;       /* owned */
    size_t head, n, cap; /* cap: a power of two, or 0 */
};

struct input {              /* net/input.c */
    struct ids light, bulk; /* connections that are readable: of those with little, and with much */
    size_t bulk_max;        /* bytes of one read of the latter */
    uint64_t until_ns;      /* this turn's time for input */
    unsigned weight;        /* reads since the last look at the clock */
    bool over;              /* it is used up */
};

struct drain { /* net/reactor_drain.c */
    enum drain_phase { DRAIN_OFF = 0, DRAIN_SPREAD, DRAIN_WAIT, DRAIN_KILL } phase;
    size_t cursor, total, visited;
    uint64_t started_ns, time_ns, grace_end_ns;
    void (*done)(void);
};

struct shed {       /* net/reactor_shed.c */
    bool on;        /* no new clients, and of those that are here: */
    size_t most;    /* so many may stay */
    size_t leaving; /* with CONN_LEAVING */
    size_t cursor;
};

/* What a module above net keeps per reactor: pools, lists, tasks. A static variable of the module,
 * which says reactor_part(&it) for its memory; that is zeroed and init() called when the running
 * reactor is first asked for it, and fini() when that ends, the youngest part first. */
struct reactor_part {
    size_t size;
    void (*init)(void *part); /* must not fail; NULL: zeros will do */
    void (*fini)(void *part); /* all connections are gone; NULL: nothing to give back */
    const char *pool;         /* name of a pool, if that is all it is; else NULL */
    size_t object;            /* of the pool */
    unsigned nr;              /* private: 0 until first used */
    size_t at;
};
#define REACTOR_PARTS 32   /* of all modules together */
#define REACTOR_ROOM  4096 /* bytes */
#define REACTOR_POOL(name, type)                                                                   \
    {                                                                                              \
        .size = sizeof(struct pool), .pool = name, .object = sizeof(type)                          \
    }

struct reactor { /* fields are for net and for /debug */
    struct ev_loop *loop;
    ev_check check;    /* runs first after each poll */
    ev_timer sleeping; /* bounds the sleep: the only timer */
    ev_io wake;        /* the eventfd the hub writes */
    struct wheel wheel;
    struct task_queue tasks;
    struct broker *broker;             /* borrowed; NULL in the hub and in some tests */
    const struct reactor_rings *rings; /* borrowed; NULL in some tests */
    struct ws_rx_pool *rx_pool;        /* owned; server role */
    struct pool conn_pool;             /* on plain TCP */
    struct pool other_pool;            /* on other transports */
    struct conn **conns;               /* owned; by conn_fd() */
    size_t conns_cap;
    size_t conns_end;              /* no fd from here on has ever been a connection */
    size_t connections;            /* live conns, both listeners, refused ones too */
    size_t client_connections;     /* by the client listener, refused ones not counted */
    size_t refused;                /* with CONN_REFUSED */
    size_t admin_connections;      /* by the admin listener, refused ones not counted */
    struct listener_count *counts; /* borrowed; by listener */
    struct listener_count own_counts[LISTENERS_MAX]; /* where nobody else is to see them */
    size_t connection_max;         /* for client_connections; from RLIMIT_NOFILE less a reserve */
    size_t admin_max, refused_max; /* for the others; of that reserve */
    struct list dirty;             /* output to flush at the end of the turn */
    struct list stalled;    /* output that waits for EV_WRITE; longest without progress first */
    struct list over;       /* outq.over: longer than config.output_limit; the oldest first */
    struct waiters waiters; /* for room in the ring to the hub */
    struct pool held;       /* those of connections with CONN_HOLD_RING */
    struct input input;
    struct ids admin;    /* connections by the admin listener, oldest first; some are gone */
    struct ids ready;    /* conn_ready(): what no poll tells */
    struct ids securing; /* handshakes that can go on (net/tls_accept.c) */
    struct ids settling; /* net/ws_settle.c: told by the hub, a walk may be under way */
    struct task settle;
    struct budget partial[2]; /* incomplete input of clients, and by the admin listener */
    struct list condemned;    /* dead, to be freed at the end of the turn */
    struct list paused;       /* listeners out of fds */
    uint64_t turn;            /* counts */
    uint64_t turn_started_ns; /* clock_precise_ns() of waking up */
    uint64_t next_serial;
    uint64_t nap_ns;  /* longest sleep that what waits allows; set by reactor_turn() */
    uint64_t seen_ns; /* clock_ns() when it was last seen to run, and its sleep; 0: not yet */
    uint64_t away_ns; /* the time it stood still, of all its life */
    bool poll_again;  /* it has just stood still: what came meanwhile is looked for first */
    uint32_t tick;    /* reactor_ns() / WHEEL_TICK_NS */
    char *scratch;    /* owned; SCRATCH_SIZE bytes, shared by all reads */
    bool busy;        /* some list still has work: do not sleep; set by reactor_turn() */
    bool stopping;
    bool draining;
    struct drain drain;
    struct shed shed;
    struct admission admission;
    struct overload overload;
    struct outq_pools output;
    uint32_t parts; /* bit nr - 1: that part is set up */
    _Alignas(max_align_t) char room[REACTOR_ROOM];
    struct reactor_config cfg;
};
#define SCRATCH_SIZE (64 * 1024)
/* The one that runs: what is called in net and above acts on it. A process that has several sets it
 * (and `metrics`) before each call into another. */
extern struct reactor *reactor;
/* The time by which peers are judged: clock_ns() without the time that this process stood still. */
static inline uint64_t reactor_ns(void)
{
    return clock_ns() - reactor->away_ns;
}

/* Sets up *reactor: the loop (EVBACKEND_EPOLL | EVFLAG_NOENV), wheel, pools. Exits with a sentence
 * when it cannot. */
void reactor_init(const struct reactor_config *cfg);
/* Clients that a process can hold at so many descriptors: what is left of them beside a reserve. */
uint64_t reactor_connection_limit(uint64_t nofile);
/* Frees everything, kills connections without ceremony (tests, end of process). The broker must
 * still exist. */
void reactor_fini(void);
/* For reactor_part(): the first use. */
void reactor_part_init(struct reactor_part *part);
static inline void *reactor_part(struct reactor_part *part)
{
    if (UNLIKELY(part->nr == 0 || (reactor->parts >> (part->nr - 1) & 1) == 0))
        reactor_part_init(part);
    return reactor->room + part->at;
}
/* Of a part that is REACTOR_POOL(). */
static inline struct pool *reactor_pool(struct reactor_part *part)
{
    return reactor_part(part);
}
/* After broker_new() (which needs reactor->tasks). */
void reactor_set_broker(struct broker *b);
/* Until reactor_stop(). */
void reactor_run(void);
void reactor_stop(void);
/* One turn of the schedule, after the poll. For reactor_step(). */
void reactor_turn(void);
/* One poll (blocking only if block and no work is left) and one turn. For reactor_run() and tests.
 */
void reactor_step(bool block);

/* A connection for an accepted, non-blocking socket. NULL: no memory (fd closed). ops->input etc.
 * as given; the session area is zeroed; state HTTP; the deadline is config.header_timeout. flags:
 * CONN_ADMIN, CONN_REFUSED. */
struct conn *reactor_add(int fd, const struct conn_ops *ops, const struct sockaddr *peer,
                         unsigned flags);

/* Closes all connections spread over time_ns (calls ops->drain for each in turn), gives the last
 * ones config.close_timeout, kills what is left, then calls done() from a turn. Client listeners
 * must be stopped before. Admin connections that are left after that timeout are neither killed nor
 * waited for. */
void reactor_drain(uint64_t time_ns, void (*done)(void));
/* From now on: takes no new clients, and asks those to go that are more than most (calls ops->drain
 * for each); off: takes them again. Operators' connections are let alone. */
void reactor_shed(bool on, size_t most);
/* Clients that have not been asked to go. */
static inline size_t reactor_staying(void)
{
    return reactor->client_connections - reactor->shed.leaving;
}
/* Is whoever this is to go elsewhere with what it wants to begin? */
static inline bool reactor_sends_away(const struct conn *c)
{
    return reactor->draining || (reactor->shed.on && !(c->flags & CONN_ADMIN));
}
/* After config has changed: take new limits. */
void reactor_config_changed(void);
/* Gauges that are cheaper to compute than to keep; called before a slot is read. */
void reactor_update_gauges(void);
/* Within a turn: the next one shall come within ns (rounded up to milliseconds by the poll). */
static inline void reactor_wake_within(uint64_t ns)
{
    if (ns < reactor->nap_ns)
        reactor->nap_ns = ns;
}

/* Resumable walk over live connections: *cursor starts at 0; looks at no more than max places;
 * false when done. visit may kill. */
bool reactor_scan(size_t *cursor, size_t max, void (*visit)(struct conn *c, void *arg), void *arg);

#endif
