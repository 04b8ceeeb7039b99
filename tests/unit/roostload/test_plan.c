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
#include "cmd/roostload/hmac_token.c"
#include "cmd/roostload/loopback.c"
#include "cmd/roostload/options.c"
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
    assert_int_equal(plan_processes(&o, 100, &l, &errors), 1);
    assert_int_equal(plan_processes(&o, 1000000, &l, &errors), 51);
    o.processes = 10;
    assert_int_equal(plan_processes(&o, 1000000, &l, &errors), 0);
    assert_non_null(memmem(errors.p, errors.len, "need 51 processes of 19936 descriptors", 38));
}

static struct load_target target(const char *ip, uint16_t port)
{
    struct load_target t = {.host = "host"};
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&t.address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&t.address;

    if (inet_pton(AF_INET, ip, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        t.address_len = sizeof(*v4);
    } else {
        assert_int_equal(inet_pton(AF_INET6, ip, &v6->sin6_addr), 1);
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        t.address_len = sizeof(*v6);
    }
    return t;
}

/* 100 ports; is there room for `users` and no more? */
static void room_for(uint64_t users, const struct load_target *targets, unsigned n,
                     unsigned processes)
{
    struct plan_limits l = {.nofile = 1000000, .ports = 100, .cores = 2};

    buf_clear(&errors);
    assert_int_equal(plan_ports(&o, users, &l, processes, targets, n, &errors), 0);
    assert_int_equal(plan_ports(&o, users + 1, &l, processes, targets, n, &errors), -1);
}

static void ports(void **state)
{
    struct load_target far[] = {target("192.0.2.1", 80), target("192.0.2.1", 81)};
    struct load_target v6[] = {target("::1", 80), target("::1", 81)};

    (void)state;
    room_for(100, far, 1, 1);
    room_for(100, far, 1, 2);
    room_for(200, far, 2, 1);
    room_for(100, v6, 1, 1);
    room_for(200, v6, 2, 1);
    snprintf(o.source, sizeof(o.source), "192.0.2.7\n192.0.2.8");
    room_for(200, far, 1, 1);
    room_for(400, far, 2, 1);
}

static void ports_of_loopback(void **state)
{
    struct load_target near[] = {target("127.0.0.1", 80), target("127.0.0.2", 80)};
    struct load_target mixed[] = {near[0], target("::1", 80)};

    (void)state;
    room_for(400, near, 1, 1);
    room_for(800, near, 1, 2);
    room_for(800, near, 2, 1);
    room_for(200, mixed, 2, 1); /* half of them from ::1 */
}

static void ports_are_there_once(void **state)
{
    struct load_target far[] = {target("192.0.2.1", 80), target("192.0.2.1", 80),
                                target("192.0.2.1", 81)};
    struct load_target v6[] = {target("::1", 80), target("::1", 80)};

    (void)state;
    room_for(100, far, 2, 1);
    room_for(150, far, 3, 1); /* 50 are at the other port */
    room_for(100, v6, 2, 1);
    snprintf(o.source, sizeof(o.source), "127.1.0.1\n127.1.0.1");
    room_for(100, far, 1, 1);
    assert_non_null(memmem(errors.p, errors.len, "1 source addresses x 100 ports", 30));
}

static void each_line_once(void **state)
{
    static const char *const cases[][2] = {
        {"", ""}, {"a", "a"}, {"a\na", "a"}, {"a\nb\na", "a\nb"}, {"b\nab\na\nab\nb", "b\nab\na"}};
    char list[64];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(list, sizeof(list), "%s", cases[i][0]);
        plan_distinct(list);
        assert_string_equal(list, cases[i][1]);
    }
}

static void memory(void **state)
{
    struct plan_limits l = {
        .nofile = 1000000, .ports = 100, .cores = 2, .memory = UINT64_C(4) << 30};

    (void)state;
    assert_int_equal(plan_memory(&o, 500000, &l, true, &errors), 0);
    assert_int_equal(plan_memory(&o, 1000000, &l, false, &errors), 0);
    assert_int_equal(plan_memory(&o, 1000000, &l, true, &errors), -1); /* nothing to track */
    o.scenario = SCENARIO_BROADCAST;
    o.connections = o.publishers = 14000;
    assert_int_equal(plan_memory(&o, 28000, &l, true, &errors), 0); /* 2.9 GiB and 0.2 */
    o.connections = o.publishers = 25000;
    buf_clear(&errors);
    assert_int_equal(plan_memory(&o, 50000, &l, true, &errors), -1);
    assert_non_null(memmem(errors.p, errors.len, "4.0 GiB are available", 21));
    assert_non_null(memmem(errors.p, errors.len, "25000 subscribers x 25000 publishers x 16", 41));
    assert_non_null(memmem(errors.p, errors.len, "--publishers", 12));
    o.scenario = SCENARIO_CHAT;
    assert_int_equal(plan_memory(&o, 25000, &l, true, &errors), 0); /* rooms of 10 */
    o.connections = 100000;
    o.room = 10000;
    assert_int_equal(plan_memory(&o, 100000, &l, true, &errors), -1);
    l.memory = 0;
    assert_int_equal(plan_memory(&o, 100000, &l, true, &errors), 0);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(processes_for_descriptors, set_up),
        cmocka_unit_test_setup(ports, set_up),
        cmocka_unit_test_setup(ports_of_loopback, set_up),
        cmocka_unit_test_setup(ports_are_there_once, set_up),
        cmocka_unit_test(each_line_once),
        cmocka_unit_test_setup(memory, set_up),
        cmocka_unit_test(users_are_spread_without_gaps),
    };
    return cmocka_run_group_tests_name("roostload/plan", tests, NULL, NULL);
}
