/* The hub with an engine that takes its time about members and control messages: what is under way
 * holds its record in the ring, and nothing of it outlives who it was for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/broker.h"
#include "core/hub_internal.h"

#include "hub_harness.h"
#include "hub_members.h"

struct slow_call {
    struct list link;
    struct engine_presence ask;
    bool control;
    struct record r;
    char name[32], fields[128], data[32];
    uint64_t token;
};

static struct slow {
    const struct engine_ops *memory; /* what is done in the end */
    struct engine_ops ops;
    struct engine *engine;
    struct list calls;
    unsigned n;
} slow;

static struct str kept(char *to, struct str s)
{
    if (s.n > 0)
        memcpy(to, s.p, s.n);
    return (struct str){.p = to, .n = s.n};
}

static struct slow_call *slow_add(const struct record *r, uint64_t token)
{
    struct slow_call *call = calloc(1, sizeof(*call));

    assert_non_null(call);
    call->token = token;
    if (r != NULL) {
        call->r = *r;
        call->r.name = kept(call->name, r->name);
        call->r.fields = kept(call->fields, r->fields);
        call->r.data = kept(call->data, r->data);
    }
    list_append(&slow.calls, &call->link);
    slow.n++;
    return call;
}

static void slow_presence(struct engine *e, const struct engine_presence *ask, uint64_t token)
{
    struct slow_call *call = slow_add(ask->r, token);
    struct str info;

    assert_ptr_equal(e, slow.engine);
    call->ask = *ask;
    if (ask->r == NULL) {
        call->ask.channel = kept(call->name, ask->channel);
        return;
    }
    call->ask.r = &call->r;
    assert_true(record_field(call->r.fields, FIELD_INFO, &info));
    assert_int_equal(client_info_read(info, &call->ask.who), 0);
}

static void slow_control(struct engine *e, struct str node, const struct record *r,
                         bool must_arrive, uint64_t token)
{
    (void)must_arrive;
    assert_ptr_equal(e, slow.engine);
    assert_int_equal(node.n, 0);
    slow_add(r, token)->control = true;
}

static struct engine *slow_engine_new(void)
{
    slow.engine = engine_memory_new();
    slow.memory = slow.engine->ops;
    slow.ops = *slow.memory;
    slow.ops.presence = slow_presence;
    slow.ops.control = slow_control;
    slow.engine->ops = &slow.ops;
    list_init(&slow.calls);
    slow.n = 0;
    return slow.engine;
}

/* The oldest call ends: as it should, or with that status. False: there is none. */
static bool complete(enum engine_status status)
{
    struct list *n = list_pop(&slow.calls);
    struct slow_call *call;

    if (n == NULL)
        return false;
    slow.n--;
    call = LIST_ENTRY(n, struct slow_call, link);
    if (status != ENGINE_OK)
        slow.engine->events->done(slow.engine->hub, call->token, status, (struct position){0});
    else if (call->control)
        slow.memory->control(slow.engine, STR_NULL, &call->r, true, call->token);
    else
        slow.memory->presence(slow.engine, &call->ask, call->token);
    free(call);
    return true;
}

static void complete_all(void)
{
    while (complete(ENGINE_OK)) {
    }
}

static int late_setup(void **state)
{
    engine_new = slow_engine_new;
    clock_set_virtual(NS_PER_SEC);
    return hub_setup(state);
}

static int late_teardown(void **state)
{
    while (!list_empty(&slow.calls))
        free(LIST_ENTRY(list_pop(&slow.calls), struct slow_call, link));
    buf_fini(&member_fields);
    return hub_teardown(state);
}

#define LATE_TEST(f) cmocka_unit_test_setup_teardown(f, late_setup, late_teardown)

static void a_change_holds_its_record(void **state)
{
    uint64_t position;

    (void)state;
    subscribe(1, 9, "room", 1);
    skip_sent();
    position = come(0, "room", "c1", "ann", PRESENCE_TELL);
    nothing_sent(1);
    assert_int_equal(hub_complete_to(hub, 0, 4096), position);
    complete_all();
    assert_client(next_sent(1, RECORD_JOIN), "c1");
    assert_int_equal(hub_complete_to(hub, 0, 4096), 4096);
    come(0, "room", "c2", "ann", PRESENCE_TELL);
    complete(ENGINE_UNAVAILABLE);
    nothing_sent(1);
    assert_int_equal(metrics->presence_lost, 1);
    assert_int_equal(metrics->presence_members, 1);
}

static void counts_are_answered_in_order(void **state)
{
    (void)state;
    come(0, "room", "c1", "ann", 0);
    from(0, (struct record){.kind = RECORD_PRESENCE_STATS, .name = name_of("room"), .token = 4});
    from(0, (struct record){.kind = RECORD_FENCE, .token = 5});
    nothing_sent(0);
    complete_all();
    assert_int_equal(next_sent(0, RECORD_MEMBER_COUNT)->count, 1);
    next_sent(0, RECORD_FENCED);
}

