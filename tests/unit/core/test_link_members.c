/* Members, users and control messages over the whole link, while hubs and workers die at any moment.
 *
 * What must hold: in the end the hub knows exactly those who are there, and how many connections
 * each user has; nobody is told twice that the same one has come, or has gone, or that it has come
 * when it has gone; and each incarnation of a worker hears each control message at most once, in the
 * order of who says them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "link_world.h"

#define PEOPLE 8192 /* memberships, ever */
#define USERS  6

enum { TOLD_COME = 1, TOLD_GONE = 2 };

static struct person { /* of a client of the same place */
    uint32_t id;
    unsigned user;
    bool member, connected;
    uint8_t told[PEOPLE]; /* what it has been told of each */
} people[WORKERS][CLIENTS];

static uint32_t next_id;
static uint64_t said[WORKERS], heard[WORKERS][WORKERS]; /* control messages: the last one */
static unsigned nevents, nrefused, ncontrolled;

static struct { /* answers of the hub that the test waits for */
    uint32_t clients, total;
    bool there[PEOPLE], last;
} answer;

static struct person *person_of(const struct sub *s)
{
    const struct client *c = CONTAINER_OF(s, struct client, sub);
    size_t place = (size_t)(c - &world->clients[0][0]);

    return &people[place / CLIENTS][place % CLIENTS];
}

static unsigned worker_of(const struct sub *s)
{
    return (unsigned)((size_t)(CONTAINER_OF(s, struct client, sub) - &world->clients[0][0]) /
                      CLIENTS);
}

static int write_info(struct buf *out, const struct person *p)
{
    char id[16], user[16];
    const struct client_info info = {
        .client = {.p = id, .n = (size_t)snprintf(id, sizeof(id), "%u", p->id)},
        .user = {.p = user, .n = (size_t)snprintf(user, sizeof(user), "u%u", p->user)},
    };

    return client_info_write(out, &info);
}

static uint32_t id_of(const struct client_info *info)
{
    uint64_t id;

    assert_int_equal(str_to_u64(info->client, &id), 0);
    assert_true(id < PEOPLE);
    return (uint32_t)id;
}

/* --- what sessions see --- */

static void person_subscribed(struct sub *s, struct position at)
{
    struct person *p = person_of(s);
    struct buf info = {0};

    (void)at;
    assert_int_equal(write_info(&info, p), 0);
    assert_int_equal(
        broker_presence_add(world->broker[worker_of(s)], s, buf_view(&info), PRESENCE_TELL), 0);
    p->member = true;
    buf_fini(&info);
}

static void person_told(struct person *p, uint32_t id, uint8_t what)
{
    nevents++;
    if (p->told[id] & (what | TOLD_GONE))
        fail_msg("%u was told %u of %u after %u", p->id, what, id, p->told[id]);
    p->told[id] |= what;
}

static void person_deliver(struct sub *s, struct batch *b)
{
    if (b->class == BATCH_PUBLICATIONS)
        return;
    assert_true(s->joins);
    for (uint32_t i = 0; i < b->nitems; i++) {
        struct client_info info;
        struct str field;

        assert_true(record_field(batch_fields(b, i), FIELD_INFO, &field));
        assert_int_equal(client_info_read(field, &info), 0);
        person_told(person_of(s), id_of(&info), b->class == BATCH_JOINS ? TOLD_COME : TOLD_GONE);
    }
}

static void person_lost(struct sub *s, struct position to)
{
    (void)s;
    (void)to;
}

static int person_presence(struct sub *s, struct buf *out, bool *tell)
{
    *tell = true;
    return person_of(s)->member ? write_info(out, person_of(s)) : 0;
}

static void members_answered(const struct record *r)
{
    struct str rest = r->data;
    struct client_info info;

    while (client_info_next(&rest, &info) > 0) {
        assert_false(answer.there[id_of(&info)]);
        answer.there[id_of(&info)] = true;
    }
    if (r->flags & RECORD_LAST)
        assert_int_equal(r->status, ENGINE_OK);
    answer.last |= r->flags & RECORD_LAST;
}

static void disconnect(unsigned w, struct person *p)
{
    char user[16];

    snprintf(user, sizeof(user), "u%u", p->user);
    if (p->connected)
        broker_user_disconnect(world->broker[w], str_from(user));
    p->connected = false;
}

