/* proc/supervisor_children.c - starting processes and starting them again.
 *
 * A child that dies is started at once after a first death; when it keeps dying soon after its
 * start, after 100 ms, 200 ms, ... up to 30 s. */
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "proc/egress.h"
#include "proc/hub_process.h"
#include "proc/orders.h"
#include "proc/worker.h"
#include "supervisor_internal.h"

#define CHILD_STABLE_NS (10 * NS_PER_SEC)
#define BACKOFF_FIRST_S 0.1
#define BACKOFF_MAX_S   30.0

/* An order that is sent while a child has no handlers yet waits for them: until then the default
 * action of HUP and USR1 would end it, and libev's inherited handlers would swallow a TERM. */
static pid_t fork_with_signals_blocked(void)
{
    sigset_t all, before;
    pid_t pid;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    pid = fork();
    if (pid != 0)
        sigprocmask(SIG_SETMASK, &before, NULL);
    return pid;
}

/* All but egress are, always. */
static bool child_wanted(unsigned slot)
{
    return slot != SHM_EGRESS || egress_wanted(&config);
}

void child_take_signals(void)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the child: nothing of the master's loop, signals or fds may stay. */
static void become(unsigned slot)
{
    static const int handled[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGCHLD};

    supervisor_unwatch(); /* libev ties a signal to one loop; a worker has its own */
    ev_loop_destroy(supervisor.loop);
    for (size_t i = 0; i < ARRAY_LEN(handled); i++)
        signal(handled[i], SIG_DFL);
    close(supervisor.life_pipe[1]);
    pid_file_close();
    notify_close();
    orders_keep_child();
    config_files_keep_for(slot == SHM_HUB, slot == SHM_EGRESS);
    if (slot < SHM_WORKER)
        listeners_close();
    if (slot == SHM_HUB)
        hub_main(supervisor.life_pipe[0]);
    if (slot == SHM_EGRESS)
        egress_main(supervisor.life_pipe[0]);
    worker_main(slot - SHM_WORKER, supervisor.life_pipe[0]);
}

static void arm_restart(struct child *c)
{
    double delay = 0;
    char name[32];

    if (c->crashes > 1) {
        unsigned doublings = MIN(c->crashes - 2, 10u);

        delay = MIN(BACKOFF_FIRST_S * (double)(1u << doublings), BACKOFF_MAX_S);
        LOG(LOG_WARN, "a process that ends again and again is started later",
            KV_S("process", shm_slot_name(c->slot, name, sizeof(name))), KV_U("ends", c->crashes),
            KV_U("ms", (uint64_t)(delay * 1000)));
    }
    ev_timer_set(&c->restart, delay, 0.);
    ev_timer_start(supervisor.loop, &c->restart);
}

int child_start(unsigned slot)
{
    struct child *c = &supervisor.child[slot];
    struct shm_slot *s = &shm->slots[slot];
    char name[32];
    pid_t pid;

    clock_refresh();
    atomic_fetch_add(&s->generation, 1);
    pid = orders_open(slot) == -1 ? -1 : fork_with_signals_blocked();
    if (pid == -1) {
        LOG(LOG_ERROR, "fork failed", KV_S("process", shm_slot_name(slot, name, sizeof(name))),
            KV_ERRNO(errno));
        c->crashes++;
        arm_restart(c);
        return -1;
    }
    if (pid == 0)
        become(slot);
    orders_keep_master();
    c->pid = pid;
    c->started_ns = clock_ns();
    c->hung_ns = 0;
    c->killed = false;
    supervisor.running++;
    ev_child_set(&c->watcher, pid, 0);
    ev_child_start(supervisor.loop, &c->watcher);
    LOG(LOG_INFO, "started", KV_S("process", shm_slot_name(slot, name, sizeof(name))),
        KV_U("pid", pid), KV_U("generation", atomic_load(&s->generation)));
    return 0;
}

