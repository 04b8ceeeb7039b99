/* codec/jwt.c - header, signature and payload of a token. */
#include "codec/jwt.h"

#include <cjose/cjose.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "codec/base64.h"
#include "codec/json.h"
#include "jwks_internal.h"

#define HEADER_MAX 8192

struct parts { /* of the compact form */
    struct str header, payload, signature;
    struct str signed_part; /* header.payload */
};

struct header {
    int alg; /* enum jwt_alg, or -1 */
    struct str kid;
    bool has_kid;
};

static int cut_parts(struct str token, struct parts *p)
{
    struct str rest = token;

    if (!str_cut(&rest, '.', &p->header) || !str_cut(&rest, '.', &p->payload) || rest.p == NULL ||
        str_find(rest, '.') < rest.n || p->header.n == 0 || p->header.n > HEADER_MAX)
        return -1;
    p->signature = rest;
    p->signed_part = (struct str){token.p, p->header.n + 1 + p->payload.n};
    return 0;
}

/* Text of a member, unescaped behind what is in *text already, which has room. */
static int text_of(const struct json_value *v, struct buf *text, struct str *out)
{
    size_t start = text->len;

    if (v->type != JSON_STRING || json_string(v, text) == -1)
        return -1;
    *out = (struct str){text->p + start, text->len - start};
    return 0;
}

/* NULL when the member is fine. What is read must stand there once (RFC 7515 §4). */
static const char *take_member(const struct json_value *key, const struct json_value *value,
                               struct buf *text, struct header *h)
{
    struct str alg;

    if (json_string_equal(key, STR_LIT("alg"))) {
        if (h->alg != -1 || text_of(value, text, &alg) == -1)
            return "alg is no text, or there twice";
        h->alg = jwks_find_alg(alg);
        return h->alg == -1 ? "its alg is none that is verified here" : NULL;
    }
    if (json_string_equal(key, STR_LIT("kid"))) {
        if (value->type == JSON_NULL) /* of a library that was given none */
            return NULL;
        if (h->has_kid || text_of(value, text, &h->kid) == -1)
            return "kid is no text, or there twice";
        h->has_kid = true;
        return NULL;
    }
    if (json_string_equal(key, STR_LIT("crit")))
        return "crit asks for what is not understood";
    if (json_string_equal(key, STR_LIT("b64")) && value->type != JSON_TRUE)
        return "b64 asks for what is not understood";
    return NULL;
}

/* *text gets the header and what is unescaped of it; *h has views of it. */
static enum jwt_verdict read_header(const struct parts *p, struct buf *text, struct header *h,
                                    const char **why)
{
    struct json_value object, key, value;
    struct str rest;
    const char *wrong = NULL;

    *why = "no memory";
    /* Room for the bytes, for the texts in them, for the signature: it does not move any more. */
    if (buf_reserve(text, 2 * p->header.n + p->signature.n + 16) == -1)
        return JWT_NO_MEMORY;
    *why = "its header is no base64url of a JSON object";
    if (base64url_decode(p->header, text) == -1 ||
        json_parse(buf_view(text), &object, NULL) == -1 || object.type != JSON_OBJECT)
        return JWT_BAD;
    h->alg = -1;
    rest = object.raw;
    while (wrong == NULL && json_member(&rest, &key, &value))
        wrong = take_member(&key, &value, text, h);
    if (wrong == NULL && h->alg == -1)
        wrong = "it has no alg";
    *why = wrong;
    return wrong == NULL ? JWT_GOOD : JWT_BAD;
}

/* RFC 8037 §3.1: the signature is over the text itself. */
static bool verify_okp(const struct jwk *key, struct str signature, struct str signed_part)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx != NULL && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key->pkey) == 1 &&
                EVP_DigestVerify(ctx, (const uint8_t *)signature.p, signature.n,
                                 (const uint8_t *)signed_part.p, signed_part.n) == 1;

    EVP_MD_CTX_free(ctx);
    return good;
}

/* cjose takes more than base64url for it; a token has one text. RSA's length is the key's. */
static bool signature_fits(int alg, size_t n)
{
    size_t bits = jwks_bits_of((enum jwt_alg)alg);

    switch (jwks_kind_of((enum jwt_alg)alg)) {
    case JWK_OCT:
        return n == bits / 8;
    case JWK_EC: /* ES512 is on P-521 */
        return n == (bits == 512 ? 132 : bits / 4);
    case JWK_RSA:
    case JWK_OKP:
        break;
    }
    return n > 0;
}

static bool is_for(const struct jwk *key, const struct header *h, int64_t now)
{
    return (key->algs & 1u << h->alg) != 0 && (key->valid_until == 0 || now <= key->valid_until);
}

/* Does the key come into question? One with a kid for tokens that name it; a token that names none
 * may mean the only one there is. A key without is tried for all: it came alone, as a setting. */
