/* tests/unit/base/test_hash.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.c"

#include "fault.h"

struct item {
    struct htab_node node;
    unsigned n;
    unsigned visits;
    bool in;
};

/* SipHash-2-4 of 00 01 02 ... under the key 00 01 ... 0f: from the reference implementation's
 * table. */
static void siphash_reference_vectors(void **state UNUSED)
{
    static const uint8_t want[][8] = {
        {0x31, 0x0e, 0x0e, 0xdd, 0x47, 0xdb, 0x6f, 0x72}, /* 0 bytes */
        {0xfd, 0x67, 0xdc, 0x93, 0xc5, 0x39, 0xf8, 0x74},
        {0x5a, 0x4f, 0xa9, 0xd9, 0x09, 0x80, 0x6c, 0x0d},
        {0x2d, 0x7e, 0xfb, 0xd7, 0x96, 0x66, 0x67, 0x85},
    };
    uint8_t key[16];
    char in[16];
    uint64_t h;

    for (unsigned i = 0; i < 16; i++)
        key[i] = (uint8_t)(in[i] = (char)i);
    for (size_t n = 0; n < ARRAY_LEN(want); n++) {
        h = siphash(key, (struct str){in, n}, 2, 4);
        assert_memory_equal(&h, want[n], 8);
    }
    h = siphash(key, (struct str){in, 15}, 2, 4); /* the example of the paper's appendix */
    assert_true(h == UINT64_C(0xa129ca6149be45e5));
}

static void the_key_matters(void **state UNUSED)
{
    static const uint8_t a[16] = {1}, b[16] = {2};
    uint64_t x;

    hash_seed(a);
    x = hash_str(STR_LIT("name"));
    hash_seed(b);
    assert_true(x != hash_str(STR_LIT("name")));
    assert_true(x == hash_keyed(a, STR_LIT("name")));
    hash_seed_random();
}

static bool item_equal(const struct htab_node *node, const void *key)
{
    return CONTAINER_OF((struct htab_node *)(uintptr_t)node, struct item, node)->n ==
           *(const unsigned *)key;
}

static struct htab_node *find(struct htab *t, unsigned n)
{
    return htab_find(t, hash_str((struct str){(const char *)&n, sizeof(n)}), item_equal, &n);
}

static void insert(struct htab *t, struct item *i, unsigned n)
{
    i->n = n;
    i->in = true;
    i->node.hash = hash_str((struct str){(const char *)&n, sizeof(n)});
    assert_int_equal(htab_insert(t, &i->node), 0);
}

static void random_inserts_and_removals(void **state UNUSED)
{
    static struct item items[5000];
    struct htab t = {0};
    unsigned seed = 1;

    assert_null(find(&t, 3));
    for (int step = 0; step < 60000; step++) {
        struct item *i;

        seed = seed * 1103515245 + 12345;
        i = &items[(seed >> 8) % ARRAY_LEN(items)];
        if (i->in) {
            assert_ptr_equal(find(&t, (unsigned)(i - items)), &i->node);
            htab_remove(&t, &i->node);
            i->in = false;
        } else {
            assert_null(find(&t, (unsigned)(i - items)));
            insert(&t, i, (unsigned)(i - items));
        }
    }
    for (size_t k = 0; k < ARRAY_LEN(items); k++)
        assert_int_equal(find(&t, (unsigned)k) != NULL, items[k].in);
    htab_fini(&t);
}

static void visit(struct htab_node *node, void *arg)
{
    (void)arg;
    CONTAINER_OF(node, struct item, node)->visits++;
}

static void a_scan_sees_all_that_stay_across_growth(void **state UNUSED)
{
    static struct item items[3000];
    struct htab t = {0};
    size_t cursor = 0, added = 500;
    bool more = true;

    for (unsigned n = 0; n < 500; n++)
        insert(&t, &items[n], n);
    while (more) {
        more = htab_scan(&t, &cursor, 8, visit, NULL);
        for (unsigned k = 0; k < 40 && added < ARRAY_LEN(items); k++, added++)
            insert(&t, &items[added], (unsigned)added);
    }
    for (unsigned n = 0; n < 500; n++)
        assert_true(items[n].visits >= 1);
    htab_fini(&t);
}

static size_t old_buckets(const struct htab *t)
{
    return t->old == NULL ? 0 : t->nold - t->moved;
}

