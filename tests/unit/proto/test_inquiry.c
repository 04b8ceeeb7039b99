/* A worker that asks: itself (1), and one that the hub has it be (0), so that one process plays both. */
#include "proto/inquiry.c"

#include "proto/inquiry_job.c"

#include "fault.h"
#include "harness.h"

#define OWN   1
#define OTHER 0

static size_t answer_size;        /* of each answer: bytes */
static enum inquiry_step outcome; /* of the step that follows those with MORE */
static unsigned steps, ended, done, complete;
static char last_request[32];
static bool there[2];

static enum inquiry_step step(struct inquiry_job *j)
{
    static const char text[1024] = "";

    steps++;
    snprintf(last_request, sizeof(last_request), "%.*s", STR_ARG(j->request));
    if (j->out.len < answer_size) {
        if (buf_append(&j->out, (struct str){text, MIN(sizeof(text), answer_size - j->out.len)}) ==
            -1)
            return INQUIRY_FAILED;
        return INQUIRY_MORE;
    }
    if (outcome == INQUIRY_MORE) /* it never ends; its turn does, by the clock */
        clock_advance(NS_PER_MS);
    return outcome;
}

static void count_end(struct inquiry_job *j UNUSED)
{
    ended++;
}

static const struct inquiry_ops ops = {.step = step, .end = count_end};

static bool is_there(unsigned worker)
{
    return there[worker];
}

static void on_done(struct http_exchange *x, const struct inquiry *q)
{
    struct buf out = {0};

    done++;
    complete = 0;
    assert_true(str_equal(q->request, STR_LIT("what?")));
    for (unsigned i = 0; i < q->nanswers; i++) {
        complete += q->answers[i].complete;
        assert_int_equal(q->answers[i].data.len, q->answers[i].complete ? answer_size : 0);
    }
    if (inquiry_put_missing(q, &out) == 0)
        http_respond(x, 200, "text/plain", STR_LIT(""), buf_view(&out));
    else
        http_refuse(x, CLOSE_NO_MEMORY);
    buf_fini(&out);
}

static uint32_t whom;

static void on_ask(struct http_exchange *x)
{
    inquiry_begin(x, &(struct inquiry_wish){.kind = INQUIRY_CONNECTIONS,
                                            .worker = whom,
                                            .request = STR_LIT("what?"),
                                            .done = on_done});
}

static int setup(void **state UNUSED)
{
    h_start(true);
    inquiry_init(&(struct inquiry_config){
        .worker = OWN, .workers = 2, .generation = 7, .is_there = is_there});
    inquiry_answers(INQUIRY_CONNECTIONS, &ops);
    answer_size = 10;
    outcome = INQUIRY_DONE;
    steps = ended = done = complete = 0;
    there[0] = there[1] = true;
    whom = INQUIRY_ALL;
    return 0;
}

static struct peer *ask_page(void)
{
    struct peer *p = h_connect(CONN_ADMIN);

    h_ask(p, "GET /ask HTTP/1.1\r\nHost: a\r\n\r\n");
    return p;
}

static void expect(struct peer *p, int status, const char *text)
{
    for (int i = 0; i < 3000 && h_status(p) == -1; i++) {
        h_turns(1);
        h_read(p);
    }
    assert_int_equal(h_status(p), status);
    assert_non_null(strstr(p->got, text));
    h_close(p);
}

/* It is reset; while it waits it is not read, so its end alone would not be seen. */
static void lose(struct peer *p)
{
    conn_kill(p->conn, CLOSE_PEER_GONE);
    h_close(p);
}

static void nothing_is_left(void)
{
    h_turns(20);
    assert_true(list_empty(&inquiries()->open) && list_empty(&inquiries()->jobs));
    assert_int_equal(inquiries()->nopen, 0);
    assert_int_equal(inquiries()->njobs, 0);
}

static void all_answer(void **state UNUSED)
{
    static const size_t sizes[] = {
        0, 1, INQUIRY_PART, INQUIRY_PART + 1, 5 * INQUIRY_PART, H_RING * 2, INQUIRY_ANSWER_MAX};

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        answer_size = sizes[i];
        expect(ask_page(), 200, ",\"missing\":[]");
        assert_int_equal(complete, 2);
        assert_string_equal(last_request, "what?");
        nothing_is_left();
    }
    assert_int_equal(done, ARRAY_LEN(sizes));
    assert_int_equal(ended, 2 * ARRAY_LEN(sizes));
}

