/* The schedule of a worker: one poll, then one turn. The order of a turn is the architecture's;
 * everything in it is bounded, and what is left makes the next poll return at once. */
#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/metrics.h"
#include "net_internal.h"

#define RECORDS_PER_TURN   1024
#define DEADLINES_PER_TURN 512
#define REAP_PER_TURN      512
#define SLOW_PER_TURN      64

/* The clock first: a callback that arms a deadline must not count from before the sleep. */
static void turn_on_check(struct ev_loop *loop UNUSED, ev_check *w UNUSED, int revents UNUSED)
{
    clock_refresh();
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

/* Step 2. */
static bool turn_receive(void)
{
    if (!reactor->broker)
        return false;
    if (reactor->cfg.hub_generation)
        broker_hub_generation(reactor->broker, (uint32_t)reactor->cfg.hub_generation());
    return broker_receive(reactor->broker, RECORDS_PER_TURN);
}

/* Step 4. */
static bool turn_work(void)
{
    uint64_t budget = (uint64_t)config.turn_budget;
    bool more;

    more =
        wheel_advance(&reactor->wheel, clock_ns(), DEADLINES_PER_TURN, conn_deadline_fired, NULL);
    more |= slow_sweep(SLOW_PER_TURN);
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

static void hub_wake(void)
{
    const uint64_t one = 1;

    METRIC_INC(ring_wakeups);
    /* A full counter (EAGAIN) wakes as well. */
    if (reactor->cfg.hub_wake_fd != -1 && write(reactor->cfg.hub_wake_fd, &one, sizeof(one)) == -1)
        return;
}

/* Step 7, first half: what is owed to the hub goes out in the turn that caused it. */
static void turn_send(void)
{
    bool more = false;

    if (!reactor->broker)
        return;
    if (broker_flush(reactor->broker, &more))
        hub_wake();
    if (more)
        reactor_wake_within(NAP_RETRY_NS);
}

void reactor_turn(void)
{
    bool more;

    clock_refresh(); /* 1 */
    reactor->nap_ns = NAP_MAX_NS;
    more = turn_receive(); /* 2 */
    more |= ready_turn();  /* 3 */
    more |= held_turn();
    more |= input_turn();
    more |= turn_work();                                    /* 4 */
    more |= conn_flush_dirty((uint64_t)config.turn_budget); /* 5 */
    turn_reap();                                            /* 6 */
    if (reactor->cfg.each_turn)
        reactor->cfg.each_turn();
    turn_send(); /* 7 */
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
    if (!reactor->broker || broker_sleep(reactor->broker))
        return true;
    broker_awake(reactor->broker);
    return false;
}

static void turn_sleep(void)
{
    reactor->nap_ns = wheel_next_ns(&reactor->wheel, clock_ns(), reactor->nap_ns);
    ev_timer_stop(reactor->loop, &reactor->sleeping);
    ev_timer_set(&reactor->sleeping, (double)reactor->nap_ns * 1e-9, 0.);
    ev_timer_start(reactor->loop, &reactor->sleeping);
    ev_run(reactor->loop, EVRUN_ONCE);
    if (reactor->broker)
        broker_awake(reactor->broker);
}

void reactor_step(bool block)
{
    if (block && !reactor->busy && reactor->ready.n == 0 && turn_announce_sleep())
        turn_sleep();
    else
        ev_run(reactor->loop, EVRUN_NOWAIT);
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
