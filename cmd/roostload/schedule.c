/* schedule.c - what is due when: connecting, publishing, churn, storms. Open-loop: event n is due
 * at start + n / rate. */
#include "base/clock.h"
#include "engine.h"
#include "net/reactor.h"

#define CONNECTING_MAX                                                                             \
    1000 /* attempts under way per process; the accept queue of a server is not endless */
#define BURST_MAX 256 /* events of one kind per turn */

struct pace { /* events at a steady rate */
    uint64_t start_ns;
    double interval_ns; /* 0: never */
    uint64_t done;
};

static struct {
    struct pace connect, publish, churn;
    uint64_t first_publisher, publishers; /* this process's, as users */
    uint64_t turn;                        /* round robin over them */
    uint32_t *sequence;                   /* owned; by (own publisher, channel) */
    uint64_t storm_ns;                    /* 0: done or none */
    double zipf_h;                        /* zipf: normaliser */
} plan;

static void pace_start(struct pace *p, uint64_t now, double per_second)
{
    *p = (struct pace){.start_ns = now, .interval_ns = per_second > 0 ? 1e9 / per_second : 0};
}

static uint64_t pace_due(const struct pace *p)
{
    if (p->interval_ns <= 0)
        return UINT64_MAX;
    return p->start_ns + (uint64_t)((double)p->done * p->interval_ns);
}

bool user_is_publisher(uint32_t id)
{
    if (engine.o->scenario == SCENARIO_CHAT)
        return true;
    return id >= load_shared->users - load_shared->publishers;
}

uint32_t user_channel(uint32_t id)
{
    if (engine.o->scenario == SCENARIO_ECHO)
        return id;
    if (engine.o->scenario == SCENARIO_CHAT)
        return id / (uint32_t)engine.o->room;
    return (uint32_t)(id % load_shared->channels);
}

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

static void start_publishing(uint64_t now)
{
    double mine;

    plan.zipf_h = __builtin_log((double)load_shared->channels + 1);
    if (engine.o->scenario == SCENARIO_CHAT) {
        plan.first_publisher = engine.first;
        plan.publishers = engine.count;
    } else {
        uint64_t first = load_shared->users - load_shared->publishers;

        plan.first_publisher = MAX(engine.first, first);
        plan.publishers = engine.first + engine.count > plan.first_publisher
                              ? engine.first + engine.count - plan.first_publisher
                              : 0;
    }
    if (plan.publishers == 0)
        return;
    plan.sequence =
        calloc(plan.publishers * (engine.o->scenario == SCENARIO_CHAT ? 1 : load_shared->channels),
               sizeof(*plan.sequence));
    if (plan.sequence == NULL)
        return;
    mine = engine.o->rate * (double)plan.publishers /
           (double)(engine.o->scenario == SCENARIO_CHAT ? load_shared->users
                                                        : load_shared->publishers);
    pace_start(&plan.publish, now, mine);
}

static void start_run(uint64_t now)
{
    double share = (double)engine.count / (double)load_shared->users;

    switch (engine.o->scenario) {
    case SCENARIO_BROADCAST:
    case SCENARIO_SLOW:
        start_publishing(now);
        break;
    case SCENARIO_CHAT:
        start_publishing(now);
        pace_start(&plan.churn, now, engine.o->churn_rate * share);
        break;
    case SCENARIO_CHURN:
        pace_start(&plan.churn, now, engine.o->churn_rate * share);
        break;
    case SCENARIO_STORM:
    case SCENARIO_HOLD:
    case SCENARIO_ECHO:
    case SCENARIO_NR:
        break;
    }
    if (engine.o->storm_after > 0)
        plan.storm_ns = now + (uint64_t)engine.o->storm_after;
    for (uint64_t i = 0; i < engine.count; i++) {
        struct conn *c = engine.conns[i];

        if (c == NULL || conn_dead(c) || (user_of(c)->flags & USER_READY) == 0)
            continue;
        if (engine.o->scenario == SCENARIO_ECHO)
            user_echo(c);
        if (engine.o->scenario == SCENARIO_SLOW && !user_is_publisher(user_of(c)->id) &&
            (double)(engine_random() % 10000) < engine.o->stall * 100) {
            user_of(c)->flags |= USER_STALLED;
            conn_hold(c, CONN_HOLD_ANSWER);
        }
    }
}

void schedule_start(void)
{
    uint64_t now = clock_ns();
    double share = (double)engine.count / (double)load_shared->users;

    engine.phase = LOAD_RAMP;
    pace_start(&plan.connect, now, engine.o->ramp * share);
}

