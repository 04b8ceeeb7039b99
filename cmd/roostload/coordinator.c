/* coordinator.c - see coordinator.h.
 *
 * Phases: RAMP until every user is ready or given up · RUN for --duration · GRACE until messages
 * stop arriving (at most GRACE_MAX_S) · STOP. Ctrl-C goes to GRACE at once; a second one to STOP.
 */
#include "coordinator.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "engine.h"
#include "failif.h"

#define GRACE_MAX_S    30
#define GRACE_QUIET_NS (NS_PER_SEC / 2)
#define HOPELESS       300              /* attempts: when all of so many have failed, more will */
#define RAMP_STALL_NS  (5 * NS_PER_SEC) /* on top of all attempts of a user */
#define STOP_WAIT_MS   10000

static volatile sig_atomic_t interrupts;

static struct {
    struct results r;
    struct load_metrics sum, before; /* now, and a second ago */
    struct hdr interval;
    struct sample sample;
    uint64_t start_ns, phase_ns;             /* start of the run, of the phase */
    uint64_t grace_messages, quiet_since_ns; /* messages seen last, and when the last came */
    uint64_t ramp_best, ramp_best_ns;    /* most users settled during the ramp, and since when */
    uint64_t run_in, run_out, run_pings; /* counts when LOAD_RUN began */
    sig_atomic_t interrupts_before;      /* the grace */
} co;

static void on_interrupt(int sig)
{
    (void)sig;
    interrupts = interrupts + 1;
}

static int start_processes(void)
{
    for (unsigned p = 0; p < load_shared->processes; p++) {
        pid_t pid = fork();

        if (pid == -1) {
            fprintf(stderr, "roostload: fork: %s\n", strerror(errno));
            atomic_store(&load_shared->phase, LOAD_STOP);
            return -1;
        }
        if (pid == 0)
            _exit(engine_run(p));
        atomic_store(&load_shared->slots[p].pid, pid);
    }
    return 0;
}

static double seconds_since(uint64_t then)
{
    return (double)(clock_ns() - then) / 1e9;
}

static void set_phase(enum load_phase phase)
{
    struct results *r = &co.r;
    double length = seconds_since(co.phase_ns);

    switch (phase) {
    case LOAD_RAMP:
        break;
    case LOAD_RUN:
        r->ramp_s = length;
        r->ramped = r->ready_end;
        co.run_in = co.sum.messages_in;
        co.run_pings = co.sum.pings_in;
        co.run_out = co.sum.messages_out;
        sample_take(&load_shared->options, true, &r->server_ramped);
        atomic_store(&load_shared->run_start_ns, clock_ns());
        break;
    case LOAD_GRACE:
    case LOAD_STOP:
        co.interrupts_before = interrupts;
        if (atomic_load(&load_shared->phase) == LOAD_RUN) {
            r->run_s = length;
            sample_take(&load_shared->options, true, &r->server_end);
        } else if (atomic_load(&load_shared->phase) == LOAD_RAMP) {
            r->ramp_s = length;
        }
        break;
    }
    atomic_store(&load_shared->phase, (uint32_t)phase);
    clock_refresh();
    co.phase_ns = clock_ns();
}

/* What has happened in the last `seconds`. */
static void record_second(uint64_t ready, uint64_t connecting, double seconds)
{
    const struct load_metrics *now = &co.sum, *then = &co.before;
    struct str main_name = str_from(failif_main_latency(load_shared->options.scenario));
    struct results *r = &co.r;
    double cpu_before = co.sample.cpu_seconds;
    struct second s;

    hdr_diff(&co.interval, failif_latency(now, main_name), failif_latency(then, main_name));
    sample_take(&load_shared->options, false, &co.sample);
    s = (struct second){
        .at_s = seconds_since(co.start_ns),
        .length_s = seconds,
        .ready = ready,
        .connecting = connecting,
        .p50 = hdr_quantile(&co.interval, 0.5),
        .p90 = hdr_quantile(&co.interval, 0.9),
        .p99 = hdr_quantile(&co.interval, 0.99),
        .p999 = hdr_quantile(&co.interval, 0.999),
        .max = co.interval.max,
        .cpu = cpu_before > 0 && co.sample.cpu_seconds > cpu_before
                   ? (co.sample.cpu_seconds - cpu_before) / seconds
                   : 0,
        .rss_bytes = co.sample.rss_bytes,
        .tcp_memory_bytes = co.sample.tcp_memory_bytes,
    };
    load_counts_between(&s.counts, then, now);
    series_add(r, &s);
}

