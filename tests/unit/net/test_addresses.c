#include "net/addresses.c"

#include "net_harness.h"

static struct addresses *a = &net_addresses;

static uint64_t connections(uint64_t tag)
{
    return addresses_use(a, tag).connections;
}

static void test_places_for_connections(void **state UNUSED)
{
    assert_int_equal(addresses_places(0), 1024);
    assert_int_equal(addresses_places(300), 2048);
    assert_int_equal(addresses_places(UINT64_MAX), 4 << 20);
}

static void test_tags_tell_apart(void **state UNUSED)
{
    const uint8_t one[16] = {1}, two[16] = {2};
    struct addresses other = *a;

    assert_int_equal(addresses_tag(a, one, 0), addresses_tag(a, one, 0));
    assert_true(addresses_tag(a, one, 0) != addresses_tag(a, two, 0));
    assert_true(addresses_tag(a, one, 0) != addresses_tag(a, one, 1));
    other.key[15] ^= 1;
    assert_true(addresses_tag(a, one, 0) != addresses_tag(&other, one, 0));
}

/* Tags that fall onto one place stand behind each other; who leaves does not hide the others, and
 * when all have left nothing has to be passed any more. */
static void test_neighbours(void **state UNUSED)
{
    uint64_t tag[5];

    for (uint64_t i = 0; i < 5; i++) {
        tag[i] = 7 + i * NET_PLACES;
        assert_int_equal(addresses_enter(a, tag[i], true), 0);
    }
    clock_advance(3 * NS_PER_SEC);
    addresses_leave(a, tag[1]);
    addresses_leave(a, tag[1]); /* unknown: no effect */
    assert_int_equal(connections(tag[1]), 0);
    assert_int_equal(connections(tag[4]), 1);
    assert_int_equal(addresses_enter(a, 7 + 9 * NET_PLACES, true), 0); /* in its place */
    assert_int_equal(net_places[0][8].tag, 7 + 9 * NET_PLACES);
    clock_advance(3 * NS_PER_SEC);
    addresses_leave(a, 7 + 9 * NET_PLACES);
    for (int i = 4; i >= 0; i--)
        if (i != 1)
            addresses_leave(a, tag[i]);
    for (size_t i = 0; i < NET_PLACES; i++)
        assert_int_equal(net_places[0][i].tag, 0);
}

static void test_as_many_as_fit(void **state UNUSED)
{
    struct {
        uint64_t tag;
        unsigned n;
    } kept[NET_PLACES / 2];
    uint64_t x = 1;

    for (size_t i = 0; i < ARRAY_LEN(kept); i++) { /* half full, by chance */
        x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        kept[i].tag = x ^ x >> 29;
        kept[i].n = 1 + (unsigned)(i % 3);
        for (unsigned k = 0; k < kept[i].n; k++)
            assert_int_equal(addresses_enter(a, kept[i].tag, true), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        assert_int_equal(connections(kept[i].tag), kept[i].n);
    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        for (unsigned k = 0; k < kept[i].n; k++)
            addresses_leave(a, kept[i].tag);
    assert_int_equal(net_counted(), 0);
    net_lives[0]++; /* what the one before has left is in nobody's way */
    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        assert_int_equal(addresses_enter(a, ~kept[i].tag, true), 0);
}

static void test_a_full_table(void **state UNUSED)
{
    for (uint64_t i = 1; i <= PROBE_MAX; i++)
        assert_int_equal(addresses_enter(a, i * NET_PLACES, true), 0);
    assert_int_equal(addresses_enter(a, 99 * NET_PLACES, true), -1);
    addresses_leave(a, 1 * NET_PLACES); /* its second counts still */
    assert_int_equal(addresses_enter(a, 99 * NET_PLACES, true), -1);
    clock_advance(2 * NS_PER_SEC);
    assert_int_equal(addresses_enter(a, 99 * NET_PLACES, true), 0);
}

static void test_lives(void **state UNUSED)
{
    struct addresses other = *a;

    other.own = 1;
    assert_int_equal(addresses_enter(a, 5, true), 0);
    assert_int_equal(addresses_enter(&other, 5, true), 0);
    assert_int_equal(connections(5), 2);
    net_lives[1] = 0; /* killed */
    assert_int_equal(connections(5), 1);
    net_lives[1] = 2;
    assert_int_equal(connections(5), 1);
    addresses_leave(&other, 5); /* of the one before */
    assert_int_equal(addresses_enter(&other, 5, true), 0);
    assert_int_equal(connections(5), 2);
}

static void test_lately(void **state UNUSED)
{
    clock_set_virtual(100 * NS_PER_SEC);
    for (int i = 0; i < 10; i++)
        assert_int_equal(addresses_enter(a, 5, true), 0);
    assert_int_equal(addresses_use(a, 5).lately, 10);
    addresses_take_back(a, 5);
    assert_int_equal(addresses_use(a, 5).lately, 9);
    clock_set_virtual(99 * NS_PER_SEC); /* a reader whose clock is behind */
    assert_int_equal(addresses_use(a, 5).lately, 9);
    clock_set_virtual(101 * NS_PER_SEC + NS_PER_SEC / 3);
    assert_int_equal(addresses_use(a, 5).lately, 6);
    assert_int_equal(addresses_enter(a, 5, true), 0);
    assert_int_equal(addresses_use(a, 5).lately, 7);
    clock_set_virtual(103 * NS_PER_SEC);
    assert_int_equal(addresses_use(a, 5).lately, 0);
    assert_int_equal(connections(5), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(test_places_for_connections),
        NET_TEST(test_tags_tell_apart),
        NET_TEST(test_neighbours),
        NET_TEST(test_as_many_as_fit),
        NET_TEST(test_a_full_table),
        NET_TEST(test_lives),
        NET_TEST(test_lately),
    };

    return cmocka_run_group_tests_name("net/addresses", tests, NULL, NULL);
}
