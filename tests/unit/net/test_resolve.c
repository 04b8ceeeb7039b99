/* tests/unit/net/test_resolve.c - against a server of names in the test, which a resolv.conf of its own names. */
static char conf_path[64];
static unsigned short names_port;
#define RESOLV_CONF conf_path
#define NAMES_PORT  names_port
#include "net/resolve.c"

#include <sys/stat.h>

#include "net_harness.h"

static struct {
    int fd; /* bound to a port of 127.0.0.1 */
    bool silent;
    unsigned v4, v6; /* addresses that it knows */
    unsigned asked;
} names;

static struct {
    unsigned calls;
    struct resolved found;
    char why[100];
} got;

static void on_done(void *arg UNUSED, const struct resolved *found, const char *why)
{
    got.calls++;
    got.found = *found;
    snprintf(got.why, sizeof(got.why), "%s", why);
}

static void write_conf(const char *more)
{
    FILE *f = fopen(conf_path, "w");

    assert_non_null(f);
    fprintf(f, "%snameserver 127.0.0.1\n", more);
    fclose(f);
}

static int setup(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd;

    memset(&names, 0, sizeof(names));
    memset(&got, 0, sizeof(got));
    names.fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(names.fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(getsockname(names.fd, (struct sockaddr *)&a, &len), 0);
    names_port = ntohs(a.sin_port);
    snprintf(conf_path, sizeof(conf_path), "/tmp/roost-test-resolv-XXXXXX");
    fd = mkstemp(conf_path);
    assert_true(fd != -1);
    close(fd);
    write_conf("");
    return net_setup(state);
}

static int teardown(void **state)
{
    unlink(conf_path);
    close(names.fd);
    return net_teardown(state);
}

/* One question is answered: 10.0.0.i, or fd00::i. "nobody" has no address. */
static void answer(void)
{
    unsigned char p[1500];
    struct sockaddr_in from;
    socklen_t len = sizeof(from);
    ssize_t n = recvfrom(names.fd, p, sizeof(p), 0, (struct sockaddr *)&from, &len);
    size_t end = 12, at;
    bool v6, nobody;
    unsigned count;

    if (n < 17 || names.silent)
        return;
    names.asked++;
    nobody = memmem(p, (size_t)n, "nobody", 6) != NULL;
    while (p[end] != 0)
        end += p[end] + 1u;
    v6 = p[end + 2] == 28; /* AAAA */
    at = end + 5;
    count = nobody ? 0 : v6 ? names.v6 : names.v4;
    p[2] |= 0x80;
    p[3] = nobody ? 3 : 0;
    memset(p + 6, 0, 6);
    p[7] = (unsigned char)count;
    for (unsigned i = 1; i <= count; i++) {
        static const unsigned char head[] = {0xc0, 12, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0};
        size_t bytes = v6 ? 16 : 4;

        memcpy(p + at, head, sizeof(head));
        p[at + 3] = v6 ? 28 : 1;
        p[at + 11] = (unsigned char)bytes;
        at += sizeof(head);
        memset(p + at, 0, bytes);
        p[at] = v6 ? 0xfd : 10;
        p[at + bytes - 1] = (unsigned char)i;
        at += bytes;
    }
    assert_int_equal(sendto(names.fd, p, at, 0, (struct sockaddr *)&from, len), at);
}

/* Until the answer is there. */
static void run(void)
{
    for (int i = 0; i < 60000 && got.calls == 0; i++) {
        ev_run(reactor->loop, EVRUN_NOWAIT);
        answer();
        poll(NULL, 0, 1);
    }
    assert_int_equal(got.calls, 1);
    got.calls = 0;
}

static void ask(const char *host)
{
    assert_non_null(resolve_begin(host, 6379, 60 * NS_PER_SEC, on_done, NULL));
    assert_int_equal(got.calls, 0);
    run();
}

static const char *address(unsigned i)
{
    static char text[64];
    const union host_address *a = &got.found.address[i];

    if (a->sa.sa_family == AF_INET)
        inet_ntop(AF_INET, &a->v4.sin_addr, text, sizeof(text));
    else
        inet_ntop(AF_INET6, &a->v6.sin6_addr, text, sizeof(text));
    assert_int_equal(a->sa.sa_family == AF_INET ? a->v4.sin_port : a->v6.sin6_port, htons(6379));
    return text;
}

static void addresses_of_a_name(void **state UNUSED)
{
    names.v4 = 2;
    ask("redis.test");
    assert_int_equal(got.found.n, 2);
    assert_int_equal(strncmp(address(0), "10.0.0.", 7), 0);
    /* Asked anew each time: what has moved is found. */
    names.v4 = 1;
    ask("redis.test");
    assert_int_equal(got.found.n, 1);
    assert_string_equal(address(0), "10.0.0.1");
}

static void families_in_turn(void **state UNUSED)
{
    names.v4 = 6;
    names.v6 = 6;
    ask("redis.test");
    assert_int_equal(got.found.n, RESOLVE_MAX);
    for (unsigned i = 0; i + 1 < got.found.n; i++)
        assert_int_not_equal(got.found.address[i].sa.sa_family,
                             got.found.address[i + 1].sa.sa_family);
    names.v4 = 0;
    names.v6 = 1;
    ask("redis.test");
    assert_int_equal(got.found.n, 1);
    assert_string_equal(address(0), "fd00::1");
}

static void no_such_name(void **state UNUSED)
{
    ask("nobody.test");
    assert_int_equal(got.found.n, 0);
    assert_string_equal(got.why, "Domain name not found");
    ask("empty.test"); /* neither A nor AAAA */
    assert_int_equal(got.found.n, 0);
    assert_true(got.why[0] != '\0');
}

static void a_silent_server(void **state UNUSED)
{
    names.silent = true;
    assert_non_null(resolve_begin("redis.test", 1, 200 * NS_PER_MS, on_done, NULL));
    run();
    assert_int_equal(got.found.n, 0);
    assert_true(got.why[0] != '\0');
}

/* The next server is asked in good time. */
static void a_silent_first_server(void **state UNUSED)
{
    int silent = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(names_port)};

    assert_int_equal(inet_pton(AF_INET, "127.0.0.2", &a.sin_addr), 1);
    assert_int_equal(bind(silent, (struct sockaddr *)&a, sizeof(a)), 0);
    write_conf("nameserver 127.0.0.2\n");
    names.v4 = 1;
    /* A quarter of the time is the first one's; the rest is for a machine that is slow meanwhile. */
    assert_non_null(resolve_begin("redis.test", 6379, 4 * NS_PER_SEC, on_done, NULL));
    run();
    assert_int_equal(got.found.n, 1);
    close(silent);
}

