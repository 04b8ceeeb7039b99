/* tests/unit/net/test_refusal.c */
#include "net/refusal.c"

#include "net_harness.h"

static char last[4096];
static unsigned lines;

static void keep(struct str line, void *arg UNUSED)
{
    assert_int_equal(str_copy(line, last, sizeof(last)), 0);
    lines++;
}

static int set_up(void **state)
{
    static uint64_t tests;

    net_setup(state);
    reactor->cfg.tell_refusals = true;
    log_say_suppressed(true); /* of the test before */
    log_set_sink(keep, NULL);
    log_set_level(LOG_WARN);
    lines = 0;
    clock_advance(++tests * REFUSAL_WINDOW_NS); /* and its windows are over */
    return 0;
}

static int tear_down(void **state)
{
    log_set_sink(NULL, NULL);
    log_set_level(LOG_ERROR);
    return net_teardown(state);
}

static bool says(const char *text)
{
    return strstr(last, text) != NULL;
}

static void cause_fix_and_setting(void **state UNUSED)
{
    int peer;
    struct conn *c = net_pair(&peer, &seen_ops, 0);
    const struct log_kv more[] = {KV_S("host", "backend:8000"),
                                  KV_S("origin", "https://a.example")};

    assert_int_equal(str_copy(STR_LIT("https://b.example\nhttps://c.example"),
                              config.allowed_origins, sizeof(config.allowed_origins)),
                     0);
    refusal_say(c, CLOSE_BAD_ORIGIN, "handshake refused", more, ARRAY_LEN(more));
    assert_true(says("level=warn"));
    assert_true(
        says("msg=\"handshake refused\" reason=bad_origin cause=\"this Origin is not allowed\" "
             "fix=\"add the Origin"));
    assert_true(says(" allowed_origins=https://b.example,https://c.example peer="));
    assert_true(says(" host=backend:8000 origin=https://a.example\n"));
    close(peer);
}

/* The longest that everything can become. */
static void nothing_is_cut(void **state UNUSED)
{
    static char evil[3000];
    int peer;
    struct conn *c = net_pair(&peer, &seen_ops, 0);
    const struct log_kv more[] = {KV_S("path", "/ws/"), KV_S("host", evil), KV_S("origin", evil)};

    memset(evil, '\x01', sizeof(evil) - 1);
    memset(config.allowed_origins, '"', sizeof(config.allowed_origins) - 1);
    for (unsigned i = 1; i < CLOSE_NR; i++) {
        unsigned before = lines;

        refusal_say(c, (enum close_reason)i, "handshake refused", more, ARRAY_LEN(more));
        assert_int_equal(lines - before, close_row((enum close_reason)i)->fix[0] != '\0');
        assert_false(says("cut=true"));
        assert_true(lines == 0 || says("origin=\""));
    }
    close(peer);
}

static void a_burst_is_counted(void **state UNUSED)
{
    int peer;
    struct conn *c = net_pair(&peer, &seen_ops, 0);

    for (int i = 0; i < 20; i++)
        refusal_say(c, CLOSE_UNAUTHORIZED, "request refused", NULL, 0);
    assert_int_equal(lines, REFUSAL_BURST);
    refusal_say(c, CLOSE_BODY_TOO_BIG, "request refused", NULL, 0); /* another reason */
    assert_int_equal(lines, REFUSAL_BURST + 1);
    clock_advance(REFUSAL_WINDOW_NS);
    log_say_suppressed(false);
    assert_int_equal(lines, REFUSAL_BURST + 2);
    assert_true(says("msg=\"request refused\" reason=unauthorized suppressed=17\n"));
    close(peer);
}

static void an_end_is_said_once(void **state UNUSED)
{
    int peer;
    struct conn *c = net_pair(&peer, &seen_ops, 0);

    refusal_say(c, CLOSE_HUB_TIMEOUT, "handshake refused", NULL, 0);
    conn_kill(c, CLOSE_HUB_TIMEOUT);
    net_steps(1);
    assert_int_equal(lines, 1);
    close(peer);
    c = net_pair(&peer, &seen_ops, 0);
    conn_kill(c, CLOSE_SLOW);
    net_steps(1);
    assert_int_equal(lines, 2);
    assert_true(says("msg=\"connection ended\" reason=slow "));
    assert_true(says(" output_limit=1MiB "));
    close(peer);
    c = net_pair(&peer, &seen_ops, 0);
    conn_kill(c, CLOSE_PEER_GONE);
    net_steps(1);
    assert_int_equal(lines, 2);
    log_set_level(LOG_DEBUG);
    close(peer);
    c = net_pair(&peer, &seen_ops, 0);
    conn_kill(c, CLOSE_PEER_GONE);
    net_steps(1);
    assert_int_equal(lines, 3);
    assert_true(says("level=debug"));
    close(peer);
}

/* What was said when it was accepted is not said again when it is answered. */
static void a_refused_connection_is_said_at_the_accept(void **state UNUSED)
{
    int peer;
    struct conn *c = net_pair(&peer, &seen_ops, 0);

    refusal_say_peer(NULL, CLOSE_ADDRESS_LIMIT);
    assert_int_equal(lines, 1);
    assert_true(says("msg=\"connection refused\" reason=address_limit "));
    c->flags |= CONN_REFUSED;
    c->refusal = CLOSE_ADDRESS_LIMIT;
    refusal_say(c, CLOSE_ADDRESS_LIMIT, "handshake refused", NULL, 0);
    assert_int_equal(lines, 1);
    c->flags &= (uint16_t)~CONN_REFUSED;
    close(peer);
}

/* Programs that are clients have their own way to report. */
static void a_client_says_nothing(void **state UNUSED)
{
    int peer;
    struct conn *c = net_pair(&peer, &seen_ops, 0);

    reactor->cfg.tell_refusals = false;
    refusal_say(c, CLOSE_SLOW, "x", NULL, 0);
    refusal_say_peer(NULL, CLOSE_SLOW);
    assert_int_equal(lines, 0);
    close(peer);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(cause_fix_and_setting),
        TEST(nothing_is_cut),
        TEST(a_burst_is_counted),
        TEST(an_end_is_said_once),
        TEST(a_refused_connection_is_said_at_the_accept),
        TEST(a_client_says_nothing),
    };
    return cmocka_run_group_tests_name("net/refusal", tests, NULL, NULL);
}
