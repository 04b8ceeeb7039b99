/* base/boot.c - descriptors 0 to 2, dispositions, the signal mask. */
#include "base/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

/* open(2) takes the lowest free number, and those below are in use by now. Without /dev the number
 * is only occupied: what is written there fails. */
static void occupy(int fd)
{
    if (fcntl(fd, F_GETFD) != -1 || errno != EBADF)
        return;
    if (open("/dev/null", O_RDWR) == -1 && open("/", O_PATH | O_DIRECTORY) == -1)
        _exit(1); /* UNTESTED: no descriptor is allowed at all, and nobody can be told */
}

static void reset_dispositions(int keep_ignored)
{
    struct sigaction now;

    for (int sig = 1; sig < NSIG; sig++) {
        if (sig == keep_ignored && sigaction(sig, NULL, &now) == 0 && now.sa_handler == SIG_IGN)
            continue;
        signal(sig, SIG_DFL); /* KILL, STOP and libc's own refuse, as they may */
    }
}

static void orders(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGHUP);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGQUIT);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGUSR1);
}

static void set_mask(int how)
{
    sigset_t set;

    orders(&set);
    sigprocmask(how, &set, NULL);
}

void boot_process(int keep_ignored)
{
    for (int fd = 0; fd <= 2; fd++)
        occupy(fd);
    boot_hold(); /* before their default action can end us; what waits goes on waiting */
    reset_dispositions(keep_ignored);
    set_mask(SIG_SETMASK);
}

void boot_hold(void)
{
    set_mask(SIG_BLOCK);
}

void boot_release(void)
{
    set_mask(SIG_UNBLOCK);
}
