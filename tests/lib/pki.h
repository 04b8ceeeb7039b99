/* tests/lib/pki.h - certificates for tests of TLS, made in memory. */
#ifndef TESTS_PKI_H
#define TESTS_PKI_H

#include <openssl/x509.h>

#include "base/str.h"

struct pki {
    X509 *certificate;
    EVP_PKEY *key;
};

struct pki_want {
    const char *name;         /* CN */
    const char *names;        /* subjectAltName: "DNS:a.test,IP:127.0.0.1"; NULL: none */
    const char *kind;         /* "P-256" (NULL), "RSA", "ED25519" */
    const struct pki *issuer; /* NULL: itself */
    bool authority;           /* may issue others */
    long from, until;         /* seconds from now; until 0: an hour */
};

/* Aborts when OpenSSL does not do it. */
struct pki pki_make(const struct pki_want *want);
void pki_free(struct pki *p);
/* PEM; owned. With the issuer's certificate behind it if that is not NULL. */
char *pki_certificate_pem(const struct pki *p, const struct pki *issuer);
char *pki_key_pem(const struct pki *p, const char *passphrase); /* NULL: not encrypted */
/* A response of the issuer's, in DER, that says so (V_OCSP_CERTSTATUS_...) until then, seconds from
 * now. Owned. */
struct str pki_ocsp(const struct pki *p, const struct pki *issuer, int status, long until);

#endif
