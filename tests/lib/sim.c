#include "sim.h"

#include <netinet/in.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/hash.h"
#include "base/log.h"
#include "core/channel_options.h"
#include "proto/api.h"
#include "proto/http.h"
#include "proto/session.h"
#include "sim_internal.h"

#define START_NS (1000 * NS_PER_SEC)

static struct sim *now; /* whose steps are taken */

_Noreturn void sim_fail(const struct sim *s, const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: seed %llu, step %llu: not so: %s\n", file, line,
            (unsigned long long)s->plan.seed, (unsigned long long)s->counts.steps, what);
    abort();
}

unsigned sim_dice(struct sim *s, unsigned n)
{
    s->random = s->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(((s->random >> 32) * n) >> 32);
}

static bool sim_strikes(struct sim *s, unsigned one_in)
{
    return one_in > 0 && !s->calm && sim_dice(s, one_in) == 0;
}

void *sim_grow(void *p, uint32_t n, size_t size, uint32_t *cap)
{
    if (n < *cap)
        return p;
    *cap = MAX(2 * n, 64u);
    p = realloc(p, *cap * size);
    if (p == NULL)
        abort();
    return p;
}

void sim_enter(struct sim *s, unsigned worker)
{
    reactor = &s->workers[worker].reactor;
    metrics = &s->workers[worker].metrics;
}

/* The hub's process */

static int hub_send(void *arg, unsigned worker, const struct record *r)
{
    struct sim *s = arg;
    void *p;

    if (s->sends_to_live > 0 && --s->sends_to_live == 0)
        longjmp(s->death, 1);
    p = ring_reserve(&s->workers[worker].hub_out, record_bytes(r));
    if (p == NULL)
        return -1;
    record_encode(r, p);
    ring_commit(&s->workers[worker].hub_out);
    return 0;
}

static uint32_t hub_generation_of(void *arg, unsigned worker)
{
    const struct sim_worker *w = &((struct sim *)arg)->workers[worker];

    return w->up ? w->generation : 0;
}

static struct ring_debt *hub_debt(void *arg, unsigned worker)
{
    return &((struct sim *)arg)->workers[worker].from_hub->debt;
}

static const struct hub_ops hub_ops = {
    .send = hub_send, .generation = hub_generation_of, .debt = hub_debt};

/* The order is the one in which hubs take publications; one that is taken again keeps its place. */
static void hub_note_order(struct sim *s, const struct record *r)
{
    struct sim_channel *ch;
    struct sim_pub *p;
    uint32_t id;

    if (r->kind != RECORD_PUBLISH || s->plan.strangers)
        return;
    id = sim_pub_of(s, r->data);
    p = &s->pubs[id];
    if (p->place != SIM_NOT_YET)
        return;
    ch = &s->channels[p->channel];
    ch->latest = sim_grow(ch->latest, ch->n, sizeof(*ch->latest), &ch->cap);
    ch->latest[ch->n] = MAX(id, ch->n > 0 ? ch->latest[ch->n - 1] : 0);
    p->place = ch->n++;
}

static void hub_take(struct sim *s, unsigned worker)
{
    struct sim_worker *w = &s->workers[worker];
    struct record r;
    struct str raw;
    uint64_t to;

    if (!hub_wants(s->hub, worker) || ring_peek(&w->hub_in, &raw) == 0)
        return;
    s->in_work = worker + 1;
    SIM_REQUIRE(s, record_decode(raw, &r) == 0);
    hub_note_order(s, &r);
    hub_receive(s->hub, worker, &r, w->hub_in.position);
    if (s->sends_to_live == 1) /* it has handled the record and not given it back */
        longjmp(s->death, 1);
    ring_next(&w->hub_in);
    to = hub_complete_to(s->hub, worker, w->hub_in.position);
    if (to > w->given_back)
        ring_release_to(&w->hub_in, w->given_back = to);
    s->in_work = 0;
}

static void hub_die(struct sim *s)
{
    hub_free(s->hub);
    s->hub = NULL;
    s->sends_to_live = 0;
    s->counts.hub_deaths++;
}

static void hub_start(struct sim *s)
{
    for (unsigned i = 0; i < s->plan.workers; i++) {
        struct sim_worker *w = &s->workers[i];

        memset(&w->hub_in, 0, sizeof(w->hub_in));
        memset(&w->hub_out, 0, sizeof(w->hub_out));
        ring_attach_consumer(&w->hub_in, w->to_hub, s->plan.ring_size);
        ring_attach_producer(&w->hub_out, w->from_hub, s->plan.ring_size);
        w->given_back = w->hub_in.position;
    }
    memset(&s->hub_metrics, 0, sizeof(s->hub_metrics));
    s->hub = hub_new(s->plan.workers, ++s->hub_generation, engine_memory_new(), &hub_ops, s);
    SIM_REQUIRE(s, s->hub != NULL);
    hub_set_limits(s->hub, (struct hub_limits){.queue_max = s->plan.queue_max,
                                               .answer_ns = (uint64_t)config.hub_timeout});
    if (s->hub_generation == 1)
        hub_go_live(s->hub);
    else if (s->in_work != 0)
        hub_take(s, s->in_work - 1);
    s->in_work = 0;
}

