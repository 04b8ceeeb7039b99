/* proc/hub_process.c - core/hub on a reactor, whose rings it serves.
 *
 * Step 2 of its turn: deaths and configuration, then rounds until one finds nothing, or some: a
 * bounded number of records from each ring, one at a time · bounded work left in the hub · the
 * workers that sleep on what was sent are woken. A record is given back to its ring only when it
 * has been handled to the end; in_work in its slot says of which ring. */
#include "proc/hub_process.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "core/hub.h"
#include "net/reactor.h"
#include "proc/engine_wires.h"
#include "proc/node.h"
#include "proc/orders.h"
#include "proc/sandbox.h"
#include "proc/shm.h"
#include "proc/supervisor.h"
#include "proc/usage.h"

#define RECORDS_PER_RING  256  /* of one ring per round */
#define RUN_RECORDS       1024 /* of work left per round */
#define GATHER_TIMEOUT_NS (2 * NS_PER_SEC)
#define ROUNDS_PER_TURN   8
#define BACKLOG_NAP_NS    NS_PER_MS
#define GATHER_NAP_NS     (20 * NS_PER_MS)
#define GOODBYE_NS        (50 * NS_PER_MS)

static struct {
    struct hub *hub;
    struct engine *engine; /* borrowed: the hub's */
    struct ring in[HUB_WORKERS_MAX], out[HUB_WORKERS_MAX];
    bool sent[HUB_WORKERS_MAX];            /* something was written in this round */
    uint64_t given_back[HUB_WORKERS_MAX];  /* positions in the inbound rings */
    uint32_t generations[HUB_WORKERS_MAX]; /* incarnations the hub knows of */
    uint64_t gather_until_ns;              /* 0: not gathering */
    ev_io master;
    ev_signal term;
    bool stop_asked;
    uint64_t stop_ns; /* it has said goodbye, and stops then; 0: it has not */
} h;

static int hub_send(void *arg UNUSED, unsigned worker, const struct record *r)
{
    void *p = ring_reserve(&h.out[worker], record_bytes(r));

    if (p == NULL)
        return -1;
    record_encode(r, p);
    /* Committed at once: what one record of a publisher becomes must be visible before that record
     * is given back. */
    ring_commit(&h.out[worker]);
    h.sent[worker] = true;
    return 0;
}

static uint32_t hub_generation_of(void *arg UNUSED, unsigned worker)
{
    struct shm_slot *s = &shm->slots[SHM_WORKER + worker];

    return atomic_load(&s->pid) == 0 ? 0 : atomic_load(&s->generation);
}

static struct ring_debt *hub_debt(void *arg UNUSED, unsigned worker)
{
    return &shm->to_worker[worker]->debt;
}

/* What is complete. Most of the time that is all that was read. */
static void give_back(unsigned worker)
{
    uint64_t to = hub_complete_to(h.hub, worker, h.in[worker].position);

    if (to <= h.given_back[worker])
        return;
    h.given_back[worker] = to;
    ring_release_to(&h.in[worker], to);
}

static void take_record(unsigned worker, struct str raw)
{
    struct ring *in = &h.in[worker];
    struct record r;

    if (record_decode(raw, &r) == -1) {
        METRIC_INC(ring_bad_records);
    } else {
        METRIC_INC(ring_records[r.kind]);
        hub_receive(h.hub, worker, &r, in->position);
    }
    ring_next(in);
    give_back(worker);
}

/* At most max records of one ring; how many it were. */
static unsigned take_ring(unsigned worker, unsigned max)
{
    struct ring *in = &h.in[worker];
    struct str raw;
    unsigned n = 0;

    while (n < max && hub_wants(h.hub, worker)) {
        int rc = ring_peek(in, &raw);

        if (rc == 0)
            break;
        if (rc < 0) {
            LOG(LOG_ERROR, "a worker's ring is corrupt and was emptied", KV_U("worker", worker));
            METRIC_INC(ring_bad_records);
            ring_discard(in);
            h.given_back[worker] = in->position;
            break;
        }
        atomic_store(&shm->slots[SHM_HUB].in_work, worker + 1);
        take_record(worker, raw);
        atomic_store(&shm->slots[SHM_HUB].in_work, 0);
        n++;
    }
    return n;
}

/* The record in work when the last hub died comes first: part of what it sends may have been sent
 * already, and nothing else may come between. */
static void take_interrupted(void)
{
    uint32_t in_work = atomic_load(&shm->slots[SHM_HUB].in_work);

    if (in_work > 0 && in_work <= shm->workers)
        (void)take_ring(in_work - 1, 1);
    atomic_store(&shm->slots[SHM_HUB].in_work, 0);
}