static void say_death(const struct child *c, int status)
{
    char name[32];
    bool meant = supervisor.draining || !child_wanted(c->slot);
    enum log_level level = meant && status == 0 ? LOG_INFO : LOG_ERROR;

    shm_slot_name(c->slot, name, sizeof(name));
    if (WIFSIGNALED(status))
        LOG(level, "killed", KV_S("process", name), KV_U("pid", c->pid),
            KV_U("signal", WTERMSIG(status)), KV_S("text", strsignal(WTERMSIG(status))));
    else
        LOG(level, "exited", KV_S("process", name), KV_U("pid", c->pid),
            KV_U("status", WEXITSTATUS(status)));
}

static void on_child(struct ev_loop *loop, ev_child *watcher, int revents UNUSED)
{
    struct child *c = CONTAINER_OF(watcher, struct child, watcher);

    ev_child_stop(loop, watcher);
    clock_refresh();
    say_death(c, watcher->rstatus);
    shm_forget(c->slot);
    c->pid = 0;
    supervisor.running--;
    if (supervisor.draining) {
        if (c->slot >= SHM_WORKER)
            listeners_shut_worker(c->slot - SHM_WORKER);
        supervisor_child_gone(c->slot);
        return;
    }
    if (!child_wanted(c->slot)) {
        c->crashes = 0;
        return;
    }
    /* The hub looks at the slots when it is woken. */
    if (c->slot != SHM_HUB)
        shm_wake(shm->hub_wake_fd);
    c->crashes = clock_ns() - c->started_ns < CHILD_STABLE_NS ? c->crashes + 1 : 1;
    arm_restart(c);
}

static void on_restart(struct ev_loop *loop UNUSED, ev_timer *timer, int revents UNUSED)
{
    struct child *c = CONTAINER_OF(timer, struct child, restart);

    if (supervisor.draining || !child_wanted(c->slot))
        return;
    atomic_fetch_add(&shm->slots[c->slot].restarts, 1);
    if (child_start(c->slot) == -1)
        return; /* armed again */
}

void children_init(void)
{
    for (unsigned slot = SHM_HUB; slot < SHM_WORKER + shm->workers; slot++) {
        struct child *c = &supervisor.child[slot];

        *c = (struct child){.slot = slot};
        ev_child_init(&c->watcher, on_child, 0, 0);
        ev_timer_init(&c->restart, on_restart, 0., 0.);
    }
}

void children_start(void)
{
    for (unsigned slot = SHM_HUB; slot < SHM_WORKER + shm->workers; slot++)
        if (child_wanted(slot) && child_start(slot) == -1)
            continue; /* tried again by its timer */
}

void children_reloaded(void)
{
    struct child *c = &supervisor.child[SHM_EGRESS];
    bool wanted = child_wanted(SHM_EGRESS);

    if (supervisor.draining) /* it has been told to end, and nobody would tell another one */
        return;
    if (!wanted)
        ev_timer_stop(supervisor.loop, &c->restart);
    if (c->pid > 0 && !wanted)
        kill(c->pid, SIGTERM);
    else if (c->pid == 0 && wanted && !ev_is_active(&c->restart) && child_start(SHM_EGRESS) == -1)
        return; /* tried again by its timer */
}

void children_signal(int sig, bool hub_too)
{
    for (unsigned slot = SHM_HUB; slot < SHM_WORKER + shm->workers; slot++) {
        struct child *c = &supervisor.child[slot];

        if (c->pid > 0 && (slot != SHM_HUB || hub_too))
            kill(c->pid, sig);
    }
}

bool children_ready(void)
{
    for (unsigned slot = SHM_HUB; slot < SHM_WORKER + shm->workers; slot++)
        if (slot != SHM_EGRESS && atomic_load(&shm->slots[slot].phase) != SHM_READY)
            return false; /* clients are served without what it fetches */
    return true;
}
