/* tests/lib/fault.c - see fault.h. */
#include "fault.h"

#include <errno.h>
#include <stddef.h>

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static unsigned long count, fail_at; /* fail_at 0: never */

void fault_fail_at(unsigned long k)
{
    count = 0;
    fail_at = k;
}

void fault_reset(void)
{
    fault_fail_at(0);
}

unsigned long fault_count(void)
{
    return count;
}

static int fails(void)
{
    if (++count != fail_at)
        return 0;
    errno = ENOMEM;
    return 1;
}

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}
