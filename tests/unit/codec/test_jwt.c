/* codec/jwt: known answers, every algorithm, and what must not be verified. */
#include "codec/jwt.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

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

static void assert_bad(const char *t, const char *reason)
{
    if (verify(str_from(t)) == JWT_GOOD)
        fail_msg("verified: %s", t);
    assert_string_equal(why, reason);
    assert_int_equal(payload.len, 0);
}

/* ---- known answers ---- */

static void rfc_vectors(void **state UNUSED)
{
    static const char *const rows[][3] = {
        {A1_KEY, A1_TOKEN, JOE_TEXT},
        {A2_KEY, A2_TOKEN, JOE_TEXT},
        {A3_KEY, A3_TOKEN, JOE_TEXT},
        {A4_KEY, A4_TOKEN, "Payload"},
        {OKP_KEY, OKP_TOKEN, "Example of Ed25519 signing"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char json[1024];

        jwks_fini(&set);
        snprintf(json, sizeof(json), SET("%s"), rows[i][0]);
        add_document(json);
        if (verify(str_from(rows[i][1])) != JWT_GOOD)
            fail_msg("%s: %s", rows[i][1], why);
        assert_true(str_equal(buf_view(&payload), str_from(rows[i][2])));
    }
}

/* Each character of the signature and of what is signed counts; nothing may stand behind. */
static void any_change_is_seen(void **state UNUSED)
{
    static const char *const tokens[] = {A1_TOKEN, A2_TOKEN, A3_TOKEN, A4_TOKEN, OKP_TOKEN};
    char copy[1024];

    add_document(SET(A1_KEY "," A2_KEY "," A3_KEY "," A4_KEY "," OKP_KEY));
    for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
        size_t n = strlen(tokens[i]);

        for (size_t k = 0; k < n; k += i == 1 ? 7 : 3) {
            snprintf(copy, sizeof(copy), "%s", tokens[i]);
            copy[k] = copy[k] == 'A' ? 'B' : 'A';
            if (verify(str_from(copy)) == JWT_GOOD)
                fail_msg("verified with character %zu changed: %s", k, copy);
            if (verify((struct str){tokens[i], k}) == JWT_GOOD)
                fail_msg("verified when cut at %zu: %s", k, tokens[i]);
        }
        snprintf(copy, sizeof(copy), "%sA", tokens[i]);
        assert_int_not_equal(verify(str_from(copy)), JWT_GOOD);
        snprintf(copy, sizeof(copy), "%s=", tokens[i]);
        assert_int_not_equal(verify(str_from(copy)), JWT_GOOD);
    }
}

/* ---- every algorithm ---- */

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

static enum jwk_kind kind_of(const char *alg)
{
    return alg[0] == 'R' || alg[0] == 'P' ? JWK_RSA : alg[1] == 'S' ? JWK_EC : JWK_OKP;
}

static void every_algorithm(void **state UNUSED)
{
    static const char *const algs[] = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
                                       "ES256", "ES384", "ES512", "EdDSA", "Ed448"};
    char header[64];

    for (size_t i = 0; i < ARRAY_LEN(algs); i++) {
        EVP_PKEY *pkey = new_key(algs[i]), *other = new_key(algs[i]);

        snprintf(header, sizeof(header), "{\"alg\":\"%s\"}",
                 strcmp(algs[i], "Ed448") == 0 ? "EdDSA" : algs[i]);
        jwks_fini(&set);
        add_public(pkey, kind_of(algs[i]));
        sign(header, "{}", algs[i], pkey);
        if (verify(buf_view(&token)) != JWT_GOOD)
            fail_msg("%s: %s", algs[i], why);
        sign(header, "{}", algs[i], other);
        assert_int_equal(verify(buf_view(&token)), JWT_BAD);
        assert_string_equal(why, "its signature is wrong");
        EVP_PKEY_free(pkey);
        EVP_PKEY_free(other);
    }
}

