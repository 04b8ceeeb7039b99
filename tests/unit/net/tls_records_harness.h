/* tests/unit/net/tls_records_harness.h - an accepted connection whose records are our own, and a
 * peer: OpenSSL's client (tls_accept_harness.h), or a struct tls13 with its secrets, which seals what
 * a test wants. */
#ifndef TESTS_NET_TLS_RECORDS_HARNESS_H
#define TESTS_NET_TLS_RECORDS_HARNESS_H

#include "codec/tls13.h"
#include "tls_accept_harness.h"

static struct tls13_secrets of_client;
static struct tls13 peer;
static uint8_t wire[TLS13_RECORD_MAX + 100], plain[TLS13_RECORD_MAX];
static char pattern[200000];

static void note_secret(const SSL *ssl UNUSED, const char *line)
{
    const char *hex = strrchr(line, ' ') + 1;
    bool out = strncmp(line, "CLIENT_TRAFFIC_SECRET_0", 23) == 0;
    uint8_t *to = out ? of_client.out : of_client.in;
    unsigned byte;
    size_t n = strlen(hex) / 2;

    if (!out && strncmp(line, "SERVER_TRAFFIC_SECRET_0", 23) != 0)
        return;
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        to[i] = (uint8_t)byte;
    }
    *(out ? &of_client.out_len : &of_client.in_len) = n;
}

static int make_world(void **state)
{
    for (size_t i = 0; i < sizeof(pattern); i++)
        pattern[i] = (char)(i * 7 % 251);
    signal(SIGPIPE, SIG_IGN);
    if (make_pki(state) == -1)
        return -1;
    SSL_CTX_set_keylog_callback(client_ctx, note_secret);
    return 0;
}

static UNUSED const char *described(const struct conn *c)
{
    static char text[100];

    transport_of(c)->describe(c, text, sizeof(text));
    return text;
}

static UNUSED bool is_compact(const struct conn *c)
{
    return strstr(described(c), "compact") != NULL;
}

/* The handshake is over, and records are our own. suite NULL: as they like. */
static UNUSED struct conn *open_compact(size_t piece, const char *suite)
{
    struct conn *c;

    serve_plainly();
    c = accept_pair(piece);
    far_starts(NULL, "localhost");
    if (suite != NULL)
        assert_int_equal(SSL_set_ciphersuites(far.ssl, suite), 1);
    pump_until_secured();
    assert_true(is_compact(c));
    assert_true(suite == NULL || strstr(described(c), suite) != NULL);
    return c;
}

/* The same with `peer` instead of OpenSSL's client. */
static UNUSED struct conn *open_bare(void)
{
    struct conn *c = open_compact(65536, NULL);

    of_client.in_seq = of_client.out_seq = 0;
    assert_int_equal(
        tls13_init(&peer, SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(far.ssl)), &of_client),
        0);
    SSL_free(far.ssl);
    far.ssl = NULL;
    return c;
}

static UNUSED void end(struct conn *c)
{
    if (c != NULL)
        conn_kill(c, CLOSE_NORMAL);
    net_steps(2);
    far_fini();
    tls13_fini(&peer);
    tls_server_use(0, NULL);
    seen.len = 0;
    seen.eofs = seen.releases = 0;
}

/* The peer says content of a type. */
static UNUSED void say(enum tls13_type type, const void *p, size_t n)
{
    net_write(far.fd, wire, tls13_seal(&peer, type, p, n, wire));
}

/* The next record that the peer gets, within some turns: its event, content in plain. */
static UNUSED enum tls13_event hear(struct tls13_opened *o)
{
    enum tls13_alert alert;
    ssize_t size = 0;
    size_t have = 0;

    for (int k = 0; k < 1000 && (size == 0 || have < (size_t)size); k++) {
        size_t want = size == 0 ? TLS13_HEADER : (size_t)size;
        ssize_t n = recv(far.fd, wire + have, want - have, MSG_DONTWAIT);

        have += n > 0 ? (size_t)n : 0;
        size = tls13_record_size(wire, have, &alert);
        assert_true(size >= 0);
        if (n <= 0)
            net_steps(1);
    }
    assert_int_equal(have, size);
    return tls13_open(&peer, wire, have, plain, o);
}

static UNUSED void expect_text(const char *text)
{
    struct tls13_opened o;

    assert_int_equal(hear(&o), TLS13_EVENT_DATA);
    assert_int_equal(o.n, strlen(text));
    assert_memory_equal(plain, text, o.n);
}

static UNUSED void expect_alert(enum tls13_alert alert)
{
    struct tls13_opened o;

    assert_int_equal(hear(&o),
                     alert == TLS13_CLOSE_NOTIFY ? TLS13_EVENT_CLOSED : TLS13_EVENT_ALERT);
    assert_int_equal(o.alert, alert);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, net_setup, net_teardown)

#endif
