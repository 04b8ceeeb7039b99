/* Tails: what a worker keeps of a channel ends where the channel stands, whatever happens to the hub
 * and on the way from it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/broker_tail.c"

#include "recover_world.h"

/* What was lost on the way to the worker is fetched too; those who recover do not notice. */
static void a_loss_meanwhile(void **state)
{
    struct client a, b;

    (void)state;
    join_recovering(&a, 9, 8);
    turns();
    stream.top = 13; /* 11, 12, 13 never came */
    assert_true(to_broker(
        (struct record){.kind = RECORD_LOST, .chan = id, .epoch = 9, .offset = stream.top}));
    turns();
    assert_string_equal(a.log, "SR<p9 p10 @10>L");
    join_recovering(&b, 9, 9);
    turns();
    assert_string_equal(b.log, "SR<p10 p11 p12 p13 @13>");
    assert_int_equal(stream.requests, 2);
}

/* Whoever recovers before the word of a loss is passed on may hear of it still: the word says how far
 * it goes, and that is what it has. */
static void a_loss_that_was_recovered(void **state)
{
    struct client a;

    (void)state;
    stream.top = 13;
    assert_true(to_broker(
        (struct record){.kind = RECORD_LOST, .chan = id, .epoch = 9, .offset = stream.top}));
    while (broker_receive(broker, 100)) {
    }
    join_recovering(&a, 9, 9);
    turns();
    assert_true(strncmp(a.log, "SR<p10 p11 p12 p13 @13>", 23) == 0);
    assert_true(anchor.lost_to.epoch == 9 && anchor.lost_to.offset == 13);
    if (a.log[23] != '\0') {
        assert_string_equal(a.log + 23, "L");
        assert_true(a.lost_to.epoch == a.at.epoch && a.lost_to.offset <= a.at.offset);
    }
}

static void the_hub_starts_again(void **state)
{
    struct client a;

    (void)state;
    stream.silent = true;
    join_recovering(&a, 9, 5);
    turns();
    assert_string_equal(a.log, "S");
    stream.silent = false;
    stream.epoch = 20;
    stream.top = 0;
    broker_hub_generation(broker, 2);
    turns();
    assert_string_equal(a.log, "SN<@0>");
    assert_int_equal(a.at.epoch, 20);
    assert_string_equal(anchor.log, "SE");
    assert_int_equal(anchor.at.epoch, 20);
    next_publication();
    turns();
    assert_string_equal(anchor.log, "SE(p1)");
    assert_string_equal(a.log, "SN<@0>(p1)");
}

/* The same history under another hub: asked for again. */
static void a_hub_that_kept_its_history(void **state)
{
    struct client a;

    (void)state;
    stream.silent = true;
    join_recovering(&a, 9, 8);
    turns();
    stream.silent = false;
    broker_hub_generation(broker, 2);
    turns();
    assert_string_equal(a.log, "SR<p9 p10 @10>");
    assert_string_equal(anchor.log, "S");
    assert_int_equal(stream.requests, 2);
}

static void the_hub_does_not_answer(void **state)
{
    struct client a, b;

    (void)state;
    stream.silent = true;
    join_recovering(&a, 9, 8);
    turns();
    clock_advance((uint64_t)config.hub_timeout + 1);
    turns();
    assert_string_equal(a.log, "SN<@10>");
    stream.silent = false;
    stream.status = ENGINE_UNAVAILABLE;
    join_recovering(&b, 9, 8);
    turns();
    assert_string_equal(b.log, "SN<@10>");
    leave(&b);
    join_recovering(&b, 9, 8);
    b.ends = true;
    turns();
    assert_string_equal(b.log, "SU");
    assert_false(b.sub.live || b.sub.recovering);
    leave(&b);
    stream.status = ENGINE_OK;
    join_recovering(&b, 9, 8);
    turns();
    assert_string_equal(b.log, "SR<p9 p10 @10>");
}

/* The hub cannot say it and never will: to come again would be in vain. */
static void one_that_no_ring_holds(void **state)
{
    struct client a;

    (void)state;
    stream.status = ENGINE_TOO_BIG;
    join_recovering(&a, 9, 8);
    a.ends = true;
    turns();
    assert_string_equal(a.log, "SN<@10>");
    assert_true(a.sub.live);
}

static void publications_expire_here_too(void **state)
{
    struct client a;

    (void)state;
    join_recovering(&a, 9, 8);
    turns();
    leave(&a);
    next_publication();
    turns();
    clock_advance(61 * NS_PER_SEC);
    join_recovering(&a, 9, 8);
    turns();
    assert_string_equal(a.log, "SN<@11>");
    assert_int_equal(stream.requests, 1);
}

