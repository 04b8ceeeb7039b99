/* personal_channel_single_connection: of a user's connections the last one stays, in whatever order and how late
 * the orders come that end the others. */
#include "proto/centrifuge/single.c"

#include "../harness.h"
#include "core/channel_options.h"
#include "orders.h"
#include "proto/session.h"

#define AHEAD (3600 * NS_PER_SEC) /* another node's clock */

static int setup(void **state UNUSED)
{
    if (h_start(true) == -1)
        return -1;
    config.subscribe_to_user_personal_channel = true;
    config.personal_channel_single_connection = true;
    channel_options_changed();
    return 0;
}

static int teardown(void **state)
{
    int rc = h_stop(state);

    config_defaults(&config);
    channel_options_changed();
    return rc;
}

static void assert_stays(struct peer *p)
{
    h_turns(4);
    assert_int_equal(p->conn->state, CONN_OPEN);
    assert_int_equal(client_of(p->conn)->state, CLIENT_CONNECTED);
}

static void assert_ended(struct peer *p)
{
    h_turns(4);
    assert_true(told(p, "connection limit"));
}

#define FIRST_ID "00000000-0000-4000-8000-000000000000"

/* As a client elsewhere says it, whose id is id. */
static void say_as(enum control_order which, const char *user, uint64_t stamp, const char *id)
{
    order(&(struct control){.order = which,
                            .user = str_from(user),
                            .whitelist = str_from(id),
                            .offset = (int64_t)stamp});
    h_turns(2);
}

static void somebody_connected(const char *user, uint64_t stamp)
{
    say_as(CONTROL_DISCONNECT_EARLIER, user, stamp, FIRST_ID);
}

static uint64_t stamp_of(const struct peer *p)
{
    return client_of(p->conn)->connected;
}

static void the_last_stays(void **state UNUSED)
{
    struct peer *other = client_of_user("43"), *p[3];

    for (size_t i = 0; i < ARRAY_LEN(p); i++)
        p[i] = client_of_user("42");
    assert_ended(p[0]);
    assert_ended(p[1]);
    assert_stays(p[2]);
    assert_stays(other);
    for (size_t i = 0; i < ARRAY_LEN(p); i++)
        h_close(p[i]);
    h_close(other);
}

/* All connect before any of their orders comes. */
static void of_those_that_connect_together_one_stays(void **state UNUSED)
{
    struct peer *p[9];
    unsigned left = 0;

    h_hub.frozen = true;
    for (size_t i = 0; i < ARRAY_LEN(p); i++)
        p[i] = client_of_user("42");
    h_hub.frozen = false;
    h_turns(20);
    for (size_t i = 0; i < ARRAY_LEN(p); i++) {
        assert_true(told(p[i], "\"connect\":{"));
        left += !told(p[i], "connection limit");
    }
    assert_int_equal(left, 1);
    assert_stays(p[ARRAY_LEN(p) - 1]);
    for (size_t i = 0; i < ARRAY_LEN(p); i++)
        h_close(p[i]);
}

static void an_order_that_is_late_is_for_those_before(void **state UNUSED)
{
    struct peer *p = client_of_user("42");

    somebody_connected("42", stamp_of(p) - 1);
    assert_stays(p);
    somebody_connected("43", stamp_of(p) + 1);
    assert_stays(p);
    somebody_connected("42", stamp_of(p) + 1);
    assert_ended(p);
    h_close(p);
}

