#include "net/outq.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "fault.h"

static struct outq_pools pools;

static int setup(void **state)
{
    (void)state;
    fault_reset();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fault_reset();
    assert_int_equal(pools.queues.in_use, 0);
    assert_int_equal(pools.bytes, 0);
    assert_int_equal(blob_bytes(), 0);
    outq_pools_fini(&pools);
    return 0;
}

/* items 0: no publications. */
static void append(struct outq *q, const char *text, uint32_t items)
{
    struct blob *b = blob_from(str_from(text));

    assert_non_null(b);
    assert_int_equal(outq_append(q, b, 0, b->len, items), 0);
    blob_put(&b);
}

/* A text frame. */
static void put_frame(struct buf *out, size_t payload, char fill)
{
    uint8_t head[WS_HEADER_MAX];
    size_t n = ws_tx_header(WS_OP_TEXT, payload, head);

    assert_int_equal(buf_append(out, (struct str){(const char *)head, n}), 0);
    while (payload-- > 0)
        assert_int_equal(buf_append_char(out, fill), 0);
}

/* What the queue would send now, as text. */
static const char *text_of(const struct outq *q)
{
    static char out[8192];
    struct iovec iov[512];
    int n = outq_iovec(q, iov, 512);
    size_t len = 0;

    for (int i = 0; i < n; i++) {
        memcpy(out + len, iov[i].iov_base, iov[i].iov_len);
        len += iov[i].iov_len;
    }
    out[len] = '\0';
    assert_int_equal(len, outq_bytes(q));
    return out;
}

static void test_empty(void **state)
{
    struct outq *q = outq_new(&pools, NULL, 7);
    struct iovec iov[4];

    (void)state;
    assert_true(outq_empty(q));
    assert_int_equal(outq_bytes(q), 0);
    assert_int_equal(outq_cost(q), 0);
    assert_int_equal(outq_since(q), 7);
    assert_int_equal(outq_iovec(q, iov, 4), 0);
    assert_int_equal(outq_drop_publications(q, 0, true), 0);
    outq_sent(q, 0, 9);
    assert_int_equal(outq_since(q), 7);
    outq_free(&q);
    assert_null(q);
    outq_free(&q);
}

static void test_order_and_ranges(void **state)
{
    struct outq *q = outq_new(&pools, NULL, 0);
    struct blob *b = blob_from(STR_LIT("0123456789"));

    (void)state;
    assert_int_equal(outq_append(q, b, 2, 5, 1), 0);
    assert_int_equal(outq_append(q, b, 5, 5, 1), 0); /* nothing to send */
    assert_int_equal(outq_append(q, b, 0, 10, 4), 0);
    assert_int_equal(b->refs, 3);
    assert_string_equal(text_of(q), "2340123456789");
    assert_int_equal(outq_items(q), 5);
    assert_int_equal(outq_cost(q), 13 + 2 * OUTQ_ENTRY_COST);
    outq_free(&q);
    assert_int_equal(b->refs, 1);
    blob_put(&b);
}

static void test_iovec_limit(void **state)
{
    struct outq *q = outq_new(&pools, NULL, 0);
    struct iovec iov[64];

    (void)state;
    for (int i = 0; i < 100; i++)
        append(q, "x", 1);
    assert_int_equal(outq_iovec(q, iov, 64), 64);
    assert_int_equal(outq_iovec(q, iov, 1), 1);
    assert_int_equal(outq_iovec(q, iov, 0), 0);
    outq_free(&q);
}

/* Whatever the size of the pieces that go, what is left is the rest of the text. */
static void test_sent_in_every_step(void **state)
{
    char all[512] = "";
    size_t len = 0;

    (void)state;
    for (size_t step = 1; step < 40; step++) {
        struct outq *q = outq_new(&pools, NULL, 0);
        size_t sent = 0;

        len = 0;
        for (int i = 0; i < 45; i++) {
            char piece[16];
            int n = snprintf(piece, sizeof(piece), "%.*s", 1 + i % 7, "abcdefgh");

            memcpy(all + len, piece, (size_t)n + 1);
            len += (size_t)n;
            append(q, piece, 1);
        }
        while (!outq_empty(q)) {
            size_t n = MIN(step, outq_bytes(q));

            outq_sent(q, n, sent + 1);
            sent += n;
            assert_string_equal(text_of(q), all + sent);
        }
        assert_int_equal(sent, len);
        assert_int_equal(outq_items(q), 0);
        assert_int_equal(outq_cost(q), 0);
        assert_int_not_equal(outq_since(q), 0);
        outq_free(&q);
    }
}

