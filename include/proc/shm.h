/* proc/shm.h - the shared memory of one node: process slots, links, the configuration in force.
 *
 * One unnamed file in memory, mapped by the master before it forks; every process sees it at the
 * same address. A child then keeps what is its own (shm_confine): a process that has been taken
 * over can write its slot and its rings and nothing else. Nothing in it is trusted beyond its type:
 * readers copy and check. */
#ifndef ROOST_PROC_SHM_H
#define ROOST_PROC_SHM_H

#include <stdatomic.h>

#include "base/config.h"
#include "base/metrics.h"
#include "base/trace.h"
#include "core/engine_shards.h"
#include "core/hub.h"
#include "core/ring.h"
#include "net/addresses.h"
#include "net/admission.h"
#include "net/closes.h"
#include "net/listener.h"
#include "proc/nodes.h"
#include "proc/reload.h"
#include "proc/tls_files.h"

enum shm_process {
    SHM_MASTER = 0,
    SHM_HUB = 1,
    SHM_EGRESS = 2, /* only where something is to be fetched: shm_slot_used() */
    SHM_WORKER = 3
}; /* slot of worker i: SHM_WORKER + i */
enum shm_phase { SHM_DOWN = 0, SHM_STARTING, SHM_READY, SHM_DRAINING };

/* What an operator wants to become of the node's clients (proc/drain.h). Written by the worker that was
 * asked; n rises when the rest is whole. */
struct shm_wish {
    _Atomic uint32_t n, withdrawn; /* withdrawn: the n that is not to be carried out any more */
    _Atomic uint32_t cancel, stop;
    _Atomic uint64_t leave, rate, time_ns; /* rate 0: spread over time_ns */
};

/* The order in force. Written by the master; outlives every other process. */
enum drain_state { DRAIN_NONE = 0, DRAIN_GOING, DRAIN_DONE };
struct shm_drain {
    _Atomic uint32_t state; /* enum drain_state */
    _Atomic uint32_t stop;  /* the node stops when it is done */
    _Atomic uint32_t order; /* how many orders there have been */
    _Atomic uint64_t leave, from, time_ns,
        started_ns;                          /* down from so many to so many, clock_ns() */
    _Atomic uint64_t most[HUB_WORKERS_MAX];  /* clients that a worker may have now */
    _Atomic uint32_t begun[HUB_WORKERS_MAX]; /* the last wish of each that is being looked at, */
    _Atomic uint32_t taken[HUB_WORKERS_MAX]; /* and that has been */
};

#define SHM_ALIGN 65536 /* a page, on every machine: what is protected apart begins at one */
/* Whoever has gone round its loop this long ago does not serve. An idle process beats twice as
 * often. */
#define SHM_STILL_NS NS_PER_SEC

/* Written by its process; generation and restarts by the master, which also clears pid, phase,
 * client_connections, staying, what listeners hold, addresses_life and the gauges when the process has ended. */
struct shm_slot {
    _Alignas(SHM_ALIGN) _Atomic int32_t pid; /* 0: not running */
    _Atomic uint32_t generation;             /* incarnation, from 1; 0: never started */
    _Atomic uint32_t phase;                  /* enum shm_phase */
    _Atomic uint32_t in_work;                /* hub: ring it takes a record from, + 1; 0: none */
    _Atomic uint64_t heartbeat_ns; /* clock_ns() of its last turn; of the start before the first */
    _Atomic uint64_t started_ns;   /* wall clock */
    _Atomic uint64_t entered_ns;   /* the same moment by clock_ns() */
    _Atomic uint64_t rss_bytes;    /* a few times a second: usage_look() */
    _Atomic uint64_t open_fds;     /* counted at the start; workers add their connections */
    _Atomic uint64_t restarts;
    _Atomic uint64_t client_connections; /* worker: for the node's limit, exact */
    _Atomic uint32_t reload_wish,
        reload_what;                 /* worker: how many, and enum reload_wish of the last */
    _Atomic uint64_t staying;        /* worker: those of them that have not been asked to go */
    struct shm_wish wish;            /* worker */
    _Atomic uint64_t keys_wanted_ns; /* worker: when a token last named a key that is not there */
    struct admission_refused full;   /* worker: at config.max_connections */
    struct listener_count listeners[LISTENERS_MAX]; /* worker: by listener */
    _Atomic uint32_t stopped;        /* worker: it accepts no clients (net/overload.h) */
    _Atomic uint32_t addresses_life; /* worker: what is good in its table; 0: nothing */
    struct closes closes;            /* worker: outlives it */
    struct metrics metrics;          /* CACHE_LINE-aligned */
};

/* Sets of keys that egress has fetched, by kind of tokens. The copy in use is copies[version & 1];
 * written by egress, copied and checked by whoever reads. Outlives every process but the master. */
