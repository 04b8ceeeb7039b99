/* proc/supervisor.h - the master: listeners, shared memory, fork, signals, respawn, drain.
 *
 * Children are restarted at once after a first death, then after 100 ms doubling to 30 s while they
 * keep dying within 10 s of their start. Signals: TERM and INT drain (a second one kills), HUP
 * reloads all or nothing, USR1 reopens the log, QUIT as TERM. Children notice the master's death by
 * the end of file of a pipe. */
#ifndef ROOST_PROC_SUPERVISOR_H
#define ROOST_PROC_SUPERVISOR_H

#include "core/hub.h"
#include "net/listener.h"
#include "proc/config_load.h"

struct supervisor_listeners {               /* inherited by workers */
    unsigned n;                             /* of config.listener */
    bool shared[LISTENERS_MAX];             /* one socket for all workers, in fd[k][0] */
    bool passed[LISTENERS_MAX];             /* and it is the parent's too */
    int fd[LISTENERS_MAX][HUB_WORKERS_MAX]; /* one for each worker; -1: none, or none any more */
};
extern struct supervisor_listeners supervisor_listeners;

/* Where a listener listens, with its port; borrowed. */
const struct address *supervisor_listener_address(unsigned listener);

/* Runs the daemon in the foreground until it is told to stop; returns the exit status. src is kept
 * for reloads. Orders are held (base/boot.h) when it is called, and released when it has handlers
 * for them. */
int supervisor_run(const struct config_source *src);

/* In a child, once it has handlers for its signals: those sent since the fork arrive now. */
void child_take_signals(void);

#endif