static void one_is_asked(void **state UNUSED)
{
    whom = OTHER;
    expect(ask_page(), 200, ",\"missing\":[]");
    assert_int_equal(ended, 1);
    whom = OWN;
    h_hub.frozen = true; /* it needs no hub for itself */
    expect(ask_page(), 200, ",\"missing\":[]");
    assert_int_equal(ended, 2);
    nothing_is_left();
}

static void who_is_not_there_is_missing_at_once(void **state UNUSED)
{
    there[OTHER] = false;
    expect(ask_page(), 200, ",\"missing\":[0],\"why_missing\":[\"down\"]");
    assert_int_equal(complete, 1);
    nothing_is_left();
}

static void who_is_silent_is_missing_in_time(void **state UNUSED)
{
    struct peer *p;

    h_hub.frozen = true;
    p = ask_page();
    h_wait(INQUIRY_TIME_NS - 200 * NS_PER_MS);
    h_read(p);
    assert_int_equal(p->len, 0);
    h_wait(400 * NS_PER_MS);
    expect(p, 200, ",\"missing\":[0],\"why_missing\":[\"silent\"]");
    assert_int_equal(complete, 1);
    h_hub.frozen = false; /* what is late is nobody's */
    nothing_is_left();
}

static void who_fails_is_missing(void **state UNUSED)
{
    outcome = INQUIRY_FAILED;
    expect(ask_page(), 200, ",\"missing\":[0,1],\"why_missing\":[\"failed\",\"failed\"]");
    outcome = INQUIRY_DONE;
    answer_size = INQUIRY_ANSWER_MAX + 1;
    expect(ask_page(), 200, ",\"missing\":[0,1]");
    nothing_is_left();
}

/* Who asked is gone, or nobody takes the parts of the answer. */
static void a_job_that_nobody_takes_ends(void **state UNUSED)
{
    struct peer *p;

    h_hub.frozen = true;
    p = ask_page();
    assert_int_equal(inquiries()->nopen, 1);
    lose(p);
    assert_int_equal(inquiries()->nopen, 0);
    h_hub.frozen = false;
    nothing_is_left();
    h_hub.frozen = true;
    answer_size = 3 * INQUIRY_PART;
    inquiry_asked(OTHER, &(struct inquiry_head){.kind = INQUIRY_CONNECTIONS}, STR_LIT("what?"));
    h_turns(20);
    assert_int_equal(inquiries()->njobs, 1);
    clock_advance(INQUIRY_TIME_NS - NS_PER_MS);
    inquiry_tick();
    assert_int_equal(inquiries()->njobs, 1);
    clock_advance(NS_PER_MS);
    inquiry_tick();
    assert_int_equal(inquiries()->njobs, 0);
    h_hub.frozen = false;
    nothing_is_left();
    assert_int_equal(done, 0);
}

static void jobs_are(unsigned n)
{
    for (int i = 0; i < 200 && inquiries()->njobs != n; i++)
        h_turns(1);
    assert_int_equal(inquiries()->njobs, n);
}

/* However often somebody goes away and asks again, nobody is too busy for him, and nobody works in vain. */
static void an_abandoned_question_stops(void **state UNUSED)
{
    outcome = INQUIRY_MORE;
    for (int i = 0; i < 3 * INQUIRY_OPEN_MAX; i++) {
        struct peer *p = ask_page();

        jobs_are(2);
        lose(p);
        jobs_are(0); /* and nothing here gives up what is late */
    }
    outcome = INQUIRY_DONE;
    expect(ask_page(), 200, ",\"missing\":[]");
    nothing_is_left();
}

/* Who has asked ends by what it asks for. */
static enum inquiry_step stop_inside(struct inquiry_job *j UNUSED)
{
    steps++;
    inquiry_stopped(OTHER, &(struct inquiry_head){.serial = 5});
    return INQUIRY_MORE;
}

static void a_job_can_end_who_has_asked(void **state UNUSED)
{
    static const struct inquiry_ops stopping = {.step = stop_inside, .end = count_end};

    inquiry_answers(INQUIRY_DISCONNECT, &stopping);
    inquiry_asked(OTHER, &(struct inquiry_head){.kind = INQUIRY_DISCONNECT, .serial = 5},
                  STR_LIT("what?"));
    jobs_are(0);
    assert_int_equal(steps, 1);
    assert_int_equal(ended, 1);
}

