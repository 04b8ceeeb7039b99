/* base/utf8.h - UTF-8 (RFC 3629): validation, in pieces too, and decoding. */
#ifndef ROOST_BASE_UTF8_H
#define ROOST_BASE_UTF8_H

#include "base/str.h"

#define UTF8_START  0u /* state between characters; also the accepting state */
#define UTF8_REJECT 6u

/* Advances state over s; UTF8_REJECT as soon as no valid continuation exists (sticky). */
uint32_t utf8_check(uint32_t state, struct str s);
bool utf8_valid(struct str s);
/* The first character of s, which is not empty: how many bytes it has, and its code point. 0: it is
 * not valid. */
size_t utf8_decode(struct str s, uint32_t *code);
/* The longest start of s that has at most max bytes and does not end inside a character, whether or
 * not s is valid; not empty when max is at least 4 and s is not. */
struct str utf8_cut(struct str s, size_t max);

#endif