static void secrets_of_any_length(void **state UNUSED)
{
    static const char *const headers[] = {"{\"alg\":\"HS256\"}", "{\"alg\":\"HS384\"}",
                                          "{\"alg\":\"HS512\"}"};
    char secret[300];

    memset(secret, 's', sizeof(secret));
    for (size_t n = 1; n < sizeof(secret); n += 37) {
        EVP_PKEY *mac = EVP_PKEY_new_raw_private_key(EVP_PKEY_HMAC, NULL, (uint8_t *)secret, n);

        jwks_fini(&set);
        assert_int_equal(jwks_add_secret(&set, (struct str){secret, n}, 0, &why), 0);
        for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
            sign(headers[i], "{}", headers[i] + 8, mac);
            assert_int_equal(verify(buf_view(&token)), JWT_GOOD);
        }
        EVP_PKEY_free(mac);
    }
}

static void what_is_signed_here_is_verified(void **state UNUSED)
{
    assert_int_equal(jwt_sign(&set, STR_LIT("{}"), NOW, &token), -1);
    assert_int_equal(jwks_add_secret(&set, STR_LIT("old"), NOW - 1, &why), 0);
    assert_int_equal(jwt_sign(&set, STR_LIT("{}"), NOW, &token), -1);
    assert_int_equal(jwks_add_secret(&set, STR_LIT("secret"), 0, &why), 0);
    assert_int_equal(jwt_sign(&set, STR_LIT("{\"sub\":\"42\"}"), NOW, &token), 0);
    assert_int_equal(verify(buf_view(&token)), JWT_GOOD);
    assert_true(str_equal(buf_view(&payload), STR_LIT("{\"sub\":\"42\"}")));
}

/* ---- what must not be verified ---- */

/* The public key's own text as the secret of an HS256 token. */
static void a_public_key_is_no_secret(void **state UNUSED)
{
    static const char *const headers[] = {"{\"alg\":\"HS256\"}", "{\"alg\":\"HS512\"}"};
    EVP_PKEY *pkey = new_key("RS256"), *mac;
    BIO *bio = BIO_new(BIO_s_mem());
    char *pem;
    long n;

    add_public(pkey, JWK_RSA);
    assert_int_equal(PEM_write_bio_PUBKEY(bio, pkey), 1);
    n = BIO_get_mem_data(bio, &pem);
    mac = EVP_PKEY_new_raw_private_key(EVP_PKEY_HMAC, NULL, (uint8_t *)pem, (size_t)n);
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        sign(headers[i], "{}", headers[i] + 8, mac);
        assert_int_equal(verify(buf_view(&token)), JWT_BAD);
        assert_string_equal(why, "there is no key for its alg and kid");
    }
    EVP_PKEY_free(mac);
    EVP_PKEY_free(pkey);
    BIO_free(bio);
}

static void none_is_no_algorithm(void **state UNUSED)
{
    static const char *const headers[] = {
        "{\"alg\":\"none\"}",  "{\"alg\":\"None\"}",   "{\"alg\":\"NONE\"}", "{\"alg\":\"\"}",
        "{\"alg\":\"hs256\"}", "{\"alg\":\"HS256 \"}", "{\"alg\":\"HS1\"}",
    };

    add_document(SET(A1_KEY));
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        token.len = 0;
        put_text(headers[i], &token);
        assert_int_equal(buf_append_lit(&token, "." JOE "."), 0);
        assert_int_equal(buf_append_char(&token, '\0'), 0);
        assert_bad(token.p, "its alg is none that is verified here");
    }
}

static void a_curve_belongs_to_its_algorithm(void **state UNUSED)
{
    EVP_PKEY *p256 = new_key("ES256"), *p384 = new_key("ES384");

    add_public(p256, JWK_EC);
    sign("{\"alg\":\"ES384\"}", "{}", "ES384", p256);
    assert_int_equal(verify(buf_view(&token)), JWT_BAD);
    assert_string_equal(why, "there is no key for its alg and kid");
    sign("{\"alg\":\"ES256\"}", "{}", "ES256", p384);
    assert_int_equal(verify(buf_view(&token)), JWT_BAD);
    EVP_PKEY_free(p256);
    EVP_PKEY_free(p384);
}

