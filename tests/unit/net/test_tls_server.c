/* tests/unit/net/test_tls_server.c - contexts from texts: which certificate, what is refused,
 * staples, sessions. */
#include "net/tls_server.c"

#include <signal.h>

#include "tls_accept_harness.h"

static void end(struct conn *c)
{
    conn_kill(c, CLOSE_NORMAL);
    net_steps(1);
    far_fini();
}

/* The certificate that a client gets who asks for the name and takes these kinds of signatures. */
static void expect_certificate(const char *name, const char *signatures, int version,
                               const struct pki *want)
{
    struct conn *c = accept_pair(65536);

    far_starts(NULL, name);
    SSL_set_min_proto_version(far.ssl, version);
    SSL_set_max_proto_version(far.ssl, version);
    if (signatures != NULL)
        assert_int_equal(SSL_set1_sigalgs_list(far.ssl, signatures), 1);
    pump_until_secured();
    if (X509_cmp(SSL_get0_peer_certificate(far.ssl), want->certificate) != 0)
        fail_msg("%s: another certificate than that of its name", name != NULL ? name : "nobody");
    end(c);
}

static void names_and_kinds(void **state UNUSED)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct pki a = pki_make(&(struct pki_want){
        .name = "a", .names = "DNS:a.test,DNS:www.a.test", .issuer = &authority});
    struct pki a_rsa = pki_make(&(struct pki_want){
        .name = "a", .names = "DNS:a.test", .kind = "RSA", .issuer = &authority});
    struct pki b =
        pki_make(&(struct pki_want){.name = "b", .names = "DNS:*.b.test", .issuer = &authority});
    struct pki b_rsa = pki_make(&(struct pki_want){
        .name = "b", .names = "DNS:x.b.test", .kind = "RSA", .issuer = &authority});
    struct pki c = pki_make(&(struct pki_want){
        .name = "c.test", .kind = "ED25519", .issuer = &authority}); /* a CN alone */
    struct pki late =
        pki_make(&(struct pki_want){.name = "b", .names = "DNS:y.b.test", .issuer = &authority});
    const struct pki *all[] = {&a, &a_rsa, &b, &b_rsa, &c, &late};

    serve(all, ARRAY_LEN(all), TLS_CLIENTS_OFF);
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        int v = versions[i];

        expect_certificate(NULL, NULL, v, &a);
        expect_certificate(NULL, "RSA-PSS+SHA256", v, &a_rsa); /* the other one of the same name */
        expect_certificate("a.test", NULL, v, &a);
        expect_certificate("A.TEST", "RSA-PSS+SHA256", v, &a_rsa);
        expect_certificate("www.a.test", NULL, v, &a);
        expect_certificate("elsewhere.test", NULL, v, &a);
        expect_certificate("x.b.test", NULL, v, &b);
        expect_certificate("x.b.test", "RSA-PSS+SHA256", v, &b_rsa);
        expect_certificate("z.b.test", NULL, v, &b);
        expect_certificate("y.b.test", NULL, v, &b); /* the first of a kind */
        expect_certificate("c.test", NULL, v, &c);
    }
    tls_server_use(0, NULL);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        pki_free((struct pki *)(uintptr_t)all[i]);
}

/* Handshakes that have begun go on with what they began with; later ones get the new one. */
static void another_certificate_comes(void **state UNUSED)
{
    struct pki next = pki_make(
        &(struct pki_want){.name = "next", .names = "DNS:localhost", .issuer = &authority});
    const struct pki *one = &next;
    struct conn *c;

    serve_plainly();
    c = accept_pair(65536);
    far_starts(NULL, "localhost");
    pump();
    serve(&one, 1, TLS_CLIENTS_OFF);
    pump_until_secured();
    assert_int_equal(X509_cmp(SSL_get0_peer_certificate(far.ssl), plain_pair.certificate), 0);
    assert_int_equal(conn_send(c, STR_LIT("still here")), 0);
    pump_tickets();
    assert_int_equal(far.len, 10);
    end(c);
    expect_certificate("localhost", NULL, TLS1_3_VERSION, &next);
    tls_server_use(0, NULL);
    pki_free(&next);
}

/* ---- what is refused ---- */

