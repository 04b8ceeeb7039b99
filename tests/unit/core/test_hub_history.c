/* Requests for histories: complete, in pieces, for those who take them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/channel_options.h"
#include "core/hub_history.c"
#include "fault.h"

#include "hub_harness.h"
#include "late_engine.h"

static int setup(void **state)
{
    config_defaults(&config);
    config.channel_without_namespace.history_size = 300;
    config.channel_without_namespace.history_ttl = 60 * (int64_t)NS_PER_SEC;
    channel_options_changed();
    engine_new = engine_memory_new;
    return hub_setup(state);
}

static int setup_late(void **state)
{
    setup(state);
    hub_free(hub);
    engine_new = late_engine_new;
    hub_start(1);
    return 0;
}

static int teardown(void **state)
{
    config_defaults(&config);
    channel_options_changed();
    return hub_teardown(state);
}

static void ask_history(unsigned worker, const char *name, uint64_t since, uint32_t limit,
                        uint8_t flags)
{
    from(worker, (struct record){.kind = RECORD_HISTORY,
                                 .token = 42,
                                 .asker = 3,
                                 .offset = since,
                                 .count = limit,
                                 .flags = flags,
                                 .name = name_of(name)});
}

static void publish_many(const char *name, unsigned n)
{
    char text[16];

    for (unsigned i = 1; i <= n; i++) {
        snprintf(text, sizeof(text), "p%u", i);
        publish(0, name, text);
    }
}

/* The parts sent to the worker are those publications, then the last one is. */
static const struct record *parts(unsigned worker, unsigned first, unsigned end, int step)
{
    const struct record *r;
    unsigned n = 0;
    char text[16];

    for (unsigned i = first; i != end; i += (unsigned)step, n++) {
        snprintf(text, sizeof(text), "p%u", i);
        r = next_sent(worker, RECORD_HISTORY_PART);
        assert_true(r->offset == i && str_equal(r->data, name_of(text)));
        assert_int_equal(r->flags, RECORD_IN_STREAM);
        assert_int_equal(r->token, 42);
        assert_int_equal(r->asker, 3);
        assert_int_equal(r->chan, 0);
    }
    r = next_sent(worker, RECORD_HISTORY_PART);
    assert_int_equal(r->flags, RECORD_LAST);
    assert_int_equal(r->count, n);
    nothing_sent(worker);
    return r;
}

static void all_of_it(void **state)
{
    const struct record *r;

    (void)state;
    publish_many("a", 200);
    ask_history(1, "a", 0, UINT32_MAX, 0);
    nothing_sent(1); /* the work is hub_run()'s */
    run_all();
    r = parts(1, 1, 201, 1);
    assert_int_equal(r->status, ENGINE_OK);
    assert_true(r->offset == 200 && r->epoch != 0);
    assert_int_equal(hub->worker[1].histories, 0);
}

static void a_part_of_it(void **state)
{
    (void)state;
    publish_many("a", 200);
    ask_history(1, "a", 150, 30, 0);
    run_all();
    parts(1, 151, 181, 1);
    ask_history(1, "a", 0, 100, RECORD_REVERSE);
    run_all();
    parts(1, 200, 100, -1);
    ask_history(1, "a", 20, UINT32_MAX, RECORD_REVERSE);
    run_all();
    parts(1, 19, 0, -1);
    ask_history(1, "a", 0, 0, 0);
    run_all();
    assert_int_equal(parts(1, 1, 1, 1)->offset, 200);
}

static void a_channel_without(void **state)
{
    const struct record *r;

    (void)state;
    ask_history(1, "none", 0, 10, 0);
    run_all();
    r = parts(1, 1, 1, 1);
    assert_true(r->status == ENGINE_OK && r->epoch != 0 && r->offset == 0);
    config.channel_without_namespace.history_size = 0;
    channel_options_changed();
    ask_history(1, "none", 0, 10, 0);
    run_all();
    assert_int_equal(parts(1, 1, 1, 1)->status, ENGINE_REFUSED);
}

/* One that does not take its parts keeps nobody waiting, and is given up in time. */
static void whoever_does_not_read(void **state)
{
    (void)state;
    clock_set_virtual(NS_PER_SEC);
    publish_many("a", 200);
    fakes[2].room = 2;
    ask_history(2, "a", 0, UINT32_MAX, 0);
    ask_history(1, "a", 0, UINT32_MAX, 0);
    run_all();
    parts(1, 1, 201, 1);
    assert_int_equal(fakes[2].n, 2);
    assert_true(hub->worker[2].out.bytes < PIECE * 256); /* no more than a piece is held for it */
    clock_advance(limits.answer_ns);
    run_all();
    assert_true(list_empty(&hub->histories));
    fakes[2].room = UINT32_MAX;
    run_all();
    for (uint64_t i = 1; i <= PIECE; i++)
        assert_true(next_sent(2, RECORD_HISTORY_PART)->offset == i);
    assert_int_equal(next_sent(2, RECORD_HISTORY_PART)->status, ENGINE_UNAVAILABLE);
    nothing_sent(2);
    clock_set_virtual(0);
}

