/* tests/unit/net/tls_accept_harness.h - accepted connections against OpenSSL's client in the same
 * process, whose bytes go through the socket in pieces of a chosen size. */
#ifndef TESTS_NET_TLS_ACCEPT_HARNESS_H
#define TESTS_NET_TLS_ACCEPT_HARNESS_H

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "net/tls_server.h"
#include "net/transport.h"
#include "net_harness.h"
#include "pki.h"
#include "src/net/tcp.h"

static struct pki authority, plain_pair; /* made once */
static SSL_CTX *client_ctx;
static unsigned secured;

static struct far { /* the client */
    SSL *ssl;
    BIO *in, *out; /* of ssl */
    int fd;
    size_t piece; /* bytes that one pump() may move in each direction */
    int done;     /* of the handshake: 1, or -1 it has failed */
    bool eof;
    char got[300000];
    size_t len;
} far;

static void on_secured(struct conn *c)
{
    assert_int_equal(c->state, CONN_HTTP);
    secured++;
}

static const struct conn_ops accepted_ops = {
    .name = "tls",
    .input = seen_input,
    .eof = seen_eof,
    .deadline = seen_deadline,
    .secured = on_secured,
    .release = seen_release,
};

static int make_pki(void **state UNUSED)
{
    authority = pki_make(&(struct pki_want){.name = "authority", .authority = true});
    plain_pair = pki_make(&(struct pki_want){
        .name = "server", .names = "DNS:localhost,IP:127.0.0.1", .issuer = &authority});
    client_ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(client_ctx, SSL_VERIFY_PEER, NULL);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(client_ctx), authority.certificate);
    return 0;
}

static int drop_pki(void **state UNUSED)
{
    SSL_CTX_free(client_ctx);
    pki_free(&authority);
    pki_free(&plain_pair);
    return 0;
}

/* A server with these pairs. NULL: the sentence is in err. */
static UNUSED struct tls_server *server_of(const struct pki *const *pairs, size_t n,
                                           enum tls_clients clients, char *err, size_t errcap)
{
    struct tls_texts texts = {.npairs = n, .clients = clients};
    char *text[2 * TLS_PAIRS_MAX + 1];
    struct tls_server *s;
    size_t pair;

    for (size_t i = 0; i < n; i++) {
        text[2 * i] = pki_certificate_pem(pairs[i], &authority);
        text[2 * i + 1] = pki_key_pem(pairs[i], NULL);
        texts.pairs[i].certificate = str_from(text[2 * i]);
        texts.pairs[i].key = str_from(text[2 * i + 1]);
    }
    text[2 * n] = pki_certificate_pem(&authority, NULL);
    texts.client_ca = str_from(text[2 * n]);
    s = tls_server_new(&texts, &pair, err, errcap);
    for (size_t i = 0; i < 2 * n + 1; i++)
        free(text[i]);
    return s;
}

static UNUSED void serve(const struct pki *const *pairs, size_t n, enum tls_clients clients)
{
    char err[256] = "";
    struct tls_server *s = server_of(pairs, n, clients, err, sizeof(err));

    if (s == NULL)
        fail_msg("%s", err);
    tls_server_use(0, s);
}

static UNUSED void serve_plainly(void)
{
    const struct pki *one = &plain_pair;

    serve(&one, 1, TLS_CLIENTS_OFF);
}

static UNUSED void far_fini(void)
{
    SSL_free(far.ssl);
    if (far.fd != -1)
        close(far.fd);
    memset(&far, 0, sizeof(far));
    far.fd = -1;
}

/* An accepted connection that has said nothing yet. */
static UNUSED struct conn *accept_pair(size_t piece)
{
    struct conn *c;
    int fds[2];

    memset(&far, 0, sizeof(far));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    c = tls_accept(fds[0], &accepted_ops, NULL, CONN_VIA(0), CONN_SECURING);
    assert_non_null(c);
    tcp_watch(c);
    conn_update_events(c);
    far.fd = fds[1];
    far.piece = piece;
    secured = 0;
    return c;
}

static UNUSED void far_starts(SSL_SESSION *session, const char *name)
{
    far.ssl = SSL_new(client_ctx);
    far.in = BIO_new(BIO_s_mem());
    far.out = BIO_new(BIO_s_mem());
    SSL_set_bio(far.ssl, far.in, far.out);
    SSL_set_connect_state(far.ssl);
    if (name != NULL)
        assert_int_equal(SSL_set_tlsext_host_name(far.ssl, name), 1);
    if (session != NULL)
        assert_int_equal(SSL_set_session(far.ssl, session), 1);
}

/* One turn of the server, and what the client makes of it. */
static UNUSED void pump(void)
{
    char piece[65536];
    size_t got;
    ssize_t n;

    if (far.done == 0) {
        int rc = SSL_do_handshake(far.ssl);

        if (rc == 1 || SSL_get_error(far.ssl, rc) == SSL_ERROR_SSL)
            far.done = rc == 1 ? 1 : -1;
    } else {
        while (SSL_read_ex(far.ssl, far.got + far.len, sizeof(far.got) - far.len, &got) == 1)
            far.len += got;
    }
    ERR_clear_error();
    n = BIO_read(far.out, piece, (int)MIN(far.piece, sizeof(piece)));
    if (n > 0)
        assert_int_equal(send(far.fd, piece, (size_t)n, MSG_NOSIGNAL), n);
    net_steps(1);
    n = recv(far.fd, piece, MIN(far.piece, sizeof(piece)), MSG_DONTWAIT);
    far.eof |= n == 0;
    if (n > 0)
        assert_int_equal(BIO_write(far.in, piece, (int)n), n);
}

static UNUSED void pump_until_secured(void)
{
    for (int k = 0; k < 20000 && secured == 0; k++)
        pump();
    assert_int_equal(secured, 1);
}

/* Until the client has had all that the server sends by itself. */
static UNUSED void pump_tickets(void)
{
    for (int k = 0; k < 10; k++)
        pump();
}

#endif
