/* codec/base64.h - both alphabets of RFC 4648, strictly: no white space, no bits left over. */
#ifndef ROOST_CODEC_BASE64_H
#define ROOST_CODEC_BASE64_H

#include "base/buf.h"

/* Appends the bytes. -1: not base64 (out as before), or no memory. Standard: '+', '/', padded.
 * URL: '-', '_', without padding, as in tokens and keys (RFC 7515 §2). */
int base64_decode(struct str in, struct buf *out) MUST_CHECK;
int base64url_decode(struct str in, struct buf *out) MUST_CHECK;
/* Appends the standard form, padded: pieces of three bytes each may follow each other. -1: no memory. */
int base64_append(struct buf *out, struct str bytes) MUST_CHECK;

#endif
