/* publish.c - who publishes what, when.
 *
 * Publishers take turns: turn t belongs to publisher t mod P and is due at start + t * interval.
 * One whose connection takes no more (the server does not read), or that has none, keeps its
 * messages and their intended times; it is tried again until it has caught up, so that the wait is
 * in the corrected latency. In chat, where people leave and join, who is away misses their turns.
 */
#include "base/clock.h"
#include "engine.h"

struct publisher {
    uint64_t due;  /* messages, over all */
    uint64_t done; /* of them: sent or missed */
    bool blocked;  /* in plan.blocked */
};

static struct {
    struct pace pace;             /* of turns; a turn is a burst */
    uint64_t first, n;            /* this process's publishers, as users */
    struct publisher *publishers; /* owned */
    uint32_t *blocked;            /* owned; publishers that have to catch up */
    uint64_t nblocked;
    uint32_t *sequence; /* owned; by (own publisher, channel) */
    double zipf_h;      /* zipf: normaliser */
} plan;

/* Inverse of the continuous zipf distribution with exponent 1: rank = K^u. */
static uint32_t zipf(uint64_t k)
{
    double u = (double)(engine_random() >> 11) / 9007199254740992.0;
    double rank = __builtin_exp(u * plan.zipf_h);

    return (uint32_t)MIN((uint64_t)rank - (rank >= 1 ? 1 : 0), k - 1);
}

static uint32_t pick_channel(void)
{
    if (load_shared->channels == 1)
        return 0;
    if (str_equal(str_from(engine.o->distribution), STR_LIT("zipf")))
        return zipf(load_shared->channels);
    return (uint32_t)(engine_random() % load_shared->channels);
}

static int allocate(uint64_t channels)
{
    plan.publishers = calloc(plan.n, sizeof(*plan.publishers));
    plan.blocked = calloc(plan.n, sizeof(*plan.blocked));
    plan.sequence = calloc(plan.n * channels, sizeof(*plan.sequence));
    if (plan.publishers != NULL && plan.blocked != NULL && plan.sequence != NULL)
        return 0;
    fprintf(stderr, "roostload: no memory for %llu publishers on %llu channels each\n",
            (unsigned long long)plan.n, (unsigned long long)channels);
    return -1;
}

void publish_start(uint64_t now)
{
    bool chat = engine.o->scenario == SCENARIO_CHAT;
    uint64_t all = chat ? load_shared->users : load_shared->publishers;
    uint64_t first = load_shared->users - all, end = engine.first + engine.count;

    plan.zipf_h = __builtin_log((double)load_shared->channels + 1);
    plan.first = MAX(engine.first, first);
    plan.n = end > plan.first ? end - plan.first : 0;
    if (plan.n == 0)
        return;
    if (allocate(chat ? 1 : load_shared->channels) == -1)
        _exit(1); /* the coordinator says that this process has ended */
    pace_start(&plan.pace, now, engine.o->rate * (double)plan.n / (double)all);
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
    p.channel = engine.adapter->publish != NULL ? pick_channel() : user_of(c)->channel;
    p.publisher = user - (uint32_t)(load_shared->users - load_shared->publishers);
    p.at = own * load_shared->channels + p.channel;
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
    for (uint64_t sent = 0; p->done < p->due; p->done++, sent++) {
        if (sent > 0 && p->done % burst == 0)
            at = choose(c, own);
        if (user_publish(c, at.publisher, at.channel, plan.sequence[at.at] + 1,
                         pace_at(&plan.pace, p->done / burst * plan.n + own)) == -1)
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
    if (plan.n == 0 || plan.pace.interval_ns <= 0)
        return UINT64_MAX;
    retry_blocked();
    for (int n = 0; n < BURST_MAX; n++) {
        uint64_t due = pace_due(&plan.pace), own = plan.pace.done % plan.n;

        if (due > now)
            return plan.nblocked > 0 ? MIN(due, now + NS_PER_MS) : due;
        plan.pace.done++;
        plan.publishers[own].due += (uint64_t)engine.o->burst;
        publish_due(own);
        if (plan.publishers[own].done < plan.publishers[own].due)
            engine.slot->m.send_delayed += (uint64_t)engine.o->burst;
    }
    return now;
}

void publish_stop(void)
{
    for (uint64_t i = 0; i < plan.n; i++)
        engine.slot->m.not_sent += plan.publishers[i].due - plan.publishers[i].done;
    plan.pace.interval_ns = 0;
}
