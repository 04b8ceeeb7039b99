/* Workers, a hub and the rings between them, in one process; each may die at any moment. The checks
 * of what subscribers see are in the sessions' upcalls. */
#ifndef ROOST_TEST_LINK_WORLD_H
#define ROOST_TEST_LINK_WORLD_H

#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/metrics.h"
#include "core/broker.h"
#include "core/hub.h"

#define WORKERS  4
#define CHANNELS 5
#define CLIENTS  24 /* per worker */
#define PUBS     20000
#define NOT_YET  UINT32_MAX

struct client {
    struct sub sub;
    unsigned channel;
    uint32_t told_at;   /* publications made so far when it was told */
    uint32_t last;      /* place in the channel's order of the last delivery, NOT_YET: none */
    bool gap_allowed;   /* told "lost" since */
    struct position at; /* of the last delivery, or where it was told that it begins */
    bool begun;         /* something after that has been delivered */
};

struct pub {
    unsigned channel;
    uint32_t place; /* in the channel's order, NOT_YET until a hub has taken it */
    unsigned worker;
    uint32_t generation; /* of the worker */
    bool committed;      /* its worker has ended the turn */
};

static struct world {
    unsigned seed;
    uint64_t ring_size, queue_max;
    struct pub pubs[PUBS];
    uint32_t npubs;
    uint32_t order[CHANNELS][PUBS]; /* publication ids */
    uint32_t norder[CHANNELS];
    struct ring_shared *to_hub[WORKERS], *to_worker[WORKERS];

    struct broker *broker[WORKERS]; /* NULL: between incarnations */
    uint32_t generation[WORKERS];
    struct task_queue tasks[WORKERS];
    struct client clients[WORKERS][CLIENTS];
    uint32_t fences[WORKERS], fenced[WORKERS];

    struct hub *hub; /* NULL: between incarnations */
    uint32_t hub_generation;
    unsigned in_work; /* ring + 1 */
    struct ring in[WORKERS], out[WORKERS];
    unsigned sends_to_live; /* the hub dies in this many sends; 0: it does not */
    jmp_buf death;
    unsigned hub_deaths, worker_deaths, losses, deliveries;
    bool may_lose; /* something happened that the design answers with LOST */
    bool may_hang;
    unsigned hung; /* worker + 1, or 0 */
} * world;

static unsigned dice(unsigned n)
{
    return (unsigned)rand_r(&world->seed) % n;
}

static struct str channel_name(unsigned channel, char *buf, size_t cap)
{
    return (struct str){.p = buf, .n = (size_t)snprintf(buf, cap, "room/%u", channel)};
}

/* --- what sessions see --- */

static void on_subscribed(struct sub *s, struct position at)
{
    struct client *c = CONTAINER_OF(s, struct client, sub);

    assert_int_equal(c->told_at, NOT_YET);
    c->told_at = world->npubs;
    c->at = at;
}

/* Within a life of the channel offsets rise by one, but for losses and for what a hub that died had
 * delivered already; the first ones may lie before what the client was told. */
static void check_offset(struct client *c, const struct batch *b, uint32_t i)
{
    uint64_t offset = b->items[i].offset;

    assert_true(b->epoch != 0 && offset != 0);
    if (!c->begun && b->epoch == c->at.epoch && offset <= c->at.offset)
        return;
    c->begun = true;
    if (i == 0 && b->before.epoch == c->at.epoch && b->before.offset > c->at.offset)
        c->at = b->before;
    if (b->epoch == c->at.epoch && !c->gap_allowed && offset != c->at.offset + 1)
        fail_msg("offset %llu after %llu in room/%u", (unsigned long long)offset,
                 (unsigned long long)c->at.offset, c->channel);
    c->at = (struct position){.epoch = b->epoch, .offset = offset};
}

static void deliver_one(struct client *c, uint32_t id)
{
    const struct pub *p = &world->pubs[id];

    assert_true(id < world->npubs && p->channel == c->channel && p->place != NOT_YET);
    world->deliveries++;
    if (c->last != NOT_YET) {
        assert_true(p->place > c->last);
        if (!c->gap_allowed && p->place != c->last + 1)
            fail_msg("gap: %u after %u in room/%u", p->place, c->last, c->channel);
    } else if (!c->gap_allowed) {
        for (uint32_t i = p->place; i-- > 0;)
            assert_true(world->order[c->channel][i] < c->told_at);
    }
    c->last = p->place;
    c->gap_allowed = false;
}

static void on_deliver(struct sub *s, struct batch *b)
{
    struct client *c = CONTAINER_OF(s, struct client, sub);

    assert_true(s->live);
    for (uint32_t i = 0; i < b->nitems; i++) {
        uint64_t id;

        assert_int_equal(str_to_u64(batch_payload(b, i), &id), 0);
        check_offset(c, b, i);
        deliver_one(c, (uint32_t)id);
    }
}

