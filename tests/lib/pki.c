/* tests/lib/pki.c - see pki.h. */
#include "pki.h"

#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/common.h"

static void must(bool ok)
{
    if (!ok) {
        fprintf(stderr, "pki: OpenSSL failed\n");
        abort();
    }
}

static EVP_PKEY *make_key(const char *kind)
{
    if (kind == NULL)
        kind = "P-256";
    if (strcmp(kind, "RSA") == 0)
        return EVP_RSA_gen(2048);
    if (strcmp(kind, "ED25519") == 0)
        return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    return EVP_EC_gen(kind);
}

static void extend(X509 *x, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    must(e != NULL && X509_add_ext(x, e, -1) == 1);
    X509_EXTENSION_free(e);
}

struct pki pki_make(const struct pki_want *want)
{
    static long serial = 1;
    struct pki p = {X509_new(), make_key(want->kind)};
    const struct pki *issuer = want->issuer != NULL ? want->issuer : &p;
    X509 *x = p.certificate;
    bool edwards;

    must(x != NULL && p.key != NULL && X509_set_version(x, 2) == 1 &&
         ASN1_INTEGER_set(X509_get_serialNumber(x), serial++) == 1);
    X509_gmtime_adj(X509_getm_notBefore(x), want->from != 0 ? want->from : -60);
    X509_gmtime_adj(X509_getm_notAfter(x), want->until != 0 ? want->until : 3600);
    must(X509_set_pubkey(x, p.key) == 1 &&
         X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
                                    (const unsigned char *)want->name, -1, -1, 0) == 1 &&
         X509_set_issuer_name(x, X509_get_subject_name(issuer->certificate)) == 1);
    extend(x, NID_basic_constraints, want->authority ? "critical,CA:TRUE" : "CA:FALSE");
    if (want->names != NULL)
        extend(x, NID_subject_alt_name, want->names);
    edwards = EVP_PKEY_get_base_id(issuer->key) == EVP_PKEY_ED25519;
    must(X509_sign(x, issuer->key, edwards ? NULL : EVP_sha256()) != 0);
    return p;
}

void pki_free(struct pki *p)
{
    X509_free(p->certificate);
    EVP_PKEY_free(p->key);
    *p = (struct pki){0};
}

static char *text_of(BIO *b)
{
    char *p, *text;
    long n = BIO_get_mem_data(b, &p);

    must(n > 0);
    text = strndup(p, (size_t)n);
    BIO_free(b);
    must(text != NULL);
    return text;
}

char *pki_certificate_pem(const struct pki *p, const struct pki *issuer)
{
    BIO *b = BIO_new(BIO_s_mem());

    must(PEM_write_bio_X509(b, p->certificate) == 1 &&
         (issuer == NULL || PEM_write_bio_X509(b, issuer->certificate) == 1));
    return text_of(b);
}

char *pki_key_pem(const struct pki *p, const char *passphrase)
{
    BIO *b = BIO_new(BIO_s_mem());

    must(PEM_write_bio_PrivateKey(b, p->key, passphrase != NULL ? EVP_aes_256_cbc() : NULL,
                                  (const unsigned char *)passphrase,
                                  passphrase != NULL ? (int)strlen(passphrase) : 0, NULL,
                                  NULL) == 1);
    return text_of(b);
}

struct str pki_ocsp(const struct pki *p, const struct pki *issuer, int status, long until)
{
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    OCSP_CERTID *id = OCSP_cert_to_id(NULL, p->certificate, issuer->certificate);
    ASN1_TIME *now = X509_gmtime_adj(NULL, -7200), *then = X509_gmtime_adj(NULL, until);
    ASN1_TIME *revoked = status == V_OCSP_CERTSTATUS_REVOKED ? now : NULL;
    OCSP_RESPONSE *r;
    unsigned char *der = NULL;
    int n;

    must(OCSP_basic_add1_status(basic, id, status, 0, revoked, now, then) != NULL &&
         OCSP_basic_sign(basic, issuer->certificate, issuer->key, EVP_sha256(), NULL, 0) == 1);
    r = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    n = i2d_OCSP_RESPONSE(r, &der);
    must(n > 0);
    OCSP_RESPONSE_free(r);
    OCSP_BASICRESP_free(basic);
    OCSP_CERTID_free(id);
    ASN1_TIME_free(now);
    ASN1_TIME_free(then);
    return (struct str){(char *)der, (size_t)n};
}