/* Two workers may give the same one; all have to agree on who was first. */
static void equal_stamps_go_by_id(void **state UNUSED)
{
    struct peer *p = client_of_user("42");

    say_as(CONTROL_DISCONNECT_EARLIER, "42", stamp_of(p), FIRST_ID);
    assert_stays(p);
    say_as(CONTROL_DISCONNECT_EARLIER, "42", stamp_of(p), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    assert_ended(p);
    h_close(p);
}

/* Who connects when that order has come is behind it, whatever the clocks say. */
static void a_clock_that_is_ahead(void **state UNUSED)
{
    struct peer *p;

    somebody_connected("42", clock_wall_ns() + AHEAD);
    p = client_of_user("42");
    assert_int_equal(stamp_of(p), clock_wall_ns() + AHEAD + 1);
    somebody_connected("42", clock_wall_ns() + AHEAD); /* told twice */
    assert_stays(p);
    clock_advance(2 * AHEAD);
    assert_int_equal(new_stamp(), clock_wall_ns() + (clock_precise_ns() - clock_ns()));
    assert_true(new_stamp() > clock_wall_ns());
    h_close(p);
}

static unsigned said(void)
{
    static unsigned before;
    unsigned all = h_hub.records[RECORD_CONTROL], since = all - before;

    before = all;
    return since;
}

/* Of several here the last one does, once for each order. */
static void who_is_behind_an_order_says_so(void **state UNUSED)
{
    struct peer *all[3], *p;
    uint64_t least;

    h_hub.frozen = true;
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        all[i] = client_of_user("42");
    p = all[ARRAY_LEN(all) - 1];
    h_hub.frozen = false;
    h_turns(20);
    h_wait(NS_PER_SEC);
    (void)said();
    least = stamp_of(p) - 1;
    somebody_connected("42", least);
    assert_stays(p);
    assert_int_equal(said(), 1);
    for (unsigned i = 0; i < 3 * SPOKE_MAX; i++)
        somebody_connected("42", least);
    assert_int_equal(said(), SPOKE_MAX - 1);
    assert_int_equal(metrics->controls_lost, 2 * SPOKE_MAX + 1);
    h_wait(NS_PER_SEC);
    somebody_connected("42", least);
    assert_int_equal(said(), 1);
    config.personal_channel_single_connection = false;
    somebody_connected("42", least);
    assert_int_equal(said(), 0);
    assert_stays(p);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        h_close(all[i]);
}

/* It connected behind a client whose clock is ahead, on a worker that had not heard of that: it is the last. */
static void who_is_behind_by_another_clock(void **state UNUSED)
{
    struct peer *p = client_of_user("42");
    uint64_t ahead = stamp_of(p) + AHEAD;

    (void)said();
    say_as(CONTROL_STAMP, "42", ahead, FIRST_ID);
    assert_stays(p);
    assert_true(stamp_of(p) > ahead);
    assert_int_equal(said(), 1); /* that one ends by this */
    say_as(CONTROL_STAMP, "42", ahead, FIRST_ID);
    assert_int_equal(said(), 0);
    somebody_connected("42", ahead);
    assert_stays(p);
    h_close(p);
}

/* Maybe that one came behind, and this one's order was late: it is left as it is. */
static void who_is_there_for_longer(void **state UNUSED)
{
    struct peer *p = client_of_user("42");
    uint64_t before = stamp_of(p);

    h_wait(3 * NS_PER_SEC);
    (void)said();
    say_as(CONTROL_STAMP, "42", before + 1, FIRST_ID);
    assert_stays(p);
    assert_int_equal(stamp_of(p), before);
    assert_int_equal(said(), 0);
    somebody_connected("42", before + 1);
    assert_ended(p);
    h_close(p);
}

/* Orders are obeyed in a task of their own; who connects before that is behind them. */
static void a_stamp_is_known_when_it_comes(void **state UNUSED)
{
    const uint64_t ahead = clock_wall_ns() + AHEAD;

    order(
        &(struct control){.order = CONTROL_STAMP, .user = STR_LIT("43"), .offset = (int64_t)ahead});
    assert_int_equal(new_stamp(), ahead + 1);
}

/* It has done nothing. */
static void no_room_to_say_so(void **state UNUSED)
{
    static char big[4096];
    struct peer *p = client_of_user("42");
    uint64_t lost = metrics->controls_lost;

    h_hub.frozen = true;
    while (h_fill_ring((struct str){big, sizeof(big)}) == 0)
        continue;
    while (h_fill_ring(STR_LIT("x")) == 0)
        continue;
    somebody_connected("42", stamp_of(p) - 1);
    assert_stays(p);
    assert_int_equal(metrics->controls_lost, lost + 1);
    h_hub.frozen = false;
    h_turns(20);
    h_close(p);
}

/* The setting came with a reload; and where it is off, nobody ends anybody. */
static void who_connected_without_it(void **state UNUSED)
{
    struct peer *first, *second, *third;

    config.personal_channel_single_connection = false;
    first = client_of_user("42");
    second = client_of_user("42");
    assert_stays(first);
    assert_int_equal(stamp_of(first), 0);
    config.personal_channel_single_connection = true;
    third = client_of_user("42");
    assert_ended(first);
    assert_ended(second);
    assert_stays(third);
    h_close(first);
    h_close(second);
    h_close(third);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_last_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(of_those_that_connect_together_one_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(an_order_that_is_late_is_for_those_before, setup, teardown),
        cmocka_unit_test_setup_teardown(equal_stamps_go_by_id, setup, teardown),
        cmocka_unit_test_setup_teardown(a_clock_that_is_ahead, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_behind_an_order_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_behind_by_another_clock, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_there_for_longer, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stamp_is_known_when_it_comes, setup, teardown),
        cmocka_unit_test_setup_teardown(no_room_to_say_so, setup, teardown),
        cmocka_unit_test_setup_teardown(who_connected_without_it, setup, teardown),
    };

    sessions_init();
    return cmocka_run_group_tests_name("proto/centrifuge/single", tests, NULL, NULL);
}
