/* base/nofile.c - RLIMIT_NOFILE. */
#include "base/nofile.h"

#include <sys/resource.h>

#define NOFILE_USUAL 1024 /* where nobody says */

uint64_t nofile_raise(void)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) == -1)
        return NOFILE_USUAL; /* UNTESTED: it cannot fail for a known limit */
    if (r.rlim_cur < r.rlim_max) {
        const rlim_t before = r.rlim_cur;

        r.rlim_cur = r.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &r) == -1)
            return before; /* UNTESTED: a sandbox may forbid it */
    }
    return r.rlim_cur;
}
