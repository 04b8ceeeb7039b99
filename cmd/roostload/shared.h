/* shared.h - what the coordinator and its load processes share: orders down, counts up.
 *
 * One anonymous mapping made before the fork. Each load process writes its own slot with plain
 * stores; the coordinator only reads them. */
#ifndef ROOSTLOAD_SHARED_H
#define ROOSTLOAD_SHARED_H

#include <netinet/in.h>
#include <stdatomic.h>

#include "hdr.h"
#include "options.h"

#define LOAD_TARGETS_MAX   64
#define LOAD_PROCESSES_MAX 1024
#define LOAD_ATTEMPTS_MAX  3 /* failed ones in a row, then a user gives up */
#define LOAD_SOURCES       4 /* addresses of 127.0.0.0/8 that each process connects from */

enum load_phase { /* set by the coordinator */
                  LOAD_RAMP = 0,
                  LOAD_RUN,   /* the scenario's traffic flows */
                  LOAD_GRACE, /* no new messages; what is under way arrives */
                  LOAD_STOP   /* close and exit */
};

struct load_target {
    struct sockaddr_storage address;
    socklen_t address_len;
    bool tls;
    char name[256];  /* host without the port: SNI, certificate */
    char host[300];  /* for the Host field */
    char path[1024]; /* with templates */
};

struct load_metrics { /* single writer */
#define COUNTER(member, label, meaning) uint64_t member;
#define LATENCY(member, label, meaning) struct hdr member;
#include "load_metrics.def"
#undef COUNTER
#undef LATENCY
};

struct load_counts { /* what has been counted in some time; gaps may be filled again: signed */
#define COUNTER(member, label, meaning) int64_t member;
#define LATENCY(member, label, meaning)
#include "load_metrics.def"
#undef COUNTER
#undef LATENCY
};

/* Attempts that came to nothing, and servers that broke the protocol. */
#define LOAD_FAILURES(m)                                                                           \
    ((m)->connect_failed + (m)->not_answered + (m)->tls_failed + (m)->connect_timeout +            \
     (m)->upgrade_refused + (m)->turned_away + (m)->protocol_errors)

struct load_slot {
    _Atomic uint64_t ready;        /* connections ready now */
    _Atomic uint64_t connecting;   /* attempts under way */
    _Atomic uint64_t given_up;     /* users whose attempts all failed */
    _Atomic uint64_t storm_ns;     /* when this process dropped its share, 0: nobody yet */
    _Atomic uint64_t recovered_ns; /* when all of those were back */
    _Atomic uint32_t first_status; /* HTTP status of the first refusal, 0: none yet */
    pid_t pid;                     /* the coordinator's own: 0 when it does not run */
    char tls_failure[256];         /* of the first attempt that ended there; "": none has */
    char protocol_error[128];      /* the first one; "": there was none */
    struct load_metrics m;
};

struct load_shared {
    struct options options;
    pid_t coordinator;
    unsigned processes;
    unsigned ntargets;
    struct load_target targets[LOAD_TARGETS_MAX];
    uint32_t run_id; /* in every payload: tells this run's messages from others */
    _Atomic uint32_t phase;
    /* CLOCK_MONOTONIC, known a little before; what is due from start to before end is the load,
     * however busy the machine is. */
    _Atomic uint64_t run_start_ns, run_end_ns;
    uint64_t users;      /* subscribers and publishers together */
    uint64_t publishers; /* the last ones of the users */
    uint64_t channels;
    _Atomic uint32_t *sent; /* last sequence by (publisher, channel); sent_count of them */
    uint64_t sent_count;
    bool tail_unchecked; /* too many pairs for that: what is lost at the end is not found */
    struct load_slot *slots;
};

extern struct load_shared *load_shared;

/* -1: no memory. */
int load_shared_create(const struct options *o, unsigned processes, uint64_t sent_count) MUST_CHECK;
void load_metrics_add(struct load_metrics *dst, const struct load_metrics *src);
/* out = now - before */
void load_counts_between(struct load_counts *out, const struct load_metrics *before,
                         const struct load_metrics *now);
void load_counts_add(struct load_counts *dst, const struct load_counts *src);
void load_sum(struct load_metrics *out, uint64_t *ready, uint64_t *connecting, uint64_t *given_up);

/* First user of process p when `users` are spread over `processes`. */
uint64_t load_first_user(uint64_t users, unsigned processes, unsigned p);

#endif