static void a_cancelled_question(void **state UNUSED)
{
    struct resolve *r = resolve_begin("redis.test", 1, NS_PER_SEC, on_done, NULL);

    assert_non_null(r);
    ev_run(reactor->loop, EVRUN_NOWAIT);
    resolve_cancel(r);
    for (int i = 0; i < 20; i++) {
        ev_run(reactor->loop, EVRUN_NOWAIT);
        answer();
    }
    assert_int_equal(got.calls, 0);
}

/* As a confined process whose resolv.conf has been replaced: the servers that it named are asked. */
static void a_file_that_can_no_longer_be_read(void **state UNUSED)
{
    names.v4 = 1;
    ask("redis.test");
    unlink(conf_path);
    assert_int_equal(symlink(conf_path, conf_path), 0); /* ELOOP, for root, too */
    ask("redis.test");
    assert_int_equal(got.found.n, 1);
}

static void numeric_addresses(void **state UNUSED)
{
    struct resolved r;

    assert_true(resolve_numeric(&r, "10.1.2.3", 7));
    assert_int_equal(r.n, 1);
    assert_int_equal(r.address[0].v4.sin_port, htons(7));
    assert_true(resolve_numeric(&r, "::1", 7));
    assert_int_equal(r.address[0].sa.sa_family, AF_INET6);
    assert_false(resolve_numeric(&r, "10.1.2", 7));
    assert_false(resolve_numeric(&r, "localhost", 7));
}

static void no_memory(void **state UNUSED)
{
    for (unsigned long k = 1; k < 60; k++) {
        struct resolve *r;

        fault_fail_at(k);
        r = resolve_begin("redis.test", 1, NS_PER_SEC, on_done, NULL);
        fault_reset();
        if (r != NULL)
            resolve_cancel(r);
    }
    assert_int_equal(got.calls, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(addresses_of_a_name),
        TEST(families_in_turn),
        TEST(no_such_name),
        TEST(a_silent_server),
        TEST(a_silent_first_server),
        TEST(a_cancelled_question),
        TEST(a_file_that_can_no_longer_be_read),
        TEST(numeric_addresses),
        TEST(no_memory),
    };

    return cmocka_run_group_tests_name("net/resolve", tests, NULL, NULL);
}
