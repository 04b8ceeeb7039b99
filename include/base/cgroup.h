/* base/cgroup.h - what control groups (containers, CPUQuota=, MemoryMax=, TasksMax=) leave to a process, v1 and v2:
 * the least of its own group's limits and of those above it, as far as they are mounted; 0: none.
 *
 * root: the folder that proc and sys are found under, "" but in tests. process: CGROUP_SELF or the text of a number. */
#ifndef ROOST_BASE_CGROUP_H
#define ROOST_BASE_CGROUP_H

#include "base/common.h"

#define CGROUP_SELF "self"

/* The CPU quota, rounded up to whole cores. */
unsigned cgroup_cores(const char *root, const char *process);
/* Bytes. */
uint64_t cgroup_memory(const char *root, const char *process);
/* Processes and threads. */
uint64_t cgroup_tasks(const char *root, const char *process);

#endif
