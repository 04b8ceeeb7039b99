/* codec/jwks.c - keys from secrets and PEM. */
#include <cjose/cjose.h>
#include <openssl/core_names.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "codec/json.h"
#include "jwks_internal.h"

#define RSA_BITS_MIN 2048 /* RFC 7518 §3.3 */
#define RSA_BITS_MAX 8192 /* a larger one takes a turn's time */
#define NUMBER_MAX   (RSA_BITS_MAX / 8)

const char *const jwt_no_memory = "cannot be read: no memory";

static const struct {
    const char *name;
    enum jwk_kind kind;
    size_t bits;
    const char *curve;
} algorithms[JWT_ALG_NR] = {
#define ALGORITHM(name, kind, bits, curve) {#name, JWK_##kind, bits, curve},
#include "tbl/tokens.def"
};

int jwks_find_alg(struct str name)
{
    for (int i = 0; i < JWT_ALG_NR; i++)
        if (str_equal(str_from(algorithms[i].name), name))
            return i;
    return -1;
}

enum jwk_kind jwks_kind_of(enum jwt_alg alg)
{
    return algorithms[alg].kind;
}

size_t jwks_bits_of(enum jwt_alg alg)
{
    return algorithms[alg].bits;
}

uint32_t jwks_algs_of(enum jwk_kind kind, struct str curve)
{
    uint32_t algs = 0;

    for (unsigned i = 0; i < JWT_ALG_NR; i++)
        if (algorithms[i].kind == kind &&
            (algorithms[i].curve[0] == '\0' || str_equal(str_from(algorithms[i].curve), curve)))
            algs |= 1u << i;
    return algs;
}

struct jwk *jwks_next(struct jwks *set, const char **why)
{
    struct jwk *key;

    if (set->n == JWKS_ALL) {
        *why = "is one too many";
        return NULL;
    }
    key = &set->keys[set->n];
    memset(key, 0, sizeof(*key));
    return key;
}

void jwk_fini(struct jwk *key)
{
    if (key->jose != NULL)
        cjose_jwk_release(key->jose);
    EVP_PKEY_free(key->pkey);
    buf_fini(&key->kid);
    memset(key, 0, sizeof(*key));
}

void jwks_fini(struct jwks *set)
{
    while (set->n > 0)
        jwk_fini(&set->keys[--set->n]);
}

/* One more key in the set, if tokens without a kid do not have to try too many. */
int jwks_commit(struct jwks *set, struct jwk *key, const char **why)
{
    size_t alike = 0;

    for (size_t i = 0; i < set->n; i++)
        if (!set->keys[i].has_kid && (set->keys[i].algs & key->algs) != 0)
            alike++;
    if (!key->has_kid && alike == JWKS_TRIES) {
        *why = "has no kid, as too many others of its kind";
        jwk_fini(key);
        return -1;
    }
    set->n++;
    return 0;
}

int jwks_add_secret(struct jwks *set, struct str secret, int64_t valid_until, const char **why)
{
    struct jwk *key = jwks_next(set, why);

    if (key == NULL)
        return -1;
    key->kind = JWK_OCT;
    key->algs = jwks_algs_of(JWK_OCT, STR_LIT(""));
    key->valid_until = valid_until;
    key->jose = cjose_jwk_create_oct_spec((const uint8_t *)secret.p, secret.n, NULL);
    if (key->jose == NULL) {
        *why = secret.n == 0 ? "is empty" : jwt_no_memory;
        return -1;
    }
    return jwks_commit(set, key, why);
}

static struct str number_of(const EVP_PKEY *pkey, const char *name, uint8_t room[NUMBER_MAX])
{
    BIGNUM *bn = NULL;
    int n = -1;

    if (EVP_PKEY_get_bn_param(pkey, name, &bn) == 1 && BN_num_bytes(bn) <= NUMBER_MAX)
        n = BN_bn2bin(bn, room);
    BN_free(bn);
    return n > 0 ? (struct str){(const char *)room, (size_t)n} : STR_NULL;
}

