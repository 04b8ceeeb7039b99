/* tests/unit/base/test_log_stuck.c - a reader of the log that has stopped stops nobody else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/wait.h>

static bool others_are_faster;

/* Between this answer and the write, other processes may take the last places. */
static int poll_then_fill(struct pollfd *p, nfds_t n, int timeout)
{
    int rc = poll(p, n, timeout);

    if (!others_are_faster)
        return rc;
    p->revents = POLLOUT;
    return 1;
}

#define poll poll_then_fill
#include "base/log.c"

/* Leaves no room for a line. */
static void fill(int fd)
{
    char page[4096] = {0};

    assert_int_not_equal(fcntl(fd, F_SETFL, O_NONBLOCK), -1);
    while (write(fd, page, sizeof(page)) > 0) {
    }
    assert_int_not_equal(fcntl(fd, F_SETFL, 0), -1);
}

static void drain(int fd)
{
    char page[4096];

    assert_int_not_equal(fcntl(fd, F_SETFL, O_NONBLOCK), -1);
    while (read(fd, page, sizeof(page)) > 0) {
    }
}

/* The descriptors of a test are its own. */
static void use_stderr(void)
{
    fd_now = STDERR_FILENO;
    if (own_now != -1)
        close(own_now);
    own_now = -1;
    own_tried = false;
    lost = 0;
}

/* What comes out of fd for a line that is written to log_fd. */
static void line_arrives(int log_fd, int fd, const char *end)
{
    char text[LINE_MAX_BYTES + 2];
    ssize_t n;

    fd_now = log_fd;
    LOG(LOG_INFO, "here");
    use_stderr();
    n = read(fd, text, sizeof(text) - 1);
    assert_true(n > 0);
    text[n] = '\0';
    assert_non_null(strstr(text, end));
}

static void every_kind_of_file_gets_its_lines(void **state UNUSED)
{
    char path[] = "/tmp/roost-log-XXXXXX";
    int pair[2], file = mkstemp(path), far = posix_openpt(O_RDWR | O_NOCTTY), terminal, fifo;

    assert_true(grantpt(far) == 0 && unlockpt(far) == 0);
    terminal = open(ptsname(far), O_WRONLY | O_NOCTTY);
    line_arrives(terminal, far, "msg=\"here\"\r\n");
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    line_arrives(pair[0], pair[1], "msg=\"here\"\n");
    line_arrives(file, open(path, O_RDONLY), "msg=\"here\"\n");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    fifo = open(path, O_RDWR);
    line_arrives(fifo, fifo, "msg=\"here\"\n");
    assert_int_equal(unlink(path), 0);
}

static void stopped_reader(void **state UNUSED)
{
    char text[LINE_MAX_BYTES + 1];
    int ends[2];
    ssize_t n;

    clock_set_virtual(UINT64_C(1700000000123) * 1000000);
    assert_int_equal(pipe(ends), 0);
    fd_now = ends[1];
    fill(ends[1]);
    alarm(60); /* what blocks ends the test */
    LOG(LOG_INFO, "one");
    LOG(LOG_WARN, "two");
    alarm(0);
    drain(ends[0]);
    LOG(LOG_INFO, "three", KV_U("n", 3));
    n = read(ends[0], text, sizeof(text) - 1);
    assert_true(n > 0);
    text[n] = '\0';
    assert_non_null(strstr(text, "msg=\"three\" n=3 lost=2\n"));
    LOG(LOG_INFO, "four");
    n = read(ends[0], text, sizeof(text) - 1);
    assert_true(n > 0);
    text[n] = '\0';
    assert_non_null(strstr(text, "msg=\"four\"\n"));
    use_stderr();
    close(ends[0]);
    close(ends[1]);
}

static void a_place_that_others_took(void **state UNUSED)
{
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    fill(ends[1]);
    fd_now = ends[1];
    lost = 0;
    others_are_faster = true;
    alarm(60); /* what blocks ends the test */
    LOG(LOG_INFO, "one");
    LOG(LOG_INFO, "two");
    alarm(0);
    others_are_faster = false;
    assert_int_equal(lost, 2);
    assert_int_equal(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0); /* it is not ours alone */
    use_stderr();
    close(ends[0]);
    close(ends[1]);
}

/* Lines of which two fill a page of the pipe, until it is full. */
static void write_until_full(void)
{
    char text[1900];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    alarm(60);
    while (lost < 3)
        LOG(LOG_INFO, "much", KV_S("text", text));
    _exit(0);
}

static void many_writers_and_no_reader(void **state UNUSED)
{
    pid_t pids[4];
    int ends[2], status;

    for (int round = 0; round < 100; round++) {
        assert_int_equal(pipe(ends), 0);
        fd_now = ends[1];
        for (size_t i = 0; i < ARRAY_LEN(pids); i++) {
            pids[i] = fork();
            if (pids[i] == 0)
                write_until_full();
        }
        fd_now = STDERR_FILENO;
        for (size_t i = 0; i < ARRAY_LEN(pids); i++) {
            assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
            assert_true(WIFEXITED(status));
        }
        close(ends[0]);
        close(ends[1]);
    }
}

/* Ctrl-S, or a window whose program hangs: poll() says that there is room for less than a line. */
static void a_terminal_nobody_reads(void **state UNUSED)
{
    int far = posix_openpt(O_RDWR | O_NOCTTY), fd;

    assert_true(grantpt(far) == 0 && unlockpt(far) == 0);
    fd = open(ptsname(far), O_WRONLY | O_NOCTTY);
    fd_now = fd;
    alarm(60);
    while (lost < 3)
        LOG(LOG_INFO, "much");
    alarm(0);
    assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    use_stderr();
    close(fd);
    close(far);
}

static void a_fifo_nobody_reads(void **state UNUSED)
{
    char path[] = "/tmp/roost-log-XXXXXX";
    int fd = mkstemp(path);

    close(fd);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    fd = open(path, O_RDWR);
    assert_int_equal(unlink(path), 0);
    fill(fd);
    fd_now = fd;
    others_are_faster = true;
    alarm(60);
    LOG(LOG_INFO, "one");
    alarm(0);
    others_are_faster = false;
    assert_int_equal(lost, 1);
    use_stderr();
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_file_gets_its_lines),
        cmocka_unit_test(stopped_reader),
        cmocka_unit_test(a_place_that_others_took),
        cmocka_unit_test(many_writers_and_no_reader),
        cmocka_unit_test(a_terminal_nobody_reads),
        cmocka_unit_test(a_fifo_nobody_reads),
    };

    return cmocka_run_group_tests_name("base/log, stuck", tests, NULL, NULL);
}
