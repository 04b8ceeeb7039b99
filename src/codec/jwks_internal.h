/* codec/jwks_internal.h - what jwks.c, jwks_document.c and jwt.c share. */
#ifndef ROOST_CODEC_JWKS_INTERNAL_H
#define ROOST_CODEC_JWKS_INTERNAL_H

#include "codec/jwks.h"

extern const char *const jwt_no_memory;

/* Row of tbl/tokens.def, or -1. */
int jwks_find_alg(struct str name);
enum jwk_kind jwks_kind_of(enum jwt_alg alg);
size_t jwks_bits_of(enum jwt_alg alg); /* of the digest */
/* All that a key of this kind on this curve may verify, as bits. */
uint32_t jwks_algs_of(enum jwk_kind kind, struct str curve);

/* Room for one more key, zeroed; it counts after jwks_commit(), which takes it apart when it cannot
 * be added. */
struct jwk *jwks_next(struct jwks *set, const char **why);
int jwks_commit(struct jwks *set, struct jwk *key, const char **why) MUST_CHECK;
void jwk_fini(struct jwk *key);

/* Numbers are big-endian bytes. -1: what is in the key must be taken apart. */
int jwk_set_rsa(struct jwk *key, struct str n, struct str e, const char **why) MUST_CHECK;
int jwk_set_ec(struct jwk *key, struct str curve, struct str x, struct str y,
               const char **why) MUST_CHECK;
int jwk_set_okp(struct jwk *key, struct str curve, struct str x, const char **why) MUST_CHECK;

#endif