int jwk_set_rsa(struct jwk *key, struct str n, struct str e, const char **why)
{
    cjose_jwk_rsa_keyspec spec = {
        .n = (uint8_t *)(uintptr_t)n.p, .nlen = n.n, .e = (uint8_t *)(uintptr_t)e.p, .elen = e.n};
    size_t bits;

    while (n.n > 0 && n.p[0] == 0)
        n = str_skip(n, 1);
    bits = n.n * 8;
    for (int mask = 0x80; n.n > 0 && ((uint8_t)n.p[0] & mask) == 0; mask >>= 1)
        bits--;
    if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX || e.n == 0 || e.n > 8 ||
        ((uint8_t)e.p[e.n - 1] & 1) == 0 || (e.n == 1 && e.p[0] == 1)) {
        *why = "is no RSA key of 2048 to 8192 bits";
        return -1;
    }
    key->kind = JWK_RSA;
    key->algs = jwks_algs_of(JWK_RSA, STR_LIT(""));
    key->jose = cjose_jwk_create_RSA_spec(&spec, NULL);
    if (key->jose == NULL)
        *why = jwt_no_memory;
    return key->jose == NULL ? -1 : 0;
}

int jwk_set_ec(struct jwk *key, struct str curve, struct str x, struct str y, const char **why)
{
    static const struct {
        const char *name;
        cjose_jwk_ec_curve curve;
        size_t bytes;
    } curves[] = {{"P-256", CJOSE_JWK_EC_P_256, 32},
                  {"P-384", CJOSE_JWK_EC_P_384, 48},
                  {"P-521", CJOSE_JWK_EC_P_521, 66}};
    cjose_jwk_ec_keyspec spec = {
        .x = (uint8_t *)(uintptr_t)x.p, .xlen = x.n, .y = (uint8_t *)(uintptr_t)y.p, .ylen = y.n};

    *why = "is on a curve that is not P-256, P-384 or P-521";
    for (size_t i = 0; i < ARRAY_LEN(curves); i++) {
        if (!str_equal(str_from(curves[i].name), curve))
            continue;
        spec.crv = curves[i].curve;
        key->kind = JWK_EC;
        key->algs = jwks_algs_of(JWK_EC, curve);
        if (x.n == curves[i].bytes && y.n == curves[i].bytes) /* RFC 7518 §6.2.1.2 */
            key->jose = cjose_jwk_create_EC_spec(&spec, NULL);
        *why = "is no point of its curve";
    }
    ERR_clear_error();
    return key->jose == NULL ? -1 : 0;
}

int jwk_set_okp(struct jwk *key, struct str curve, struct str x, const char **why)
{
    bool ed25519 = str_equal(curve, STR_LIT("Ed25519"));

    if (!ed25519 && !str_equal(curve, STR_LIT("Ed448"))) {
        *why = "is on a curve that is not Ed25519 or Ed448";
        return -1;
    }
    key->kind = JWK_OKP;
    key->algs = jwks_algs_of(JWK_OKP, curve);
    key->pkey = EVP_PKEY_new_raw_public_key(ed25519 ? EVP_PKEY_ED25519 : EVP_PKEY_ED448, NULL,
                                            (const uint8_t *)x.p, x.n);
    ERR_clear_error();
    if (key->pkey == NULL)
        *why = "has not the length of its curve";
    return key->pkey == NULL ? -1 : 0;
}

/* EC: the coordinates have the length of the curve, with leading zeros. */
static int from_ec(struct jwk *key, const EVP_PKEY *pkey, const char **why)
{
    static const char *const names[][2] = {
        {"prime256v1", "P-256"}, {"secp384r1", "P-384"}, {"secp521r1", "P-521"}};
    char group[64] = "";
    size_t bytes = ((size_t)EVP_PKEY_get_bits(pkey) + 7) / 8;
    uint8_t room[2][NUMBER_MAX], padded[2][66] = {{0}};
    struct str at[2] = {number_of(pkey, OSSL_PKEY_PARAM_EC_PUB_X, room[0]),
                        number_of(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, room[1])};
    struct str curve = STR_NULL;

    if (EVP_PKEY_get_group_name(pkey, group, sizeof(group), NULL) == 1)
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
            if (str_equal(str_from(names[i][0]), str_from(group)))
                curve = str_from(names[i][1]);
    for (int i = 0; i < 2; i++) {
        if (bytes > sizeof(padded[i]) || at[i].n > bytes)
            bytes = 0;
        else if (at[i].n > 0)
            memcpy(padded[i] + bytes - at[i].n, at[i].p, at[i].n);
    }
    return jwk_set_ec(key, curve, (struct str){(char *)padded[0], bytes},
                      (struct str){(char *)padded[1], bytes}, why);
}