#define SHM_KEYS_MAX 65536
struct shm_key_set {
    char url[CONFIG_STRING_MAX]; /* where it is from; other settings do not take it */
    uint64_t fetched_ns; /* clock_ns() of the last time that it was asked for with success */
    uint32_t len;
    char text[SHM_KEYS_MAX];
};
struct shm_keys {
    _Alignas(SHM_ALIGN) _Atomic uint32_t version;
    struct shm_key_set copies[2][2];
};

struct shm {
    unsigned workers;
    uint64_t node_id; /* by chance; the node's, over all lives of its processes; not 0 */
    uint64_t ring_capacity;
    _Atomic uint32_t config_version; /* rises with each applied reload; the copy in use is
                                        configs[version & 1] */
    struct config configs[2];
    struct shm_reload reload;
    _Atomic uint32_t draining;
    struct shm_drain drain;
    _Atomic uint64_t drain_deadline_s; /* Unix time at which the drain has to be over; 0: none */
    _Atomic uint64_t listen_overflows; /* of all accept queues of the machine, since it started */
    int master_wake_fd;                /* eventfds, inherited */
    int hub_wake_fd;
    int worker_wake_fd[HUB_WORKERS_MAX];
    struct shm_slot *slots; /* SHM_WORKER + workers of them */
    struct shm_keys *keys;
    struct nodes_area *nodes;
    struct engine_shards *engine_shards; /* for the hub to write */
    struct tls_area *tls;                /* secrets: for workers to read, for others not there */
    struct addresses addresses;          /* but for `own`, which each worker sets in a copy */
    struct addresses_of address_tables[HUB_WORKERS_MAX];
    struct ring_shared *to_hub[HUB_WORKERS_MAX], *to_worker[HUB_WORKERS_MAX];
    char *traces; /* an area for the hub and one for each worker, shm_trace_stride() apart */
};

extern struct shm *shm; /* NULL in units that do not need it; written by the master alone */

/* Maps and formats everything, opens the eventfds. -1: a sentence in err. */
int shm_create(unsigned workers, uint64_t ring_capacity, char *err, size_t errcap) MUST_CHECK;
void shm_destroy(void);
/* In a child, for good: what its slot does not need is no longer writable, other workers' rings are
 * no longer there but for their heads, other workers' eventfds are closed. Exits when that cannot
 * be done. */
void shm_confine(unsigned slot);
/* Ring capacity for the configuration: a power of two, >= ring_size and >= 4 * max_message_size +
 * slack. */
uint64_t shm_ring_capacity(const struct config *c);
/* This process's slot: points `metrics` into it, zeroes its gauges, sets pid, phase STARTING. */
void shm_enter(unsigned slot);
void shm_set_phase(unsigned slot, enum shm_phase phase);
void shm_heartbeat(unsigned slot);
/* Is there to be a process in this slot? All but egress are there always. */
bool shm_slot_used(unsigned slot);
/* Egress: the set of a kind (0 or 1) from now on. */
void shm_put_keys(unsigned kind, const struct shm_key_set *set);
/* Copies the sets when they are of another version than *seen. False: they are not. */
bool shm_take_keys(uint32_t *seen, struct shm_key_set out[2]);
/* Since its last turn, as of this process's last. */
uint64_t shm_heartbeat_age_ns(unsigned slot);
/* It has made a turn within SHM_STILL_NS. */
bool shm_moves(unsigned slot);
/* It moves, is ready, and does not leave while the node stays. */
bool shm_serves(unsigned slot);
/* And has room for clients. */
bool shm_accepts(unsigned slot);
/* Is the node sending clients away, in order to stop or as ordered? */
bool shm_sends_away(void);
/* As in /debug and roostctl: "down", "starting", "ready", "draining", "hung". */
const char *shm_phase_name(unsigned slot);
/* Since the process in the slot started; not moved by changes of the wall clock. */
uint64_t shm_uptime_ns(unsigned slot);
/* Descriptors of this process, from /proc; takes as long as there are many. */
uint64_t shm_count_fds(void);
/* "master", "hub", "worker0": as in logs, metrics and /debug. Returns out. */
const char *shm_slot_name(unsigned slot, char *out, size_t cap);
/* Copies the configuration of the current version into `config`; false when it had been taken
 * before. */
bool shm_take_config(void);
/* In the master: into the copy that is not in use, then the version makes it the one in use. Without what only the hub
 * has to know. */
void shm_put_config(uint32_t version, const struct config *c);
/* Sum over all slots. */
void shm_sum_metrics(struct metrics *out);
uint64_t shm_node_connections(void);
/* Of a listener, by all workers but one (UINT_MAX: by all); added to what is there. */
void shm_listener_others(unsigned listener, unsigned worker, struct listener_others *out);
/* In the master: the process of the slot has ended; what it held is no more. */
void shm_forget(unsigned slot);
uint32_t shm_hub_generation(void);
/* What the hub, or a worker, tells of connections and channels that are traced. */
size_t shm_trace_stride(void);
struct trace_area *shm_trace_area(unsigned slot);
/* In the hub or a worker: it looks for requests from now on. */
void shm_trace_open(unsigned slot);
void shm_wake(int fd);

#endif
