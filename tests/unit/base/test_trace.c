/* What is told of, to whom, and that it costs nothing when nobody asks. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/trace.h"

/* A request is copied half before and half after its worker has put another one there, so often. */
static struct {
    struct trace_place *place;
    unsigned often;
    bool prolonged; /* it is the same, and only goes on */
} meanwhile;

static void *copy_meanwhile(void *to, const void *from, size_t n);
#define memcpy(to, from, n) copy_meanwhile(to, from, n)
#include "base/trace.c"
#undef memcpy

#define AREAS  3 /* the hub's and two workers' */
#define CONN   UINT64_C(805306377)
#define START  (1000 * NS_PER_SEC)
#define LASTS  (5 * NS_PER_SEC)
#define STRIDE sizeof(struct trace_area)

static struct trace_area *areas;
static const uint8_t somewhere[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 7};

static void *copy_meanwhile(void *to, const void *from, size_t n)
{
    struct trace_place *p = meanwhile.place;

    memcpy(to, from, n);
    if (meanwhile.often == 0 || from != (const void *)&p->request)
        return to;
    meanwhile.often--;
    if (!meanwhile.prolonged) {
        p->request.id++;
        memset(p->request.channel, 'n', sizeof(p->request.channel));
        memcpy((char *)to + n / 2, (const char *)from + n / 2, n - n / 2);
    }
    atomic_fetch_add(&p->until_ns, 1);
    return to;
}

/* This process becomes another one. */
static void be(unsigned i)
{
    trace_open(&areas[i], areas, STRIDE, AREAS, i == 0 ? TRACE_NOBODY : i - 1);
    trace_look(clock_ns());
}

static int setup(void **state UNUSED)
{
    clock_set_virtual(START);
    areas = calloc(AREAS, STRIDE);
    assert_non_null(areas);
    be(1);
    return 0;
}

static int teardown(void **state UNUSED)
{
    trace_open(NULL, NULL, 0, 0, 0);
    trace_address = NULL;
    free(areas);
    clock_set_virtual(0);
    return 0;
}

static struct trace_request of_conn(unsigned worker, uint64_t conn)
{
    return (struct trace_request){
        .id = 7, .of = TRACE_OF_CONN, .worker = (uint16_t)worker, .conn = conn};
}

static struct trace_request of_channel(const char *name)
{
    struct trace_request r = {.id = 8, .of = TRACE_OF_CHANNEL, .len = (uint8_t)strlen(name)};

    memcpy(r.channel, name, r.len);
    return r;
}

/* By this process, and heard by it. */
static void ask(struct trace_request r)
{
    uint64_t began;

    assert_int_equal(trace_ask(&r, clock_ns() + LASTS, &began), 0);
    clock_advance(TRACE_LOOK_NS);
    trace_look(clock_ns());
}

static uint64_t written(unsigned i)
{
    return atomic_load(&areas[i].written);
}

static struct trace_record last_of(unsigned i)
{
    struct trace_record r;

    assert_true(trace_read(&areas[i], written(i), &r));
    return r;
}

static void nobody_asks(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_LEN(gates); i++)
        assert_int_equal(gates[i]->any, 0);
    TRACE(read, CONN, STR_NULL, 5);
    assert_int_equal(written(1), 0);
}

static void a_connection_is_told_of(void **state UNUSED)
{
    struct trace_record r;

    ask(of_conn(0, CONN));
    TRACE(read, CONN, STR_NULL, 5);
    TRACE(read, CONN + 1, STR_NULL, 6);
    TRACE(deliver, CONN, STR_LIT("news"), 1, 2, 3);
    TRACE_FOR(take, 1, CONN, STR_LIT("news"), 9); /* another worker's of the same number */
    assert_int_equal(written(1), 2);
    assert_true(trace_read(&areas[1], 1, &r));
    assert_int_equal(r.event, TRACE_read);
    assert_int_equal(r.conn, CONN);
    assert_int_equal(r.worker, 0);
    assert_int_equal(r.field[0], 5);
    assert_int_equal(r.request, 7);
    assert_int_equal(r.len, 0);
    assert_int_equal(r.time_ns, clock_ns());
    r = last_of(1);
    assert_int_equal(r.event, TRACE_deliver);
    assert_memory_equal(r.text, "news", r.len);
    assert_int_equal(r.field[2], 3);
    assert_false(trace_read(&areas[1], 3, &r));
}

