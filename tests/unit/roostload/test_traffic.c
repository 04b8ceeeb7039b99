/* tests/unit/roostload/test_traffic.c - users on socket pairs, the far end of which is
 * the server. */
#include "cmd/roostload/adapter_centrifuge.c"
#include "cmd/roostload/adapter_mqtt.c"
#include "cmd/roostload/adapter_nats.c"
#include "cmd/roostload/adapter_raw.c"
#include "cmd/roostload/connect.c"
#include "cmd/roostload/due.c"
#include "cmd/roostload/handshake.c"
#include "cmd/roostload/hdr.c"
#include "cmd/roostload/hmac_token.c"
#include "cmd/roostload/loopback.c"
#include "cmd/roostload/options.c"
#include "cmd/roostload/payload.c"
#include "cmd/roostload/scrape.c"
#include "cmd/roostload/send.c"
#include "cmd/roostload/target.c"
#include "cmd/roostload/traffic.c"
#include "cmd/roostload/url.c"

#include "tests/unit/net/net_harness.h"

#define USERS 4

struct engine engine;
struct load_shared *load_shared;

static struct load_shared shared;
static struct load_slot slot;
static struct conn *conns[USERS];
static uint8_t attempts[USERS];
static uint32_t waiting[USERS], ready_ms[USERS];
static uint64_t pinged_ns[USERS];
static uint8_t storm[USERS];

/* schedule.c: everybody listens to channel 0, user 3 publishes. */
uint32_t user_channel(uint32_t id)
{
    (void)id;
    return 0;
}

bool user_is_publisher(uint32_t id)
{
    return id == 3;
}

void user_stall(struct conn *c)
{
    (void)c;
}

void storm_left(uint32_t id)
{
    (void)id;
}

void storm_returned(uint32_t id)
{
    (void)id;
}

/* publish.c */
void publish_resume(uint32_t user)
{
    (void)user;
}

static int set_up(void **state)
{
    char *argv[] = {(char *)(uintptr_t) "roostload", (char *)(uintptr_t) "broadcast", NULL};
    struct buf errors = {0};

    net_setup(state);
    memset(&engine, 0, sizeof(engine));
    memset(&shared, 0, sizeof(shared));
    memset(&slot, 0, sizeof(slot));
    memset(attempts, 0, sizeof(attempts));
    assert_int_equal(options_parse(&shared.options, 2, argv, &errors), OPTIONS_OK);
    load_shared = &shared;
    shared.users = USERS;
    shared.publishers = 1;
    shared.channels = 1;
    shared.run_id = 77;
    engine = (struct engine){.slot = &slot,
                             .o = &shared.options,
                             .adapter = &adapter_raw,
                             .count = USERS,
                             .conns = conns,
                             .attempts = attempts,
                             .waiting = waiting,
                             .storm = storm,
                             .ready_ms = ready_ms,
                             .pinged_ns = pinged_ns,
                             .slots = 1,
                             .random = 1,
                             .rx = ws_rx_pool_new(WS_CLIENT, UINT64_C(1) << 32)};
    assert_int_equal(dues_init(&engine.later, USERS), 0);
    assert_int_equal(dues_init(&engine.echo, USERS), 0);
    return 0;
}

static int tear_down(void **state)
{
    int rc = net_teardown(state); /* releases the connections */

    ws_rx_pool_free(engine.rx);
    dues_fini(&engine.later);
    dues_fini(&engine.echo);
    buf_fini(&engine.text);
    buf_fini(&engine.frame);
    return rc;
}

/* User `id`, upgraded and ready; *server is the far end. */
static struct conn *ready_user(uint32_t id, int *server)
{
    struct conn *c = net_pair(server, &user_conn_ops, 0);
    struct user *u = user_of(c);

    u->id = id;
    u->channel = user_channel(id);
    u->since = clock_ns();
    conns[id] = c;
    slot.connecting++;
    conn_set_state(c, CONN_OPEN);
    user_ready(c);
    return c;
}

