/* tests/unit/net/test_tls_client.c - contexts from texts, and TLS that begins behind plain words. */
#include "net/tls_client.c"

#include <signal.h>

#include "net_harness.h"
#include "pki.h"
#include "tls_client_harness.h"

/* Both speak plainly first, as servers do that announce themselves. */
static void keys_are_agreed_on_later(void **state UNUSED)
{
    struct tls_context *t = trusting();
    struct conn *c;
    char text[16];

    later = true;
    c = open_pair(t, "localhost", 65536);
    later = false;
    seen.len = 0;
    assert_int_equal(conn_send(c, STR_LIT("to you")), 0);
    assert_int_equal(send(far.fd, "to me", 5, 0), 5);
    net_steps(2);
    assert_int_equal(recv(far.fd, text, sizeof(text), MSG_DONTWAIT), 6);
    assert_memory_equal(text, "to you", 6);
    assert_memory_equal(seen.input, "to me", 5);
    assert_int_equal(c->state, CONN_HTTP);
    assert_int_equal(secured, 0);
    assert_int_equal(conn_secure(c), 0);
    assert_int_equal(c->state, CONN_SECURING);
    assert_int_equal(conn_secure(c), -1);
    assert_int_equal(conn_send(c, STR_LIT("in secret")), 0);
    for (int k = 0; k < 1000 && far.len < 9; k++)
        pump();
    assert_int_equal(secured, 1);
    assert_memory_equal(far.got, "in secret", 9);
    conn_kill(c, CLOSE_NORMAL);
    net_steps(1);
    far_fini();
    /* One that was not to be: by TLS from its first byte on. */
    c = open_pair(t, "localhost", 65536);
    assert_int_equal(conn_secure(c), -1);
    conn_kill(c, CLOSE_NORMAL);
    net_steps(1);
    far_fini();
    tls_context_free(t);
}

static struct str ca_text(void)
{
    static char text[8192];
    FILE *f = fopen(ca_path, "r");
    size_t n = fread(text, 1, sizeof(text), f);

    fclose(f);
    return (struct str){text, n};
}

static int trust_anybody(int ok UNUSED, X509_STORE_CTX *ctx UNUSED)
{
    return 1;
}

/* All that a process needs that may open no file. */
static void a_certificate_is_shown(void **state UNUSED)
{
    struct pki issuer = pki_make(&(struct pki_want){.name = "them", .authority = true});
    struct pki own = pki_make(&(struct pki_want){.name = "node", .issuer = &issuer});
    char *certificate = pki_certificate_pem(&own, &issuer), *key = pki_key_pem(&own, NULL);
    struct tls_client_texts texts = {.trusted = ca_text(),
                                     .certificate = str_from(certificate),
                                     .key = str_from(key),
                                     .verify = true};
    char err[256] = "", name[64] = "";
    struct tls_context *t = tls_client_context_from(&texts, err, sizeof(err));
    const unsigned char *protocol;
    unsigned protocol_len;
    struct conn *c;
    X509 *shown;

    assert_string_equal(err, "");
    c = open_pair(t, "localhost", 65536);
    SSL_set_verify(far.ssl, SSL_VERIFY_PEER, trust_anybody);
    for (int k = 0; k < 1000 && secured == 0; k++)
        pump();
    pump();
    shown = SSL_get1_peer_certificate(far.ssl);
    assert_non_null(shown);
    X509_NAME_get_text_by_NID(X509_get_subject_name(shown), NID_commonName, name, sizeof(name));
    assert_string_equal(name, "node");
    assert_int_equal(sk_X509_num(SSL_get_peer_cert_chain(far.ssl)),
                     1); /* of a client: behind its own */
    SSL_get0_alpn_selected(far.ssl, &protocol, &protocol_len);
    assert_int_equal(protocol_len, 0);
    X509_free(shown);
    conn_kill(c, CLOSE_NORMAL);
    net_steps(1);
    far_fini();
    tls_context_free(t);
    free(certificate);
    free(key);
    pki_free(&own);
    pki_free(&issuer);
}

static void expect_no_context(const struct tls_client_texts *texts, const char *why)
{
    char err[256] = "";

    assert_null(tls_client_context_from(texts, err, sizeof(err)));
    if (strstr(err, why) == NULL)
        fail_msg("%s", err);
}

static void texts_that_are_none(void **state UNUSED)
{
    struct pki one = pki_make(&(struct pki_want){.name = "one"}),
               two = pki_make(&(struct pki_want){.name = "two"});
    char *certificate = pki_certificate_pem(&one, NULL), *key = pki_key_pem(&two, NULL),
         *locked = pki_key_pem(&one, "secret");
    struct tls_client_texts texts = {.verify = true};

    expect_no_context(&texts, "whom to trust");
    texts.trusted = STR_LIT("nobody");
    expect_no_context(&texts, "whom to trust");
    texts.trusted = ca_text();
    texts.certificate = STR_LIT("none");
    expect_no_context(&texts, "no certificate");
    texts.certificate = str_from(certificate);
    expect_no_context(&texts, "no private key");
    texts.key = str_from(key);
    expect_no_context(&texts, "not the certificate's");
    texts.key = str_from(locked);
    expect_no_context(&texts, "passphrase");
    free(certificate);
    free(key);
    free(locked);
    pki_free(&one);
    pki_free(&two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NET_TEST(keys_are_agreed_on_later),
        NET_TEST(a_certificate_is_shown),
        NET_TEST(texts_that_are_none),
    };

    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("net/tls_client", tests, make_server, drop_server);
}
