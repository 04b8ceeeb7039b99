/* core/engine_nodes: who lives, who is dead and who only was cut off; control messages once each, and how
 * many have them. Nodes that share a wire in memory, and a clock that the test moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "core/engine_nodes.c"
#include "core/engine_nodes_control.c"

#include "fault.h"

#define NODES     4
#define HEARTBEAT (3 * NS_PER_SEC)
#define TTL       (10 * NS_PER_SEC)
#define STEP      (100 * NS_PER_MS)

static struct node {
    struct engine engine; /* first */
    unsigned clients;
    bool connected;
    bool refuses; /* control messages */
    unsigned heartbeats, came, went, controls;
    char heard[64], heard_from;
    unsigned done, asked, answered;
    enum engine_status status;
} nodes[NODES];

static bool on_control(void *hub, const struct record *r)
{
    struct node *n = hub;

    assert_true(str_equal(r->data, STR_LIT("x")));
    n->controls += !n->refuses;
    return !n->refuses;
}

static void on_told(void *hub, uint64_t token, uint32_t asked, uint32_t answered)
{
    struct node *n = hub;

    assert_int_equal(token, 42);
    n->asked = asked;
    n->answered = answered;
}

static void on_done(void *hub, uint64_t token, enum engine_status status, struct position at)
{
    struct node *n = hub;

    assert_true(token == 42 && at.offset == 0);
    n->done++;
    n->status = status;
}

static void on_heard(void *hub, uint64_t from, struct str bytes)
{
    struct node *n = hub;

    n->heard_from = (char)from;
    assert_int_equal(str_copy(bytes, n->heard, sizeof(n->heard)), 0);
}

static void on_node(void *hub, uint64_t node, bool alive)
{
    struct node *n = hub;

    assert_true(node >= 1 && node <= NODES);
    n->came += alive;
    n->went += !alive;
}

static const struct engine_events events = {
    .done = on_done, .control = on_control, .told = on_told, .heard = on_heard, .node = on_node};

static void send_bytes(struct engine *e, uint64_t to, bool everywhere UNUSED, struct str bytes)
{
    struct node *from = (struct node *)(void *)e;
    char copy[2048];

    assert_in_range(bytes.n, sizeof(struct nodes_header), sizeof(copy));
    memcpy(copy, bytes.p, bytes.n);
    from->heartbeats += (unsigned char)copy[1] <= NODES_HELLO;
    if (!from->connected)
        return;
    for (unsigned i = 0; i < NODES; i++)
        if (nodes[i].connected && (to == 0 || to == i + 1))
            engine_nodes_received(nodes[i].engine.nodes, (struct str){copy, bytes.n});
}

static const struct engine_nodes_ops ops = {.send = send_bytes};

static void tell_self(void *arg, struct engine_node *out)
{
    const struct node *n = arg;

    snprintf(out->name, sizeof(out->name), "node%u", (unsigned)(n - nodes) + 1);
    snprintf(out->version, sizeof(out->version), "9.9");
    out->clients = n->clients;
}

static struct engine_nodes *of(unsigned i)
{
    return nodes[i - 1].engine.nodes;
}

static void connect_node(unsigned i, bool up)
{
    nodes[i - 1].connected = up;
    engine_nodes_up(of(i), up);
}

static void start(unsigned i)
{
    struct node *n = &nodes[i - 1];
    struct engine_nodes_settings s = {.id = i,
                                      .heartbeat_ns = HEARTBEAT,
                                      .ttl_ns = TTL,
                                      .agreement = 5,
                                      .self = tell_self,
                                      .arg = n};

    *n = (struct node){.engine = {.events = &events, .hub = n}};
    n->engine.nodes = engine_nodes_new(&s, &ops, &n->engine);
    assert_non_null(n->engine.nodes);
    connect_node(i, true);
}

static void stop(unsigned i)
{
    engine_nodes_free(of(i));
    nodes[i - 1].engine.nodes = NULL;
    nodes[i - 1].connected = false;
}

static void pass(uint64_t ns)
{
    for (uint64_t t = 0; t < ns; t += STEP) {
        clock_advance(STEP);
        for (unsigned i = 1; i <= NODES; i++)
            if (of(i) != NULL)
                (void)engine_nodes_tick(of(i), clock_ns());
    }
}

static int setup(void **state UNUSED)
{
    log_set_level(LOG_ERROR);
    clock_set_virtual(1000 * NS_PER_SEC);
    memset(nodes, 0, sizeof(nodes));
    memset(metrics, 0, sizeof(*metrics));
    for (unsigned i = 1; i <= 3; i++)
        start(i);
    return 0;
}

