/* proc/sandbox.h (sandbox.c, sandbox_calls.c, sandbox_files.c, privileges.c) - what a process gives up for good once it has begun its work: new rights by
 * programs (no_new_privs), capabilities, system calls (tbl/sandbox.def), files and signals beyond
 * its own (Landlock), core dumps.
 *
 * Happy path: 1. the master opens listeners, log and pid file 2. sandbox_prepare() 3.
 * privileges_drop() 4. sandbox_enter(SANDBOX_MASTER) 5. it forks; each child opens what it needs
 * and calls sandbox_enter() with its kind. What was entered cannot be left, and is inherited. */
#ifndef ROOST_PROC_SANDBOX_H
#define ROOST_PROC_SANDBOX_H

#include "base/config.h"

enum sandbox_kind {
    SANDBOX_MASTER = 0,
    SANDBOX_HUB,
    SANDBOX_HUB_ENGINE, /* one whose engine has servers */
    SANDBOX_EGRESS,
    SANDBOX_WORKER,
    SANDBOX_KIND_NR
};

/* Makes the filters, so that children only install them. What this kernel does not know is said in
 * a line and done without; config.sandbox false, a sanitizer in the program, or valgrind around it, leaves filters and
 * Landlock away. -1: no memory. */
int sandbox_prepare(void) MUST_CHECK;
/* For this process, for good. Exits when what the kernel knows cannot be done. */
void sandbox_enter(enum sandbox_kind kind);

/* sandbox_calls.c */
int sandbox_calls_prepare(void) MUST_CHECK;
/* -1 with errno: the kernel refuses. */
int sandbox_calls_restrict(enum sandbox_kind kind) MUST_CHECK;

/* sandbox_files.c */
/* The version of the kernel's Landlock; 0: it has none. */
int sandbox_files_version(void);
/* Folders in which the master writes are those of config. -1 with errno. */
int sandbox_files_restrict(enum sandbox_kind kind) MUST_CHECK;

/* privileges.c */
/* Does config name a user and group that are there and that this process may become? Appends
 * lines; their number. */
int privileges_check(const struct config *c, struct buf *errors);
/* Becomes config.user and config.group, whose the log and pid file are then, and gives all
 * capabilities up. -1: said why on stderr. */
int privileges_drop(void) MUST_CHECK;

#endif
