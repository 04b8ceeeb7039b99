/* tests/unit/net/test_tls.c - against OpenSSL's server side in the same process, whose bytes go
 * through the socket in pieces of a chosen size. */
#include "net/tls.c"

#include <signal.h>

#include "net_harness.h"
#include "tls_client_harness.h"

static void messages_both_ways(void **state UNUSED)
{
    static const size_t pieces[] = {7, 100, 1448, 65536};
    static char text[100000];
    struct tls_context *t = trusting();

    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)(i * 7 % 251);
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        struct conn *c = open_pair(t, "127.0.0.1", pieces[i]);
        size_t n = pieces[i] < 1000 ? 3000 : sizeof(text), sent;

        /* Queued while there is no handshake yet. */
        seen.len = 0;
        assert_int_equal(conn_send(c, STR_LIT("first, ")), 0);
        assert_int_equal(conn_send(c, (struct str){text, n}), 0);
        for (int k = 0; k < 100000 && far.len < n + 7; k++)
            pump();
        assert_int_equal(secured, 1);
        assert_int_equal(far.len, n + 7);
        assert_memory_equal(far.got, "first, ", 7);
        assert_memory_equal(far.got + 7, text, n);
        assert_int_equal(SSL_write_ex(far.ssl, text, n, &sent), 1);
        assert_int_equal(sent, n);
        for (int k = 0; k < 100000 && seen.len < n; k++)
            pump();
        assert_int_equal(seen.len, n);
        assert_memory_equal(seen.input, text, n);
        conn_kill(c, CLOSE_NORMAL);
        net_steps(1);
        far_fini();
    }
    tls_context_free(t);
}

/* What lies decrypted in OpenSSL is read although the socket stays silent. */
static void decrypted_bytes_are_not_forgotten(void **state UNUSED)
{
    static char text[16000];
    struct tls_context *t = trusting();
    struct conn *c = open_pair(t, "localhost", 65536);
    size_t sent;

    for (int k = 0; k < 100 && secured == 0; k++)
        pump();
    config.read_budget = 1000;
    assert_int_equal(SSL_write_ex(far.ssl, text, sizeof(text), &sent), 1);
    pump();
    for (int k = 0; k < 15; k++)
        net_steps(1);
    assert_int_equal(seen.len, sizeof(text)); /* a thousand in each turn */
    /* Held in the middle, they wait; released, they come. */
    seen.len = 0;
    assert_int_equal(SSL_write_ex(far.ssl, text, sizeof(text), &sent), 1);
    pump();
    net_steps(2);
    conn_hold(c, CONN_HOLD_ANSWER);
    net_steps(3);
    sent = seen.len;
    assert_true(sent > 0 && sent < sizeof(text));
    net_steps(3);
    assert_int_equal(seen.len, sent);
    assert_false(reactor->busy);
    conn_release_hold(c, CONN_HOLD_ANSWER);
    net_steps(20);
    assert_int_equal(seen.len, sizeof(text));
    conn_kill(c, CLOSE_NORMAL);
    net_steps(1);
    far_fini();
    tls_context_free(t);
}

