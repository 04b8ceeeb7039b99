/* tests/unit/net/tls_client_harness.h - a client on a reactor, and OpenSSL's server side in the same
 * process, whose bytes go through the socket in pieces of a chosen size. Include behind net_harness.h. */
#ifndef TESTS_NET_TLS_CLIENT_HARNESS_H
#define TESTS_NET_TLS_CLIENT_HARNESS_H

#include "net/connect.h"
#include "net/net_internal.h"
#include "net/tcp.h"
#include "net/tls.h"
#include "tls_harness.h"

static struct far { /* the server */
    SSL *ssl;
    BIO *in, *out; /* of ssl */
    int fd;
    size_t piece; /* bytes that one pump() may move in each direction */
    char got[300000];
    size_t len;
} far;

static unsigned secured;
static bool later; /* connections begin plain */

static void far_fini(void)
{
    SSL_free(far.ssl);
    if (far.fd != -1)
        close(far.fd);
    memset(&far, 0, sizeof(far));
}

/* One turn of the client, and what the server makes of it. */
static void pump(void)
{
    char piece[65536];
    size_t got;
    ssize_t n;

    net_steps(1);
    n = recv(far.fd, piece, MIN(far.piece, sizeof(piece)), MSG_DONTWAIT);
    if (n > 0)
        assert_int_equal(BIO_write(far.in, piece, (int)n), n);
    while (SSL_read_ex(far.ssl, far.got + far.len, sizeof(far.got) - far.len, &got) == 1)
        far.len += got;
    ERR_clear_error();
    n = BIO_read(far.out, piece, (int)MIN(far.piece, sizeof(piece)));
    if (n > 0)
        assert_int_equal(send(far.fd, piece, (size_t)n, MSG_NOSIGNAL), n);
}

static void on_secured(struct conn *c)
{
    assert_int_equal(c->state, CONN_HTTP);
    assert_true(tls_began_ns(c) > 0);
    secured++;
}

static const struct conn_ops tls_ops = {
    .name = "tls",
    .input = seen_input,
    .eof = seen_eof,
    .deadline = seen_deadline,
    .secured = on_secured,
    .release = seen_release,
};

static struct tls_context *trusting(void)
{
    char err[256] = "";
    struct tls_context *t = tls_client_context(ca_path, true, err, sizeof(err));

    if (t == NULL)
        fail_msg("%s", err);
    return t;
}

static struct conn *open_pair(struct tls_context *t, const char *host, size_t piece)
{
    struct conn *c;
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    far.fd = fds[1];
    c = tls_connect(fds[0], &(struct outgoing){.tls = t, .host = host, .tls_later = later},
                    &tls_ops);
    if (c == NULL) {
        close(fds[0]);
        return NULL;
    }
    tcp_watch(c);
    conn_update_events(c);
    far.piece = piece;
    far.ssl = SSL_new(server_ctx);
    far.in = BIO_new(BIO_s_mem());
    far.out = BIO_new(BIO_s_mem());
    SSL_set_bio(far.ssl, far.in, far.out);
    SSL_set_accept_state(far.ssl);
    secured = 0;
    return c;
}

#endif
