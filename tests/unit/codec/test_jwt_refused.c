/* codec/jwt: what must not be verified. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sign_token.h"

static void assert_bad(const char *t, const char *reason)
{
    if (verify(str_from(t)) == JWT_GOOD)
        fail_msg("verified: %s", t);
    assert_string_equal(why, reason);
    assert_int_equal(payload.len, 0);
}

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
    assert_int_equal(verify(buf_view(&token)), JWT_NO_KEY);
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
        "{\"alg\":\"HS256\",\"kid\":null}",
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

/* TLS looks at the same queue of errors. */
static void no_error_is_left_behind(void **state UNUSED)
{
    add_document(SET(A1_KEY "," A2_KEY "," A3_KEY "," A4_KEY "," OKP_KEY));
    assert_bad("eyJhbGciOiJSUzI1NiJ9.e30.AAAA", "its signature is wrong");
    assert_bad("eyJhbGciOiJFUzI1NiJ9.e30.AAAA", "its signature is wrong");
    assert_int_equal(ERR_peek_error(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_public_key_is_no_secret, teardown),
        cmocka_unit_test_teardown(none_is_no_algorithm, teardown),
        cmocka_unit_test_teardown(a_curve_belongs_to_its_algorithm, teardown),
        cmocka_unit_test_teardown(an_empty_signature_is_wrong, teardown),
        cmocka_unit_test_teardown(embedded_keys_are_not_looked_at, teardown),
        cmocka_unit_test_teardown(headers_are_strict, teardown),
        cmocka_unit_test_teardown(other_forms_are_refused, teardown),
        cmocka_unit_test_teardown(payloads_are_strict_base64url, teardown),
        cmocka_unit_test_teardown(no_error_is_left_behind, teardown),
    };

    return cmocka_run_group_tests_name("codec/jwt_refused", tests, NULL, NULL);
}
