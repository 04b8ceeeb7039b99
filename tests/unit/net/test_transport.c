/* The same cases over every transport: TCP, TLS against OpenSSL's server side, memory that behaves,
 * and memory that does as a seed says. */
#include "net/transport.c"

#include "transport_harness.h"

static void bytes_go_both_ways(void)
{
    struct wire w;

    open_wire(&w, &ops);
    send_pattern(w.c, MUCH, 30011);
    assert_int_equal(read_until(&w, MUCH, NULL), MUCH);
    assert_memory_equal(got, pattern, MUCH);
    write_all(&w, pattern, MUCH);
    for (int i = 0; i < STEPS && seen.len < MUCH; i++)
        step(&w);
    assert_int_equal(seen.len, MUCH);
    assert_memory_equal(seen.input, pattern, MUCH);
    assert_null(w.c->out);
    way->close(&w);
    for (int i = 0; i < STEPS && seen.eofs == 0 && seen.releases == 0; i++)
        step(&w);
    if (seen.releases == 0)
        conn_kill(w.c, CLOSE_NORMAL);
    await_release(&w, 1);
}

static void what_is_said_before_it_is_open_is_sent_then(void)
{
    struct wire w = {.fd = -1};

    way->open(&w, &ops);
    send_pattern(w.c, 1000, 100);
    assert_int_equal(read_until(&w, 1000, NULL), 1000);
    assert_memory_equal(got, pattern, 1000);
    assert_int_equal(w.c->state, CONN_HTTP);
    assert_int_equal(connected, way == &ways[0] ? 0 : 1); /* TCP's was accepted */
    assert_int_equal(secured, way == &ways[1] ? 1 : 0);
    way->reset(&w);
    await_release(&w, 1);
}

static void a_peer_that_does_not_read(void)
{
    size_t sent = 0;
    struct wire w;

    open_wire(&w, &ops);
    for (int i = 0; i < STEPS && sent < sizeof(pattern); i++) {
        size_t n = MIN(sizeof(pattern) - sent, (size_t)5000);

        assert_int_equal(conn_send(w.c, (struct str){pattern + sent, n}), 0);
        sent += n;
        step(&w);
    }
    if (way == &ways[2]) { /* how much a kernel takes is its own affair */
        assert_true(w.c->flags & CONN_OUT_STALLED);
        assert_true(conn_queued(w.c) > 0 && conn_queued(w.c) < sent);
    }
    assert_int_equal(read_until(&w, sent, NULL), sent);
    assert_memory_equal(got, pattern, sent);
    for (int i = 0; i < 10; i++)
        step(&w);
    assert_int_equal(w.c->flags & CONN_OUT_STALLED, 0);
    assert_null(w.c->out);
    way->reset(&w);
    await_release(&w, 1);
}

static void the_end_comes_behind_the_bytes(void)
{
    struct wire w;

    open_wire(&w, &ops);
    write_all(&w, "goodbye", 7);
    way->shut(&w);
    for (int i = 0; i < STEPS && seen.eofs == 0; i++)
        step(&w);
    assert_int_equal(seen.len, 7);
    assert_memory_equal(seen.input, "goodbye", 7);
    for (int i = 0; i < 20; i++)
        step(&w);
    assert_int_equal(seen.eofs, 1);
    assert_int_equal(seen.releases, 0);
    assert_int_equal(conn_send(w.c, STR_LIT("and you")), 0); /* our side is open still */
    conn_finish(w.c, CLOSE_NORMAL);
    assert_int_equal(read_until(&w, 7, NULL), 7);
    await_release(&w, 1);
    assert_int_equal(metrics->closes[CLOSE_NORMAL], 1);
    way->close(&w);
}

static void an_end_of_ours_is_in_order(void)
{
    ssize_t end;
    struct wire w;

    open_wire(&w, &ops);
    send_pattern(w.c, 100000, 100000);
    conn_finish(w.c, CLOSE_NORMAL);
    assert_int_equal(conn_send(w.c, STR_LIT("more")), -1);
    write_all(&w, "ignored", 7);
    assert_int_equal(read_until(&w, sizeof(got), &end), 100000);
    assert_memory_equal(got, pattern, 100000);
    assert_int_equal(end, TRANSPORT_EOF);
    assert_int_equal(w.c->state, CONN_LINGERING);
    assert_int_equal(seen.releases + seen.inputs, 0);
    way->close(&w);
    await_release(&w, 1);
    assert_int_equal(metrics->closes[CLOSE_NORMAL], 1);
}

