/* codec/jwt.h - the signature of a token (RFC 7515, compact form) against a set of keys.
 *
 * The header is believed in two things only: `alg` and `kid` choose among the keys that may verify
 * that alg. `none` is no row of tbl/tokens.def. Keys in the token (jwk, jku, x5u, x5c) are not
 * looked at; `crit` and a `b64` that is not true ask for what is not understood, and are refused
 * (RFC 7515 §4.1.11, RFC 7797 §3). What is read must stand in the
 * header once. */
#ifndef ROOST_CODEC_JWT_H
#define ROOST_CODEC_JWT_H

#include "codec/jwks.h"

#define JWT_SIZE_MAX 65536 /* a longer token is not looked at */

enum jwt_verdict {
    JWT_GOOD = 0,
    JWT_BAD,
    JWT_NO_KEY, /* none came into question that a newer set might not have */
    JWT_NO_MEMORY
};

/* Appends the payload to *payload, verified. now: seconds since 1970, for keys that end. With
 * skip_signature only the form is checked, and alg must be a known one. *why: a static sentence. */
enum jwt_verdict jwt_verify(const struct jwks *set, struct str token, int64_t now,
                            bool skip_signature, struct buf *payload, const char **why) MUST_CHECK;

/* Appends a token over the payload, HS256 with the set's first secret that is still valid. -1: there
 * is none, or no memory. */
int jwt_sign(const struct jwks *set, struct str payload, int64_t now, struct buf *out) MUST_CHECK;

#endif
