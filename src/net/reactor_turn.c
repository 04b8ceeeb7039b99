/* The schedule of a process: one poll, then one turn. The order of a turn is the architecture's;
 * everything in it is bounded, and what is left makes the next poll return at once. */
#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/metrics.h"
#include "net/tls_server.h"
#include "net_internal.h"

#define RECORDS_PER_TURN   1024
#define DEADLINES_PER_TURN 512
#define REAP_PER_TURN      512
#define SLOW_PER_TURN      64

static __attribute__((noinline)) void turn_stood_still(uint64_t gap)
{
    if (reactor->seen_ns == 0 || reactor->cfg.standstill_ns == 0)
        return;
    reactor->away_ns += gap;
    reactor->poll_again = true;
    LOG(LOG_INFO, "this process stood still: the time does not count against its peers",
        KV_NS("time", gap));
}

/* Behind each look at the clock. It may be early: a sleep ends when something comes. */
static inline void turn_look_back(void)
{
    uint64_t now = clock_ns(), gap = now - reactor->seen_ns;

    if (UNLIKELY((int64_t)gap > (int64_t)reactor->cfg.standstill_ns))
        turn_stood_still(gap);
    reactor->seen_ns = now;
}

/* The clock first: a callback that arms a deadline must not count from before the sleep. */
static void turn_on_check(struct ev_loop *loop UNUSED, ev_check *w UNUSED, int revents UNUSED)
{
    clock_refresh();
    turn_look_back();
    trace_look(clock_ns());
    reactor->turn_started_ns = clock_precise_ns();
    reactor->tick = reactor_tick_now();
    reactor->turn++;
    input_begin();
}

static void turn_on_timer(struct ev_loop *loop UNUSED, ev_timer *w UNUSED, int revents UNUSED)
{
    /* Waking up was all; the turn looks at the wheel. */
}

static void turn_on_wake(struct ev_loop *loop UNUSED, ev_io *io, int revents UNUSED)
{
    uint64_t count;

    /* Only resets the counter: the ring says what has come. EAGAIN is as good. */
    if (read(io->fd, &count, sizeof(count)) == -1)
        return;
}

void turn_init(void)
{
    ev_check_init(&reactor->check, turn_on_check);
    ev_set_priority(&reactor->check, EV_MAXPRI);
    ev_check_start(reactor->loop, &reactor->check);
    ev_timer_init(&reactor->sleeping, turn_on_timer, 0., 0.);
    if (reactor->cfg.wake_fd != -1) {
        ev_io_init(&reactor->wake, turn_on_wake, reactor->cfg.wake_fd, EV_READ);
        ev_io_start(reactor->loop, &reactor->wake);
    }
}

void turn_fini(void)
{
    ev_check_stop(reactor->loop, &reactor->check);
    ev_timer_stop(reactor->loop, &reactor->sleeping);
    if (reactor->cfg.wake_fd != -1)
        ev_io_stop(reactor->loop, &reactor->wake);
}

/* A worker's rings */

static bool link_receive(void)
{
    if (reactor->cfg.hub_generation != NULL)
        broker_hub_generation(reactor->broker, (uint32_t)reactor->cfg.hub_generation());
    return broker_receive(reactor->broker, RECORDS_PER_TURN);
}

static void hub_wake(void)
{
    const uint64_t one = 1;

    METRIC_INC(ring_wakeups);
    /* A full counter (EAGAIN) wakes as well. */
    if (reactor->cfg.hub_wake_fd != -1 && write(reactor->cfg.hub_wake_fd, &one, sizeof(one)) == -1)
        return;
}

/* What is owed to the hub goes out in the turn that caused it. */
static void link_flush(void)
{
    bool more = false;

    if (broker_flush(reactor->broker, &more))
        hub_wake();
    if (more)
        reactor_wake_within(NAP_RETRY_NS);
}

static bool link_sleep(void)
{
    return broker_sleep(reactor->broker);
}

