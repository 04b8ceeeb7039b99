/* When a client's pong is due, under the virtual clock. */
#include "proto/centrifuge/deadlines.c"

#include "../harness.h"
#include "core/channel_options.h"
#include "proto/session.h"

#define BIG 50000

static int setup(void **state UNUSED)
{
    if (h_start(true) == -1)
        return -1;
    config.insecure = true;
    config.output_timeout = 3600 * (int64_t)NS_PER_SEC;
    channel_options_changed();
    return 0;
}

static int teardown(void **state)
{
    int rc = h_stop(state);

    config_defaults(&config);
    channel_options_changed();
    return rc;
}

/* A client in the channel `room`. */
static struct peer *client_in_room(void)
{
    struct peer *p = h_open("/connection/websocket");

    h_text(p, "{\"id\":1,\"connect\":{}}");
    h_turns(2);
    h_text(p, "{\"id\":2,\"subscribe\":{\"channel\":\"room\"}}");
    h_turns(4);
    h_read(p);
    assert_has(p, "\"id\":2,\"subscribe\":{");
    h_forget(p);
    return p;
}

static void publish(struct peer *publisher)
{
    static char text[BIG];

    memset(text, 'x', sizeof(text));
    h_frame(publisher, WS_OP_TEXT, (struct str){.p = text, .n = sizeof(text)});
    h_turns(200); /* so small a ring is not asked for much at a time */
}

/* Everything there is, and what comes of having read it. */
static size_t read_all(struct peer *p)
{
    static char got[BIG];
    size_t all = 0;
    ssize_t n;

    while ((n = recv(p->fd, got, sizeof(got), 0)) > 0) {
        all += (size_t)n;
        h_turns(1);
    }
    return all;
}

static void no_pong(void **state UNUSED)
{
    struct peer *p = client_in_room();

    h_wait((uint64_t)config.ping_interval + NS_PER_SEC);
    h_read(p);
    assert_has(p, "{}");
    h_forget(p);
    h_wait((uint64_t)config.pong_timeout + NS_PER_SEC);
    assert_closed(p, 3012);
    h_close(p);
}

/* A ping stands behind what the client still takes: its time begins when that has gone. */
static void a_ping_behind_a_queue(void **state UNUSED)
{
    struct peer *publisher = h_open("/ws/room?mode=pub"), *p = client_in_room();
    int small = 4096;

    assert_int_equal(setsockopt(conn_fd(p->conn), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    publish(publisher);
    assert_true(p->conn->flags & CONN_OUT_STALLED);
    h_wait((uint64_t)config.ping_interval + NS_PER_SEC);
    assert_int_equal(metrics->pings_out, 2); /* the publisher's, too */
    h_frame(publisher, WS_OP_PONG, STR_NULL);
    for (int i = 0; i < 2; i++) {
        h_wait((uint64_t)config.pong_timeout + NS_PER_SEC);
        assert_int_equal(p->conn->state, CONN_OPEN);
    }
    assert_true(read_all(p) > BIG);
    assert_null(p->conn->out);
    h_wait((uint64_t)config.pong_timeout + NS_PER_SEC);
    assert_closed(p, 3012);
    h_close(p);
    h_close(publisher);
}

/* The queue goes just before a pong would have been due. */
static void the_queue_goes_after(uint64_t time_ns)
{
    struct peer *publisher = h_open("/ws/room?mode=pub"), *p = client_in_room();
    uint64_t pong = (uint64_t)config.pong_timeout, step = NS_PER_SEC / 2;
    int small = 4096;

    assert_int_equal(setsockopt(conn_fd(p->conn), SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    publish(publisher);
    h_wait((uint64_t)config.ping_interval + NS_PER_SEC);
    for (uint64_t waited = 0; waited < time_ns; waited += step)
        h_wait(step);
    assert_true(p->conn->flags & CONN_OUT_STALLED);
    assert_true(read_all(p) > BIG);
    for (uint64_t waited = 0; waited < pong / 2; waited += step) {
        h_wait(step);
        assert_int_equal(p->conn->state, CONN_OPEN);
    }
    for (uint64_t waited = 0; waited < pong; waited += step)
        h_wait(step);
    assert_closed(p, 3012);
    h_close(p);
    h_close(publisher);
}

static void a_ping_that_has_just_gone(void **state UNUSED)
{
    the_queue_goes_after((uint64_t)config.pong_timeout - NS_PER_SEC);
}

static void a_ping_that_has_just_gone_at_last(void **state UNUSED)
{
    the_queue_goes_after(2 * (uint64_t)config.pong_timeout - NS_PER_SEC);
}

/* The process was not run for longer than a pong has, and than a token had left. */
static void after_a_standstill(void **state UNUSED)
{
    struct peer *silent = client_in_room(), *p = client_in_room();
    struct client *cl = client_of(p->conn);

    cl->expire = client_tick_in(60);
    deadlines_changed(cl);
    h_wait((uint64_t)config.ping_interval + NS_PER_SEC);
    h_text(p, "{}");
    h_turns(2);
    assert_true(client_of(silent->conn)->pinged);
    h_read(silent);
    h_forget(silent);
    h_read(p);
    h_forget(p);
    reactor->cfg.standstill_ns = REACTOR_STANDSTILL_NS;
    h_turns(1);
    clock_advance(200 * NS_PER_SEC);
    h_turns(2);
    assert_int_equal(silent->conn->state, CONN_OPEN);
    reactor->cfg.standstill_ns = 0;
    h_wait((uint64_t)config.pong_timeout + NS_PER_SEC);
    assert_closed(silent, 3012);
    assert_closed(p, 3005);
    h_close(silent);
    h_close(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_pong, setup, teardown),
        cmocka_unit_test_setup_teardown(a_ping_behind_a_queue, setup, teardown),
        cmocka_unit_test_setup_teardown(a_ping_that_has_just_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_ping_that_has_just_gone_at_last, setup, teardown),
        cmocka_unit_test_setup_teardown(after_a_standstill, setup, teardown),
    };

    sessions_init();
    return cmocka_run_group_tests_name("proto/centrifuge/deadlines", tests, NULL, NULL);
}