/* From the first drop to the last user's return; -1 when some process has not recovered (or there
 * was no storm). */
static double storm_recovery(void)
{
    uint64_t first = UINT64_MAX, last = 0;

    for (unsigned p = 0; p < load_shared->processes; p++) {
        struct load_slot *slot = &load_shared->slots[p];

        if (slot->storm_ns == 0 || slot->recovered_ns == 0)
            return -1;
        first = MIN(first, slot->storm_ns);
        last = MAX(last, slot->recovered_ns);
    }
    return (double)(last - first) / 1e9;
}

/* Nothing has come for a while: longer than twice what any message took so far. */
static bool grace_over(void)
{
    enum scenario s = load_shared->options.scenario;
    const struct hdr *latency = failif_latency(&co.sum, str_from(failif_main_latency(s)));
    uint64_t quiet = MAX(GRACE_QUIET_NS, 2 * latency->max);

    uint64_t ours = co.sum.messages_in - co.sum.foreign_in;

    if (ours != co.grace_messages)
        co.quiet_since_ns = clock_ns();
    co.grace_messages = ours;
    return clock_ns() - MAX(co.quiet_since_ns, co.phase_ns) > quiet ||
           seconds_since(co.phase_ns) > GRACE_MAX_S;
}

/* A server that drops connections as fast as they come, or stops taking them, must not keep the
 * ramp going for ever. */
static bool ramp_stalled(uint64_t settled)
{
    uint64_t limit =
        LOAD_ATTEMPTS_MAX * (uint64_t)load_shared->options.connect_timeout + RAMP_STALL_NS;

    if (settled > co.ramp_best || co.ramp_best_ns == 0) {
        co.ramp_best = settled;
        co.ramp_best_ns = clock_ns();
    }
    if (clock_ns() - co.ramp_best_ns <= limit)
        return false;
    co.r.ramp_stalled_s = seconds_since(co.ramp_best_ns);
    return true;
}

/* Moves on when the phase has done its work. */
static void next_phase(uint64_t ready, uint64_t given_up)
{
    double run = (double)load_shared->options.duration / 1e9;

    switch ((enum load_phase)atomic_load(&load_shared->phase)) {
    case LOAD_RAMP:
        co.r.hopeless = co.sum.connects_done == 0 && LOAD_FAILURES(&co.sum) >= HOPELESS;
        if (interrupts > 0 || given_up == load_shared->users || co.r.hopeless)
            set_phase(LOAD_GRACE);
        else if (ready + given_up >= load_shared->users)
            set_phase(LOAD_RUN);
        else if (ramp_stalled(ready + given_up))
            set_phase(ready > 0 ? LOAD_RUN : LOAD_GRACE);
        break;
    case LOAD_RUN:
        if (interrupts > 0 || seconds_since(co.phase_ns) >= run)
            set_phase(LOAD_GRACE);
        break;
    case LOAD_GRACE:
        if (interrupts > co.interrupts_before || grace_over())
            set_phase(LOAD_STOP);
        break;
    case LOAD_STOP:
        break;
    }
}

static const char *phase_name(void)
{
    static const char *const names[] = {"ramp", "run", "grace", "stop"};

    return names[atomic_load(&load_shared->phase)];
}

static double eta(uint64_t ready)
{
    double run = (double)load_shared->options.duration / 1e9;

    switch ((enum load_phase)atomic_load(&load_shared->phase)) {
    case LOAD_RAMP:
        return (double)(load_shared->users - ready) / load_shared->options.ramp + run;
    case LOAD_RUN:
        return run - seconds_since(co.phase_ns);
    case LOAD_GRACE:
    case LOAD_STOP:
        break;
    }
    return 0;
}