static int teardown(void **state UNUSED)
{
    for (unsigned i = 1; i <= NODES; i++)
        if (of(i) != NULL)
            stop(i);
    assert_int_equal(metrics->nodes, 0);
    assert_int_equal(metrics->node_config_mismatch, 0);
    clock_set_virtual(0);
    return 0;
}

static void all_know_all_soon(void **state UNUSED)
{
    struct engine_node list[NODES];

    nodes[1].clients = 7;
    pass(HEARTBEAT / 5);
    for (unsigned i = 1; i <= 3; i++)
        assert_int_equal(engine_nodes_count(of(i)), 3);
    assert_int_equal(engine_nodes_list(of(1), list, NODES), 3);
    assert_int_equal(list[0].id, 1);
    assert_string_equal(list[0].name, "node1");
    for (unsigned i = 1; i < 3; i++) {
        assert_true(list[i].heard_ns != 0 && list[i].protocol == ENGINE_NODES_PROTOCOL);
        assert_string_equal(list[i].name, list[i].id == 2 ? "node2" : "node3");
        assert_int_equal(list[i].clients, list[i].id == 2 ? 7 : 0);
        assert_string_equal(list[i].version, "9.9");
    }
    assert_int_equal(engine_nodes_list(of(1), list, 2), 2);
    assert_int_equal(metrics->nodes, 9); /* of three processes */
}

/* One that comes later hears the others before their next heartbeats are due. */
static void a_newcomer_hears_the_others_at_once(void **state UNUSED)
{
    pass(TTL);
    start(4);
    pass(HEARTBEAT / 10 + 2 * STEP);
    assert_int_equal(engine_nodes_count(of(4)), 4);
    assert_int_equal(engine_nodes_count(of(1)), 4);
    assert_int_equal(nodes[0].came, 3);
}

static void heartbeats_are_a_fifth_apart_at_most(void **state UNUSED)
{
    unsigned before;

    pass(TTL);
    before = nodes[0].heartbeats;
    pass(100 * HEARTBEAT);
    assert_in_range(nodes[0].heartbeats - before, 100 * 5 / 6 - 1, 100 * 5 / 4 + 1);
}

static void one_that_is_silent_is_dead_after_its_time(void **state UNUSED)
{
    pass(2 * TTL);
    stop(3);
    pass(TTL - HEARTBEAT * 6 / 5 - STEP);
    assert_true(engine_nodes_count(of(1)) == 3 && engine_nodes_alive(of(1), 3));
    connect_node(1, true); /* one of its servers has come back: no reason to wait for longer */
    pass(HEARTBEAT * 6 / 5 + 2 * STEP);
    assert_false(engine_nodes_alive(of(1), 3));
    assert_true(nodes[0].went == 1 && nodes[1].went == 1);
}

static void a_goodbye_counts_at_once_and_for_good(void **state UNUSED)
{
    char late[256];
    size_t n;

    pass(TTL);
    assert_int_equal(nodes_begin(of(3), NODES_HEARTBEAT), 0); /* on its way by another server */
    n = of(3)->out.len;
    memcpy(late, of(3)->out.p, n);
    engine_nodes_leave(of(3));
    assert_int_equal(engine_nodes_count(of(1)), 2);
    assert_false(engine_nodes_alive(of(1), 3));
    engine_nodes_received(of(1), (struct str){late, n});
    pass(2 * HEARTBEAT); /* it says nothing more */
    assert_int_equal(engine_nodes_count(of(1)), 2);
}

/* Who was away for long does not take the others for dead when it is back, nor while it is away. */
static void one_that_was_cut_off_buries_nobody(void **state UNUSED)
{
    pass(TTL);
    connect_node(1, false);
    pass(10 * TTL);
    assert_int_equal(engine_nodes_count(of(1)), 3);
    assert_int_equal(engine_nodes_count(of(2)), 2);
    connect_node(1, true);
    pass(STEP);
    assert_int_equal(engine_nodes_count(of(1)), 3);
    pass(2 * TTL);
    assert_int_equal(engine_nodes_count(of(1)), 3);
    assert_int_equal(nodes[0].went, 0);
    assert_int_equal(engine_nodes_count(of(2)), 3); /* it has come back to them */
    assert_true(engine_nodes_alive(of(2), 1));
    assert_int_equal(nodes[1].came, 3);
}

static void those_never_heard_live_until_all_could_be(void **state UNUSED)
{
    assert_false(engine_nodes_settled(of(1)));
    assert_true(engine_nodes_alive(of(1), 99));
    assert_false(engine_nodes_lowest(of(1)));
    pass(TTL);
    assert_true(engine_nodes_settled(of(1)));
    assert_false(engine_nodes_alive(of(1), 99));
    assert_true(engine_nodes_lowest(of(1)));
    assert_false(engine_nodes_lowest(of(2)));
    stop(1);
    pass(TTL + STEP);
    assert_true(engine_nodes_lowest(of(2)));
    connect_node(2, false);
    assert_false(engine_nodes_lowest(of(2)));
    assert_true(engine_nodes_alive(of(2), 99));
    assert_false(engine_nodes_alive(of(2), 1));
}

