/* base/str.h - a view of bytes somebody else owns.
 *
 * A struct str is always borrowed and never outlives the call that produced it unless the header
 * that hands it out says otherwise. Not NUL-terminated. */
#ifndef ROOST_BASE_STR_H
#define ROOST_BASE_STR_H

#include "base/common.h"

struct str {
    const char *p;
    size_t n;
};

#define STR_LIT(literal) ((struct str){.p = (literal), .n = sizeof(literal) - 1})
#define STR_NULL         ((struct str){.p = NULL, .n = 0})
/* For printf("%.*s", STR_ARG(s)). */
#define STR_ARG(s) (int)(s).n, (s).p

/* View of a NUL-terminated string; NULL gives the empty view. Never for network input. */
struct str str_from(const char *cstr);

bool str_equal(struct str a, struct str b);
/* ASCII case-insensitive (RFC 9110 §5.1 field names and tokens). */
bool str_equal_nocase(struct str a, struct str b);
bool str_starts_with(struct str s, struct str prefix);

/* Without leading and trailing SP and HTAB (RFC 9110 §5.6.3 OWS). */
struct str str_trim(struct str s);

/* Without one line end, LF or CRLF or CR, behind it: what editors, echo and files of Windows put behind a value. */
struct str str_trim_line_end(struct str s);

/* Skips n bytes; n must be <= s.n. Of STR_NULL none: it stays STR_NULL. */
struct str str_skip(struct str s, size_t n);

/* Cuts the part before the first sep off *rest into *part. Returns false when *rest was NULL (all
 * parts handed out). An empty, non-NULL rest yields one empty part. */
bool str_cut(struct str *rest, char sep, struct str *part);

/* Position of c, or s.n. */
size_t str_find(struct str s, char c);

/* Takes the number off the front of s: digits with at most one point between or before them. -1:
 * there is none. */
int str_take_number(struct str *s, double *out) MUST_CHECK;
/* Strict decimal: digits only, no sign, no space, at least one digit, no overflow. */
int str_to_u64(struct str s, uint64_t *out) MUST_CHECK;

/* Glob match: '*' any run, '?' one byte; linear-time backtracking, no classes. */
bool str_glob(struct str pattern, struct str s);

/* Copies into a NUL-terminated array; -1 when it does not fit (dst then holds ""). */
int str_copy(struct str s, char *dst, size_t cap) MUST_CHECK;

#endif
