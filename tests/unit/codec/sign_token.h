/* sign_token.h - tokens signed by OpenSSL, and what is done with them: for test_jwt.c and
 * test_jwt_refused.c, which include cmocka before it. */
#ifndef ROOST_TESTS_SIGN_TOKEN_H
#define ROOST_TESTS_SIGN_TOKEN_H

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "codec/jwt.h"
#include "fault.h"
#include "rfc_tokens.h"

#define NOW 1300000000

static struct jwks set;
static struct buf payload, token;
static const char *why;

static int teardown(void **state UNUSED)
{
    fault_reset();
    jwks_fini(&set);
    buf_fini(&payload);
    buf_fini(&token);
    return 0;
}

static void add_document(const char *json)
{
    if (jwks_add_document(&set, str_from(json), true, &why) == -1)
        fail_msg("the key %s: %s", why, json);
}

static enum jwt_verdict verify(struct str t)
{
    payload.len = 0;
    return jwt_verify(&set, t, NOW, false, &payload, &why);
}

/* Appends base64url without padding. */
static void put_base64url(struct str in, struct buf *out)
{
    char *text = malloc(in.n / 3 * 4 + 8);

    assert_non_null(text);
    EVP_EncodeBlock((uint8_t *)text, (const uint8_t *)in.p, (int)in.n);
    for (char *c = text; *c != '\0' && *c != '='; c++)
        assert_int_equal(buf_append_char(out, *c == '+' ? '-' : *c == '/' ? '_' : *c), 0);
    free(text);
}

static void put_text(const char *text, struct buf *out)
{
    put_base64url(str_from(text), out);
}

/* DER of an ECDSA signature as the two numbers one after the other (RFC 7518 §3.4). */
static size_t plain_ecdsa(uint8_t *sig, size_t n, int bytes)
{
    const uint8_t *at = sig;
    ECDSA_SIG *es = d2i_ECDSA_SIG(NULL, &at, (long)n);

    assert_non_null(es);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(es), sig, bytes), bytes);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(es), sig + bytes, bytes), bytes);
    ECDSA_SIG_free(es);
    return (size_t)bytes * 2;
}

/* token = header.claims signed by pkey as alg says. */
static void sign(const char *header, const char *claims, const char *alg, EVP_PKEY *pkey)
{
    const EVP_MD *md = alg[0] == 'E' && alg[1] == 'd' ? NULL
                       : strstr(alg, "256")           ? EVP_sha256()
                       : strstr(alg, "384")           ? EVP_sha384()
                                                      : EVP_sha512();
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx;
    uint8_t sig[1024];
    size_t n = sizeof(sig);

    token.len = 0;
    put_text(header, &token);
    assert_int_equal(buf_append_char(&token, '.'), 0);
    put_text(claims, &token);
    assert_int_equal(EVP_DigestSignInit(ctx, &pctx, md, NULL, pkey), 1);
    if (alg[0] == 'P') {
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST), 1);
    }
    assert_int_equal(EVP_DigestSign(ctx, sig, &n, (const uint8_t *)token.p, token.len), 1);
    EVP_MD_CTX_free(ctx);
    if (alg[0] == 'E' && alg[1] == 'S')
        n = plain_ecdsa(sig, n, (EVP_PKEY_get_bits(pkey) + 7) / 8);
    assert_int_equal(buf_append_char(&token, '.'), 0);
    put_base64url((struct str){(char *)sig, n}, &token);
}

static void add_public(EVP_PKEY *pkey, enum jwk_kind kind)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *pem;
    long n;

    assert_int_equal(PEM_write_bio_PUBKEY(bio, pkey), 1);
    n = BIO_get_mem_data(bio, &pem);
    if (jwks_add_pem(&set, kind, (struct str){pem, (size_t)n}, &why) == -1)
        fail_msg("the key %s", why);
    BIO_free(bio);
}

static EVP_PKEY *new_key(const char *alg)
{
    if (alg[0] == 'R' || alg[0] == 'P')
        return EVP_RSA_gen(2048);
    if (strcmp(alg, "EdDSA") == 0)
        return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    if (strcmp(alg, "Ed448") == 0)
        return EVP_PKEY_Q_keygen(NULL, NULL, "ED448");
    return EVP_EC_gen(strstr(alg, "256") ? "P-256" : strstr(alg, "384") ? "P-384" : "P-521");
}

static void sign_secret(const char *header, const char *claims)
{
    EVP_PKEY *mac = EVP_PKEY_new_raw_private_key(EVP_PKEY_HMAC, NULL, (const uint8_t *)"secret", 6);

    sign(header, claims, "HS256", mac);
    EVP_PKEY_free(mac);
}

#endif
