/* tests/unit/codec/http_head.h - how the tests of request heads parse one. Every head is given
 * whole and as every prefix of it (the parser keeps no state, so that is every split and byte by
 * byte): the outcome must not depend on it. Include after the .c under test. */
#ifndef ROOST_TESTS_HTTP_HEAD_H
#define ROOST_TESTS_HTTP_HEAD_H

#include "codec/http.h"

#define HEAD_MAX   8192
#define FIELDS_MAX 40
#define R          "POST / HTTP/1.1\r\n"
#define H          "Host: a\r\n"
#define L(literal)                                                                                 \
    {                                                                                              \
        .p = (literal), .n = sizeof(literal) - 1                                                   \
    }

struct outcome {
    int rc;
    enum close_reason why;
    size_t consumed;
};

static struct http_request req;

/* Parses a copy that ends with the last byte, so that a sanitizer sees any look beyond it. */
static struct outcome parse_once(struct str head, size_t max)
{
    struct outcome o = {.why = CLOSE_NONE};
    char *copy = malloc(head.n + 1);
    struct str in;

    assert_non_null(copy);
    memcpy(copy + 1, head.p, head.n);
    in = (struct str){copy + 1, head.n};
    o.rc = http_request_parse(&in, max, FIELDS_MAX, &req, &o.why);
    o.consumed = head.n - in.n;
    assert_true(o.rc > 0 || o.consumed == 0);
    free(copy);
    return o;
}

/* Once decided, longer input does not change the decision. Returns the bytes it took to decide. */
static size_t assert_no_split_matters(struct str head, size_t max, struct outcome whole)
{
    size_t n, decided = SIZE_MAX;

    for (n = 0; n <= head.n; n++) {
        struct outcome o = parse_once((struct str){head.p, n}, max);

        if (o.rc == 0) {
            assert_int_equal(decided, SIZE_MAX);
            continue;
        }
        decided = MIN(decided, n);
        assert_int_equal(o.rc, whole.rc);
        assert_int_equal(o.why, whole.why);
        assert_int_equal(o.consumed, whole.consumed);
    }
    return decided;
}

/* Leaves views into `head` in req. */
static void assert_parses(struct str head)
{
    struct outcome whole = parse_once(head, HEAD_MAX);
    struct str in = head;
    enum close_reason why = CLOSE_NONE;

    if (whole.rc <= 0)
        fail_msg("refused (%s): %.*s", close_row(whole.why)->label, STR_ARG(head));
    assert_int_equal(whole.consumed, head.n);
    assert_int_equal(assert_no_split_matters(head, HEAD_MAX, whole), head.n);
    assert_int_equal(http_request_parse(&in, HEAD_MAX, FIELDS_MAX, &req, &why), 1);
}

/* `head` ends with the byte that proves it wrong: not refused before, and whatever follows. */
static void assert_refused(struct str head, size_t max, enum close_reason why)
{
    static const char *tails[] = {"", "\r\n\r\n", " x HTTP/1.1\r\nHost: b\r\n\r\n"};
    size_t i;

    for (i = 0; i < ARRAY_LEN(tails); i++) {
        struct buf b = {0};
        struct outcome o;

        assert_int_equal(buf_append(&b, head), 0);
        assert_int_equal(buf_append_lit(&b, tails[i]), 0);
        o = parse_once(buf_view(&b), max);
        if (o.rc >= 0 || o.why != why)
            fail_msg("rc %d, %s instead of %s: %.*s", o.rc, close_row(o.why)->label,
                     close_row(why)->label, STR_ARG(head));
        if (assert_no_split_matters(buf_view(&b), max, o) != head.n)
            fail_msg("not refused with its last byte: %.*s", STR_ARG(head));
        buf_fini(&b);
    }
}

static void assert_str(struct str s, const char *expected)
{
    assert_int_equal(s.n, strlen(expected));
    assert_memory_equal(s.p, expected, s.n);
}

struct refusal {
    enum close_reason why;
    struct str head; /* up to the byte that proves it */
};

static void assert_table(const struct refusal *rows, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++)
        assert_refused(rows[i].head, HEAD_MAX, rows[i].why);
}

#endif
