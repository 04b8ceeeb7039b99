/* Channels of a worker, and joining and leaving them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/broker.c"
#include "fault.h"

#include "broker_harness.h"

static void the_first_asks_the_hub(void **state UNUSED)
{
    struct client a, b;
    const struct record *r;

    expect_record(RECORD_HELLO, "");
    join(&a, "lobby");
    join(&b, "lobby");
    expect_nothing(); /* until the end of the turn */
    flush();
    r = expect_record(RECORD_SUBSCRIBE, "lobby");
    assert_int_equal(r->count, 2);
    assert_int_equal(r->generation, 1);
    expect_nothing();
    assert_string_equal(a.log, "");
    send_subscribed(r->chan);
    turn();
    assert_string_equal(a.log, "S");
    assert_string_equal(b.log, "S");
    expect_nothing();
    assert_int_equal(metrics->subscriptions, 2);
    assert_int_equal(metrics->worker_channels, 1);
}

static void the_next_is_told_at_once(void **state UNUSED)
{
    struct client a, b;
    uint32_t id = join_live(&a, "lobby");

    join(&b, "lobby");
    assert_string_equal(b.log, "S");
    assert_true(b.sub.live);
    flush();
    assert_int_equal(expect_record(RECORD_COUNT, "lobby")->count, 2);
    send_publication(id, "x");
    turn();
    assert_string_equal(a.log, "S(x)");
    assert_string_equal(b.log, "S(x)");
    assert_int_equal(a.sub.chan->count, 2);
    assert_true(str_equal(chan_name(a.sub.chan), STR_LIT("lobby")));
}

static void one_count_per_turn(void **state UNUSED)
{
    struct client a, more[20];

    join_live(&a, "lobby");
    for (size_t i = 0; i < 20; i++)
        join(&more[i], "lobby");
    for (size_t i = 0; i < 5; i++)
        leave(&more[i]);
    flush();
    assert_int_equal(expect_record(RECORD_COUNT, "lobby")->count, 16);
    expect_nothing();
    leave(&more[5]);
    join(&more[5], "lobby"); /* nothing has changed for the hub */
    flush();
    expect_nothing();
}

static void the_last_one_leaves(void **state UNUSED)
{
    struct client a, b;
    uint32_t id = join_live(&a, "lobby");

    join(&b, "lobby");
    leave(&a);
    leave(&b);
    leave(&b); /* harmless */
    flush();
    assert_int_equal(expect_record(RECORD_UNSUBSCRIBE, "lobby")->chan, id);
    expect_nothing();
    assert_int_equal(metrics->worker_channels, 0);
    send_publication(id, "late");
    turn();
    assert_int_equal(metrics->ring_bad_records, 0); /* that is not an error */
}

static void gone_before_the_hub_was_asked(void **state UNUSED)
{
    struct client a;

    expect_record(RECORD_HELLO, "");
    join(&a, "lobby");
    leave(&a);
    assert_int_equal(metrics->worker_channels, 0);
    flush();
    expect_nothing();
}

static void back_before_unsubscribe_was_sent(void **state UNUSED)
{
    struct client a, b;
    uint32_t id = join_live(&a, "lobby");

    leave(&a);
    send_publication(id, "unheard");
    while (broker_receive(broker, 10)) {
    }
    join(&b, "lobby");
    assert_string_equal(b.log, "S"); /* the hub has never heard of it */
    flush();
    expect_nothing();
    send_publication(id, "x");
    turn();
    assert_string_equal(b.log, "S(x)");
}

static void back_while_the_answer_is_awaited(void **state UNUSED)
{
    struct client a, b;
    uint32_t id;

    join(&a, "lobby");
    flush();
    expect_record(RECORD_HELLO, "");
    id = expect_record(RECORD_SUBSCRIBE, "lobby")->chan;
    leave(&a);
    join(&b, "lobby");
    assert_string_equal(b.log, "");
    send_subscribed(id);
    turn();
    assert_string_equal(b.log, "S");
    expect_nothing();
}

static void answers_for_an_earlier_id(void **state UNUSED)
{
    struct client a, b;
    uint32_t old, id;

    join(&a, "lobby");
    flush();
    expect_record(RECORD_HELLO, "");
    old = expect_record(RECORD_SUBSCRIBE, "lobby")->chan;
    leave(&a);
    flush();
    assert_int_equal(expect_record(RECORD_UNSUBSCRIBE, "lobby")->chan, old);
    join(&b, "lobby");
    flush();
    id = expect_record(RECORD_SUBSCRIBE, "lobby")->chan;
    assert_int_not_equal(id, old);
    send_subscribed(old);
    send_publication(old, "old");
    turn();
    assert_string_equal(b.log, "");
    send_subscribed(id);
    send_publication(id, "new");
    turn();
    assert_string_equal(b.log, "S(new)");
}

static void ids_are_not_used_twice(void **state UNUSED)
{
    struct client a, b;
    uint32_t id;

    id = join_live(&a, "lobby");
    broker->next_id = UINT32_MAX; /* four thousand million channels later */
    assert_int_equal(join_live(&b, "1"), UINT32_MAX);
    for (int i = 0; i < 3; i++) {
        leave(&b);
        flush();
        assert_int_not_equal(join_live(&b, "2"), id);
        assert_int_not_equal(b.sub.chan->id, 0);
    }
}

