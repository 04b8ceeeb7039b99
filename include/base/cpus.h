/* base/cpus.h - how many cores this process may use, which is less than the machine has where an
 * affinity mask (taskset, cpusets) or the CPU quota of a cgroup (containers, CPUQuota=) says so. */
#ifndef ROOST_BASE_CPUS_H
#define ROOST_BASE_CPUS_H

#include "base/common.h"

/* Cores of the affinity mask or of the quota, whichever is fewer; at least 1. root: the folder that
 * proc and sys are found under, "" but in tests. */
unsigned cpus_usable(const char *root);
/* Of the mask alone. */
unsigned cpus_affinity(void);

#endif