static void on_lost(struct sub *s, struct position to UNUSED)
{
    struct client *c = CONTAINER_OF(s, struct client, sub);

    c->gap_allowed = true;
    world->losses++;
    if (!world->may_lose)
        fail_msg("room/%u was told of a loss without a reason", c->channel);
}

static void on_published(uint64_t token)
{
    assert_int_not_equal(world->pubs[token].place, NOT_YET);
}

/* Behind a fence stands everything its worker had published before: in order, once. */
static void on_fenced(uint64_t token)
{
    unsigned w = (unsigned)(token >> 32);

    assert_true((uint32_t)token > world->fenced[w]);
    world->fenced[w] = (uint32_t)token;
}

static void on_answered(const struct record *r)
{
    if (r->kind == RECORD_PUBLISHED)
        on_published(r->token);
    else if (r->kind == RECORD_FENCED)
        on_fenced(r->token);
    else
        assert_int_equal(r->kind, RECORD_LISTED);
}

enum { NOBODY = 0, CLIENT, KINDS }; /* kinds of sessions */

static const struct sink_ops sink = {
    .subscribed = on_subscribed,
    .deliver = on_deliver,
    .lost = on_lost,
    .answered = on_answered,
};
static const struct sink_ops *sinks[KINDS] = {[CLIENT] = &sink}; /* a test may have its own */

/* --- workers --- */

static void worker_start(unsigned w)
{
    const struct broker_config cfg = {
        .worker = w,
        .generation = ++world->generation[w],
        .to_hub = world->to_hub[w],
        .from_hub = world->to_worker[w],
        .ring_capacity = world->ring_size,
        .tasks = &world->tasks[w],
        .sinks = sinks,
        .nsinks = KINDS,
    };

    task_queue_init(&world->tasks[w]);
    world->broker[w] = broker_new(&cfg);
    assert_non_null(world->broker[w]);
    memset(world->clients[w], 0, sizeof(world->clients[w]));
    world->fences[w] = world->fenced[w] = 0;
}

static void worker_die(unsigned w)
{
    broker_free(world->broker[w]);
    world->broker[w] = NULL;
    world->worker_deaths++;
    if (world->hub != NULL && dice(2))
        hub_worker_gone(world->hub, w); /* else the next incarnation's HELLO says it */
}

static void worker_turn(unsigned w)
{
    struct broker *b = world->broker[w];
    bool more;

    if (world->hub != NULL)
        broker_hub_generation(b, world->hub_generation);
    broker_receive(b, 1 + dice(20));
    for (unsigned n = dice(6); n > 0; n--)
        task_run(&world->tasks[w], 0);
    broker_flush(b, &more);
    for (uint32_t i = world->npubs; i-- > 0 && i + 64 > world->npubs;) {
        if (world->pubs[i].worker == w && world->pubs[i].generation == world->generation[w])
            world->pubs[i].committed = true;
    }
}

static inline void client_act(unsigned w)
{
    struct client *c = &world->clients[w][dice(CLIENTS)];
    enum close_reason why;
    char name[32];

    if (c->sub.chan != NULL) {
        broker_unsubscribe(world->broker[w], &c->sub);
        return;
    }
    *c = (struct client){
        .sub = {.kind = CLIENT}, .channel = dice(CHANNELS), .told_at = NOT_YET, .last = NOT_YET};
    assert_int_equal(broker_subscribe(world->broker[w], &c->sub,
                                      channel_name(c->channel, name, sizeof(name)), &why),
                     0);
}

static inline void publish(unsigned w, unsigned channel)
{
    struct broker_publication p;
    uint32_t id = world->npubs;
    char name[32], data[400];
    int n = snprintf(data, sizeof(data), "%0*u", 1 + (int)dice(300), id);

    if (id == PUBS || !broker_can_publish(world->broker[w], (size_t)n, 1))
        return;
    world->pubs[id] = (struct pub){
        .channel = channel, .place = NOT_YET, .worker = w, .generation = world->generation[w]};
    world->npubs++;
    p = (struct broker_publication){
        .channel = channel_name(channel, name, sizeof(name)),
        .data = {.p = data, .n = (size_t)n},
        .flags = dice(2) ? RECORD_WANT_ACK : 0,
        .origin = {CLIENT, id},
    };
    assert_int_equal(broker_publish(world->broker[w], &p), 0);
}

static inline void fence(unsigned w)
{
    uint64_t token = (uint64_t)w << 32 | (world->fences[w] + 1);

    if (broker_fence(world->broker[w], (struct asker){CLIENT, token}) == 0)
        world->fences[w]++;
    if (dice(3) == 0 &&
        broker_list(world->broker[w], (struct asker){CLIENT, 1}, STR_LIT("*"), 10, NULL) == -1)
        return; /* no room */
}

/* --- the hub's process --- */

static int hub_send(void *arg, unsigned w, const struct record *r)
{
    void *p;

    (void)arg;
    if (world->sends_to_live > 0 && --world->sends_to_live == 0)
        longjmp(world->death, 1);
    p = ring_reserve(&world->out[w], record_bytes(r));
    if (p == NULL)
        return -1;
    record_encode(r, p);
    ring_commit(&world->out[w]);
    return 0;
}