/* What stands in no stream is delivered, and is no part of what is recovered. */
static void what_is_not_kept(void **state)
{
    struct client a, b;

    (void)state;
    join_recovering(&a, 9, 8);
    turns();
    deliver(stream.top, RECORD_SKIP_HISTORY);
    next_publication();
    turns();
    assert_string_equal(a.log, "SR<p9 p10 @10>(p10)(p11)");
    join_recovering(&b, 9, 9);
    turns();
    assert_string_equal(b.log, "SR<p10 p11 @11>");
    assert_int_equal(stream.requests, 1);
}

static void a_tail_nobody_uses_is_given_up(void **state)
{
    struct client a;

    (void)state;
    config.channel_without_namespace.history_ttl = 6000 * (int64_t)NS_PER_SEC;
    join_recovering(&a, 9, 8);
    turns();
    next_publication();
    turns();
    assert_true(metrics->tail_bytes > 0);
    clock_advance(61 * NS_PER_SEC);
    next_publication();
    turns();
    assert_int_equal(metrics->tail_bytes, 0);
    leave(&a);
    join_recovering(&a, 9, 10);
    turns();
    assert_string_equal(a.log, "SR<p11 p12 @12>");
    assert_int_equal(stream.requests, 2);
}

static void large_publications(void **state)
{
    static char big[4000];
    struct client a;

    (void)state;
    stream.silent = true;
    stream.top = 0;
    leave(&anchor);
    turns();
    join(&anchor, "a");
    join_recovering(&a, 9, 0);
    turns();
    assert_string_equal(a.log, "SR<@0>");
    for (unsigned i = 0; i < 60; i++) {
        assert_true(to_broker((struct record){.kind = RECORD_PUBLICATION,
                                              .flags = RECORD_IN_STREAM,
                                              .chan = id,
                                              .epoch = 9,
                                              .offset = ++stream.top,
                                              .position = next_position += 8,
                                              .data = {big, sizeof(big)}}));
        turn();
    }
    assert_true(anchor.sub.chan->tail->n == 50); /* as many as somebody may want */
    anchor.sub.chan->tail->bytes += 2 * 1024 * 1024;
    tail_settle(anchor.sub.chan->tail);
    assert_int_equal(anchor.sub.chan->tail->n, 0);
    assert_false(anchor.sub.chan->tail->complete);
    anchor.sub.chan->tail->bytes = 0;
}

static struct str previous;
static unsigned nprevious;

static void look_at_previous(struct sub *s, struct batch *b)
{
    static char text[16];

    on_deliver(s, b);
    previous = STR_NULL;
    if (b->previous == NULL)
        return;
    nprevious++;
    memcpy(text, b->previous->data, b->previous->len);
    previous = (struct str){text, b->previous->len};
}

/* For differences: what the batch's first publication follows. */
static void what_was_before(void **state)
{
    static struct sink_ops ops;
    static const struct sink_ops *table[KINDS];
    struct client a;

    (void)state;
    ops = client_ops;
    ops.deliver = look_at_previous;
    memcpy(table, sinks, sizeof(table));
    table[CLIENT] = &ops;
    broker->cfg.sinks = table;
    next_publication();
    turns();
    assert_null(previous.p);
    assert_int_equal(broker_want_previous(broker, &anchor.sub), 0);
    next_publication();
    turns();
    assert_null(previous.p); /* it was not kept yet */
    next_publication();
    next_publication();
    turns();
    assert_true(str_equal(previous, STR_LIT("p12")));
    next_publication();
    turns();
    assert_true(str_equal(previous, STR_LIT("p14")));
    /* Across a recovery: the first that is delivered follows the last recovered one. */
    leave(&anchor);
    turns();
    join(&anchor, "a");
    turns();
    join_recovering(&a, 9, 13);
    assert_int_equal(broker_want_previous(broker, &a.sub), 0);
    turns();
    assert_string_equal(a.log, "SR<p14 p15 @15>");
    next_publication();
    turns();
    assert_string_equal(a.log, "SR<p14 p15 @15>(p16)");
    assert_true(str_equal(previous, STR_LIT("p15")));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_loss_meanwhile),
        T(a_loss_that_was_recovered),
        T(the_hub_starts_again),
        T(a_hub_that_kept_its_history),
        T(the_hub_does_not_answer),
        T(publications_expire_here_too),
        T(one_that_no_ring_holds),
        T(what_is_not_kept),
        T(a_tail_nobody_uses_is_given_up),
        T(large_publications),
        T(what_was_before),
    };

    return cmocka_run_group_tests_name("core/broker_tail", tests, NULL, NULL);
}
