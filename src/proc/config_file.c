/* proc/config_file.c - files that settings come from: never waits for somebody to open the other
 * end, never reads what is no file. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "config_internal.h"

#define PIPE_WAIT_MS 5000 /* for each part of a pipe */
#define KEY_MAX      4096

void config_report(struct buf *errors, const char *where, const char *text)
{
    if (buf_printf(errors, "%s: %s\n", where, text) == -1)
        return;
}

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

static int read_all(int fd, const char *path, size_t max, struct buf *text, struct buf *errors)
{
    bool late = false;
    ssize_t got;

    for (;;) {
        if (buf_reserve(text, 4096) == -1) {
            config_report(errors, path, "out of memory");
            return -1;
        }
        got = read_some(fd, text->p + text->len, text->cap - text->len, &late);
        if (got == -1) {
            config_report(errors, path, strerror(errno));
            return -1;
        }
        if (late) {
            config_report(errors, path, "is a pipe into which nobody writes");
            return -1;
        }
        if (got == 0)
            return 0;
        text->len += (size_t)got;
        if (text->len > max) {
            if (buf_printf(errors, "%s: is larger than %zu KiB\n", path, max / 1024) == -1)
                return -1;
            return -1;
        }
    }
}

int config_read_file(const char *path, size_t max, bool *pipe, struct buf *text, struct buf *errors)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY), rc = -1;
    const char *why;
    struct stat st;

    if (fd == -1 || fstat(fd, &st) == -1) {
        config_report(errors, path, strerror(errno));
        if (fd != -1)
            close(fd);
        return -1;
    }
    why = refusal(&st, pipe);
    if (why != NULL)
        config_report(errors, path, why);
    else
        rc = read_all(fd, path, max, text, errors);
    if (rc == 0 && S_ISFIFO(st.st_mode))
        *pipe = true;
    close(fd);
    return rc;
}

int config_read_key(struct config *c, struct buf *errors)
{
    int row = config_row_find(STR_LIT("api_key"));
    struct buf text = {0};
    struct str key;
    char err[256];
    int rc = -1;

    if (c->api_key_file[0] == '\0')
        return 0;
    if (c->set.api_key && c->api_key[0] != '\0') {
        config_report(errors, "api_key_file",
                      "api_key is set as well; remove one of them, or it is unclear which counts");
        return -1;
    }
    if (config_read_file(c->api_key_file, KEY_MAX, NULL, &text, errors) == -1)
        goto out;
    key = buf_view(&text);
    if (key.n > 0 && key.p[key.n - 1] == '\n')
        key.n--;
    if (key.n > 0 && key.p[key.n - 1] == '\r')
        key.n--;
    if (key.n == 0)
        config_report(errors, c->api_key_file, "api_key_file is empty");
    else if (table_set(&config_table, c, (size_t)row, key, err, sizeof(err)) == -1)
        config_report(errors, c->api_key_file, err);
    else
        rc = 0;
    c->set.api_key = false; /* the file is what is set */
out:
    buf_fini(&text);
    return rc;
}
