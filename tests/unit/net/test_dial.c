/* Waiting connections: every answer, and none, within the limits. */
#include "net/dial.c"

#include <arpa/inet.h>
#include <fcntl.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ASK "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

static struct dial_limits patient(void)
{
    return (struct dial_limits){clock_precise_ns() + 20 * NS_PER_SEC, 10 * NS_PER_SEC};
}

/* A server that has said all this already; it ends then, or says nothing more. */
static int ask(const char *answer, bool ends, size_t max, const struct dial_limits *l,
               struct buf *body)
{
    char asked[256];
    int fds[2], rc;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(send(fds[1], answer, strlen(answer), 0), (ssize_t)strlen(answer));
    if (ends)
        assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
    buf_clear(body);
    rc = dial_http(&(struct dialed){.fd = fds[0]}, STR_LIT(ASK), max, l, body);
    assert_int_equal(recv(fds[1], asked, sizeof(asked), 0), (ssize_t)strlen(ASK));
    assert_memory_equal(asked, ASK, strlen(ASK));
    close(fds[0]);
    close(fds[1]);
    return rc;
}

static void answers(void **state UNUSED)
{
    static const struct {
        const char *answer;
        int status;
        const char *body;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, "hi"},
        {"HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, "until the end"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
         200, "abcde"},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx", 404,
         "x"},
        {"", 0, ""},
        {"SSH-2.0-OpenSSH\r\n", 0, ""},
        {"HTTP/1.1 200 OK\r\nContent-Le", 0, ""},
    };
    struct dial_limits l = patient();
    struct buf body = {0};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(ask(cases[i].answer, true, 1000, &l, &body), cases[i].status);
        assert_true(str_equal(buf_view(&body), str_from(cases[i].body)));
    }
    buf_fini(&body);
}

static void limits(void **state UNUSED)
{
    struct dial_limits over = {clock_precise_ns(), NS_PER_SEC}, short_of_patience = patient(),
                       l = patient();
    struct buf body = {0};

    assert_int_equal(ask("HTTP/1.1 200 OK\r\n", false, 1000, &over, &body), -1);
    assert_int_equal(errno, ETIMEDOUT);
    short_of_patience.idle_ns = 1;
    assert_int_equal(ask("HTTP/1.1 200 OK\r\n", false, 1000, &short_of_patience, &body), -1);
    assert_int_equal(errno, ETIMEDOUT);
    assert_int_equal(ask("HTTP/1.1 200 OK\r\n\r\nmore than ten", true, 10, &l, &body), -1);
    assert_int_equal(errno, EMSGSIZE);
    buf_fini(&body);
}

static struct sockaddr_in here(int fd)
{
    struct sockaddr_in sa = {.sin_family = AF_INET};
    socklen_t len = sizeof(sa);

    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    return sa;
}

static void the_first_that_takes_it(void **state UNUSED)
{
    int deaf = socket(AF_INET, SOCK_STREAM, 0), there = socket(AF_INET, SOCK_STREAM, 0), fd;
    struct sockaddr_in refuses = here(deaf), takes = here(there);
    struct addrinfo second = {.ai_family = AF_INET,
                              .ai_addr = (struct sockaddr *)&takes,
                              .ai_addrlen = sizeof(takes)},
                    first = {.ai_family = AF_INET,
                             .ai_addr = (struct sockaddr *)&refuses,
                             .ai_addrlen = sizeof(refuses),
                             .ai_next = &second};
    struct dial_limits l = patient();
    unsigned which = 7;

    assert_int_equal(listen(there, 5), 0);
    fd = dial(&first, &l, &which);
    assert_true(fd != -1);
    assert_int_equal(which, 1);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    close(fd);
    first.ai_next = NULL;
    assert_int_equal(dial(&first, &l, NULL), -1);
    assert_int_equal(errno, ECONNREFUSED);
    close(deaf);
    close(there);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(limits),
        cmocka_unit_test(the_first_that_takes_it),
    };

    return cmocka_run_group_tests_name("net/dial", tests, NULL, NULL);
}