/* r = s = 0 once passed as a signature by every key (CVE-2022-21449). */
static void an_empty_signature_is_wrong(void **state UNUSED)
{
    uint8_t zeros[132] = {0};

    add_document(SET(A1_KEY "," A2_KEY "," A3_KEY "," A4_KEY "," OKP_KEY));
    for (int i = 0; i < 2; i++) {
        token.len = 0;
        put_text(i == 0 ? "{\"alg\":\"ES256\"}" : "{\"alg\":\"ES512\"}", &token);
        assert_int_equal(buf_append_lit(&token, ".e30."), 0);
        put_base64url((struct str){(char *)zeros, i == 0 ? 64 : 132}, &token);
        assert_int_equal(verify(buf_view(&token)), JWT_BAD);
    }
    assert_bad("eyJhbGciOiJIUzI1NiJ9.e30.", "its signature is wrong");
    assert_bad("eyJhbGciOiJSUzI1NiJ9.e30.", "its signature is wrong");
    assert_bad("eyJhbGciOiJFUzI1NiJ9.e30.", "its signature is wrong");
    assert_bad("eyJhbGciOiJFZERTQSJ9.e30.", "its signature is wrong");
}

/* A key that comes with the token proves nothing. */
static void embedded_keys_are_not_looked_at(void **state UNUSED)
{
    EVP_PKEY *mac = EVP_PKEY_new_raw_private_key(EVP_PKEY_HMAC, NULL, (const uint8_t *)"mine", 4);
    static const char *const headers[] = {
        "{\"alg\":\"HS256\",\"jwk\":{\"kty\":\"oct\",\"k\":\"bWluZQ\"}}",
        "{\"alg\":\"HS256\",\"jku\":\"http://127.0.0.1/keys\"}",
        "{\"alg\":\"HS256\",\"x5u\":\"http://127.0.0.1/keys\"}",
        "{\"alg\":\"HS256\",\"x5c\":[\"bWluZQ==\"]}",
    };

    add_document(SET(A1_KEY));
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        sign(headers[i], "{}", "HS256", mac);
        assert_int_equal(verify(buf_view(&token)), JWT_BAD);
        assert_string_equal(why, "its signature is wrong");
    }
    EVP_PKEY_free(mac);
}

static void sign_secret(const char *header, const char *claims)
{
    EVP_PKEY *mac = EVP_PKEY_new_raw_private_key(EVP_PKEY_HMAC, NULL, (const uint8_t *)"secret", 6);

    sign(header, claims, "HS256", mac);
    EVP_PKEY_free(mac);
}

static void headers_are_strict(void **state UNUSED)
{
    static const char *const rows[][2] = {
        {"{\"alg\":\"HS256\",\"crit\":[\"exp\"],\"exp\":1}",
         "crit asks for what is not understood"},
        {"{\"alg\":\"HS256\",\"crit\":[]}", "crit asks for what is not understood"},
        {"{\"alg\":\"HS256\",\"b64\":false,\"crit\":[\"b64\"]}",
         "b64 asks for what is not understood"},
        {"{\"alg\":\"HS256\",\"b64\":false}", "b64 asks for what is not understood"},
        {"{\"alg\":\"HS256\",\"b64\":\"true\"}", "b64 asks for what is not understood"},
        {"{\"alg\":\"none\",\"alg\":\"HS256\"}", "its alg is none that is verified here"},
        {"{\"alg\":\"HS256\",\"alg\":\"HS256\"}", "alg is no text, or there twice"},
        {"{\"alg\":\"HS256\",\"\\u0061lg\":\"none\"}", "alg is no text, or there twice"},
        {"{\"alg\":[\"HS256\"]}", "alg is no text, or there twice"},
        {"{\"alg\":null}", "alg is no text, or there twice"},
        {"{\"alg\":\"HS256\",\"kid\":1}", "kid is no text, or there twice"},
        {"{\"alg\":\"HS256\",\"kid\":\"a\",\"kid\":\"a\"}", "kid is no text, or there twice"},
        {"{\"ALG\":\"HS256\"}", "it has no alg"},
        {"{}", "it has no alg"},
        {"[\"HS256\"]", "its header is no base64url of a JSON object"},
        {"{\"alg\":\"HS256\"", "its header is no base64url of a JSON object"},
        {"{\"alg\":\"HS256\"}x", "its header is no base64url of a JSON object"},
    };
    static const char *const good[] = {
        "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"anything\"}",
        " { \"cty\" : 7, \"alg\" : \"HS\\u003256\", \"b64\": true } ",
    };

    assert_int_equal(jwks_add_secret(&set, STR_LIT("secret"), 0, &why), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        sign_secret(rows[i][0], "{}");
        assert_int_equal(verify(buf_view(&token)), JWT_BAD);
        assert_string_equal(why, rows[i][1]);
    }
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        sign_secret(good[i], "{}");
        if (verify(buf_view(&token)) != JWT_GOOD)
            fail_msg("%s: %s", good[i], why);
    }
}

