/* Listings: complete, in parts, bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/hub_list.c"
#include "fault.h"

#include "hub_harness.h"

static void list(unsigned worker, const char *pattern, uint32_t max)
{
    from(worker,
         (struct record){.kind = RECORD_LIST, .token = 42, .count = max, .name = name_of(pattern)});
}

static void one_channel(void **state UNUSED)
{
    const struct record *r;

    subscribe(0, 1, "lobby", 2);
    subscribe(1, 1, "lobby", 3);
    subscribe(1, 2, "other", 1);
    fakes[0].seen = fakes[0].n;
    list(0, "lob*", 10);
    nothing_sent(0); /* the work is hub_run()'s */
    run_all();
    r = next_sent(0, RECORD_LISTED);
    assert_int_equal(r->flags, RECORD_LAST);
    assert_int_equal(r->token, 42);
    assert_int_equal(r->count, 1);
    assert_true(str_equal(r->data, STR_LIT("\"lobby\":{\"num_clients\":5}")));
    nothing_sent(0);
}

static void counts_follow(void **state UNUSED)
{
    subscribe(0, 1, "lobby", 2);
    from(0, (struct record){.kind = RECORD_COUNT, .chan = 1, .count = 7, .name = STR_LIT("lobby")});
    from(0,
         (struct record){.kind = RECORD_COUNT, .chan = 2, .count = 99, .name = STR_LIT("lobby")});
    from(1,
         (struct record){.kind = RECORD_COUNT, .chan = 1, .count = 99, .name = STR_LIT("lobby")});
    from(1, (struct record){.kind = RECORD_COUNT, .chan = 1, .count = 99, .name = STR_LIT("none")});
    fakes[0].seen = fakes[0].n;
    list(0, "*", 10);
    run_all();
    assert_true(
        str_equal(next_sent(0, RECORD_LISTED)->data, STR_LIT("\"lobby\":{\"num_clients\":7}")));
}

static void nothing_matches(void **state UNUSED)
{
    const struct record *r;

    list(0, "*", 10);
    run_all();
    r = next_sent(0, RECORD_LISTED);
    assert_int_equal(r->flags, RECORD_LAST);
    assert_int_equal(r->count, 0);
    assert_int_equal(r->data.n, 0);
}

/* The page behind `after`: its text, and that `matches` channels are behind it. */
static void expect_page(const char *pattern, const char *after, uint32_t max, const char *text,
                        uint32_t matches, const char *last)
{
    const struct record *r;

    from(0, (struct record){.kind = RECORD_LIST,
                            .flags = RECORD_PAGE,
                            .token = 42,
                            .count = max,
                            .name = name_of(pattern),
                            .data = name_of(after)});
    run_all();
    r = next_sent(0, RECORD_LISTED);
    assert_int_equal(r->flags, RECORD_LAST);
    assert_int_equal(r->status, ENGINE_OK);
    assert_true(str_equal(r->data, name_of(text)));
    assert_int_equal(r->count, matches);
    assert_true(str_equal(r->name, name_of(last)));
    nothing_sent(0);
}

