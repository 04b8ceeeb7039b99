/* net/reactor.h - the worker's loop: libev underneath, one schedule function on top.
 *
 * One reactor per process. reactor_run() alternates between ev_run (one poll) and reactor_turn(), whose order is
 * ARCHITECTURE's: 1 clock · 2 inbound ring · 3 held connections are asked again · 4 tasks and deadlines
 * within the turn budget · 5 flush dirty connections · 6 free the condemned · 7 announce sleep, look again.
 * It polls without blocking while any list still has work. */
#ifndef ROOST_NET_REACTOR_H
#define ROOST_NET_REACTOR_H

#include <ev.h>

#include "base/pool.h"
#include "base/task.h"
#include "base/wheel.h"
#include "core/broker.h"
#include "net/conn.h"

struct reactor_config {
    unsigned worker;     /* index */
    int wake_fd;         /* eventfd the hub writes for this worker; -1: none (tests) */
    int hub_wake_fd;     /* eventfd of the hub; -1: none */
    uint64_t (*hub_generation)(void); /* of the running hub, looked at once per turn; may be NULL */
    uint64_t (*node_connections)(void); /* all workers' client connections; NULL: this worker's own */
    void (*each_turn)(void); /* for proc: control messages, heartbeat; may be NULL */
};

struct reactor { /* the process-wide instance; fields are for net and for /debug */
    struct ev_loop *loop;
    struct wheel wheel;
    struct task_queue tasks;
    struct broker *broker;       /* borrowed; NULL in some tests */
    struct ws_rx_pool *rx_pool;  /* owned; server role */
    struct pool conn_pool;
    struct conn **conns;         /* owned; by fd; sized to RLIMIT_NOFILE on demand, in steps */
    size_t conns_cap;
    size_t connections;          /* live conns, both listeners */
    size_t client_connections;   /* by the client listener */
    size_t connection_max;       /* from RLIMIT_NOFILE less a reserve */
    struct list dirty, held, condemned;
    uint64_t turn;               /* counts */
    uint64_t next_serial;
    char *scratch;               /* owned; SCRATCH_SIZE bytes, shared by all reads */
    bool stopping;
    bool draining;
    struct reactor_config cfg;
};
#define SCRATCH_SIZE (64 * 1024)
extern struct reactor reactor;

/* Sets up the loop (EVBACKEND_EPOLL | EVFLAG_NOENV), wheel, pools. Exits with a sentence when it cannot. */
void reactor_init(const struct reactor_config *cfg);
/* Frees everything, kills connections without ceremony (tests, end of process). */
void reactor_fini(void);
/* After broker_new() (which needs reactor.tasks). */
void reactor_set_broker(struct broker *b);
/* Until reactor_stop(). */
void reactor_run(void);
void reactor_stop(void);
/* One poll (blocking only if block and no work is left) and one turn. For reactor_run() and tests. */
void reactor_step(bool block);

/* A connection for an accepted, non-blocking socket. NULL: no memory (fd closed). ops->input etc. as given; the session
 * area is zeroed; state HTTP. */
struct conn *reactor_add(int fd, const struct conn_ops *ops, const struct sockaddr *peer, unsigned flags);

/* Closes all client connections spread over time_ns (calls ops->drain for each in turn), then calls done(). Listeners must
 * be stopped before. */
void reactor_drain(uint64_t time_ns, void (*done)(void));
/* After config has changed: take new limits. */
void reactor_config_changed(void);
/* Gauges that are cheaper to compute than to keep; called before a slot is read. */
void reactor_update_gauges(void);
/* Resumable walk over connections: *cursor starts at 0; visits at most max; false when done. */
bool reactor_scan(size_t *cursor, size_t max, void (*visit)(struct conn *c, void *arg), void *arg);

#endif