static void notice_workers(void)
{
    for (unsigned i = 0; i < shm->workers; i++) {
        uint32_t now = hub_generation_of(NULL, i);

        if (now == h.generations[i])
            continue;
        if (h.generations[i] != 0)
            hub_worker_gone(h.hub, i);
        h.generations[i] = now;
    }
}

static void set_limits(void)
{
    hub_set_limits(h.hub, (struct hub_limits){
                              .queue_max = (uint64_t)config.hub_queue,
                              .linger_ns = (uint64_t)config.channel_linger,
                              .answer_ns = (uint64_t)config.hub_timeout,
                              .record_max = ring_max_record(&h.out[0]),
                          });
}

static void look_around(void)
{
    shm_heartbeat(SHM_HUB);
    usage_look();
    log_say_suppressed(false);
    notice_workers();
    nodes_publish(h.engine->nodes);
    if (shm_take_config()) {
        set_limits();
        log_set_level(config_log_level(&config));
        log_set_format((enum log_format)config.log_format);
    }
    if (h.gather_until_ns != 0 && hub_state(h.hub) == HUB_LIVE) {
        LOG(LOG_INFO, "hub is live", KV_U("channels", hub_channel_count(h.hub)));
        h.gather_until_ns = 0;
    } else if (h.gather_until_ns != 0 && hub_state(h.hub) == HUB_GATHERING &&
               clock_ns() > h.gather_until_ns) {
        LOG(LOG_WARN, "not every worker has announced its channels in time");
        hub_gather_timeout(h.hub);
    }
}

/* True when there is more to do, as far as is known. */
static bool round_of_work(unsigned *taken)
{
    bool more = false;

    *taken = 0;
    for (unsigned i = 0; i < shm->workers; i++) {
        unsigned n = take_ring(i, RECORDS_PER_RING);

        *taken += n;
        more |= n == RECORDS_PER_RING;
    }
    more |= hub_run(h.hub, RUN_RECORDS);
    for (unsigned i = 0; i < shm->workers; i++) {
        give_back(i); /* what the engine has completed meanwhile */
        if (h.sent[i] && ring_wake_needed(&h.out[i]))
            shm_wake(shm->worker_wake_fd[i]);
        h.sent[i] = false;
    }
    return more;
}

/* TERM may have been sent to every process of the daemon (a service manager does): workers that
 * close their clients still need the hub, so it waits until the last one has gone. */
static bool last_worker_gone(void)
{
    for (unsigned i = 0; i < shm->workers; i++)
        if (hub_generation_of(NULL, i) != 0)
            return false;
    return true;
}

static bool something_has_come(void)
{
    struct str raw;

    for (unsigned i = 0; i < shm->workers; i++)
        if (hub_wants(h.hub, i) && ring_peek(&h.in[i], &raw) != 0)
            return true;
    return false;
}

/* What this node says to the others at its end has a moment to get out. */
static void leave(void)
{
    if (h.stop_ns == 0 && h.engine->nodes != NULL) {
        engine_nodes_leave(h.engine->nodes);
        h.stop_ns = clock_ns() + GOODBYE_NS;
    }
    if (clock_ns() >= h.stop_ns)
        reactor_stop();
    else
        reactor_wake_within(h.stop_ns - clock_ns());
}

/* Heartbeat, deaths and configuration are looked at as often as a reactor turns at least. While
 * records come in a stream, another round is cheaper than another poll. */
static bool rings_receive(void)
{
    bool more = true;
    unsigned taken;

    look_around();
    engine_wires_heard(); /* what the poll has read */
    for (unsigned n = 0; n < ROUNDS_PER_TURN && more; n++)
        more = round_of_work(&taken) || (taken > 1 && something_has_come());
    if (hub_backlogged(h.hub))
        reactor_wake_within(BACKLOG_NAP_NS);
    else if (h.gather_until_ns != 0)
        reactor_wake_within(GATHER_NAP_NS);
    else if (hub_engine_due_ns(h.hub) > clock_ns())
        reactor_wake_within(hub_engine_due_ns(h.hub) - clock_ns());
    if (h.stop_asked && last_worker_gone())
        leave();
    return more;
}

/* A server that says much is read behind rings_receive(). What came of it (deliveries, answers, the
 * next piece of a history) does not wait for the next turn, before which the hub may sleep. */
static void rings_flush(void)
{
    unsigned taken;

    if (engine_wires_heard() && round_of_work(&taken))
        reactor_wake_within(0);
}

