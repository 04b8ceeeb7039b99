/* The last connections that have ended. */
#include "net/closes.c"

#include "net_harness.h"

static struct closes closes;
static const struct session_ops session;
static struct conn_ops opened_ops; /* seen_ops, and it has got as far as a session */

static void end_one_of(const struct conn_ops *ops, enum close_reason why, unsigned flags)
{
    int peer;
    struct conn *c = net_pair(&peer, ops, 0);

    c->flags |= (uint16_t)flags;
    c->close_code = 4321;
    c->frames_in = 5;
    conn_kill(c, why);
    net_steps(1);
    close(peer);
}

static void end_one(enum close_reason why, unsigned flags)
{
    end_one_of(&opened_ops, why, flags);
}

static void each_end_is_noted(void **state UNUSED)
{
    struct closed closed;

    memset(&closes, 0, sizeof(closes));
    reactor->cfg.closes = &closes;
    end_one(CLOSE_PEER_GONE, 0);
    end_one(CLOSE_OPERATOR, CONN_TOLD);
    assert_int_equal(closes.n, 2);
    assert_true(closes_read(&closes, 1, &closed));
    assert_int_equal(closed.reason, CLOSE_PEER_GONE);
    assert_int_equal(closed.code, 0);
    assert_string_equal(closed.protocol, seen_ops.name);
    assert_true(closes_read(&closes, 2, &closed));
    assert_int_equal(closed.reason, CLOSE_OPERATOR);
    assert_int_equal(closed.code, 4321);
    assert_int_equal(closed.frames_in, 5);
    assert_true(closed.wall_ns > 0 && closed.id != 0);
    assert_false(closes_read(&closes, 0, &closed));
    assert_false(closes_read(&closes, 3, &closed));
}

static void an_exchange_that_is_done_is_none(void **state UNUSED)
{
    memset(&closes, 0, sizeof(closes));
    reactor->cfg.closes = &closes;
    end_one(CLOSE_HTTP_DONE, 0);
    assert_int_equal(closes.n, 0);
}

/* Anybody can have as many of these as he likes. */
static void what_never_opened_is_none(void **state UNUSED)
{
    memset(&closes, 0, sizeof(closes));
    reactor->cfg.closes = &closes;
    end_one_of(&seen_ops, CLOSE_PEER_GONE, 0);
    end_one_of(&seen_ops, CLOSE_NOT_FOUND, 0);
    assert_int_equal(closes.n, 0);
}

static void the_oldest_go(void **state UNUSED)
{
    struct closed closed;

    memset(&closes, 0, sizeof(closes));
    reactor->cfg.closes = &closes;
    for (unsigned i = 0; i < CLOSES_KEPT + 3; i++)
        end_one(CLOSE_PEER_GONE, 0);
    assert_false(closes_read(&closes, 3, &closed));
    assert_true(closes_read(&closes, 4, &closed));
    assert_true(closes_read(&closes, CLOSES_KEPT + 3, &closed));
    /* One that is being written, and one whose protocol has no end. */
    closes.ring[4].number = 0;
    assert_false(closes_read(&closes, CLOSES_KEPT + 4, &closed));
    memset(closes.ring[5].closed.protocol, 'x', CLOSES_PROTOCOL);
    assert_true(closes_read(&closes, 5, &closed));
    assert_int_equal(strlen(closed.protocol), CLOSES_PROTOCOL - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(each_end_is_noted),
        NET_TEST(an_exchange_that_is_done_is_none),
        NET_TEST(what_never_opened_is_none),
        NET_TEST(the_oldest_go),
    };

    opened_ops = seen_ops;
    opened_ops.session = &session;
    return cmocka_run_group_tests_name("net/closes", tests, NULL, NULL);
}
