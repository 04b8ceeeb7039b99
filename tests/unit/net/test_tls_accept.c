/* tests/unit/net/test_tls_accept.c - accepted connections: handshakes, their turn, their ends. */
#include "net/tls_accept.c"

#include <signal.h>

#include "tls_accept_harness.h"

static void end(struct conn *c)
{
    if (c != NULL)
        conn_kill(c, CLOSE_NORMAL);
    net_steps(1);
    far_fini();
    tls_server_use(0, NULL);
}

static void messages_both_ways(void **state UNUSED)
{
    static const size_t pieces[] = {1, 7, 100, 1448, 65536};
    static char text[100000];

    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)(i * 7 % 251);
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        size_t n = pieces[i] < 1000 ? 3000 : sizeof(text), sent;
        struct conn *c;

        serve_plainly();
        c = accept_pair(pieces[i]);
        far_starts(NULL, "localhost");
        pump_until_secured();
        assert_int_equal(conn_send(c, STR_LIT("first, ")), 0);
        assert_int_equal(conn_send(c, (struct str){text, n}), 0);
        for (int k = 0; k < 200000 && far.len < n + 7; k++)
            pump();
        assert_int_equal(far.done, 1);
        assert_int_equal(far.len, n + 7);
        assert_memory_equal(far.got, "first, ", 7);
        assert_memory_equal(far.got + 7, text, n);
        seen.len = 0;
        assert_int_equal(SSL_write_ex(far.ssl, text, n, &sent), 1);
        for (int k = 0; k < 200000 && seen.len < n; k++)
            pump();
        assert_int_equal(seen.len, n);
        assert_memory_equal(seen.input, text, n);
        end(c);
    }
    assert_int_equal(metrics->tls_full, ARRAY_LEN(pieces));
}

static void old_and_new(void **state UNUSED)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    char text[100];

    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        struct conn *c;

        serve_plainly();
        c = accept_pair(65536);
        SSL_CTX_set_max_proto_version(client_ctx, versions[i]);
        far_starts(NULL, "localhost");
        SSL_CTX_set_max_proto_version(client_ctx, 0);
        transport_of(c)->describe(c, text, sizeof(text));
        assert_string_equal(text, "tls handshake");
        pump_until_secured();
        assert_int_equal(SSL_version(far.ssl), versions[i]);
        transport_of(c)->describe(c, text, sizeof(text));
        assert_non_null(strstr(text, SSL_get_version(far.ssl)));
        end(c);
    }
}

/* Nothing of OpenSSL's is made before the client has said something. */
static void who_says_nothing(void **state UNUSED)
{
    struct conn *c;

    serve_plainly();
    c = accept_pair(65536);
    net_steps(3);
    assert_null(tls_of(c)->ssl);
    net_after((uint64_t)config.tls_handshake_timeout + 2 * WHEEL_TICK_NS);
    net_steps(1);
    assert_int_equal(seen.releases, 1);
    assert_int_equal(seen.deadlines, 0);
    assert_int_equal(metrics->closes[CLOSE_TLS_TIMEOUT], 1);
    assert_int_equal(metrics->tls_failed_timeout, 1);
    end(NULL);
}

static void who_stops_in_the_middle(void **state UNUSED)
{
    serve_plainly();
    accept_pair(20);
    far_starts(NULL, "localhost");
    for (int k = 0; k < 4; k++)
        pump();
    net_after((uint64_t)config.tls_handshake_timeout + 2 * WHEEL_TICK_NS);
    net_steps(1);
    assert_int_equal(metrics->closes[CLOSE_TLS_TIMEOUT], 1);
    far_fini();
    /* Or goes. */
    accept_pair(20);
    far_starts(NULL, "localhost");
    for (int k = 0; k < 4; k++)
        pump();
    far_fini();
    net_steps(2);
    assert_int_equal(metrics->tls_failed_gone, 1);
    assert_int_equal(metrics->closes[CLOSE_TLS_FAILED], 1);
    end(NULL);
}

static void plain_http_is_answered_plainly(void **state UNUSED)
{
    static const char *const requests[] = {"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                                           "OPTIONS * HTTP/1.1\r\n\r\n", "P"};
    char got[1000];
    bool eof;

    serve_plainly();
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        size_t n;

        accept_pair(65536);
        net_write(far.fd, requests[i], strlen(requests[i]));
        net_steps(3);
        n = net_read(far.fd, got, sizeof(got), &eof);
        got[n] = '\0';
        assert_non_null(strstr(got, "HTTP/1.1 400 "));
        assert_int_equal(strlen(strstr(got, "\r\n\r\n") + 4),
                         strtoul(strstr(got, "Content-Length: ") + 16, NULL, 10));
        assert_true(eof);
        far_fini();
        net_steps(2);
    }
    assert_int_equal(metrics->closes[CLOSE_PLAIN_ON_TLS], 3);
    assert_int_equal(metrics->tls_failed_plain_http, 3);
    assert_int_equal(seen.inputs, 0);
    assert_int_equal(seen.releases, 3);
    end(NULL);
}

