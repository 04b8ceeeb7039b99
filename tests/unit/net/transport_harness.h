/* tests/unit/net/transport_harness.h - a connection over each transport, and its far end. Include
 * behind net/transport.c. */
#ifndef TESTS_NET_TRANSPORT_HARNESS_H
#define TESTS_NET_TRANSPORT_HARNESS_H

#include <sched.h>
#include <signal.h>

#include "memory.h"
#include "net/tls.h"
#include "net_harness.h"
#include "tls_harness.h"

#define MUCH  200000
#define STEPS 100000
#define SEEDS 40

struct wire { /* a connection and its far end */
    struct conn *c;
    int fd; /* of the far end; -1: none */
    SSL *ssl;
    BIO *in, *out; /* of ssl */
    char left[65536];
    size_t from, to; /* what of `out` is to be sent still */
    bool ended;      /* far's socket */
    struct memory_end *end;
};

struct way {
    const char *name;
    void (*open)(struct wire *w, const struct conn_ops *ops);
    /* The far end, answers as struct transport_ops' do. */
    ssize_t (*write)(struct wire *w, const void *p, size_t n);
    ssize_t (*read)(struct wire *w, void *p, size_t max);
    void (*shut)(struct wire *w);
    void (*reset)(struct wire *w);
    void (*close)(struct wire *w);
    /* What the far end does of itself. */
    void (*step)(struct wire *w);
};

static const struct way *way;
static uint64_t seed; /* memory: 0 behaves */
static struct tls_context *trusting;
static unsigned connected, secured, inputs;
static char pattern[MUCH], got[MUCH];

static UNUSED void on_connected(struct conn *c)
{
    assert_true(c->state == CONN_HTTP || c->state == CONN_SECURING);
    connected++;
}

static UNUSED void on_secured(struct conn *c)
{
    assert_int_equal(c->state, CONN_HTTP);
    secured++;
}

static const struct conn_ops ops = {
    .name = "suite",
    .input = seen_input,
    .eof = seen_eof,
    .deadline = seen_deadline,
    .connected = on_connected,
    .secured = on_secured,
    .release = seen_release,
};

/* ---- TCP
 * ------------------------------------------------------------------------------------------ */

/* Two ends of a connection over the loopback interface. */
static UNUSED void tcp_sockets(int fds[2])
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int listening = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(listening, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(getsockname(listening, (struct sockaddr *)&a, &len), 0);
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fds[0], (struct sockaddr *)&a, len), 0);
    fds[1] = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_int_not_equal(fds[1], -1);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    close(listening);
}

static UNUSED void tcp_open(struct wire *w, const struct conn_ops *its)
{
    int fds[2];

    tcp_sockets(fds);
    w->fd = fds[1];
    w->c = reactor_add(fds[0], its, NULL, 0);
    assert_non_null(w->c);
}

static UNUSED ssize_t answer(ssize_t n)
{
    return n >= 0 ? n : errno == EAGAIN ? TRANSPORT_LATER : TRANSPORT_BROKEN;
}

static UNUSED ssize_t tcp_far_write(struct wire *w, const void *p, size_t n)
{
    return answer(send(w->fd, p, n, MSG_NOSIGNAL));
}

static UNUSED ssize_t tcp_far_read(struct wire *w, void *p, size_t max)
{
    ssize_t n = recv(w->fd, p, max, 0);

    return n == 0 ? TRANSPORT_EOF : answer(n);
}

static UNUSED void tcp_far_shut(struct wire *w)
{
    assert_int_equal(shutdown(w->fd, SHUT_WR), 0);
}

static UNUSED void tcp_far_close(struct wire *w)
{
    close(w->fd);
    w->fd = -1;
}

