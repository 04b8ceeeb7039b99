/* tests/unit/net/tls_harness.h - the server's side of TLS: a context with a certificate that is
 * trusted by whoever reads ca_path. */
#ifndef TESTS_NET_TLS_HARNESS_H
#define TESTS_NET_TLS_HARNESS_H

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <unistd.h>

static SSL_CTX *server_ctx;
static char ca_path[] = "/tmp/roost-test-tls-XXXXXX";

/* A self-signed certificate for 127.0.0.1, which also is its own authority. */
static int make_server(void **state UNUSED)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    X509_EXTENSION *san =
        X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1,DNS:localhost");
    FILE *f = fdopen(mkstemp(ca_path), "w");

    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_set_version(x, 2);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_add_ext(x, san, -1);
    X509_EXTENSION_free(san);
    if (X509_sign(x, key, EVP_sha256()) == 0 || f == NULL || PEM_write_X509(f, x) != 1)
        return -1;
    fclose(f);
    server_ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(server_ctx, x);
    SSL_CTX_use_PrivateKey(server_ctx, key);
    X509_free(x);
    EVP_PKEY_free(key);
    return 0;
}

static int drop_server(void **state UNUSED)
{
    SSL_CTX_free(server_ctx);
    return unlink(ca_path);
}

#endif
