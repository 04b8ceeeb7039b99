/* proc/supervisor.c - the master's life: start, signals, drain, end.
 *
 * Happy path: 1 settings · 2 limits · 3 shared memory, listeners, life pipe · 4 hub and workers are
 * forked · 5 signals, also those sent since main, until TERM or INT · 6 drain: the master stops
 * listening, workers close their clients and exit · 7 then the hub · 8 exit 0. */
#include "proc/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/boot.h"
#include "base/clock.h"
#include "base/log.h"
#include "proc/orders.h"
#include "proc/sandbox.h"
#include "proc/usage.h"
#include "proc/version.h"
#include "supervisor_internal.h"

#define PATIENCE_NS (5 * NS_PER_SEC)

struct supervisor supervisor;

static void finish(void)
{
    LOG(LOG_INFO, "stopped");
    ev_break(supervisor.loop, EVBREAK_ALL);
}

/* During a drain: when the last worker has gone the hub is told, when it has gone too all
 * is done. */
void supervisor_child_gone(unsigned slot)
{
    if (supervisor.running == 0) {
        finish();
        return;
    }
    if (slot != SHM_HUB && supervisor.running == 1 && supervisor.child[SHM_HUB].pid > 0)
        kill(supervisor.child[SHM_HUB].pid, SIGTERM);
}

static void on_deadline(struct ev_loop *loop UNUSED, ev_timer *t UNUSED, int revents UNUSED)
{
    LOG(LOG_ERROR, "processes did not stop in time and are killed",
        KV_U("running", supervisor.running));
    children_signal(SIGKILL, true);
}

void supervisor_stop(void)
{
    uint64_t patience_ns = (uint64_t)(config.drain_time + config.close_timeout) + PATIENCE_NS;

    supervisor.draining = true;
    supervisor_drain_end();
    atomic_store(&shm->drain_deadline_s, clock_wall_ns() / NS_PER_SEC + patience_ns / NS_PER_SEC);
    atomic_store(&shm->draining, 1);
    shm_set_phase(SHM_MASTER, SHM_DRAINING);
    LOG(LOG_INFO, "stopping: no new clients, those that are here are closed",
        KV_NS("drain_time", config.drain_time));
    listeners_shut_client();
    atomic_store(&shm->slots[SHM_MASTER].open_fds, shm_count_fds());
    for (unsigned slot = SHM_HUB; slot < SHM_WORKER + shm->workers; slot++)
        ev_timer_stop(supervisor.loop, &supervisor.child[slot].restart);
    children_signal(SIGTERM, false);
    notify_stopping(patience_ns + PATIENCE_NS);
    ev_timer_set(&supervisor.deadline, (double)patience_ns / 1e9, 0.);
    ev_timer_start(supervisor.loop, &supervisor.deadline);
    if (supervisor.running == 0)
        finish();
    else if (supervisor.running == 1 && supervisor.child[SHM_HUB].pid > 0)
        kill(supervisor.child[SHM_HUB].pid, SIGTERM);
}

static void on_stop(struct ev_loop *loop UNUSED, ev_signal *s, int revents UNUSED)
{
    clock_refresh();
    if (!supervisor.draining) {
        supervisor_stop();
        return;
    }
    LOG(LOG_WARN, "second signal, stopping at once", KV_U("signal", s->signum));
    children_signal(SIGKILL, true);
    ev_break(supervisor.loop, EVBREAK_ALL);
}

static void on_hup(struct ev_loop *loop UNUSED, ev_signal *s UNUSED, int revents UNUSED)
{
    clock_refresh();
    supervisor_reload();
}

static void on_usr1(struct ev_loop *loop UNUSED, ev_signal *s UNUSED, int revents UNUSED)
{
    clock_refresh();
    if (log_reopen() == -1) {
        LOG(LOG_ERROR, "the log file cannot be opened again; lines go to the old one",
            KV_S("file", config.log_file), KV_ERRNO(errno));
        return;
    }
    for (unsigned slot = SHM_HUB; slot < SHM_WORKER + shm->workers && config.log_file[0] != '\0';
         slot++)
        if (supervisor.child[slot].pid > 0)
            orders_send(slot, ORDER_LOG, log_fd());
    LOG(LOG_INFO, "log opened again");
}

/* Session tickets get another key; certificates grow old. */
static void watch_tls(void)
{
    static uint64_t rotated_ns;

    if (rotated_ns == 0 || clock_ns() - rotated_ns >= (uint64_t)config.tls_ticket_rotation) {
        if (tls_tickets_rotate(&shm->tls->tickets) == -1)
            LOG(LOG_ERROR, "no random numbers for a new key of session tickets");
        rotated_ns = clock_ns();
    }
    tls_files_watch(&config, tls_files_used(shm->tls), (int64_t)(clock_wall_ns() / NS_PER_SEC));
}

/* Each worker notes what it refuses; the node is said to be full once. */
static void watch_capacity(void)
{
    static struct admission_watch watch;
    struct admission_limit limit = {.of = "node",
                                    .fix = "raise max_connections, or add nodes",
                                    .connections = shm_node_connections(),
                                    .max = (uint64_t)config.max_connections};
    uint64_t refused = 0, last_ns = 0;

    for (unsigned i = SHM_WORKER; i < SHM_WORKER + shm->workers; i++) {
        refused += atomic_load(&shm->slots[i].full.n);
        last_ns = MAX(last_ns, atomic_load(&shm->slots[i].full.last_ns));
    }
    admission_look(&watch, &limit, refused, last_ns);
}

