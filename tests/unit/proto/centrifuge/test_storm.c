/* A storm of recoveries in one channel: the hub is asked as much as for one of them, and does not hold
 * up a bystander. The virtual clock stands still and the turn's budget is nothing, so a turn does
 * exactly one slice of the answers: what is counted is slices, not time. */
#include "proto/centrifuge/recover.c"

#include "../harness.h"
#include "core/channel_options.h"

#define CLIENTS    3000
#define MISSED     20
#define SLICES_MAX 3
#define CONNECT    "{\"id\":1,\"connect\":{}}"
#define SUBSCRIBE  "{\"id\":2,\"subscribe\":{\"channel\":\"all\",\"recover\":true}}"

static int far_ends[CLIENTS];

static int setup(void **state UNUSED)
{
    if (h_start(true) == -1)
        return -1;
    config.turn_budget = 0;
    config.insecure = true;
    config.channel_without_namespace.history_size = 100;
    config.channel_without_namespace.history_ttl = 60 * (int64_t)NS_PER_SEC;
    config.channel_without_namespace.force_recovery = true;
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

static void say(int fd, const char *command)
{
    struct buf out = {0};

    h_append_frame(&out, WS_OP_TEXT, str_from(command));
    assert_int_equal(send(fd, out.p, out.len, MSG_NOSIGNAL), (ssize_t)out.len);
    buf_fini(&out);
}

/* All that has come; what it was before is forgotten. */
static const char *hear(int fd)
{
    static char got[16 * 1024];
    size_t len = 0;
    ssize_t n;

    while ((n = recv(fd, got + len, sizeof(got) - 1 - len, 0)) > 0)
        len += (size_t)n;
    for (size_t i = 0; i < len; i++) /* of frames' heads */
        if (got[i] == '\0')
            got[i] = '?';
    got[len] = '\0';
    return got;
}

static void connect_all(void)
{
    static const char request[] = "GET /connection/websocket" H_UPGRADE;
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(40000)};

    sa.sin_addr.s_addr = htonl(0x7f000001);
    for (int i = 0; i < CLIENTS; i++) {
        int fds[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
        assert_non_null(reactor_add(fds[0], &http_conn_ops, (struct sockaddr *)&sa, 0));
        far_ends[i] = fds[1];
        assert_int_equal(send(fds[1], request, sizeof(request) - 1, 0), sizeof(request) - 1);
        say(fds[1], CONNECT);
        h_turns(1);
    }
    h_turns(CLIENTS / 10);
    for (int i = 0; i < CLIENTS; i++)
        assert_non_null(strstr(hear(far_ends[i]), "\"connect\":{\"client\":"));
}

static void close_all(void)
{
    for (int i = 0; i < CLIENTS; i++)
        close(far_ends[i]);
    h_turns(CLIENTS / 10);
}

static void publish(struct peer *publisher, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        h_text(publisher, "{\"missed\":1}");
        h_turns(2);
    }
}

static void assert_all_of_it(const char *answer)
{
    unsigned n = 0;

    if (strstr(answer, "\"recovered\":true") == NULL)
        fail_msg("not recovered: %s", answer);
    for (const char *p = answer; (p = strstr(p, "\"data\":{\"missed\":1}")) != NULL; p++)
        n++;
    assert_int_equal(n, MISSED);
}

/* What the hub has heard: one question, and how many there are. */
static void assert_hub_was_asked_once(void)
{
    for (uint8_t kind = 0; kind < RECORD_KIND_NR; kind++) {
        if (kind == RECORD_SUBSCRIBE || kind == RECORD_HISTORY)
            assert_int_equal(h_hub.records[kind], 1);
        else if (kind != RECORD_COUNT && h_hub.records[kind] != 0)
            fail_msg("%u records of kind %s", h_hub.records[kind], record_kind_name(kind));
    }
}

static void assert_within_slices(struct peer *p)
{
    for (int slices = 1; p->len == 0; slices++) {
        if (slices > SLICES_MAX)
            fail_msg("the pong has not come after %d slices", SLICES_MAX);
        h_turns(1);
        h_read(p);
    }
    assert_int_equal(p->len, 8);
    assert_memory_equal(p->got, "\x8a\x06there?", 8);
    h_forget(p);
}

static void the_hub_is_asked_once_and_a_bystander_is_served(void **state UNUSED)
{
    struct peer *publisher = h_open("/ws/all?mode=pub"), *bystander = h_open("/ws/other");

    publish(publisher, MISSED);
    connect_all();
    memset(h_hub.records, 0, sizeof(h_hub.records));
    for (int i = 0; i < CLIENTS; i++)
        say(far_ends[i], SUBSCRIBE);
    h_hub.frozen = true; /* until all have asked */
    h_turns(CLIENTS / 10);
    assert_int_equal(metrics->recovered, 0);
    h_hub.frozen = false;
    for (int i = 0; metrics->recovered == 0 && i < 10; i++)
        h_turns(1);
    assert_true(metrics->recovered > 0);
    assert_true(metrics->recovered < CLIENTS / 20); /* it goes slice by slice */
    for (int i = 0; i < 10; i++) {
        h_frame(bystander, WS_OP_PING, STR_LIT("there?"));
        assert_within_slices(bystander);
    }
    assert_true(metrics->recovered < CLIENTS / 2); /* all that was while the storm went on */
    h_turns(CLIENTS / 10);
    assert_int_equal(metrics->recovered, CLIENTS);
    assert_hub_was_asked_once();
    for (int i = 0; i < CLIENTS; i++)
        assert_all_of_it(hear(far_ends[i]));
    close_all();
    h_close(publisher);
    h_close(bystander);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_hub_is_asked_once_and_a_bystander_is_served, setup,
                                        teardown),
    };

    sessions_init();
    return cmocka_run_group_tests_name("proto/centrifuge/storm", tests, NULL, NULL);
}
