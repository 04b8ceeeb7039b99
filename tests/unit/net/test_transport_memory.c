/* What only memory can do: resets at any time, peers that are not there yet, both ends in one
 * process. */
#include "net/transport.c"

#include "transport_harness.h"

/* Whatever happens on the way, what arrives is a beginning of what was sent, in both directions,
 * and whoever notices the reset ends. */
static void resets_come_at_any_time(void)
{
    const struct memory_plan plan = {
        .seed = seed, .capacity = 500, .short_each = 2, .later_each = 3, .reset_each = 30};
    struct memory_end *ends[2];
    size_t sent = 0, len = 0;
    struct wire w = {.fd = -1};
    ssize_t n;

    assert_int_equal(memory_pair(&plan, ends), 0);
    w.end = ends[1];
    w.c = memory_add(ends[0], &ops, NULL, 0, CONN_CONNECTING);
    assert_non_null(w.c);
    send_pattern(w.c, 20000, 700);
    for (int i = 0; i < STEPS && seen.releases == 0; i++) {
        n = way->write(&w, pattern + sent, MIN((size_t)100, sizeof(pattern) - sent));
        sent += n > 0 ? (size_t)n : 0;
        n = way->read(&w, got + len, sizeof(got) - len);
        len += n > 0 ? (size_t)n : 0;
        step(&w);
    }
    assert_int_equal(seen.releases, 1);
    assert_int_equal(metrics->closes[CLOSE_PEER_GONE], 1);
    assert_true(seen.len <= sent && len <= 20000);
    assert_memory_equal(seen.input, pattern, seen.len);
    assert_memory_equal(got, pattern, len);
    way->close(&w);
}

static void nobody_is_there(void)
{
    struct memory_end *ends[2];
    struct conn *c;

    assert_int_equal(memory_pair(NULL, ends), 0);
    memory_listen(ends[1], false);
    c = memory_add(ends[0], &ops, NULL, 0, CONN_CONNECTING);
    assert_non_null(c);
    assert_int_equal(conn_send(c, STR_LIT("hello")), 0);
    net_steps(5);
    assert_int_equal(c->state, CONN_CONNECTING);
    assert_false(reactor->busy);
    memory_listen(ends[1], true);
    net_steps(2);
    assert_int_equal(c->state, CONN_HTTP);
    assert_int_equal(connected, 1);
    assert_int_equal(memory_read(ends[1], got, sizeof(got)), 5);
    memory_close(ends[1]);
    net_steps(2);
    conn_kill(c, CLOSE_NORMAL);
    assert_int_equal(memory_pair(NULL, ends), 0);
    memory_listen(ends[1], false);
    c = memory_add(ends[0], &ops, NULL, 0, CONN_CONNECTING);
    conn_finish(c, CLOSE_DRAIN); /* nothing was said yet, so there is nothing to be polite about */
    assert_true(conn_dead(c));
    memory_close(ends[1]);
    assert_int_equal(memory_pair(NULL, ends), 0);
    memory_listen(ends[1], false);
    c = memory_add(ends[0], &ops, NULL, 0, CONN_CONNECTING);
    memory_refuse(ends[1]);
    net_steps(2);
    assert_int_equal(metrics->closes[CLOSE_PEER_GONE], 1);
    assert_int_equal(connected, 1);
    memory_close(ends[1]);
}

/* Two connections of one reactor, with nothing but memory between them. */
static void both_ends_are_connections(void)
{
    struct memory_end *ends[2];
    struct conn *c[2];

    assert_int_equal(memory_pair(NULL, ends), 0);
    c[0] = memory_add(ends[0], &ops, NULL, 0, CONN_CONNECTING);
    c[1] = memory_add(ends[1], &ops, NULL, 0, CONN_HTTP);
    assert_int_equal(conn_send(c[0], STR_LIT("there ")), 0);
    net_steps(3);
    assert_int_equal(conn_send(c[1], STR_LIT("and back")), 0);
    net_steps(3);
    assert_int_equal(seen.len, 14);
    assert_memory_equal(seen.input, "there and back", 14);
    conn_finish(c[0], CLOSE_NORMAL);
    net_steps(3);
    assert_int_equal(seen.eofs, 1);
    conn_finish(c[1], CLOSE_NORMAL);
    net_steps(5);
    assert_int_equal(seen.releases, 2);
    assert_int_equal(metrics->closes[CLOSE_NORMAL], 2);
}

static void no_memory_for_it(void)
{
    struct memory_end *ends[2];
    struct wire w;

    for (unsigned long k = 1; k <= 3; k++) {
        fault_fail_at(k);
        assert_int_equal(memory_pair(NULL, ends), -1);
    }
    fault_reset();
    assert_int_equal(memory_pair(NULL, ends), 0);
    fault_fail_at(1);
    assert_null(memory_add(ends[0], &ops, NULL, 0, CONN_HTTP));
    fault_reset();
    memory_close(ends[1]);
    open_wire(&w, &ops);
    free(reactor->ready.ids);
    memset(&reactor->ready, 0, sizeof(reactor->ready));
    fault_fail_at(1); /* its place among those that are ready */
    assert_int_equal(memory_write(w.end, "x", 1), 1);
    fault_reset();
    assert_true(conn_dead(w.c));
    net_steps(1);
    assert_int_equal(metrics->closes[CLOSE_NO_MEMORY], 1);
    memory_close(w.end);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(resets_come_at_any_time, over_chance),
        T(nobody_is_there, over_memory),
        T(both_ends_are_connections, over_memory),
        T(no_memory_for_it, over_memory),
    };

    return cmocka_run_group_tests_name("net/transport_memory", tests, setup, teardown);
}
