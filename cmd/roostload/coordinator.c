/* coordinator.c - see coordinator.h.
 *
 * Phases: RAMP until every user is ready or given up · RUN for --duration · GRACE until messages
 * stop arriving (at most GRACE_MAX_S; none were sent: at once) · STOP. Ctrl-C goes to GRACE at
 * once; a second one to STOP. */
#include "coordinator.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "base/boot.h"
#include "base/clock.h"
#include "failif.h"
#include "probe.h"
#include "processes.h"
#include "sampler.h"

#define GRACE_MAX_S    30
#define HOPELESS       300               /* attempts: when all of so many have failed, more will */
#define RAMP_STALL_NS  (5 * NS_PER_SEC)  /* on top of all attempts of a user */
#define SAMPLE_WAIT_MS 5000              /* for samples, when all else is done */
#define SAMPLE_LEAD_NS (100 * NS_PER_MS) /* before a second ends its sample is asked for */
#define POLL_MS        50
#define SHORTEST_ROW_S 0.05
#define RUN_LEAD_NS                                                                                \
    (60 * NS_PER_MS) /* the run is announced so early: each load process looks every 50 ms */

static volatile sig_atomic_t interrupts;

static struct {
    struct results r;
    struct load_metrics sum, before; /* now, and a second ago */
    struct hdr interval;
    struct sample sample;                    /* the last one */
    struct sample used;                      /* the last one with a process in it */
    bool asked;                              /* for the sample of this second */
    uint64_t phase_ns;                       /* start of the phase */
    uint64_t grace_messages, quiet_since_ns; /* messages seen last, and when the last came */
    uint64_t ramp_best, ramp_best_ns;    /* most users settled during the ramp, and since when */
    uint64_t run_in, run_out, run_pings; /* counts when LOAD_RUN began */
    sig_atomic_t interrupts_before;      /* the grace */
} co;

static void on_interrupt(int sig UNUSED)
{
    interrupts = interrupts + 1;
}

/* After the fork: a load process must not inherit these. */
static void catch_signals(void)
{
    struct sigaction sa = {.sa_handler = on_interrupt}, hup;

    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    if (sigaction(SIGHUP, NULL, &hup) == 0 && hup.sa_handler != SIG_IGN)
        sigaction(SIGHUP, &sa, NULL);
    boot_release();
}

static double seconds_since(uint64_t then)
{
    return (double)(int64_t)(clock_ns() - then) / 1e9; /* then may lie ahead */
}

static void set_phase(enum load_phase phase)
{
    enum load_phase before = (enum load_phase)atomic_load(&load_shared->phase);
    struct results *r = &co.r;
    double length;

    /* The load changes now: what is done first would be load in a time that nobody measures. */
    clock_refresh();
    length = seconds_since(co.phase_ns);
    co.phase_ns = clock_ns();
    if (phase == LOAD_RUN) {
        co.phase_ns += RUN_LEAD_NS;
        atomic_store(&load_shared->run_start_ns, co.phase_ns);
        atomic_store(&load_shared->run_end_ns,
                     co.phase_ns + (uint64_t)load_shared->options.duration);
    }
    atomic_store(&load_shared->phase, (uint32_t)phase);
    switch (phase) {
    case LOAD_RAMP:
        break;
    case LOAD_RUN:
        r->ramp_s = length;
        r->ramped = r->ready_end;
        co.run_in = co.sum.messages_in;
        co.run_pings = co.sum.pings_in;
        co.run_out = co.sum.messages_out;
        sampler_ask(SAMPLER_RAMPED);
        break;
    case LOAD_GRACE:
    case LOAD_STOP:
        co.interrupts_before = interrupts;
        if (before == LOAD_RUN) {
            r->run_s = MAX(length, 0.0);
            sampler_ask(SAMPLER_END);
        } else if (before == LOAD_RAMP) {
            r->ramp_s = length;
        }
        break;
    }
}

static void fetch_samples(void)
{
    sampler_fetch(SAMPLER_RAMPED, &co.r.server_ramped);
    sampler_fetch(SAMPLER_END, &co.r.server_end);
}

/* Cores in use between the sample before and this one; what is no new one says the same again. */
static double fetch_cores(void)
{
    const struct sample *now = &co.sample;
    double cores = co.r.now.cpu;

    if (!sampler_fetch(SAMPLER_SECOND, &co.sample))
        return cores;
    cores = 0;
    if (co.used.processes > 0 && now->cpu_seconds > co.used.cpu_seconds)
        cores = (now->cpu_seconds - co.used.cpu_seconds) * 1e9 /
                (double)MAX(now->at_ns - co.used.at_ns, NS_PER_MS);
    if (now->processes > 0)
        co.used = *now;
    return cores;
}

