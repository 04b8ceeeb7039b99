/* hmac_token.h - tokens that the load's users show: JSON Web Tokens with an HMAC. */
#ifndef ROOSTLOAD_HMAC_TOKEN_H
#define ROOSTLOAD_HMAC_TOKEN_H

#include "base/buf.h"

/* Appends a token for the user that ends at a Unix time, signed with the key (HS256). -1: no
 * memory. */
int hmac_token(struct str key, struct str user, int64_t expires, struct buf *out) MUST_CHECK;

#endif