static void expect_refused(const struct tls_texts *t, size_t which, const char *why)
{
    char err[256] = "";
    size_t pair;

    assert_null(tls_server_new(t, &pair, err, sizeof(err)));
    assert_int_equal(pair, which);
    if (strstr(err, why) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", why, err);
    assert_int_equal(ERR_peek_error(), 0);
}

static void bad_texts(void **state UNUSED)
{
    struct pki other = pki_make(&(struct pki_want){.name = "other", .issuer = &authority});
    char *certificate = pki_certificate_pem(&plain_pair, &authority);
    char *key = pki_key_pem(&plain_pair, NULL), *locked = pki_key_pem(&plain_pair, "secret");
    char *another = pki_key_pem(&other, NULL);
    const struct tls_pair good = {.certificate = str_from(certificate), .key = str_from(key)};
    struct tls_texts t = {.pairs = {good, good}, .npairs = 2};
    struct str cut = str_from(certificate);

    t.pairs[1].key = str_from(another);
    expect_refused(&t, 1, "the key is not the certificate's");
    t.pairs[1].key = str_from(locked);
    expect_refused(&t, 1, "encrypted");
    t.pairs[1].key = str_from(certificate);
    expect_refused(&t, 1, "no private key");
    t.pairs[1].key = STR_LIT("");
    expect_refused(&t, 1, "no private key");
    t.pairs[1] = good;
    t.pairs[0].certificate = str_from(key);
    expect_refused(&t, 0, "no certificate");
    cut.n -= 100;
    t.pairs[0].certificate = cut;
    expect_refused(&t, 0, "no certificate");
    t.pairs[0] = good;
    t.pairs[0].ocsp = STR_LIT("rubbish");
    expect_refused(&t, 0, "no OCSP response");
    t.pairs[0] = good;
    t.clients = TLS_CLIENTS_REQUIRED;
    t.client_ca = STR_LIT("rubbish");
    expect_refused(&t, 2, "tls_client_ca");
    free(certificate);
    free(key);
    free(locked);
    free(another);
    pki_free(&other);
}

/* ---- staples ---- */

static void serve_with(struct str ocsp, const char *refused)
{
    char *certificate = pki_certificate_pem(&plain_pair, &authority);
    char *key = pki_key_pem(&plain_pair, NULL), err[256] = "";
    struct tls_texts t = {.pairs = {{str_from(certificate), str_from(key), ocsp}}, .npairs = 1};
    struct tls_server *s;
    size_t pair;

    s = tls_server_new(&t, &pair, err, sizeof(err));
    if ((s == NULL) != (refused != NULL) || (s == NULL && strstr(err, refused) == NULL))
        fail_msg("%s", err);
    if (s != NULL)
        tls_server_use(0, s);
    free(certificate);
    free(key);
}

static long stapled(int version, const unsigned char **der)
{
    struct conn *c = accept_pair(65536);
    long n;

    far_starts(NULL, "localhost");
    SSL_set_max_proto_version(far.ssl, version);
    SSL_set_tlsext_status_type(far.ssl, TLSEXT_STATUSTYPE_ocsp);
    pump_until_secured();
    n = SSL_get_tlsext_status_ocsp_resp(far.ssl, der);
    conn_kill(c, CLOSE_NORMAL);
    return n;
}

static void staples(void **state UNUSED)
{
    struct pki other = pki_make(&(struct pki_want){.name = "other", .issuer = &authority});
    struct str good = pki_ocsp(&plain_pair, &authority, V_OCSP_CERTSTATUS_GOOD, 3600);
    struct str old = pki_ocsp(&plain_pair, &authority, V_OCSP_CERTSTATUS_GOOD,
                              100 - (long)time(NULL)); /* before the tests' clock */
    struct str revoked = pki_ocsp(&plain_pair, &authority, V_OCSP_CERTSTATUS_REVOKED, 3600);
    struct str others = pki_ocsp(&other, &authority, V_OCSP_CERTSTATUS_GOOD, 3600);
    const unsigned char *der;

    serve_with(revoked, "revoked");
    serve_with(others, "not about this certificate");
    serve_with(good, NULL);
    for (int v = TLS1_2_VERSION; v <= TLS1_3_VERSION; v++) {
        assert_int_equal(stapled(v, &der), good.n);
        assert_memory_equal(der, good.p, good.n);
        far_fini();
        net_steps(1);
    }
    serve_with(old, NULL);
    assert_int_equal(stapled(TLS1_3_VERSION, &der), -1);
    far_fini();
    net_steps(1);
    tls_server_use(0, NULL);
    OPENSSL_free((char *)(uintptr_t)good.p);
    OPENSSL_free((char *)(uintptr_t)old.p);
    OPENSSL_free((char *)(uintptr_t)revoked.p);
    OPENSSL_free((char *)(uintptr_t)others.p);
    pki_free(&other);
}

static void when_it_ends(void **state UNUSED)
{
    struct pki p = pki_make(&(struct pki_want){.name = "p", .issuer = &authority, .until = 86400});
    const struct pki *one = &p;
    char err[256];
    struct tls_server *s = server_of(&one, 1, TLS_CLIENTS_OFF, err, sizeof(err));
    int64_t left = tls_server_expires(s, 0) - (int64_t)time(NULL);

    assert_true(left > 86400 - 60 && left <= 86400);
    assert_int_equal(tls_server_ocsp_until(s, 0), 0);
    tls_server_free(s);
    tls_server_free(NULL);
    pki_free(&p);
}

/* ---- sessions ---- */

static SSL_SESSION *kept;

static int keep_session(SSL *ssl UNUSED, SSL_SESSION *session)
{
    SSL_SESSION_free(kept);
    kept = session;
    return 1;
}

/* A handshake with the session kept; another may be kept by it. */
static bool resumes(int version)
{
    SSL_SESSION *session = kept;
    struct conn *c = accept_pair(65536);
    bool reused;

    kept = NULL;
    SSL_CTX_set_max_proto_version(client_ctx, version);
    far_starts(session, "localhost");
    SSL_CTX_set_max_proto_version(client_ctx, 0);
    pump_until_secured();
    assert_int_equal(conn_send(c, STR_LIT("hello")), 0);
    for (int k = 0; k < 100 && far.len < 5; k++)
        pump();
    reused = SSL_session_reused(far.ssl);
    SSL_set_shutdown(far.ssl, SSL_SENT_SHUTDOWN); /* else OpenSSL gives the session up */
    if (kept == NULL) /* of TLS 1.2, whose client is told before its end */
        kept = SSL_get1_session(far.ssl);
    end(c);
    SSL_SESSION_free(session);
    return reused;
}

static void sessions_outlive_contexts_and_two_keys(void **state UNUSED)
{
    struct tls_ticket_keys keys = {0};

    SSL_CTX_set_session_cache_mode(client_ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client_ctx, keep_session);
    for (int v = TLS1_2_VERSION; v <= TLS1_3_VERSION; v++) {
        uint64_t before = metrics->tls_resumed;

        assert_int_equal(tls_tickets_rotate(&keys), 0);
        tls_tickets_use(&keys);
        serve_plainly();
        assert_false(resumes(v));
        serve_plainly(); /* as another worker has it */
        assert_true(resumes(v));
        assert_int_equal(tls_tickets_rotate(&keys), 0);
        assert_true(resumes(v)); /* and gets a ticket of the new key */
        for (int i = 0; i < TLS_TICKET_KEYS - 1; i++)
            assert_int_equal(tls_tickets_rotate(&keys), 0);
        assert_true(resumes(v));
        for (int i = 0; i < TLS_TICKET_KEYS; i++)
            assert_int_equal(tls_tickets_rotate(&keys), 0);
        assert_false(resumes(v));
        assert_int_equal(metrics->tls_resumed, before + 3);
        SSL_SESSION_free(kept);
        kept = NULL;
    }
    tls_tickets_use(NULL);
    serve_plainly();
    assert_false(resumes(TLS1_3_VERSION));
    assert_false(resumes(TLS1_3_VERSION));
    SSL_SESSION_free(kept);
    kept = NULL;
    tls_server_use(0, NULL);
}

/* What was verified against other authorities, or by another listener, is verified again. */
static void sessions_are_of_one_listener(void **state UNUSED)
{
    struct tls_ticket_keys keys = {0};
    const struct pki *one = &plain_pair;

    assert_int_equal(tls_tickets_rotate(&keys), 0);
    tls_tickets_use(&keys);
    serve(&one, 1, TLS_CLIENTS_OPTIONAL);
    assert_false(resumes(TLS1_3_VERSION));
    assert_true(resumes(TLS1_3_VERSION));
    serve(&one, 1, TLS_CLIENTS_OFF);
    assert_false(resumes(TLS1_3_VERSION));
    SSL_SESSION_free(kept);
    kept = NULL;
    tls_server_use(0, NULL);
    tls_tickets_use(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(names_and_kinds),
        NET_TEST(another_certificate_comes),
        NET_TEST(bad_texts),
        NET_TEST(staples),
        NET_TEST(when_it_ends),
        NET_TEST(sessions_outlive_contexts_and_two_keys),
        NET_TEST(sessions_are_of_one_listener),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("net/tls_server", tests, make_pki, drop_pki);
}