static void publications_meanwhile(void **state)
{
    (void)state;
    publish_many("a", 100);
    ask_history(1, "a", 0, UINT32_MAX, 0);
    (void)hub_run(hub, 1); /* the first piece */
    publish_many("a", 5);
    run_all();
    parts(1, 1, 101, 1);
}

/* Long ones come a few at a time. */
static void pieces_are_short(void **state)
{
    static char big[16000];

    (void)state;
    for (int i = 0; i < 40; i++)
        from(0, (struct record){
                    .kind = RECORD_PUBLISH, .name = STR_LIT("a"), .data = {big, sizeof(big)}});
    ask_history(1, "a", 0, 37, 0);
    for (unsigned n = 0; fakes[1].n < 38; n = fakes[1].n) {
        (void)hub_run(hub, 1);
        assert_true(fakes[1].n > n && fakes[1].n <= n + PIECE_BYTES / sizeof(big) + 2);
    }
    assert_int_equal(fakes[1].sent[37].r.flags, RECORD_LAST);
    assert_int_equal(fakes[1].sent[37].r.count, 37);
    assert_int_equal(fakes[1].sent[36].r.offset, 37);
}

/* Kept before a restart, or by another node, whose rings were larger. */
static void one_that_no_ring_holds(void **state)
{
    static char big[200];

    (void)state;
    hub_set_limits(hub, (struct hub_limits){.queue_max = QUEUE_MAX,
                                            .record_max = RECORD_OVERHEAD + 100,
                                            .answer_ns = 5 * NS_PER_SEC});
    publish_many("a", 2);
    from(0,
         (struct record){.kind = RECORD_PUBLISH, .name = STR_LIT("a"), .data = {big, sizeof(big)}});
    publish_many("a", 1);
    fakes[1].room = 2;
    ask_history(1, "a", 0, 10, 0);
    run_all();
    fakes[1].room = UINT32_MAX;
    run_all();
    assert_int_equal(next_sent(1, RECORD_HISTORY_PART)->offset, 1);
    assert_int_equal(next_sent(1, RECORD_HISTORY_PART)->offset, 2);
    assert_int_equal(next_sent(1, RECORD_HISTORY_PART)->status, ENGINE_TOO_BIG);
    nothing_sent(1);
}

static void too_many(void **state)
{
    (void)state;
    fakes[1].room = 0;
    publish_many("a", 10);
    subscribe(1, 7, "x", 1); /* its answer is queued: worker 1 does not read */
    for (unsigned i = 0; i <= HUB_HISTORIES_MAX; i++)
        ask_history(1, "a", 0, 1, 0);
    assert_int_equal(hub->worker[1].histories, HUB_HISTORIES_MAX);
    fakes[1].room = UINT32_MAX;
    run_all();
    (void)next_sent(1, RECORD_SUBSCRIBED);
    assert_int_equal(next_sent(1, RECORD_HISTORY_PART)->status, ENGINE_UNAVAILABLE);
    assert_int_equal(next_sent(1, RECORD_HISTORY_PART)->offset, 1);
    assert_int_equal(hub->worker[1].histories, 0);
}

static void a_worker_that_ends(void **state)
{
    (void)state;
    publish_many("a", 10);
    fakes[1].room = 0;
    subscribe(1, 7, "x", 1);
    ask_history(1, "a", 0, 100, 0);
    fakes[1].generation = 2;
    hub_worker_gone(hub, 1);
    fakes[1].room = UINT32_MAX;
    run_all();
    nothing_sent(1);
    assert_true(list_empty(&hub->histories));
}

static void asking_at_every_failure(void **state)
{
    (void)state;
    publish_many("a", 20);
    fakes[1].room = 0;
    for (unsigned long k = 1; k < 20; k++) {
        fault_fail_at(k);
        ask_history(1, "a", 0, 4, 0);
        run_all();
        fault_reset();
        fakes[1].room = UINT32_MAX;
        run_all();
        if (fakes[1].n > fakes[1].seen)
            assert_true(fakes[1].sent[(fakes[1].n - 1) % SENT_MAX].r.kind == RECORD_HISTORY_PART);
        assert_true(list_empty(&hub->histories));
        fakes[1].seen = fakes[1].n;
        fakes[1].room = 0;
    }
}

/* A new hub handles what the last one had only set aside. */
static void asked_while_gathering(void **state)
{
    (void)state;
    hub_free(hub);
    hub_start(2);
    publish(0, "a", "p1");
    ask_history(1, "a", 0, 10, 0);
    run_all();
    nothing_sent(1);
    for (unsigned i = 0; i < FAKES; i++)
        announced(i, 2);
    run_all();
    parts(1, 1, 2, 1);
}

