/* proc/worker.c - a worker process: puts the layers together and keeps the master's orders. */
#include "proc/worker.h"

#include <errno.h>
#include <ev.h>
#include <malloc.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "net/admission.h"
#include "net/glitch.h"
#include "net/reactor.h"
#include "proc/accepting.h"
#include "proc/admin.h"
#include "proc/drain.h"
#include "proc/orders.h"
#include "proc/reload.h"
#include "proc/sandbox.h"
#include "proc/shm.h"
#include "proc/supervisor.h"
#include "proc/usage.h"
#include "proto/http.h"
#include "proto/inquiry.h"
#include "proto/session.h"
#include "proto/tokens.h"

#define MMAP_THRESHOLD   (32 * 1024)
#define TRIM_THRESHOLD   (1024 * 1024)
#define HUB_HEARTBEAT_NS (2 * NS_PER_SEC) /* an idle hub beats twice a second */
#define LEAVE_POLL_NS    (20 * NS_PER_MS)
#define LOOK_NS          (NS_PER_SEC / 4) /* at the others and the gauges, when there is a turn */

static struct {
    unsigned index;
    ev_io master;
    ev_signal term, hup;
    struct broker *broker;
    uint64_t own_fds; /* descriptors but for connections */
    bool drained;     /* no client is left here */
} w;

static void drained(void)
{
    LOG(LOG_INFO, "drained");
    w.drained = true;
    reactor_wake_within(0);
}

/* A worker that is done stays while others still have clients: the kernel hands probes of the admin
 * listener to any of them. */
static void leave_with_the_others(void)
{
    if (shm_node_connections() == 0)
        reactor_stop();
    else
        reactor_wake_within(LEAVE_POLL_NS);
}

static void start_drain(void)
{
    if (reactor->draining)
        return;
    shm_set_phase(SHM_WORKER + w.index, SHM_DRAINING);
    LOG(LOG_INFO, "draining", KV_U("connections", reactor->client_connections),
        KV_NS("drain_time", config.drain_time));
    accepting_stop_clients();
    reactor_drain((uint64_t)config.drain_time, drained);
}

static void on_term(struct ev_loop *loop UNUSED, ev_signal *s UNUSED, int revents UNUSED)
{
    start_drain();
}

static void take_config(void)
{
    if (!shm_take_config())
        return;
    log_set_level(config_log_level(&config));
    log_set_format((enum log_format)config.log_format);
    reactor_config_changed();
    tokens_reload();
}

static void take_tls(void)
{
    if (tls_files_take(shm->tls) == -1)
        return; /* logged; the old ones serve */
}

/* What egress has fetched, and what it is to fetch. */
static void take_keys(void)
{
    static struct shm_key_set sets[TOKEN_KIND_NR];
    static uint32_t seen;

    atomic_store_explicit(&shm->slots[SHM_WORKER + w.index].keys_wanted_ns, tokens_wanted_ns(),
                          memory_order_relaxed);
    if (!shm_take_keys(&seen, sets))
        return;
    for (unsigned k = 0; k < TOKEN_KIND_NR; k++)
        tokens_take_fetched((enum token_kind)k, str_from(sets[k].url),
                            (struct str){sets[k].text, sets[k].len}, sets[k].fetched_ns);
}

static void on_hup(struct ev_loop *loop UNUSED, ev_signal *s UNUSED, int revents UNUSED)
{
    take_config();
    take_tls();
}

/* End of file: there is no daemon any more that this worker could belong to. Its clients are told
 * at once, and its ports are free for the next daemon. */
static void on_master_gone(struct ev_loop *loop, ev_io *io, int revents UNUSED)
{
    LOG(LOG_WARN, "the master is gone, stopping");
    ev_io_stop(loop, io);
    accepting_end();
    reactor_drain(0, reactor_stop);
}

static void each_turn(void)
{
    static uint64_t looked_ns;
    struct shm_slot *slot = &shm->slots[SHM_WORKER + w.index];
    uint64_t now = clock_ns();

    atomic_store_explicit(&slot->client_connections, reactor->client_connections,
                          memory_order_relaxed);
    atomic_store_explicit(&slot->stopped, reactor->overload.stopped, memory_order_relaxed);
    /* Counting in /proc would take a scrape of a full node a second. */
    atomic_store_explicit(&slot->open_fds, w.own_fds + reactor->connections, memory_order_relaxed);
    drain_turn();
    shm_heartbeat(SHM_WORKER + w.index);
    usage_look();
    take_config();
    take_tls();
    take_keys();
    reload_turn();
    if (w.drained)
        leave_with_the_others();
    broker_check_positions(reactor->broker, now);
    if (now - looked_ns < LOOK_NS)
        return;
    looked_ns = now;
    accepting_look();
    reactor_update_gauges();
    inquiry_tick();
    admission_tick();
    glitch_tick();
    log_say_suppressed(false);
}

static uint64_t hub_generation(void)
{
    return shm_hub_generation();
}

/* The client listener counts every worker's connections; a full scan of the slots per accept would
 * cost with 128 workers, so it is summed once a turn. */
static uint64_t node_connections(void)
{
    static uint64_t turn, others;

    if (turn != reactor->turn) {
        turn = reactor->turn;
        others = shm_node_connections() -
                 atomic_load_explicit(&shm->slots[SHM_WORKER + w.index].client_connections,
                                      memory_order_relaxed);
    }
    return others + reactor->client_connections;
}

