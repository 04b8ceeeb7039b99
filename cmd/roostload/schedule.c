/* schedule.c - what is due when: connecting, churn, storms; publishing is in publish.c. Open-loop:
 * event n is due at start + n / rate. */
#include <poll.h>

#include "base/clock.h"
#include "engine.h"
#include "net/reactor.h"

#define CONNECTING_MAX                                                                             \
    1000 /* attempts under way per process; the accept queue of a server is not endless */

#define STALLED_BATCH   256
#define STALLED_LOOK_NS (NS_PER_SEC / 2)

static struct {
    struct pace connect, churn;
    uint64_t storm_ns;   /* 0: done or none */
    uint64_t stalled_ns; /* when the next stalled ones are asked, beginning with stalled_next */
    uint64_t stalled_next;
} plan;

bool user_is_publisher(uint32_t id)
{
    if (engine.o->scenario == SCENARIO_CHAT)
        return true;
    return id >= load_shared->users - load_shared->publishers;
}

bool user_may_leave(uint32_t id)
{
    return engine.o->scenario == SCENARIO_CHAT || !engine.o->recover || !user_is_publisher(id);
}

uint32_t user_channel(uint32_t id)
{
    if (engine.o->scenario == SCENARIO_ECHO)
        return id;
    if (engine.o->scenario == SCENARIO_CHAT)
        return id / (uint32_t)engine.o->room;
    return (uint32_t)(id % load_shared->channels);
}

/* Whoever churn sends away comes back as fast as others go, or fewer and fewer would be there.
 * Until everybody is back from a storm it is the server that says how fast, also after a moment in
 * which nobody waited. */
static double connect_rate(void)
{
    double share = (double)engine.count / (double)load_shared->users;
    bool churns = engine.o->scenario == SCENARIO_CHURN || engine.o->scenario == SCENARIO_CHAT;

    if (engine.storm_away > 0)
        return 1e6;
    if (engine.phase == LOAD_RUN && churns)
        return MAX(engine.o->ramp, engine.o->churn_rate) * share;
    return engine.o->ramp * share;
}

static void pace_connects(uint64_t now)
{
    pace_start(&plan.connect, now, connect_rate());
}

/* The same users each time, whatever becomes of their connections: splitmix64 of the number. */
static bool user_stalls(uint32_t id)
{
    uint64_t z = ((uint64_t)engine.o->seed + id + 1) * UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return !user_is_publisher(id) && (double)((z ^ z >> 31) % 10000) < engine.o->stall * 100;
}

void user_stall(struct conn *c)
{
    if (!user_stalls(user_of(c)->id))
        return;
    user_of(c)->flags |= USER_STALLED;
    conn_hold(c, CONN_HOLD_ANSWER);
}

static void start_run(uint64_t now)
{
    uint64_t start = atomic_load(&load_shared->run_start_ns);
    double share = (double)engine.count / (double)load_shared->users;

    switch (engine.o->scenario) {
    case SCENARIO_BROADCAST:
    case SCENARIO_SLOW:
        publish_start(start);
        break;
    case SCENARIO_CHAT:
        publish_start(start);
        pace_start(&plan.churn, start, engine.o->churn_rate * share);
        break;
    case SCENARIO_CHURN:
        publish_start(start);
        pace_start(&plan.churn, start, engine.o->churn_rate * share);
        break;
    case SCENARIO_ECHO:
        echo_start(start);
        break;
    case SCENARIO_STORM:
        publish_start(start);
        break;
    case SCENARIO_HOLD:
    case SCENARIO_NR:
        break;
    }
    pace_connects(now);
    if (engine.o->storm_after > 0) /* at the same time in every process */
        plan.storm_ns = start + (uint64_t)engine.o->storm_after;
    for (uint64_t i = 0; i < engine.count; i++) {
        struct conn *c = engine.conns[i];

        if (c == NULL || conn_dead(c) || (user_of(c)->flags & USER_READY) == 0)
            continue;
        if (engine.o->scenario == SCENARIO_ECHO)
            user_echo(c);
        if (engine.o->scenario == SCENARIO_SLOW)
            user_stall(c);
    }
}