#define ONE(name) "\"" name "\":{\"num_clients\":1}"
static void pages(void **state UNUSED)
{
    static const char *const names[] = {"b", "a", "ab", "ca", "c", "d"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        subscribe(0, (uint32_t)i + 1, names[i], 1);
    fakes[0].seen = fakes[0].n;
    expect_page("*", "", 2, ONE("a") "," ONE("ab"), 6, "ab");
    expect_page("*", "ab", 2, ONE("b") "," ONE("c"), 4, "c");
    expect_page("*", "c", 2, ONE("ca") "," ONE("d"), 2, "d");
    expect_page("*", "d", 2, "", 0, "");
    expect_page("*", "aa", 1, ONE("ab"), 5, "ab"); /* no channel of that name */
    expect_page("c*", "a", 9, ONE("c") "," ONE("ca"), 2, "ca");
    expect_page("*", "", 0, "", 6, "");
}

#define MANY(name, n) "\"" name "\":{\"num_clients\":" #n "}"
static void expect_top(const char *pattern, uint32_t max, const char *text, uint32_t matches)
{
    const struct record *r;

    from(0, (struct record){.kind = RECORD_LIST,
                            .flags = RECORD_PAGE | RECORD_TOP | RECORD_HERE,
                            .token = 42,
                            .count = max,
                            .name = name_of(pattern)});
    run_all();
    r = next_sent(0, RECORD_LISTED);
    assert_int_equal(r->status, ENGINE_OK);
    assert_true(str_equal(r->data, name_of(text)));
    assert_int_equal(r->count, matches);
    nothing_sent(0);
}

static void those_with_the_most_subscribers(void **state UNUSED)
{
    static const char *const names[] = {"b", "a", "ab", "ca", "c", "d"};
    static const uint32_t clients[] = {3, 7, 3, 1, 9, 7};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        subscribe(0, (uint32_t)i + 1, names[i], clients[i]);
    fakes[0].seen = fakes[0].n;
    expect_top("*", 3, MANY("c", 9) "," MANY("a", 7) "," MANY("d", 7), 6);
    expect_top("?", 9, MANY("c", 9) "," MANY("a", 7) "," MANY("d", 7) "," MANY("b", 3), 4);
    expect_top("*b", 1, MANY("ab", 3), 2); /* of as many, the first name */
    expect_top("x", 1, "", 0);
    expect_top("*", 0, "", 6);
}

static void a_page_without_memory(void **state UNUSED)
{
    subscribe(0, 1, "a", 1);
    subscribe(0, 2, "b", 1);
    fakes[0].seen = fakes[0].n;
    for (size_t k = 1; k <= 4; k++) {
        fault_fail_at(k);
        from(0, (struct record){.kind = RECORD_LIST,
                                .flags = RECORD_PAGE,
                                .token = 42,
                                .count = 5,
                                .name = STR_LIT("*")});
        run_all();
        fault_reset();
        run_all();
        /* Whole or refused, now or when there is memory again. */
        assert_int_equal(next_sent(0, RECORD_LISTED)->flags, RECORD_LAST);
        nothing_sent(0);
    }
}

/* Counts the members in what was sent, and that every name comes once. */
static unsigned members(unsigned worker, unsigned char seen[], unsigned cap, uint32_t *matches)
{
    unsigned n = 0;
    bool last = false;

    while (!last) {
        const struct fake *f = &fakes[worker];
        struct record *r;
        const char *p;

        assert_true(f->seen < f->n);
        r = &fakes[worker].sent[fakes[worker].seen++].r;
        assert_int_equal(r->kind, RECORD_LISTED);
        last = r->flags & RECORD_LAST;
        *matches = r->count;
        for (p = r->data.p; (p = memchr(p, '#', (size_t)(r->data.p + r->data.n - p))) != NULL;
             p++) {
            unsigned i = (unsigned)strtoul(p + 1, NULL, 10);

            assert_true(i < cap);
            assert_int_equal(seen[i], 0);
            seen[i] = 1;
            n++;
        }
    }
    return n;
}

static struct { /* the harness keeps the beginning of data only */
    char bytes[20000];
} parts[64];
static unsigned nparts;

static int keep_send(void *arg, unsigned worker, const struct record *r)
{
    int rc = fake_send(arg, worker, r);

    if (rc == 0 && r->kind == RECORD_LISTED) {
        assert_true(nparts < ARRAY_LEN(parts) && r->data.n < sizeof(parts[0].bytes));
        if (r->data.n > 0)
            memcpy(parts[nparts].bytes, r->data.p, r->data.n);
        fakes[worker].sent[fakes[worker].n - 1].r.data.p = parts[nparts++].bytes;
    }
    return rc;
}

static const struct hub_ops keep_ops = {.send = keep_send, .generation = fake_generation};

static int setup_many(void **state)
{
    char name[300];

    hub_setup(state);
    hub_free(hub);
    nparts = 0;
    hub = hub_new(FAKES, 1, engine_memory_new(), &keep_ops, fakes);
    hub_set_limits(hub, limits);
    hub_go_live(hub);
    for (unsigned i = 0; i < 1000; i++) {
        int n = snprintf(name, sizeof(name), "%s#%u", i % 2 ? "odd" : "even", i);

        /* Some names as long as they may be. */
        for (; i % 50 == 0 && n < CHANNEL_NAME_MAX; n++)
            name[n] = 'x';
        name[n] = '\0';
        subscribe(0, i + 1, name, i + 1);
    }
    fakes[0].seen = fakes[0].n;
    return 0;
}

static void many_channels_in_parts(void **state UNUSED)
{
    unsigned char seen[1000] = {0};
    uint32_t matches;

    list(1, "*", UINT32_MAX);
    run_all();
    assert_true(nparts > 3);
    assert_int_equal(members(1, seen, 1000, &matches), 1000);
    assert_int_equal(matches, 1000);
    nothing_sent(1);
}

static void no_more_than_wanted(void **state UNUSED)
{
    unsigned char seen[1000] = {0};
    uint32_t matches;

    list(1, "odd*", 10);
    run_all();
    assert_int_equal(members(1, seen, 1000, &matches), 10);
    assert_int_equal(matches, 500);
}

/* Channels that come while the listing runs make the table grow; none is listed twice. */
static void growth_while_listing(void **state UNUSED)
{
    unsigned char seen[9000] = {0};
    uint32_t matches;
    char name[32];

    list(1, "*", UINT32_MAX);
    for (unsigned i = 1000; i < 9000; i++) {
        snprintf(name, sizeof(name), "new#%u", i);
        subscribe(0, i + 1, name, 1);
        if (i % 4 == 0)
            hub_run(hub, 1);
    }
    run_all();
    assert_true(members(1, seen, 9000, &matches) >= 1000);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(seen[i], 1); /* who was there all the time is listed */
}

static void waits_for_the_asker(void **state UNUSED)
{
    unsigned char seen[1000] = {0};
    uint32_t matches;

    fakes[1].room = 1;
    list(1, "*", UINT32_MAX);
    run_all();
    assert_int_equal(fakes[1].n, 1);
    assert_true(metrics->hub_queue_bytes < 3 * PART_SIZE);
    fakes[1].room = 100;
    run_all();
    assert_int_equal(members(1, seen, 1000, &matches), 1000);
}

static void several_at_once(void **state UNUSED)
{
    unsigned char seen[3][1000] = {{0}};
    uint32_t matches;

    list(1, "odd*", 5);
    list(2, "even*", 7);
    list(1, "*", 3);
    run_all();
    assert_int_equal(members(1, seen[0], 1000, &matches), 5);
    assert_int_equal(members(2, seen[1], 1000, &matches), 7);
    assert_int_equal(members(1, seen[2], 1000, &matches), 3);
    assert_int_equal(matches, 1000);
}

/* The last part says that there is no listing. */
static void refused(unsigned worker)
{
    const struct record *r = next_sent(worker, RECORD_LISTED);

    assert_int_equal(r->flags, RECORD_LAST);
    assert_int_equal(r->status, ENGINE_UNAVAILABLE);
    assert_int_equal(r->data.n, 0);
}

static void too_many_are_refused_and_the_ring_goes_on(void **state UNUSED)
{
    uint32_t matches;
    unsigned char seen[1000] = {0};

    for (unsigned n = 0; n < HUB_LISTINGS_MAX; n++)
        list(1, "*", 1);
    nothing_sent(1);
    list(1, "*", 1);
    refused(1);
    assert_true(hub_wants(hub, 1));
    list(2, "*", 1); /* of another worker */
    run_all();
    for (unsigned n = 0; n < HUB_LISTINGS_MAX; n++) {
        memset(seen, 0, sizeof(seen));
        assert_int_equal(members(1, seen, 1000, &matches), 1);
    }
    memset(seen, 0, sizeof(seen));
    assert_int_equal(members(2, seen, 1000, &matches), 1);
}

/* Sixteen listings of a worker that hangs: nobody else waits for them, and they end. */
static void who_does_not_read_is_passed_over(void **state UNUSED)
{
    unsigned char seen[1000] = {0};
    uint32_t matches;

    clock_set_virtual(NS_PER_SEC);
    fakes[1].room = 0;
    list(1, "*", 1);
    run_all(); /* it finds no room for its part */
    for (unsigned n = 1; n < HUB_LISTINGS_MAX; n++)
        list(1, "*", 1); /* wait */
    list(2, "odd*", 1);
    run_all();
    assert_int_equal(members(2, seen, 1000, &matches), 1);
    assert_true(hub_wants(hub, 1) && hub_wants(hub, 2));
    clock_set_virtual(NS_PER_SEC + limits.answer_ns);
    fakes[1].room = 1000;
    run_all();
    memset(seen, 0, sizeof(seen));
    assert_int_equal(members(1, seen, 1000, &matches), 1);
    for (unsigned n = 1; n < HUB_LISTINGS_MAX; n++)
        refused(1);
    nothing_sent(1);
    clock_set_virtual(0);
}

/* One that hangs in the middle of its listing does not hold up the next. */
static void who_stops_reading_is_given_up(void **state UNUSED)
{
    unsigned char seen[1000] = {0};
    uint32_t matches;

    clock_set_virtual(NS_PER_SEC);
    fakes[1].room = 1;
    list(1, "*", UINT32_MAX);
    list(2, "odd*", 1);
    run_all();
    nothing_sent(2); /* a short while */
    clock_set_virtual(2 * NS_PER_SEC + NS_PER_SEC / 2);
    run_all();
    assert_int_equal(members(2, seen, 1000, &matches), 1);
    clock_set_virtual(0);
}

static void the_asker_ends(void **state UNUSED)
{
    list(1, "*", UINT32_MAX);
    hub_run(hub, 10);
    fakes[1].generation = 0;
    hub_worker_gone(hub, 1);
    fakes[1].n = fakes[1].seen = 0;
    fakes[1].generation = 2;
    list(1, "none", 1);
    run_all();
    assert_int_equal(next_sent(1, RECORD_LISTED)->count, 0);
    nothing_sent(1);
}

static void no_memory(void **state UNUSED)
{
    fault_fail_at(1);
    list(1, "*", 1);
    fault_reset();
    refused(1);
    fakes[1].room = 0;
    list(1, "*", UINT32_MAX);
    fault_fail_at(1);
    run_all();
    fault_reset();
    run_all();
    fakes[1].room = 100;
    run_all();
    refused(1); /* a part is missing */
    nothing_sent(1);
    assert_true(hub_wants(hub, 1));
    list(1, "nix", 1);
    run_all();
    assert_int_equal(next_sent(1, RECORD_LISTED)->flags, RECORD_LAST);
}

int main(void)
{
#define T(f, setup) cmocka_unit_test_setup_teardown(f, setup, hub_teardown)
    const struct CMUnitTest tests[] = {
        T(one_channel, hub_setup),
        T(counts_follow, hub_setup),
        T(nothing_matches, hub_setup),
        T(pages, hub_setup),
        T(those_with_the_most_subscribers, hub_setup),
        T(a_page_without_memory, hub_setup),
        T(many_channels_in_parts, setup_many),
        T(no_more_than_wanted, setup_many),
        T(growth_while_listing, setup_many),
        T(waits_for_the_asker, setup_many),
        T(several_at_once, setup_many),
        T(too_many_are_refused_and_the_ring_goes_on, setup_many),
        T(who_does_not_read_is_passed_over, setup_many),
        T(who_stops_reading_is_given_up, setup_many),
        T(the_asker_ends, setup_many),
        T(no_memory, setup_many),
    };

    return cmocka_run_group_tests_name("core/hub_list", tests, NULL, NULL);
}
