/* A worker's answer about its connections, and the page that is merged from all. */
#include "proc/debug_connections.c"

#include "../proto/harness.h"

static int setup(void **state UNUSED)
{
    h_start(true);
    own_worker = 0;
    return 0;
}

static struct inquiry_job job_of(struct conns_query *q)
{
    q->state = CONN_STATE_NR;
    return (struct inquiry_job){.request = {(const char *)q, sizeof(*q)}};
}

static void job_end(struct inquiry_job *j)
{
    free(j->state);
    buf_fini(&j->out);
}

static unsigned items_of(const struct buf *out)
{
    struct str rest = buf_view(out), json;
    unsigned n = 0;
    int64_t key;

    while (inquiry_next(&rest, &key, &json) && key != INT64_MIN)
        n++;
    return n;
}

static void merge(const struct buf *answers, unsigned n, const struct conns_query *q,
                  struct merged *m, struct buf *out)
{
    struct source sources[4] = {0};

    memset(m, 0, sizeof(*m));
    for (unsigned i = 0; i < n; i++) {
        sources[i] = (struct source){.rest = buf_view(&answers[i]), .worker = i};
        advance(&sources[i], m);
    }
    assert_int_equal(put_merged(sources, n, q, m, out), 0);
}

/* What another worker asks is not believed. */
static void a_question_full_of_nonsense(void **state UNUSED)
{
    struct conns_query q;
    struct walk *w;

    memset(&q, 0xff, sizeof(q));
    w = walk_new((struct str){(const char *)&q, sizeof(q)});
    assert_non_null(w);
    assert_true(w->q.limit <= CONNS_PAGE_MAX && w->q.room <= PAGE_BYTES);
    assert_true(w->q.network.bits <= 128);
    assert_true(strlen(w->q.prefix) < sizeof(w->q.prefix) &&
                strlen(w->q.channel) < sizeof(w->q.channel));
    free(w);
    assert_null(walk_new((struct str){(const char *)&q, sizeof(q) - 1}));
}

/* All that a page had room for have gone meanwhile: the next one begins behind them. */
static void a_page_of_none_goes_on(void **state UNUSED)
{
    struct conns_query q = {.limit = 2, .room = PAGE_BYTES};
    struct inquiry_job j = job_of(&q);
    struct peer *p[4];
    struct buf out = {0};
    struct merged m;
    char want[64];
    uint64_t last;

    for (size_t i = 0; i < ARRAY_LEN(p); i++)
        p[i] = h_connect(CONN_ADMIN);
    do {
        assert_int_equal(connections_step(&j), INQUIRY_MORE);
    } while (!((struct walk *)j.state)->walked);
    last = ((struct walk *)j.state)->chosen[1].id;
    for (size_t i = 0; i < ARRAY_LEN(p); i++) {
        conn_kill(p[i]->conn, CLOSE_PEER_GONE);
        h_close(p[i]);
    }
    assert_int_equal(connections_step(&j), INQUIRY_DONE);
    assert_int_equal(items_of(&j.out), 0);
    merge(&j.out, 1, &q, &m, &out);
    snprintf(want, sizeof(want), "0:%llu", (unsigned long long)last);
    assert_true(m.more);
    assert_string_equal(m.after, want);
    buf_fini(&out);
    job_end(&j);
}

/* Its bytes are bounded, and it gets on all the same. */
static void an_answer_has_so_much_room(void **state UNUSED)
{
    static const uint32_t rooms[] = {0, 1000, PAGE_BYTES};
    struct peer *p[20];

    for (size_t i = 0; i < ARRAY_LEN(p); i++)
        p[i] = h_connect(CONN_ADMIN);
    for (size_t k = 0; k < ARRAY_LEN(rooms); k++) {
        for (uint8_t sort = SORT_NONE; sort <= SORT_AGE; sort++) {
            struct conns_query q = {.limit = 100, .room = rooms[k], .sort = sort};
            struct inquiry_job j = job_of(&q);
            struct buf out = {0};
            struct merged m;
            unsigned n;

            while (connections_step(&j) == INQUIRY_MORE)
                continue;
            n = items_of(&j.out);
            merge(&j.out, 1, &q, &m, &out);
            assert_int_equal(m.matched, ARRAY_LEN(p));
            assert_true(m.more == (n < ARRAY_LEN(p)));
            assert_true(k > 0 || n == 1);
            assert_true(k != 1 || (n > 1 && j.out.len < rooms[k] + 200));
            assert_true(k < 2 || n == ARRAY_LEN(p));
            assert_true(out.len > 0);
            buf_fini(&out);
            job_end(&j);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(p); i++)
        h_close(p[i]);
}

static void put(struct buf *out, int64_t rank, const char *json)
{
    assert_int_equal(inquiry_put(out, rank, str_from(json)), 0);
}

/* What a worker has left out may stand before what the others have. */
static void an_order_ends_with_a_cut_answer(void **state UNUSED)
{
    const struct conns_query by_queue = {.limit = 10, .sort = SORT_QUEUED};
    struct buf answers[2] = {0}, out = {0};
    struct merged m;

    put(&answers[0], 10, "{\"id\":\"0:1\"}");
    put(&answers[0], 8, "{\"id\":\"0:2\"}");
    put(&answers[0], INT64_MIN, "[5,5,true,2]");
    put(&answers[1], 9, "{\"id\":\"1:1\"}");
    put(&answers[1], 3, "{\"id\":\"1:2\"}");
    put(&answers[1], INT64_MIN, "[2,2,false,2]");
    merge(answers, 2, &by_queue, &m, &out);
    assert_true(str_equal(buf_view(&out),
                          STR_LIT("\n{\"id\":\"0:1\"},\n{\"id\":\"1:1\"},\n{\"id\":\"0:2\"}")));
    assert_true(m.more);
    assert_int_equal(m.matched, 7);
    for (unsigned i = 0; i < 2; i++)
        buf_fini(&answers[i]);
    buf_fini(&out);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, h_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_question_full_of_nonsense),
        T(a_page_of_none_goes_on),
        T(an_answer_has_so_much_room),
        T(an_order_ends_with_a_cut_answer),
    };

    return cmocka_run_group_tests_name("proc/debug_connections", tests, NULL, NULL);
}