/* What has happened in the last `seconds`. */
static void record_second(enum load_phase phase, uint64_t ready, uint64_t connecting,
                          double seconds)
{
    const struct load_metrics *now = &co.sum, *then = &co.before;
    struct str main_name = str_from(failif_main_latency(load_shared->options.scenario));
    struct results *r = &co.r;
    double cores = fetch_cores();
    struct second s;

    hdr_diff(&co.interval, failif_latency(now, main_name), failif_latency(then, main_name));
    s = (struct second){
        .phase = phase,
        .at_s = seconds_since(co.r.start_ns),
        .length_s = seconds,
        .ready = ready,
        .connecting = connecting,
        .p50 = hdr_quantile(&co.interval, 0.5),
        .p90 = hdr_quantile(&co.interval, 0.9),
        .p99 = hdr_quantile(&co.interval, 0.99),
        .p999 = hdr_quantile(&co.interval, 0.999),
        .max = co.interval.max,
        .cpu = cores,
        .rss_bytes = co.sample.rss_bytes,
        .tcp_memory_bytes = co.sample.tcp_memory_bytes,
        .sampled_s = sampled_s(r, &co.sample),
    };
    load_counts_between(&s.counts, then, now);
    series_add(r, &s);
}

/* From the first drop to the last user's return; -1 when some process has not recovered (or there
 * was no storm). Processes that had nobody to drop have no part in it. */
static double storm_recovery(void)
{
    uint64_t first = UINT64_MAX, last = 0;
    bool all = true;

    for (unsigned p = 0; p < load_shared->processes; p++) {
        struct load_slot *slot = &load_shared->slots[p];

        if (slot->storm_ns == 0)
            continue;
        all = all && slot->recovered_ns != 0;
        first = MIN(first, slot->storm_ns);
        last = MAX(last, slot->recovered_ns);
    }
    co.r.stormed = first != UINT64_MAX;
    co.r.stormed_s = co.r.stormed ? (double)(first - co.r.start_ns) / 1e9 : 0;
    return all && co.r.stormed ? (double)(last - first) / 1e9 : -1;
}

