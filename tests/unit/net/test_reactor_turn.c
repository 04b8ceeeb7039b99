#include <ev.h>
#include <stdbool.h>

/* What was asked of the last poll: whether there is sleep is seen by that, not by how long it took. */
static int polled;
static bool interrupted; /* the next one: it brings nothing */

static void turn_on_check(struct ev_loop *loop, ev_check *w, int revents);

static void ev_run_noted(struct ev_loop *loop, int flags)
{
    polled = flags;
    if (interrupted) {
        interrupted = false;
        turn_on_check(loop, NULL, 0);
        return;
    }
    ev_run(loop, flags);
}

#define ev_run ev_run_noted
#include "net/reactor_turn.c"

#include <sys/eventfd.h>

#include "net_harness.h"

static int wake_fd, hub_fd;

static uint64_t eventfd_take(int fd)
{
    uint64_t n = 0;

    return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static void eventfd_give(int fd)
{
    uint64_t one = 1;

    assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

/* The hub's side of the link, in this process's memory. */
static struct ring_shared *to_hub, *from_hub;
static struct ring hub_in, hub_out;

#define RING_BYTES 65536

static struct ring_shared *ring_new(uint64_t capacity)
{
    struct ring_shared *s = aligned_alloc(CACHE_LINE, (ring_bytes(capacity) + 63) & ~(size_t)63);

    assert_non_null(s);
    ring_format(s, capacity);
    return s;
}

static void sub_lost(struct sub *s UNUSED, struct position to UNUSED)
{
}

static void sub_subscribed(struct sub *s UNUSED, struct position at UNUSED)
{
}

static void sub_deliver(struct sub *s UNUSED, struct batch *b UNUSED)
{
}

static const struct sink_ops sink = {
    .subscribed = sub_subscribed, .deliver = sub_deliver, .lost = sub_lost};
static const struct sink_ops *const sinks[2] = {[1] = &sink};

static int setup(void **state)
{
    struct reactor_config cfg;
    struct broker_config link;

    net_setup(state);
    reactor_fini();
    wake_fd = eventfd(0, EFD_NONBLOCK);
    hub_fd = eventfd(0, EFD_NONBLOCK);
    cfg = (struct reactor_config){.wake_fd = wake_fd, .hub_wake_fd = hub_fd};
    reactor_init(&cfg);
    to_hub = ring_new(RING_BYTES);
    from_hub = ring_new(RING_BYTES);
    hub_in = hub_out = (struct ring){0};
    ring_attach_consumer(&hub_in, to_hub, RING_BYTES);
    ring_attach_producer(&hub_out, from_hub, RING_BYTES);
    link = (struct broker_config){.generation = 1,
                                  .to_hub = to_hub,
                                  .from_hub = from_hub,
                                  .ring_capacity = RING_BYTES,
                                  .tasks = &reactor->tasks,
                                  .sinks = sinks,
                                  .nsinks = 2};
    reactor_set_broker(broker_new(&link));
    assert_non_null(reactor->broker);
    return 0;
}

static int teardown(void **state)
{
    struct broker *b = reactor->broker;

    net_teardown(state);
    broker_free(b);
    free(to_hub);
    free(from_hub);
    close(wake_fd);
    close(hub_fd);
    return 0;
}

static void hub_takes_everything(void)
{
    struct str r;

    while (ring_peek(&hub_in, &r) > 0)
        ring_next(&hub_in);
    ring_release(&hub_in);
}

static void hub_says(uint8_t kind)
{
    struct record r = {.kind = kind, .generation = 1};
    void *p = ring_reserve(&hub_out, record_size(0, 0));

    assert_non_null(p);
    record_encode(&r, p);
    ring_commit(&hub_out);
}

static void test_wakes_a_sleeping_hub_once(void **state)
{
    struct sub s = {.kind = 1};
    enum close_reason why;

    (void)state;
    net_steps(2);
    hub_takes_everything();
    eventfd_take(hub_fd);
    metrics->ring_wakeups = 0;
    assert_int_equal(broker_subscribe(reactor->broker, &s, STR_LIT("room"), &why), 0);
    net_steps(1);
    assert_int_equal(eventfd_take(hub_fd), 0); /* it is awake */
    assert_int_equal(metrics->ring_wakeups, 0);
    hub_takes_everything();
    assert_true(ring_sleep(&hub_in));
    broker_unsubscribe(reactor->broker, &s);
    net_steps(1);
    assert_int_equal(eventfd_take(hub_fd), 1);
    assert_int_equal(metrics->ring_wakeups, 1);
    net_steps(3);
    assert_int_equal(metrics->ring_wakeups, 1);
}

/* A record that has come before sleep was announced: the blocking step returns at once and handles
 * it. */
static void test_does_not_sleep_on_a_record(void **state)
{
    (void)state;
    net_steps(2);
    clock_set_virtual(0);
    hub_says(RECORD_FENCED + 100); /* malformed is handled, too: counted */
    assert_false(turn_announce_sleep());
    polled = EVRUN_ONCE;
    reactor_step(true);
    assert_int_equal(polled, EVRUN_NOWAIT);
    assert_int_equal(metrics->ring_bad_records, 1);
    assert_int_equal(from_hub->sleeping, 0);
    clock_set_virtual(NET_START);
}

static void test_hub_wakes_the_worker(void **state)
{
    (void)state;
    clock_set_virtual(0);
    net_steps(2);
    assert_true(turn_announce_sleep());
    hub_says(RECORD_FENCED + 100);
    assert_true(ring_wake_needed(&hub_out));
    eventfd_give(wake_fd);
    ev_run(reactor->loop, EVRUN_ONCE);
    assert_int_equal(eventfd_take(wake_fd), 0); /* that is what has ended the sleep: drained */
    reactor_turn();
    assert_int_equal(metrics->ring_bad_records, 1);
    clock_set_virtual(NET_START);
}

/* Nothing to do: it sleeps, and the wheel's next deadline is what ends the sleep. */
static void test_sleeps_until_the_deadline(void **state)
{
    int peer;
    struct conn *c = net_pair(&peer, &seen_ops, 0);
    uint64_t started;
    int steps;

    (void)state;
    clock_set_virtual(0);
    clock_refresh();
    started = clock_ns(); /* from there the deadline counts */
    wheel_disarm(&reactor->wheel, &c->deadline);
    wheel_init(&reactor->wheel, clock_ns());
    conn_arm(c, 150 * NS_PER_MS);
    reactor_step(false);
    for (steps = 0; steps < 20 && seen.deadlines == 0; steps++)
        reactor_step(true);
    assert_int_equal(seen.deadlines, 1);
    assert_true(steps <= 5);
    assert_true(clock_precise_ns() - started >= 100 * NS_PER_MS);
    wheel_init(&reactor->wheel, NET_START);
    clock_set_virtual(NET_START);
    close(peer);
}

/* The process was not run for a minute. What came meanwhile is read, and nobody is late by more than it was. */
static void test_a_standstill_is_not_the_peers(void **state UNUSED)
{
    int peer;
    struct conn *c = net_pair(&peer, &seen_ops, 0);

    reactor->cfg.standstill_ns = REACTOR_STANDSTILL_NS;
    net_steps(1);
    conn_arm(c, 5 * NS_PER_SEC);
    net_write(peer, "x", 1);
    net_after(60 * NS_PER_SEC);
    assert_int_equal(seen.inputs, 1);
    assert_int_equal(seen.deadlines, 0);
    assert_int_equal(reactor->away_ns, 60 * NS_PER_SEC);
    for (int i = 0; i < 4; i++) /* slow, but at work: that time counts */
        net_after(REACTOR_STANDSTILL_NS);
    assert_int_equal(seen.deadlines, 0);
    for (int i = 0; i < 2; i++)
        net_after(REACTOR_STANDSTILL_NS);
    assert_int_equal(seen.deadlines, 1);
    reactor->cfg.standstill_ns = 0; /* who moves the clock himself */
    conn_arm(c, 5 * NS_PER_SEC);
    net_after(60 * NS_PER_SEC);
    assert_int_equal(seen.deadlines, 2);
    close(peer);
}

/* A poll that was interrupted has brought nothing: there is another before anything is judged. */
static void test_a_standstill_is_followed_by_a_poll(void **state UNUSED)
{
    int peer;
    struct conn *c = net_pair(&peer, &seen_ops, 0);

    reactor->cfg.standstill_ns = REACTOR_STANDSTILL_NS;
    net_steps(1);
    interrupted = true;
    net_write(peer, "x", 1);
    clock_advance(60 * NS_PER_SEC);
    reactor_step(false);
    assert_false(interrupted);
    assert_int_equal(seen.inputs, 1);
    assert_false(conn_dead(c));
    close(peer);
}

static unsigned steps_left;

static enum task_result counting_step(struct task *t UNUSED)
{
    return --steps_left > 0 ? TASK_MORE : TASK_DONE;
}

static void test_tasks_keep_it_awake(void **state)
{
    struct task t;

    (void)state;
    net_steps(2);
    assert_false(reactor->busy);
    steps_left = 1000000;
    task_init(&t, "counting", counting_step);
    task_add(&reactor->tasks, &t);
    clock_set_virtual(0);
    config.turn_budget = 1000; /* ns: far less than the task needs */
    reactor_step(false);
    assert_true(steps_left > 1 && steps_left < 1000000);
    assert_true(reactor->busy);
    reactor_step(true); /* does not block */
    task_remove(&t);
    reactor_step(false);
    assert_false(reactor->busy);
    clock_set_virtual(NET_START);
}

static unsigned turns_seen;

static void each_turn(void)
{
    if (++turns_seen == 3)
        reactor_stop();
}

static void test_run_until_stopped(void **state)
{
    uint64_t before;

    (void)state;
    turns_seen = 0;
    reactor->cfg.each_turn = each_turn;
    before = metrics->turns;
    reactor->busy = true;
    for (int i = 0; i < 3; i++)
        eventfd_give(wake_fd);
    reactor_run();
    assert_int_equal(turns_seen, 3);
    assert_int_equal(metrics->turns - before, 3);
    assert_true(metrics->turn_duration.count >= 3);
}

static uint64_t generation;

static uint64_t hub_generation(void)
{
    return generation;
}

/* A new hub is announced to, and nothing is published before that is done. */
static void test_follows_the_hubs_generation(void **state)
{
    (void)state;
    generation = 1;
    reactor->cfg.hub_generation = hub_generation;
    net_steps(3);
    hub_takes_everything();
    net_steps(2);
    assert_true(broker_can_publish(reactor->broker, 10, 1));
    generation = 2;
    metrics->ring_wakeups = 0;
    assert_true(ring_sleep(&hub_in));
    net_steps(3);
    assert_true(ring_used(&hub_in) > 0); /* ANNOUNCED */
    assert_int_equal(metrics->ring_wakeups, 1);
    assert_true(broker_can_publish(reactor->broker, 10, 1));
}

static void test_deadlines_are_bounded_per_turn(void **state)
{
    static int peers[DEADLINES_PER_TURN + 20];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        net_pair(&peers[i], &seen_ops, 0);
    net_after((uint64_t)config.header_timeout + NS_PER_SEC);
    assert_int_equal(seen.deadlines, DEADLINES_PER_TURN);
    assert_true(reactor->busy);
    net_steps(1);
    assert_int_equal(seen.deadlines, ARRAY_LEN(peers));
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        close(peers[i]);
}

static void test_reaping_is_bounded_per_turn(void **state)
{
    static int peers[REAP_PER_TURN + 20];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        conn_kill(net_pair(&peers[i], &seen_ops, 0), CLOSE_NORMAL);
    net_steps(1);
    assert_int_equal(seen.releases, REAP_PER_TURN);
    assert_true(reactor->busy);
    net_steps(1);
    assert_int_equal(seen.releases, ARRAY_LEN(peers));
    assert_false(reactor->busy);
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        close(peers[i]);
}

/* Whoever serves the rings, it has its places in the turn: no sleep when something has come while it
 * was announced, nor while there is more to do. */

static char served[32];
static bool more_to_do, quiet;

static void note_served(char what)
{
    size_t n = strlen(served);

    assert_true(n + 1 < sizeof(served));
    served[n] = what;
    served[n + 1] = '\0';
}

static bool note_receive(void)
{
    note_served('r');
    return more_to_do;
}

static void note_flush(void)
{
    note_served('f');
}

static bool note_sleep(void)
{
    note_served('s');
    return quiet;
}

static void note_awake(void)
{
    note_served('a');
}

static void test_serves_other_rings(void **state UNUSED)
{
    static const struct reactor_rings rings = {
        .receive = note_receive, .flush = note_flush, .sleep = note_sleep, .awake = note_awake};
    const struct reactor_config cfg = {.rings = &rings,
                                       .wake_fd = wake_fd,
                                       .hub_wake_fd = -1,
                                       .standstill_ns = REACTOR_STANDSTILL_NS};
    struct reactor *first = reactor, *other = calloc(1, sizeof(*other));

    assert_non_null(other);
    reactor = other;
    reactor_init(&cfg);
    quiet = true;
    eventfd_give(wake_fd);
    reactor_step(true);
    assert_int_equal(reactor->away_ns, 0); /* what was before the first turn is no standstill */
    served[0] = '\0';
    quiet = false; /* something has come */
    more_to_do = true;
    reactor_step(true);
    assert_string_equal(served, "sarf");
    more_to_do = false;
    served[0] = '\0';
    reactor_step(true);
    assert_string_equal(served, "rf"); /* what was left, without sleep */
    quiet = true;
    served[0] = '\0';
    eventfd_give(wake_fd);
    reactor_step(true);
    assert_string_equal(served, "sarf");
    assert_int_equal(eventfd_take(wake_fd), 0);
    reactor_fini();
    free(other);
    reactor = first;
}

#define TURN_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TURN_TEST(test_wakes_a_sleeping_hub_once),
        TURN_TEST(test_does_not_sleep_on_a_record),
        TURN_TEST(test_hub_wakes_the_worker),
        TURN_TEST(test_sleeps_until_the_deadline),
        TURN_TEST(test_tasks_keep_it_awake),
        TURN_TEST(test_run_until_stopped),
        TURN_TEST(test_follows_the_hubs_generation),
        TURN_TEST(test_deadlines_are_bounded_per_turn),
        TURN_TEST(test_reaping_is_bounded_per_turn),
        TURN_TEST(test_serves_other_rings),
        TURN_TEST(test_a_standstill_is_not_the_peers),
        TURN_TEST(test_a_standstill_is_followed_by_a_poll),
    };

    return cmocka_run_group_tests_name("net/reactor_turn", tests, NULL, NULL);
}
