/* Listings over nodes: merged, in pages and parts, partial where one is silent. Three hubs with the same workers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/hub_survey.c"
#include "core/hub_survey_reply.c"
#include "fault.h"
#include "hub_harness.h"

#define NODES 3
#define MOST  512

static struct node {
    struct hub *hub;
    struct engine *engine; /* borrowed: the hub's */
    bool silent;           /* it hears, and nobody hears it */
} nodes[NODES];

static struct message {
    unsigned from;
    uint64_t to;
    struct buf bytes;
} wire[MOST];
static unsigned first, last, parts;
static char answer_text[65536], answer_name[256];
static struct record answer_end;
static bool answered;

static void send_bytes(struct engine *e, uint64_t to, bool everywhere UNUSED, struct str bytes)
{
    struct message *m = &wire[last++ % MOST];

    assert_true(last - first < MOST);
    assert_true(bytes.n <= 1000 || engine_nodes_most(e->nodes) == SIZE_MAX);
    for (m->from = 0; nodes[m->from].engine != e; m->from++) {
    }
    m->to = to;
    buf_clear(&m->bytes);
    if (buf_append(&m->bytes, bytes) == -1) { /* lost */
        last--;
        return;
    }
    parts += bytes.n > sizeof(struct survey_head) && bytes.p[1] == 4; /* SAID */
}

static const struct engine_nodes_ops ops = {.send = send_bytes};

static void deliver(void)
{
    for (; first != last; first++) {
        const struct message *m = &wire[first % MOST];

        for (unsigned i = 0; i < NODES; i++)
            if (i != m->from && !nodes[m->from].silent && nodes[i].hub != NULL &&
                (m->to == 0 || m->to == i + 1))
                engine_nodes_received(nodes[i].engine->nodes, buf_view(&m->bytes));
    }
}

static void run(void)
{
    for (int round = 0; round < 300; round++) {
        for (unsigned i = 0; i < NODES; i++)
            if (nodes[i].hub != NULL)
                (void)hub_run(nodes[i].hub, 64);
        deliver();
    }
}

/* What is said to the workers is looked at when it is a listing. */
static void note(unsigned worker UNUSED, const struct record *r)
{
    size_t n = strlen(answer_text);

    if (r->kind != RECORD_LISTED)
        return;
    assert_true(r->token == 42 && !answered && n + r->data.n < sizeof(answer_text));
    if (r->data.n > 0)
        memcpy(answer_text + n, r->data.p, r->data.n);
    answer_text[n + r->data.n] = '\0';
    if (r->flags & RECORD_LAST) {
        answered = true;
        answer_end = *r;
        assert_int_equal(str_copy(r->name, answer_name, sizeof(answer_name)), 0);
        answer_end.name = answer_end.data = answer_end.fields = STR_NULL; /* views that go */
    }
}

static int setup(void **state)
{
    clock_set_virtual(1000 * NS_PER_SEC);
    hub_setup(state);
    hub_free(hub);
    on_sent = note;
    first = last = parts = 0;
    answer_text[0] = '\0';
    answered = false;
    for (unsigned i = 0; i < NODES; i++) {
        const struct engine_nodes_settings s = {
            .id = i + 1, .heartbeat_ns = 3 * NS_PER_SEC, .ttl_ns = 10 * NS_PER_SEC};

        hub_start(1);
        nodes[i] = (struct node){.hub = hub, .engine = hub->engine};
        hub->engine->nodes = engine_nodes_new(&s, &ops, hub->engine);
        assert_non_null(hub->engine->nodes);
        engine_nodes_up(hub->engine->nodes, true);
        (void)engine_nodes_tick(hub->engine->nodes, clock_ns());
    }
    deliver();
    return 0;
}

static void end(unsigned i)
{
    struct engine_nodes *n = nodes[i].engine->nodes;

    hub_free(nodes[i].hub);
    engine_nodes_free(n);
    nodes[i].hub = NULL;
}

static int teardown(void **state)
{
    for (unsigned i = 0; i < NODES; i++)
        if (nodes[i].hub != NULL)
            end(i);
    for (unsigned i = 0; i < MOST; i++)
        buf_fini(&wire[i].bytes);
    hub_start(1);
    clock_set_virtual(0);
    return hub_teardown(state);
}

/* Clients of a channel at a node. */
static void has(unsigned node, const char *name, uint32_t clients)
{
    static uint32_t chan;

    hub = nodes[node].hub;
    subscribe(1, ++chan, name, clients);
}

