/* The ring, in one process and between two. */
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ring_harness.h"

static void nothing_before_commit(void **state UNUSED)
{
    expect_empty();
    assert_true(put(5, 1));
    assert_true(put(0, 0));
    assert_true(put(8, 2));
    expect_empty();
    ring_commit(&out);
    expect(5, 1);
    expect(0, 0);
    expect(8, 2);
    expect_empty();
    assert_true(ring_used(&out) > 0);
    ring_release(&in);
    assert_int_equal(ring_used(&in), 0);
}

/* Every length at every place of the area, so the filler takes every size. */
static void wraps_everywhere(void **state UNUSED)
{
    for (size_t step = 1; step < 600; step += 7) {
        for (size_t n = 0; n < 2 * CAP / (step + 8) + 3; n++) {
            assert_true(put(step, (int)(n & 0xff)));
            ring_commit(&out);
            expect(step, (int)(n & 0xff));
            ring_release(&in);
        }
    }
    assert_int_equal(ring_used(&in), 0);
}

static void largest_record(void **state UNUSED)
{
    size_t max = ring_max_record(&out);

    for (size_t before = 0; before < CAP; before += 8) {
        assert_true(put(before % 1000, 9));
        ring_commit(&out);
        expect(before % 1000, 9);
        ring_release(&in);
        assert_true(put(max, 3));
        ring_commit(&out);
        expect(max, 3);
        ring_release(&in);
    }
    assert_null(ring_reserve(&out, max + 1));
    assert_null(ring_reserve(&out, SIZE_MAX));
    assert_null(ring_reserve(&out, SIZE_MAX - 7));
}

static void full_until_released(void **state UNUSED)
{
    size_t n = 0;

    while (put(100, 7))
        n++;
    assert_int_equal(n, CAP / 112);
    ring_commit(&out);
    expect(100, 7);
    assert_false(put(100, 7)); /* read, not released */
    ring_release(&in);
    assert_true(put(100, 8));
    ring_commit(&out);
    for (size_t i = 1; i < n; i++)
        expect(100, 7);
    expect(100, 8);
    expect_empty();
}

/* Whatever ring_has_room() promises can be written, however the bytes are divided. */
static void room_is_conservative(void **state UNUSED)
{
    unsigned seed = 5;

    for (int round = 0; round < 20000; round++) {
        size_t bytes = (size_t)rand_r(&seed) % 3500, records = 1 + (size_t)rand_r(&seed) % 12;
        size_t largest = 1 + (size_t)rand_r(&seed) % ring_max_record(&out);
        struct str r;

        if (ring_has_room(&out, bytes, records, largest)) {
            size_t left = bytes;

            for (size_t i = 0; i < records; i++) {
                size_t len = i + 1 == records ? left : (size_t)rand_r(&seed) % (left + 1);

                len = MIN(len, largest);
                assert_true(put(len, 1));
                left -= len;
            }
            ring_commit(&out);
        }
        for (int i = rand_r(&seed) % 8; i > 0 && ring_peek(&in, &r) > 0; i--)
            ring_next(&in);
        ring_release(&in);
    }
    assert_false(ring_has_room(&out, SIZE_MAX, 1, SIZE_MAX));
    assert_false(ring_has_room(&out, 1, SIZE_MAX, 1));
    assert_false(ring_has_room(&out, CAP, 1, CAP));
}

/* Half of an empty ring is always there, wherever it begins, and all but the largest record. */
static void room_in_an_empty_ring(void **state UNUSED)
{
    for (int i = 0; i < 2 * CAP / 16; i++) {
        assert_true(ring_has_room(&out, CAP / 2 - 16, 1, CAP));
        assert_true(ring_has_room(&out, CAP / 2 - 16 * 10, 10, CAP));
        assert_true(ring_has_room(&out, CAP - 1024 - 16 * 11, 10, 1024));
        assert_true(put(3, 0));
        ring_commit(&out);
        expect(3, 0);
        ring_release(&in);
    }
}

static void a_new_producer_forgets_what_was_not_committed(void **state UNUSED)
{
    assert_true(put(10, 1));
    ring_commit(&out);
    assert_true(put(10, 2));
    ring_attach_producer(&out, shared, CAP);
    assert_true(put(10, 3));
    ring_commit(&out);
    expect(10, 1);
    expect(10, 3);
    expect_empty();
}

static void a_new_consumer_sees_what_was_not_released(void **state UNUSED)
{
    uint64_t position;
    struct str r;

    assert_true(put(10, 1) && put(10, 2) && put(10, 3));
    ring_commit(&out);
    expect(10, 1);
    ring_release(&in);
    assert_int_equal(ring_peek(&in, &r), 1);
    position = in.position;
    expect(10, 2);
    ring_attach_consumer(&in, shared, CAP);
    assert_int_equal(ring_peek(&in, &r), 1);
    assert_int_equal(in.position, position);
    expect(10, 2);
    expect(10, 3);
}