static void of_whichever_worker(void **state UNUSED)
{
    ask(of_conn(TRACE_NOBODY, CONN));
    TRACE(read, CONN, STR_NULL, 5);
    TRACE_FOR(take, 1, CONN, STR_LIT("news"), 9);
    TRACE(read, CONN + 1, STR_NULL, 5);
    TRACE(fanout, 0, STR_LIT("news"), 9);
    assert_int_equal(written(1), 2);
    t.worker = TRACE_NOBODY; /* the hub's connections, to its engine, are nobody's */
    TRACE(read, CONN, STR_NULL, 5);
    assert_int_equal(written(1), 2);
}

static void another_process_asks(void **state UNUSED)
{
    ask(of_conn(1, CONN));
    clock_advance(TRACE_LOOK_NS);
    /* The hub, which knows whose connection it was. */
    t.own = &areas[0];
    t.worker = TRACE_NOBODY;
    trace_look(clock_ns());
    assert_int_equal(atomic_load(&areas[0].looked_ns), clock_ns());
    TRACE_FOR(take, 1, CONN, STR_LIT("news"), 9);
    TRACE_FOR(take, 0, CONN, STR_LIT("news"), 9);
    assert_int_equal(written(0), 1);
    assert_int_equal(last_of(0).worker, 1);
}

static void it_is_looked_for_before_what_comes(void **state UNUSED)
{
    struct trace_request r = of_conn(0, CONN);
    uint64_t began;

    assert_int_equal(trace_ask(&r, clock_ns() + LASTS, &began), 0);
    trace_look(clock_ns()); /* too early */
    TRACE(read, CONN, STR_NULL, 5);
    assert_int_equal(written(1), 0);
    clock_advance(TRACE_LOOK_NS);
    trace_look(clock_ns());
    TRACE(read, CONN, STR_NULL, 5);
    assert_int_equal(written(1), 1);
}

static void it_ends_by_itself(void **state UNUSED)
{
    ask(of_conn(0, CONN));
    assert_true(TRACE_WANTED(close));
    clock_advance(LASTS + 1);
    trace_look(clock_ns());
    assert_false(TRACE_WANTED(close));
    TRACE(read, CONN, STR_NULL, 5);
    assert_int_equal(written(1), 0);
}

static void asking_again_goes_on(void **state UNUSED)
{
    struct trace_request r = of_conn(0, CONN);
    uint64_t began, again;

    assert_int_equal(trace_ask(&r, clock_ns() + LASTS, &began), 0);
    clock_advance(LASTS - 1);
    assert_int_equal(trace_ask(&r, clock_ns() + LASTS, &again), 0);
    assert_int_equal(began, again);
    clock_advance(LASTS);
    trace_look(clock_ns());
    assert_true(TRACE_WANTED(close));
}

static void so_many_and_no_more(void **state UNUSED)
{
    struct trace_request r = of_conn(0, CONN);
    uint64_t began;

    for (r.id = 1; r.id <= TRACE_REQUESTS; r.id++)
        assert_int_equal(trace_ask(&r, clock_ns() + LASTS, &began), 0);
    assert_int_equal(trace_ask(&r, clock_ns() + LASTS, &began), -1);
    clock_advance(LASTS + 1);
    assert_int_equal(trace_ask(&r, clock_ns() + LASTS, &began), 0);
}

/* At several workers, more than a process hears of: none is asked for in vain. */
static void so_many_of_the_node(void **state UNUSED)
{
    struct trace_request r = of_conn(0, CONN);
    uint64_t began;

    free(areas);
    areas = calloc(TRACE_FILTERS, STRIDE);
    assert_non_null(areas);
    for (r.id = 1; r.id <= TRACE_FILTERS; r.id++) {
        unsigned worker = r.id % (TRACE_FILTERS / TRACE_REQUESTS);

        trace_open(&areas[TRACE_FILTERS - 1], areas, STRIDE, TRACE_FILTERS, 0);
        t.own = &areas[worker];
        assert_int_equal(trace_ask(&r, clock_ns() + LASTS, &began), 0);
    }
    t.own = &areas[TRACE_FILTERS - 2];
    assert_int_equal(trace_ask(&r, clock_ns() + LASTS, &began), -1);
    r.id = 1; /* one of them, which goes on here */
    assert_int_equal(trace_ask(&r, clock_ns() + LASTS, &began), 0);
    trace_look(clock_ns());
    assert_int_equal(t.nfilters, TRACE_FILTERS);
}