static void hub_act(struct sim *s)
{
    metrics = &s->hub_metrics;
    if (s->hub == NULL) {
        if (s->calm || sim_dice(s, 5) == 0)
            hub_start(s);
        return;
    }
    if (setjmp(s->death) != 0) {
        hub_die(s);
        return;
    }
    if (s->sends_to_live == 0 && sim_strikes(s, s->plan.hub_dies))
        s->sends_to_live = 1 + sim_dice(s, 12);
    for (unsigned n = 1 + sim_dice(s, 12); n > 0; n--)
        hub_take(s, sim_dice(s, s->plan.workers));
    hub_run(s->hub, 1 + sim_dice(s, 30));
    /* Publishers are held before the queue is full; what is in the rings may still come. */
    SIM_REQUIRE(s, (uint64_t)metrics->hub_queue_bytes <=
                       s->plan.workers * (s->plan.queue_max + s->plan.ring_size));
}

/* Workers */

static uint64_t hub_generation(void)
{
    return now->hub_generation;
}

static void worker_start(struct sim *s, unsigned index)
{
    const struct reactor_config cfg = {
        .worker = index, .wake_fd = -1, .hub_wake_fd = -1, .hub_generation = hub_generation};
    struct sim_worker *w = &s->workers[index];
    struct broker_config broker = {.worker = index,
                                   .generation = ++w->generation,
                                   .to_hub = w->to_hub,
                                   .from_hub = w->from_hub,
                                   .ring_capacity = s->plan.ring_size,
                                   .tasks = &w->reactor.tasks,
                                   .sinks = session_sinks,
                                   .nsinks = SESSION_KIND_NR};

    memset(&w->metrics, 0, sizeof(w->metrics));
    sim_enter(s, index);
    reactor_init(&cfg);
    reactor_set_broker(broker_new(&broker));
    SIM_REQUIRE(s, reactor->broker != NULL);
    w->up = true;
}

/* Its sockets end, what it had not committed never was. */
static void worker_stop(struct sim *s, unsigned index)
{
    struct broker *broker;

    sim_enter(s, index);
    broker = reactor->broker;
    reactor_fini();
    broker_free(broker);
    s->workers[index].up = false;
    SIM_REQUIRE(
        s,
        metrics->connections_http + metrics->connections_plain + metrics->connections_closing == 0);
}

static void worker_die(struct sim *s, unsigned index)
{
    worker_stop(s, index);
    s->counts.deaths++;
    metrics = &s->hub_metrics;
    if (s->hub != NULL && sim_dice(s, 2) == 0)
        hub_worker_gone(s->hub, index); /* else the next incarnation's HELLO says it */
}

/* A batch is at most what the ring brought, and one that finds an empty queue is taken whole. */
static void check_queue(struct conn *c, void *arg)
{
    const struct sim *s = arg;

    SIM_REQUIRE(s, conn_queued(c) <= s->plan.output_limit + s->plan.ring_size);
}

static void worker_act(struct sim *s, unsigned index)
{
    struct sim_worker *w = &s->workers[index];
    size_t cursor = 0;

    if (!w->up) {
        if (s->calm || sim_dice(s, 20) == 0)
            worker_start(s, index);
        return;
    }
    if (sim_strikes(s, s->plan.worker_dies)) {
        worker_die(s, index);
        return;
    }
    sim_enter(s, index);
    reactor_step(false);
    SIM_REQUIRE(s, metrics->partial_bytes <= config.max_partial_bytes);
    if (sim_dice(s, 64) == 0)
        (void)reactor_scan(&cursor, SIZE_MAX, check_queue, s);
}

static struct memory_end *connect_in(struct sim *s, unsigned worker, unsigned flags,
                                     enum conn_state first)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(40000)};
    struct memory_plan way = s->plan.way;
    struct memory_end *ends[2];

    if (!s->workers[worker].up)
        return NULL;
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sim_enter(s, worker);
    way.seed = 1 + sim_dice(s, UINT32_MAX);
    SIM_REQUIRE(s, memory_pair(&way, ends) == 0);
    SIM_REQUIRE(s,
                memory_add(ends[0], &http_conn_ops, (struct sockaddr *)&sa, flags, first) != NULL);
    return ends[1];
}

struct memory_end *sim_connect(struct sim *s, unsigned worker, bool admin)
{
    return connect_in(s, worker, admin ? CONN_ADMIN : 0, CONN_HTTP);
}

struct memory_end *sim_connect_proxied(struct sim *s, unsigned worker)
{
    return connect_in(s, worker, 0, CONN_PROXY);
}

/* The world */

