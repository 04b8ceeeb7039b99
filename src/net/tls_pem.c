/* net/tls_pem.c - certificates and keys from PEM. */
#include <openssl/err.h>
#include <openssl/pem.h>

#include "tls_internal.h"

/* A key with a passphrase is refused; nobody is asked. */
static int no_passphrase(char *out UNUSED, int cap UNUSED, int writing UNUSED, void *arg)
{
    *(bool *)arg = true;
    return -1;
}

static BIO *reader(struct str text)
{
    return BIO_new_mem_buf(text.p, (int)text.n);
}

STACK_OF(X509) * tls_read_certificates(struct str text)
{
    STACK_OF(X509) *all = sk_X509_new_null();
    BIO *in = reader(text);
    X509 *x;

    while (all != NULL && in != NULL && (x = PEM_read_bio_X509(in, NULL, NULL, NULL)) != NULL)
        if (sk_X509_push(all, x) == 0) {
            X509_free(x);
            break;
        }
    BIO_free(in);
    /* Behind the last one is "no start line". */
    if (sk_X509_num(all) > 0 && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE) {
        ERR_clear_error();
        return all;
    }
    sk_X509_pop_free(all, X509_free);
    return NULL;
}

EVP_PKEY *tls_read_key(struct str text, char *err, size_t errcap)
{
    BIO *in = reader(text);
    bool encrypted = false;
    EVP_PKEY *key = NULL;
    char why[160];

    if (in != NULL)
        key = PEM_read_bio_PrivateKey(in, NULL, no_passphrase, &encrypted);
    BIO_free(in);
    if (key == NULL && encrypted)
        snprintf(err, errcap, "the key is encrypted: a daemon has nobody to ask for a passphrase");
    if (key == NULL && !encrypted) {
        tls_take_error(why, sizeof(why));
        snprintf(err, errcap, "no private key in PEM: %s", why);
    }
    ERR_clear_error();
    return key;
}
