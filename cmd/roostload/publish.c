/* publish.c - who publishes what, when.
 *
 * Publishers take turns: turn t belongs to publisher t mod P and is due at start + t * interval.
 * One whose connection takes no more (the server does not read), or that has none, keeps its
 * messages and their intended times; it is tried again until it has caught up, so that the wait is
 * in the corrected latency. In chat, where people leave and join, who is away misses their turns.
 *
 * Where a publisher has one channel (adapter raw: its path) and turns in order would not give the
 * channels their shares, a turn goes to a channel drawn by its share and there to its publishers in
 * order. Each process draws from the channels of its own publishers, at its part of the rate. */
#include "base/clock.h"
#include "engine.h"
#include "zipf.h"

struct publisher {
    uint64_t due;    /* messages, over all */
    uint64_t done;   /* of them: sent or missed */
    uint64_t *turns; /* owned; drawn turns: ring of those not done */
    uint32_t head, len, cap;
    bool blocked; /* in plan.blocked */
};

static struct {
    struct pace pace;             /* of turns; a turn is a burst */
    uint64_t first, n;            /* this process's publishers, as users */
    struct publisher *publishers; /* owned */
    uint32_t *blocked;            /* owned; publishers that have to catch up */
    uint64_t nblocked;
    uint32_t *sequence; /* owned; by (own publisher, channel it publishes to) */
    uint64_t channels;  /* that each publishes to */
    uint64_t drawn;     /* own publishers' channels, when turns are drawn; 0: turns in order */
    double *shares;     /* owned; of the drawn channels, each and those before it */
    uint32_t *rounds;   /* owned; by drawn channel: turns so far */
} plan;

static bool zipf(void)
{
    return str_equal(str_from(engine.o->distribution), STR_LIT("zipf"));
}

static uint32_t pick_channel(void)
{
    if (load_shared->channels == 1)
        return 0;
    if (zipf())
        return (uint32_t)zipf_pick(load_shared->channels, engine_random);
    return (uint32_t)(engine_random() % load_shared->channels);
}

/* Of all publications, those that each publisher of a channel makes. */
static double share_of_one(uint64_t channel, double sum)
{
    uint64_t channels = load_shared->channels, all = load_shared->publishers;
    uint64_t place = (channel + channels - (load_shared->users - all) % channels) % channels;
    uint64_t publishers = all / channels + (place < all % channels);

    return (zipf() ? 1 / (double)(channel + 1) / sum : 1 / (double)channels) / (double)publishers;
}

/* Own publishers of the channel of own publisher j < channels: that one and each channels-th. */
static uint64_t own_publishers(uint64_t j)
{
    return (plan.n - j + load_shared->channels - 1) / load_shared->channels;
}

/* Fills plan.shares; returns which part of the rate is this process's. */
static double share_out(void)
{
    double sum = zipf() ? zipf_sum(load_shared->channels) : 0, total = 0;

    for (uint64_t j = 0; j < plan.drawn; j++) {
        total +=
            share_of_one(user_channel((uint32_t)(plan.first + j)), sum) * (double)own_publishers(j);
        plan.shares[j] = total;
    }
    return total;
}

static uint64_t draw_publisher(void)
{
    double at = (double)(engine_random() >> 11) / 9007199254740992.0 * plan.shares[plan.drawn - 1];
    uint64_t low = 0, high = plan.drawn - 1;

    while (low < high) {
        uint64_t middle = (low + high) / 2;

        if (at < plan.shares[middle])
            high = middle;
        else
            low = middle + 1;
    }
    return low + plan.rounds[low]++ % own_publishers(low) * load_shared->channels;
}

static int keep_turn(struct publisher *p, uint64_t turn)
{
    if (p->len == p->cap) {
        uint32_t cap = p->cap > 0 ? 2 * p->cap : 4;
        uint64_t *turns = malloc(cap * sizeof(*turns));

        if (turns == NULL)
            return -1;
        for (uint32_t i = 0; i < p->len; i++)
            turns[i] = p->turns[(p->head + i) % p->cap];
        free(p->turns);
        p->turns = turns;
        p->cap = cap;
        p->head = 0;
    }
    p->turns[(p->head + p->len++) % p->cap] = turn;
    return 0;
}

/* Whose turn it is; without memory to keep a drawn one it counts as never sent. */
static uint64_t give_turn(uint64_t turn)
{
    uint64_t own = plan.drawn > 0 ? draw_publisher() : turn % plan.n;
    struct publisher *p = &plan.publishers[own];

    if (plan.drawn > 0 && keep_turn(p, turn) == -1)
        engine.slot->m.not_sent += (uint64_t)engine.o->burst;
    else
        p->due += (uint64_t)engine.o->burst;
    return own;
}

static uint64_t turn_of(uint64_t own)
{
    const struct publisher *p = &plan.publishers[own];

    if (plan.drawn > 0)
        return p->turns[p->head];
    return p->done / (uint64_t)engine.o->burst * plan.n + own;
}

/* A message has been sent. */
static void done_one(struct publisher *p)
{
    p->done++;
    if (plan.drawn > 0 && p->done % (uint64_t)engine.o->burst == 0) {
        p->head = (p->head + 1) % p->cap;
        p->len--;
    }
}