static void one_record_for_each_who_asks(void **state UNUSED)
{
    ask(of_conn(0, CONN));
    ask(of_channel("news"));
    areas[2].places[0].request = of_channel("news"); /* the same, asked for at another worker */
    atomic_store(&areas[2].places[0].until_ns, clock_ns() + LASTS);
    clock_advance(TRACE_LOOK_NS);
    trace_look(clock_ns());
    TRACE(subscribe, CONN, STR_LIT("news"));
    assert_int_equal(written(1), 2);
    TRACE(subscribe, CONN + 1, STR_LIT("new"));
    TRACE(subscribe, CONN + 1, STR_LIT("newspaper"));
    TRACE(close, CONN + 1, STR_LIT("news")); /* the text is no channel */
    assert_int_equal(written(1), 2);
}

static void within_a_channel(void **state UNUSED)
{
    ask(of_channel("news"));
    TRACE(fanout, 0, STR_LIT("news"), 1);
    for (unsigned i = 0; i < 2 * TRACE_DELIVERIES; i++)
        TRACE(deliver, CONN + i, STR_LIT("news"), 1, 1, 0);
    TRACE(stall, CONN, STR_NULL, 1); /* has no channel */
    assert_int_equal(written(1), 1 + TRACE_DELIVERIES);
    assert_memory_equal(last_of(1).text, "news", 4);
    TRACE(fanned, 0, STR_LIT("news"), 1);
    TRACE(fanout, 0, STR_LIT("news"), 1); /* the next one's first are told again */
    TRACE(deliver, CONN, STR_LIT("news"), 1, 1, 0);
    assert_int_equal(written(1), 1 + TRACE_DELIVERIES + 3);
}

static const uint8_t *address(uint64_t conn)
{
    return conn == CONN ? somewhere : NULL;
}

static void from_a_network(void **state UNUSED)
{
    struct trace_request r = {.id = 9, .of = TRACE_OF_NETWORK};
    char err[64];

    assert_int_equal(network_parse(STR_LIT("192.0.2.0/24"), &r.network, err, sizeof(err)), 0);
    ask(r);
    TRACE(read, CONN, STR_NULL, 5); /* nobody can say from where */
    trace_address = address;
    TRACE(read, CONN + 1, STR_NULL, 5);
    TRACE_FOR(read, 1, CONN, STR_NULL, 5);
    TRACE(fanout, 0, STR_LIT("news"), 5);
    assert_int_equal(written(1), 0);
    TRACE(read, CONN, STR_NULL, 5);
    assert_int_equal(written(1), 1);
    t.worker = TRACE_NOBODY;
    TRACE(read, CONN, STR_NULL, 5);
    assert_int_equal(written(1), 1);
}

static void what_is_overwritten_is_gone(void **state UNUSED)
{
    struct trace_record r;

    ask(of_conn(0, CONN));
    for (unsigned i = 0; i < TRACE_RECORDS + 1; i++)
        TRACE(read, CONN, STR_NULL, i);
    assert_false(trace_read(&areas[1], 1, &r));
    assert_true(trace_read(&areas[1], 2, &r));
    assert_int_equal(r.field[0], 1);
    assert_int_equal(last_of(1).field[0], TRACE_RECORDS);
}

static void a_long_text_is_cut(void **state UNUSED)
{
    char name[TRACE_NAME_MAX];

    memset(name, 'x', sizeof(name));
    ask(of_conn(0, CONN));
    TRACE(subscribe, CONN, ((struct str){name, sizeof(name)}));
    assert_int_equal(last_of(1).len, TRACE_TEXT_MAX);
}

/* A worker that was taken over writes what it likes into its own area. */
static void a_hostile_request(void **state UNUSED)
{
    struct trace_place *p = &areas[2].places[0];

    memset(&p->request, 0xff, sizeof(p->request));
    for (unsigned of = 0; of < 256; of += 3) {
        p->request.of = (uint8_t)of;
        p->request.id++;
        atomic_store(&p->until_ns, clock_ns() + LASTS);
        clock_advance(TRACE_LOOK_NS);
        trace_address = address;
        trace_look(clock_ns());
        TRACE(subscribe, CONN, STR_LIT("news"));
    }
    atomic_store(&p->until_ns, UINT64_MAX); /* never ends: its worker's next life does */
    be(2);
    clock_advance(TRACE_LOOK_NS);
    be(1);
    assert_false(TRACE_WANTED(close));
}

static void a_request_that_changes_while_it_is_read(void **state UNUSED)
{
    struct trace_place *p = &areas[2].places[0];

    p->request = of_channel("old");
    atomic_store(&p->until_ns, clock_ns() + LASTS);
    meanwhile.place = p;
    for (unsigned k = 0; k < 4; k++) {
        meanwhile.often = k % 2 == 0 ? 1 : UINT_MAX;
        meanwhile.prolonged = k >= 2;
        clock_advance(TRACE_LOOK_NS);
        trace_look(clock_ns());
        if (meanwhile.often != 0) { /* it never holds still: it is not heard */
            assert_int_equal(t.nfilters, 0);
            continue;
        }
        assert_int_equal(t.nfilters, 1);
        assert_memory_equal(&t.filters[0].request, &p->request, sizeof(p->request));
    }
    meanwhile.often = 0;
}

