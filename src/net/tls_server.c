/* net/tls_server.c - what accepted connections speak TLS with: certificates, and which of them.
 *
 * A listener has one SSL_CTX, which holds the pairs of its first name. Where there are others, the
 * client's SNI decides before OpenSSL chooses among kinds of keys (choose_pairs()). */
#include "net/tls_server.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/clock.h"
#include "tls_internal.h"
#include "tls_records.h"

/* Mozilla's intermediate configuration, without DHE, which nobody needs who has ECDHE. */
#define SUITES_12                                                                                  \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"                                   \
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"                                   \
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define SUITES_13 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS    "X25519:P-256:P-384"

#define OCSP_SLACK_S 300 /* by which clocks may differ */

struct pair {
    X509 *certificate; /* owned, as all of these */
    STACK_OF(X509) * chain;
    EVP_PKEY *key;
    unsigned char *ocsp; /* NULL: none */
    size_t ocsp_len;
    int64_t expires, ocsp_until; /* 0: it does not say */
};

struct tls_server { /* lives as long as its context */
    SSL_CTX *ctx;
    struct pair pairs[TLS_PAIRS_MAX];
    size_t npairs;
    uint32_t first; /* bits of the pairs that ctx has */
    unsigned char session[32];
};

static int say(char *err, size_t errcap, const char *what)
{
    char why[160];

    tls_take_error(why, sizeof(why));
    snprintf(err, errcap, "%s: %s", what, why);
    return -1;
}

/* ---- texts ---- */

/* Seconds since 1970. */
static int64_t seconds_of(const ASN1_TIME *t)
{
    static const char epoch[] = "19700101000000Z";
    ASN1_TIME *zero = ASN1_TIME_new();
    int days = 0, seconds = 0;

    if (zero != NULL && ASN1_TIME_set_string(zero, epoch) == 1 &&
        ASN1_TIME_diff(&days, &seconds, zero, t) != 1)
        days = seconds = 0;
    ASN1_TIME_free(zero);
    return (int64_t)days * 86400 + seconds;
}

/* Is it about this certificate, by its issuer, and good? */
static int check_ocsp(struct pair *p, OCSP_BASICRESP *basic, char *err, size_t errcap)
{
    X509 *issuer = sk_X509_num(p->chain) > 0 ? sk_X509_value(p->chain, 0) : p->certificate;
    ASN1_GENERALIZEDTIME *from, *until = NULL;
    int status = V_OCSP_CERTSTATUS_UNKNOWN, reason;
    OCSP_CERTID *id = NULL;
    const EVP_MD *md[] = {EVP_sha1(), EVP_sha256()};
    bool found = false;

    for (size_t i = 0; i < ARRAY_LEN(md) && !found; i++) {
        id = OCSP_cert_to_id(md[i], p->certificate, issuer);
        found = id != NULL &&
                OCSP_resp_find_status(basic, id, &status, &reason, NULL, &from, &until) == 1;
        OCSP_CERTID_free(id);
    }
    if (!found)
        snprintf(err, errcap, "the OCSP response is not about this certificate%s",
                 sk_X509_num(p->chain) == 0 ? " (its issuer is not in tls_certificate)" : "");
    else if (status != V_OCSP_CERTSTATUS_GOOD)
        snprintf(err, errcap, "the OCSP response says: %s", OCSP_cert_status_str(status));
    if (!found || status != V_OCSP_CERTSTATUS_GOOD)
        return -1;
    p->ocsp_until = until != NULL ? seconds_of(until) : 0;
    return 0;
}

static int read_ocsp(struct pair *p, struct str der, char *err, size_t errcap)
{
    const unsigned char *at = (const unsigned char *)der.p;
    OCSP_RESPONSE *r = d2i_OCSP_RESPONSE(NULL, &at, (long)der.n);
    OCSP_BASICRESP *basic = NULL;
    int rc = -1;

    if (r == NULL || at != (const unsigned char *)der.p + der.n)
        snprintf(err, errcap, "no OCSP response in DER");
    else if (OCSP_response_status(r) != OCSP_RESPONSE_STATUS_SUCCESSFUL)
        snprintf(err, errcap, "the OCSP response says: %s",
                 OCSP_response_status_str(OCSP_response_status(r)));
    else if ((basic = OCSP_response_get1_basic(r)) == NULL)
        say(err, errcap, "the OCSP response");
    else
        rc = check_ocsp(p, basic, err, errcap);
    if (rc == 0 && (p->ocsp = OPENSSL_memdup(der.p, der.n)) == NULL)
        rc = say(err, errcap, "the OCSP response");
    p->ocsp_len = der.n;
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(r);
    ERR_clear_error();
    return rc;
}