static void other_forms_are_refused(void **state UNUSED)
{
    static const char *const tokens[] = {"",
                                         ".",
                                         "..",
                                         "...",
                                         "a",
                                         "a.b",
                                         "eyJhbGciOiJIUzI1NiJ9",
                                         "eyJhbGciOiJIUzI1NiJ9.e30",
                                         "eyJhbGciOiJIUzI1NiJ9..",
                                         ".e30.x",
                                         "a.b.c.d.e",
                                         "eyJhbGciOiJIUzI1NiJ9.e30.x.x",
                                         "Bearer eyJhbGciOiJIUzI1NiJ9.e30.x",
                                         "{\"payload\":\"e30\",\"signatures\":[]}"};
    struct buf large = {0};

    assert_int_equal(jwks_add_secret(&set, STR_LIT("secret"), 0, &why), 0);
    for (size_t i = 0; i < ARRAY_LEN(tokens); i++)
        if (verify(str_from(tokens[i])) != JWT_BAD)
            fail_msg("taken: %s", tokens[i]);
    sign_secret("{\"alg\":\"HS256\"}", "{}");
    assert_int_equal(buf_append(&large, buf_view(&token)), 0);
    while (large.len <= JWT_SIZE_MAX)
        assert_int_equal(buf_append_char(&large, 'A'), 0);
    assert_int_equal(verify(buf_view(&large)), JWT_BAD);
    assert_string_equal(why, "it is too long");
    buf_fini(&large);
}

static void payloads_are_strict_base64url(void **state UNUSED)
{
    EVP_PKEY *mac = EVP_PKEY_new_raw_private_key(EVP_PKEY_HMAC, NULL, (const uint8_t *)"secret", 6);
    static const char *const payloads[] = {"e30=", "e3 0", "e31", "e+/A", "e"};

    assert_int_equal(jwks_add_secret(&set, STR_LIT("secret"), 0, &why), 0);
    for (size_t i = 0; i < ARRAY_LEN(payloads); i++) {
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        uint8_t sig[64];
        size_t n = sizeof(sig);

        token.len = 0;
        assert_int_equal(buf_printf(&token, "eyJhbGciOiJIUzI1NiJ9.%s", payloads[i]), 0);
        assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, mac), 1);
        assert_int_equal(EVP_DigestSign(ctx, sig, &n, (const uint8_t *)token.p, token.len), 1);
        EVP_MD_CTX_free(ctx);
        assert_int_equal(buf_append_char(&token, '.'), 0);
        put_base64url((struct str){(char *)sig, n}, &token);
        if (verify(buf_view(&token)) != JWT_BAD)
            fail_msg("taken: %s", payloads[i]);
    }
    EVP_PKEY_free(mac);
}

/* ---- which key ---- */

static void a_kid_chooses(void **state UNUSED)
{
    EVP_PKEY *a = new_key("EdDSA"), *b = new_key("EdDSA");

    add_public(a, JWK_OKP);
    add_public(b, JWK_OKP);
    for (int i = 0; i < 2; i++) {
        set.keys[i].has_kid = true;
        assert_int_equal(buf_append_lit(&set.keys[i].kid, i == 0 ? "a" : "b"), 0);
    }
    sign("{\"alg\":\"EdDSA\",\"kid\":\"b\"}", "{}", "EdDSA", b);
    assert_int_equal(verify(buf_view(&token)), JWT_GOOD);
    sign("{\"alg\":\"EdDSA\",\"kid\":\"a\"}", "{}", "EdDSA", b);
    assert_int_equal(verify(buf_view(&token)), JWT_BAD);
    assert_string_equal(why, "its signature is wrong");
    sign("{\"alg\":\"EdDSA\",\"kid\":\"c\"}", "{}", "EdDSA", b);
    assert_int_equal(verify(buf_view(&token)), JWT_UNKNOWN_KID);
    sign("{\"alg\":\"EdDSA\"}", "{}", "EdDSA", b); /* which one does it mean? */
    assert_int_equal(verify(buf_view(&token)), JWT_BAD);
    assert_string_equal(why, "there is no key for its alg and kid");
    set.n = 1;
    sign("{\"alg\":\"EdDSA\"}", "{}", "EdDSA", a);
    assert_int_equal(verify(buf_view(&token)), JWT_GOOD);
    set.n = 2;
    EVP_PKEY_free(a);
    EVP_PKEY_free(b);
}