static void listener_others(unsigned index, struct listener_others *out)
{
    shm_listener_others(index, w.index, out);
}

/* Those of the other workers. */
static unsigned inherited_listeners(void)
{
    unsigned n = 0;

    for (unsigned k = 0; k < supervisor_listeners.n; k++)
        n += supervisor_listeners.shared[k] ? 0 : shm->workers - 1;
    return n;
}

bool worker_ready(const char **why)
{
    struct shm_slot *hub = &shm->slots[SHM_HUB];

    *why = "";
    if (reactor->draining || atomic_load(&shm->draining))
        *why = "draining";
    else if (atomic_load(&shm->drain.state) != DRAIN_NONE)
        *why = "drained by order (roostctl drain --cancel)";
    else if (atomic_load(&hub->pid) == 0 || atomic_load(&hub->phase) != SHM_READY)
        *why = "the hub is not running";
    else if (clock_ns() >
             atomic_load(&hub->heartbeat_ns) + MAX((uint64_t)config.hub_timeout, HUB_HEARTBEAT_NS))
        *why = "the hub does not answer";
    else if (!broker_can_publish(w.broker, 0, 1))
        *why = "the link to the hub is not ready";
    else if (!engine_shards_ready((enum shard_rule)config.engine_readiness,
                                  (uint64_t)config.engine_unready_after))
        *why = "the engine's servers are away";
    return (*why)[0] == '\0';
}

static void watch_orders(int master_fd)
{
    ev_signal_init(&w.term, on_term, SIGTERM);
    ev_signal_init(&w.hup, on_hup, SIGHUP);
    ev_io_init(&w.master, on_master_gone, master_fd, EV_READ);
    ev_signal_start(reactor->loop, &w.term);
    ev_signal_start(reactor->loop, &w.hup);
    ev_io_start(reactor->loop, &w.master);
    orders_watch(reactor->loop, NULL);
    signal(SIGINT, SIG_IGN); /* a terminal's Ctrl-C and Ctrl-\ are the master's to handle */
    signal(SIGQUIT, SIG_IGN);
    signal(SIGUSR1, SIG_IGN); /* as is the log file */
    signal(SIGPIPE, SIG_IGN);
    child_take_signals();
}

static void start_broker(void)
{
    struct broker_config cfg = {
        .worker = w.index,
        .generation = atomic_load(&shm->slots[SHM_WORKER + w.index].generation),
        .to_hub = shm->to_hub[w.index],
        .from_hub = shm->to_worker[w.index],
        .ring_capacity = shm->ring_capacity,
        .tasks = &reactor->tasks,
        .sinks = session_sinks,
        .nsinks = SESSION_KIND_NR,
    };

    w.broker = broker_new(&cfg);
    if (w.broker == NULL) {
        LOG(LOG_ERROR, "no memory for the broker");
        exit(1);
    }
    reactor_set_broker(w.broker);
}

void worker_main(unsigned index, int master_fd)
{
    static struct addresses addresses;
    struct reactor_config cfg = {.worker = index,
                                 .wake_fd = shm->worker_wake_fd[index],
                                 .hub_wake_fd = shm->hub_wake_fd,
                                 .inherited_fds = inherited_listeners(),
                                 .node_started_ns = atomic_load(&shm->slots[SHM_MASTER].entered_ns),
                                 .hub_generation = hub_generation,
                                 .node_connections = node_connections,
                                 .node_full = &shm->slots[SHM_WORKER + index].full,
                                 .addresses = &addresses,
                                 .listener_counts = shm->slots[SHM_WORKER + index].listeners,
                                 .listener_others = listener_others,
                                 .closes = &shm->slots[SHM_WORKER + index].closes,
                                 .tell_refusals = true,
                                 .standstill_ns = REACTOR_STANDSTILL_NS,
                                 .each_turn = each_turn};
    char name[32];

    /* Arrays that grow with the number of connections live in mappings of their own, which mremap
     * grows without a copy and without leaving holes in the heap. */
    mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD);
    /* What a turn's publications needed is kept for the next turn's. */
    mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD);
    w.index = index;
    snprintf(name, sizeof(name), "roost: worker%u", index);
    prctl(PR_SET_NAME, name);
    log_set_process(name + strlen("roost: "));
    shm_enter(SHM_WORKER + index);
    shm_confine(SHM_WORKER + index);
    shm_trace_open(SHM_WORKER + index);
    addresses = shm->addresses;
    addresses.own = index;
    hash_seed_random();
    reactor_init(&cfg);
    start_broker();
    if (tokens_init(&reactor->tasks) == -1)
        exit(1); /* said why */
    sessions_init();
    admin_init(index);
    tls_tickets_use(&shm->tls->tickets);
    if (tls_files_take(shm->tls) == -1)
        exit(1); /* said why */
    watch_orders(master_fd);
    drain_turn(); /* an order in force holds for a new worker, too */
    accepting_start(index);
    usage_open(SHM_WORKER + index);
    w.own_fds = shm_count_fds();
    atomic_store(&shm->slots[SHM_WORKER + index].open_fds, w.own_fds);
    sandbox_enter(SANDBOX_WORKER);
    clock_refresh();
    shm_heartbeat(SHM_WORKER + index);
    shm_set_phase(SHM_WORKER + index, SHM_READY);
    if (atomic_load(&shm->draining)) /* started while the order to stop was given */
        start_drain();
    reactor_run();
    log_say_suppressed(true);
    exit(0);
}