static int read_pair(struct pair *p, const struct tls_pair *text, char *err, size_t errcap)
{
    p->chain = tls_read_certificates(text->certificate);
    if (p->chain == NULL)
        return say(err, errcap, "no certificate in PEM");
    p->certificate = sk_X509_shift(p->chain);
    p->key = tls_read_key(text->key, err, errcap);
    if (p->key == NULL)
        return -1;
    if (X509_check_private_key(p->certificate, p->key) != 1) {
        ERR_clear_error();
        snprintf(err, errcap, "the key is not the certificate's");
        return -1;
    }
    p->expires = seconds_of(X509_get0_notAfter(p->certificate));
    return text->ocsp.n == 0 ? 0 : read_ocsp(p, text->ocsp, err, errcap);
}

static void pair_fini(struct pair *p)
{
    X509_free(p->certificate);
    sk_X509_pop_free(p->chain, X509_free);
    EVP_PKEY_free(p->key);
    OPENSSL_free(p->ocsp);
}

/* ---- the choice ---- */

/* The first certificate of each kind of key that is for the name. */
static uint32_t pairs_for(const struct tls_server *s, const char *name)
{
    uint32_t found = 0;

    for (size_t i = 0; i < s->npairs; i++) {
        bool have = false;

        if (X509_check_host(s->pairs[i].certificate, name, 0, 0, NULL) != 1)
            continue;
        for (size_t k = 0; k < i; k++)
            have |= (found >> k & 1) &&
                    EVP_PKEY_get_base_id(s->pairs[k].key) == EVP_PKEY_get_base_id(s->pairs[i].key);
        found |= have ? 0 : UINT32_C(1) << i;
    }
    return found;
}

/* A name of the first certificate, for which the others of its kind are found. */
static uint32_t pairs_of_first(const struct tls_server *s)
{
    GENERAL_NAMES *names =
        X509_get_ext_d2i(s->pairs[0].certificate, NID_subject_alt_name, NULL, NULL);
    uint32_t found = 0;

    for (int i = 0; i < sk_GENERAL_NAME_num(names) && found == 0; i++) {
        int type;
        const ASN1_STRING *name = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
        char text[256];
        struct str dns;

        if (type != GEN_DNS)
            continue;
        dns = (struct str){(const char *)ASN1_STRING_get0_data(name),
                           (size_t)ASN1_STRING_length(name)};
        if (dns.n > 1 && dns.p[0] == '*')
            snprintf(text, sizeof(text), "any%.*s", STR_ARG(str_skip(dns, 1)));
        else
            snprintf(text, sizeof(text), "%.*s", STR_ARG(dns));
        found = pairs_for(s, text);
    }
    GENERAL_NAMES_free(names);
    return (found & 1) ? found : 1;
}

static int use_pairs(SSL *ssl, SSL_CTX *ctx, const struct tls_server *s, uint32_t which)
{
    for (size_t i = 0; i < s->npairs; i++) {
        const struct pair *p = &s->pairs[i];

        if (!(which >> i & 1))
            continue;
        if ((ssl != NULL ? SSL_use_cert_and_key(ssl, p->certificate, p->key, p->chain, 1)
                         : SSL_CTX_use_cert_and_key(ctx, p->certificate, p->key, p->chain, 1)) != 1)
            return -1;
    }
    return 0;
}

/* OpenSSL's certificate callback. 0: an alert. */
static int choose_pairs(SSL *ssl, void *arg)
{
    const struct tls_server *s = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    uint32_t which = name != NULL ? pairs_for(s, name) : 0;

    if (which == 0 || which == s->first)
        return 1;
    SSL_certs_clear(ssl);
    return use_pairs(ssl, NULL, s, which) == 0;
}

static int on_name(SSL *ssl UNUSED, int *alert UNUSED, void *arg UNUSED)
{
    return SSL_TLSEXT_ERR_OK;
}

/* RFC 7301 §3.2: protocols, and none of them ours, is an alert. */
static int choose_protocol(SSL *ssl UNUSED, const unsigned char **out, unsigned char *outlen,
                           const unsigned char *in, unsigned inlen, void *arg UNUSED)
{
    static const unsigned char ours[] = "\x08http/1.1";

    return SSL_select_next_proto((unsigned char **)(uintptr_t)out, outlen, ours, sizeof(ours) - 1,
                                 in, inlen) == OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static bool ocsp_stale(const struct pair *p, int64_t now)
{
    return p->ocsp_until != 0 && p->ocsp_until < now - OCSP_SLACK_S;
}

static int staple(SSL *ssl, void *arg)
{
    const struct tls_server *s = arg;
    const X509 *chosen = SSL_get_certificate(ssl);
    int64_t now = (int64_t)(clock_wall_ns() / NS_PER_SEC);

    for (size_t i = 0; i < s->npairs; i++) {
        const struct pair *p = &s->pairs[i];
        unsigned char *copy;

        if (p->ocsp == NULL || ocsp_stale(p, now) || X509_cmp(p->certificate, chosen) != 0)
            continue;
        copy = OPENSSL_memdup(p->ocsp, p->ocsp_len); /* OpenSSL's from now on */
        if (copy == NULL)
            return SSL_TLSEXT_ERR_NOACK;
        SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)p->ocsp_len);
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

/* ---- the context ---- */

/* With the context, which handshakes may hold longer than whoever made it. */
static void on_context_freed(void *parent UNUSED, void *p, CRYPTO_EX_DATA *ad UNUSED,
                             int idx UNUSED, long argl UNUSED, void *argp UNUSED)
{
    struct tls_server *s = p;

    if (s == NULL)
        return;
    for (size_t i = 0; i < s->npairs; i++)
        pair_fini(&s->pairs[i]);
    free(s);
}

static int server_slot(void)
{
    static int slot = -1;

    if (slot == -1)
        slot = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, on_context_freed);
    return slot;
}

