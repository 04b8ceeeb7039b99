/* Outgoing connections, over the loopback interface. */
#include "net/connect.c"

#include <signal.h>

#include "net/outq.h"
#include "net_harness.h"

static unsigned connected, secured;

static void on_connected(struct conn *c)
{
    assert_int_equal(c->state, transport_of(c)->secure != NULL ? CONN_SECURING : CONN_HTTP);
    connected++;
}

static void on_secured(struct conn *c UNUSED)
{
    secured++;
}

static const struct conn_ops ops = {
    .name = "out",
    .input = seen_input,
    .eof = seen_eof,
    .deadline = seen_deadline,
    .connected = on_connected,
    .secured = on_secured,
    .release = seen_release,
};

static struct sockaddr_in there; /* the address that listen_on() has bound */

static int listen_on(int backlog)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    socklen_t len = sizeof(there);

    there = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(fd, (struct sockaddr *)&there, len), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&there, &len), 0);
    return fd;
}

static struct conn *open_to(const struct sockaddr_in *source, struct tls_context *tls)
{
    const struct outgoing to = {.peer = (struct sockaddr *)&there,
                                .source = (const struct sockaddr *)source,
                                .tls = tls,
                                .host = "127.0.0.1"};

    return reactor_connect(&to, &ops);
}

static void the_peer_is_there_at_once(void **state UNUSED)
{
    const struct sockaddr_in source = {.sin_family = AF_INET,
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 4)};
    struct sockaddr_in seen_from;
    socklen_t len = sizeof(seen_from);
    int listening = listen_on(8), fd;
    struct conn *c = open_to(&source, NULL);

    assert_non_null(c);
    assert_int_equal(c->state, CONN_CONNECTING);
    assert_int_equal(connected, 0); /* not before the session is set up */
    conn_establish(c);
    assert_int_equal(connected, 1);
    assert_int_equal(c->state, CONN_HTTP);
    assert_int_equal(conn_send(c, STR_LIT("hello")), 0);
    fd = accept4(listening, (struct sockaddr *)&seen_from, &len, SOCK_NONBLOCK);
    assert_int_equal(seen_from.sin_addr.s_addr, source.sin_addr.s_addr);
    net_expect(fd, "hello");
    net_write(fd, "you", 3);
    net_steps(2);
    assert_int_equal(seen.len, 3);
    assert_int_equal(connected, 1);
    close(fd);
    close(listening);
    net_steps(2);
    assert_int_equal(seen.eofs, 1);
}

/* By the event, behind which what was queued is sent. */
static void the_poll_tells(void **state UNUSED)
{
    int listening = listen_on(8), fd;
    struct conn *c = open_to(NULL, NULL);

    c->out = outq_new(&reactor->output, c, clock_ns()); /* as if the socket had not taken it */
    {
        struct blob *b = blob_from(STR_LIT("queued"));

        assert_int_equal(outq_append(c->out, b, 0, b->len, 0), 0);
        blob_put(&b);
    }
    net_steps(1);
    assert_int_equal(connected, 1);
    assert_int_equal(c->state, CONN_HTTP);
    fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK);
    net_expect(fd, "queued");
    assert_null(c->out);
    close(fd);
    close(listening);
}

static void nobody_answers(void **state UNUSED)
{
    int listening = listen_on(0);
    struct conn *c[6], *last;

    for (size_t i = 0; i < ARRAY_LEN(c); i++) { /* more than a backlog of none takes */
        c[i] = open_to(NULL, NULL);
        assert_non_null(c[i]);
        conn_establish(c[i]);
    }
    last = c[ARRAY_LEN(c) - 1];
    assert_int_equal(last->state, CONN_CONNECTING);
    assert_int_equal(conn_send(last, STR_LIT("hello")), 0);
    net_steps(3);
    assert_int_equal(last->state, CONN_CONNECTING);
    assert_int_equal(conn_queued(last), 5);
    assert_int_equal(metrics->connections_http, ARRAY_LEN(c));
    net_after((uint64_t)config.header_timeout + WHEEL_TICK_NS);
    assert_int_equal(seen.deadlines, ARRAY_LEN(c)); /* the protocol's affair */
    conn_finish(last, CLOSE_HEADER_TIMEOUT);
    assert_true(conn_dead(last));
    net_steps(1);
    assert_int_equal(metrics->closes[CLOSE_HEADER_TIMEOUT], 1);
    close(listening);
}

static void refused(void **state UNUSED)
{
    struct conn *c;

    close(listen_on(1));
    c = open_to(NULL, NULL);
    if (c == NULL) {
        assert_int_equal(errno, ECONNREFUSED);
        return;
    }
    net_steps(2); /* a kernel may say so later */
    assert_int_equal(metrics->closes[CLOSE_PEER_GONE], 1);
    assert_int_equal(connected, 0);
}

static void taken_and_reset(void **state UNUSED)
{
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    int listening = listen_on(8), fd;
    struct conn *c = open_to(NULL, NULL);

    fd = accept(listening, NULL, NULL);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
    close(fd);
    close(listening);
    conn_establish(c);
    assert_int_equal(connected, 1); /* somebody was there */
    net_steps(2);
    assert_int_equal(seen.eofs + seen.releases, 1);
}

static void tls_waits_for_its_handshake(void **state UNUSED)
{
    char err[256], record[512];
    struct tls_context *t = tls_client_context(NULL, false, err, sizeof(err));
    int listening = listen_on(8), fd;
    struct conn *c = open_to(NULL, t);

    conn_establish(c);
    assert_int_equal(c->state, CONN_SECURING);
    assert_int_equal(connected, 1);
    assert_int_equal(secured, 0);
    assert_int_equal(conn_send(c, STR_LIT("secret")), 0);
    net_steps(2);
    assert_int_equal(conn_queued(c), 6);
    fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK);
    assert_true(net_read(fd, record, sizeof(record), NULL) > 5);
    assert_int_equal(record[0], 22); /* a handshake's, RFC 8446 §5.1 */
    conn_finish(c, CLOSE_DRAIN);
    assert_true(conn_dead(c));
    net_steps(1);
    assert_int_equal(metrics->closes[CLOSE_DRAIN], 1);
    tls_context_free(t);
    close(fd);
    close(listening);
}

static void no_memory(void **state UNUSED)
{
    char err[256];
    struct tls_context *t = tls_client_context(NULL, false, err, sizeof(err));
    int listening = listen_on(8);

    for (int with = 0; with < 2; with++) {
        fault_fail_at(1);
        assert_null(open_to(NULL, with ? t : NULL));
        assert_int_equal(errno, ENOMEM);
        fault_reset();
    }
    tls_context_free(t);
    there.sin_family = AF_UNSPEC;
    assert_null(open_to(NULL, NULL));
    assert_int_equal(reactor->connections, 0);
    close(listening);
}

static int setup(void **state)
{
    connected = secured = 0;
    return net_setup(state);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, net_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_peer_is_there_at_once),
        T(the_poll_tells),
        T(nobody_answers),
        T(refused),
        T(taken_and_reset),
        T(tls_waits_for_its_handshake),
        T(no_memory),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("net/connect", tests, NULL, NULL);
}