static void who_is_busy_says_so(void **state UNUSED)
{
    struct inquiry_head head = {.what = INQUIRY_ASKS, .kind = INQUIRY_CONNECTIONS};
    struct peer *p;

    h_hub.frozen = true; /* all of these wait with their answers */
    answer_size = 3 * INQUIRY_PART;
    for (int i = 0; i < INQUIRY_OPEN_MAX; i++) {
        head.serial = 100 + (uint64_t)i;
        inquiry_asked(OTHER, &head, STR_LIT("what?"));
    }
    h_turns(20);
    whom = OTHER;
    p = ask_page();
    inquiry_asked(OTHER,
                  &(struct inquiry_head){.what = INQUIRY_ASKS,
                                         .kind = INQUIRY_CONNECTIONS,
                                         .generation = 7,
                                         .serial = inquiries()->serial},
                  STR_LIT("what?"));
    assert_int_equal(inquiries()->njobs, INQUIRY_OPEN_MAX);
    inquiry_stopped(OWN, &head); /* who has not asked for it, or another incarnation */
    head.generation++;
    inquiry_stopped(OTHER, &head);
    assert_int_equal(inquiries()->njobs, INQUIRY_OPEN_MAX);
    h_hub.frozen = false;
    expect(p, 200, ",\"missing\":[0],\"why_missing\":[\"busy\"]");
    nothing_is_left();
}

static void too_many_are_refused(void **state UNUSED)
{
    struct peer *p[INQUIRY_OPEN_MAX];

    h_hub.frozen = true;
    for (size_t i = 0; i < ARRAY_LEN(p); i++)
        p[i] = ask_page();
    expect(ask_page(), 503, "please try again");
    lose(p[0]);
    p[0] = ask_page();
    h_hub.frozen = false;
    for (size_t i = 0; i < ARRAY_LEN(p); i++)
        expect(p[i], 200, ",\"missing\":[");
    nothing_is_left();
}

static void one_worker_cannot_ask_for_more_than_its_part(void **state UNUSED)
{
    const struct inquiry_head head = {.what = INQUIRY_ASKS, .kind = INQUIRY_CONNECTIONS};

    for (int i = 0; i < 3 * INQUIRY_OPEN_MAX; i++)
        inquiry_asked(OTHER, &head, STR_LIT("what?"));
    assert_int_equal(inquiries()->njobs, INQUIRY_OPEN_MAX);
    for (unsigned from = 2; from < 12; from++)
        for (int i = 0; i < INQUIRY_OPEN_MAX; i++)
            inquiry_asked(from, &head, STR_LIT("what?"));
    assert_int_equal(inquiries()->njobs, INQUIRY_JOBS_MAX);
}

static void hear(unsigned from, struct inquiry_head head, struct str data)
{
    char message[256];

    memcpy(message, &head, sizeof(head));
    if (data.n > 0)
        memcpy(message + sizeof(head), data.p, data.n);
    inquiry_session_ops.sink.control(from, (struct str){message, sizeof(head) + data.n});
}

/* The other one says what it likes. */
static void lies(void **state UNUSED)
{
    static char much[INQUIRY_ANSWER_MAX + 1];
    struct inquiry_head good = {.what = INQUIRY_SAYS, .generation = 7}, bad;
    const struct inquiry_head asks = {.what = INQUIRY_ASKS, .kind = INQUIRY_NR};
    struct peer *p;

    h_hub.frozen = true;
    p = ask_page();
    good.serial = inquiries()->serial;
    bad = good;
    bad.serial++;
    bad.flags = INQUIRY_LAST;
    hear(OTHER, bad, STR_LIT("x"));
    bad = good;
    bad.generation++;
    bad.flags = INQUIRY_LAST;
    hear(OTHER, bad, STR_LIT("x"));
    bad = good;
    bad.flags = INQUIRY_LAST;
    hear(OWN, bad, STR_LIT("x")); /* has answered */
    hear(2, bad, STR_LIT("x"));
    hear(RECORD_SOURCE_REMOTE, bad, STR_LIT("x"));
    bad.what = 0xff;
    hear(OTHER, bad, STR_LIT("x"));
    inquiry_session_ops.sink.control(OTHER, (struct str){(const char *)&good, sizeof(good) - 1});
    inquiry_session_ops.sink.control(OTHER, STR_NULL);
    hear(OTHER, asks, STR_NULL); /* no such kind */
    hear(OTHER, good, STR_LIT("01234"));
    assert_int_equal(done, 0);
    bad = good;
    bad.number = 4; /* not behind what has come */
    hear(OTHER, bad, STR_LIT("56789"));
    expect(p, 200, ",\"missing\":[0]");
    bad = good;
    bad.number = 5;
    bad.flags = INQUIRY_LAST;
    hear(OTHER, bad, STR_LIT("56789"));
    assert_int_equal(done, 1);

    p = ask_page();
    good.serial = inquiries()->serial;
    inquiry_said(OTHER, &good, (struct str){much, sizeof(much)});
    expect(p, 200, ",\"missing\":[0]");
    p = ask_page();
    bad = good;
    bad.serial = inquiries()->serial;
    bad.flags = INQUIRY_BROKEN;
    inquiry_said(OTHER, &bad, STR_NULL);
    expect(p, 200, ",\"missing\":[0]");
}

