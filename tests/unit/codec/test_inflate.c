/* codec/inflate: what any sender may write is read; what is malformed or too much is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/inflate.c"
#include "tests/lib/fault.h"

static const struct inflate_limits roomy = {.bytes = 1 << 20};

static int inflated(struct str in, const struct inflate_limits *limits, struct str expected)
{
    struct buf out = {0};
    enum close_reason why = CLOSE_NONE;

    if (inflate_message(in, limits, &out, &why) == -1) {
        assert_null(out.p);
        return (int)why;
    }
    assert_true(str_equal(buf_view(&out), expected));
    buf_fini(&out);
    return CLOSE_NONE;
}

#define HELLO STR_LIT("Hello")

/* RFC 7692 §7.2.3: a fixed code, a dynamic one, none, two blocks, BFINAL, and nothing. */
static void examples_of_the_rfc(void **state)
{
    (void)state;
    assert_int_equal(inflated(STR_LIT("\xf2\x48\xcd\xc9\xc9\x07\0"), &roomy, HELLO), 0);
    assert_int_equal(inflated(STR_LIT("\0\x05\0\xfa\xffHello\0"), &roomy, HELLO), 0);
    assert_int_equal(
        inflated(STR_LIT("\xf2\x48\x05\0\0\0\xff\xff\xca\xc9\xc9\x07\0"), &roomy, HELLO), 0);
    assert_int_equal(inflated(STR_LIT("\xf3\x48\xcd\xc9\xc9\x07\0\0"), &roomy, HELLO), 0);
    assert_int_equal(inflated(STR_LIT("\0"), &roomy, STR_NULL), 0);
    assert_int_equal(inflated(STR_NULL, &roomy, STR_NULL), 0);
}

/* What ends in BFINAL without the byte that §7.2.3.4 adds, and what goes on behind it. */
static void final_blocks(void **state)
{
    (void)state;
    assert_int_equal(inflated(STR_LIT("\xf3\x48\xcd\xc9\xc9\x07\0"), &roomy, HELLO), 0);
    assert_int_equal(inflated(STR_LIT("\xf3\x48\xcd\xc9\xc9\x07\0"
                                      "\xf3\x48\xcd\xc9\xc9\x07\0"),
                              &roomy, STR_LIT("HelloHello")),
                     0);
    assert_int_equal(inflated(STR_LIT("\xf3\x48\xcd\xc9\xc9\x07\0"
                                      "\xf2\x48\xcd\xc9\xc9\x07\0"),
                              &roomy, STR_LIT("HelloHello")),
                     0);
    assert_int_equal(inflated(STR_LIT("\xf3\x48\xcd\xc9\xc9\x07\0\x07"), &roomy, HELLO),
                     CLOSE_BAD_DEFLATE);
}

static void malformed(void **state)
{
    static const char hello[] = "\xf2\x48\xcd\xc9\xc9\x07";

    (void)state;
    assert_int_equal(inflated(STR_LIT("\x07"), &roomy, STR_NULL), CLOSE_BAD_DEFLATE);
    assert_int_equal(inflated(STR_LIT("Hello"), &roomy, STR_NULL), CLOSE_BAD_DEFLATE);
    /* Cut off. */
    for (size_t n = 1; n < sizeof(hello) - 1; n++)
        assert_int_equal(inflated((struct str){hello, n}, &roomy, STR_NULL), CLOSE_BAD_DEFLATE);
    /* It points back to what was before the message: the sender has kept its context. */
    assert_int_equal(inflated(STR_LIT("\xf2\0\x11\0\0"), &roomy, STR_NULL), CLOSE_BAD_DEFLATE);
    /* And nothing of that is left for the next one. */
    assert_int_equal(inflated(STR_LIT("\xf2\x48\xcd\xc9\xc9\x07\0"), &roomy, HELLO), 0);
}

/* n times the same byte. */
static struct buf compressed(size_t n)
{
    struct buf out = {0}, data = {0};