static int from_pkey(struct jwk *key, enum jwk_kind kind, const EVP_PKEY *pkey, const char **why)
{
    uint8_t n[NUMBER_MAX], e[NUMBER_MAX], raw[64];
    size_t len = sizeof(raw);
    int id = EVP_PKEY_get_base_id(pkey);

    if (kind == JWK_RSA && (id == EVP_PKEY_RSA || id == EVP_PKEY_RSA_PSS))
        return jwk_set_rsa(key, number_of(pkey, OSSL_PKEY_PARAM_RSA_N, n),
                           number_of(pkey, OSSL_PKEY_PARAM_RSA_E, e), why);
    if (kind == JWK_EC && id == EVP_PKEY_EC)
        return from_ec(key, pkey, why);
    if (kind == JWK_OKP && (id == EVP_PKEY_ED25519 || id == EVP_PKEY_ED448) &&
        EVP_PKEY_get_raw_public_key(pkey, raw, &len) == 1)
        return jwk_set_okp(key, str_from(id == EVP_PKEY_ED25519 ? "Ed25519" : "Ed448"),
                           (struct str){(char *)raw, len}, why);
    *why = kind == JWK_RSA  ? "is not an RSA key"
           : kind == JWK_EC ? "is not an EC key"
                            : "is not an Ed25519 or Ed448 key";
    return -1;
}

/* SubjectPublicKeyInfo, PKCS #1, or a certificate. */
static EVP_PKEY *read_pem(struct str pem)
{
    const unsigned char *at = (const unsigned char *)pem.p;
    size_t left = pem.n;
    EVP_PKEY *pkey = NULL;
    OSSL_DECODER_CTX *decoder =
        OSSL_DECODER_CTX_new_for_pkey(&pkey, "PEM", NULL, NULL, EVP_PKEY_PUBLIC_KEY, NULL, NULL);

    if (decoder != NULL && OSSL_DECODER_CTX_set_passphrase(decoder, (const uint8_t *)"", 0) == 1 &&
        OSSL_DECODER_from_data(decoder, &at, &left) != 1)
        pkey = NULL;
    OSSL_DECODER_CTX_free(decoder);
    if (pkey == NULL) {
        BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
        X509 *cert =
            bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, (void *)(uintptr_t) "") : NULL;

        if (cert != NULL)
            pkey = X509_get_pubkey(cert);
        X509_free(cert);
        BIO_free(bio);
    }
    ERR_clear_error();
    return pkey;
}

int jwks_add_pem(struct jwks *set, enum jwk_kind kind, struct str pem, const char **why)
{
    struct jwk *key = jwks_next(set, why);
    EVP_PKEY *pkey;
    int rc;

    if (key == NULL)
        return -1;
    if (memmem(pem.p, pem.n, "PRIVATE KEY-", strlen("PRIVATE KEY-")) != NULL) {
        *why = "is a private key; only the public one belongs here";
        return -1;
    }
    pkey = pem.n > 0 && pem.n < INT32_MAX ? read_pem(pem) : NULL;
    if (pkey == NULL) {
        *why = "is no public key or certificate in PEM";
        return -1;
    }
    rc = from_pkey(key, kind, pkey, why);
    EVP_PKEY_free(pkey);
    if (rc == -1) {
        jwk_fini(key);
        return -1;
    }
    return jwks_commit(set, key, why);
}

int jwk_describe(const struct jwk *key, struct buf *out)
{
    const char *sep = "";

    if (buf_append_lit(out, "{\"kid\":") == -1 ||
        (key->has_kid ? json_append_string(out, buf_view(&key->kid)) == -1
                      : buf_append_lit(out, "null") == -1) ||
        buf_printf(out, ",\"valid_until\":%lld,\"algorithms\":[", (long long)key->valid_until) ==
            -1)
        return -1;
    for (unsigned i = 0; i < JWT_ALG_NR; i++) {
        if ((key->algs & 1u << i) == 0)
            continue;
        if (buf_printf(out, "%s\"%s\"", sep, algorithms[i].name) == -1)
            return -1;
        sep = ",";
    }
    return buf_append_lit(out, "]}");
}

bool jwks_has_kid(const struct jwks *set, struct str kid)
{
    for (size_t i = 0; i < set->n; i++)
        if (set->keys[i].has_kid && str_equal(buf_view(&set->keys[i].kid), kid))
            return true;
    return false;
}
