/* The hub: listings of a channel's members, in parts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/hub_members.c"
#include "fault.h"

#include "hub_harness.h"
#include "hub_members.h"

#define MANY 100000

static struct {
    uint32_t members, parts, last, count, largest;
    uint16_t status;
    uint64_t token;
    bool seen[MANY];
} got[FAKES];

/* Takes the infos of a part. */
static void take(unsigned worker, const struct record *r)
{
    struct str rest = r->data;
    struct client_info info;

    if (r->kind != RECORD_MEMBERS)
        return;
    got[worker].parts++;
    got[worker].token = r->token;
    got[worker].largest = (uint32_t)MAX(got[worker].largest, r->data.n);
    while (rest.n > 0) {
        uint64_t id;

        assert_int_equal(client_info_next(&rest, &info), 1);
        got[worker].members++;
        if (str_to_u64(info.client, &id) == 0) {
            assert_false(got[worker].seen[id]); /* nobody twice */
            got[worker].seen[id] = true;
        }
    }
    if (r->flags & RECORD_LAST) {
        got[worker].last++;
        got[worker].status = r->status;
        got[worker].count = r->count;
    }
}

static int members_setup(void **state)
{
    hub_setup(state);
    clock_set_virtual(NS_PER_SEC);
    memset(got, 0, sizeof(got));
    on_sent = take;
    return 0;
}

static int members_teardown(void **state)
{
    buf_fini(&member_fields);
    return hub_teardown(state);
}

static void ask_members(unsigned worker, const char *channel, uint64_t token)
{
    from(worker,
         (struct record){
             .kind = RECORD_PRESENCE, .name = name_of(channel), .asker = 3, .token = token});
}

static void fill_room(unsigned n)
{
    char id[16];

    for (unsigned i = 0; i < n; i++) {
        snprintf(id, sizeof(id), "%u", i);
        come(i % 2, "room", id, "ann", 0);
    }
}

static void few_in_one_part(void **state)
{
    (void)state;
    fill_room(3);
    ask_members(2, "room", 17);
    run_all();
    assert_int_equal(got[2].parts, 1);
    assert_int_equal(got[2].members, 3);
    assert_true(got[2].last == 1 && got[2].status == ENGINE_OK && got[2].count == 3);
    assert_int_equal(got[2].token, 17);
    ask_members(2, "nowhere", 18);
    run_all();
    assert_true(got[2].last == 2 && got[2].status == ENGINE_OK && got[2].count == 0);
    assert_int_equal(hub->member_lists.in_use, 0);
}

/* No limit, and no step that is long. */
static void many_in_steps(void **state)
{
    unsigned steps = 0;

    (void)state;
    fill_room(MANY);
    ask_members(2, "room", 17);
    while (got[2].last == 0) {
        uint32_t before = got[2].members;

        hub_run(hub, 1);
        assert_true(got[2].members - before <= PART_MEMBERS);
        steps++;
    }
    assert_true(steps >= MANY / PART_MEMBERS);
    assert_int_equal(got[2].members, MANY);
    assert_int_equal(got[2].count, MANY);
    assert_true(got[2].largest <= PART_BYTES);
}

/* What is held is one part, however many there are. */
static void who_does_not_read_gets_no_more_parts(void **state)
{
    (void)state;
    fill_room(MANY);
    fakes[2].room = 1;
    ask_members(2, "room", 17);
    ask_members(3, "room", 18);
    run_all();
    assert_true(got[3].last == 1 && got[3].members == MANY); /* nobody waits for the other */
    assert_int_equal(got[2].parts, 1);
    assert_true(hub->worker[2].out.bytes < 2 * PART_BYTES);
    fakes[2].room = UINT32_MAX;
    run_all();
    assert_true(got[2].last == 1 && got[2].members == MANY);
}

static void small_ones_overtake(void **state)
{
    (void)state;
    fill_room(MANY);
    come(0, "lobby", "x", "ann", 0);
    ask_members(2, "room", 17);
    ask_members(2, "lobby", 18);
    hub_run(hub, 4);
    assert_int_equal(got[2].last, 1);
    run_all();
    assert_int_equal(got[2].last, 2);
}

static void it_ends_with_its_time_or_its_worker(void **state)
{
    (void)state;
    fill_room(MANY);
    ask_members(2, "room", 17);
    hub_run(hub, 2);
    clock_advance(limits.answer_ns);
    run_all();
    assert_true(got[2].last == 1 && got[2].status == ENGINE_UNAVAILABLE);
    memset(got[2].seen, 0, sizeof(got[2].seen));
    ask_members(2, "room", 18);
    hub_run(hub, 2);
    fakes[2].generation = 0;
    hub_worker_gone(hub, 2);
    run_all();
    assert_int_equal(got[2].last, 1);
    assert_int_equal(hub->member_lists.in_use, 0);
    assert_int_equal(hub->worker[2].nmember_lists, 0);
}

static void those_under_way_end_with_the_hub(void **state)
{
    (void)state;
    fill_room(200);
    ask_members(2, "room", 17);
    hub_run(hub, 1);
}

static void too_many_are_refused(void **state)
{
    (void)state;
    fakes[2].room = 0;
    for (unsigned i = 0; i <= LISTS_MAX; i++)
        ask_members(2, "room", i);
    assert_int_equal(hub->worker[2].nmember_lists, LISTS_MAX);
    fakes[2].room = 1;
    hub_queue_flush(hub, &(size_t){1});
    assert_true(got[2].last == 1 && got[2].status == ENGINE_UNAVAILABLE);
    assert_int_equal(got[2].token, LISTS_MAX);
}

/* Whichever allocation fails: the asker is told, or has all. */
static void no_memory(void **state)
{
    (void)state;
    fill_room(100);
    for (unsigned long k = 1; k < 20; k++) {
        uint32_t last = got[2].last, members = got[2].members;

        memset(got[2].seen, 0, sizeof(got[2].seen));
        fault_fail_at(k);
        ask_members(2, "room", 1);
        run_all();
        fault_reset();
        assert_int_equal(got[2].last, last + 1);
        if (got[2].status == ENGINE_OK) {
            assert_int_equal(got[2].members - members, 100);
            return;
        }
        assert_int_equal(got[2].status, ENGINE_UNAVAILABLE);
    }
    fail();
}

#define MEMBERS_TEST(f) cmocka_unit_test_setup_teardown(f, members_setup, members_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MEMBERS_TEST(few_in_one_part),
        MEMBERS_TEST(many_in_steps),
        MEMBERS_TEST(who_does_not_read_gets_no_more_parts),
        MEMBERS_TEST(small_ones_overtake),
        MEMBERS_TEST(it_ends_with_its_time_or_its_worker),
        MEMBERS_TEST(those_under_way_end_with_the_hub),
        MEMBERS_TEST(too_many_are_refused),
        MEMBERS_TEST(no_memory),
    };

    return cmocka_run_group_tests_name("core/hub_members", tests, NULL, NULL);
}