/* On every ring it would read. */
static bool rings_sleep(void)
{
    bool quiet = true;

    for (unsigned i = 0; i < shm->workers; i++)
        if (hub_wants(h.hub, i) && !ring_sleep(&h.in[i]))
            quiet = false;
    return quiet;
}

static void rings_awake(void)
{
    for (unsigned i = 0; i < shm->workers; i++)
        ring_awake(&h.in[i]);
}

static const struct reactor_rings rings = {
    .receive = rings_receive, .flush = rings_flush, .sleep = rings_sleep, .awake = rings_awake};

static void on_term(struct ev_loop *loop UNUSED, ev_signal *s UNUSED, int revents UNUSED)
{
    h.stop_asked = true;
}

/* And with it the daemon. */
static void on_master_gone(struct ev_loop *loop, ev_io *io, int revents UNUSED)
{
    ev_io_stop(loop, io);
    reactor_stop();
}

static void on_order_text(enum order what, struct str text)
{
    if (what == ORDER_ENGINE_TLS)
        engine_tls_take(text);
}

static void watch_orders(int master_fd)
{
    ev_signal_init(&h.term, on_term, SIGTERM);
    ev_io_init(&h.master, on_master_gone, master_fd, EV_READ);
    ev_signal_start(reactor->loop, &h.term);
    ev_io_start(reactor->loop, &h.master);
    orders_watch(reactor->loop, on_order_text);
    signal(SIGINT, SIG_IGN); /* a terminal's Ctrl-C and Ctrl-\ are the master's to handle */
    signal(SIGQUIT, SIG_IGN);
    signal(SIGUSR1, SIG_IGN); /* as is the log file */
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    child_take_signals();
}

static const struct hub_ops ops = {
    .send = hub_send, .generation = hub_generation_of, .debt = hub_debt};

/* On a core of its own, or one that is idle, it makes no difference. Where cores are short, a hub
 * that is woken does not push the worker that woke it off its core in the middle of a turn: it runs
 * when the worker sleeps or has had its slice, and finds more records at a time. */
static void yield_to_the_waker(void)
{
    const struct sched_param none = {0};

    if (sched_setscheduler(0, SCHED_BATCH, &none) == -1)
        LOG(LOG_DEBUG, "the hub keeps the ordinary scheduling policy",
            KV_S("why", strerror(errno)));
}

static void start(int master_fd)
{
    const struct reactor_config cfg = {.rings = &rings,
                                       .wake_fd = shm->hub_wake_fd,
                                       .hub_wake_fd = -1,
                                       .standstill_ns = REACTOR_STANDSTILL_NS};
    uint32_t generation = shm_hub_generation();

    prctl(PR_SET_NAME, "roost: hub");
    log_set_process("hub");
    yield_to_the_waker();
    shm_enter(SHM_HUB);
    shm_confine(SHM_HUB);
    shm_trace_open(SHM_HUB);
    hash_seed_random();
    reactor_init(&cfg);
    watch_orders(master_fd);
    for (unsigned i = 0; i < shm->workers; i++) {
        ring_attach_consumer(&h.in[i], shm->to_hub[i], shm->ring_capacity);
        h.given_back[i] = h.in[i].position;
        ring_attach_producer(&h.out[i], shm->to_worker[i], shm->ring_capacity);
    }
    engine_shards_begin();
    node_init();
    h.engine = engine_of_settings(shm->node_id, generation > 1);
    h.hub = hub_new(shm->workers, generation, h.engine, &ops, NULL);
    if (h.hub == NULL) {
        LOG(LOG_ERROR, "no memory for the hub");
        exit(1);
    }
    set_limits();
    notice_workers();
    if (generation <= 1) {
        hub_go_live(h.hub);
    } else {
        h.gather_until_ns = clock_ns() + GATHER_TIMEOUT_NS;
        take_interrupted();
    }
    usage_open(SHM_HUB);
    atomic_store(&shm->slots[SHM_HUB].open_fds, shm_count_fds());
    sandbox_enter(config.engine == ENGINE_IS_MEMORY ? SANDBOX_HUB : SANDBOX_HUB_ENGINE);
    clock_refresh();
    shm_heartbeat(SHM_HUB);
    shm_set_phase(SHM_HUB, SHM_READY);
    for (unsigned i = 0; i < shm->workers; i++) /* so that they see the new incarnation */
        shm_wake(shm->worker_wake_fd[i]);
}

void hub_main(int master_fd)
{
    start(master_fd);
    reactor_run();
    log_say_suppressed(true);
    hub_free(h.hub);
    exit(0);
}
