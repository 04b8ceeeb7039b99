/* A ring whose other end is out of its mind, or has been taken over. */
#include "ring_harness.h"

static void expect_corrupt(void)
{
    struct str r;

    assert_int_equal(ring_peek(&in, &r), -1);
    assert_int_equal(ring_peek(&in, &r), -1); /* and stays so */
}

static void a_tail_that_cannot_be(void **state UNUSED)
{
    static const uint64_t bad[] = {CAP + 8, 4, UINT64_MAX, UINT64_MAX - 7, UINT64_C(1) << 63};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        atomic_store(&shared->tail, bad[i]);
        expect_corrupt();
    }
    ring_discard(&in);
    atomic_store(&shared->tail, in.position);
    ring_attach_producer(&out, shared, CAP);
    assert_true(put(20, 6));
    ring_commit(&out);
    expect(20, 6);
}

/* What is known by its position (calls on their way, repetitions) stays behind what comes later. */
static void a_tail_that_goes_back(void **state UNUSED)
{
    static const uint64_t bad[] = {0, 8, 1, UINT64_C(1) << 63, UINT64_MAX};
    uint64_t held;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        held = in.position; /* of a record that is not given back yet */
        ring_attach_producer(&out, shared, CAP);
        assert_true(put(20, 7));
        ring_commit(&out);
        expect(20, 7);
        atomic_store(&shared->tail, bad[i]);
        expect_corrupt();
        ring_discard(&in);
        assert_true(in.position > held);
        ring_release_to(&in, held);
        ring_release(&in);
        expect_empty();
        assert_true(ring_sleep(&in)); /* and is quiet until somebody writes again */
        ring_awake(&in);
    }
    ring_attach_producer(&out, shared, CAP);
    assert_true(put(20, 8));
    ring_commit(&out);
    expect(20, 8);
}

/* A producer whose counter was overwritten, and who knows better. */
static void a_tail_that_is_put_right(void **state UNUSED)
{
    assert_true(put(20, 1));
    ring_commit(&out);
    expect(20, 1);
    atomic_store(&shared->tail, 3);
    expect_corrupt();
    ring_discard(&in);
    assert_true(put(20, 2));
    ring_commit(&out);
    expect(20, 2);
    expect_empty();
}

/* Whoever writes the shared page has no say in how large the ring is. */
static void a_head_page_full_of_nonsense(void **state UNUSED)
{
    memset(shared, 0xff, RING_HEAD_BYTES);
    atomic_store(&shared->tail, 0);
    atomic_store(&shared->head, 0);
    ring_attach_producer(&out, shared, CAP);
    ring_attach_consumer(&in, shared, CAP);
    for (int n = 0; n < 100; n++) {
        assert_true(put(200, n));
        ring_commit(&out);
        expect(200, n);
        ring_release(&in);
    }
    assert_false(put(CAP / 2, 1));
}

static void a_length_that_cannot_be(void **state UNUSED)
{
    static const uint64_t bad[] = {
        41, 48, CAP / 2 - 7, CAP, UINT64_MAX - 1, UINT64_MAX - 8, UINT64_MAX, UINT64_C(1) << 32};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ring_format(shared, CAP);
        ring_attach_producer(&out, shared, CAP);
        ring_attach_consumer(&in, shared, CAP);
        assert_true(put(40, 1));
        ring_commit(&out);
        memcpy(shared->data, &bad[i], 8); /* UINT64_MAX: a filler that nothing follows */
        expect_corrupt();
    }
}

/* A record may not reach beyond the end of the area even if the producer has announced
 * that much. */
static void a_record_across_the_end(void **state UNUSED)
{
    uint64_t len = 500;

    for (int i = 0; i < 9; i++) {
        assert_true(put(400, 1));
        ring_commit(&out);
        expect(400, 1);
        ring_release(&in);
    }
    atomic_store(&shared->tail, in.position + 3000);
    assert_true(to_end(&in, in.position) < len);
    memcpy(at(&in, in.position), &len, 8);
    expect_corrupt();
}

/* A length changed between peek and next does not move us anywhere else. */
static void a_length_that_changes(void **state UNUSED)
{
    struct str r;
    uint64_t huge = UINT64_MAX / 2;

    assert_true(put(40, 1) && put(40, 2));
    ring_commit(&out);
    assert_int_equal(ring_peek(&in, &r), 1);
    memcpy(shared->data, &huge, 8);
    ring_next(&in);
    expect(40, 2);
}

static void a_head_that_cannot_be(void **state UNUSED)
{
    static const uint64_t bad[] = {UINT64_MAX, CAP * 5, 8, UINT64_C(1) << 62};

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ring_format(shared, CAP);
        ring_attach_producer(&out, shared, CAP);
        atomic_store(&shared->head, bad[i]);
        for (int n = 0; n < 100; n++) {
            if (!put(200, 1))
                break;
        }
        assert_true(out.position <= CAP); /* full at last */
        ring_commit(&out);
        assert_true(ring_used(&out) <= CAP);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_tail_that_cannot_be),        T(a_tail_that_goes_back),   T(a_tail_that_is_put_right),
        T(a_head_page_full_of_nonsense), T(a_length_that_cannot_be), T(a_record_across_the_end),
        T(a_length_that_changes),        T(a_head_that_cannot_be),
    };

    return cmocka_run_group_tests_name("core/ring_corrupt", tests, NULL, NULL);
}