static void other_bytes(void **state UNUSED)
{
    serve_plainly();
    accept_pair(65536);
    net_write(far.fd, "\x80\x2e\x01", 3);
    net_steps(2);
    assert_int_equal(seen.releases, 1);
    assert_int_equal(metrics->tls_failed_not_tls, 1);
    far_fini();
    accept_pair(65536);
    net_write(far.fd, "\x16\x03\x01\x00\x04\xff\x00\x00\x00", 9);
    net_steps(2);
    assert_int_equal(metrics->tls_failed_protocol, 1);
    end(NULL);
}

/* A client with these peculiarities is refused, with an alert, and counted so. */
static void expect_failure(uint64_t *counter)
{
    unsigned before = seen.releases;
    uint64_t counted = *counter;

    for (int k = 0; k < 200 && far.done == 0; k++)
        pump();
    for (int k = 0; k < 5; k++)
        pump();
    assert_int_equal(secured, 0);
    assert_int_equal(*counter, counted + 1);
    far_fini(); /* who has had the alert closes */
    net_steps(2);
    assert_int_equal(seen.releases, before + 1);
}

static void failures_are_counted_by_reason(void **state UNUSED)
{
    static const unsigned char h2[] = "\x02h2";

    serve_plainly();
    accept_pair(65536);
    far_starts(NULL, NULL);
    SSL_set_min_proto_version(far.ssl, TLS1_VERSION);
    SSL_set_max_proto_version(far.ssl, TLS1_1_VERSION);
    SSL_set_security_level(far.ssl, 0);
    SSL_set_cipher_list(far.ssl, "ALL:@SECLEVEL=0");
    expect_failure(&metrics->tls_failed_version);

    accept_pair(65536);
    far_starts(NULL, NULL);
    SSL_set_max_proto_version(far.ssl, TLS1_2_VERSION);
    SSL_set_cipher_list(far.ssl, "AES128-SHA");
    expect_failure(&metrics->tls_failed_cipher);

    accept_pair(65536);
    far_starts(NULL, NULL);
    SSL_set_alpn_protos(far.ssl, h2, sizeof(h2) - 1);
    expect_failure(&metrics->tls_failed_alpn);

    accept_pair(65536);
    far_starts(NULL, NULL);
    SSL_set1_host(far.ssl, "elsewhere.test");
    expect_failure(&metrics->tls_failed_refused);
    assert_int_equal(metrics->closes[CLOSE_TLS_FAILED], 4);
    end(NULL);
}

static void alpn(void **state UNUSED)
{
    static const unsigned char both[] = "\x02h2\x08http/1.1";
    const unsigned char *chosen;
    struct conn *c;
    unsigned n;

    serve_plainly();
    c = accept_pair(65536);
    far_starts(NULL, NULL);
    SSL_set_alpn_protos(far.ssl, both, sizeof(both) - 1);
    pump_until_secured();
    SSL_get0_alpn_selected(far.ssl, &chosen, &n);
    assert_int_equal(n, 8);
    assert_memory_equal(chosen, "http/1.1", 8);
    end(c);
}

/* Of many that could go on, a turn takes what the budget allows, and at least one. */
static void a_storm_takes_turns(void **state UNUSED)
{
    struct far all[20];
    struct conn *c[20];

    serve_plainly();
    config.tls_handshake_budget = 0;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        char hello[4096];
        int n;

        c[i] = accept_pair(65536);
        far_starts(NULL, NULL);
        SSL_do_handshake(far.ssl);
        n = BIO_read(far.out, hello, sizeof(hello));
        net_write(far.fd, hello, (size_t)n);
        all[i] = far;
    }
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        size_t begun = 0;

        net_steps(1);
        for (size_t k = 0; k < ARRAY_LEN(all); k++)
            begun += tls_of(c[k])->ssl != NULL;
        assert_int_equal(begun, i + 1);
        assert_int_equal(reactor->busy, i + 1 < ARRAY_LEN(all));
    }
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        conn_kill(c[i], CLOSE_NORMAL);
        far = all[i];
        far_fini();
    }
    end(NULL);
}

/* It dies while it waits for its turn. */
static void who_is_gone_has_no_turn(void **state UNUSED)
{
    struct conn *c;

    serve_plainly();
    c = accept_pair(65536);
    net_write(far.fd, "\x16\x03\x01", 3);
    ev_run(reactor->loop, EVRUN_NOWAIT);
    assert_int_equal(reactor->securing.n, 1);
    conn_kill(c, CLOSE_NORMAL);
    net_steps(2);
    assert_int_equal(seen.releases, 1);
    end(NULL);
}

