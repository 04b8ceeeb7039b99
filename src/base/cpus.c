/* base/cpus.c - affinity mask and cgroup quota. */
#include "base/cpus.h"

#include <errno.h>
#include <sched.h>
#include <unistd.h>

#include "base/cgroup.h"

#define CPUS_MAX 65536 /* that a mask is tried for: the kernel wants room for all it could have */

unsigned cpus_affinity(void)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);

    for (size_t n = CPU_SETSIZE; n <= CPUS_MAX; n *= 2) {
        size_t bytes = CPU_ALLOC_SIZE(n);
        cpu_set_t *set = CPU_ALLOC(n);
        int count = 0;

        if (set == NULL)
            break;
        if (sched_getaffinity(0, bytes, set) == 0)
            count = CPU_COUNT_S(bytes, set);
        CPU_FREE(set);
        if (count > 0)
            return (unsigned)count;
        if (errno != EINVAL) /* EINVAL: the kernel knows more processors than that */
            break;
    }
    return online > 0 ? (unsigned)online : 1;
}

unsigned cpus_usable(const char *root)
{
    unsigned mask = cpus_affinity(), quota = cgroup_cores(root, CGROUP_SELF);

    return quota != 0 ? MIN(mask, quota) : mask;
}
