/* proc/supervisor_pid.c - the pid file: a lock that the master holds for its life.
 *
 * The lock is the process's (fcntl), so children do not keep it when the master is killed, and
 * whoever is refused can be told who has it. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "supervisor_internal.h"

static int pid_fd = -1;

static int refuse(const char *why)
{
    fprintf(stderr, "roostd: pid_file %s: %s\n", config.pid_file, why);
    return -1;
}

static int refuse_second(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char why[96] = "another process has it; is roostd running already?";

    if (fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK && lock.l_pid > 0)
        snprintf(why, sizeof(why), "process %d has it; is roostd running already?",
                 (int)lock.l_pid);
    return refuse(why);
}

/* Is the name still that of the open file? Whoever had it before may just have removed it. */
static bool is_ours(int fd)
{
    struct stat open_file, named;

    return fstat(fd, &open_file) == 0 && stat(config.pid_file, &named) == 0 &&
           open_file.st_dev == named.st_dev && open_file.st_ino == named.st_ino;
}

static int write_pid(int fd)
{
    char text[16];
    int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());

    if (ftruncate(fd, 0) == -1 || pwrite(fd, text, (size_t)n, 0) != n)
        return refuse(strerror(errno));
    return 0;
}

static int lock_file(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct stat st;

    if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode))
        return refuse("is no regular file");
    if (fcntl(fd, F_SETLK, &lock) == -1)
        return errno == EACCES || errno == EAGAIN ? refuse_second(fd) : refuse(strerror(errno));
    return 0;
}

int pid_file_take(void)
{
    int fd;

    if (config.pid_file[0] == '\0')
        return 0;
    for (;;) {
        fd = open(config.pid_file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0644);
        if (fd == -1)
            return refuse(strerror(errno));
        if (lock_file(fd) == -1)
            break;
        if (is_ours(fd)) {
            if (write_pid(fd) == -1)
                break;
            pid_fd = fd;
            return 0;
        }
        close(fd);
    }
    close(fd);
    return -1;
}

void pid_file_remove(void)
{
    if (pid_fd == -1)
        return;
    /* Under the lock: nobody can take the file between the look and the removal. Where another user
     * has started the daemon the folder may be closed to this one: an empty file is left. */
    if (is_ours(pid_fd) && unlink(config.pid_file) == -1 && ftruncate(pid_fd, 0) == -1)
        LOG(LOG_WARN, "the pid file cannot be removed", KV_S("file", config.pid_file),
            KV_ERRNO(errno));
    pid_file_close();
}

int pid_file_fd(void)
{
    return pid_fd;
}

void pid_file_close(void)
{
    if (pid_fd != -1)
        close(pid_fd);
    pid_fd = -1;
}