static void test_drop_keeps_begun_and_control(void **state)
{
    struct outq *q = outq_new(&pools, NULL, 0);

    (void)state;
    append(q,
           "\x81\x05"
           "first\x81\x04"
           "more",
           2);
    append(q, "[ping]", 0);
    append(q, "\x81\x06second", 3);
    append(q, "\x81\x05third", 1);
    append(q, "[pong]", 0);
    outq_sent(q, 4, 1);
    assert_int_equal(outq_drop_publications(q, 0, true),
                     5); /* the begun frame's neighbour is one of them */
    assert_string_equal(text_of(q), "rst[ping][pong]");
    assert_int_equal(outq_items(q), 1);
    append(q, "\x81\x03new", 1);
    assert_string_equal(text_of(q), "rst[ping][pong]\x81\x03new");
    assert_int_equal(outq_drop_publications(q, 0, true), 1);
    assert_int_equal(outq_drop_publications(q, 0, true), 0);
    assert_string_equal(text_of(q), "rst[ping][pong]");
    outq_sent(q, 3, 1);
    assert_int_equal(outq_items(q), 0);
    outq_free(&q);
}

/* Without frames nobody knows where a publication ends: what has begun is kept whole. */
static void test_drop_in_a_stream(void **state UNUSED)
{
    struct outq *q = outq_new(&pools, NULL, 0);

    append(q, "first\nmore\n", 2);
    append(q, "second\n", 1);
    append(q, "[reply]", 0);
    outq_sent(q, 2, 1);
    assert_int_equal(outq_drop_publications(q, 0, false), 1);
    assert_string_equal(text_of(q), "rst\nmore\n[reply]");
    outq_sent(q, 9, 1);
    append(q, "third\n", 1);
    outq_sent(q, 7, 1);
    assert_int_equal(outq_drop_publications(q, 0, false), 1);
    assert_string_equal(text_of(q), "");
    assert_int_equal(outq_items(q), 0);
    outq_free(&q);
}

/* Frames of every form of length, cut at every byte: what is left are whole frames, and the counts
 * are right. */
static void test_drop_at_every_byte(void **state)
{
    static const size_t payloads[] = {0, 1, 125, 126, 200, 65535, 65536, 0, 3};
    const uint32_t n = ARRAY_LEN(payloads);
    size_t ends[ARRAY_LEN(payloads)];
    struct buf all = {0};
    struct blob *b;

    (void)state;
    for (uint32_t i = 0; i < n; i++) {
        put_frame(&all, payloads[i], (char)('a' + i));
        ends[i] = all.len;
    }
    b = blob_from(buf_view(&all));
    for (uint32_t sent = 0; sent<b->len; sent += sent> 700 && sent < 130000 ? 997 : 1) {
        struct outq *q = outq_new(&pools, NULL, 0);
        uint32_t done = 0, keep = sent;

        while (ends[done] <= sent)
            done++;
        if (sent > (done > 0 ? ends[done - 1] : 0))
            keep = (uint32_t)ends[done];
        if (sent % 2) { /* the two ways to come there */
            assert_int_equal(outq_append(q, b, sent, b->len, n), 0);
            outq_begun(q, 0);
        } else {
            assert_int_equal(outq_append(q, b, 0, b->len, n), 0);
            outq_sent(q, sent, 1);
        }
        assert_int_equal(outq_drop_publications(q, 0, true), n - done - (keep > sent ? 1 : 0));
        assert_int_equal(outq_bytes(q), keep - sent);
        assert_int_equal(outq_items(q), keep > sent ? 1 : 0);
        assert_int_equal(outq_drop_publications(q, 0, true), 0);
        outq_sent(q, keep - sent, 2);
        assert_true(outq_empty(q));
        outq_free(&q);
    }
    blob_put(&b);
    buf_fini(&all);
}

