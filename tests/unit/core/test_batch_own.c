/* A connection's own items: all of them, in order, and without looking at the others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/batch_own.c"
#include "fault.h"

static struct batch *with(uint32_t n, uint64_t (*token)(uint32_t i))
{
    struct batch *b = batch_new(STR_LIT("lobby"));

    assert_non_null(b);
    for (uint32_t i = 0; i < n; i++) {
        struct record r = {.source = (uint16_t)(2 + i % 2), .token = token(i)};

        assert_int_equal(batch_append(b, &r), 0);
    }
    batch_seal(b);
    return b;
}

static void assert_own(struct batch *b, uint16_t source, uint64_t token)
{
    uint32_t i = batch_own_first(b, source, 0, token);

    for (uint32_t k = 0; k < b->nitems; k++) {
        if (b->items[k].source != source || b->items[k].token != token)
            continue;
        assert_int_equal(i, k);
        i = batch_own_next(b, i);
    }
    assert_int_equal(i, b->nitems);
}

static uint64_t few(uint32_t i)
{
    return i * i % 7;
}

static uint64_t each(uint32_t i)
{
    return (uint64_t)i << 32 | 1;
}

static const uint32_t sizes[] = {1, 2, SHORT, SHORT + 1, 64, 65, 1000};

static void all_of_them_in_order(void **state UNUSED)
{
    for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
        struct batch *b = with(sizes[s], few);

        for (uint64_t token = 0; token < 9; token++)
            for (uint16_t source = 0; source < 5; source++)
                assert_own(b, source, token); /* that of another worker's is another */
        assert_int_equal(b->index != NULL, sizes[s] > SHORT);
        batch_free(b);
    }
}

static void without_memory_too(void **state UNUSED)
{
    struct batch *b = with(1000, few);

    fault_fail_at(1);
    assert_int_equal(batch_own_first(b, 2, 0, 5), b->nitems);
    fault_reset();
    assert_null(b->index);
    for (uint64_t token = 0; token < 7; token++) {
        fault_fail_at(1);
        assert_own(b, 3, token);
        fault_reset();
    }
    assert_own(b, 3, 1);
    assert_non_null(b->index);
    batch_free(b);
}

/* What chains are good for: the items looked at for one who has none are few, however many there
 * are. */
static void chains_are_short(void **state UNUSED)
{
    struct batch *b = with(BATCH_ITEMS_MAX, each);
    uint32_t looked = 0;

    assert_int_equal(batch_own_first(b, 9, 0, 1), b->nitems);
    assert_true(batch_own_first(b, 2, 0, each(0)) < b->nitems);
    assert_int_equal(batch_own_first(b, 2, 1, each(0)), b->nitems); /* of another kind */
    for (uint64_t k = 0; k < 1000; k++)
        for (uint32_t i = b->index->first[hash(b->index, 2, k << 32 | 2)]; i < b->nitems;
             i = b->index->next[i])
            looked++;
    assert_true(looked < 5000);
    batch_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_them_in_order),
        cmocka_unit_test(without_memory_too),
        cmocka_unit_test(chains_are_short),
    };

    return cmocka_run_group_tests_name("core/batch_own", tests, NULL, NULL);
}