void schedule_start(void)
{
    engine.phase = LOAD_RAMP;
    pace_connects(clock_ns());
}

/* Whose wait is over; returns when the next one's is. */
static uint64_t take_later(uint64_t now)
{
    while (dues_next(&engine.later) <= now) {
        uint32_t own = dues_first(&engine.later);

        dues_remove(&engine.later, own);
        engine.waiting[engine.wait_tail++ % engine.count] = (uint32_t)(engine.first + own);
    }
    return dues_next(&engine.later);
}

static uint64_t run_connects(uint64_t now)
{
    uint64_t retry;

    /* Nobody waits: what the ramp could have done meanwhile is not made up for. */
    retry = take_later(now);
    if (engine.wait_head == engine.wait_tail) {
        pace_connects(now);
        return retry;
    }
    for (int n = 0; n < BURST_MAX && engine.wait_head != engine.wait_tail; n++) {
        if (pace_due(&plan.connect) > now)
            return pace_due(&plan.connect);
        if (atomic_load(&engine.slot->connecting) >= CONNECTING_MAX)
            return now + NS_PER_MS;
        if (user_connect(engine.waiting[engine.wait_head % engine.count]) == -1)
            return now + 10 * NS_PER_MS; /* no descriptor or port at the moment */
        engine.wait_head++;
        plan.connect.done++;
    }
    return now;
}

static uint64_t run_churn(uint64_t now)
{
    for (int n = 0; n < BURST_MAX; n++) {
        uint64_t due = pace_due(&plan.churn);
        struct conn *c;

        if (due > now)
            return due;
        plan.churn.done++;
        c = engine.conns[engine_random() % engine.count];
        if (c != NULL && !conn_dead(c) && user_may_leave(user_of(c)->id) &&
            (user_of(c)->flags & USER_READY) && (user_of(c)->flags & USER_CLOSING) == 0)
            user_close(c);
    }
    return now;
}

/* How many of this process leave: its part of the share of all, which is somebody at least. */
static uint64_t storm_leaving(void)
{
    double share = (double)load_shared->users * engine.o->storm_share / 100;
    uint64_t all = MAX((uint64_t)(share + 0.5), UINT64_C(1));

    return load_first_user(all, load_shared->processes, engine.process + 1) -
           load_first_user(all, load_shared->processes, engine.process);
}

/* Everybody, or the given share, leaves without a word, as when a network fails, and comes back as
 * fast as the server takes them. */
static uint64_t run_storm(uint64_t now)
{
    uint64_t leaving;

    if (plan.storm_ns == 0)
        return UINT64_MAX;
    if (now < plan.storm_ns)
        return plan.storm_ns;
    plan.storm_ns = 0;
    leaving = storm_leaving();
    for (uint64_t i = 0; i < leaving; i++) {
        struct conn *c = engine.conns[i];

        if (c != NULL && !conn_dead(c) && user_may_leave(user_of(c)->id)) {
            user_of(c)->flags |= USER_CLOSING;
            conn_kill(c, CLOSE_NORMAL);
            engine.storm[i] = STORM_AWAY;
            engine.storm_away++;
        }
    }
    if (engine.storm_away > 0)
        atomic_store(&engine.slot->storm_ns, now);
    pace_connects(now);
    return now;
}

void storm_returned(uint32_t id)
{
    uint8_t *flags = &engine.storm[id - engine.first];
    uint64_t now;

    if ((*flags & STORM_AWAY) == 0)
        return;
    now = clock_precise_ns();
    if ((*flags & STORM_BACK) == 0)
        hdr_record(&engine.slot->m.back, now - engine.slot->storm_ns);
    *flags = STORM_BACK;
    if (--engine.storm_away == 0)
        atomic_store(&engine.slot->recovered_ns, now);
}

/* A server that takes everybody and drops them again has not recovered. */
void storm_left(uint32_t id)
{
    uint8_t *flags = &engine.storm[id - engine.first];

    if (*flags != STORM_BACK || engine.slot->recovered_ns != 0)
        return;
    *flags |= STORM_AWAY;
    engine.storm_away++;
}