static bool is_chosen(const struct jwk *key, const struct header *h, size_t with_kid)
{
    if (!key->has_kid)
        return true;
    return h->has_kid ? str_equal(buf_view(&key->kid), h->kid) : with_kid == 1;
}

/* Until one verifies it. *tried: keys that came into question. */
static bool try_keys(const struct jwks *set, const struct header *h, const struct parts *p,
                     struct str signature, int64_t now, size_t *tried)
{
    cjose_jws_t *jws = NULL;
    struct str token = {p->header.p, p->signed_part.n + 1 + p->signature.n};
    size_t with_kid = 0;
    bool good = false, fits = signature_fits(h->alg, signature.n);

    for (size_t i = 0; i < set->n; i++)
        with_kid += is_for(&set->keys[i], h, now) && set->keys[i].has_kid;
    if (fits && jwks_kind_of((enum jwt_alg)h->alg) != JWK_OKP)
        jws = cjose_jws_import(token.p, token.n, NULL);
    for (size_t i = 0; i < set->n && !good; i++) {
        const struct jwk *key = &set->keys[i];

        if (!is_for(key, h, now) || !is_chosen(key, h, with_kid))
            continue;
        ++*tried;
        if (fits)
            good = key->kind == JWK_OKP ? verify_okp(key, signature, p->signed_part)
                                        : jws != NULL && cjose_jws_verify(jws, key->jose, NULL);
    }
    cjose_jws_release(jws);
    ERR_clear_error(); /* what is left there, TLS would take for its own */
    return good;
}

static enum jwt_verdict verify_signature(const struct jwks *set, const struct header *h,
                                         const struct parts *p, int64_t now, struct buf *text,
                                         const char **why)
{
    struct str signature;
    size_t tried = 0, start = text->len;

    *why = "its signature is no base64url";
    if (base64url_decode(p->signature, text) == -1)
        return JWT_BAD;
    signature = (struct str){text->p + start, text->len - start};
    if (try_keys(set, h, p, signature, now, &tried))
        return JWT_GOOD;
    *why = tried > 0 ? "its signature is wrong" : "there is no key for its alg and kid";
    if (h->has_kid && !jwks_has_kid(set, h->kid))
        tried = 0; /* those without a kid do not stand for the one that it names */
    return tried == 0 && jwks_kind_of((enum jwt_alg)h->alg) != JWK_OCT ? JWT_NO_KEY : JWT_BAD;
}

static enum jwt_verdict take_payload(struct str encoded, struct buf *payload, const char **why)
{
    if (buf_reserve(payload, encoded.n) == -1) {
        *why = "no memory";
        return JWT_NO_MEMORY;
    }
    *why = "its payload is no base64url";
    return base64url_decode(encoded, payload) == -1 ? JWT_BAD : JWT_GOOD;
}

enum jwt_verdict jwt_verify(const struct jwks *set, struct str token, int64_t now,
                            bool skip_signature, struct buf *payload, const char **why)
{
    struct header h = {0};
    struct parts p;
    struct buf text = {0};
    enum jwt_verdict verdict;

    *why =
        token.n > JWT_SIZE_MAX ? "it is too long" : "it has not the three parts of a signed token";
    if (token.n > JWT_SIZE_MAX || cut_parts(token, &p) == -1)
        return JWT_BAD;
    verdict = read_header(&p, &text, &h, why);
    if (verdict == JWT_GOOD && !skip_signature)
        verdict = verify_signature(set, &h, &p, now, &text, why);
    buf_fini(&text);
    return verdict == JWT_GOOD ? take_payload(p.payload, payload, why) : verdict;
}

static int sign_with(const struct jwk *key, struct str payload, struct buf *out)
{
    cjose_header_t *header = cjose_header_new(NULL);
    cjose_jws_t *jws = NULL;
    const char *text = NULL;
    int rc = -1;

    if (header != NULL && cjose_header_set(header, CJOSE_HDR_ALG, CJOSE_HDR_ALG_HS256, NULL) &&
        cjose_header_set(header, "typ", "JWT", NULL))
        jws = cjose_jws_sign(key->jose, header, (const uint8_t *)payload.p, payload.n, NULL);
    if (jws != NULL && cjose_jws_export(jws, &text, NULL))
        rc = buf_append_lit(out, text);
    cjose_jws_release(jws);
    cjose_header_release(header);
    return rc;
}

int jwt_sign(const struct jwks *set, struct str payload, int64_t now, struct buf *out)
{
    const struct header hs256 = {.alg = JWT_HS256};

    for (size_t i = 0; i < set->n; i++)
        if (is_for(&set->keys[i], &hs256, now))
            return sign_with(&set->keys[i], payload, out);
    return -1;
}