static void list(unsigned node, const char *pattern, uint32_t max, const char *after)
{
    hub = nodes[node].hub;
    answer_text[0] = '\0';
    answered = false;
    from(0, (struct record){.kind = RECORD_LIST,
                            .token = 42,
                            .count = max,
                            .flags = after != NULL ? RECORD_PAGE : 0,
                            .name = name_of(pattern),
                            .data = name_of(after != NULL ? after : "")});
}

static void expect_end(uint32_t count, unsigned asked, unsigned answers)
{
    assert_true(answered);
    assert_int_equal(answer_end.status, ENGINE_OK);
    assert_int_equal(answer_end.count, count);
    assert_int_equal(answer_end.epoch, asked);
    assert_int_equal(answer_end.offset, answers);
}

static void channels_of_all_nodes_are_merged(void **state UNUSED)
{
    has(0, "a", 1);
    has(1, "a", 2);
    has(1, "b", 3);
    has(2, "c", 4);
    has(2, "x", 9);
    list(0, "[", 10, NULL);
    run();
    assert_string_equal(answer_text, "");
    expect_end(0, 3, 3);
    list(0, "a", 10, NULL);
    run();
    assert_string_equal(answer_text, "\"a\":{\"num_clients\":3}");
    expect_end(1, 3, 3);
    list(2, "*", 10, NULL);
    run();
    expect_end(4, 3, 3);
    assert_non_null(strstr(answer_text, "\"a\":{\"num_clients\":3}"));
    assert_non_null(strstr(answer_text, "\"b\":{\"num_clients\":3}"));
    assert_non_null(strstr(answer_text, "\"c\":{\"num_clients\":4}"));
    assert_int_equal(metrics->survey_partial, 0);
    assert_true(list_empty(&nodes[0].hub->surveys) && list_empty(&nodes[1].hub->replies));
    assert_int_equal(nodes[1].hub->nreplies, 0);
    assert_int_equal(nodes[2].hub->worker[0].listings, 0);
}

static void pages_are_in_order_over_all_nodes(void **state UNUSED)
{
    char name[8];

    for (unsigned i = 0; i < 9; i++) {
        snprintf(name, sizeof(name), "c%u", i);
        has(i % NODES, name, 1);
        has((i + 1) % NODES, name, 1);
    }
    list(1, "c*", 4, "");
    run();
    assert_string_equal(answer_text, "\"c0\":{\"num_clients\":2},\"c1\":{\"num_clients\":2},"
                                     "\"c2\":{\"num_clients\":2},\"c3\":{\"num_clients\":2}");
    assert_true(answer_end.count > 4);
    assert_string_equal(answer_name, "c3");
    list(1, "c*", 4, "c3");
    run();
    assert_string_equal(answer_text, "\"c4\":{\"num_clients\":2},\"c5\":{\"num_clients\":2},"
                                     "\"c6\":{\"num_clients\":2},\"c7\":{\"num_clients\":2}");
    assert_true(answer_end.count > 4);
    list(1, "c*", 4, "c7");
    run();
    assert_string_equal(answer_text, "\"c8\":{\"num_clients\":2}");
    expect_end(1, 3, 3);
}

/* More than one part of each node, and no more names than were wanted. */
static void large_listings_come_in_parts(void **state UNUSED)
{
    unsigned names = 0;

    for (unsigned i = 0; i < 2500; i++) {
        snprintf(answer_name, sizeof(answer_name), "n%u", i);
        has(1, answer_name, 1);
    }
    list(0, "*", 100000, NULL);
    run();
    expect_end(2500, 3, 3);
    assert_true(parts >= 3);
    engine_nodes_set_most(nodes[1].engine->nodes, 1000); /* bytes of a part */
    list(0, "*", 100, NULL);
    run();
    expect_end(2500, 3, 3);
    for (const char *at = answer_text; (at = strstr(at, "num_clients")) != NULL; at++)
        names++;
    assert_int_equal(names, 100);
}

static void a_silent_node_makes_it_partial(void **state UNUSED)
{
    has(0, "a", 1);
    has(1, "b", 1);
    has(2, "c", 1);
    nodes[2].silent = true;
    list(0, "*", 10, NULL);
    run();
    assert_false(answered);
    clock_advance(limits.answer_ns / 2);
    run();
    assert_non_null(strstr(answer_text, "\"b\""));
    assert_null(strstr(answer_text, "\"c\""));
    assert_int_equal(answer_end.epoch, 3);
    assert_int_equal(answer_end.offset, 2);
    assert_int_equal(metrics->survey_partial, 1);
}

