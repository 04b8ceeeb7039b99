/* What accept4() may say, and running out of descriptors. */
#include <errno.h>
#include <sys/socket.h>

/* accept4() that fails so often before it does what it is asked for. */
static int accept_error;
static unsigned accept_fails;

static int failing_accept4(int fd, struct sockaddr *sa, socklen_t *len, int flags)
{
    if (accept_fails > 0) {
        accept_fails--;
        errno = accept_error;
        return -1;
    }
    return accept4(fd, sa, len, flags);
}

#define accept4 failing_accept4
#include "net/listener.c"
#undef accept4

#include <sys/resource.h>

#include "listener_harness.h"

/* fds run out: accepting pauses, and goes on when a second has passed or a connection has ended. */
static void test_out_of_fds(void **state UNUSED)
{
    struct rlimit before, tight;
    int peers[3], extra;

    peers[0] = dial();
    net_steps(1);
    peers[1] = dial();
    peers[2] = dial();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    tight = before;
    extra = dup(0);
    close(extra);
    tight.rlim_cur = (rlim_t)extra; /* no number is free below it but those in use */
    for (int fd = 0; fd < extra; fd++)
        assert_int_not_equal(fcntl(fd, F_GETFD), -1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    net_steps(1);
    assert_true(client.paused);
    assert_int_equal(metrics->accept_errors, 1);
    net_steps(5);
    assert_int_equal(metrics->accept_errors, 1); /* no spinning */
    net_after(PAUSE_NS + 1);
    assert_false(client.paused);
    net_steps(1);
    assert_true(client.paused);
    assert_int_equal(metrics->accept_errors, 2);
    conn_kill(conn_of_serial(1), CLOSE_NORMAL);
    net_steps(2);
    assert_int_equal(metrics->accepts, 2);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    listener_stop(&client); /* also while paused */
    assert_true(list_empty(&reactor->paused));
    for (size_t i = 0; i < ARRAY_LEN(peers); i++)
        close(peers[i]);
}

/* What the kernel may say, accept(2): of one connection, so the next is tried; or of all, so there
 * is a rest, until a second has passed or a connection has ended. */
static void test_accept_errors(void **state UNUSED)
{
    static const int of_one[] = {EINTR, ECONNABORTED, EPROTO, ENETDOWN, EHOSTUNREACH, ENETUNREACH};
    static const int of_all[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM};
    uint64_t errors = 0, accepts = 0;

    for (size_t i = 0; i < ARRAY_LEN(of_one); i++) {
        int peer = dial();

        accept_error = of_one[i];
        accept_fails = 3;
        net_steps(1);
        assert_int_equal(metrics->accept_errors, errors += 3);
        assert_int_equal(metrics->accepts, ++accepts);
        assert_false(client.paused);
        close(peer);
    }
    for (size_t i = 0; i < ARRAY_LEN(of_all); i++) {
        int peer = dial();

        net_steps(3); /* those that have closed */
        accepts = metrics->accepts;
        close(peer);
        peer = dial();
        accept_error = of_all[i];
        accept_fails = 1;
        net_steps(1);
        assert_true(client.paused);
        assert_int_equal(metrics->accept_errors, ++errors);
        assert_int_equal(metrics->accepts, accepts);
        net_after(PAUSE_NS + 1);
        net_steps(1);
        assert_false(client.paused);
        assert_int_equal(metrics->accepts, accepts + 1);
        close(peer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        LISTENER_TEST(test_accept_errors),
        LISTENER_TEST(test_out_of_fds),
    };

    return cmocka_run_group_tests_name("net/listener_errors", tests, NULL, NULL);
}
