/* tests/unit/net/listener_harness.h - a listener on a port of its own, and clients. Include behind
 * net/listener.c. */
#ifndef TESTS_NET_LISTENER_HARNESS_H
#define TESTS_NET_LISTENER_HARNESS_H

#include <arpa/inet.h>

#include "net/listener_socket.h"
#include "net_harness.h"

static struct listener client, admin UNUSED;
static struct address where;
static int listening;

static const struct listener_socket how = {.backlog = 1024, .send_buffer = 65536};

static int open_listener(struct address *a)
{
    char err[200];
    int fd = listener_open(a, &how, err, sizeof(err));

    if (fd == -1)
        fail_msg("%s", err);
    return fd;
}

static int setup(void **state)
{
    char err[200];

    net_setup(state);
    reactor->next_serial = 0; /* conn_of_serial() counts from 1 */
    memset(&client, 0, sizeof(client));
    memset(&admin, 0, sizeof(admin));
    assert_int_equal(address_parse(STR_LIT("127.0.0.1:0"), &where, err, sizeof(err)), 0);
    listening = open_listener(&where);
    listener_start(&client, listening, 0, &seen_ops);
    return 0;
}

static int teardown(void **state)
{
    listener_stop(&client);
    listener_stop(&admin);
    close(listening);
    return net_teardown(state);
}

/* A client that has connected and said something (a silent one is deferred). */
static UNUSED int dial_from(const struct address *to, const char *from)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    int fd = socket(to->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (from) {
        assert_int_equal(inet_pton(AF_INET, from, &in.sin_addr), 1);
        assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    }
    assert_int_equal(connect(fd, (const struct sockaddr *)&to->sa, to->len), 0);
    net_write(fd, "hi", 2);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static UNUSED int dial(void)
{
    return dial_from(&where, NULL);
}

static UNUSED struct conn *conn_of_serial(uint64_t serial)
{
    for (size_t i = 0; i < reactor->conns_end; i++)
        if (reactor->conns[i] && reactor->conns[i]->id >> CONN_ID_SERIAL_BITS == serial)
            return reactor->conns[i];
    return NULL;
}

#define LISTENER_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

#endif
