/* proc/usage.h - what processes take, without a file being opened when somebody asks. */
#ifndef ROOST_PROC_USAGE_H
#define ROOST_PROC_USAGE_H

#include "base/common.h"

struct process_usage {
    uint64_t rss_bytes; /* as of the process's last look, at most half a second ago if it moves */
    double cpu_seconds;
};

/* Of the process in a slot; 0: there is none. */
void process_usage_read(unsigned slot, struct process_usage *out);
/* In a process, before it is confined: opens what usage_look() reads. Without /proc nothing is
 * known. */
void usage_open(unsigned slot);
/* Tells the slot; in the master also what the kernel counts for the node. At every tick, or a few
 * times a second. */
void usage_look(void);

#endif
