/* base/dumps.c - see dumps.h. */
#include "base/dumps.h"

#include <sys/mman.h>
#include <unistd.h>

void dumps_leave_out(const void *at, size_t bytes)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)at & ~(page - 1);
    uintptr_t to = ((uintptr_t)at + bytes + page - 1) & ~(page - 1);

    /* A kernel that cannot dumps nothing either: it was built without. */
    (void)madvise((void *)from, to - from, MADV_DONTDUMP);
}
