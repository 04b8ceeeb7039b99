/* codec/jwt: known answers, every algorithm, which key is used. */
#include "codec/jwt.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sign_token.h"

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
    assert_int_equal(verify(buf_view(&token)), JWT_NO_KEY);
    sign("{\"alg\":\"EdDSA\"}", "{}", "EdDSA", b); /* which one does it mean? */
    assert_int_equal(verify(buf_view(&token)), JWT_NO_KEY);
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
        cmocka_unit_test_teardown(a_kid_chooses, teardown),
        cmocka_unit_test_teardown(the_previous_secret_ends, teardown),
        cmocka_unit_test_teardown(without_signature_the_form_counts, teardown),
        cmocka_unit_test_teardown(no_memory_is_said, teardown),
    };

    return cmocka_run_group_tests_name("codec/jwt", tests, NULL, NULL);
}