static uint64_t run_connects(uint64_t now)
{
    /* Nobody waits: what the ramp could have done meanwhile is not made up for. */
    if (engine.wait_head == engine.wait_tail) {
        pace_start(&plan.connect, now,
                   engine.o->ramp * (double)engine.count / (double)load_shared->users);
        return UINT64_MAX;
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

/* Where publisher `user` publishes next, and the places of its sequence: its own and the shared
 * one. */
static void choose(struct conn *c, uint32_t user, uint64_t own, uint32_t *publisher,
                   uint32_t *channel, uint64_t *at, uint64_t *shared_at)
{
    if (engine.o->scenario == SCENARIO_CHAT) {
        *channel = user_channel(user);
        *publisher = user % (uint32_t)engine.o->room;
        *at = own;
        *shared_at = user;
        return;
    }
    /* The raw protocol publishes to the channel of the path; others choose one each time. */
    *channel = engine.adapter->publish != NULL ? pick_channel() : user_of(c)->channel;
    *publisher = user - (uint32_t)(load_shared->users - load_shared->publishers);
    *at = own * load_shared->channels + *channel;
    *shared_at = *publisher * load_shared->channels + *channel;
}

/* One burst of the next publisher in turn. */
static void publish_due(uint64_t intended)
{
    uint64_t own = plan.turn++ % plan.publishers, at, shared_at;
    uint32_t user = (uint32_t)(plan.first_publisher + own), channel, publisher;
    struct conn *c = engine.conns[user - engine.first];

    if (c == NULL || conn_dead(c) || (user_of(c)->flags & USER_READY) == 0 ||
        (user_of(c)->flags & USER_CLOSING))
        return;
    choose(c, user, own, &publisher, &channel, &at, &shared_at);
    for (int64_t n = 0; n < engine.o->burst; n++) {
        if (user_publish(c, publisher, channel, plan.sequence[at] + 1, intended) == -1)
            return;
        plan.sequence[at]++;
        if (shared_at < load_shared->sent_count)
            atomic_store(&load_shared->sent[shared_at], plan.sequence[at]);
    }
}

static uint64_t run_publishing(uint64_t now)
{
    if (plan.sequence == NULL)
        return UINT64_MAX;
    for (int n = 0; n < BURST_MAX; n++) {
        uint64_t due = pace_due(&plan.publish);

        if (due > now)
            return due;
        publish_due(due);
        plan.publish.done++;
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
        if (c != NULL && !conn_dead(c) && (user_of(c)->flags & USER_READY) &&
            (user_of(c)->flags & USER_CLOSING) == 0)
            user_close(c);
    }
    return now;
}

/* Everybody, or the given share, leaves without a word, as when a network fails, and comes back as
 * fast as the server takes them. */
static uint64_t run_storm(uint64_t now)
{
    uint64_t leaving = (uint64_t)((double)engine.count * engine.o->storm_share / 100 + 0.5);

    if (plan.storm_ns == 0)
        return UINT64_MAX;
    if (now < plan.storm_ns)
        return plan.storm_ns;
    plan.storm_ns = 0;
    atomic_store(&engine.slot->storm_ns, now);
    for (uint64_t i = 0; i < leaving; i++) {
        struct conn *c = engine.conns[i];

        if (c != NULL && !conn_dead(c)) {
            user_of(c)->flags |= USER_CLOSING;
            conn_kill(c, CLOSE_NORMAL);
        }
    }
    pace_start(&plan.connect, now, 1e6);
    return now;
}

static void change_phase(uint32_t phase, uint64_t now)
{
    engine.phase = phase;
    switch ((enum load_phase)phase) {
    case LOAD_RAMP:
        break;
    case LOAD_RUN:
        start_run(now);
        break;
    case LOAD_GRACE:
        plan.publish.interval_ns = plan.churn.interval_ns = 0;
        break;
    case LOAD_STOP:
        user_count_missing();
        reactor_stop();
        break;
    }
}

static uint64_t run_echo_schedule(uint64_t now)
{
    if (engine.o->scenario != SCENARIO_ECHO || engine.o->rate <= 0)
        return UINT64_MAX;
    for (uint64_t i = 0; i < engine.count; i++) {
        struct conn *c = engine.conns[i];

        if (c != NULL && !conn_dead(c) && (user_of(c)->flags & USER_READY))
            user_echo(c);
    }
    return now + 2 * NS_PER_MS;
}

uint64_t schedule_run(uint64_t now)
{
    uint32_t phase = atomic_load(&load_shared->phase);
    uint64_t next = now + 50 * NS_PER_MS; /* orders are looked at this often at least */

    while (engine.phase < phase)
        change_phase(engine.phase + 1, now);
    if (engine.phase <= LOAD_RUN)
        next = MIN(next, run_connects(now));
    if (engine.phase == LOAD_RUN) {
        next = MIN(next, run_publishing(now));
        next = MIN(next, run_churn(now));
        next = MIN(next, run_storm(now));
        next = MIN(next, run_echo_schedule(now));
    }
    return next;
}
