/* base/read_whole_file.c - never waits for somebody to open the other end, never reads what is no
 * file.
 */
#include "base/read_whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define PIPE_WAIT_MS 5000 /* for each part of a pipe */

static bool is_dev_null(const struct stat *st)
{
    return S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 3);
}

/* NULL, or why a file of this kind is not read. */
static const char *refusal(const struct stat *st, const bool *pipe)
{
    if (S_ISREG(st->st_mode))
        return NULL;
    if (S_ISDIR(st->st_mode))
        return "is a folder";
    if (pipe == NULL)
        return "is not a regular file";
    return S_ISFIFO(st->st_mode) || is_dev_null(st) ? NULL : "is neither a regular file nor a pipe";
}

/* One read. 0: the end, or nothing has come in time, which *late tells. */
static ssize_t read_some(int fd, char *p, size_t n, bool *late)
{
    struct pollfd in = {.fd = fd, .events = POLLIN};
    ssize_t got;
    int ready;

    /* A pipe that nobody has opened for writing yet would say "the end" at once. */
    do
        ready = poll(&in, 1, PIPE_WAIT_MS);
    while (ready == -1 && errno == EINTR);
    if (ready == 0) {
        *late = true;
        return 0;
    }
    do
        got = read(fd, p, n);
    while (got == -1 && errno == EINTR);
    return got;
}

static int fail(const char *what, char *err, size_t errcap)
{
    snprintf(err, errcap, "%s", what);
    return -1;
}

static int read_all(int fd, size_t max, struct buf *text, char *err, size_t errcap)
{
    bool late = false;
    ssize_t got;

    for (;;) {
        if (buf_reserve(text, 4096) == -1)
            return fail("out of memory", err, errcap);
        got = read_some(fd, text->p + text->len, text->cap - text->len, &late);
        if (got == -1)
            return fail(strerror(errno), err, errcap);
        if (late)
            return fail("is a pipe into which nobody writes", err, errcap);
        if (got == 0)
            return 0;
        text->len += (size_t)got;
        if (text->len > max) {
            snprintf(err, errcap, "is larger than %zu %s", max < 1024 ? max : max / 1024,
                     max < 1024 ? "bytes" : "KiB");
            return -1;
        }
    }
}

int read_whole_file(const char *path, size_t max, bool *pipe, struct buf *text, char *err,
                    size_t errcap)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY), rc = -1, error = errno;
    const char *why;
    struct stat st;

    if (fd == -1) {
        fail(strerror(error), err, errcap);
        errno = error;
        return -1;
    }
    if (fstat(fd, &st) == -1) {
        fail(strerror(errno), err, errcap);
        close(fd);
        errno = EIO;
        return -1;
    }
    why = refusal(&st, pipe);
    if (why != NULL)
        fail(why, err, errcap);
    else
        rc = read_all(fd, max, text, err, errcap);
    if (rc == 0 && S_ISFIFO(st.st_mode))
        *pipe = true;
    close(fd);
    errno = EINVAL;
    return rc;
}
