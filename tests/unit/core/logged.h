/* What is logged between logged_begin() and logged_end(), for tests of what the log must not say. */
#ifndef ROOST_TEST_LOGGED_H
#define ROOST_TEST_LOGGED_H

#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"

static int logged_fd;

static void logged_begin(void)
{
    logged_fd = memfd_create("log", MFD_CLOEXEC);
    assert_true(logged_fd != -1);
    log_take(dup(logged_fd));
}

/* Until the next one. */
static const char *logged_end(void)
{
    static char text[16384];
    ssize_t n = pread(logged_fd, text, sizeof(text) - 1, 0);

    assert_true(n >= 0);
    text[n] = '\0';
    log_take(dup(STDERR_FILENO));
    close(logged_fd);
    return text;
}

#endif