static void a_full_ring_is_waited_for(void **state UNUSED)
{
    static char filling[1024];
    struct peer *p;

    while (h_fill_ring((struct str){filling, sizeof(filling)}) == 0)
        continue;
    h_hub.frozen = true;
    p = ask_page();
    assert_true(steps > 0); /* the own one is asked */
    assert_int_equal(done, 0);
    h_hub.frozen = false;
    expect(p, 200, ",\"missing\":[]");
    nothing_is_left();
}

static void items(void **state UNUSED)
{
    struct buf out = {0};
    struct json_value v;
    struct str rest, json = STR_NULL;
    int64_t key = 0;

    assert_int_equal(inquiry_put(&out, -5, STR_LIT("{\"a\":1}")), 0);
    assert_int_equal(inquiry_put(&out, INT64_MAX, STR_LIT("[]")), 0);
    rest = buf_view(&out);
    assert_true(inquiry_next(&rest, &key, &json));
    assert_true(key == -5 && str_equal(json, STR_LIT("{\"a\":1}")));
    assert_true(inquiry_next(&rest, &key, &json));
    assert_true(key == INT64_MAX && str_equal(json, STR_LIT("[]")));
    assert_false(inquiry_next(&rest, &key, &json));
    for (size_t n = 0; n < out.len; n++) { /* cut anywhere: never beyond it */
        rest = (struct str){out.p, n};
        while (inquiry_next(&rest, &key, &json))
            assert_true(json.p + json.n <= out.p + n);
    }
    assert_true(inquiry_json(STR_LIT("{\"a\":1}"), JSON_OBJECT, &v));
    assert_false(inquiry_json(STR_LIT("[]"), JSON_OBJECT, &v));
    assert_false(inquiry_json(STR_LIT("{}, \"x\""), JSON_OBJECT, &v));
    assert_false(inquiry_json(STR_NULL, JSON_OBJECT, &v));
    buf_fini(&out);
}

static void every_failed_allocation(void **state UNUSED)
{
    answer_size = 2 * INQUIRY_PART;
    for (unsigned k = 1; k < 60; k++) {
        struct peer *p = h_connect(CONN_ADMIN);

        fault_fail_at(k);
        h_ask(p, "GET /ask HTTP/1.1\r\nHost: a\r\n\r\n");
        h_turns(20);
        fault_reset();
        h_wait(INQUIRY_TIME_NS + NS_PER_SEC);
        h_read(p);
        assert_true(p->eof || h_status(p) == 200 || h_status(p) == 503);
        h_close(p);
        clock_advance(INQUIRY_TIME_NS);
        inquiry_tick();
        nothing_is_left();
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, h_stop)

int main(void)
{
    static const struct http_resource resources[] = {
        {.path = "/ask", .where = HTTP_ON_ADMIN, .methods = 1u << HTTP_GET, .handle = on_ask}};
    const struct CMUnitTest tests[] = {
        T(all_answer),
        T(one_is_asked),
        T(who_is_not_there_is_missing_at_once),
        T(who_is_silent_is_missing_in_time),
        T(who_fails_is_missing),
        T(a_job_that_nobody_takes_ends),
        T(an_abandoned_question_stops),
        T(a_job_can_end_who_has_asked),
        T(who_is_busy_says_so),
        T(too_many_are_refused),
        T(one_worker_cannot_ask_for_more_than_its_part),
        T(lies),
        T(a_full_ring_is_waited_for),
        T(items),
        T(every_failed_allocation),
    };

    http_register(resources, ARRAY_LEN(resources));
    return cmocka_run_group_tests_name("proto/inquiry", tests, NULL, NULL);
}