/* token: its place and its id; it may have gone. */
static void person_refused(uint64_t token)
{
    unsigned place = (unsigned)(token >> 32), w = place / CLIENTS;
    struct person *p = &people[w][place % CLIENTS];

    nrefused++;
    if (p->id == (uint32_t)token)
        disconnect(w, p);
}

static void person_answered(const struct record *r)
{
    if (r->kind == RECORD_MEMBERS) {
        members_answered(r);
    } else if (r->kind == RECORD_MEMBER_COUNT) {
        answer.clients = r->count;
    } else if (r->kind == RECORD_USER_CONNECTED) {
        answer.total = r->count;
        if (r->status == ENGINE_REFUSED)
            person_refused(r->token);
    } else {
        assert_int_equal(r->kind, RECORD_CONTROLLED);
        ncontrolled++;
    }
}

static unsigned hearer; /* worker whose turn it is */

static void person_control(unsigned from, struct str data)
{
    uint64_t n;

    assert_int_equal(str_to_u64(data, &n), 0);
    assert_true(n > heard[hearer][from]);
    heard[hearer][from] = n;
}

static const struct sink_ops person_ops = {
    .subscribed = person_subscribed,
    .deliver = person_deliver,
    .lost = person_lost,
    .answered = person_answered,
    .presence = person_presence,
    .control = person_control,
};

/* --- what they do --- */

static void take_turn(unsigned w)
{
    hearer = w;
    worker_turn(w);
}

static void person_comes(unsigned w, struct client *c, struct person *p)
{
    uint64_t token = (uint64_t)(c - &world->clients[0][0]) << 32 | next_id;
    char name[32], user[16];
    struct str u;
    enum close_reason why;

    if (next_id == PEOPLE)
        return;
    memset(p, 0, sizeof(*p));
    p->id = next_id++;
    p->user = dice(USERS);
    *c = (struct client){.sub = {.kind = CLIENT, .joins = dice(2) == 0}, .channel = dice(CHANNELS)};
    u = (struct str){.p = user, .n = (size_t)snprintf(user, sizeof(user), "u%u", p->user)};
    p->connected = broker_user_connect(world->broker[w], (struct asker){CLIENT, token}, u,
                                       dice(2) ? 3 : 0) >= 0;
    assert_int_equal(broker_subscribe(world->broker[w], &c->sub,
                                      channel_name(c->channel, name, sizeof(name)), &why),
                     0);
}

static void person_goes(unsigned w, struct client *c, struct person *p)
{
    struct buf info = {0};

    if (p->member) {
        assert_int_equal(write_info(&info, p), 0);
        broker_presence_remove(world->broker[w], &c->sub, buf_view(&info), PRESENCE_TELL);
        buf_fini(&info);
    }
    p->member = false;
    broker_unsubscribe(world->broker[w], &c->sub);
    disconnect(w, p);
}

static void person_acts(unsigned w)
{
    unsigned i = dice(CLIENTS);
    struct client *c = &world->clients[w][i];

    if (c->sub.chan == NULL)
        person_comes(w, c, &people[w][i]);
    else
        person_goes(w, c, &people[w][i]);
}

static void control(unsigned w)
{
    char text[24];
    struct str data = {
        .p = text,
        .n = (size_t)snprintf(text, sizeof(text), "%llu", (unsigned long long)(said[w] + 1))};

    if (broker_control(world->broker[w], (struct asker){CLIENT, 1},
                       dice(3) ? BROKER_ALL_WORKERS : dice(WORKERS), data) == 0)
        said[w]++;
}

static void start(unsigned w)
{
    worker_start(w);
    memset(people[w], 0, sizeof(people[w]));
    memset(heard[w], 0, sizeof(heard[w]));
}

static void act(bool workers_die)
{
    unsigned w = dice(WORKERS), what = dice(20);

    if (world->broker[w] == NULL) {
        if (dice(3) == 0)
            start(w);
        return;
    }
    if (workers_die && dice(300) == 0)
        worker_die(w);
    else if (what < 10)
        take_turn(w);
    else if (what < 18)
        person_acts(w);
    else
        control(w);
}

static void settle(void)
{
    for (unsigned round = 0; round < 1500; round++) {
        hub_act(false);
        for (unsigned w = 0; w < WORKERS; w++) {
            if (world->broker[w] == NULL)
                start(w);
            take_turn(w);
            while (task_run(&world->tasks[w], NS_PER_SEC)) {
            }
        }
    }
    assert_int_equal(hub_state(world->hub), HUB_LIVE);
    assert_false(hub_backlogged(world->hub));
}