/* The position of a record behind a filler is the same before and after a crash of the consumer. */
static void positions_survive_a_filler(void **state UNUSED)
{
    struct str r;
    uint64_t position;

    while (out.position + 608 < CAP) {
        assert_true(put(600, 1));
        ring_commit(&out);
        expect(600, 1);
        ring_release(&in);
    }
    assert_true(put(700, 2));
    ring_commit(&out);
    assert_int_equal(ring_peek(&in, &r), 1);
    position = in.position;
    assert_int_equal(position, CAP);
    ring_attach_consumer(&in, shared, CAP);
    assert_int_equal(ring_peek(&in, &r), 1);
    assert_int_equal(in.position, position);
}

static void sleep_protocol(void **state UNUSED)
{
    assert_false(ring_wake_needed(&out));
    assert_true(ring_sleep(&in));
    assert_true(put(1, 1));
    ring_commit(&out);
    assert_true(ring_wake_needed(&out));
    assert_false(ring_wake_needed(&out)); /* once */
    assert_false(ring_sleep(&in));        /* there is a record */
    assert_false(ring_wake_needed(&out));
    expect(1, 1);
    assert_true(ring_sleep(&in));
    ring_awake(&in);
    assert_true(put(1, 1));
    ring_commit(&out);
    assert_false(ring_wake_needed(&out));
}

/* --- two processes --- */

#define BIG 65536

static void stream(struct ring_shared *s, uint32_t upto)
{
    struct ring r = {0};
    unsigned seed;
    uint32_t *p, next;

    ring_attach_producer(&r, s, BIG);
    /* Where the last incarnation stopped stands in the area that follows the ring. */
    memcpy(&next, s->data + BIG, sizeof(next));
    for (seed = next + 1; next < upto;) {
        size_t len = 4 + 4 * ((size_t)rand_r(&seed) % 30);

        p = ring_reserve(&r, len);
        if (p == NULL) {
            sched_yield();
            continue;
        }
        for (size_t i = 0; i < len / 4; i++)
            p[i] = next;
        next++;
        ring_commit(&r);
    }
    _exit(0);
}

static pid_t start(struct ring_shared *s, uint32_t upto)
{
    pid_t pid = fork();

    assert_int_not_equal(pid, -1);
    if (pid == 0)
        stream(s, upto);
    return pid;
}

/* Reads until n records have come; each is whole, and they come in order from *next. */
static void read_stream(struct ring *r, uint32_t *next, uint32_t n)
{
    struct str raw;
    uint32_t end = *next + n;

    while (*next < end) {
        int rc = ring_peek(r, &raw);

        assert_int_not_equal(rc, -1);
        if (rc == 0) {
            sched_yield();
            continue;
        }
        assert_int_equal(raw.n % 4, 0);
        for (size_t i = 0; i < raw.n; i += 4) {
            if (memcmp(raw.p + i, next, 4) != 0)
                fail_msg("record %u is torn or out of order", *next);
        }
        (*next)++;
        ring_next(r);
        if ((*next & 15) == 0)
            ring_release(r);
    }
    ring_release(r);
}

/* A million records; the producer is killed with SIGKILL now and then, and another goes on. */
static void two_processes(void **state UNUSED)
{
    const uint32_t total = 1000000;
    size_t size = ring_bytes(BIG) + 8;
    struct ring_shared *s =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct ring r = {0};
    uint32_t next = 0;
    struct str raw;

    assert_ptr_not_equal(s, MAP_FAILED);
    ring_format(s, BIG);
    ring_attach_consumer(&r, s, BIG);
    for (uint32_t kill_at = 100000; next < total; kill_at += 100000) {
        pid_t pid = start(s, total);
        int status;

        read_stream(&r, &next, MIN(kill_at, total) - next);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        while (next < total && ring_peek(&r, &raw) > 0)
            read_stream(&r, &next, 1);
        ring_release(&r);
        memcpy(s->data + BIG, &next, sizeof(next));
    }
    assert_int_equal(next, total);
    munmap(s, size);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(nothing_before_commit),
        T(wraps_everywhere),
        T(largest_record),
        T(full_until_released),
        T(room_is_conservative),
        T(room_in_an_empty_ring),
        T(a_new_producer_forgets_what_was_not_committed),
        T(a_new_consumer_sees_what_was_not_released),
        T(positions_survive_a_filler),
        T(sleep_protocol),
        cmocka_unit_test(two_processes),
    };

    return cmocka_run_group_tests_name("core/ring", tests, NULL, NULL);
}
