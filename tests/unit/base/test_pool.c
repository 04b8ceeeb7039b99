/* tests/unit/base/test_pool.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/pool.c"

#include "fault.h"

static void objects_are_zeroed_distinct_and_reused(void **state UNUSED)
{
    struct pool p;
    char *objs[1000];

    pool_init(&p, "test", 33, 0);
    assert_int_equal(p.size, 40);
    for (size_t i = 0; i < ARRAY_LEN(objs); i++) {
        objs[i] = pool_get(&p);
        for (size_t k = 0; k < 40; k++)
            assert_int_equal(objs[i][k], 0);
        memset(objs[i], 0xa5, 40);
    }
    assert_int_equal(p.in_use, 1000);
    assert_true(pool_bytes(&p) < (size_t)1000 * 40 * 2);
    for (size_t i = 0; i < ARRAY_LEN(objs); i++)
        pool_put(&p, objs[i]);
    pool_put(&p, NULL);
    assert_int_equal(p.in_use, 0);
    assert_ptr_equal(pool_get(&p), objs[999]); /* last in, first out: warm */
    assert_int_equal(((char *)objs[999])[7], 0);
    pool_fini(&p);
}

static void a_little_used_pool_is_small(void **state UNUSED)
{
    struct pool p;

    pool_init(&p, "small", 100, 0);
    assert_non_null(pool_get(&p));
    assert_true(pool_bytes(&p) <= 4096);
    pool_fini(&p);
}

static void the_limit_holds(void **state UNUSED)
{
    struct pool p;
    void *first;

    pool_init(&p, "limited", 16, 3);
    first = pool_get(&p);
    assert_non_null(first);
    assert_non_null(pool_get(&p));
    assert_non_null(pool_get(&p));
    assert_null(pool_get(&p));
    pool_put(&p, first);
    assert_ptr_equal(pool_get(&p), first);
    pool_fini(&p);
}

static void no_memory(void **state UNUSED)
{
    struct pool p;

    pool_init(&p, "none", 16, 0);
    fault_fail_at(1);
    assert_null(pool_get(&p));
    fault_reset();
    assert_non_null(pool_get(&p));
    pool_fini(&p);
}

static void pools_are_listed(void **state UNUSED)
{
    struct pool p;

    assert_true(list_empty(pool_list()));
    pool_init(&p, "listed", 16, 0);
    assert_ptr_equal(LIST_ENTRY(pool_list()->next, struct pool, link), &p);
    pool_fini(&p);
    assert_true(list_empty(pool_list()));
}

/* Is the page kept out of core dumps? "dd" among its flags (proc(5)). */
static bool is_undumped(const void *at)
{
    FILE *f = fopen("/proc/self/smaps", "r");
    char line[512];
    bool here = false, undumped = false;

    assert_non_null(f);
    while (fgets(line, sizeof(line), f) != NULL) {
        uintptr_t from, to;

        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            here = (uintptr_t)at >= from && (uintptr_t)at < to;
        else if (here && strncmp(line, "VmFlags:", 8) == 0)
            undumped = strstr(line, " dd") != NULL;
    }
    fclose(f);
    return undumped;
}

static void secrets(void **state UNUSED)
{
    struct pool p, other;
    char *objs[1000], *first;

    pool_init(&other, "plain", 200, 0);
    first = pool_get(&other);
    assert_non_null(first);
    assert_false(is_undumped(first));
    pool_fini(&other);
    pool_init_secret(&p, "secret", 200);
    for (size_t i = 0; i < ARRAY_LEN(objs); i++) {
        objs[i] = pool_get(&p);
        assert_non_null(objs[i]);
        memset(objs[i], 'x', 200);
        assert_true(is_undumped(objs[i]) || i % 100 != 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(objs); i++)
        pool_put(&p, objs[i]);
    UNPOISON(objs[0], 200); /* given back, it is overwritten but for its link */
    for (size_t i = sizeof(void *); i < 200; i++)
        assert_int_equal(objs[0][i], 0);
    POISON(objs[0], 200);
    pool_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_are_zeroed_distinct_and_reused),
        cmocka_unit_test(a_little_used_pool_is_small),
        cmocka_unit_test(the_limit_holds),
        cmocka_unit_test(no_memory),
        cmocka_unit_test(pools_are_listed),
        cmocka_unit_test(secrets),
    };
    return cmocka_run_group_tests_name("base/pool", tests, NULL, NULL);
}
