/* proc/supervisor_internal.h - what supervisor.c and the supervisor_*.c share. */
#ifndef ROOST_PROC_SUPERVISOR_INTERNAL_H
#define ROOST_PROC_SUPERVISOR_INTERNAL_H

#include <ev.h>

#include "proc/shm.h"
#include "proc/supervisor.h"

struct child {
    ev_child watcher;
    ev_timer restart; /* armed while its next start waits */
    unsigned slot;    /* in shm->slots */
    pid_t pid;        /* 0: not running */
    uint64_t started_ns;
    unsigned crashes;  /* in a row, each within CHILD_STABLE_NS of its start */
    uint64_t beat_ns;  /* supervisor_watch.c: the last heartbeat seen, */
    uint64_t still_ns; /* how long it has been watched since, and this incarnation of it */
    uint64_t hung_ns;
    bool told;   /* that it does not serve */
    bool killed; /* this incarnation, for that */
};

struct supervisor {
    struct ev_loop *loop;
    struct child child[SHM_WORKER + HUB_WORKERS_MAX]; /* by slot; SHM_MASTER is unused */
    unsigned running;                                 /* children alive */
    int life_pipe[2]; /* nobody writes; children see its end when the master is gone */
    bool draining, said_ready;
    const struct config_source *source;
    ev_signal term, intr, quit, hup, usr1;
    ev_timer tick, deadline; /* heartbeat; the end of patience in a drain */
    uint64_t watched_ns;     /* of the last children_watch() */
    struct supervisor_listener {
        struct address address; /* with its port */
        dev_t device;           /* of a UNIX socket's file */
        ino_t inode;
    } listener[LISTENERS_MAX];
};
extern struct supervisor supervisor;

/* supervisor_children.c */
void children_init(void);
/* Forks the child of a slot. -1: fork failed (logged), a restart is armed. */
int child_start(unsigned slot);
/* All that are wanted. */
void children_start(void);
/* After config has changed: starts or stops what is wanted only by some settings. */
void children_reloaded(void);
void children_signal(int sig, bool hub_too);
bool children_ready(void);

/* supervisor_watch.c */
/* Looks at all heartbeats: says who stops serving and who serves again, kills what hangs. At every
 * tick. */
void children_watch(void);

/* supervisor_listen.c */
int listeners_open(void);
/* Closes this process's copies. */
void listeners_close(void);
/* Ends them, whoever holds a copy. */
void listeners_shut_client(void);
/* At the end: all that are left. */
void listeners_shut(void);
/* Of a worker that will not come back: what waits in its queues is refused rather than left
 * waiting. */
void listeners_shut_worker(unsigned worker);
void supervisor_print_hints(void);

/* supervisor_pid.c */
/* Locks and writes config.pid_file, if there is to be one. -1: said why on stderr. */
int pid_file_take(void) MUST_CHECK;
/* At the end: removes it, unless somebody has put another in its place. */
void pid_file_remove(void);
/* -1: there is none. */
int pid_file_fd(void);
/* In a new child: the file is the master's. */
void pid_file_close(void);

/* supervisor_notify.c: what the service manager is told; nothing, where there is none */
/* At the start, before the process is confined. */
void notify_open(void);
/* In a new child: the word is the master's. */
void notify_close(void);
/* The node serves, for the first time or after a reload; status: a line for people. */
void notify_ready(const char *status);
void notify_reloading(void);
/* Clients are being closed: it may take that long from now, whatever the unit says. */
void notify_stopping(uint64_t patience_ns);
/* At every tick: that the master lives, and how many connections there are. */
void notify_tick(void);

/* supervisor_drain.c: what an operator orders (proc/drain.h) */
void supervisor_drain_watch(void);
/* It is over, or something else takes its place. */
void supervisor_drain_end(void);

/* supervisor_reload.c */
/* All or nothing, as at SIGHUP; the service manager is told. */
void supervisor_reload(void);
/* At every tick: as workers wish (proc/reload.h). */
void supervisor_reload_wished(void);
/* Logs what is in force and hardly meant. */
void supervisor_warn_settings(void);

/* supervisor_report.c: what a reload has come to. Lists are lines, names as of config_diff(). */
struct reload_report {
    const char *result; /* "applied", "unchanged", "refused", "needs_restart" */
    bool look;          /* it is only what would be; `result` too */
    bool lost;          /* a line, for lack of memory */
    bool certificates;  /* others are in their files */
    struct buf changed, restart, errors, warnings, settings; /* settings: JSON */
};
/* As JSON into shared memory. */
void report_publish(const struct reload_report *r);
void report_clear(struct reload_report *r);

/* supervisor_capacity.c */
/* Raises RLIMIT_NOFILE, says what `auto` has come to. -1: said on stderr why none can work. */
int supervisor_decide_workers(void) MUST_CHECK;
/* Lowers a max_connections that nobody has set to what so many workers can hold, and sets the limits of memory that are auto. */
void supervisor_fit_capacity(struct config *c, unsigned workers);
/* Warns when they cannot hold config.max_connections, or memory does not suffice for the settings. */
void supervisor_check_capacity(unsigned workers);

/* supervisor.c */
/* As at SIGTERM: closes all clients over config.drain_time, and ends. */
void supervisor_stop(void);
void supervisor_child_gone(unsigned slot);
/* In a new child: gives the signals back. */
void supervisor_unwatch(void);

#endif