static uint32_t hub_generation_of(void *arg, unsigned w)
{
    (void)arg;
    return world->broker[w] != NULL ? world->generation[w] : 0;
}

static struct ring_debt *hub_debt(void *arg, unsigned w)
{
    (void)arg;
    return &world->to_worker[w]->debt;
}

static const struct hub_ops hub_ops = {
    .send = hub_send, .generation = hub_generation_of, .debt = hub_debt};

/* The order is the one in which hubs take publications; one that is taken again keeps its place. */
static void note_order(const struct record *r)
{
    uint64_t id;
    struct pub *p;

    if (r->kind != RECORD_PUBLISH)
        return;
    assert_int_equal(str_to_u64(r->data, &id), 0);
    p = &world->pubs[id];
    if (p->place != NOT_YET)
        return;
    p->place = world->norder[p->channel];
    world->order[p->channel][world->norder[p->channel]++] = (uint32_t)id;
}

static void hub_take(unsigned w)
{
    struct ring *in = &world->in[w];
    struct record r;
    struct str raw;
    int rc;

    if (!hub_wants(world->hub, w) || (rc = ring_peek(in, &raw)) == 0)
        return;
    assert_int_equal(rc, 1);
    world->in_work = w + 1;
    assert_int_equal(record_decode(raw, &r), 0);
    note_order(&r);
    hub_receive(world->hub, w, &r, in->position);
    if (world->sends_to_live == 1) { /* handled, not given back */
        world->sends_to_live = 0;
        longjmp(world->death, 1);
    }
    ring_next(in);
    ring_release(in);
    world->in_work = 0;
}

static void hub_die(void)
{
    for (unsigned w = 0; w < WORKERS; w++) {
        if (atomic_load(&world->to_worker[w]->debt.behind) != 0)
            world->may_lose = true;
    }
    hub_free(world->hub);
    world->hub = NULL;
    world->hub_deaths++;
    world->sends_to_live = 0;
}

static void hub_start(void)
{
    memset(world->in, 0, sizeof(world->in));
    for (unsigned w = 0; w < WORKERS; w++) {
        ring_attach_consumer(&world->in[w], world->to_hub[w], world->ring_size);
        ring_attach_producer(&world->out[w], world->to_worker[w], world->ring_size);
    }
    world->hub_generation++;
    clock_advance(NS_PER_MS);
    world->hub = hub_new(WORKERS, world->hub_generation, engine_memory_new(), &hub_ops, NULL);
    hub_set_limits(world->hub,
                   (struct hub_limits){.queue_max = world->queue_max, .answer_ns = 5 * NS_PER_SEC});
    assert_non_null(world->hub);
    if (world->hub_generation == 1)
        hub_go_live(world->hub);
    else if (world->in_work != 0)
        hub_take(world->in_work - 1);
    world->in_work = 0;
}

/* A piece of the hub's work; false when it has died. */
static bool hub_work(void)
{
    if (setjmp(world->death) != 0) {
        hub_die();
        return false;
    }
    for (unsigned n = dice(12); n > 0; n--)
        hub_take(dice(WORKERS));
    hub_run(world->hub, 1 + dice(30));
    return true;
}

static void hub_act(bool may_die)
{
    if (world->hub == NULL) {
        if (!may_die || dice(5) == 0)
            hub_start();
        return;
    }
    if (may_die && dice(60) == 0)
        world->sends_to_live = 1 + dice(12);
    if (may_die && world->queue_max < 100000 && hub_state(world->hub) == HUB_GATHERING &&
        dice(100) == 0) {
        world->may_lose = true;
        hub_gather_timeout(world->hub);
    }
    hub_work();
}

/* --- the world --- */

static void world_new(unsigned seed, uint64_t ring_size, uint64_t queue_max)
{
    config_defaults(&config);
    memset(metrics, 0, sizeof(*metrics));
    clock_set_virtual(NS_PER_SEC);
    world = calloc(1, sizeof(*world));
    assert_non_null(world);
    world->seed = seed;
    world->ring_size = ring_size;
    world->queue_max = queue_max;
    for (unsigned w = 0; w < WORKERS; w++) {
        world->to_hub[w] = aligned_alloc(CACHE_LINE, ring_bytes(ring_size));
        world->to_worker[w] = aligned_alloc(CACHE_LINE, ring_bytes(ring_size));
        ring_format(world->to_hub[w], ring_size);
        ring_format(world->to_worker[w], ring_size);
        worker_start(w);
    }
}

static void world_free(void)
{
    for (unsigned w = 0; w < WORKERS; w++) {
        broker_free(world->broker[w]);
        free(world->to_hub[w]);
        free(world->to_worker[w]);
    }
    hub_free(world->hub);
    free(world);
    world = NULL;
    assert_int_equal(metrics->hub_channels, 0);
    assert_int_equal(metrics->subscriptions, 0);
    assert_int_equal(metrics->hub_queue_bytes, 0);
}

#endif