static void a_channel_limit(void **state UNUSED)
{
    struct client a, b, c;
    enum close_reason why = CLOSE_NONE;

    config.max_channels = 2;
    join(&a, "1");
    join(&b, "2");
    c.sub = (struct sub){.kind = CLIENT};
    assert_int_equal(broker_subscribe(broker, &c.sub, STR_LIT("3"), &why), -1);
    assert_int_equal(why, CLOSE_CHANNEL_LIMIT);
    assert_null(c.sub.chan);
    join(&c, "2"); /* an existing one may be joined */
    leave(&a);
    memset(&a, 0, sizeof(a));
    join(&a, "3");
}

/* The hub had no memory for the answer. */
static void asked_again_when_overdue(void **state UNUSED)
{
    struct client a, b, c;
    uint32_t id;

    join(&a, "lobby");
    flush();
    expect_record(RECORD_HELLO, "");
    id = expect_record(RECORD_SUBSCRIBE, "lobby")->chan;
    join(&b, "lobby");
    flush();
    expect_record(RECORD_COUNT, "lobby");
    clock_advance((uint64_t)config.hub_timeout + 1);
    join(&c, "lobby");
    flush();
    assert_int_equal(expect_record(RECORD_SUBSCRIBE, "lobby")->chan, id);
    expect_nothing();
    send_subscribed(id);
    send_subscribed(id);
    turn();
    assert_string_equal(a.log, "S");
    assert_string_equal(c.log, "S");
}

static void subscribe_at_every_failure(void **state UNUSED)
{
    struct client a, b[4];
    enum close_reason why;

    memset(&a, 0, sizeof(a));
    a.sub.kind = CLIENT;
    for (size_t k = 1;; k++) {
        why = CLOSE_NONE;
        fault_fail_at(k);
        int rc = broker_subscribe(broker, &a.sub, STR_LIT("lobby"), &why);
        fault_reset();

        if (rc == 0)
            break;
        assert_int_equal(why, CLOSE_NO_MEMORY);
        assert_null(a.sub.chan);
        assert_int_equal(metrics->worker_channels, 0);
        assert_true(k < 10);
    }
    join(&b[0], "lobby");
    join(&b[1], "lobby");
    b[2].sub = (struct sub){.kind = CLIENT};
    fault_fail_at(1); /* the array must grow */
    assert_int_equal(broker_subscribe(broker, &b[2].sub, STR_LIT("lobby"), &why), -1);
    fault_reset();
    assert_int_equal(a.sub.chan->count, 3);
    fault_fail_at(1);
    assert_null(broker_new(&broker->cfg));
    fault_reset();
    broker_free(NULL);
}

static void growing_and_shrinking(void **state UNUSED)
{
    static struct client c[2000];
    struct client first;
    uint32_t id = join_live(&first, "lobby");
    unsigned seed = 3;

    for (size_t i = 0; i < ARRAY_LEN(c); i++)
        join(&c[i], "lobby");
    for (size_t i = 0; i < ARRAY_LEN(c); i++) {
        size_t victim = (size_t)rand_r(&seed) % ARRAY_LEN(c);

        leave(&c[victim]);
    }
    for (uint32_t i = 0; i < first.sub.chan->count; i++)
        assert_int_equal(first.sub.chan->subs[i]->index, i);
    for (size_t i = 0; i < ARRAY_LEN(c); i++)
        leave(&c[i]);
    assert_true(first.sub.chan->cap < 32);
    send_publication(id, "x");
    turn();
    assert_string_equal(first.log, "S(x)");
}

static void statistics(void **state UNUSED)
{
    struct client a, b, c;
    struct broker_stats s;

    join_live(&a, "1");
    join(&b, "2");
    join(&c, "2");
    broker_stats(broker, &s);
    assert_int_equal(s.channels, 2);
    assert_int_equal(s.subscriptions, 3);
    assert_int_equal(s.walks, 0);
    assert_false(s.announcing);
}

static void freed_with_everything_under_way(void **state UNUSED)
{
    static struct client c[200];
    uint32_t id = join_live(&c[0], "lobby");

    for (size_t i = 1; i < ARRAY_LEN(c); i++)
        join(&c[i], "lobby");
    send_publication(id, "1");
    while (broker_receive(broker, 10)) {
    }
    task_run(&tasks, 0);
    send_publication(id, "2");
    while (broker_receive(broker, 10)) {
    }
    broker_hub_generation(broker, 7);
    broker_free(broker);
    broker = NULL;
    for (size_t i = 0; i < ARRAY_LEN(c); i++)
        assert_null(c[i].sub.chan);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, broker_setup, broker_teardown)
    const struct CMUnitTest tests[] = {
        T(the_first_asks_the_hub),
        T(the_next_is_told_at_once),
        T(one_count_per_turn),
        T(the_last_one_leaves),
        T(gone_before_the_hub_was_asked),
        T(back_before_unsubscribe_was_sent),
        T(back_while_the_answer_is_awaited),
        T(answers_for_an_earlier_id),
        T(ids_are_not_used_twice),
        T(a_channel_limit),
        T(asked_again_when_overdue),
        T(subscribe_at_every_failure),
        T(growing_and_shrinking),
        T(statistics),
        T(freed_with_everything_under_way),
    };

    return cmocka_run_group_tests_name("core/broker", tests, NULL, NULL);
}