static void a_reset(void)
{
    struct wire w;

    open_wire(&w, &ops);
    way->reset(&w);
    await_release(&w, 1);
    assert_int_equal(seen.eofs, 0);
    assert_int_equal(metrics->closes[CLOSE_PEER_GONE], 1);
}

static void killed_with_output(void)
{
    struct wire w;
    ssize_t end;

    open_wire(&w, &ops);
    config.output_limit = INT64_MAX;
    for (int i = 0; i < 60; i++) /* more than a kernel's buffers */
        send_pattern(w.c, MUCH, MUCH);
    assert_true(conn_queued(w.c) > 0);
    conn_kill(w.c, CLOSE_INTERNAL);
    await_release(&w, 1);
    do {
        end = way->read(&w, got, sizeof(got));
    } while (end >= 0);
    assert_int_equal(end, TRANSPORT_BROKEN);
    way->close(&w);
}

static void held_is_not_read(void)
{
    struct wire w;

    open_wire(&w, &ops);
    conn_hold(w.c, CONN_HOLD_ANSWER);
    write_all(&w, "later", 5);
    for (int i = 0; i < 20; i++)
        step(&w);
    assert_int_equal(seen.len, 0);
    conn_release_hold(w.c, CONN_HOLD_ANSWER);
    for (int i = 0; i < STEPS && seen.len < 5; i++)
        step(&w);
    assert_int_equal(seen.len, 5);
    way->reset(&w);
    await_release(&w, 1);
}

/* Each input of a flood uses up a turn; one that says little is read in the turn in which it does,
 * whatever carries it. */
static struct conn *order[4096];

static void costly_input(struct conn *c, struct str in UNUSED)
{
    order[inputs++ % ARRAY_LEN(order)] = c;
    clock_advance((uint64_t)config.turn_budget);
}

static const struct conn_ops costly_ops = {
    .name = "costly", .input = costly_input, .release = seen_release};

static void floods_make_way(void)
{
    static struct wire flood[4], quiet;
    unsigned before;

    open_wire(&quiet, &costly_ops);
    for (size_t i = 0; i < ARRAY_LEN(flood); i++)
        open_wire(&flood[i], &costly_ops);
    for (unsigned turn = 0; turn < 60; turn++) {
        for (size_t i = 0; i < ARRAY_LEN(flood); i++)
            while (way->write(&flood[i], pattern, 60000) > 0)
                continue;
        step(&quiet);
        if (turn < 20) /* they become known */
            continue;
        before = inputs;
        while (way->write(&quiet, "x", 1) == 0)
            continue;
        if (quiet.fd != -1) { /* what a kernel carries may take a moment */
            struct pollfd arrived = {.fd = conn_fd(quiet.c), .events = POLLIN};

            assert_int_equal(poll(&arrived, 1, 10000), 1);
        }
        step(&quiet);
        assert_true(inputs - before <= 2); /* and one of theirs */
        assert_ptr_equal(order[before % ARRAY_LEN(order)], quiet.c);
    }
    way->reset(&quiet);
    for (size_t i = 0; i < ARRAY_LEN(flood); i++)
        way->reset(&flood[i]);
    await_release(&quiet, 1 + ARRAY_LEN(flood));
}

static void it_tells_what_it_is(void)
{
    char text[64];
    struct wire w;

    open_wire(&w, &ops);
    transport_of(w.c)->describe(w.c, text, sizeof(text));
    assert_int_equal(strncmp(text, way->name, strlen(way->name)), 0);
    way->reset(&w);
    await_release(&w, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(bytes_go_both_ways, over_all),
        T(bytes_go_both_ways, over_chance),
        T(what_is_said_before_it_is_open_is_sent_then, over_all),
        T(what_is_said_before_it_is_open_is_sent_then, over_chance),
        T(a_peer_that_does_not_read, over_all),
        T(a_peer_that_does_not_read, over_chance),
        T(the_end_comes_behind_the_bytes, over_all),
        T(the_end_comes_behind_the_bytes, over_chance),
        T(an_end_of_ours_is_in_order, over_all),
        T(an_end_of_ours_is_in_order, over_chance),
        T(a_reset, over_all),
        T(a_reset, over_chance),
        T(killed_with_output, over_all),
        T(killed_with_output, over_chance),
        T(held_is_not_read, over_all),
        T(held_is_not_read, over_chance),
        T(floods_make_way, over_all),
        T(it_tells_what_it_is, over_all),
    };

    return cmocka_run_group_tests_name("net/transport", tests, setup, teardown);
}
