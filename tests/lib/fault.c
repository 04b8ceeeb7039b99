/* tests/lib/fault.c - see fault.h. */
#include "fault.h"

#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FRAMES 12    /* of a call, that tell one place from another */
#define PLACES 65536 /* at most, a power of two; what does not fit is not told apart */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static unsigned long count, fail_at; /* fail_at 0: never */

/* Of a whole program, as FAULT_PLACES and FAULT_AT of the environment ask for (tests/faults/faults.py). */
static unsigned long total, fail_total;
static int places = -1; /* where new places are written to */
static uint64_t seen[PLACES];

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

__attribute__((constructor)) static void from_environment(void)
{
    const char *path = getenv("FAULT_PLACES"), *at = getenv("FAULT_AT");

    if (path != NULL)
        places = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (at != NULL)
        fail_total = strtoul(at, NULL, 10);
}

static void say_frames(const char *what)
{
    void *frame[64];
    int n = backtrace(frame, 64);

    dprintf(STDERR_FILENO, "fault: %s\n", what);
    backtrace_symbols_fd(frame, n, STDERR_FILENO);
    dprintf(STDERR_FILENO, "fault: that was all\n");
}

static void on_crash(int sig)
{
    say_frames(strsignal(sig));
    _exit(98);
}

/* From here on a crash is told with its frames; cmocka would take it for a failed test. */
static void say_failure(void)
{
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};

    for (size_t i = 0; i < sizeof(crashes) / sizeof(*crashes); i++)
        signal(crashes[i], on_crash);
    say_frames("no memory");
}

/* Notes the first allocation of each place, that is, of each way by which it was come to. */
static void note_place(void)
{
    void *frame[FRAMES];
    int n = backtrace(frame, FRAMES);
    uint64_t h = UINT64_C(14695981039346656037);
    size_t i;

    for (int k = 2; k < n; k++)
        h = (h ^ (uint64_t)(uintptr_t)frame[k]) * UINT64_C(1099511628211);
    h |= 1;
    for (i = h >> 40 & (PLACES - 1); seen[i] != 0; i = (i + 1) & (PLACES - 1))
        if (seen[i] == h)
            return;
    seen[i] = h;
    dprintf(places, "%lu\n", total);
}

static int fails(void)
{
    total++;
    if (places != -1 && fail_at == 0)
        note_place();
    if (++count != fail_at && total != fail_total)
        return 0;
    if (total == fail_total)
        say_failure();
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