/* The server sends a test message of n bytes. */
static void serve(int server, struct payload p, size_t n)
{
    char text[4 + 256] = {(char)0x81, 126, 0, (char)n};
    size_t head = n < 126 ? 2 : 4;

    assert_in_range(n, 1, 255);
    if (head == 2)
        text[1] = (char)n;
    p.run = shared.run_id;
    payload_write(&p, text + head, MAX(n, (size_t)PAYLOAD_MIN));
    net_write(server, text, head + n);
    net_steps(2);
}

static void no_memory_to_count_losses(void **state)
{
    int server;
    struct conn *c;

    (void)state;
    c = net_pair(&server, &user_conn_ops, 0);
    conns[1] = c;
    user_of(c)->id = 1;
    slot.connecting++;
    conn_set_state(c, CONN_OPEN);
    fault_fail_at(1);
    user_ready(c);
    fault_reset();
    assert_true(conn_dead(c));
    assert_int_equal(c->reason, CLOSE_NO_MEMORY);
    net_steps(2);
    assert_int_equal(slot.m.connection_lost, 1); /* said, not passed over */
    assert_int_equal(slot.ready, 0);
    close(server);
}

static void what_is_not_right_is_said(void **state)
{
    static const struct payload good = {.sequence = 1},
                                other_channel = {.sequence = 2, .channel = 1},
                                nobody = {.sequence = 2, .publisher = 1}, zero = {.sequence = 0};
    size_t n = (size_t)shared.options.size;
    int server;
    struct conn *c = ready_user(0, &server);

    (void)state;
    serve(server, good, n);
    assert_int_equal(slot.m.delivery.count, 1);
    serve(server, other_channel, n);
    assert_int_equal(slot.m.misrouted, 1);
    serve(server, nobody, n);
    assert_int_equal(slot.m.foreign_in, 1);
    serve(server, zero, n);
    serve(server, good, n - 1);
    serve(server, good, n + 1);
    serve(server, good, PAYLOAD_MIN);
    serve(server, good, PAYLOAD_MIN - 1);
    serve(server, good, 10);
    assert_int_equal(slot.m.damaged, 6);
    serve(server, good, 9);
    assert_int_equal(slot.m.foreign_in, 2);
    assert_int_equal(slot.m.messages_in, 10);
    assert_int_equal(slot.m.delivery.count, 1);
    assert_int_equal(slot.m.gaps + slot.m.duplicates + slot.m.reordered, 0);
    assert_false(conn_dead(c));
    close(server);
}

static void every_seed_is_random(void **state)
{
    static const int64_t zero[] = {1018231460777725123, 2036462921555450246, 3054694382333175369};

    (void)state;
    for (unsigned p = 0; p < ARRAY_LEN(zero); p++) {
        engine_seed((uint64_t)zero[p], p); /* where seed and process cancel each other */
        assert_true(engine_random() != engine_random());
    }
}

static void first_message_counts_from_ready(void **state)
{
    int server;
    struct conn *c;

    (void)state;
    shared.options.ping_interval = (int64_t)NS_PER_SEC;
    c = ready_user(0, &server);
    for (int i = 0; i < 3; i++)
        net_after(NS_PER_SEC); /* pings, of which the first is never answered */
    assert_int_equal(slot.m.pings_out, 1);
    serve(server, (struct payload){.sequence = 1}, (size_t)shared.options.size);
    assert_int_equal(slot.m.first_message.count, 1);
    assert_in_range(slot.m.first_message.max, 2900 * NS_PER_MS, 3100 * NS_PER_MS);
    net_write(server, "\x8a\x00", 2);
    net_steps(2);
    assert_int_equal(slot.m.pong.count, 1);
    assert_in_range(slot.m.pong.max, 1900 * NS_PER_MS, 2100 * NS_PER_MS);
    assert_false(conn_dead(c));
    close(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_memory_to_count_losses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(first_message_counts_from_ready, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_right_is_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_seed_is_random, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("roostload/traffic", tests, NULL, NULL);
}
