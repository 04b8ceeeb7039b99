/* base/regex.h - regular expressions (PCRE2) for settings: UTF-8, matched anywhere in the text
 * unless anchored, with limits so that no text makes a match expensive. */
#ifndef ROOST_BASE_REGEX_H
#define ROOST_BASE_REGEX_H

#include "base/str.h"

struct regex;

/* NULL: a sentence in err. Owned. */
struct regex *regex_new(struct str pattern, char *err, size_t errcap);
void regex_free(struct regex *re);
/* Text that is not UTF-8, or that meets a limit, does not match. */
bool regex_match(const struct regex *re, struct str text);

#endif
