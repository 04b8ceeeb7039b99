/* engine.c - a load process: set-up, the turn, the end. */
#include "engine.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/boot.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/hash.h"
#include "net/reactor.h"

#define ORDERS_NS (50 * NS_PER_MS) /* the coordinator's are looked at this often at least */

struct engine engine;

/* What wakes the process when something is due: to the microsecond, where the poll's own timeout
 * counts milliseconds, rounded up. */
static struct {
    ev_io io;
    uint64_t at; /* 0: not armed */
} alarm_clock;

static void on_alarm(struct ev_loop *loop UNUSED, ev_io *io UNUSED, int revents UNUSED)
{
    /* Waking up was all; it stays readable until it is set anew. */
}

static int alarm_init(void)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);

    if (fd == -1) {
        fprintf(stderr, "roostload: timerfd: %s\n", strerror(errno));
        return -1;
    }
    ev_io_init(&alarm_clock.io, on_alarm, fd, EV_READ);
    ev_io_start(reactor->loop, &alarm_clock.io);
    return 0;
}

/* next: UINT64_MAX for nothing. One that has gone off and is not set anew keeps the poll from
 * sleeping, which is what is wanted when something is due at once. */
static void alarm_set(uint64_t next, uint64_t now)
{
    struct itimerspec t = {0};

    if (next == UINT64_MAX)
        next = 0;
    else if (next <= now && alarm_clock.at != 0 && alarm_clock.at <= now)
        return;
    if (next == alarm_clock.at)
        return;
    t.it_value.tv_sec = (time_t)(next / NS_PER_SEC);
    t.it_value.tv_nsec = (long)(next % NS_PER_SEC);
    alarm_clock.at = next;
    if (timerfd_settime(alarm_clock.io.fd, TFD_TIMER_ABSTIME, &t, NULL) == -1)
        alarm_clock.at = 0; /* UNTESTED: cannot be with a time like that; the next turn tries */
}

/* net reads its limits from the settings; ours are those of a client that trusts itself. */
static void set_limits(void)
{
    config_defaults(&config);
    config.max_connections = 16000000;
    config.output_limit = 64 << 20;
    config.output_timeout = 3600 * (int64_t)NS_PER_SEC;
    config.close_timeout = 2 * (int64_t)NS_PER_SEC;
}

static void each_turn(void)
{
    uint64_t now = clock_precise_ns();

    if (getppid() != load_shared->coordinator) { /* it is gone; it may be process 1 itself */
        reactor_stop();
        return;
    }
    alarm_set(schedule_run(now), now);
    reactor_wake_within(ORDERS_NS);
}

static int allocate(void)
{
    size_t n = (size_t)MAX(engine.count, UINT64_C(1));

    engine.conns = calloc(n, sizeof(*engine.conns));
    engine.attempts = calloc(n, sizeof(*engine.attempts));
    engine.waiting = calloc(n, sizeof(*engine.waiting));
    engine.storm = calloc(n, sizeof(*engine.storm));
    engine.ready_ms = calloc(n, sizeof(*engine.ready_ms));
    if (engine.o->scenario == SCENARIO_ECHO)
        engine.echoes = calloc(n, sizeof(*engine.echoes));
    if (engine.o->delta)
        engine.deltas = calloc(n, sizeof(*engine.deltas));
    if (engine.o->recover)
        engine.kept = calloc(n, sizeof(*engine.kept));
    if (engine.o->ping_interval > 0)
        engine.pinged_ns = calloc(n, sizeof(*engine.pinged_ns));
    if (engine.adapter->stream)
        engine.partial = calloc(n, sizeof(*engine.partial));
    if (engine.conns == NULL || engine.attempts == NULL || engine.waiting == NULL ||
        engine.storm == NULL || engine.ready_ms == NULL ||
        (engine.o->scenario == SCENARIO_ECHO && engine.echoes == NULL) ||
        (engine.o->recover && engine.kept == NULL) || (engine.o->delta && engine.deltas == NULL) ||
        (engine.o->ping_interval > 0 && engine.pinged_ns == NULL) ||
        (engine.adapter->stream && engine.partial == NULL) || dues_init(&engine.later, n) == -1 ||
        dues_init(&engine.echo, n) == -1) {
        fprintf(stderr, "roostload: no memory for %llu connections\n",
                (unsigned long long)engine.count);
        return -1;
    }
    for (uint64_t i = 0; i < engine.count; i++)
        engine.waiting[engine.wait_tail++] = (uint32_t)(engine.first + i);
    return 0;
}

/* How many publishers a subscriber's channel can have. */
static uint32_t tracked_slots(void)
{
    switch (engine.o->scenario) {
    case SCENARIO_BROADCAST:
    case SCENARIO_SLOW:
        return (uint32_t)load_shared->publishers;
    case SCENARIO_CHAT:
        return (uint32_t)engine.o->room;
    case SCENARIO_CHURN:
    case SCENARIO_STORM:
        return (uint32_t)load_shared->publishers; /* 0 without --recover */
    case SCENARIO_HOLD:
    case SCENARIO_ECHO:
    case SCENARIO_NR:
        break;
    }
    return 0;
}

static int make_tls(void)
{
    char err[256];
    bool wanted = false;

    for (unsigned i = 0; i < load_shared->ntargets; i++)
        wanted |= load_shared->targets[i].tls;
    if (!wanted)
        return 0;
    engine.tls = tls_client_context(engine.o->ca, !engine.o->insecure, err, sizeof(err));
    if (engine.tls == NULL)
        fprintf(stderr, "roostload: %s\n", err);
    return engine.tls != NULL ? 0 : -1;
}

int engine_run(unsigned p)
{
    struct reactor_config cfg = {.worker = p, .wake_fd = -1, .hub_wake_fd = -1};

    _Static_assert(sizeof(struct user) <= CONN_SESSION_SIZE, "a user fits the session area");
    cfg.each_turn = each_turn;
    cfg.standstill_ns = REACTOR_STANDSTILL_NS;
    signal(SIGINT, SIG_IGN); /* the coordinator says when to stop, or is gone */
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    boot_release();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    engine.process = p;
    engine.slot = &load_shared->slots[p];
    engine.o = &load_shared->options;
    engine.adapter = adapter_of(engine.o);
    engine.first = load_first_user(load_shared->users, load_shared->processes, p);
    engine.count =
        load_first_user(load_shared->users, load_shared->processes, p + 1) - engine.first;
    engine.slots = tracked_slots();
    engine_seed((uint64_t)engine.o->seed, p);
    set_limits();
    hash_seed_random();
    clock_refresh();
    if (allocate() == -1)
        return 1;
    engine.rx = ws_rx_pool_new(WS_CLIENT, UINT64_C(1) << 32);
    if (make_tls() == -1)
        return 1;
    reactor_init(&cfg);
    if (alarm_init() == -1)
        return 1;
    schedule_start();
    reactor_run();
    return 0;
}