static void other_settings_and_other_protocols_are_told(void **state UNUSED)
{
    struct nodes_header h = {.protocol = 99, .kind = NODES_HEARTBEAT, .from = 4};
    const char fields[] = {FIELD_OF_NODE_PROTOCOL, 8, 99, 0, 0, 0, 0, 0, 0, 0};
    char bytes[64];

    of(3)->s.agreement = 6;
    pass(STEP);
    assert_int_equal(metrics->node_config_mismatch, 4); /* 1 and 2 see it in 3, 3 in both */
    memcpy(bytes, &h, sizeof(h));
    memcpy(bytes + sizeof(h), fields, sizeof(fields));
    engine_nodes_received(of(1), (struct str){bytes, sizeof(h) + sizeof(fields)});
    assert_int_equal(metrics->node_config_mismatch, 5);
    bytes[1] = NODES_SAID; /* more than heartbeats is not read */
    engine_nodes_received(of(1), (struct str){bytes, sizeof(h) + sizeof(fields)});
    assert_int_equal(metrics->engine_malformed, 1);
    assert_string_equal(nodes[0].heard, "");
}

static void hubs_speak_to_one_and_to_all_others(void **state UNUSED)
{
    pass(STEP);
    assert_int_equal(engine_nodes_say(of(1), 0, STR_LIT("to all")), 0);
    assert_string_equal(nodes[0].heard, "");
    assert_true(strcmp(nodes[1].heard, "to all") == 0 && nodes[1].heard_from == 1);
    assert_int_equal(engine_nodes_say(of(1), 3, STR_LIT("to one")), 0);
    assert_string_equal(nodes[1].heard, "to all");
    assert_string_equal(nodes[2].heard, "to one");
    fault_fail_at(1);
    buf_fini(&of(1)->out);
    assert_int_equal(engine_nodes_say(of(1), 3, STR_LIT("x")), -1);
    fault_reset();
}

/* Whatever comes, whole, cut at every byte, and with each byte changed. */
static void what_comes_is_checked(void **state UNUSED)
{
    struct engine_node me;
    char bytes[512], text[512];
    size_t n;

    pass(STEP);
    myself(of(3), &me);
    snprintf(me.name, sizeof(me.name), "a\n\xff");
    assert_int_equal(nodes_begin(of(3), NODES_HEARTBEAT), 0);
    assert_int_equal(put_fields(&of(3)->out, &me), 0);
    n = of(3)->out.len;
    assert_true(n < sizeof(bytes));
    memcpy(bytes, of(3)->out.p, n);
    for (size_t i = 0; i < n; i++)
        engine_nodes_received(of(1), (struct str){bytes, i});
    for (size_t i = 0; i < n; i++) {
        memcpy(text, bytes, n);
        text[i] = (char)~text[i];
        if (i < 8 || i >= 16) /* not from somebody else */
            engine_nodes_received(of(1), (struct str){text, n});
    }
    engine_nodes_received(of(1), (struct str){bytes, n});
    assert_string_equal(find(of(1), 3)->name, "a??");
    assert_true(metrics->engine_malformed > 0);
}

static void more_nodes_than_places_are_left_out(void **state UNUSED)
{
    struct nodes_header h = {.protocol = ENGINE_NODES_PROTOCOL, .kind = NODES_HEARTBEAT};
    struct engine_events deaf = events;

    deaf.node = NULL;
    nodes[0].engine.events = &deaf;
    for (uint64_t i = 100; i < 100 + 2 * ENGINE_NODES_MAX; i++) {
        h.from = i;
        engine_nodes_received(of(1), (struct str){(const char *)&h, sizeof(h)});
    }
    assert_int_equal(engine_nodes_count(of(1)), ENGINE_NODES_MAX + 1);
    pass(2 * TTL); /* their places are free again */
    assert_int_equal(engine_nodes_count(of(1)), 3);
    nodes[0].engine.events = &events;
}

/* --- control --- */

static struct envelope control_of(uint64_t node, uint64_t position)
{
    return (struct envelope){.node = node,
                             .r = {.kind = RECORD_CONTROL,
                                   .source = 2,
                                   .generation = 1,
                                   .position = position,
                                   .data = STR_LIT("x")}};
}

static void hear(unsigned at, uint64_t from, uint64_t position)
{
    struct envelope e = control_of(from, position);

    (void)engine_nodes_control_heard(of(at), &e);
}

static void send_control(uint64_t position)
{
    struct envelope e = control_of(1, position);

    assert_int_equal(engine_nodes_control_sent(of(1), &e, 42), 0);
}