/* At the end: who never came back counts as if it had come now, or the worst would be missing. */
static void storm_count_away(uint64_t now)
{
    for (uint64_t i = 0; i < engine.count && engine.storm_away > 0; i++) {
        if ((engine.storm[i] & STORM_AWAY) == 0)
            continue;
        engine.storm_away--;
        engine.slot->m.not_back++;
        if ((engine.storm[i] & STORM_BACK) == 0)
            hdr_record(&engine.slot->m.back, now - engine.slot->storm_ns);
    }
}

/* No event is awaited on a connection that is not read, so nothing says that the server has ended
 * it: they are asked, some at a time, each about twice a second. */
static uint64_t run_stalled(uint64_t now)
{
    struct pollfd asked[STALLED_BATCH];
    struct conn *of[STALLED_BATCH];
    nfds_t n = 0;

    if (engine.o->scenario != SCENARIO_SLOW)
        return UINT64_MAX;
    if (now < plan.stalled_ns)
        return plan.stalled_ns;
    for (uint64_t i = 0; i < MIN(engine.count, (uint64_t)STALLED_BATCH); i++) {
        struct conn *c = engine.conns[plan.stalled_next++ % engine.count];

        if (c == NULL || conn_dead(c) || (user_of(c)->flags & USER_STALLED) == 0)
            continue;
        of[n] = c;
        asked[n++] = (struct pollfd){.fd = conn_fd(c), .events = POLLRDHUP};
    }
    if (poll(asked, n, 0) > 0)
        for (nfds_t i = 0; i < n; i++)
            if (asked[i].revents != 0)
                conn_kill(of[i], CLOSE_PEER_GONE);
    plan.stalled_ns = now + STALLED_LOOK_NS * MIN(engine.count, (uint64_t)STALLED_BATCH) /
                                MAX(engine.count, UINT64_C(1));
    return plan.stalled_ns;
}

/* user_echo() gives the user its next time, or takes it out. */
static uint64_t run_echo_schedule(uint64_t now)
{
    for (int n = 0; n < BURST_MAX; n++) {
        uint64_t due = dues_next(&engine.echo);
        struct conn *c;

        if (due > now)
            return due;
        c = engine.conns[dues_first(&engine.echo)];
        if (c != NULL && !conn_dead(c) && (user_of(c)->flags & USER_READY))
            user_echo(c);
        else
            dues_remove(&engine.echo, dues_first(&engine.echo));
    }
    return now;
}

/* What was due and could be sent has been, however late this process comes to it. */
static void end_run(uint64_t now)
{
    if (atomic_load(&load_shared->run_end_ns) == 0)
        return; /* it never began */
    publish_stop(now);
    while (run_echo_schedule(now) <= now)
        ;
    echo_stop(run_time(now));
    plan.churn.interval_ns = 0;
}

static void change_phase(uint32_t phase, uint64_t now)
{
    if (phase == LOAD_GRACE && engine.phase == LOAD_RUN)
        end_run(now);
    engine.phase = phase;
    switch ((enum load_phase)phase) {
    case LOAD_RAMP:
        break;
    case LOAD_RUN:
        if (atomic_load(&load_shared->run_end_ns) != 0) /* else the ramp was the end of it */
            start_run(now);
        break;
    case LOAD_GRACE:
        break;
    case LOAD_STOP:
        user_count_missing();
        storm_count_away(now);
        reactor_drain(0, reactor_stop);
        break;
    }
}

uint64_t schedule_run(uint64_t now)
{
    uint32_t phase = atomic_load(&load_shared->phase);
    uint64_t next = UINT64_MAX;

    while (engine.phase < phase)
        change_phase(engine.phase + 1, now);
    if (engine.phase <= LOAD_RUN)
        next = MIN(next, run_connects(now));
    if (engine.phase == LOAD_RUN) {
        next = MIN(next, publish_run(now));
        next = MIN(next, run_churn(now));
        next = MIN(next, run_storm(now));
        next = MIN(next, run_echo_schedule(now));
    }
    if (engine.phase == LOAD_RUN || engine.phase == LOAD_GRACE)
        next = MIN(next, run_stalled(now));
    return next;
}