    assert_int_equal(buf_reserve(&data, n), 0);
    if (n > 0)
        memset(data.p, 'x', n);
    data.len = n;
    assert_int_equal(deflate_message(DEFLATE_32K, 9, buf_view(&data), &out), 0);
    buf_fini(&data);
    return out;
}

static int size_within(size_t n, const struct inflate_limits *limits)
{
    struct buf in = compressed(n), out = {0};
    enum close_reason why = CLOSE_NONE;
    int rc = inflate_message(buf_view(&in), limits, &out, &why);

    if (rc == 0) {
        assert_int_equal(out.len, n);
        assert_true(n == 0 || (out.p[0] == 'x' && out.p[n - 1] == 'x'));
    }
    assert_true(out.cap / 3 <= limits->bytes / 2 + ROOM_MIN);
    buf_fini(&in);
    buf_fini(&out);
    return (int)why;
}

static void limits(void **state)
{
    static const size_t sizes[] = {1, 1023, 1024, 1025, 2048, 65535, 65536, 65537, 1000000};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct inflate_limits l = {.bytes = sizes[i]};

        assert_int_equal(size_within(sizes[i] - 1, &l), CLOSE_NONE);
        assert_int_equal(size_within(sizes[i], &l), CLOSE_NONE);
        assert_int_equal(size_within(sizes[i] + 1, &l), CLOSE_MESSAGE_TOO_BIG);
        assert_int_equal(size_within(sizes[i] * 3 + 99999, &l), CLOSE_MESSAGE_TOO_BIG);
    }
}

/* About a thousand times its size comes of a run. */
static void ratio(void **state)
{
    struct inflate_limits l = {.bytes = 3 << 20, .ratio = 100};

    (void)state;
    assert_int_equal(size_within(INFLATE_FREE, &l), CLOSE_NONE);
    assert_int_equal(size_within(INFLATE_FREE + 1, &l), CLOSE_INFLATE_RATIO);
    assert_int_equal(size_within(3 << 20, &l), CLOSE_INFLATE_RATIO);
    l.ratio = 1100;
    assert_int_equal(size_within(3 << 20, &l), CLOSE_NONE);
    l.ratio = 0;
    assert_int_equal(size_within(3 << 20, &l), CLOSE_NONE);
    assert_int_equal(size_within((3 << 20) + 1, &l), CLOSE_MESSAGE_TOO_BIG);
    /* A limit below what may come of anything. */
    l = (struct inflate_limits){.bytes = 1000, .ratio = 2};
    assert_int_equal(size_within(1000, &l), CLOSE_NONE);
    assert_int_equal(size_within(1001, &l), CLOSE_MESSAGE_TOO_BIG);
    l = (struct inflate_limits){.bytes = UINT64_MAX, .ratio = UINT64_MAX};
    assert_int_equal(size_within(5 << 20, &l), CLOSE_NONE);
}

static void no_memory(void **state)
{
    struct buf in = compressed(100000), out = {0};
    enum close_reason why = CLOSE_NONE;
    bool failed = true;

    (void)state;
    for (unsigned long k = 1; failed; k++) {
        if (ready)
            inflateEnd(&stream);
        ready = false;
        fault_fail_at(k);
        failed = inflate_message(buf_view(&in), &roomy, &out, &why) == -1;
        fault_reset();
        assert_int_equal(why, failed ? CLOSE_NO_MEMORY : why);
        if (!failed)
            assert_true(k > 3 && out.len == 100000);
        buf_fini(&out);
    }
    buf_fini(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_of_the_rfc),
        cmocka_unit_test(final_blocks),
        cmocka_unit_test(malformed),
        cmocka_unit_test(limits),
        cmocka_unit_test(ratio),
        cmocka_unit_test(no_memory),
    };

    return cmocka_run_group_tests_name("codec/inflate", tests, NULL, NULL);
}