static struct ring_shared *ring_new(uint64_t size)
{
    struct ring_shared *r =
        aligned_alloc(CACHE_LINE, (ring_bytes(size) + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);

    if (r == NULL)
        abort();
    ring_format(r, size);
    return r;
}

static unsigned tell_nodes(struct engine_node *out UNUSED, unsigned max UNUSED)
{
    return 0;
}

static void quiet(struct str line UNUSED, void *arg UNUSED)
{
}

/* Once in a process: tables of resources are its own. */
static void register_protocols(void)
{
    static bool done;

    if (done)
        return;
    done = true;
    sessions_init();
    api_init(tell_nodes);
}

struct sim *sim_new(const struct sim_plan *plan)
{
    static const uint8_t key[16] = "simulated nodes";
    struct sim *s = calloc(1, sizeof(*s));

    if (s == NULL || plan->workers > SIM_WORKERS_MAX || plan->channels > SIM_CHANNELS_MAX)
        abort();
    register_protocols();
    log_set_sink(quiet, NULL);
    config_defaults(&config);
    snprintf(config.admin_hosts, sizeof(config.admin_hosts), "a");
    networks_read(&config.trusted, "127.0.0.1"); /* all come from there, proxies too */
    config.max_message_size = 2 * SIM_FILL_MAX;  /* a ring holds several, as proc/shm.c sees to */
    config.output_limit = (int64_t)plan->output_limit;
    config.hub_queue = (int64_t)plan->queue_max;
    config.channel_without_namespace.history_size = plan->history;
    config.channel_without_namespace.history_ttl = 5 * (int64_t)NS_PER_SEC;
    config.history_memory = 64 * 1024;
    channel_options_changed();
    clock_set_virtual(START_NS);
    hash_seed(key);
    now = s;
    s->plan = *plan;
    s->random = plan->seed * 2 + 1;
    s->workers = calloc(plan->workers, sizeof(*s->workers));
    s->clients = calloc(plan->clients, sizeof(*s->clients));
    if (s->workers == NULL || s->clients == NULL)
        abort();
    for (unsigned i = 0; i < plan->workers; i++) {
        s->workers[i].to_hub = ring_new(plan->ring_size);
        s->workers[i].from_hub = ring_new(plan->ring_size);
        worker_start(s, i);
    }
    metrics = &s->hub_metrics;
    hub_start(s);
    return s;
}

void sim_steps(struct sim *s, uint64_t n)
{
    while (n-- > 0) {
        unsigned what = sim_dice(s, 8);

        s->counts.steps++;
        clock_advance(sim_dice(s, (unsigned)s->plan.longest_tick_ns) + 1);
        if (what == 0)
            hub_act(s);
        else if (what < 3)
            worker_act(s, sim_dice(s, s->plan.workers));
        else if (s->plan.clients > 0)
            sim_client_act(s, &s->clients[sim_dice(s, s->plan.clients)]);
    }
}

/* One round of everybody; true when something has moved. */
static bool sim_round(struct sim *s)
{
    bool moved = s->hub == NULL || hub_state(s->hub) != HUB_LIVE || hub_backlogged(s->hub);

    s->counts.steps++;
    clock_advance(NS_PER_MS);
    for (unsigned i = 0; i < s->plan.workers; i++) {
        moved |= !s->workers[i].up || s->workers[i].reactor.busy;
        worker_act(s, i);
        moved |= ring_used(&s->workers[i].hub_in) > 0 || ring_used(&s->workers[i].hub_out) > 0;
    }
    for (unsigned i = 0; i < 4; i++)
        hub_act(s);
    for (unsigned i = 0; i < s->plan.clients; i++)
        moved |= sim_client_finish(s, &s->clients[i]);
    return moved;
}

bool sim_rounds(struct sim *s, unsigned n)
{
    bool moved = false;

    while (n-- > 0)
        moved = sim_round(s);
    return moved;
}

void sim_settle(struct sim *s)
{
    unsigned quiet_rounds = 0;

    s->calm = true;
    for (unsigned round = 0; quiet_rounds < 20; round++) {
        SIM_REQUIRE(s, round < 100000);
        quiet_rounds = sim_round(s) ? 0 : quiet_rounds + 1;
    }
    for (unsigned i = 0; i < s->plan.clients; i++)
        sim_client_check_complete(s, &s->clients[i]);
}

void sim_free(struct sim *s)
{
    for (unsigned i = 0; i < s->plan.clients; i++)
        sim_client_end(s, &s->clients[i]);
    for (unsigned i = 0; i < s->plan.workers; i++) {
        if (s->workers[i].up)
            worker_stop(s, i);
        free(s->workers[i].to_hub);
        free(s->workers[i].from_hub);
    }
    metrics = &s->hub_metrics;
    hub_free(s->hub);
    SIM_REQUIRE(s, metrics->hub_queue_bytes == 0 && metrics->hub_channels == 0);
    SIM_REQUIRE(s, blob_bytes() == 0);
    for (unsigned i = 0; i < s->plan.channels; i++)
        free(s->channels[i].latest);
    free(s->pubs);
    free(s->clients);
    free(s->workers);
    free(s);
    clock_set_virtual(0);
}

const struct sim_counts *sim_counts(const struct sim *s)
{
    return &s->counts;
}