static void a_hostile_record(void **state UNUSED)
{
    struct trace_record r;

    memset(&areas[2].records[0], 0xff, sizeof(areas[2].records[0]));
    atomic_store(&areas[2].records[0].number, 1);
    assert_false(trace_read(&areas[2], 1, &r)); /* no such event */
    areas[2].records[0].event = TRACE_close;
    assert_true(trace_read(&areas[2], 1, &r));
    assert_int_equal(r.len, TRACE_TEXT_MAX);
}

static void the_next_life_goes_on_counting(void **state UNUSED)
{
    ask(of_conn(0, CONN));
    TRACE(read, CONN, STR_NULL, 5);
    be(1);
    assert_false(TRACE_WANTED(read)); /* what was asked for went with its asker */
    ask(of_conn(0, CONN));
    TRACE(read, CONN, STR_NULL, 6);
    assert_int_equal(written(1), 2);
    assert_int_equal(last_of(1).field[0], 6);
}

/* The kernel counts who has a probe there, in the half of the gate that is its own. */
static void a_probe_alone_opens_its_gate(void **state UNUSED)
{
    roost_close_semaphore.probes = 1;
    assert_true(TRACE_WANTED(close));
    assert_false(TRACE_WANTED(read));
    TRACE(close, CONN, STR_LIT("slow"), 1);
    assert_int_equal(written(1), 0);
    ask(of_conn(0, CONN));
    clock_advance(LASTS + 1);
    trace_look(clock_ns());
    assert_true(TRACE_WANTED(close));
    roost_close_semaphore.probes = 0;
    assert_false(TRACE_WANTED(close));
}

static void the_table(void **state UNUSED)
{
    for (unsigned e = 0; e < TRACE_EVENT_NR; e++) {
        const struct trace_row *row = trace_row((enum trace_event)e);
        uint64_t none[TRACE_FIELDS] = {0};
        bool ended = false;

        trace_probe((enum trace_event)e, 0, STR_NULL, none);
        assert_true(row->name[0] != '\0' && row->text[0] != '\0' && row->help[0] != '\0');
        for (unsigned i = 0; i < TRACE_FIELDS; i++) {
            bool is_none = str_equal(str_from(row->fields[i]), STR_LIT("NONE"));

            assert_false(ended && !is_none); /* no gaps */
            ended |= is_none;
        }
    }
}

static void whose_it_was(void **state UNUSED)
{
    unsigned with = 0, without = 0;

    for (unsigned kind = 0; kind < 256; kind++) {
        uint64_t conn = trace_conn_of(kind, CONN);

        assert_true(conn == 0 || conn == CONN);
        with += conn == CONN;
        without += conn == 0;
    }
    assert_int_equal(with, 3);
    assert_int_equal(without, 253);
    assert_int_equal(trace_worker(TRACE_WORKERS - 1), TRACE_WORKERS - 1);
    assert_int_equal(trace_worker(TRACE_WORKERS), TRACE_NOBODY);
    assert_int_equal(TRACE_PUBLICATION(3, 5), UINT64_C(3) << 48 | 5);
    assert_int_equal(trace_since(0), 0);
    assert_int_equal(trace_since(clock_ns() - 5), 5);
    assert_int_equal(trace_since(clock_ns() + 5), 0);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(nobody_asks),
        CASE(a_connection_is_told_of),
        CASE(of_whichever_worker),
        CASE(another_process_asks),
        CASE(it_is_looked_for_before_what_comes),
        CASE(it_ends_by_itself),
        CASE(asking_again_goes_on),
        CASE(so_many_and_no_more),
        CASE(so_many_of_the_node),
        CASE(one_record_for_each_who_asks),
        CASE(within_a_channel),
        CASE(from_a_network),
        CASE(what_is_overwritten_is_gone),
        CASE(a_long_text_is_cut),
        CASE(a_hostile_request),
        CASE(a_request_that_changes_while_it_is_read),
        CASE(a_hostile_record),
        CASE(the_next_life_goes_on_counting),
        CASE(a_probe_alone_opens_its_gate),
        CASE(the_table),
        CASE(whose_it_was),
    };
    return cmocka_run_group_tests_name("base/trace", tests, NULL, NULL);
}
