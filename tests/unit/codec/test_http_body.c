/* codec/http_body: each body whole, byte by byte and at every split, with the same events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/http_body.c"

#define BODY_MAX 100

struct events {
    char data[8192];
    size_t len;      /* payload bytes handed out */
    size_t consumed; /* input bytes taken */
    bool done, dead;
    enum close_reason why;
};

/* Feeds one piece of input, copied to memory of exactly its size. */
static void feed(struct http_body *b, uint64_t max, struct str piece, struct events *e)
{
    char *copy = malloc(piece.n + 1);
    struct str in = {copy + 1, piece.n}, data;
    int rc = 1;

    assert_non_null(copy);
    memcpy(copy + 1, piece.p, piece.n);
    while (!e->dead && (rc = http_body_next(b, max, &in, &data, &e->why)) > 0) {
        assert_true(data.p >= copy + 1 && data.p + data.n <= copy + 1 + piece.n);
        assert_true(e->len + data.n <= sizeof(e->data));
        memcpy(e->data + e->len, data.p, data.n);
        e->len += data.n;
    }
    e->dead = rc < 0;
    if (rc == 0)
        assert_true(in.n == 0 || http_body_done(b));
    assert_true(e->dead || b->received == e->len);
    e->done = http_body_done(b);
    e->consumed += e->dead ? 0 : piece.n - in.n;
    free(copy);
}

/* Cuts at `first` and `second`. */
static struct events run(const struct http_body *start, uint64_t max, struct str body, size_t first,
                         size_t second)
{
    struct events e = {.done = http_body_done(start)};
    struct http_body b = *start;

    feed(&b, max, (struct str){body.p, first}, &e);
    if (!e.done && !e.dead)
        feed(&b, max, (struct str){body.p + first, second - first}, &e);
    if (!e.done && !e.dead)
        feed(&b, max, (struct str){body.p + second, body.n - second}, &e);
    return e;
}

static struct events run_byte_by_byte(const struct http_body *start, uint64_t max, struct str body)
{
    struct events e = {.done = http_body_done(start)};
    struct http_body b = *start;
    size_t i;

    for (i = 0; i < body.n && !e.done && !e.dead; i++)
        feed(&b, max, (struct str){body.p + i, 1}, &e);
    return e;
}

static void assert_same(const struct events *a, const struct events *b)
{
    assert_int_equal(a->done, b->done);
    assert_int_equal(a->dead, b->dead);
    if (a->dead) {
        assert_int_equal(a->why, b->why);
        return;
    }
    assert_int_equal(a->consumed, b->consumed);
    assert_int_equal(a->len, b->len);
    assert_memory_equal(a->data, b->data, a->len);
}

static struct events run_all_ways(const struct http_body *start, uint64_t max, struct str body)
{
    struct events whole = run(start, max, body, body.n, body.n), e;
    size_t first, second;

    e = run_byte_by_byte(start, max, body);
    assert_same(&whole, &e);
    for (first = 0; first <= body.n; first++) {
        for (second = first; second <= body.n && body.n < 200; second++) {
            e = run(start, max, body, first, second);
            assert_same(&whole, &e);
        }
    }
    return whole;
}

static struct http_body started(enum http_body_kind kind, uint64_t length)
{
    struct http_body b;

    body_init(&b, kind, length);
    return b;
}

static void assert_body(enum http_body_kind kind, uint64_t length, const char *wire,
                        const char *data, const char *behind)
{
    const struct http_body start = started(kind, length);
    struct events e = run_all_ways(&start, BODY_MAX, str_from(wire));

    if (!e.done)
        fail_msg("not done (%d): %s", e.why, wire);
    assert_int_equal(e.len, strlen(data));
    assert_memory_equal(e.data, data, e.len);
    assert_int_equal(e.consumed, strlen(wire) - strlen(behind));
}

static void no_body(void **state UNUSED)
{
    const struct http_request none = {.body = HTTP_BODY_NONE};
    struct http_body b;

    http_body_init(&b, &none);
    assert_true(http_body_done(&b));
    assert_body(HTTP_BODY_NONE, 0, "GET /", "", "GET /");
    assert_body(HTTP_BODY_LENGTH, 0, "GET /", "", "GET /");
    assert_body(HTTP_BODY_LENGTH, 0, "", "", "");
}