static void one_that_dies_is_not_waited_for(void **state UNUSED)
{
    has(1, "b", 1);
    list(0, "*", 10, NULL);
    (void)hub_run(nodes[0].hub, 64);
    engine_nodes_leave(nodes[2].engine->nodes);
    deliver();
    end(2);
    run();
    expect_end(1, 2, 2);
    assert_int_equal(metrics->survey_partial, 0);
}

static void a_hub_that_gathers_says_that_it_cannot(void **state UNUSED)
{
    has(2, "c", 1);
    nodes[2].hub->state = HUB_GATHERING;
    list(0, "*", 10, NULL);
    run();
    assert_true(answered); /* at once */
    assert_int_equal(answer_end.offset, 2);
    nodes[2].hub->state = HUB_LIVE;
}

static void a_node_alone_asks_nobody(void **state UNUSED)
{
    has(0, "a", 1);
    engine_nodes_leave(nodes[1].engine->nodes);
    engine_nodes_leave(nodes[2].engine->nodes);
    deliver();
    list(0, "*", 10, NULL);
    run();
    assert_string_equal(answer_text, "\"a\":{\"num_clients\":1}");
    expect_end(1, 0, 0);
}

static void the_asker_may_end_or_hang(void **state UNUSED)
{
    for (unsigned i = 0; i < HUB_LISTINGS_MAX; i++)
        list(0, "*", 10, NULL);
    list(0, "*", 10, NULL); /* one too many */
    assert_true(answered && answer_end.status == ENGINE_UNAVAILABLE);
    (void)hub_run(nodes[0].hub, 64);
    fakes[0].generation = 2;
    hub_worker_gone(nodes[0].hub, 0);
    run();
    assert_true(list_empty(&nodes[0].hub->surveys));
    assert_int_equal(nodes[0].hub->worker[0].listings, 0);
    list(0, "*", 10, NULL);
    fakes[0].room = 0;
    run();
    clock_advance(limits.answer_ns + 1);
    run();
    assert_true(list_empty(&nodes[0].hub->surveys));
    fakes[0].room = UINT32_MAX;
}

/* No PART for whoever does not ask for more; then it is forgotten. */
static void replies_that_nobody_takes_end(void **state UNUSED)
{
    char name[16];

    for (unsigned i = 0; i < 1500; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        has(1, name, 1);
    }
    list(0, "*", 100000, NULL);
    (void)hub_run(nodes[0].hub, 64);
    deliver();
    end(0);
    run();
    assert_int_equal(nodes[1].hub->nreplies, 1);
    clock_advance(limits.answer_ns);
    run();
    assert_int_equal(nodes[1].hub->nreplies, 0);
}

/* Whatever another node says, whole and cut at every byte. */
static void what_comes_is_checked(void **state UNUSED)
{
    struct survey_head head = {.kind = SURVEY_PART, .flags = SURVEY_LAST, .count = 1};
    struct buf bytes = {0};

    list(0, "*", 10, NULL);
    (void)hub_run(nodes[0].hub, 64);
    head.survey = LIST_ENTRY(nodes[0].hub->surveys.next, struct survey, link)->id;
    assert_int_equal(buf_append(&bytes, (struct str){(const char *)&head, sizeof(head)}), 0);
    assert_int_equal(hub_survey_put(&bytes, STR_LIT("a\"b"), 1), 0);
    assert_int_equal(hub_survey_put(&bytes, STR_LIT(""), 1), 0);
    for (size_t i = 0; i < sizeof(head); i++)
        hub_on_heard(nodes[0].hub, 2, (struct str){bytes.p, i});
    hub_on_heard(nodes[0].hub, 99, buf_view(&bytes)); /* it was not asked */
    hub_on_heard(nodes[0].hub, 2, (struct str){bytes.p, bytes.len - 1});
    hub_on_heard(nodes[0].hub, 2, buf_view(&bytes)); /* it has said all */
    head = (struct survey_head){.kind = SURVEY_ASK, .pattern = 300};
    hub_on_heard(nodes[0].hub, 2, (struct str){(const char *)&head, sizeof(head)});
    head = (struct survey_head){.kind = 77};
    hub_on_heard(nodes[0].hub, 2, (struct str){(const char *)&head, sizeof(head)});
    head = (struct survey_head){.kind = SURVEY_MORE, .survey = 1};
    hub_on_heard(nodes[0].hub, 2, (struct str){(const char *)&head, sizeof(head)});
    run();
    assert_true(answered && answer_end.offset == 3);
    assert_string_equal(answer_text, "");
    assert_int_equal(metrics->engine_malformed, sizeof(head) + 3);
    buf_fini(&bytes);
}

