/* base/suggest.h - which of the words we know somebody may have meant.
 *
 * suggest_init(&s, word); suggest_offer(&s, candidate) for each; s.nearest is NULL when none is
 * near. */
#ifndef ROOST_BASE_SUGGEST_H
#define ROOST_BASE_SUGGEST_H

#include "base/str.h"

struct suggest {
    struct str word;     /* borrowed */
    unsigned best;       /* distance of the nearest so far */
    const char *nearest; /* borrowed from the caller of suggest_offer() */
};

void suggest_init(struct suggest *s, struct str word);
void suggest_offer(struct suggest *s, const char *candidate);

#endif