/* Tickets of another listener, or of one that trusted other authorities, are not taken. */
static int set_session_name(struct tls_server *s, const struct tls_texts *t)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    const uint32_t said[] = {t->listener, (uint32_t)t->clients};
    int ok = md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 &&
             EVP_DigestUpdate(md, said, sizeof(said)) == 1 &&
             EVP_DigestUpdate(md, t->client_ca.p, t->client_ca.n) == 1 &&
             EVP_DigestFinal_ex(md, s->session, NULL) == 1 &&
             SSL_CTX_set_session_id_context(s->ctx, s->session, sizeof(s->session)) == 1;

    EVP_MD_CTX_free(md);
    return ok ? 0 : -1;
}

static int trust_clients(SSL_CTX *ctx, const struct tls_texts *t, char *err, size_t errcap)
{
    STACK_OF(X509) * ca;
    int ok = 1;

    if (t->clients == TLS_CLIENTS_OFF)
        return 0;
    ca = tls_read_certificates(t->client_ca);
    if (ca == NULL)
        return say(err, errcap, "tls_client_ca: no certificate in PEM");
    for (int i = 0; ok == 1 && i < sk_X509_num(ca); i++)
        ok = X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), sk_X509_value(ca, i)) == 1 &&
             SSL_CTX_add_client_CA(ctx, sk_X509_value(ca, i)) == 1;
    sk_X509_pop_free(ca, X509_free);
    if (ok != 1)
        return say(err, errcap, "tls_client_ca");
    SSL_CTX_set_verify(
        ctx,
        SSL_VERIFY_PEER |
            (t->clients == TLS_CLIENTS_REQUIRED ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
        NULL);
    return 0;
}

static int set_up(struct tls_server *s)
{
    tls_context_set_up(s->ctx);
    /* Our order, but for clients without AES in hardware, who put ChaCha first. */
    SSL_CTX_set_options(s->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                    SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    if (SSL_CTX_set_cipher_list(s->ctx, SUITES_12) != 1 ||
        SSL_CTX_set_ciphersuites(s->ctx, SUITES_13) != 1 ||
        SSL_CTX_set1_groups_list(s->ctx, GROUPS) != 1 || tls_tickets_set_up(s->ctx) == -1 ||
        tls_records_watch(s->ctx) == -1)
        return -1;
    SSL_CTX_set_tlsext_servername_callback(s->ctx, on_name);
    SSL_CTX_set_alpn_select_cb(s->ctx, choose_protocol, NULL);
    SSL_CTX_set_tlsext_status_cb(s->ctx, staple);
    SSL_CTX_set_tlsext_status_arg(s->ctx, s);
    s->first = pairs_of_first(s);
    if (s->npairs > 1)
        SSL_CTX_set_cert_cb(s->ctx, choose_pairs, s);
    return use_pairs(NULL, s->ctx, s, s->first);
}

struct tls_server *tls_server_new(const struct tls_texts *t, size_t *pair, char *err, size_t errcap)
{
    struct tls_server *s = calloc(1, sizeof(*s));
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    *pair = t->npairs;
    if (s == NULL || ctx == NULL || SSL_CTX_set_ex_data(ctx, server_slot(), s) != 1) {
        snprintf(err, errcap, "no memory for TLS");
        SSL_CTX_free(ctx);
        free(s);
        return NULL;
    }
    s->ctx = ctx;
    for (; s->npairs < t->npairs; s->npairs++)
        if (read_pair(&s->pairs[s->npairs], &t->pairs[s->npairs], err, errcap) == -1) {
            *pair = s->npairs++; /* what it has is freed with the others */
            SSL_CTX_free(ctx);
            return NULL;
        }
    if (set_up(s) == -1 || set_session_name(s, t) == -1) {
        say(err, errcap, "OpenSSL does not take these settings");
        SSL_CTX_free(ctx);
        return NULL;
    }
    if (trust_clients(ctx, t, err, errcap) == 0)
        return s;
    SSL_CTX_free(ctx);
    return NULL;
}

void tls_server_free(struct tls_server *s)
{
    if (s != NULL)
        SSL_CTX_free(s->ctx);
}

SSL_CTX *tls_server_context(const struct tls_server *s)
{
    return s->ctx;
}

int64_t tls_server_expires(const struct tls_server *s, size_t pair)
{
    return s->pairs[pair].expires;
}

int64_t tls_server_ocsp_until(const struct tls_server *s, size_t pair)
{
    return s->pairs[pair].ocsp_until;
}
