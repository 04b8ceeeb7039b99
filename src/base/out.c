/* base/out.c - standard output, with its errors. */
#include "base/out.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <unistd.h>

static int failed; /* errno of the first write that failed */

static void note(bool good)
{
    if (!good && failed == 0)
        failed = errno != 0 ? errno : EIO;
}

void out_write(struct str s)
{
    note(s.n == 0 || fwrite(s.p, 1, s.n, stdout) == s.n);
}

void out_printf(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    note(vfprintf(stdout, fmt, ap) >= 0);
    va_end(ap);
}

bool out_flush(void)
{
    note(fflush(stdout) == 0);
    if (ferror(stdout) && failed == 0)
        failed = EIO; /* by plain stdio: the reason is forgotten */
    return failed == 0;
}

bool out_is_gone(void)
{
    struct pollfd p = {.fd = STDOUT_FILENO};

    if (failed == 0 && poll(&p, 1, 0) == 1 && (p.revents & POLLERR) != 0)
        failed = EPIPE;
    return failed != 0;
}

int out_finish(const char *program, int status)
{
    if (out_flush() || failed == EPIPE)
        return status;
    fprintf(stderr, "%s: standard output: %s\n", program, strerror(failed));
    return status != 0 ? status : 1;
}
