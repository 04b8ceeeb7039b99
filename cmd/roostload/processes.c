/* processes.c - see processes.h. */
#include "processes.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine.h"

#define STOP_WAIT_MS 10000

int processes_start(void)
{
    load_shared->coordinator = getpid();
    for (unsigned p = 0; p < load_shared->processes; p++) {
        pid_t pid = fork();

        if (pid == -1) {
            fprintf(stderr, "roostload: fork: %s\n", strerror(errno));
            atomic_store(&load_shared->phase, LOAD_STOP);
            return -1;
        }
        if (pid == 0)
            _exit(engine_run(p));
        load_shared->slots[p].pid = pid;
    }
    return 0;
}

static unsigned running(void)
{
    unsigned n = 0;

    for (unsigned p = 0; p < load_shared->processes; p++)
        n += load_shared->slots[p].pid > 0;
    return n;
}

/* The next of ours that has ended, 0: none. */
static pid_t reap(int *status)
{
    pid_t pid;

    while ((pid = waitpid(-1, status, WNOHANG)) > 0) {
        for (unsigned p = 0; p < load_shared->processes; p++) {
            if (load_shared->slots[p].pid != pid)
                continue;
            load_shared->slots[p].pid = 0;
            return pid;
        }
    }
    return 0;
}

bool processes_died(void)
{
    int status;
    pid_t pid = reap(&status);

    if (pid == 0)
        return false;
    fprintf(stderr, "roostload: load process %d ended early (%s %d)\n", (int)pid,
            WIFSIGNALED(status) ? "signal" : "status",
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return true;
}

void processes_collect(void)
{
    int status;

    for (int waited = 0; waited < STOP_WAIT_MS; waited += 20) {
        while (reap(&status) > 0)
            ;
        if (running() == 0)
            return;
        poll(NULL, 0, 20);
    }
    for (unsigned p = 0; p < load_shared->processes; p++) {
        pid_t pid = load_shared->slots[p].pid;

        if (pid <= 0)
            continue;
        kill(pid, SIGKILL);
        if (waitpid(pid, &status, 0) == pid)
            load_shared->slots[p].pid = 0;
    }
}
