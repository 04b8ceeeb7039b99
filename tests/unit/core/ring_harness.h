/* tests/unit/core/ring_harness.h - both ends of a ring in one process. */
#ifndef ROOST_TEST_RING_HARNESS_H
#define ROOST_TEST_RING_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "core/ring.c"

#define CAP 4096

static struct ring_shared *shared;
static struct ring out, in;

static int setup(void **state UNUSED)
{
    shared = aligned_alloc(CACHE_LINE, ring_bytes(CAP));
    ring_format(shared, CAP);
    ring_attach_producer(&out, shared, CAP);
    ring_attach_consumer(&in, shared, CAP);
    return 0;
}

static int teardown(void **state UNUSED)
{
    free(shared);
    return 0;
}

static bool put(size_t len, int byte)
{
    void *p = ring_reserve(&out, len);

    if (p == NULL)
        return false;
    memset(p, byte, len);
    return true;
}

static void expect(size_t len, int byte)
{
    struct str r;

    assert_int_equal(ring_peek(&in, &r), 1);
    assert_int_equal(r.n, len);
    assert_int_equal((uintptr_t)r.p & 7, 0);
    for (size_t i = 0; i < len; i++)
        assert_int_equal((unsigned char)r.p[i], byte);
    ring_next(&in);
}

static void expect_empty(void)
{
    struct str r;

    assert_int_equal(ring_peek(&in, &r), 0);
}

#endif
