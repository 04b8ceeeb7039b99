/* tests/unit/base/test_log_stuck.c - a reader of the log that has stopped stops nobody else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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

static void stopped_reader(void **state)
{
    char text[LINE_MAX_BYTES + 1];
    int ends[2];
    ssize_t n;

    (void)state;
    clock_set_virtual(UINT64_C(1700000000123) * 1000000);
    assert_int_equal(pipe(ends), 0);
    fd_now = ends[1];
    fill(ends[1]);
    alarm(10); /* what blocks ends the test */
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
    fd_now = STDERR_FILENO;
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stopped_reader),
    };

    return cmocka_run_group_tests_name("base/log, stuck", tests, NULL, NULL);
}
