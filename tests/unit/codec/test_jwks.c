/* codec/jwks: which keys are taken, what they may verify, and what is said of the others. */
#include "codec/jwks.c"
#include "codec/jwks_document.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/jwt.h"
#include "fault.h"
#include "pem_keys.h"
#include "rfc_tokens.h"

static struct jwks set;
static const char *why;

static int teardown(void **state UNUSED)
{
    fault_reset();
    jwks_fini(&set);
    return 0;
}

static int add(const char *json)
{
    return jwks_add_document(&set, str_from(json), true, &why);
}

static bool may(size_t key, enum jwt_alg alg)
{
    return (set.keys[key].algs & 1u << alg) != 0;
}

static void pem_by_kind(void **state UNUSED)
{
    static const struct {
        enum jwk_kind kind;
        const char *pem;
    } rows[] = {{JWK_RSA, PEM_RSA}, {JWK_RSA, PEM_RSA_PKCS1}, {JWK_RSA, PEM_CERT},
                {JWK_EC, PEM_EC},   {JWK_OKP, PEM_ED25519},   {JWK_RSA, "a comment\n" PEM_RSA}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (jwks_add_pem(&set, rows[i].kind, str_from(rows[i].pem), &why) == -1)
            fail_msg("the key %s: %s", why, rows[i].pem);
    assert_int_equal(set.n, ARRAY_LEN(rows));
    assert_true(may(0, JWT_RS256) && may(0, JWT_PS512) && !may(0, JWT_HS256) && !may(0, JWT_ES256));
    assert_true(may(3, JWT_ES256) && !may(3, JWT_ES384) && !may(3, JWT_ES512));
    assert_true(may(4, JWT_EdDSA) && !may(4, JWT_HS512));
}

static void pem_that_is_refused(void **state UNUSED)
{
    static const struct {
        enum jwk_kind kind;
        const char *pem, *why;
    } rows[] = {
        {JWK_RSA, PEM_RSA_1024, "is no RSA key of 2048 to 8192 bits"},
        {JWK_RSA, PEM_EC, "is not an RSA key"},
        {JWK_EC, PEM_RSA, "is not an EC key"},
        {JWK_EC, PEM_ED25519, "is not an EC key"},
        {JWK_EC, PEM_EC_K1, "is on a curve that is not P-256, P-384 or P-521"},
        {JWK_OKP, PEM_X25519, "is not an Ed25519 or Ed448 key"},
        {JWK_OKP, PEM_PRIVATE, "is a private key; only the public one belongs here"},
        {JWK_OKP, "-----BEGIN ENCRYPTED PRIVATE KEY-----\n",
         "is a private key; only the public one belongs here"},
        {JWK_RSA, "", "is no public key or certificate in PEM"},
        {JWK_RSA, "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n",
         "is no public key or certificate in PEM"},
        {JWK_RSA, "secret", "is no public key or certificate in PEM"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(jwks_add_pem(&set, rows[i].kind, str_from(rows[i].pem), &why), -1);
        assert_string_equal(why, rows[i].why);
    }
    assert_int_equal(set.n, 0);
    assert_int_equal(ERR_peek_error(), 0);
}

static void a_document_of_all_kinds(void **state UNUSED)
{
    assert_int_equal(add(SET(A1_KEY "," A2_KEY "," A3_KEY "," A4_KEY "," OKP_KEY)), 0);
    assert_int_equal(set.n, 5);
    assert_true(may(0, JWT_HS256) && may(0, JWT_HS512) && !may(0, JWT_RS256));
    assert_true(may(2, JWT_ES256) && !may(2, JWT_ES512));
    assert_true(may(3, JWT_ES512) && !may(3, JWT_ES256));
}

static void secrets_only_where_they_may_be(void **state UNUSED)
{
    assert_int_equal(jwks_add_document(&set, STR_LIT(SET(A1_KEY)), false, &why), -1);
    assert_string_equal(why, "is of no kind that verifies tokens");
    assert_int_equal(jwks_add_document(&set, STR_LIT(SET(A1_KEY "," A3_KEY)), false, &why), 0);
    assert_int_equal(set.n, 1);
    assert_int_equal(set.keys[0].kind, JWK_EC);
}

static void members_narrow(void **state UNUSED)
{
#define EC(more) "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" A3_X "\",\"y\":\"" A3_Y "\"" more "}"
    static const struct {
        const char *key;
        bool taken;
    } rows[] = {
        {EC(""), true},
        {EC(",\"use\":\"sig\""), true},
        {EC(",\"use\":\"enc\""), false},
        {EC(",\"alg\":\"ES256\""), true},
        {EC(",\"alg\":\"ES384\""), false},
        {EC(",\"alg\":\"RS256\""), false},
        {EC(",\"alg\":\"ECDH-ES\""), false},
        {EC(",\"key_ops\":[\"verify\"]"), true},
        {EC(",\"key_ops\":[\"sign\"]"), false},
        {EC(",\"key_ops\":\"verify\""), false},
        {EC(",\"kid\":7"), false},
        {EC(",\"d\":\"not read\",\"x5c\":[\"nor this\"]"), true},
        {"{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"" A3_X "\",\"y\":\"" A3_Y "\"}", false},
        {"{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"" A3_X "\",\"y\":\"" A3_Y "\"}", false},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" A3_X "\",\"y\":\"" A3_X "\"}", false},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" A3_X "\"}", false},
        {"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" A3_X "=\",\"y\":\"" A3_Y "\"}", false},
        {"{\"kty\":\"RSA\",\"n\":\"" A2_N "\",\"e\":\"AQ\"}", false},
        {"{\"kty\":\"RSA\",\"n\":\"" A2_N "\",\"e\":\"AQAA\"}", false},
        {"{\"kty\":\"RSA\",\"n\":\"" A2_N "\"}", false},
        {"{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}", false},
        {"{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"" OKP_X "\"}", false},
        {"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}", false},
        {"{\"kty\":\"oct\"}", false},
        {"{\"kty\":\"new\"}", false},
        {"{}", false},
        {"7", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char json[2048];

        jwks_fini(&set);
        snprintf(json, sizeof(json), SET("%s"), rows[i].key);
        if ((add(json) == 0) != rows[i].taken)
            fail_msg("%s: %s", rows[i].taken ? why : "taken", rows[i].key);
        snprintf(json, sizeof(json), SET("%s," OKP_KEY), rows[i].key); /* the rest still counts */
        assert_int_equal(add(json), 0);
    }
}

static void what_is_no_set(void **state UNUSED)
{
    static const char *const texts[] = {"",
                                        "{}",
                                        "[]",
                                        "{\"keys\":{}}",
                                        "{\"keys\":[]",
                                        "{\"keys\":null}",
                                        A3_KEY,
                                        "{\"keys\":[],}"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_int_equal(add(texts[i]), -1);
        assert_string_equal(why, "set is no JSON object with an array \"keys\"");
    }
    assert_int_equal(add("{\"keys\":[]}"), -1);
    assert_string_equal(why, "set has no key in it");
}

static void sets_are_bounded(void **state UNUSED)
{
    struct buf json = {0};

    assert_int_equal(buf_append_lit(&json, "{\"keys\":["), 0);
    for (int i = 0; i <= JWKS_MAX; i++)
        assert_int_equal(
            buf_printf(&json,
                       "%s{\"kid\":\"%d\",\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" OKP_X "\"}",
                       i > 0 ? "," : "", i),
            0);
    assert_int_equal(buf_append_lit(&json, "]}"), 0);
    assert_int_equal(jwks_add_document(&set, buf_view(&json), false, &why), -1);
    assert_string_equal(why, "is one too many: a set may have 64");
    assert_int_equal(set.n, 0);
    /* Two full documents go together. */
    json.len -=
        strlen(",{\"kid\":\"64\",\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" OKP_X "\"}]}");
    assert_int_equal(buf_append_lit(&json, "]}"), 0);
    for (int i = 1; i <= 2; i++) {
        assert_int_equal(jwks_add_document(&set, buf_view(&json), false, &why), 0);
        assert_int_equal(set.n, i * JWKS_MAX);
    }
    buf_fini(&json);
    jwks_fini(&set);
    for (int i = 0; i < JWKS_TRIES; i++)
        assert_int_equal(jwks_add_secret(&set, STR_LIT("secret"), 0, &why), 0);
    assert_int_equal(jwks_add_secret(&set, STR_LIT("secret"), 0, &why), -1);
    assert_int_equal(jwks_add_pem(&set, JWK_EC, STR_LIT(PEM_EC), &why), 0);
}

static void kids_are_found(void **state UNUSED)
{
    assert_int_equal(
        add(SET("{\"kid\":\"caf\\u00e9\",\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" OKP_X
                "\"}," A3_KEY)),
        0);
    assert_true(jwks_has_kid(&set, STR_LIT("caf\xc3\xa9")));
    assert_false(jwks_has_kid(&set, STR_LIT("")));
    assert_false(jwks_has_kid(&set, STR_LIT("cafe")));
}

static void an_empty_secret_is_refused(void **state UNUSED)
{
    assert_int_equal(jwks_add_secret(&set, STR_LIT(""), 0, &why), -1);
    assert_string_equal(why, "is empty");
}

static void no_memory_is_said(void **state UNUSED)
{
    const char *json =
        SET(A1_KEY ",{\"kid\":\"a\",\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"" OKP_X "\"}");
    unsigned long n;

    fault_reset();
    assert_int_equal(add(json), 0);
    n = fault_count();
    assert_true(n >= 2);
    for (unsigned long k = 1; k <= n; k++) {
        jwks_fini(&set);
        fault_fail_at(k);
        assert_int_equal(add(json), -1);
        assert_ptr_equal(why, jwt_no_memory);
        assert_int_equal(set.n, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(pem_by_kind, teardown),
        cmocka_unit_test_teardown(pem_that_is_refused, teardown),
        cmocka_unit_test_teardown(a_document_of_all_kinds, teardown),
        cmocka_unit_test_teardown(secrets_only_where_they_may_be, teardown),
        cmocka_unit_test_teardown(members_narrow, teardown),
        cmocka_unit_test_teardown(what_is_no_set, teardown),
        cmocka_unit_test_teardown(sets_are_bounded, teardown),
        cmocka_unit_test_teardown(kids_are_found, teardown),
        cmocka_unit_test_teardown(an_empty_secret_is_refused, teardown),
        cmocka_unit_test_teardown(no_memory_is_said, teardown),
    };

    return cmocka_run_group_tests_name("codec/jwks", tests, NULL, NULL);
}