/* So much of the first entry counts as begun. */
static void test_drop_keeps_what_is_ahead(void **state)
{
    struct buf all = {0};
    struct blob *b;
    struct outq *q = outq_new(&pools, NULL, 0);

    (void)state;
    for (int i = 0; i < 40; i++)
        put_frame(&all, 998, 'x');
    b = blob_from(buf_view(&all));
    assert_int_equal(outq_append(q, b, 0, b->len, 40), 0);
    assert_int_equal(outq_append(q, b, 0, b->len, 40), 0);
    outq_sent(q, 2004, 1); /* two frames */
    assert_int_equal(outq_drop_publications(q, 16384, true),
                     40 + 38 - 17); /* 17 · 1,002 >= 16,384 */
    assert_int_equal(outq_bytes(q), 17 * 1002);
    assert_int_equal(outq_drop_publications(q, 16384, true), 0);
    assert_int_equal(outq_drop_publications(q, 16 * 1002, true), 1);
    assert_int_equal(outq_drop_publications(q, 0, true), 16);
    assert_true(outq_empty(q));
    outq_free(&q);
    blob_put(&b);
    buf_fini(&all);
}

/* Every pattern of 12 kept and dropped entries behind every number of entries already sent: the
 * compaction crosses chunk ends in every way. */
static void test_drop_every_pattern(void **state)
{
    (void)state;
    for (unsigned ahead = 0; ahead < CHUNK_ENTRIES; ahead++)
        for (unsigned pattern = 0; pattern < 1u << 12; pattern++) {
            struct outq *q = outq_new(&pools, NULL, 0);
            char want[64];
            size_t n = 0;

            for (unsigned i = 0; i < ahead; i++)
                append(q, "-", 1);
            for (unsigned i = 0; i < 12; i++) {
                char piece[2] = {(char)('a' + i), '\0'};

                append(q, piece, pattern >> i & 1);
                if (!(pattern >> i & 1))
                    want[n++] = piece[0];
            }
            outq_sent(q, ahead, 1);
            assert_int_equal(outq_drop_publications(q, 0, true), 12 - n);
            memcpy(want + n, "+", 2);
            append(q, "+", 1);
            assert_string_equal(text_of(q), want);
            outq_sent(q, n + 1, 1);
            assert_true(outq_empty(q));
            outq_free(&q);
        }
}

static void test_drop_everything(void **state)
{
    struct outq *q = outq_new(&pools, NULL, 0);

    (void)state;
    for (int i = 0; i < 35; i++)
        append(q, "x", 2);
    assert_int_equal(outq_drop_publications(q, 0, true), 70);
    assert_true(outq_empty(q));
    assert_int_equal(pools.chunks.in_use, 0);
    append(q, "y", 1);
    assert_string_equal(text_of(q), "y");
    outq_free(&q);
}

static void test_totals(void **state)
{
    struct outq *a = outq_new(&pools, NULL, 0), *b = outq_new(&pools, NULL, 0);

    (void)state;
    append(a, "aaaa", 1);
    append(b, "bbbbb", 1);
    outq_sent(b, 1, 1);
    assert_int_equal(pools.queues.in_use, 2);
    assert_int_equal(pools.bytes, 8);
    outq_free(&a);
    outq_free(&b);
}

static void test_no_memory_for_queue(void **state)
{
    (void)state;
    fault_fail_at(1);
    assert_null(outq_new(&pools, NULL, 0));
    fault_reset();
}

static void test_no_memory_for_chunk(void **state)
{
    struct blob *b = blob_from(STR_LIT("data"));
    struct outq *q = outq_new(&pools, NULL, 0);

    (void)state;
    fault_fail_at(1);
    assert_int_equal(outq_append(q, b, 0, 4, 1), -1);
    fault_reset();
    assert_true(outq_empty(q));
    assert_int_equal(b->refs, 1);
    assert_int_equal(outq_items(q), 0);
    assert_int_equal(outq_append(q, b, 0, 4, 1), 0);
    assert_string_equal(text_of(q), "data");
    outq_free(&q);
    blob_put(&b);
}

static void append_newest(struct outq *q, const char *text, uint64_t tag)
{
    struct blob *b = blob_from(str_from(text));

    assert_non_null(b);
    assert_int_equal(outq_append_newest(q, b, 0, b->len, tag), 0);
    blob_put(&b);
}

static void only_the_newest_of_a_tag(void **state UNUSED)
{
    struct outq *q = outq_new(&pools, NULL, 0);

    append(q, "(a)", 1);
    append_newest(q, "x1", 7);
    append_newest(q, "y1", 8);
    append(q, "(b)", 0);
    append_newest(q, "x2", 7);
    append(q, "(c)", 1);
    append_newest(q, "x3", 7);
    assert_true(outq_has_tagged(q));
    assert_int_equal(outq_conflate(q, 0), 2);
    assert_string_equal(text_of(q), "(a)y1(b)(c)x3");
    assert_int_equal(outq_items(q), 4);
    assert_int_equal(outq_bytes(q), 13);
    assert_false(outq_has_tagged(q));
    assert_int_equal(outq_conflate(q, 0), 0);
    append_newest(q, "y2", 8); /* what has been looked at goes for what comes */
    assert_int_equal(outq_conflate(q, 0), 1);
    assert_string_equal(text_of(q), "(a)(b)(c)x3y2");
    outq_free(&q);
}