static void counted_bodies(void **state UNUSED)
{
    assert_body(HTTP_BODY_LENGTH, 5, "hello", "hello", "");
    assert_body(HTTP_BODY_LENGTH, 5, "helloGET /", "hello", "GET /");
}

static void a_counted_body_may_be_incomplete(void **state UNUSED)
{
    const struct http_body start = started(HTTP_BODY_LENGTH, 6);
    struct events e = run_all_ways(&start, BODY_MAX, STR_LIT("hello"));

    assert_false(e.done || e.dead);
    assert_int_equal(e.len, 5);
}

static void chunked_bodies(void **state UNUSED)
{
    assert_body(HTTP_BODY_CHUNKED, 0, "0\r\n\r\n", "", "");
    assert_body(HTTP_BODY_CHUNKED, 0, "5\r\nhello\r\n0\r\n\r\nGET /", "hello", "GET /");
    assert_body(HTTP_BODY_CHUNKED, 0, "2\r\nhe\r\n3\r\nllo\r\n000\r\n\r\n", "hello", "");
    assert_body(HTTP_BODY_CHUNKED, 0, "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n",
                "01234567890123456789", "");
    assert_body(HTTP_BODY_CHUNKED, 0, "0000000000000001\r\nx\r\n0\r\n\r\n", "x", "");
    assert_body(HTTP_BODY_CHUNKED, 0, "1;a=b;c=\"d e\xe9\"\r\n\n\r\n0 \t;x\r\n\r\n", "\n", "");
    assert_body(HTTP_BODY_CHUNKED, 0, "0\r\nA: b\r\nC:\r\nD:\t\xe9\r\n\r\nGET /", "", "GET /");
}

static void every_chunked_body_may_be_incomplete(void **state UNUSED)
{
    const struct http_body start = started(HTTP_BODY_CHUNKED, 0);
    const struct str wire = STR_LIT("3 ;x\r\nabc\r\n0;y\r\nA: b\r\n\r\n");
    size_t n;

    for (n = 0; n < wire.n; n++) {
        struct events e = run_all_ways(&start, BODY_MAX, (struct str){wire.p, n});

        assert_false(e.done || e.dead);
    }
}

/* Each ends with the byte that proves it: alive before. */
static void malformed_chunks(void **state UNUSED)
{
    static const char *wires[] = {
        "\r",
        " ",
        ";",
        "g",
        "-",
        "+",
        "0x",
        "\n",
        "5\n",
        "5\rx",
        "5\r\r",
        "5 \r",
        "5 5",
        "5\t\n",
        "5;a\n",
        "5;\x01",
        "5;\x7f",
        "5;a\rb",
        "1\r\nxy",
        "1\r\nx\n",
        "1\r\nx\ry",
        "1\r\nx\r\n\r",
        "0\r\n\n",
        "0\r\n ",
        "0\r\n:",
        "0\r\nA ",
        "0\r\nA\r",
        "0\r\nA: \n",
        "0\r\nA: b\rc",
        "0\r\nA: b\r\n\t",
        "0\r\nA: \x02",
        "0\r\n\rx",
        "00000000000000001",
        "fffffffffffffffff",
    };
    const struct http_body start = started(HTTP_BODY_CHUNKED, 0);
    size_t i;

    for (i = 0; i < ARRAY_LEN(wires); i++) {
        struct str wire = str_from(wires[i]);
        struct events e = run_all_ways(&start, BODY_MAX, wire);

        if (!e.dead || e.why != CLOSE_BAD_CHUNK)
            fail_msg("accepted: %s", wires[i]);
        e = run_all_ways(&start, BODY_MAX, (struct str){wire.p, wire.n - 1});
        if (e.dead)
            fail_msg("dead too early: %s", wires[i]);
    }
    assert_true(run(&start, BODY_MAX, (struct str){"5;\0", 3}, 3, 3).dead);
}

