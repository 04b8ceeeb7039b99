/* tests/unit/net/net_harness.h - a reactor on socket pairs under the virtual clock. Include behind
 * the .c under test. */
#ifndef TESTS_NET_HARNESS_H
#define TESTS_NET_HARNESS_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/config.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/metrics.h"
#include "fault.h"
#include "net/partial.h"
#include "net/reactor.h"
#include "net/session.h"

#define NET_START (1000 * NS_PER_SEC)

/* What the connections of a test have told their ops. */
static struct {
    char input[256 * 1024];
    size_t len;
    unsigned inputs, eofs, deadlines, drains, releases, asked, partial_ends;
    size_t allow; /* what may_read() answers at most */
    struct conn *last;
} seen UNUSED;

static UNUSED void seen_input(struct conn *c, struct str in)
{
    assert_true(seen.len + in.n <= sizeof(seen.input));
    memcpy(seen.input + seen.len, in.p, in.n);
    seen.len += in.n;
    seen.inputs++;
    seen.last = c;
}

static UNUSED void seen_eof(struct conn *c)
{
    seen.eofs++;
    seen.last = c;
}

static UNUSED void seen_deadline(struct conn *c)
{
    seen.deadlines++;
    seen.last = c;
}

static UNUSED void seen_drain(struct conn *c)
{
    seen.drains++;
    conn_finish(c, CLOSE_DRAIN);
}

static UNUSED void seen_release(struct conn *c)
{
    assert_true(conn_dead(c));
    seen.releases++;
}

static UNUSED size_t seen_may_read(struct conn *c UNUSED, size_t want)
{
    seen.asked++;
    return MIN(want, seen.allow);
}

static UNUSED void seen_partial_over(struct conn *c UNUSED, enum close_reason why)
{
    assert_int_equal(why, CLOSE_PARTIAL);
    seen.partial_ends++;
}

static UNUSED const struct conn_ops seen_ops = {
    .name = "seen",
    .kind = SESSION_PLAIN, /* as far as the gauges go */
    .input = seen_input,
    .eof = seen_eof,
    .deadline = seen_deadline,
    .drain = seen_drain,
    .partial_over = seen_partial_over,
    .release = seen_release,
};

/* No kind, eof, drain, release; reading is asked for. */
static UNUSED const struct conn_ops bare_ops = {
    .name = "bare",
    .input = seen_input,
    .deadline = seen_deadline,
    .may_read = seen_may_read,
};

static struct metrics net_metrics UNUSED;
/* Two workers' tables; this is worker 0. */
enum { NET_PLACES = 16384 };
static struct address_place net_places[2][NET_PLACES + LISTENERS_MAX] UNUSED;
static _Atomic uint32_t net_lives[2] UNUSED;
static struct addresses_of net_tables[2] UNUSED;
static struct addresses net_addresses UNUSED;

static UNUSED void net_no_addresses(void)
{
    memset(net_places, 0, sizeof(net_places));
    for (unsigned i = 0; i < 2; i++) {
        net_lives[i] = 1;
        net_tables[i] = (struct addresses_of){net_places[i], &net_lives[i]};
    }
    net_addresses = (struct addresses){
        .workers = 2, .places = NET_PLACES, .tables = net_tables, .key = "net unit tests"};
}

/* Connections that count, of all addresses, at this worker. */
static UNUSED uint64_t net_counted(void)
{
    uint64_t n = 0;

    for (size_t i = 0; i < NET_PLACES; i++)
        n += net_places[0][i].life == net_lives[0] ? net_places[0][i].count : 0;
    return n;
}

static size_t net_blob_bytes UNUSED; /* before the test */

static UNUSED int net_setup(void **state UNUSED)
{
    static const uint8_t key[16] = "net unit tests";
    struct reactor_config cfg = {.wake_fd = -1, .hub_wake_fd = -1, .addresses = &net_addresses};

    fault_reset();
    net_no_addresses();
    memset(&net_metrics, 0, sizeof(net_metrics));
    metrics = &net_metrics;
    config_defaults(&config);
    hash_seed(key);
    log_set_level(LOG_ERROR);
    clock_set_virtual(NET_START);
    memset(&seen, 0, sizeof(seen));
    seen.allow = SIZE_MAX;
    net_blob_bytes = blob_bytes();
    reactor_init(&cfg);
    return 0;
}

static UNUSED int net_teardown(void **state UNUSED)
{
    fault_reset();
    reactor_fini();
    assert_int_equal(blob_bytes(), net_blob_bytes);
    return 0;
}

#define NET_TEST(fn) cmocka_unit_test_setup_teardown(fn, net_setup, net_teardown)

/* A connection; *peer is its far end, non-blocking. send_buffer 0: as it is. */
static UNUSED struct conn *net_pair(int *peer, const struct conn_ops *ops, int send_buffer)
{
    int fds[2];
    struct conn *c;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    if (send_buffer > 0)
        assert_int_equal(
            setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof(send_buffer)), 0);
    c = reactor_add(fds[0], ops, NULL, 0);
    assert_non_null(c);
    *peer = fds[1];
    return c;
}

static UNUSED void net_steps(int n)
{
    while (n-- > 0)
        reactor_step(false);
}

/* A step at a later time. */
static UNUSED void net_after(uint64_t ns)
{
    clock_advance(ns);
    reactor_step(false);
}

static UNUSED void net_write(int fd, const void *p, size_t n)
{
    assert_int_equal(send(fd, p, n, MSG_NOSIGNAL), (ssize_t)n);
}

/* Everything there is to read now; *eof (may be NULL) says whether the end was behind it. */
static UNUSED size_t net_read(int fd, char *out, size_t cap, bool *eof)
{
    size_t len = 0;
    ssize_t n;

    if (eof)
        *eof = false;
    while (len < cap && (n = recv(fd, out + len, cap - len, 0)) != -1) {
        if (n == 0) {
            if (eof)
                *eof = true;
            break;
        }
        len += (size_t)n;
    }
    return len;
}

static UNUSED void net_expect(int fd, const char *text)
{
    char got[4096];
    size_t n = net_read(fd, got, sizeof(got), NULL);

    assert_int_equal(n, strlen(text));
    assert_memory_equal(got, text, n);
}

static UNUSED bool net_at_eof(int fd)
{
    char got[64];
    bool eof;

    return net_read(fd, got, sizeof(got), &eof) == 0 && eof;
}

#endif