static void what_has_begun_is_not_conflated(void **state UNUSED)
{
    struct outq *q = outq_new(&pools, NULL, 0);

    append_newest(q, "x1", 7);
    append_newest(q, "x2", 7);
    append_newest(q, "x3", 7);
    outq_sent(q, 1, 0);
    assert_int_equal(outq_conflate(q, 0), 1);
    assert_string_equal(text_of(q), "1x3");
    outq_sent(q, 1, 0);
    append_newest(q, "x4", 7);
    assert_int_equal(outq_conflate(q, 1), 0); /* the transport holds some of x3 */
    append_newest(q, "x5", 7);
    assert_int_equal(outq_conflate(q, 0), 2);
    assert_string_equal(text_of(q), "x5");
    outq_free(&q);
}

/* Thousands of a few tags: the queue stays short, and each pass pays for many. */
static void many_of_a_few_tags(void **state UNUSED)
{
    struct outq *q = outq_new(&pools, NULL, 0);
    uint32_t passes = 0, dropped = 0;
    char text[16];

    for (int i = 0; i < 5000; i++) {
        snprintf(text, sizeof(text), "<%d>", i);
        append_newest(q, text, 1 + (uint64_t)(i % 5) * 64);
        if (outq_wants_conflating(q, SIZE_MAX)) {
            dropped += outq_conflate(q, 0);
            passes++;
        }
        assert_true(q->entries <= 5 + CONFLATE_FIRST);
    }
    dropped += outq_conflate(q, 0);
    assert_int_equal(dropped, 4995);
    assert_string_equal(text_of(q), "<4995><4996><4997><4998><4999>");
    assert_true(passes <= 5000 / CONFLATE_FIRST + 1);
    outq_free(&q);
}

/* A few large ones are worth a pass, too, but no more often than what is left has doubled. */
static void large_ones(void **state UNUSED)
{
    struct outq *q = outq_new(&pools, NULL, 0);

    append_newest(q, "0123456789", 1);
    assert_false(outq_wants_conflating(q, 84));
    append_newest(q, "0123456789", 2);
    assert_true(outq_wants_conflating(q, 84));
    assert_int_equal(outq_conflate(q, 0), 0);
    append_newest(q, "0123456789", 3);
    assert_false(outq_wants_conflating(q, 84));
    append_newest(q, "0123456789", 3);
    assert_true(outq_wants_conflating(q, 84));
    assert_int_equal(outq_conflate(q, 0), 1);
    outq_free(&q);
}

static void no_memory_to_conflate(void **state UNUSED)
{
    struct outq *q = outq_new(&pools, NULL, 0);

    append_newest(q, "x1", 7);
    append_newest(q, "x2", 7);
    fault_fail_at(1);
    assert_int_equal(outq_conflate(q, 0), 0);
    fault_reset();
    assert_string_equal(text_of(q), "x1x2");
    assert_int_equal(outq_conflate(q, 0), 1);
    outq_free(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_empty, setup, teardown),
        cmocka_unit_test_setup_teardown(test_order_and_ranges, setup, teardown),
        cmocka_unit_test_setup_teardown(test_iovec_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sent_in_every_step, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drop_keeps_begun_and_control, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drop_in_a_stream, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drop_at_every_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drop_keeps_what_is_ahead, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drop_every_pattern, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drop_everything, setup, teardown),
        cmocka_unit_test_setup_teardown(test_totals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_memory_for_queue, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_memory_for_chunk, setup, teardown),
        cmocka_unit_test_setup_teardown(only_the_newest_of_a_tag, setup, teardown),
        cmocka_unit_test_setup_teardown(what_has_begun_is_not_conflated, setup, teardown),
        cmocka_unit_test_setup_teardown(many_of_a_few_tags, setup, teardown),
        cmocka_unit_test_setup_teardown(large_ones, setup, teardown),
        cmocka_unit_test_setup_teardown(no_memory_to_conflate, setup, teardown),
    };

    return cmocka_run_group_tests_name("net/outq", tests, NULL, NULL);
}