static void bodies_over_the_limit(void **state UNUSED)
{
    struct http_body start = started(HTTP_BODY_LENGTH, BODY_MAX + 1), b = start;
    struct str in = STR_NULL, data;
    enum close_reason why = CLOSE_NONE;
    struct events e;

    assert_int_equal(http_body_next(&b, BODY_MAX, &in, &data, &why),
                     -1); /* before any of it came */
    assert_int_equal(why, CLOSE_BODY_TOO_BIG);
    start = started(HTTP_BODY_CHUNKED, 0);
    e = run_all_ways(&start, 4, STR_LIT("5\r\n"));
    assert_int_equal(e.why, CLOSE_BODY_TOO_BIG);
    e = run_all_ways(&start, 4, STR_LIT("4\r\nabcd\r\n1\r\n"));
    assert_int_equal(e.why, CLOSE_BODY_TOO_BIG);
    e = run_all_ways(&start, 4, STR_LIT("4\r\nabcd\r\n0\r\n\r\n"));
    assert_true(e.done);
    e = run_all_ways(&start, UINT64_MAX, STR_LIT("1\r\na\r\nffffffffffffffff\r\n"));
    assert_int_equal(e.why, CLOSE_BODY_TOO_BIG); /* the sum would wrap */
    e = run_all_ways(&start, UINT64_MAX, STR_LIT("ffffffffffffffff\r\nabc"));
    assert_int_equal(e.len, 3);
}

/* The limit may be lowered by a reload while a body is coming. */
static void a_lowered_limit(void **state UNUSED)
{
    struct http_body b = started(HTTP_BODY_LENGTH, 10);
    struct str in = STR_LIT("12345"), data;
    enum close_reason why = CLOSE_NONE;

    assert_int_equal(http_body_next(&b, 10, &in, &data, &why), 1);
    in = STR_LIT("67890");
    assert_int_equal(http_body_next(&b, 3, &in, &data, &why), -1);
    assert_int_equal(why, CLOSE_BODY_TOO_BIG);
}

static void repeat(struct buf *b, const char *text, size_t times)
{
    while (times-- > 0)
        assert_int_equal(buf_append_lit(b, text), 0);
}

/* `before` and `after` around n bytes of padding. */
static struct events run_padded(const char *before, const char *pad, size_t n, const char *after)
{
    const struct http_body start = started(HTTP_BODY_CHUNKED, 0);
    struct buf b = {0};
    struct events e;

    repeat(&b, before, 1);
    repeat(&b, pad, n);
    repeat(&b, after, 1);
    e = run_all_ways(&start, BODY_MAX, buf_view(&b));
    buf_fini(&b);
    return e;
}

static void extensions_and_trailers_are_bounded(void **state UNUSED)
{
    assert_true(
        run_padded("0;", "x", HTTP_CHUNK_EXTRA_MAX - 2, "\r\n\r\n").done); /* and the two CR */
    assert_true(run_padded("0;", "x", HTTP_CHUNK_EXTRA_MAX - 1, "\r\n\r\n").dead);
    assert_true(run_padded("0\r\nA:", "x", HTTP_CHUNK_EXTRA_MAX - 4, "\r\n\r\n").done);
    assert_true(run_padded("0\r\nA:", "x", HTTP_CHUNK_EXTRA_MAX - 3, "\r\n\r\n").dead);
    /* the total counts, not the line */
    assert_true(run_padded("", "1;xxxxxxx\r\ny\r\n", 8, "0\r\n\r\n").done);
    assert_true(run_padded("",
                           "1;xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                           "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                           "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n"
                           "y\r\n",
                           22, "0\r\n\r\n")
                    .dead);
}

static void a_response_until_the_connection_closes(void **state UNUSED)
{
    const struct http_response r = {.body = HTTP_BODY_NONE};
    struct http_body b;
    struct events e;

    http_body_init_response(&b, &r);
    assert_false(http_body_done(&b));
    e = run_all_ways(&b, 5, STR_LIT("hello"));
    assert_false(e.done || e.dead);
    assert_int_equal(e.len, 5);
    e = run_all_ways(&b, 4, STR_LIT("hello"));
    assert_int_equal(e.why, CLOSE_BODY_TOO_BIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_body),
        cmocka_unit_test(counted_bodies),
        cmocka_unit_test(a_counted_body_may_be_incomplete),
        cmocka_unit_test(chunked_bodies),
        cmocka_unit_test(every_chunked_body_may_be_incomplete),
        cmocka_unit_test(malformed_chunks),
        cmocka_unit_test(bodies_over_the_limit),
        cmocka_unit_test(a_lowered_limit),
        cmocka_unit_test(extensions_and_trailers_are_bounded),
        cmocka_unit_test(a_response_until_the_connection_closes),
    };

    return cmocka_run_group_tests_name("codec/http_body", tests, NULL, NULL);
}
