#include "net/admission.c"

#include <arpa/inet.h>

#include "net_harness.h"

static struct sockaddr_storage peer_of(const char *text)
{
    struct address a;
    char err[200];

    if (address_parse(str_from(text), &a, err, sizeof(err)) == -1)
        fail_msg("%s", err);
    return a.sa;
}

static enum close_reason enter(const char *text)
{
    struct sockaddr_storage sa = peer_of(text);
    bool counted = false;
    enum close_reason why = admission_check((const struct sockaddr *)&sa, 0, &counted);

    assert_int_equal(counted, why == CLOSE_NONE && config.max_connections_per_address > 0);
    return why;
}

static void leave(const char *text)
{
    struct sockaddr_storage sa = peer_of(text);
    uint8_t bytes[16];
    uint16_t port;

    address_bytes((const struct sockaddr *)&sa, bytes, &port);
    admission_leave(bytes);
}

static void test_no_limit_keeps_nothing(void **state)
{
    (void)state;
    assert_int_equal(enter("192.0.2.1:1"), CLOSE_NONE);
    assert_int_equal(table.count, 0);
    leave("192.0.2.1:1"); /* unknown: no effect */
}

static void test_node_limit(void **state)
{
    struct sockaddr_storage sa = peer_of("192.0.2.1:1");
    bool counted;

    (void)state;
    config.max_connections = 10;
    assert_int_equal(admission_check((struct sockaddr *)&sa, 9, &counted), CLOSE_NONE);
    assert_int_equal(admission_check((struct sockaddr *)&sa, 10, &counted), CLOSE_FULL);
    reactor.connection_max = 0;
    assert_int_equal(admission_check((struct sockaddr *)&sa, 0, &counted), CLOSE_FULL);
}

static void test_ipv4_exact(void **state)
{
    (void)state;
    config.max_connections_per_address = 2;
    assert_int_equal(enter("192.0.2.1:1"), CLOSE_NONE);
    assert_int_equal(enter("[::ffff:192.0.2.1]:2"),
                     CLOSE_NONE); /* the same host by the other family */
    assert_int_equal(enter("192.0.2.1:3"), CLOSE_ADDRESS_LIMIT);
    assert_int_equal(enter("192.0.2.2:1"), CLOSE_NONE);
    leave("192.0.2.1:1");
    assert_int_equal(enter("192.0.2.1:4"), CLOSE_NONE);
    assert_int_equal(table.count, 2);
    leave("192.0.2.1:4");
    leave("192.0.2.1:2");
    leave("192.0.2.2:1");
    assert_int_equal(table.count, 0);
    assert_int_equal(count_pool.in_use, 0);
}

static void test_ipv6_prefix(void **state)
{
    (void)state;
    config.max_connections_per_address = 1;
    assert_int_equal(enter("[2001:db8:0:1::1]:1"), CLOSE_NONE);
    assert_int_equal(enter("[2001:db8:0:1:ffff::2]:1"), CLOSE_ADDRESS_LIMIT);
    assert_int_equal(enter("[2001:db8:0:2::1]:1"), CLOSE_NONE);
    leave("[2001:db8:0:1:9::9]:1");
    assert_int_equal(enter("[2001:db8:0:1::3]:1"), CLOSE_NONE);
}

static void test_many_addresses(void **state)
{
    char text[40];

    (void)state;
    config.max_connections_per_address = 1;
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 5000; i++) {
            snprintf(text, sizeof(text), "10.1.%d.%d:9", i / 250, i % 250);
            assert_int_equal(enter(text), round == 0 ? CLOSE_NONE : CLOSE_ADDRESS_LIMIT);
        }
    for (int i = 0; i < 5000; i++) {
        snprintf(text, sizeof(text), "10.1.%d.%d:9", i / 250, i % 250);
        leave(text);
    }
    assert_int_equal(table.count, 0);
}

static void test_no_memory(void **state)
{
    (void)state;
    config.max_connections_per_address = 1;
    for (unsigned long k = 1; k <= 2; k++) { /* the pool, the table */
        fault_fail_at(k);
        assert_int_equal(enter("192.0.2.1:1"), CLOSE_NO_MEMORY);
        fault_reset();
        assert_int_equal(table.count, 0);
        admission_fini();
    }
    assert_int_equal(enter("192.0.2.1:1"), CLOSE_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(test_no_limit_keeps_nothing),
        NET_TEST(test_node_limit),
        NET_TEST(test_ipv4_exact),
        NET_TEST(test_ipv6_prefix),
        NET_TEST(test_many_addresses),
        NET_TEST(test_no_memory),
    };

    return cmocka_run_group_tests_name("net/admission", tests, NULL, NULL);
}