static void a_control_is_complete_when_all_have_it(void **state UNUSED)
{
    pass(STEP);
    send_control(8);
    engine_nodes_control_done(of(1), 42, ENGINE_OK);
    hear(2, 1, 8);
    hear(1, 1, 8);
    assert_int_equal(nodes[0].done, 0);
    hear(3, 1, 8);
    assert_true(nodes[0].done == 1 && nodes[0].status == ENGINE_OK);
    assert_true(nodes[0].asked == 3 && nodes[0].answered == 3);
    assert_true(nodes[0].controls == 1 && nodes[1].controls == 1 && nodes[2].controls == 1);
}

static void answers_may_come_before_the_servers(void **state UNUSED)
{
    pass(STEP);
    send_control(8);
    for (unsigned i = 1; i <= 3; i++)
        hear(i, 1, 8);
    assert_int_equal(nodes[0].done, 0);
    engine_nodes_control_done(of(1), 42, ENGINE_OK);
    assert_int_equal(nodes[0].done, 1);
    engine_nodes_control_done(of(1), 42, ENGINE_OK);
    assert_int_equal(nodes[0].done, 1);
}

static void it_is_told_once_however_often_it_comes(void **state UNUSED)
{
    pass(STEP);
    for (unsigned i = 0; i < 3; i++)
        hear(2, 1, 8);
    hear(2, 1, 16);
    hear(2, 3, 8);
    assert_int_equal(nodes[1].controls, 3);
}

static void a_silent_node_is_waited_for_a_second(void **state UNUSED)
{
    pass(STEP);
    send_control(8);
    engine_nodes_control_done(of(1), 42, ENGINE_OK);
    hear(1, 1, 8);
    hear(2, 1, 8);
    pass(ENGINE_NODES_WAIT_NS - STEP);
    assert_int_equal(nodes[0].done, 0);
    pass(STEP);
    assert_true(nodes[0].done == 1 && nodes[0].status == ENGINE_OK);
    assert_true(nodes[0].asked == 3 && nodes[0].answered == 2);
}

static void a_node_that_dies_is_not_waited_for(void **state UNUSED)
{
    pass(STEP);
    send_control(8);
    engine_nodes_control_done(of(1), 42, ENGINE_OK);
    hear(1, 1, 8);
    hear(2, 1, 8);
    engine_nodes_leave(of(3));
    assert_int_equal(nodes[0].done, 1);
    assert_true(nodes[0].asked == 3 && nodes[0].answered == 2);
}

static void one_whose_workers_miss_it_does_not_answer(void **state UNUSED)
{
    pass(STEP);
    nodes[1].refuses = true;
    send_control(8);
    engine_nodes_control_done(of(1), 42, ENGINE_OK);
    for (unsigned i = 1; i <= 3; i++)
        hear(i, 1, 8);
    assert_int_equal(nodes[0].done, 0);
    pass(ENGINE_NODES_WAIT_NS);
    assert_true(nodes[0].done == 1 && nodes[0].asked == 3 && nodes[0].answered == 2);
}

static void what_the_server_has_not_got_is_not_done(void **state UNUSED)
{
    pass(STEP);
    send_control(8);
    engine_nodes_control_done(of(1), 42, ENGINE_UNAVAILABLE);
    assert_true(nodes[0].done == 1 && nodes[0].status == ENGINE_UNAVAILABLE);
    assert_int_equal(nodes[0].asked, 0);
    fault_fail_at(1);
    assert_int_equal(engine_nodes_control_sent(of(1), &(struct envelope){.node = 1}, 42), -1);
    fault_reset();
    send_control(16); /* freed with the node */
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(all_know_all_soon),
        T(a_newcomer_hears_the_others_at_once),
        T(heartbeats_are_a_fifth_apart_at_most),
        T(one_that_is_silent_is_dead_after_its_time),
        T(a_goodbye_counts_at_once_and_for_good),
        T(one_that_was_cut_off_buries_nobody),
        T(those_never_heard_live_until_all_could_be),
        T(other_settings_and_other_protocols_are_told),
        T(hubs_speak_to_one_and_to_all_others),
        T(what_comes_is_checked),
        T(more_nodes_than_places_are_left_out),
        T(a_control_is_complete_when_all_have_it),
        T(answers_may_come_before_the_servers),
        T(it_is_told_once_however_often_it_comes),
        T(a_silent_node_is_waited_for_a_second),
        T(a_node_that_dies_is_not_waited_for),
        T(one_whose_workers_miss_it_does_not_answer),
        T(what_the_server_has_not_got_is_not_done),
    };

    return cmocka_run_group_tests_name("core/engine_nodes", tests, NULL, NULL);
}
