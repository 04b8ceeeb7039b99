/* base/clock.c - cached time. */
#include "base/clock.h"

#include <time.h>

static uint64_t cached_ns, cached_wall_ns, latest_ns, virtual_ns;

static uint64_t ask(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

void clock_refresh(void)
{
    if (virtual_ns != 0)
        return;
    cached_ns = ask(CLOCK_MONOTONIC);
    cached_wall_ns = ask(CLOCK_REALTIME);
}

uint64_t clock_ns(void)
{
    return cached_ns;
}

uint64_t clock_wall_ns(void)
{
    return cached_wall_ns;
}

uint64_t clock_precise_ns(void)
{
    latest_ns = virtual_ns != 0 ? virtual_ns : ask(CLOCK_MONOTONIC);
    return latest_ns;
}

uint64_t clock_latest_ns(void)
{
    return latest_ns;
}

void clock_set_virtual(uint64_t ns)
{
    virtual_ns = cached_ns = cached_wall_ns = ns;
    clock_refresh();
}

void clock_advance(uint64_t ns)
{
    clock_set_virtual(virtual_ns + ns);
}