/* A call may cost what it was asked for, however much of the table is still to be moved. */
static void a_scan_does_not_finish_growth_in_one_go(void **state UNUSED)
{
    static const size_t budgets[] = {0, 1, 7};
    static struct item items[4097];

    for (size_t b = 0; b < ARRAY_LEN(budgets); b++) {
        size_t cursor = 0, calls = 0, left, most = MOVE_PER_STEP * MAX(budgets[b], (size_t)1);
        struct htab t = {0};

        memset(items, 0, sizeof(items));
        for (unsigned n = 0; n < ARRAY_LEN(items); n++)
            insert(&t, &items[n], n);
        left = old_buckets(&t);
        assert_int_equal(left, 4096 - MOVE_PER_STEP);
        for (; left > 0; calls++) {
            assert_true(htab_scan(&t, &cursor, budgets[b], visit, NULL));
            assert_in_range(left - old_buckets(&t), 1, most);
            assert_true(old_buckets(&t) == 0 || cursor == 0);
            left = old_buckets(&t);
        }
        assert_int_equal(calls, (4096 - MOVE_PER_STEP + most - 1) / most);
        while (htab_scan(&t, &cursor, budgets[b], visit, NULL))
            ;
        for (unsigned n = 0; n < ARRAY_LEN(items); n++)
            assert_int_equal(items[n].visits, 1);
        htab_fini(&t);
    }
}

/* As whoever frees a table does. */
static void a_scan_without_limit_is_one_call(void **state UNUSED)
{
    static struct item items[4097];
    struct htab t = {0};
    size_t cursor = 0;

    for (unsigned n = 0; n < ARRAY_LEN(items); n++)
        insert(&t, &items[n], n);
    assert_true(old_buckets(&t) > 0);
    assert_false(htab_scan(&t, &cursor, SIZE_MAX, visit, NULL));
    for (unsigned n = 0; n < ARRAY_LEN(items); n++)
        assert_int_equal(items[n].visits, 1);
    htab_fini(&t);
}

/* An insert for each step, without end, so that growth is under way again and again. */
static void a_scan_ends_although_the_table_keeps_growing(void **state UNUSED)
{
    static struct item items[40000];
    struct htab t = {0};
    const unsigned first = 65;
    size_t cursor = 0;
    unsigned added;

    for (added = 0; added < first; added++)
        insert(&t, &items[added], added);
    for (; htab_scan(&t, &cursor, 1, visit, NULL); added++) {
        assert_true(added < ARRAY_LEN(items));
        insert(&t, &items[added], added);
    }
    for (unsigned n = 0; n < first; n++)
        assert_true(items[n].visits >= 1);
    htab_fini(&t);
}

static void visit_and_remove(struct htab_node *node, void *arg)
{
    htab_remove(arg, node);
    CONTAINER_OF(node, struct item, node)->in = false;
}

static void a_scan_may_remove_what_it_visits(void **state UNUSED)
{
    static struct item items[1000];
    struct htab t = {0};
    size_t cursor = 0;

    for (unsigned n = 0; n < 1000; n++)
        insert(&t, &items[n], n);
    while (htab_scan(&t, &cursor, 3, visit_and_remove, &t))
        ;
    assert_int_equal(t.count, 0);
    assert_false(htab_scan(&t, &cursor, 1, visit, NULL) && t.count > 0);
    htab_fini(&t);
}

static void no_memory_for_the_first_and_for_growth(void **state UNUSED)
{
    static struct item items[200];
    struct htab t = {0};

    items[0].node.hash = 1;
    fault_fail_at(1);
    assert_int_equal(htab_insert(&t, &items[0].node), -1);
    fault_reset();
    for (unsigned n = 0; n < 64; n++)
        insert(&t, &items[n], n);
    fault_fail_at(1); /* growth fails: chains get longer, nothing is lost */
    insert(&t, &items[64], 64);
    fault_reset();
    for (unsigned n = 65; n < 200; n++)
        insert(&t, &items[n], n);
    for (unsigned n = 0; n < 200; n++)
        assert_non_null(find(&t, n));
    htab_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(siphash_reference_vectors),
        cmocka_unit_test(the_key_matters),
        cmocka_unit_test(random_inserts_and_removals),
        cmocka_unit_test(a_scan_sees_all_that_stay_across_growth),
        cmocka_unit_test(a_scan_does_not_finish_growth_in_one_go),
        cmocka_unit_test(a_scan_without_limit_is_one_call),
        cmocka_unit_test(a_scan_ends_although_the_table_keeps_growing),
        cmocka_unit_test(a_scan_may_remove_what_it_visits),
        cmocka_unit_test(no_memory_for_the_first_and_for_growth),
    };
    return cmocka_run_group_tests_name("base/hash", tests, NULL, NULL);
}
