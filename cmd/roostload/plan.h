/* plan.h - can this run work on this machine? Targets, descriptors, ports, processes, before
 * anything starts (plan.c; plan_check.c says what does not go together). */
#ifndef ROOSTLOAD_PLAN_H
#define ROOSTLOAD_PLAN_H

#include "shared.h"

/* Resolves and checks everything and creates load_shared. -1: lines for the user in errors, with
 * the arithmetic and the fix. */
int plan_make(const struct options *o, struct buf *errors) MUST_CHECK;

struct plan_limits { /* of this machine; tests give their own */
    uint64_t nofile; /* descriptors per process */
    uint64_t ports;  /* per source address and address and port of a target */
    unsigned cores;
    uint64_t memory; /* bytes available; 0: not known */
};
void plan_limits_read(struct plan_limits *l);
/* Processes for `users`; 0 with a line in errors when it cannot work. */
unsigned plan_processes(const struct options *o, uint64_t users, const struct plan_limits *l,
                        struct buf *errors);
/* Are there local ports for them all? -1 with a line in errors when not. */
int plan_ports(const struct options *o, uint64_t users, const struct plan_limits *l,
               unsigned processes, const struct load_target *targets, unsigned n,
               struct buf *errors) MUST_CHECK;
/* Is there memory for the connections, and for what their subscribers keep of each publisher?
 * both_ends: the server's sockets are on this machine too. -1 with a line in errors when not. */
int plan_memory(const struct options *o, uint64_t users, const struct plan_limits *l,
                bool both_ends, struct buf *errors) MUST_CHECK;
/* Leaves each line in the list once; how many these are. */
unsigned plan_distinct(char *list);

/* plan_check.c: what can be known about the options without the network. -1: lines in errors. */
int plan_check(const struct options *o, struct buf *errors) MUST_CHECK;
/* After which time of the run connections drop at once, ns; 0: never. */
int64_t plan_storm_after(const struct options *o);

#endif
