/* Whose input a turn reads: those with little first, nobody without end, everybody in the end. */
#include "net/input.c"

#include "net_harness.h"

#define MANY 40

static uint64_t cost_ns;      /* what each input takes, under the virtual clock */
static uint64_t byte_cost_ns; /* and each byte of it */
static struct conn *order[4096];
static unsigned inputs;
static size_t largest;

static void costly_input(struct conn *c, struct str in)
{
    order[inputs++ % ARRAY_LEN(order)] = c;
    largest = MAX(largest, in.n);
    clock_advance(cost_ns + in.n * byte_cost_ns);
}

static const struct conn_ops costly_ops = {.name = "costly", .input = costly_input};
static const struct conn_ops asking_ops = {
    .name = "asking", .input = costly_input, .may_read = seen_may_read};

static char flood[SCRATCH_SIZE];

static int setup(void **state)
{
    cost_ns = byte_cost_ns = 0;
    inputs = 0;
    largest = 0;
    return net_setup(state);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, net_teardown)

/* As much as the socket takes. */
static void pour(int peer)
{
    while (send(peer, flood, sizeof(flood), MSG_NOSIGNAL) > 0)
        continue;
}

static void pairs(struct conn **c, int *peer, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        c[i] = net_pair(&peer[i], &costly_ops, 0);
}

static void close_all(const int *peer, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        close(peer[i]);
    net_steps(400);
}

static unsigned times(const struct conn *c, unsigned from)
{
    unsigned n = 0;

    for (unsigned i = from; i < inputs; i++)
        n += order[i % ARRAY_LEN(order)] == c;
    return n;
}

static void little_is_read_at_once(void **state UNUSED)
{
    struct conn *c[MANY];
    int peer[MANY];

    pairs(c, peer, MANY);
    for (unsigned i = 0; i < MANY; i++)
        net_write(peer[i], "x", 1);
    net_steps(1);
    assert_int_equal(inputs, MANY);
    assert_false(reactor->busy);
    close_all(peer, MANY);
}

/* The first read of each may be a large one; then a turn reads as long as its budget lasts. */
static void floods_take_turns(void **state UNUSED)
{
    uint64_t budget = (uint64_t)config.turn_budget;
    struct conn *c[MANY];
    int peer[MANY];
    unsigned before;

    pairs(c, peer, MANY);
    cost_ns = budget / 8;
    for (unsigned i = 0; i < MANY; i++)
        pour(peer[i]);
    net_steps(1);
    for (unsigned i = 0; i < MANY; i++)
        pour(peer[i]);
    for (unsigned turn = 0; turn < 10; turn++) {
        uint64_t began = clock_precise_ns();

        net_steps(1);
        assert_true(clock_precise_ns() - began <= budget + budget / 8 + cost_ns);
        assert_true(reactor->busy);
    }
    before = inputs;
    for (unsigned turn = 0; turn < 6 * MANY / 8; turn++) {
        net_steps(1);
        for (unsigned i = 0; i < MANY; i++)
            pour(peer[i]);
    }
    for (unsigned i = 0; i < MANY; i++)
        assert_in_range(times(c[i], before), 3, 8); /* all alike */
    cost_ns = 0;
    close_all(peer, MANY);
}

static void a_ping_does_not_wait_for_them(void **state UNUSED)
{
    struct conn *c[MANY], *quiet;
    int peer[MANY], other;

    quiet = net_pair(&other, &costly_ops, 0);
    pairs(c, peer, MANY);
    cost_ns = (uint64_t)config.turn_budget; /* each of them uses up a turn */
    for (unsigned turn = 0; turn < 2 * MANY + 20; turn++) {
        unsigned before = inputs;

        for (unsigned i = 0; i < MANY; i++)
            pour(peer[i]);
        if (turn < 2 * MANY) { /* they become known */
            net_steps(1);
            continue;
        }
        net_write(other, "x", 1);
        net_steps(1);
        assert_int_equal(times(quiet, before), 1);
        assert_int_equal(inputs - before, 2); /* and one of theirs */
    }
    cost_ns = 0;
    close(other);
    close_all(peer, MANY);
}

