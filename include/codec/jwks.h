/* codec/jwks.h - sets of keys that tokens are verified with: secrets, public keys in PEM, JWK sets
 * (RFC 7517).
 *
 * Built when settings are read, not for each token. What a key may verify is decided here, once,
 * from its kind, its curve and its own `alg`; a token only chooses among that. RSA keys have 2048 to
 * 8192 bits, EC keys are on P-256, P-384 or P-521, OKP keys on Ed25519 or Ed448.
 *
 * Errors: -1 with a static sentence in *why, which goes behind "the key ". */
#ifndef ROOST_CODEC_JWKS_H
#define ROOST_CODEC_JWKS_H

#include "base/buf.h"

#define JWKS_MAX 64  /* keys of a document */
#define JWKS_ALL 136 /* in a set: those of two documents, and of settings */
/* Keys without a kid are tried one by one, at most so many for one token. */
#define JWKS_TRIES 8

enum jwk_kind { JWK_OCT = 0, JWK_RSA, JWK_EC, JWK_OKP };

enum jwt_alg {
#define ALGORITHM(name, kind, bits, curve) JWT_##name,
#include "tbl/tokens.def"
    JWT_ALG_NR
};
_Static_assert(JWT_ALG_NR <= 32, "struct jwk has a bit for each");

struct _cjose_jwk_int;
struct evp_pkey_st;

struct jwk {
    enum jwk_kind kind;
    uint32_t algs;       /* bit of enum jwt_alg */
    int64_t valid_until; /* seconds since 1970; 0: for ever */
    struct buf kid;      /* owned */
    bool has_kid;
    struct _cjose_jwk_int *jose; /* owned; OCT, RSA, EC */
    struct evp_pkey_st *pkey;    /* owned; OKP */
};

struct jwks { /* zeroed: empty */
    size_t n;
    struct jwk keys[JWKS_ALL];
};

/* What HS256, HS384, HS512 are made with. */
int jwks_add_secret(struct jwks *set, struct str secret, int64_t valid_until,
                    const char **why) MUST_CHECK;
/* A public key, or a certificate that holds one, of this kind. A private key is refused: it has no
 * business here. */
int jwks_add_pem(struct jwks *set, enum jwk_kind kind, struct str pem, const char **why) MUST_CHECK;
/* A JWK set. Keys of it that are of no use for signatures, or not understood, are passed over
 * (RFC 7517 §5), and secrets unless they may be in it; one that is of use there must be. */
int jwks_add_document(struct jwks *set, struct str json, bool secrets, const char **why) MUST_CHECK;
void jwks_fini(struct jwks *set);

/* Appends the key as a JSON object: what it verifies, not what it is. */
int jwk_describe(const struct jwk *key, struct buf *out) MUST_CHECK;

/* Is there a key for tokens that name this kid? */
bool jwks_has_kid(const struct jwks *set, struct str kid);

#endif
