/* tests/unit/roostload/test_plan.c */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cmd/roostload/adapter_centrifuge.c"
#include "cmd/roostload/adapter_mqtt.c"
#include "cmd/roostload/adapter_nats.c"
#include "cmd/roostload/adapter_raw.c"
#include "cmd/roostload/failif.c"
#include "cmd/roostload/hdr.c"
#include "cmd/roostload/loopback.c"
#include "cmd/roostload/options.c"
#include "cmd/roostload/options_file.c"
#include "cmd/roostload/plan.c"
#include "cmd/roostload/plan_check.c"
#include "cmd/roostload/sample.c"
#include "cmd/roostload/scrape.c"
#include "cmd/roostload/shared.c"
#include "cmd/roostload/target.c"
#include "cmd/roostload/url.c"

static struct options o;
static struct buf errors;

static int set_up(void **state)
{
    char *argv[] = {(char *)(uintptr_t) "roostload", (char *)(uintptr_t) "hold", NULL};

    (void)state;
    buf_fini(&errors);
    assert_int_equal(options_parse(&o, 2, argv, &errors), OPTIONS_OK);
    return 0;
}

static void processes_for_descriptors(void **state)
{
    struct plan_limits l = {.nofile = 20000, .ports = 28232, .cores = 2};

    (void)state;
    assert_int_equal(plan_processes(&o, 100, &l, 1, true, &errors), 1);
    assert_int_equal(plan_processes(&o, 1000000, &l, 1, true, &errors), 51);
    o.processes = 10;
    assert_int_equal(plan_processes(&o, 1000000, &l, 1, true, &errors), 0);
    assert_non_null(memmem(errors.p, errors.len, "need 51 processes of 19936 descriptors", 38));
}

static void ports(void **state)
{
    struct plan_limits l = {.nofile = 1000000, .ports = 28232, .cores = 2};

    (void)state;
    assert_true(plan_processes(&o, 28232, &l, 1, false, &errors) > 0);
    assert_int_equal(plan_processes(&o, 28233, &l, 1, false, &errors), 0);
    assert_true(plan_processes(&o, 28233, &l, 2, false, &errors) > 0);
}

static void users_are_spread_without_gaps(void **state)
{
    (void)state;
    for (uint64_t users = 1; users < 50; users++) {
        for (unsigned p = 1; p < 9; p++) {
            assert_int_equal(load_first_user(users, p, 0), 0);
            assert_int_equal(load_first_user(users, p, p), users);
            for (unsigned i = 0; i < p; i++) {
                uint64_t n = load_first_user(users, p, i + 1) - load_first_user(users, p, i);

                assert_true(n == users / p || n == users / p + 1);
            }
        }
    }
}

static void centrifuge_messages(void **state)
{
    struct str
        rest = STR_LIT(
            "{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{}}\n{\"push\":{\"channel\":\"a\","
            "\"pub\":{\"data\":\"xyz\"}}}\n{}\n{\"id\":3,\"error\":{\"code\":103}}"),
        payload;
    struct buf reply = {0};
    const struct adapter *a = adapter_find(STR_LIT("centrifuge"));

    (void)state;
    assert_int_equal(a->receive(&rest, &payload, &reply), ADAPTER_NOTHING);
    assert_int_equal(a->receive(&rest, &payload, &reply), ADAPTER_READY);
    assert_int_equal(a->receive(&rest, &payload, &reply), ADAPTER_MESSAGE);
    assert_true(str_equal(payload, STR_LIT("xyz")));
    assert_int_equal(a->receive(&rest, &payload, &reply), ADAPTER_REPLY);
    assert_true(str_equal(buf_view(&reply), STR_LIT("{}")));
    assert_int_equal(a->receive(&rest, &payload, &reply), ADAPTER_REFUSED);
    rest = STR_LIT("nonsense");
    assert_int_equal(a->receive(&rest, &payload, &reply), ADAPTER_REFUSED);
    buf_clear(&reply);
    assert_int_equal(a->publish(STR_LIT("c"), STR_LIT("RL00"), &reply), 0);
    assert_true(str_equal(buf_view(&reply),
                          STR_LIT("{\"id\":3,\"publish\":{\"channel\":\"c\",\"data\":\"RL00\"}}")));
    buf_fini(&reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(processes_for_descriptors, set_up),
        cmocka_unit_test_setup(ports, set_up),
        cmocka_unit_test(users_are_spread_without_gaps),
        cmocka_unit_test(centrifuge_messages),
    };
    return cmocka_run_group_tests_name("roostload/plan", tests, NULL, NULL);
}