/* Many with little each are a crowd too: it is served in the order it came, a turn at a time. */
static void a_crowd(void **state UNUSED)
{
    struct conn *c[200];
    int peer[200];
    unsigned turns = 0;

    pairs(c, peer, 200);
    cost_ns = (uint64_t)config.turn_budget / 20;
    for (unsigned i = 0; i < 200; i++)
        net_write(peer[i], "x", 1);
    do {
        uint64_t began = clock_precise_ns();

        net_steps(1);
        turns++;
        assert_true(clock_precise_ns() - began <= 3 * (uint64_t)config.turn_budget);
    } while (reactor->busy);
    assert_in_range(turns, 5, 15);
    assert_int_equal(inputs, 200);
    for (unsigned i = 0; i < 200; i++)
        assert_int_equal(times(c[i], 0), 1);
    cost_ns = 0;
    close_all(peer, 200);
}

/* What costs much by the byte is read in small pieces, what does not in large ones. */
static void pieces_follow_their_cost(void **state UNUSED)
{
    struct conn *c;
    int peer;

    pairs(&c, &peer, 1);
    byte_cost_ns = (uint64_t)config.turn_budget / BULK_MIN / 8;
    for (unsigned i = 0; i < 10; i++) {
        pour(peer);
        net_steps(1);
    }
    assert_in_range(reactor->input.bulk_max, BULK_MIN, 2 * BULK_MIN);
    byte_cost_ns = 0;
    largest = 0;
    for (unsigned i = 0; i < 100; i++) {
        pour(peer);
        net_steps(1);
    }
    assert_int_equal(reactor->input.bulk_max, SCRATCH_SIZE);
    assert_true(largest > SCRATCH_SIZE / 2);
    close_all(&peer, 1);
}

/* Whoever dies or is held while it waits is not read. */
static void not_when_its_turn_has_passed(void **state UNUSED)
{
    struct conn *c[3];
    int peer[3];
    unsigned before;

    pairs(c, peer, 3);
    cost_ns = (uint64_t)config.turn_budget;
    for (unsigned turn = 0; turn < 6; turn++) {
        for (unsigned i = 0; i < 3; i++)
            pour(peer[i]);
        net_steps(1);
    }
    assert_true(reactor->input.bulk.n >= 2);
    conn_kill(c[0], CLOSE_NORMAL);
    conn_hold(c[1], CONN_HOLD_ANSWER);
    before = inputs;
    net_steps(6);
    assert_int_equal(times(c[0], before) + times(c[1], before), 0);
    assert_true(times(c[2], before) > 0);
    conn_release_hold(c[1], CONN_HOLD_ANSWER);
    net_steps(6);
    assert_true(times(c[1], before) > 0);
    cost_ns = 0;
    close_all(peer, 3);
}

/* Room in the ring is for those with little first; a flood gets none while one of them waits. */
static void room_in_the_ring(void **state UNUSED)
{
    struct conn *flooder, *quiet;
    int peer[2];
    unsigned before;

    flooder = net_pair(&peer[0], &asking_ops, 0);
    quiet = net_pair(&peer[1], &asking_ops, 0);
    pour(peer[0]);
    net_steps(2);
    seen.allow = 0;
    net_write(peer[1], "x", 1);
    pour(peer[0]);
    before = inputs;
    net_steps(3);
    assert_int_equal(inputs, before);
    assert_false(list_empty(&reactor->waiters.light));
    assert_false(list_empty(&reactor->waiters.bulk));
    seen.asked = 0;
    net_steps(1);
    assert_int_equal(seen.asked, 1); /* for the quiet one */
    seen.allow = SIZE_MAX;
    net_steps(2);
    assert_ptr_equal(order[before % ARRAY_LEN(order)], quiet);
    assert_true(times(flooder, before) > 0);
    assert_true(waiters_empty(&reactor->waiters));
    close_all(peer, 2);
}

static void no_memory_for_a_place(void **state UNUSED)
{
    struct conn *c[2];
    int peer[2];
    unsigned before;

    pairs(c, peer, 2);
    for (unsigned i = 0; i < 2; i++)
        pour(peer[i]);
    net_steps(1);
    before = inputs;
    fault_fail_at(1);
    net_steps(1);
    assert_true(fault_count() > 0);
    fault_reset();
    assert_true(inputs > before);
    assert_false(conn_dead(c[0]) || conn_dead(c[1]));
    close_all(peer, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(little_is_read_at_once),
        T(floods_take_turns),
        T(a_ping_does_not_wait_for_them),
        T(a_crowd),
        T(pieces_follow_their_cost),
        T(not_when_its_turn_has_passed),
        T(room_in_the_ring),
        T(no_memory_for_a_place),
    };

    return cmocka_run_group_tests_name("net/input", tests, NULL, NULL);
}