static void no_memory(void **state UNUSED)
{
    has(0, "a", 1);
    has(1, "b", 1);
    for (unsigned k = 1; k < 60; k++) {
        fault_fail_at(k);
        list(0, "*", 10, k % 2 ? NULL : "");
        run();
        clock_advance(limits.answer_ns);
        run();
        fault_reset();
        assert_true(answered);
        assert_true(list_empty(&nodes[0].hub->surveys));
        assert_int_equal(nodes[0].hub->worker[0].listings, 0);
        assert_int_equal(nodes[1].hub->nreplies, 0);
    }
}

static void say(unsigned node, uint64_t to, uint32_t worker, const char *data)
{
    hub = nodes[node].hub;
    from(1, (struct record){.kind = RECORD_CONTROL,
                            .asker = 3,
                            .token = 99,
                            .epoch = to,
                            .chan = worker,
                            .data = name_of(data)});
    assert_int_equal(next_sent(1, RECORD_CONTROLLED)->status, ENGINE_OK);
}

static void assert_heard(unsigned worker, const char *data)
{
    const struct record *r = next_sent(worker, RECORD_CONTROL_MESSAGE);

    assert_int_equal(r->source, RECORD_SOURCE_REMOTE);
    assert_true(str_equal(r->data, name_of(data)));
}

static void see_all(void)
{
    for (unsigned i = 0; i < FAKES; i++)
        fakes[i].seen = fakes[i].n;
}

static void one_worker_of_another_node_is_told_in_order(void **state UNUSED)
{
    run();
    see_all();
    say(0, 2, 2, "a");
    say(0, 2, 2, "b");
    nothing_sent(2); /* it is no worker of this node */
    run();
    assert_heard(2, "a");
    assert_heard(2, "b");
    for (unsigned i = 0; i < FAKES; i++)
        nothing_sent(i);
    assert_true(list_empty(&nodes[2].hub->told)); /* the third node has heard nothing */
}

static void nobody_there_is_told(void **state UNUSED)
{
    unsigned before;

    clock_advance(11 * NS_PER_SEC); /* all who live have been heard */
    see_all();
    before = last;
    say(0, 77, 2, "no such node");
    assert_int_equal(last, before);
    say(0, 2, 99, "no such worker");
    say(0, 2, UINT32_MAX, "all is none");
    run();
    for (unsigned i = 0; i < FAKES; i++)
        nothing_sent(i);
}

/* As by a hub that ended before it had said so; the next worker there begins anew. */
static void what_is_said_again_is_told_once(void **state UNUSED)
{
    struct {
        struct survey_head head;
        char data;
    } m = {.head = {.kind = SURVEY_TELL, .flags = 2, .pattern = 1, .count = 7, .survey = 64},
           .data = 'x'};
    const struct str bytes = {(const char *)&m, sizeof(m.head) + 1};

    see_all();
    hub_on_heard(nodes[0].hub, 2, bytes);
    assert_heard(2, "x");
    hub_on_heard(nodes[0].hub, 2, bytes);
    nothing_sent(2);
    hub_on_heard(nodes[0].hub, 3, bytes); /* another node's, worker's, life's, position */
    assert_heard(2, "x");
    m.head.pattern = 2;
    hub_on_heard(nodes[0].hub, 2, bytes);
    assert_heard(2, "x");
    m.head.count = 8;
    m.head.survey = 0;
    hub_on_heard(nodes[0].hub, 2, bytes);
    assert_heard(2, "x");
    m.head.flags = FAKES; /* no worker */
    hub_on_heard(nodes[0].hub, 2, bytes);
    m.head.pattern = HUB_WORKERS_MAX;
    hub_on_heard(nodes[0].hub, 2, bytes);
    assert_int_equal(metrics->engine_malformed, 1);
    nothing_sent(2);
    hub_on_node(nodes[0].hub, 2, false);
    hub_on_node(nodes[0].hub, 3, false);
    assert_true(list_empty(&nodes[0].hub->told));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(channels_of_all_nodes_are_merged),
        T(pages_are_in_order_over_all_nodes),
        T(large_listings_come_in_parts),
        T(a_silent_node_makes_it_partial),
        T(one_that_dies_is_not_waited_for),
        T(a_hub_that_gathers_says_that_it_cannot),
        T(a_node_alone_asks_nobody),
        T(the_asker_may_end_or_hang),
        T(replies_that_nobody_takes_end),
        T(what_comes_is_checked),
        T(no_memory),
        T(one_worker_of_another_node_is_told_in_order),
        T(nobody_there_is_told),
        T(what_is_said_again_is_told_once),
    };

    return cmocka_run_group_tests_name("core/hub_survey", tests, NULL, NULL);
}