static void on_tick(struct ev_loop *loop, ev_timer *t, int revents UNUSED)
{
    clock_refresh();
    shm_heartbeat(SHM_MASTER);
    usage_look();
    log_say_suppressed(false);
    watch_capacity();
    watch_tls();
    supervisor_reload_wished();
    children_watch();
    notify_tick();
    if (!supervisor.said_ready && children_ready()) {
        supervisor.said_ready = true;
        shm_set_phase(SHM_MASTER, SHM_READY);
        LOG(LOG_INFO, "ready", KV_U("workers", shm->workers));
        notify_ready("ready");
        supervisor_print_hints();
        ev_timer_stop(loop, t);
        ev_timer_set(t, 0.5, 0.5);
        ev_timer_start(loop, t);
    }
}

static void watch_signals(void)
{
    ev_signal_init(&supervisor.term, on_stop, SIGTERM);
    ev_signal_init(&supervisor.intr, on_stop, SIGINT);
    ev_signal_init(&supervisor.quit, on_stop, SIGQUIT);
    ev_signal_init(&supervisor.hup, on_hup, SIGHUP);
    ev_signal_init(&supervisor.usr1, on_usr1, SIGUSR1);
    ev_signal_start(supervisor.loop, &supervisor.term);
    ev_signal_start(supervisor.loop, &supervisor.intr);
    ev_signal_start(supervisor.loop, &supervisor.quit);
    ev_signal_start(supervisor.loop, &supervisor.hup);
    ev_signal_start(supervisor.loop, &supervisor.usr1);
    ev_timer_init(&supervisor.tick, on_tick, 0.01, 0.01);
    ev_timer_start(supervisor.loop, &supervisor.tick);
    supervisor_drain_watch();
    ev_timer_init(&supervisor.deadline, on_deadline, 0., 0.);
}

void supervisor_unwatch(void)
{
    ev_signal_stop(supervisor.loop, &supervisor.term);
    ev_signal_stop(supervisor.loop, &supervisor.intr);
    ev_signal_stop(supervisor.loop, &supervisor.quit);
    ev_signal_stop(supervisor.loop, &supervisor.hup);
    ev_signal_stop(supervisor.loop, &supervisor.usr1);
}

/* -1: said why on stderr. */
static int read_tls(void)
{
    struct buf errors = {0};
    int rc = tls_files_read(&config, NULL, NULL, tls_files_unused(shm->tls), NULL, &errors);

    if (rc == 0)
        tls_files_publish(shm->tls);
    else
        fprintf(stderr, "roostd: %.*s", STR_ARG(buf_view(&errors)));
    buf_fini(&errors);
    watch_tls();
    return rc;
}

/* Everything that can refuse to start. -1: said why on stderr. */
static int set_up(void)
{
    int workers = supervisor_decide_workers();
    char err[256];

    if (workers == -1)
        return -1;
    if (shm_create((unsigned)workers, shm_ring_capacity(&config), err, sizeof(err)) == -1) {
        fprintf(stderr, "roostd: %s\n", err);
        return -1;
    }
    shm_put_config(0, &config);
    if (read_tls() == -1)
        return -1;
    atomic_fetch_add(&shm->slots[SHM_MASTER].generation, 1);
    shm_enter(SHM_MASTER);
    usage_open(SHM_MASTER);
    if (pipe2(supervisor.life_pipe, O_CLOEXEC | O_NONBLOCK) == -1) {
        fprintf(stderr, "roostd: pipe: %s\n", strerror(errno));
        return -1;
    }
    return listeners_open();
}

/* What only root can open is open by now. */
static int confine(void)
{
    if (sandbox_prepare() == -1) {
        fprintf(stderr, "roostd: filters of system calls: %s\n", strerror(errno));
        return -1;
    }
    if (privileges_drop() == -1)
        return -1;
    sandbox_enter(SANDBOX_MASTER);
    return 0;
}

static void start_children(void)
{
    children_init();
    children_start();
    atomic_store(&shm->slots[SHM_MASTER].open_fds, shm_count_fds());
}

int supervisor_run(const struct config_source *src)
{
    supervisor.source = src;
    log_set_process("master");
    clock_refresh();
    LOG(LOG_INFO, "starting", KV_S("version", version_string()),
        KV_S("revision", version_revision()), KV_U("pid", getpid()));
    supervisor_warn_settings();
    if (pid_file_take() == -1)
        return 1;
    notify_open();
    if (set_up() == -1 || confine() == -1) {
        listeners_shut();
        pid_file_remove();
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_NAME, "roost: master");
    supervisor.loop = ev_default_loop(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (supervisor.loop == NULL) {
        fprintf(stderr, "roostd: libev finds no epoll\n");
        return 1;
    }
    start_children();
    watch_signals();
    boot_release();
    ev_run(supervisor.loop, 0);
    listeners_shut();
    log_say_suppressed(true);
    pid_file_remove();
    return 0;
}