static void use_certificate(const struct pki *p)
{
    assert_int_equal(SSL_use_certificate(far.ssl, p->certificate), 1);
    assert_int_equal(SSL_use_PrivateKey(far.ssl, p->key), 1);
}

static void clients_show_certificates(void **state UNUSED)
{
    struct pki mine =
        pki_make(&(struct pki_want){.name = "alice, of B \xc3\xa4", .issuer = &authority});
    struct pki stranger = pki_make(&(struct pki_want){.name = "mallory"});
    struct pki old = pki_make(
        &(struct pki_want){.name = "bob", .issuer = &authority, .from = -60, .until = -30});
    const struct pki *one = &plain_pair;
    struct conn *c;

    for (enum tls_clients how = TLS_CLIENTS_OPTIONAL; how <= TLS_CLIENTS_REQUIRED; how++) {
        serve(&one, 1, how);
        c = accept_pair(65536);
        far_starts(NULL, NULL);
        use_certificate(&mine);
        pump_until_secured();
        assert_string_equal(tls_subject(c), "CN=alice\\, of B \xc3\xa4");
        assert_string_equal(tls_common_name(c), "alice, of B \xc3\xa4");
        end(c);

        serve(&one, 1, how);
        accept_pair(65536);
        far_starts(NULL, NULL);
        use_certificate(&stranger);
        expect_failure(&metrics->tls_failed_certificate);

        accept_pair(65536);
        far_starts(NULL, NULL);
        use_certificate(&old);
        expect_failure(&metrics->tls_failed_certificate);

        c = accept_pair(65536);
        far_starts(NULL, NULL);
        if (how == TLS_CLIENTS_REQUIRED) {
            expect_failure(&metrics->tls_failed_no_certificate);
            c = NULL;
        } else {
            pump_until_secured();
            assert_null(tls_subject(c));
            assert_string_equal(tls_common_name(c), "");
        }
        end(c);
    }
    pki_free(&mine);
    pki_free(&stranger);
    pki_free(&old);
}

static void what_tls_looks_like(void **state UNUSED)
{
    assert_true(tls_looks_like(STR_LIT("\x16")));
    assert_true(tls_looks_like(STR_LIT("\x16\x03\x01")));
    assert_false(tls_looks_like(STR_LIT("\x16\x02")));
    assert_false(tls_looks_like(STR_LIT("GET /")));
    assert_false(tls_looks_like(STR_LIT("")));
}

static void without_memory(void **state UNUSED)
{
    serve_plainly();
    accept_pair(65536);
    far_starts(NULL, NULL);
    fault_fail_at(1); /* the queue; OpenSSL allocates for itself */
    pump();
    fault_reset();
    net_steps(1);
    assert_int_equal(seen.releases, 1);
    assert_int_equal(metrics->closes[CLOSE_NO_MEMORY], 1);
    end(NULL);
}

/* Frames of one turn go in one record; what comes first behind a silence in small ones. */
static void records(void **state UNUSED)
{
    static char text[30000];
    unsigned char wire[40000];
    size_t n, sizes[10] = {0}, count = 0;
    struct conn *c;

    config.tls_records = TLS_RECORDS_OPENSSL;
    serve_plainly();
    c = accept_pair(65536);
    far_starts(NULL, NULL);
    pump_until_secured();
    pump_tickets();
    for (int i = 0; i < 5; i++)
        assert_int_equal(conn_send(c, STR_LIT("a short frame")), 0);
    net_steps(1);
    n = net_read(far.fd, (char *)wire, sizeof(wire), NULL);
    /* One at once, the others at the turn's end: two records, each 22 bytes longer. */
    assert_int_equal(n, 2 * 22 + 5 * 13);
    assert_int_equal(conn_send(c, (struct str){text, sizeof(text)}), 0);
    net_steps(1);
    n = net_read(far.fd, (char *)wire, sizeof(wire), NULL);
    for (size_t at = 0; at < n; count++) {
        assert_true(count < ARRAY_LEN(sizes));
        sizes[count] = (size_t)wire[at + 3] << 8 | wire[at + 4];
        at += 5 + sizes[count];
    }
    assert_int_equal(sizes[0], 1370 + 17);
    assert_int_equal(sizes[2], 1370 + 17);
    assert_int_equal(sizes[3], 16384 + 17);
    end(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(messages_both_ways),
        NET_TEST(old_and_new),
        NET_TEST(who_says_nothing),
        NET_TEST(who_stops_in_the_middle),
        NET_TEST(plain_http_is_answered_plainly),
        NET_TEST(other_bytes),
        NET_TEST(failures_are_counted_by_reason),
        NET_TEST(alpn),
        NET_TEST(a_storm_takes_turns),
        NET_TEST(who_is_gone_has_no_turn),
        NET_TEST(clients_show_certificates),
        NET_TEST(what_tls_looks_like),
        NET_TEST(without_memory),
        NET_TEST(records),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("net/tls_accept", tests, make_pki, drop_pki);
}