static void the_previous_secret_ends(void **state UNUSED)
{
    assert_int_equal(jwks_add_secret(&set, STR_LIT("new"), 0, &why), 0);
    assert_int_equal(jwks_add_secret(&set, STR_LIT("secret"), NOW, &why), 0);
    sign_secret("{\"alg\":\"HS256\"}", "{}");
    assert_int_equal(verify(buf_view(&token)), JWT_GOOD);
    assert_int_equal(jwt_verify(&set, buf_view(&token), NOW + 1, false, &payload, &why), JWT_BAD);
}

static void without_signature_the_form_counts(void **state UNUSED)
{
    assert_int_equal(jwt_verify(&set, STR_LIT(A2_TOKEN), NOW, true, &payload, &why), JWT_GOOD);
    assert_true(str_equal(buf_view(&payload), STR_LIT(JOE_TEXT)));
    assert_int_equal(
        jwt_verify(&set, STR_LIT("eyJhbGciOiJub25lIn0.e30."), NOW, true, &payload, &why), JWT_BAD);
}

/* TLS looks at the same queue of errors. */
static void no_error_is_left_behind(void **state UNUSED)
{
    add_document(SET(A1_KEY "," A2_KEY "," A3_KEY "," A4_KEY "," OKP_KEY));
    assert_bad("eyJhbGciOiJSUzI1NiJ9.e30.AAAA", "its signature is wrong");
    assert_bad("eyJhbGciOiJFUzI1NiJ9.e30.AAAA", "its signature is wrong");
    assert_int_equal(ERR_peek_error(), 0);
}

static void no_memory_is_said(void **state UNUSED)
{
    int good = 0;

    add_document(SET(A1_KEY "," OKP_KEY));
    for (unsigned long k = 1; k < 20; k++) {
        buf_fini(&payload);
        fault_fail_at(k);
        good += verify(k % 2 == 0 ? STR_LIT(A1_TOKEN) : STR_LIT(OKP_TOKEN)) == JWT_GOOD;
        fault_reset();
    }
    assert_true(good > 10);
    buf_fini(&payload);
    fault_fail_at(1);
    assert_int_equal(verify(STR_LIT(A1_TOKEN)), JWT_NO_MEMORY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(rfc_vectors, teardown),
        cmocka_unit_test_teardown(any_change_is_seen, teardown),
        cmocka_unit_test_teardown(every_algorithm, teardown),
        cmocka_unit_test_teardown(secrets_of_any_length, teardown),
        cmocka_unit_test_teardown(what_is_signed_here_is_verified, teardown),
        cmocka_unit_test_teardown(a_public_key_is_no_secret, teardown),
        cmocka_unit_test_teardown(none_is_no_algorithm, teardown),
        cmocka_unit_test_teardown(a_curve_belongs_to_its_algorithm, teardown),
        cmocka_unit_test_teardown(an_empty_signature_is_wrong, teardown),
        cmocka_unit_test_teardown(embedded_keys_are_not_looked_at, teardown),
        cmocka_unit_test_teardown(headers_are_strict, teardown),
        cmocka_unit_test_teardown(other_forms_are_refused, teardown),
        cmocka_unit_test_teardown(payloads_are_strict_base64url, teardown),
        cmocka_unit_test_teardown(a_kid_chooses, teardown),
        cmocka_unit_test_teardown(the_previous_secret_ends, teardown),
        cmocka_unit_test_teardown(without_signature_the_form_counts, teardown),
        cmocka_unit_test_teardown(no_error_is_left_behind, teardown),
        cmocka_unit_test_teardown(no_memory_is_said, teardown),
    };

    return cmocka_run_group_tests_name("codec/jwt", tests, NULL, NULL);
}