/* Everybody who keeps something of the channel is told that it has been removed. */
static void removing(void **state)
{
    const struct record *r;
    uint64_t position;

    (void)state;
    subscribe(0, 5, "a", 1);
    subscribe(2, 6, "a", 1);
    r = next_sent(0, RECORD_SUBSCRIBED);
    assert_int_equal(r->flags, RECORD_IN_STREAM);
    publish(1, "a", "p1");
    fakes[0].seen = fakes[0].n;
    fakes[2].seen = fakes[2].n;
    position =
        from(1, (struct record){
                    .kind = RECORD_HISTORY_REMOVE, .token = 9, .asker = 3, .name = STR_LIT("a")});
    r = next_sent(0, RECORD_TRIMMED);
    assert_true(r->chan == 5 && r->offset == 1 && r->epoch != 0);
    r = next_sent(2, RECORD_TRIMMED);
    assert_true(r->chan == 6 && r->offset == 1);
    r = next_sent(1, RECORD_HISTORY_REMOVED);
    assert_true(r->token == 9 && r->asker == 3 && r->status == ENGINE_OK &&
                r->position == position);
    ask_history(1, "a", 0, 10, 0);
    run_all();
    assert_int_equal(parts(1, 1, 1, 1)->offset, 1);
}

static void removing_without_memory(void **state)
{
    (void)state;
    for (unsigned long k = 1; k < 3; k++) {
        fault_fail_at(k);
        from(1, (struct record){.kind = RECORD_HISTORY_REMOVE, .name = STR_LIT("a")});
        fault_reset();
    }
    fakes[1].seen = fakes[1].n;
    publish(1, "a", "p1");
    from(1, (struct record){.kind = RECORD_HISTORY_REMOVE, .name = STR_LIT("a")});
    assert_int_equal(next_sent(1, RECORD_HISTORY_REMOVED)->status, ENGINE_OK);
}

/* An engine that takes its time: the request's life ends before its call does. */
static void an_engine_that_answers_late(void **state)
{
    (void)state;
    clock_set_virtual(NS_PER_SEC);
    ask_history(1, "a", 0, 10, 0);
    ask_history(2, "a", 0, 10, 0);
    run_all();
    assert_int_equal(late.ncalls, 2);
    fakes[1].generation = 2;
    hub_worker_gone(hub, 1);
    clock_advance(limits.answer_ns);
    run_all();
    while (late_complete()) {
    }
    run_all();
    nothing_sent(1);
    assert_int_equal(next_sent(2, RECORD_HISTORY_PART)->status, ENGINE_UNAVAILABLE);
    assert_true(list_empty(&hub->histories));
    from(1, (struct record){.kind = RECORD_HISTORY_REMOVE, .name = STR_LIT("a")});
    clock_set_virtual(0);
} /* the hub ends with that call under way */

/* What is for the hub alone goes no further; the rest does, and repeats are told so. */
static void conditions_are_taken_out(void **state)
{
    struct buf fields = {0};
    uint64_t version = 7;
    struct record r = {.kind = RECORD_PUBLISH,
                       .flags = RECORD_WANT_ACK,
                       .name = STR_LIT("a"),
                       .data = STR_LIT("x")};
    const struct record *sent;
    struct str value;

    (void)state;
    assert_int_equal(record_add_field(&fields, FIELD_EXCLUDE, STR_LIT("k")), 0);
    assert_int_equal(record_add_field(&fields, FIELD_IDEMPOTENCY_KEY, STR_LIT("once")), 0);
    assert_int_equal(
        record_add_field(&fields, FIELD_VERSION,
                         (struct str){.p = (const char *)&version, .n = sizeof(version)}),
        0);
    r.fields = buf_view(&fields);
    subscribe(0, 5, "a", 1);
    (void)next_sent(0, RECORD_SUBSCRIBED);
    from(1, r);
    sent = next_sent(0, RECORD_PUBLICATION);
    assert_int_equal(sent->flags, RECORD_IN_STREAM);
    assert_int_equal(sent->fields.n, 5); /* KEY alone */
    assert_int_equal(next_sent(1, RECORD_PUBLISHED)->status, ENGINE_OK);
    from(1, r);
    sent = next_sent(1, RECORD_PUBLISHED);
    assert_true(sent->status == ENGINE_DUPLICATE && sent->offset == 1);
    assert_true(record_field(r.fields, FIELD_IDEMPOTENCY_KEY, &value));
    fields.p[value.p - fields.p] = 'O'; /* another key, the same version */
    from(1, r);
    sent = next_sent(1, RECORD_PUBLISHED);
    assert_true(sent->status == ENGINE_SUPPRESSED && sent->offset == 1);
    nothing_sent(0);
    buf_fini(&fields);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(all_of_it),
        T(a_part_of_it),
        T(a_channel_without),
        T(whoever_does_not_read),
        T(publications_meanwhile),
        T(pieces_are_short),
        T(one_that_no_ring_holds),
        T(too_many),
        T(a_worker_that_ends),
        T(asking_at_every_failure),
        T(asked_while_gathering),
        T(removing),
        T(removing_without_memory),
        cmocka_unit_test_setup_teardown(an_engine_that_answers_late, setup_late, teardown),
        T(conditions_are_taken_out),
    };

    return cmocka_run_group_tests_name("core/hub_history", tests, NULL, NULL);
}
