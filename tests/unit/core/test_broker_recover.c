/* Recovery: what was missed comes once, from one request to the hub, in steps, and nothing is missing
 * between it and what is delivered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/broker_recover.c"
#include "fault.h"

#include "recover_world.h"

#define CROWD 1000

static struct client crowd[CROWD];

static void what_was_missed_comes_in_order(void **state)
{
    struct client a, b;

    (void)state;
    join_recovering(&a, 9, 7);
    assert_string_equal(a.log, "S"); /* never from within the call */
    turns();
    assert_string_equal(a.log, "SR<p8 p9 p10 @10>");
    assert_int_equal(stream.requests, 1);
    next_publication();
    turns();
    assert_string_equal(a.log, "SR<p8 p9 p10 @10>(p11)");
    join_recovering(&b, 9, 9); /* from the tail */
    turns();
    assert_string_equal(b.log, "SR<p10 p11 @11>");
    assert_int_equal(stream.requests, 1);
    assert_int_equal(metrics->recovered, 2);
}

static void who_has_missed_nothing(void **state)
{
    struct client a;

    (void)state;
    join_recovering(&a, 9, 10);
    turns();
    assert_string_equal(a.log, "SR<@10>");
    assert_int_equal(stream.requests, 0);
}

static void what_cannot_be_recovered(void **state)
{
    struct client a;

    (void)state;
    stream.oldest = 5;
    join_recovering(&a, 8, 9); /* another epoch */
    turns();
    assert_string_equal(a.log, "SN<@10>");
    leave(&a);
    join_recovering(&a, 9, 11); /* more than there is */
    turns();
    assert_string_equal(a.log, "SN<@10>");
    assert_int_equal(stream.requests, 0);
    leave(&a);
    join_recovering(&a, 9, 3); /* 4 is gone */
    turns();
    assert_string_equal(a.log, "SN<@10>");
    leave(&a);
    join_recovering(&a, 9, 4);
    turns();
    assert_string_equal(a.log, "SR<p5 p6 p7 p8 p9 p10 @10>");
    leave(&a);
    for (int i = 0; i < 50; i++)
        next_publication();
    turns();
    join_recovering(&a, 9, 9); /* more than its limit */
    turns();
    assert_string_equal(a.log, "SN<@60>");
    assert_int_equal(metrics->not_recovered, 4);
    assert_int_equal(stream.requests, 1);
}

/* Offset 0 without an epoch: all of it, if all of it is there. */
static void from_the_beginning(void **state)
{
    struct client a, b;

    (void)state;
    join_recovering(&a, 0, 0);
    turns();
    assert_string_equal(a.log, "SR<p1 p2 p3 p4 p5 p6 p7 p8 p9 p10 @10>");
    leave(&a);
    leave(&anchor);
    turns();
    stream.top = 0;
    stream.epoch = 10;
    join_recovering(&b, 0, 0);
    turns();
    assert_string_equal(b.log, "SR<@0>"); /* an empty one */
}

static void the_latest_alone(void **state)
{
    struct client a;

    (void)state;
    join_recovering(&a, 3, 77);
    a.want.latest = true;
    leave(&a);
    a.want = (struct recover){.since = {3, 77}, .limit = 1, .latest = true};
    memset(a.log, 0, sizeof(a.log));
    a.n = 0;
    {
        enum close_reason why;

        assert_int_equal(broker_subscribe(broker, &a.sub, STR_LIT("a"), &why), 0);
        turns();
        assert_string_equal(a.log, "SR<p10 @10>"); /* whatever it knew */
        leave(&a);
        a.want.since = (struct position){9, 10};
        assert_int_equal(broker_subscribe(broker, &a.sub, STR_LIT("a"), &why), 0);
        turns();
        assert_string_equal(a.log, "SR<p10 @10>SR<@10>"); /* it knows it */
        leave(&a);
        assert_true(to_broker(
            (struct record){.kind = RECORD_TRIMMED, .chan = id, .epoch = 9, .offset = 10}));
        stream.oldest = 11;
        turns();
        assert_int_equal(broker_subscribe(broker, &a.sub, STR_LIT("a"), &why), 0);
        turns();
        assert_string_equal(a.log, "SR<p10 @10>SR<@10>SN<@10>"); /* there is none */
    }
}