static void the_peer_says_goodbye(void **state UNUSED)
{
    struct tls_context *t = trusting();
    struct conn *c = open_pair(t, "127.0.0.1", 65536);

    for (int k = 0; k < 100 && secured == 0; k++)
        pump();
    SSL_shutdown(far.ssl);
    for (int k = 0; k < 10 && seen.eofs == 0; k++)
        pump();
    assert_int_equal(seen.eofs, 1);
    conn_finish(c, CLOSE_PEER_CLOSED);
    for (int k = 0; k < 10; k++)
        pump();
    assert_int_equal(SSL_get_shutdown(far.ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
    assert_int_equal(seen.releases, 1);
    far_fini();
    tls_context_free(t);
}

/* Everything that the server has to say arrives at once; TCP stays open. */
static void flush_far(const char *more, size_t n)
{
    char all[65536];
    int len = BIO_read(far.out, all, sizeof(all) / 2);

    assert_true(len > 0 && n <= sizeof(all) / 2);
    memcpy(all + len, more, n);
    net_write(far.fd, all, (size_t)len + n);
}

static void far_says(const char *text)
{
    size_t sent;

    assert_int_equal(SSL_write_ex(far.ssl, text, strlen(text), &sent), 1);
}

/* Reading the last bytes consumes the close_notify behind them; no event tells of it again. */
static void the_end_comes_with_the_last_bytes(void **state UNUSED)
{
    struct tls_context *t = trusting();
    struct conn *c = open_pair(t, "127.0.0.1", 65536);

    for (int k = 0; k < 100 && secured == 0; k++)
        pump();
    far_says("goodbye");
    SSL_shutdown(far.ssl);
    flush_far("", 0);
    net_steps(2);
    assert_int_equal(seen.len, 7);
    assert_int_equal(seen.eofs, 1);
    net_steps(3);
    assert_int_equal(seen.eofs, 1);
    assert_false(reactor->busy);
    conn_kill(c, CLOSE_NORMAL);
    net_steps(1);
    far_fini();
    tls_context_free(t);
}

static void an_error_comes_with_the_last_bytes(void **state UNUSED)
{
    static const char forged[5 + 32] = "\x17\x03\x03\x00\x20";
    struct tls_context *t = trusting();

    open_pair(t, "127.0.0.1", 65536);
    for (int k = 0; k < 100 && secured == 0; k++)
        pump();
    far_says("goodbye");
    flush_far(forged, sizeof(forged));
    net_steps(2);
    assert_int_equal(seen.len, 7);
    assert_int_equal(seen.eofs, 0);
    assert_int_equal(seen.releases, 1);
    assert_int_equal(metrics->closes[CLOSE_PEER_GONE], 1);
    far_fini();
    tls_context_free(t);
}

/* With TLS 1.2, and established. */
static struct conn *open_old(struct tls_context *t)
{
    struct conn *c;

    SSL_CTX_set_max_proto_version(server_ctx, TLS1_2_VERSION);
    c = open_pair(t, "127.0.0.1", 65536);
    SSL_CTX_set_max_proto_version(server_ctx, 0);
    for (int k = 0; k < 100 && secured == 0; k++)
        pump();
    net_steps(1);
    return c;
}

/* The server asks for the handshake to begin anew (RFC 5246 §7.4.1.1). */
static void ask_for_handshake(void)
{
    assert_int_equal(SSL_renegotiate(far.ssl), 1);
    assert_int_equal(SSL_do_handshake(far.ssl), 1); /* asks, no more */
    flush_far("", 0);
}

/* That is answered when the socket has room again, without anything to be read. */
static void a_read_that_waits_to_write(void **state UNUSED)
{
    static char noise[65536];
    struct tls_context *t = trusting();
    struct conn *c = open_old(t);

    assert_int_equal(c->io.events & EV_WRITE, 0);
    while (send(conn_fd(c), noise, sizeof(noise), MSG_DONTWAIT) > 0) {
    }
    far_says("hello");
    ask_for_handshake();
    net_steps(1);
    assert_int_equal(seen.len, 5);
    assert_int_equal(c->io.events & EV_WRITE, EV_WRITE);
    while (recv(far.fd, noise, sizeof(noise), MSG_DONTWAIT) > 0) {
    }
    net_steps(1);
    assert_int_equal(c->io.events & EV_WRITE, 0);
    assert_true(recv(far.fd, noise, sizeof(noise), MSG_DONTWAIT) > 0);
    conn_kill(c, CLOSE_NORMAL);
    net_steps(1);
    far_fini();
    tls_context_free(t);
}

/* Within such a handshake output waits for input. A read that finds nothing must not forget that:
 * the writable socket would be tried for ever. */
static void a_write_that_waits_to_read(void **state UNUSED)
{
    struct tls_context *t = trusting();
    struct conn *c = open_old(t);

    ask_for_handshake();
    net_steps(1);
    assert_int_equal(conn_send(c, STR_LIT("later")), 0);
    far.piece = 100;
    for (int k = 0; k < 1000 && far.len < 5; k++) {
        pump();
        if (SSL_in_init(tls_of(c)->ssl) && conn_queued(c) > 0)
            assert_int_equal(c->io.events, EV_READ);
    }
    assert_int_equal(far.len, 5);
    net_steps(1);
    assert_int_equal(c->io.events, EV_READ);
    conn_kill(c, CLOSE_NORMAL);
    net_steps(1);
    far_fini();
    tls_context_free(t);
}

/* Without close_notify an end may be an attacker's (RFC 8446 §6.1). */
static void the_peer_is_cut_off(void **state UNUSED)
{
    struct tls_context *t = trusting();

    open_pair(t, "127.0.0.1", 65536);
    for (int k = 0; k < 100 && secured == 0; k++)
        pump();
    close(far.fd);
    far.fd = -1;
    net_steps(2);
    assert_int_equal(seen.eofs, 0);
    assert_int_equal(seen.releases, 1);
    assert_int_equal(metrics->closes[CLOSE_PEER_GONE], 1);
    far_fini();
    tls_context_free(t);
}

static void expect_refusal(struct tls_context *t, const char *host, const char *why)
{
    unsigned before = seen.releases;

    open_pair(t, host, 65536);
    for (int k = 0; k < 100 && seen.releases == before; k++)
        pump();
    assert_int_equal(seen.releases, before + 1);
    assert_int_equal(secured, 0);
    if (strstr(tls_failure(), why) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", why, tls_failure());
    far_fini();
}

static void strangers(void **state UNUSED)
{
    char err[256];
    struct tls_context *system = tls_client_context("", true, err, sizeof(err));
    struct tls_context *own = trusting();

    assert_non_null(system);
    expect_refusal(system, "127.0.0.1", "self-signed");
    expect_refusal(own, "127.0.0.2", "IP address mismatch");
    expect_refusal(own, "elsewhere.test", "hostname mismatch");
    tls_context_free(system);
    tls_context_free(own);
    tls_context_free(NULL);
    assert_null(tls_client_context("/nonexistent/ca.pem", true, err, sizeof(err)));
    assert_true(err[0] != '\0');
}

static void anybody(void **state UNUSED)
{
    char err[256];
    struct tls_context *t = tls_client_context(NULL, false, err, sizeof(err));

    assert_non_null(t);
    open_pair(t, "elsewhere.test", 65536);
    for (int k = 0; k < 100 && secured == 0; k++)
        pump();
    assert_int_equal(secured, 1);
    far_fini();
    tls_context_free(t);
}

static void garbage_instead_of_a_handshake(void **state UNUSED)
{
    struct tls_context *t = trusting();

    open_pair(t, "127.0.0.1", 65536);
    net_steps(1);
    assert_true(send(far.fd, "HTTP/1.1 400 Bad Request\r\n\r\n", 28, 0) == 28);
    net_steps(2);
    assert_int_equal(seen.releases, 1);
    assert_string_equal(tls_failure(), "wrong version number");
    far_fini();
    tls_context_free(t);
}

static void start_without_memory(void **state UNUSED)
{
    struct tls_context *t = trusting();

    for (unsigned long k = 1; k <= 2; k++) { /* table, pool; OpenSSL allocates for itself */
        fault_fail_at(k);
        assert_null(open_pair(t, "127.0.0.1", 100));
        fault_reset();
        close(far.fd);
    }
    tls_context_free(t);
    far.fd = -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(messages_both_ways),
        NET_TEST(decrypted_bytes_are_not_forgotten),
        NET_TEST(the_peer_says_goodbye),
        NET_TEST(the_end_comes_with_the_last_bytes),
        NET_TEST(an_error_comes_with_the_last_bytes),
        NET_TEST(a_read_that_waits_to_write),
        NET_TEST(a_write_that_waits_to_read),
        NET_TEST(the_peer_is_cut_off),
        NET_TEST(strangers),
        NET_TEST(anybody),
        NET_TEST(garbage_instead_of_a_handshake),
        NET_TEST(start_without_memory),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("net/tls", tests, make_server, drop_server);
}
