/* proc/supervisor_drain.c - the master's part of a drain that was ordered (proc/drain.h). */
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "proc/drain.h"
#include "supervisor_internal.h"

#define LOOK_S      0.05
#define PATIENCE_NS (5 * NS_PER_SEC)
#define TIME_MAX_NS 1e16 /* beyond it a worker has written nonsense */

static struct {
    ev_io wake;
    ev_timer look;
} d;

static uint64_t read_staying(uint64_t *each)
{
    uint64_t all = 0;

    for (unsigned i = 0; i < shm->workers; i++)
        all += each[i] =
            MIN(atomic_load(&shm->slots[SHM_WORKER + i].staying), (uint64_t)UINT32_MAX);
    return all;
}

static void share_out(uint64_t most)
{
    uint64_t have[HUB_WORKERS_MAX], told[HUB_WORKERS_MAX];

    read_staying(have);
    for (unsigned i = 0; i < shm->workers; i++)
        told[i] = atomic_load(&shm->drain.most[i]);
    drain_share(most, have, shm->workers, told);
    for (unsigned i = 0; i < shm->workers; i++) {
        atomic_store(&shm->drain.most[i], told[i]);
        shm_wake(shm->worker_wake_fd[i]);
    }
}

/* The node is as empty as it is to be: it waits for another order, or stops. */
static void drained(void)
{
    struct shm_drain *s = &shm->drain;
    uint64_t ns = clock_ns() - atomic_load(&s->started_ns);

    LOG(LOG_INFO, "drained", KV_U("connections", shm_node_connections()),
        KV_U("leave", atomic_load(&s->leave)), KV_NS("took", ns));
    atomic_store(&shm->drain_deadline_s, 0);
    atomic_store(&s->state, DRAIN_DONE);
    ev_timer_stop(supervisor.loop, &d.look);
    if (atomic_load(&s->stop))
        supervisor_stop();
}

/* When nobody may be asked any more the last word holds: the sum of the shares. */
static void on_look(struct ev_loop *loop UNUSED, ev_timer *t UNUSED, int revents UNUSED)
{
    const struct shm_drain *s = &shm->drain;
    uint64_t leave = atomic_load(&s->leave);

    clock_refresh();
    share_out(drain_most(atomic_load(&s->from), leave, clock_ns() - atomic_load(&s->started_ns),
                         atomic_load(&s->time_ns)));
    if (shm_node_connections() <= leave)
        drained();
}

static void cancel(void)
{
    if (atomic_load(&shm->drain.state) == DRAIN_NONE)
        return;
    LOG(LOG_INFO, "the drain is cancelled: clients are welcome again",
        KV_U("connections", shm_node_connections()));
    supervisor_drain_end();
    for (unsigned i = 0; i < shm->workers; i++)
        shm_wake(shm->worker_wake_fd[i]);
}

static uint64_t time_of(const struct shm_wish *w, uint64_t many)
{
    uint64_t rate = atomic_load(&w->rate);
    double ns = rate == 0 ? (double)atomic_load(&w->time_ns)
                          : (double)many / (double)rate * (double)NS_PER_SEC;

    return (uint64_t)MIN(ns, TIME_MAX_NS);
}

static void begin(const struct shm_wish *w)
{
    struct shm_drain *s = &shm->drain;
    uint64_t each[HUB_WORKERS_MAX], from = read_staying(each), leave = atomic_load(&w->leave);
    uint64_t time_ns = time_of(w, from > leave ? from - leave : 0);

    /* Until it is shared out nobody goes, but nobody comes either. */
    for (unsigned i = 0; i < shm->workers; i++)
        atomic_store(&s->most[i], UINT64_MAX);
    atomic_store(&s->from, from);
    atomic_store(&s->leave, leave);
    atomic_store(&s->time_ns, time_ns);
    atomic_store(&s->started_ns, clock_ns());
    atomic_store(&s->stop, atomic_load(&w->stop));
    atomic_fetch_add(&s->order, 1);
    atomic_store(&s->state, DRAIN_GOING);
    atomic_store(&shm->drain_deadline_s,
                 (clock_wall_ns() + time_ns + (uint64_t)config.close_timeout + PATIENCE_NS) /
                     NS_PER_SEC);
    LOG(LOG_INFO, "draining as ordered: no new clients, and of those that are here some are closed",
        KV_U("connections", from), KV_U("leave", leave), KV_NS("time", time_ns),
        KV_B("stop", atomic_load(&w->stop) != 0));
    ev_timer_start(supervisor.loop, &d.look);
}

/* Either this sees that it is withdrawn, or its worker that it has begun (withdraw()). */
static bool is_withdrawn(unsigned worker, uint32_t n)
{
    atomic_store(&shm->drain.begun[worker], n);
    return atomic_load(&shm->slots[SHM_WORKER + worker].wish.withdrawn) == n;
}

/* A wish is read while its worker might write the next: it would come again. */
static void on_wake(struct ev_loop *loop UNUSED, ev_io *io, int revents UNUSED)
{
    uint64_t count;

    clock_refresh();
    if (read(io->fd, &count, sizeof(count)) == -1)
        return;
    for (unsigned i = 0; i < shm->workers; i++) {
        const struct shm_wish *w = &shm->slots[SHM_WORKER + i].wish;
        uint32_t n = atomic_load(&w->n);

        if (n == atomic_load(&shm->drain.taken[i]))
            continue;
        if (is_withdrawn(i, n))
            LOG(LOG_DEBUG, "an order that is withdrawn: it came too late");
        else if (supervisor.draining)
            LOG(LOG_DEBUG, "an order that came too late: the node stops");
        else if (atomic_load(&w->cancel))
            cancel();
        else
            begin(w);
        atomic_store(&shm->drain.taken[i], n);
        shm_wake(shm->worker_wake_fd[i]);
    }
}

void supervisor_drain_end(void)
{
    ev_timer_stop(supervisor.loop, &d.look);
    atomic_store(&shm->drain_deadline_s, 0);
    atomic_store(&shm->drain.state, DRAIN_NONE);
}

void supervisor_drain_watch(void)
{
    ev_io_init(&d.wake, on_wake, shm->master_wake_fd, EV_READ);
    ev_io_start(supervisor.loop, &d.wake);
    ev_timer_init(&d.look, on_look, 0., LOOK_S);
}
