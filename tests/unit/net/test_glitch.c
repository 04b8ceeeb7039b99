#include "net/glitch.c"

#include "ws_harness.h"

static struct conn *client(int *peer)
{
    struct conn *c = ws_pair(peer, 0);

    assert_int_equal(c->state, CONN_OPEN);
    return c;
}

static void a_second(void)
{
    net_after(NS_PER_SEC);
}

/* Half of a look's time is work. */
static void work(uint64_t ns)
{
    metrics->turn_duration.sum += ns;
}

static void test_points_are_collected_and_forgiven(void **state UNUSED)
{
    int peer;
    struct conn *c = client(&peer);

    config.glitch_limit = 1000;
    assert_int_equal(glitch_points(c), 0);
    glitch_note(c, 300);
    glitch_note(c, 200);
    assert_int_equal(glitch_points(c), 500);
    a_second();
    assert_int_equal(glitch_points(c), 400);
    glitch_note(c, 50);
    assert_int_equal(glitch_points(c), 450);
    for (int i = 0; i < 5; i++)
        a_second();
    assert_int_equal(glitch_points(c), 0);
    assert_int_equal(metrics->glitches, 550);
    close(peer);
}

static void test_without_a_limit(void **state UNUSED)
{
    int peer;
    struct conn *c = client(&peer);

    config.glitch_limit = 0;
    config.glitch_cpu = 0;
    glitch_note(c, 1000000);
    assert_int_equal(metrics->glitches, 1000000);
    assert_null(own()->table);
    glitch_tick();
    assert_int_equal(c->state, CONN_OPEN);
    close(peer);
}

static void test_the_worst_goes_first(void **state UNUSED)
{
    int peers[CLOSES + 3];
    struct conn *c[CLOSES + 3];

    config.glitch_limit = 100;
    config.glitch_cpu = 0;
    for (uint32_t i = 0; i < ARRAY_LEN(c); i++) {
        c[i] = client(&peers[i]);
        glitch_note(c[i], i == 0 ? 100 : 100 + i);
    }
    glitch_tick();
    for (size_t i = 3; i < ARRAY_LEN(c); i++) {
        assert_int_equal(c[i]->state, CONN_CLOSING);
        assert_int_equal(c[i]->reason, CLOSE_GLITCHES);
    }
    assert_int_equal(c[2]->state, CONN_OPEN); /* so many at a time */
    glitch_tick();
    assert_int_equal(c[2]->state, CONN_CLOSING);
    assert_int_equal(c[1]->state, CONN_CLOSING);
    glitch_tick();
    assert_int_equal(c[0]->state, CONN_OPEN); /* at the limit, not over it */
    for (size_t i = 0; i < ARRAY_LEN(c); i++)
        close(peers[i]);
}

/* An idle worker closes nobody. */
static void test_while_it_is_busy(void **state UNUSED)
{
    int peer;
    struct conn *c = client(&peer);

    config.glitch_limit = 1000;
    config.glitch_cpu = 60;
    glitch_note(c, 100000);
    work(99 * NS_PER_SEC); /* from before the first look, whenever that was */
    glitch_tick();
    clock_advance(NS_PER_SEC / 2);
    work(NS_PER_SEC / 4);
    glitch_tick();
    assert_int_equal(c->state, CONN_OPEN);
    clock_advance(NS_PER_SEC / 2);
    work(NS_PER_SEC / 3);
    glitch_tick();
    assert_int_equal(c->state, CONN_CLOSING);
    close(peer);
}

/* More connections than places: those that say little do not drive out who says much. */
static void test_who_says_little_does_not_hide_others(void **state UNUSED)
{
    struct conn *c, other;
    int peer;

    config.glitch_limit = 1000;
    c = client(&peer);
    other = *c;
    glitch_note(c, 500);
    for (uint64_t i = 1; i <= 100; i++) {
        other.id = c->id + (i << CONN_ID_SERIAL_BITS);
        glitch_note(&other, 1);
    }
    assert_int_equal(glitch_points(c), 500);
    assert_int_equal(glitch_points(&other), 1);
    for (uint64_t i = 1; i <= WAYS; i++) {
        other.id = c->id + (i << CONN_ID_SERIAL_BITS);
        glitch_note(&other, 900);
    }
    assert_int_equal(glitch_points(c), 0);
    close(peer);
}

static void test_who_is_gone(void **state UNUSED)
{
    int peer;
    struct conn *c = client(&peer);

    config.glitch_limit = 10;
    config.glitch_cpu = 0;
    glitch_note(c, 100);
    conn_kill(c, CLOSE_PEER_GONE);
    glitch_tick();
    assert_int_equal(c->reason, CLOSE_PEER_GONE);
    close(peer);
}

static void test_no_memory(void **state UNUSED)
{
    int peer;
    struct conn *c = client(&peer);

    config.glitch_limit = 10;
    fault_fail_at(1);
    glitch_note(c, 100);
    fault_reset();
    assert_int_equal(glitch_points(c), 0);
    assert_int_equal(metrics->glitches, 100);
    close(peer);
}

/* What counts, by the bytes of a client. */
static void test_what_is_odd(void **state UNUSED)
{
    static const struct {
        const char *what;
        uint8_t first;
        const char *payload;
        unsigned n, points;
    } cases[] = {
        {"text", 0x81, "hello", 5, 0},
        {"a short text", 0x81, "x", 1, 0},
        {"empty text", 0x81, "", 0, 1},
        {"empty binary", 0x82, "", 0, 1},
        {"ping", 0x89, "", 0, 1},
        {"pong", 0x8a, "x", 1, 1},
        {"tiny fragment", 0x01, "x", 1, 1},
        {"empty fragment, and a short read", 0x00, "", 0, 2},
        {"its end", 0x80, "", 0, 1},
        {"a fragment that is none", 0x01, "0123456789abcdef", 16, 0},
        {"and its end", 0x80, "0123456789abcdef", 16, 0},
    };
    int peer;

    (void)client(&peer);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t before = metrics->glitches;

        frame(peer, cases[i].first, cases[i].payload, cases[i].n);
        net_steps(1);
        if (metrics->glitches - before != cases[i].points)
            fail_msg("%s: %u", cases[i].what, (unsigned)(metrics->glitches - before));
    }
    close(peer);
}

/* A frame that comes byte by byte: the first of it is the beginning of something. */
static void test_byte_by_byte(void **state UNUSED)
{
    char bytes[6 + 10] = {(char)0x81, (char)0x80 | 10};
    int peer;

    (void)client(&peer);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        net_write(peer, bytes + i, 1);
        net_steps(1);
    }
    assert_int_equal(session.messages, 1);
    assert_int_equal(metrics->glitches, sizeof(bytes) - 2);
    close(peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WS_TEST(test_points_are_collected_and_forgiven),
        WS_TEST(test_without_a_limit),
        WS_TEST(test_the_worst_goes_first),
        WS_TEST(test_while_it_is_busy),
        WS_TEST(test_who_says_little_does_not_hide_others),
        WS_TEST(test_who_is_gone),
        WS_TEST(test_no_memory),
        WS_TEST(test_what_is_odd),
        WS_TEST(test_byte_by_byte),
    };

    return cmocka_run_group_tests_name("net/glitch", tests, NULL, NULL);
}