static void check_channel(unsigned channel)
{
    static bool expected[PEOPLE];
    char buf[32];
    struct str name = channel_name(channel, buf, sizeof(buf));
    uint32_t n = 0;

    memset(expected, 0, sizeof(expected));
    for (unsigned w = 0; w < WORKERS; w++) {
        for (unsigned i = 0; i < CLIENTS; i++) {
            if (world->clients[w][i].sub.chan == NULL || world->clients[w][i].channel != channel)
                continue;
            assert_true(people[w][i].member);
            expected[people[w][i].id] = true;
            n++;
        }
    }
    memset(&answer, 0, sizeof(answer));
    assert_int_equal(broker_presence_stats(world->broker[0], (struct asker){CLIENT, 1}, name), 0);
    assert_int_equal(broker_presence(world->broker[0], (struct asker){CLIENT, 1}, name), 0);
    settle();
    assert_int_equal(answer.clients, n);
    assert_true(answer.last);
    assert_memory_equal(answer.there, expected, sizeof(expected));
}

static void check_users(void)
{
    uint32_t counts[USERS] = {0}, distinct = 0;

    for (unsigned w = 0; w < WORKERS; w++) {
        for (unsigned i = 0; i < CLIENTS; i++)
            counts[people[w][i].user] += people[w][i].connected;
    }
    for (unsigned u = 0; u < USERS; u++)
        distinct += counts[u] > 0;
    assert_int_equal(metrics->users, distinct);
    for (unsigned u = 0; u < USERS; u++) {
        char user[16];

        snprintf(user, sizeof(user), "u%u", u);
        assert_int_equal(broker_user_connect(world->broker[1], (struct asker){CLIENT, 1},
                                             str_from(user), UINT32_MAX),
                         0);
        settle();
        assert_int_equal(answer.total, counts[u] + 1);
        broker_user_disconnect(world->broker[1], str_from(user));
    }
}

static void simulate(unsigned seed, uint64_t ring, uint64_t queue, bool hubs_die, bool workers_die)
{
    sinks[CLIENT] = &person_ops;
    next_id = 0;
    memset(said, 0, sizeof(said));
    memset(heard, 0, sizeof(heard));
    memset(people, 0, sizeof(people));
    world_new(seed, ring, queue);
    for (unsigned i = 0; i < 10000; i++) {
        if (dice(3) == 0)
            hub_act(hubs_die);
        else
            act(workers_die);
    }
    settle();
    for (unsigned c = 0; c < CHANNELS; c++)
        check_channel(c);
    check_users();
}

static void nobody_dies(void **state)
{
    (void)state;
    nevents = nrefused = ncontrolled = 0;
    for (unsigned seed = 1; seed <= 5; seed++) {
        simulate(seed, 256 * 1024, 64 * 1024 * 1024, false, false);
        assert_int_equal(metrics->presence_lost, 0);
        assert_int_equal(metrics->controls_lost, 0);
        assert_int_equal(metrics->ring_bad_records, 0);
        world_free();
    }
    assert_true(nevents > 1000 && nrefused > 100 && ncontrolled > 1000);
}

static void workers_die(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 8; seed++) {
        simulate(seed, 256 * 1024, 64 * 1024 * 1024, false, true);
        assert_true(world->worker_deaths > 3);
        world_free();
    }
}

static void everybody_dies(void **state)
{
    unsigned deaths = 0;

    (void)state;
    for (unsigned seed = 1; seed <= 20; seed++) {
        simulate(seed, 256 * 1024, 64 * 1024 * 1024, true, seed % 2);
        deaths += world->hub_deaths;
        world_free();
    }
    assert_true(deaths > 60);
}

static void full_rings_and_everybody_dies(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 15; seed++) {
        simulate(seed, 8192, 4096, seed % 2, true);
        world_free();
    }
}

static void quiet(struct str line, void *arg)
{
    (void)line;
    (void)arg;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_dies),
        cmocka_unit_test(workers_die),
        cmocka_unit_test(everybody_dies),
        cmocka_unit_test(full_rings_and_everybody_dies),
    };

    log_set_sink(quiet, NULL);
    return cmocka_run_group_tests_name("core/link_members", tests, NULL, NULL);
}