/* A load process that dies takes its users with it: the result would be a lie. */
static bool process_died(void)
{
    int status;
    pid_t pid = waitpid(-1, &status, WNOHANG);

    if (pid <= 0)
        return false;
    fprintf(stderr, "roostload: load process %d ended early (%s %d)\n", (int)pid,
            WIFSIGNALED(status) ? "signal" : "status",
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return true;
}

/* What was left of the last second is a row too, so that a test of half a second has one. */
static void record_rest(uint64_t ready, uint64_t connecting, uint64_t tick)
{
    double seconds = seconds_since(tick);

    if (seconds > 0.1)
        record_second(ready, connecting, seconds);
}

static int watch(void)
{
    uint64_t ready, connecting, given_up, tick = clock_ns();

    while (atomic_load(&load_shared->phase) != LOAD_STOP) {
        bool full_second;

        poll(NULL, 0, 50);
        clock_refresh();
        full_second = clock_ns() - tick >= NS_PER_SEC;
        load_sum(&co.sum, &ready, &connecting, &given_up);
        if (full_second) {
            double seconds = (double)(clock_ns() - tick) / 1e9;

            /* On a machine that is overloaded this process may miss seconds: they become one. */
            tick = seconds < 2 ? tick + NS_PER_SEC : clock_ns();
            record_second(ready, connecting, seconds < 2 ? 1 : seconds);
            co.before = co.sum;
            view_second(&co.r, &co.sum, phase_name(), eta(ready));
        }
        if (process_died()) {
            atomic_store(&load_shared->phase, LOAD_STOP);
            return -1;
        }
        co.r.ready_end = ready;
        co.r.ready_max = MAX(co.r.ready_max, ready);
        co.r.given_up = given_up;
        if (interrupts > 0)
            co.r.interrupted = true;
        next_phase(ready, given_up);
    }
    record_rest(ready, connecting, tick);
    return 0;
}

/* Waits for the load processes; whoever does not come by itself is ended. */
static void collect_processes(void)
{
    for (int waited = 0; waited < STOP_WAIT_MS; waited += 20) {
        pid_t pid;

        while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
            ;
        if (pid == -1 && errno == ECHILD)
            return;
        poll(NULL, 0, 20);
    }
    for (unsigned p = 0; p < load_shared->processes; p++)
        if (atomic_load(&load_shared->slots[p].pid) > 0) /* 0: was never started */
            kill(atomic_load(&load_shared->slots[p].pid), SIGKILL);
    while (waitpid(-1, NULL, 0) > 0)
        ;
}

static int finish(int rc)
{
    struct results *r = &co.r;
    const struct options *o = &load_shared->options;
    uint64_t ready, connecting, given_up;
    int failed;

    load_sum(&r->total, &ready, &connecting, &given_up);
    r->storm_recovery_s = storm_recovery();
    r->run_messages_in = r->total.messages_in - co.run_in;
    r->run_pings_in = r->total.pings_in - co.run_pings;
    r->run_messages_out = r->total.messages_out - co.run_out;
    view_end();
    report_summary(stdout, r);
    if (o->json[0] != '\0' && report_json(o->json, r) == -1) {
        fprintf(stderr, "roostload: %s: %s\n", o->json, strerror(errno));
        rc = 1;
    }
    if (o->html[0] != '\0' && report_html(o->html, r) == -1) {
        fprintf(stderr, "roostload: %s: %s\n", o->html, strerror(errno));
        rc = 1;
    }
    failed = report_thresholds(stdout, r);
    if (rc != 0)
        return rc;
    if (failed > 0)
        return 3;
    return r->total.connects_done == 0 || (r->run_s <= 0 && !r->interrupted);
}

int coordinator_run(void)
{
    struct sigaction sa = {.sa_handler = on_interrupt};
    int rc = 0;

    clock_refresh();
    if (series_init(&co.r) == -1) {
        fprintf(stderr, "roostload: no memory\n");
        return 1;
    }
    co.r.started_at = (int64_t)time(NULL);
    sample_take(&load_shared->options, true, &co.r.server_start);
    co.sample = co.r.server_start;
    co.start_ns = co.phase_ns = clock_ns();
    if (start_processes() == -1)
        rc = 1;
    /* After the fork: a load process must not inherit these. */
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGHUP, &sa, NULL);
    view_start(isatty(STDOUT_FILENO) && !load_shared->options.plain);
    if (rc == 0 && watch() == -1)
        rc = 1;
    collect_processes();
    rc = finish(rc);
    free(co.r.seconds);
    return rc;
}