static void ask_members(unsigned worker)
{
    from(worker, (struct record){.kind = RECORD_PRESENCE, .name = name_of("room"), .token = 7});
}

static void one_part_is_asked_at_a_time(void **state)
{
    char id[16];
    unsigned parts = 0;

    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        snprintf(id, sizeof(id), "c%u", i);
        come(0, "room", id, "ann", 0);
    }
    complete_all();
    ask_members(1);
    do {
        assert_false(hub_run(hub, 100));
        assert_int_equal(slow.n, 1);
        complete(ENGINE_OK);
        parts++;
    } while (!(next_sent(1, RECORD_MEMBERS)->flags & RECORD_LAST));
    assert_true(parts > 2);
    assert_int_equal(hub->member_lists.in_use, 0);
}

static void a_listing_that_fails_is_refused(void **state)
{
    const struct record *r;

    (void)state;
    come(0, "room", "c1", "ann", 0);
    complete_all();
    ask_members(1);
    hub_run(hub, 100);
    complete(ENGINE_UNAVAILABLE);
    r = next_sent(1, RECORD_MEMBERS);
    assert_true(r->flags & RECORD_LAST && r->status == ENGINE_UNAVAILABLE);
    assert_int_equal(hub->member_lists.in_use, 0);
}

/* Who asked has gone while the engine was at it. */
static void a_listing_for_nobody_ends(void **state)
{
    char id[16];

    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        snprintf(id, sizeof(id), "c%u", i);
        come(0, "room", id, "ann", 0);
    }
    complete_all();
    ask_members(1);
    hub_run(hub, 100);
    fakes[1].generation = 0;
    hub_worker_gone(hub, 1);
    assert_int_equal(hub->member_lists.in_use, 1);
    complete_all(); /* the part, the cursor's end */
    assert_int_equal(hub->member_lists.in_use, 0);
    nothing_sent(1);
    /* And one that fails on the way to its end. */
    ask_members(2);
    hub_run(hub, 100);
    fakes[2].generation = 0;
    hub_worker_gone(hub, 2);
    complete(ENGINE_OK);
    complete(ENGINE_UNAVAILABLE);
    assert_int_equal(hub->member_lists.in_use, 0);
    complete_all();
}

static void the_hub_ends_with_calls_under_way(void **state)
{
    (void)state;
    come(0, "room", "c1", "ann", 0);
    complete_all();
    ask_members(1);
    ask_members(2);
    hub_run(hub, 100);
    fakes[1].generation = 0;
    hub_worker_gone(hub, 1);
    come(0, "room", "c2", "ann", 0);
}

/* One that cannot forget now is asked again, not in the same round. */
static void forgetting_is_tried_again(void **state)
{
    (void)state;
    come(0, "room", "c1", "ann", 0);
    complete_all();
    fakes[0].generation = 0;
    hub_worker_gone(hub, 0);
    run_all();
    assert_int_equal(slow.n, 1);
    complete(ENGINE_UNAVAILABLE);
    hub_run(hub, 1000);
    assert_int_equal(slow.n, 1);
    /* Another life ends while it is at it. */
    fakes[0].generation = 2;
    come(0, "room", "c2", "ann", 0);
    fakes[0].generation = 0;
    hub_worker_gone(hub, 0);
    while (slow.n > 0) {
        complete_all();
        run_all();
    }
    assert_int_equal(metrics->presence_members, 0);
}

static void a_control_waits_for_the_engine(void **state)
{
    uint64_t position;

    (void)state;
    position = from(
        1,
        (struct record){.kind = RECORD_CONTROL, .chan = BROKER_ALL_WORKERS, .data = name_of("x")});
    nothing_sent(0);
    assert_int_equal(hub_complete_to(hub, 1, 4096), position);
    complete(ENGINE_OK);
    next_sent(0, RECORD_CONTROL_MESSAGE);
    next_sent(1, RECORD_CONTROL_MESSAGE);
    assert_int_equal(next_sent(1, RECORD_CONTROLLED)->count, FAKES);
    from(1, (struct record){.kind = RECORD_CONTROL, .chan = BROKER_ALL_WORKERS});
    complete(ENGINE_UNAVAILABLE);
    assert_int_equal(next_sent(1, RECORD_CONTROLLED)->status, ENGINE_UNAVAILABLE);
    assert_int_equal(hub_complete_to(hub, 1, 4096), 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LATE_TEST(a_change_holds_its_record),   LATE_TEST(counts_are_answered_in_order),
        LATE_TEST(one_part_is_asked_at_a_time), LATE_TEST(a_listing_that_fails_is_refused),
        LATE_TEST(a_listing_for_nobody_ends),   LATE_TEST(the_hub_ends_with_calls_under_way),
        LATE_TEST(forgetting_is_tried_again),   LATE_TEST(a_control_waits_for_the_engine),
    };

    return cmocka_run_group_tests_name("core/hub late", tests, NULL, NULL);
}