static bool grace_over(void)
{
    uint64_t quiet = grace_quiet_ns(&co.sum), ours = co.sum.messages_in - co.sum.foreign_in;

    if (ours != co.grace_messages)
        co.quiet_since_ns = clock_ns();
    co.grace_messages = ours;
    if (seconds_since(co.phase_ns) > GRACE_MAX_S)
        return true;
    /* With its connections gone the server is not what it was at the end of the run. */
    return clock_ns() - MAX(co.quiet_since_ns, co.phase_ns) > quiet &&
           !sampler_pending(SAMPLER_END);
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

static bool run_has_begun(void)
{
    return atomic_load(&load_shared->phase) == LOAD_RUN && clock_ns() >= co.phase_ns;
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

const char *phase_name(enum load_phase phase)
{
    static const char *const names[] = {"ramp", "run", "grace", "stop"};

    return names[phase];
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

/* Those that are still being taken, unless somebody is in a hurry. */
static void await_samples(void)
{
    sig_atomic_t seen = interrupts;

    for (int waited = 0; waited < SAMPLE_WAIT_MS && interrupts == seen; waited += 10) {
        bool pending = false;

        for (unsigned kind = 0; kind < SAMPLER_NR; kind++)
            pending |= sampler_pending((enum sampler_kind)kind);
        if (!pending)
            break;
        poll(NULL, 0, 10);
    }
    fetch_samples();
}

/* Ends a row before its second is over, so that none has a part of the run and a part of something
 * else, and a test of half a second has one. What is too short for a rate goes into the next. */
static void cut_row(enum load_phase phase, uint64_t ready, uint64_t connecting, uint64_t *tick)
{
    double seconds = seconds_since(*tick);

    if (seconds < SHORTEST_ROW_S)
        return;
    record_second(phase, ready, connecting, seconds);
    co.before = co.sum;
    co.asked = false;
    *tick = clock_ns();
}

/* A look at the load processes is due every POLL_MS, and when the run ends. */
static int pause_ms(void)
{
    int64_t left = load_shared->options.duration - (int64_t)(clock_ns() - co.phase_ns);

    if (atomic_load(&load_shared->phase) != LOAD_RUN)
        return POLL_MS;
    if (left > load_shared->options.duration)
        left -= load_shared->options.duration; /* it has not begun */
    return (int)MAX(MIN(left / (int64_t)NS_PER_MS + 1, POLL_MS), 0);
}

static void ask_in_time(uint64_t tick)
{
    if (co.asked || clock_ns() - tick < NS_PER_SEC - SAMPLE_LEAD_NS)
        return;
    sampler_ask(SAMPLER_SECOND);
    co.asked = true;
}

static int watch(void)
{
    uint64_t ready, connecting, given_up, tick = clock_ns();
    enum load_phase rows = LOAD_RAMP; /* of the row that is being counted */

    while (atomic_load(&load_shared->phase) != LOAD_STOP) {
        bool full_second;

        poll(NULL, 0, pause_ms());
        clock_refresh();
        fetch_samples();
        ask_in_time(tick);
        full_second = clock_ns() - tick >= NS_PER_SEC;
        load_sum(&co.sum, &ready, &connecting, &given_up);
        if (rows == LOAD_RAMP && run_has_begun()) {
            cut_row(rows, ready, connecting, &tick);
            rows = LOAD_RUN;
        } else if (full_second) {
            double seconds = (double)(clock_ns() - tick) / 1e9;

            /* On a machine that is overloaded this process may miss seconds: they become one. */
            tick = seconds < 2 ? tick + NS_PER_SEC : clock_ns();
            record_second(rows, ready, connecting, seconds < 2 ? 1 : seconds);
            co.before = co.sum;
            co.asked = false;
            view_second(&co.r, &co.sum, phase_name(rows), eta(ready));
        }
        if (processes_died()) {
            atomic_store(&load_shared->phase, LOAD_STOP);
            return -1;
        }
        co.r.ready_end = ready;
        co.r.ready_max = MAX(co.r.ready_max, ready);
        co.r.given_up = given_up;
        if (interrupts > 0)
            co.r.interrupted = true;
        next_phase(ready, given_up);
        if (rows < LOAD_GRACE && atomic_load(&load_shared->phase) >= LOAD_GRACE) {
            cut_row(rows, ready, connecting, &tick);
            rows = LOAD_GRACE;
        }
    }
    sampler_ask(SAMPLER_SECOND);
    await_samples();
    cut_row(rows, ready, connecting, &tick);
    return 0;
}

/* A report on standard output has it for itself. */
static FILE *text_stream(void)
{
    const struct options *o = &load_shared->options;

    return strcmp(o->json, "-") == 0 || strcmp(o->html, "-") == 0 ? stderr : stdout;
}

static int finish(int rc)
{
    struct results *r = &co.r;
    const struct options *o = &load_shared->options;
    uint64_t ready, connecting, given_up;
    FILE *f = text_stream();
    int failed;

    load_sum(&r->total, &ready, &connecting, &given_up);
    r->storm_recovery_s = storm_recovery();
    r->tls_there = r->total.not_answered > 0 && r->total.not_answered == LOAD_FAILURES(&r->total) &&
                   r->total.connects_done == 0 && !load_shared->targets[0].tls &&
                   probe_is_tls(&load_shared->targets[0]);
    r->run_messages_in = r->total.messages_in - co.run_in;
    r->run_pings_in = r->total.pings_in - co.run_pings;
    r->run_messages_out = r->total.messages_out - co.run_out;
    view_end();
    report_summary(f, r);
    if (o->json[0] != '\0' && report_json(o->json, r) == -1) {
        fprintf(stderr, "roostload: %s: %s\n", o->json, strerror(errno));
        rc = 1;
    }
    if (o->html[0] != '\0' && report_html(o->html, r) == -1) {
        fprintf(stderr, "roostload: %s: %s\n", o->html, strerror(errno));
        rc = 1;
    }
    failed = report_thresholds(f, r);
    if (rc != 0)
        return rc;
    if (failed > 0)
        return 3;
    return report_not_run(r);
}

int coordinator_run(void)
{
    int rc = 0;

    clock_refresh();
    if (series_init(&co.r) == -1) {
        fprintf(stderr, "roostload: no memory\n");
        return 1;
    }
    co.r.started_at = (int64_t)time(NULL);
    sample_take(&load_shared->options, true, &co.r.server_start);
    co.sample = co.used = co.r.server_start;
    clock_refresh(); /* that took a while */
    co.r.start_ns = co.phase_ns = clock_ns();
    boot_hold(); /* nobody is to be ended before somebody has the whole in hand */
    if (processes_start() == -1)
        rc = 1;
    if (rc == 0 && sampler_start(&load_shared->options) == -1) {
        fprintf(stderr, "roostload: no thread for samples: %s\n", strerror(errno));
        atomic_store(&load_shared->phase, LOAD_STOP);
        rc = 1;
    }
    catch_signals();
    view_start(text_stream(), isatty(fileno(text_stream())) && !load_shared->options.plain);
    if (rc == 0 && watch() == -1)
        rc = 1;
    processes_collect();
    rc = finish(rc);
    free(co.r.seconds);
    return rc;
}