static void link_awake(void)
{
    broker_awake(reactor->broker);
}

static const struct reactor_rings broker_rings = {
    .receive = link_receive,
    .flush = link_flush,
    .sleep = link_sleep,
    .awake = link_awake,
};

void reactor_set_broker(struct broker *b)
{
    reactor->broker = b;
    reactor->rings = b != NULL ? &broker_rings : NULL;
}

/* Step 4. */
static bool turn_work(void)
{
    uint64_t budget = (uint64_t)config.turn_budget;
    bool more;

    more =
        wheel_advance(&reactor->wheel, reactor_ns(), DEADLINES_PER_TURN, conn_deadline_fired, NULL);
    more |= slow_sweep(SLOW_PER_TURN);
    if (config.worker_memory != 0 || reactor->overload.stopped)
        more |= overload_turn();
    drain_step();
    more |= task_run(&reactor->tasks, budget);
    return more;
}

/* Step 6. */
static void turn_reap(void)
{
    size_t freed = reactor_reap(REAP_PER_TURN);

    if (!list_empty(&reactor->paused))
        listener_resume(freed > 0);
}

void reactor_turn(void)
{
    const struct reactor_rings *rings = reactor->rings;
    bool more;

    clock_refresh(); /* 1 */
    turn_look_back();
    reactor->nap_ns = NAP_MAX_NS;
    more = rings != NULL && rings->receive(); /* 2 */
    more |= tls_turn();                       /* 3 */
    more |= ready_turn();
    more |= held_turn();
    more |= input_turn();
    more |= turn_work();                                    /* 4 */
    more |= conn_flush_dirty((uint64_t)config.turn_budget); /* 5 */
    turn_reap();                                            /* 6 */
    if (UNLIKELY(reactor->shed.on))
        shed_step();
    if (reactor->cfg.each_turn != NULL)
        reactor->cfg.each_turn();
    if (rings != NULL && rings->flush != NULL) /* 7 */
        rings->flush();
    if (!waiters_empty(&reactor->waiters))
        reactor_wake_within(NAP_RETRY_NS);
    reactor->busy = more || !list_empty(&reactor->dirty) || !list_empty(&reactor->condemned) ||
                    !list_empty(&reactor->tasks.runnable);
    METRIC_INC(turns);
    hist_record(&metrics->turn_duration, clock_precise_ns() - reactor->turn_started_ns);
}

/* Step 7, second half: true when nothing came in while sleep was being announced. */
static bool turn_announce_sleep(void)
{
    if (reactor->rings == NULL || reactor->rings->sleep())
        return true;
    reactor->rings->awake();
    return false;
}

static void turn_sleep(void)
{
    reactor->nap_ns = wheel_next_ns(&reactor->wheel, reactor_ns(), reactor->nap_ns);
    /* Cheaper than to stop and start it; a repeat of 0 would stop it. */
    reactor->sleeping.repeat = (double)(reactor->nap_ns + 1) * 1e-9;
    ev_timer_again(reactor->loop, &reactor->sleeping);
    reactor->seen_ns += reactor->nap_ns;
    ev_run(reactor->loop, EVRUN_ONCE);
    if (reactor->rings != NULL)
        reactor->rings->awake();
}

void reactor_step(bool block)
{
    if (block && !reactor->busy && reactor->ready.n == 0 && turn_announce_sleep())
        turn_sleep();
    else
        ev_run(reactor->loop, EVRUN_NOWAIT);
    if (UNLIKELY(reactor->poll_again)) { /* who is stopped and goes on has an interrupted poll */
        reactor->poll_again = false;
        ev_run(reactor->loop, EVRUN_NOWAIT);
    }
    reactor_turn();
}

void reactor_run(void)
{
    while (!reactor->stopping)
        reactor_step(true);
}

void reactor_stop(void)
{
    reactor->stopping = true;
}