static int allocate(void)
{
    size_t drawn = (size_t)MAX(plan.drawn, UINT64_C(1));

    plan.publishers = calloc(plan.n, sizeof(*plan.publishers));
    plan.blocked = calloc(plan.n, sizeof(*plan.blocked));
    plan.sequence = calloc(plan.n * plan.channels, sizeof(*plan.sequence));
    plan.shares = calloc(drawn, sizeof(*plan.shares));
    plan.rounds = calloc(drawn, sizeof(*plan.rounds));
    if (plan.publishers != NULL && plan.blocked != NULL && plan.sequence != NULL &&
        plan.shares != NULL && plan.rounds != NULL)
        return 0;
    fprintf(stderr, "roostload: no memory for %llu publishers on %llu channels each\n",
            (unsigned long long)plan.n, (unsigned long long)plan.channels);
    return -1;
}

void publish_start(uint64_t start)
{
    bool chat = engine.o->scenario == SCENARIO_CHAT, path = engine.adapter->publish == NULL;
    uint64_t all = chat ? load_shared->users : load_shared->publishers;
    uint64_t first = load_shared->users - all, end = engine.first + engine.count;
    double part;

    plan.first = MAX(engine.first, first);
    plan.n = end > plan.first ? end - plan.first : 0;
    if (plan.n == 0)
        return;
    plan.channels = chat || path ? 1 : load_shared->channels;
    /* As many publishers on each channel, and no channel before another: turns in order do. */
    if (!chat && path && load_shared->channels > 1 && (zipf() || all % load_shared->channels != 0))
        plan.drawn = MIN(plan.n, load_shared->channels);
    if (allocate() == -1)
        _exit(1); /* the coordinator says that this process has ended */
    part = plan.drawn > 0 ? share_out() : (double)plan.n / (double)all;
    pace_start(&plan.pace, start, engine.o->rate * part);
}

/* Where publisher `own` publishes next, and the places of its sequence: its own and the shared
 * one. */
struct place {
    uint32_t publisher, channel;
    uint64_t at, shared_at;
};

static struct place choose(struct conn *c, uint64_t own)
{
    uint32_t user = user_of(c)->id;
    struct place p;

    if (engine.o->scenario == SCENARIO_CHAT)
        return (struct place){.publisher = user % (uint32_t)engine.o->room,
                              .channel = user_channel(user),
                              .at = own,
                              .shared_at = user};
    /* The raw protocol publishes to the channel of the path; others choose one each time. */
    p.channel = plan.channels > 1 ? pick_channel() : user_of(c)->channel;
    p.publisher = user - (uint32_t)(load_shared->users - load_shared->publishers);
    p.at = own * plan.channels + (plan.channels > 1 ? p.channel : 0);
    p.shared_at = p.publisher * load_shared->channels + p.channel;
    return p;
}

static void block(uint64_t own)
{
    if (!plan.publishers[own].blocked)
        plan.blocked[plan.nblocked++] = (uint32_t)own;
    plan.publishers[own].blocked = true;
}

/* Sends what is due of it; whoever cannot send all is in plan.blocked, or away. */
static void publish_due(uint64_t own)
{
    struct publisher *p = &plan.publishers[own];
    uint64_t burst = (uint64_t)engine.o->burst;
    struct conn *c = engine.conns[plan.first + own - engine.first];
    struct place at;

    if (c == NULL || !user_can_send(c)) {
        if (engine.o->scenario == SCENARIO_CHAT) {
            engine.slot->m.missed += p->due - p->done;
            p->done = p->due;
        }
        return;
    }
    at = choose(c, own);
    for (uint64_t sent = 0; p->done < p->due; done_one(p), sent++) {
        if (sent > 0 && p->done % burst == 0)
            at = choose(c, own);
        if (user_publish(c, at.publisher, at.channel, plan.sequence[at.at] + 1,
                         pace_at(&plan.pace, turn_of(own))) == -1)
            break;
        plan.sequence[at.at]++;
        if (at.shared_at < load_shared->sent_count)
            atomic_store(&load_shared->sent[at.shared_at], plan.sequence[at.at]);
    }
    if (p->done < p->due && !conn_dead(c))
        block(own);
}

void publish_resume(uint32_t user)
{
    uint64_t own = user - plan.first; /* others are far beyond plan.n */

    if (own < plan.n && plan.publishers[own].done < plan.publishers[own].due)
        block(own);
}

/* Whoever is still blocked puts itself behind those that are looked at. */
static void retry_blocked(void)
{
    uint64_t n = plan.nblocked;

    plan.nblocked = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint32_t own = plan.blocked[i];

        plan.publishers[own].blocked = false;
        publish_due(own);
    }
}

uint64_t publish_run(uint64_t now)
{
    uint64_t until = run_time(now);

    if (plan.n == 0 || plan.pace.interval_ns <= 0)
        return UINT64_MAX;
    retry_blocked();
    for (int n = 0; n < BURST_MAX; n++) {
        uint64_t due = pace_due(&plan.pace), own;

        if (due > until) {
            due = due == run_time(due) ? due : UINT64_MAX; /* beyond the end nothing is due */
            return plan.nblocked > 0 ? MIN(due, now + NS_PER_MS) : due;
        }
        own = give_turn(plan.pace.done++);
        if (!plan.publishers[own].blocked) /* or it is the server that it waits for */
            hdr_record(&engine.slot->m.lateness, clock_precise_ns() - due);
        publish_due(own);
        if (plan.publishers[own].done < plan.publishers[own].due)
            engine.slot->m.send_delayed += (uint64_t)engine.o->burst;
    }
    return now;
}

void publish_stop(uint64_t now)
{
    while (publish_run(now) <= now) /* this process came late to what was due */
        ;
    for (uint64_t i = 0; i < plan.n; i++)
        engine.slot->m.not_sent += plan.publishers[i].due - plan.publishers[i].done;
    plan.pace.interval_ns = 0;
}