/* However many recover, the hub is asked once. */
static void a_storm_asks_the_hub_once(void **state)
{
    unsigned steps = 0;

    (void)state;
    for (unsigned i = 0; i < CROWD; i++)
        join_recovering(&crowd[i], 9, i % 11);
    turns();
    assert_int_equal(stream.requests, 1);
    assert_int_equal(metrics->tail_fetches, 1);
    for (unsigned i = 0; i < CROWD; i++) {
        assert_int_equal(crowd[i].at.offset, 10);
        assert_true(crowd[i].log[1] == 'R');
        leave(&crowd[i]);
    }
    turns();
    for (unsigned i = 0; i < CROWD; i++) /* and not again */
        join_recovering(&crowd[i], 9, i % 11);
    for (; task_run(&tasks, 0); steps++)
        assert_true(crowd[CROWD - 1].n == 1); /* one after the other */
    assert_true(steps >= CROWD / SLICE);
    turns();
    assert_int_equal(stream.requests, 1);
    for (unsigned i = 0; i < CROWD; i++)
        leave(&crowd[i]);
}

/* Publications go on while many recover: each gets all of them, once it skips what it knows. */
static void a_storm_under_publications(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CROWD; i++)
        join_recovering(&crowd[i], 9, 5 + i % 6);
    play_hub();
    for (int k = 0; k < 400; k++) {
        if (k % 3 == 0 && stream.top < 200)
            next_publication();
        (void)broker_receive(broker, 1);
        (void)task_run(&tasks, 0);
        if (k % 5 == 0)
            play_hub();
    }
    turns();
    assert_int_equal(stream.requests, 1);
    for (unsigned i = 0; i < CROWD; i++) {
        char want[16];
        const char *p = crowd[i].log;
        uint64_t last = 5 + i % 6;

        assert_true(strncmp(p, "SR<", 3) == 0);
        while ((p = strchr(p, 'p')) != NULL) {
            uint64_t o = strtoul(p + 1, NULL, 10);

            assert_true(o <= last + 1); /* no gap */
            last = MAX(last, o);
            p++;
        }
        snprintf(want, sizeof(want), "p%u", (unsigned)last);
        assert_int_equal(last, stream.top);
        leave(&crowd[i]);
    }
}

static void who_leaves_meanwhile(void **state)
{
    (void)state;
    stream.silent = true;
    for (unsigned i = 0; i < 10; i++)
        join_recovering(&crowd[i], 9, 5);
    turns();
    for (unsigned i = 0; i < 5; i++)
        leave(&crowd[i]);
    assert_int_equal(broker->recovering.count, 5);
    for (unsigned i = 5; i < 10; i++)
        leave(&crowd[i]);
    turns();
    leave(&anchor); /* with the tail, while the fetch is under way */
    turns();
    assert_int_equal(broker->recovering.count, 0);
    assert_true(list_empty(&broker->fetching));
}

static int encode(const struct batch *b, uint32_t item, struct batch_part *part UNUSED,
                  size_t max UNUSED, struct buf *out)
{
    return buf_append(out, batch_payload(b, item));
}

static void variants_are_made_first(void **state)
{
    struct client a;

    (void)state;
    batch_register(ENCODING_PLAIN_ENVELOPE, encode);
    join_recovering(&a, 9, 8);
    a.want.variant[0] = 0;
    leave(&a);
    a.want.variant[1] = BATCH_PLAIN_ENVELOPE;
    a.n = 0;
    {
        enum close_reason why;

        assert_int_equal(broker_subscribe(broker, &a.sub, STR_LIT("a"), &why), 0);
    }
    turns();
    assert_string_equal(a.log, "SR<p9 p10 @10>");
}

/* Whatever allocation fails: it is recovered, not recovered, or was not taken on. */
static void recovering_at_every_failure(void **state)
{
    (void)state;
    for (unsigned long k = 1; k < 60; k++) {
        struct client a;
        enum close_reason why;

        memset(&a, 0, sizeof(a));
        a.sub.kind = CLIENT;
        if (broker_subscribe(broker, &a.sub, STR_LIT("a"), &why) == -1)
            continue;
        a.want = (struct recover){.since = {9, 8}, .limit = 50};
        fault_fail_at(k);
        if (broker_recover(broker, &a.sub, &a.want) == -1) {
            fault_reset();
            assert_true(a.sub.live);
        } else {
            turns();
            fault_reset();
            turns();
            assert_true(a.sub.live);
            if (strcmp(a.log, "SR<p9 p10 @10>") != 0)
                assert_string_equal(a.log, "SN<@10>");
        }
        leave(&a);
        leave(&anchor); /* the tail too */
        turns();
        join(&anchor, "a");
        turns();
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_was_missed_comes_in_order),
        T(who_has_missed_nothing),
        T(what_cannot_be_recovered),
        T(from_the_beginning),
        T(the_latest_alone),
        T(a_storm_asks_the_hub_once),
        T(a_storm_under_publications),
        T(who_leaves_meanwhile),
        T(variants_are_made_first),
        T(recovering_at_every_failure),
    };

    return cmocka_run_group_tests_name("core/broker_recover", tests, NULL, NULL);
}
