/* A worker's users: what the hub is told of their connections. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/broker_users.c"
#include "fault.h"

#include "broker_harness.h"

#define BROKER_TEST(f) cmocka_unit_test_setup_teardown(f, broker_setup, broker_teardown)

static int connect_user(const char *user, uint32_t limit)
{
    return broker_user_connect(broker, asker(9), str_from(user), limit);
}

static void disconnect_user(const char *user)
{
    broker_user_disconnect(broker, str_from(user));
}

static void expect_user(enum record_kind kind, const char *user, uint32_t count, uint8_t flags)
{
    const struct record *r = from_broker();

    if (r == NULL)
        fail_msg("no record, expected %s", record_kind_name((uint8_t)kind));
    assert_string_equal(record_kind_name(r->kind), record_kind_name((uint8_t)kind));
    assert_true(str_equal(r->data, str_from(user)));
    assert_int_equal(r->count, count);
    assert_int_equal(r->flags, flags);
}

static void skip_hello(void)
{
    flush();
    expect_record(RECORD_HELLO, "");
}

static void the_number_is_told(void **state)
{
    (void)state;
    skip_hello();
    assert_int_equal(connect_user("ann", 0), 1);
    assert_int_equal(connect_user("ann", 0), 1);
    assert_int_equal(connect_user("bob", 0), 1);
    assert_int_equal(connect_user("", 3), 1); /* nobody */
    disconnect_user("");
    disconnect_user("eve");
    flush();
    expect_user(RECORD_USER, "ann", 2, 0);
    expect_user(RECORD_USER, "bob", 1, 0);
    disconnect_user("bob");
    disconnect_user("ann");
    assert_int_equal(connect_user("ann", 0), 1); /* nothing has changed */
    flush();
    expect_user(RECORD_USER, "bob", 0, 0);
    expect_nothing();
    assert_int_equal(broker->users.count, 1);
    disconnect_user("ann");
    disconnect_user("ann");
    flush();
    expect_user(RECORD_USER, "ann", 0, 0);
    assert_int_equal(broker->users.count, 0);
}

static void one_with_a_limit_asks(void **state)
{
    const struct record *r;

    (void)state;
    skip_hello();
    assert_int_equal(connect_user("ann", 3), 0);
    assert_int_equal(connect_user("ann", 3), 0);
    flush();
    r = from_broker();
    assert_true(r->kind == RECORD_USER_CONNECT && r->token == 9 && r->chan == 3 && r->count == 1);
    expect_user(RECORD_USER_CONNECT, "ann", 2, 0);
    expect_nothing();
    /* The second is refused. */
    disconnect_user("ann");
    flush();
    expect_user(RECORD_USER, "ann", 1, 0);
    disconnect_user("ann");
    disconnect_user("ann"); /* once too often */
    flush();
    expect_user(RECORD_USER, "ann", 0, 0);
    assert_int_equal(broker->users.count, 0);
}

static void fill_ring(void)
{
    while (broker_fence(broker, asker(1)) == 0) {
    }
}

static void a_full_ring_delays_it(void **state)
{
    (void)state;
    skip_hello();
    fill_ring();
    assert_int_equal(connect_user("ann", 2), -1);
    assert_int_equal(broker->users.count, 0);
    assert_int_equal(connect_user("bob", 0), 1);
    flush();
    assert_false(broker_can_publish(broker, 1, 1));
    while (from_broker() != NULL) {
    }
    flush();
    expect_user(RECORD_USER, "bob", 1, 0);
}

/* As the old hub was told them; what has changed since comes behind. */
static void all_are_announced_to_a_new_hub(void **state)
{
    char name[16];
    const struct record *r;
    unsigned again = 0;

    (void)state;
    skip_hello();
    broker_hub_generation(broker, 1);
    turn();
    expect_record(RECORD_ANNOUNCED, "");
    for (unsigned i = 0; i < 50; i++) {
        snprintf(name, sizeof(name), "u%u", i);
        connect_user(name, 0);
    }
    flush();
    while (from_broker() != NULL) {
    }
    connect_user("new", 0);
    connect_user("u1", 0);
    broker_hub_generation(broker, 2);
    while (task_run(&tasks, NS_PER_SEC)) {
    }
    assert_int_equal(connect_user("u2", 5), -1); /* not before it has been announced */
    disconnect_user("u3");
    for (flush(); (r = from_broker()) != NULL && r->kind != RECORD_ANNOUNCED; flush()) {
        assert_int_equal(r->kind, RECORD_USER);
        if (r->flags & PRESENCE_AGAIN) {
            assert_int_equal(r->count, 1);
            assert_false(str_equal(r->data, STR_LIT("new")));
            again++;
        } else if (str_equal(r->data, STR_LIT("u1"))) {
            assert_int_equal(r->count, 2);
        } else if (str_equal(r->data, STR_LIT("u3"))) {
            assert_int_equal(r->count, 0);
        } else {
            assert_true(str_equal(r->data, STR_LIT("new")));
        }
    }
    assert_int_equal(again, 50);
    assert_non_null(r);
    assert_int_equal(connect_user("u2", 5), 0);
    flush();
    (void)expect_record(RECORD_FENCE, "");
    expect_user(RECORD_USER_CONNECT, "u2", 2, 0);
}

static void no_memory(void **state)
{
    static char big[BROKER_USER_MAX + 2];

    (void)state;
    for (unsigned long k = 1; k <= 2; k++) {
        fault_fail_at(k);
        assert_int_equal(connect_user("ann", 0), -1);
        fault_reset();
        assert_int_equal(broker->users.count, 0);
    }
    memset(big, 'u', BROKER_USER_MAX + 1);
    assert_int_equal(connect_user(big, 0), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BROKER_TEST(the_number_is_told),
        BROKER_TEST(one_with_a_limit_asks),
        BROKER_TEST(a_full_ring_delays_it),
        BROKER_TEST(all_are_announced_to_a_new_hub),
        BROKER_TEST(no_memory),
    };

    return cmocka_run_group_tests_name("core/broker_users", tests, NULL, NULL);
}