static UNUSED void tcp_far_reset(struct wire *w)
{
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};

    assert_int_equal(setsockopt(w->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
    tcp_far_close(w);
}

static UNUSED void nothing(struct wire *w UNUSED)
{
    sched_yield();
}

/* ---- TLS
 * ------------------------------------------------------------------------------------------ */

static UNUSED void tls_open(struct wire *w, const struct conn_ops *its)
{
    int fds[2];

    tcp_sockets(fds);
    w->fd = fds[1];
    w->ssl = SSL_new(server_ctx);
    w->in = BIO_new(BIO_s_mem());
    w->out = BIO_new(BIO_s_mem());
    SSL_set_bio(w->ssl, w->in, w->out);
    SSL_set_accept_state(w->ssl);
    w->c = tls_connect(fds[0], &(struct outgoing){.tls = trusting, .host = "127.0.0.1"}, its);
    assert_non_null(w->c);
    tcp_watch(w->c);
    conn_update_events(w->c);
}

/* What OpenSSL has written goes out, as far as the socket takes it. */
static UNUSED void tls_flush(struct wire *w)
{
    ssize_t n;

    do {
        if (w->from == w->to) {
            int more = BIO_read(w->out, w->left, sizeof(w->left));

            w->from = 0;
            w->to = more > 0 ? (size_t)more : 0;
        }
        n = w->from < w->to ? send(w->fd, w->left + w->from, w->to - w->from, MSG_NOSIGNAL) : 0;
        w->from += n > 0 ? (size_t)n : 0;
    } while (n > 0);
}

/* Decrypts no more than is asked for, so that a peer that does not read is one. */
static UNUSED ssize_t tls_far_read(struct wire *w, void *p, size_t max)
{
    char piece[4096];
    size_t len;
    ssize_t n = 1;

    while (n > 0) {
        if (SSL_read_ex(w->ssl, p, max, &len) == 1)
            return (ssize_t)len;
        if (SSL_get_error(w->ssl, 0) == SSL_ERROR_ZERO_RETURN)
            return TRANSPORT_EOF;
        ERR_clear_error();
        n = recv(w->fd, piece, sizeof(piece), 0);
        if (n > 0)
            assert_int_equal(BIO_write(w->in, piece, (int)n), n);
        tls_flush(w);
    }
    return n == 0 ? TRANSPORT_BROKEN : answer(n);
}

static UNUSED ssize_t tls_far_write(struct wire *w, const void *p, size_t n)
{
    size_t sent = 0;

    if (w->from < w->to || SSL_write_ex(w->ssl, p, MIN(n, (size_t)8192), &sent) != 1)
        sent = 0;
    ERR_clear_error();
    tls_flush(w);
    return (ssize_t)sent;
}

static UNUSED void tls_far_shut(struct wire *w)
{
    SSL_shutdown(w->ssl);
    tls_flush(w);
    tcp_far_shut(w);
}

static UNUSED void tls_far_close(struct wire *w)
{
    SSL_free(w->ssl);
    tcp_far_close(w);
}

static UNUSED void tls_far_reset(struct wire *w)
{
    SSL_free(w->ssl);
    tcp_far_reset(w);
}

static UNUSED void tls_far_step(struct wire *w)
{
    char piece[4096];
    ssize_t n;

    sched_yield();
    if (w->fd == -1 || SSL_is_init_finished(w->ssl))
        return;
    n = recv(w->fd, piece, sizeof(piece), 0);
    if (n > 0)
        assert_int_equal(BIO_write(w->in, piece, (int)n), n);
    (void)SSL_do_handshake(w->ssl);
    ERR_clear_error();
    tls_flush(w);
}

/* ---- memory
 * --------------------------------------------------------------------------------------- */

static UNUSED void memory_open(struct wire *w, const struct conn_ops *its)
{
    const struct memory_plan plan = {.seed = seed,
                                     .capacity = seed != 0 ? 1 + seed * 997 % 30000 : 0,
                                     .short_each = 2,
                                     .later_each = 3,
                                     .stall_each = 50};
    struct memory_end *ends[2];

    assert_int_equal(memory_pair(&plan, ends), 0);
    w->end = ends[1];
    w->c = memory_add(ends[0], its, NULL, 0, CONN_CONNECTING);
    assert_non_null(w->c);
}

static UNUSED ssize_t memory_far_write(struct wire *w, const void *p, size_t n)
{
    return memory_write(w->end, p, n);
}

static UNUSED ssize_t memory_far_read(struct wire *w, void *p, size_t max)
{
    return memory_read(w->end, p, max);
}

static UNUSED void memory_far_shut(struct wire *w)
{
    memory_shut(w->end);
}

static UNUSED void memory_far_reset(struct wire *w)
{
    memory_reset(w->end);
    memory_close(w->end);
}

static UNUSED void memory_far_close(struct wire *w)
{
    memory_close(w->end);
}

static const struct way ways[] = {
    {"tcp", tcp_open, tcp_far_write, tcp_far_read, tcp_far_shut, tcp_far_reset, tcp_far_close,
     nothing},
    {"tls", tls_open, tls_far_write, tls_far_read, tls_far_shut, tls_far_reset, tls_far_close,
     tls_far_step},
    {"memory", memory_open, memory_far_write, memory_far_read, memory_far_shut, memory_far_reset,
     memory_far_close, nothing},
};

/* ---- the cases
 * ------------------------------------------------------------------------------------ */

static UNUSED void step(struct wire *w)
{
    net_steps(1);
    way->step(w);
}

static UNUSED void open_wire(struct wire *w, const struct conn_ops *its)
{
    memset(w, 0, sizeof(*w));
    w->fd = -1;
    way->open(w, its);
    for (int i = 0; i < STEPS && w->c->state != CONN_HTTP; i++)
        step(w);
    assert_int_equal(w->c->state, CONN_HTTP);
}

static UNUSED void write_all(struct wire *w, const char *p, size_t n)
{
    size_t at = 0;

    for (int i = 0; i < STEPS && at < n; i++) {
        ssize_t sent = way->write(w, p + at, n - at);

        assert_true(sent >= 0);
        at += (size_t)sent;
        step(w);
    }
    assert_int_equal(at, n);
}

/* Reads until `n` bytes have come, or the end. Returns how many. */
static UNUSED size_t read_until(struct wire *w, size_t n, ssize_t *end)
{
    size_t len = 0;
    ssize_t more = 0;

    for (int i = 0; i < STEPS && len < n && more >= 0; i++) {
        more = way->read(w, got + len, n - len);
        len += more > 0 ? (size_t)more : 0;
        step(w);
    }
    if (end != NULL)
        *end = more;
    return len;
}

static UNUSED void send_pattern(struct conn *c, size_t n, size_t piece)
{
    for (size_t at = 0; at < n; at += piece)
        assert_int_equal(conn_send(c, (struct str){pattern + at, MIN(piece, n - at)}), 0);
}

/* The connection is freed; its far end is closed. */
static UNUSED void await_release(struct wire *w, unsigned n)
{
    for (int i = 0; i < STEPS && seen.releases < n; i++)
        step(w);
    assert_int_equal(seen.releases, n);
}

/* ---- running them
 * --------------------------------------------------------------------------------- */

static bool running;

static UNUSED void run(void (*fn)(void))
{
    running = true;
    connected = secured = inputs = 0;
    net_setup(NULL);
    fn();
    net_teardown(NULL);
    running = false;
}

static UNUSED int tell_where(void **state UNUSED)
{
    if (running)
        print_message("over %s, seed %llu\n", way->name, (unsigned long long)seed);
    return 0;
}

static UNUSED void over_all(void **state)
{
    seed = 0;
    for (way = ways; way < ways + ARRAY_LEN(ways); way++)
        run((void (*)(void)) * state);
}

/* On memory that goes wrong, though nothing breaks. */
static UNUSED void over_chance(void **state)
{
    way = &ways[2];
    for (seed = 1; seed <= SEEDS; seed++)
        run((void (*)(void)) * state);
}

static UNUSED void over_memory(void **state)
{
    way = &ways[2];
    seed = 0;
    run((void (*)(void)) * state);
}

static UNUSED int setup(void **state)
{
    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (char)(i * 7 % 251);
    signal(SIGPIPE, SIG_IGN);
    if (make_server(state) == -1)
        return -1;
    trusting = tls_client_context(ca_path, true, got, sizeof(got));
    return trusting == NULL ? -1 : 0;
}

static UNUSED int teardown(void **state)
{
    tls_context_free(trusting);
    return drop_server(state);
}

/* A case over some of them: the group's state is the case. */
#define T(fn, where)                                                                               \
    {                                                                                              \
#fn " " #where, where, NULL, tell_where, (void *)fn                                        \
    }

#endif
